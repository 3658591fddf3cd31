"""Texts to tokens: after reading it you know how a file, a string or a table's row becomes a list of words.

text --rules--> text with special tokens --word or subword tokenizer--> tokens --post rules--> tokens
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Number
from pathlib import Path as AnyPath
from typing import Any

from flambeau.data.categorize import is_missing
from flambeau.data.dataset import is_row
from flambeau.data.kinds import joined_tokens
from flambeau.data.tables import likely_encoding, require_columns
from flambeau.data.transform import Transform
from flambeau.foundation.errors import ArgumentError, DataError, ExportError
from flambeau.foundation.lists import L
from flambeau.text.rules import TextRule, text_postproc_rules, text_proc_rules
from flambeau.text.special_tokens import FLD
from flambeau.text.subword import SubwordTokenizer
from flambeau.text.word_tokenizer import WordsWithRules, WordTokenizer

Splitter = Callable[[Iterable[str]], Iterable[list[str]]]
JOINED = "text"  # the column that course code reads, in which fastai puts several text columns together


class Tokenizer(Transform):
    """Turn a text, a text file (a `Path`) or a row of a table into a list of tokens.

    Args:
        tok: splits strings into tokens: `WordTokenizer()` (None), `SubwordTokenizer()`, or any callable that takes an
            iterable of strings and returns a list of tokens for each.
        rules: functions of a string, applied before (None: `text_proc_rules`); `post_rules`: functions of the list of
            tokens, applied after (None: `text_postproc_rules`).
        text_cols: the columns of a row that hold text; several are joined, each with a mark before it.
        mark_fields: put "xxfld 1" before the first text, "xxfld 2" before the second (None: where there are several).
        encoding: of text files; joiner: what stands between tokens that are shown (None: a blank, of subwords nothing).

    Raises:
        DataError: a text is missing, a file cannot be read as text (the byte is named).
    """

    def __init__(
        self,
        tok: Splitter | Mapping[str, Any] | None = None,
        rules: Sequence[TextRule] | None = None,
        post_rules: Sequence[TextRule] | None = None,
        text_cols: str | Sequence[str] | None = None,
        mark_fields: bool | None = None,
        encoding: str = "utf-8",
        joiner: str | None = None,
    ) -> None:
        super().__init__()
        self.words = WordsWithRules(_as_splitter(tok), rules, post_rules)
        self.text_cols = [text_cols] if isinstance(text_cols, str | int) else list(text_cols or ())
        self.mark_fields = len(self.text_cols) > 1 if mark_fields is None else mark_fields
        subwords = isinstance(self.tok, SubwordTokenizer)
        self.encoding, self.joiner = encoding, joiner if joiner is not None else "" if subwords else " "

    @classmethod
    def from_folder(
        cls, path: str | AnyPath, tok: Splitter | None = None, rules: Sequence[TextRule] | None = None, **options: Any
    ) -> Tokenizer:
        """Return a tokenizer of text files; `path` tells a reader where they lie, and is not looked at before."""
        del path
        return cls(tok, rules, **options)

    @classmethod
    def from_df(
        cls,
        text_cols: str | Sequence[str],
        tok: Splitter | None = None,
        rules: Sequence[TextRule] | None = None,
        mark_fields: bool | None = None,
        **options: Any,
    ) -> Tokenizer:
        """Return a tokenizer of some columns of a table."""
        return cls(tok, rules, text_cols=text_cols, mark_fields=mark_fields, **options)

    # texts

    def text(self, item: Any) -> str:
        """Return the text of an item: a string as it is, a file's contents, a row's columns joined.

        Raises:
            DataError: there is none.
        """
        if isinstance(item, str):
            return self._together([item])
        if isinstance(item, os.PathLike):
            return self.text(read_text(item, self.encoding))
        if (is_row(item) or isinstance(item, dict)) and self.text_cols:
            return self._joined(item)
        if isinstance(item, list | tuple | L) and len(item) and all(isinstance(text, str) for text in item):
            return self._together(item)
        raise DataError(_no_text(item))

    def _joined(self, row: Any) -> str:
        cells = row._asdict() if hasattr(row, "_asdict") else row
        require_columns(self.text_cols, list(cells.keys()), "the table of texts")
        for name in self.text_cols:
            if not isinstance(cells[name], str):
                raise DataError(f"Column {name!r}: {_no_text(cells[name])}")
        return self._together([cells[name] for name in self.text_cols])

    def _together(self, texts: Sequence[str]) -> str:
        """Return several texts as one, each behind a mark that tells its number."""
        marks = [f"{FLD} {place} " if self.mark_fields else "" for place in range(1, len(texts) + 1)]
        return " ".join(mark + text for mark, text in zip(marks, texts, strict=True))

    # tokens

    @property
    def tok(self) -> Any:
        """What splits texts into tokens."""
        return self.words.tokenizer

    @property
    def learns(self) -> bool:
        return hasattr(self.tok, "setup")

    def setups(self, items: Any) -> None:
        """Let a tokenizer that learns (subwords) see the texts."""
        if items is not None and self.learns:
            self.tok.setup(self.words.ruled(self.text(item)) for item in items)

    def stream(self, texts: Iterable[str]) -> Iterator[list[str]]:
        """Yield the tokens of each text."""
        return iter(self.words(texts))

    def encodes(self, x: Any) -> L[str]:
        return L(self.words.tokens(self.text(x)))

    def decodes(self, x: Any) -> str:
        return self.joined(x)

    def joined(self, tokens: Iterable[str]) -> str:
        """Return tokens as one text."""
        return joined_tokens(tokens, self.joiner)

    def settings(self) -> dict[str, Any]:
        usual = self.words.rules == list(text_proc_rules) and self.words.post_rules == list(text_postproc_rules)
        if not usual or type(self.tok) not in (WordTokenizer, SubwordTokenizer):
            return super().settings()
        tok = {"subwords": self.tok.to_text()} if isinstance(self.tok, SubwordTokenizer) else {"words": True}
        columns = {"text_cols": self.text_cols, "mark_fields": self.mark_fields}
        return {"tok": tok, **columns, "encoding": self.encoding, "joiner": self.joiner}


def _as_splitter(tok: Any) -> Splitter:
    """Return what splits texts: as given, a class called, or built from the settings of an export."""
    if isinstance(tok, Mapping):
        kept = tok.get("subwords")
        if kept is not None and not isinstance(kept, str):
            raise ExportError(f"The export holds no subword tokenizer but {kept!r:.80}.")
        return WordTokenizer() if kept is None else SubwordTokenizer.from_text(kept)
    made: Splitter = WordTokenizer() if tok is None else tok() if isinstance(tok, type) else tok
    if not callable(made):
        raise ArgumentError(f"tok takes strings and returns lists of tokens; got {tok!r} of type {type(tok).__name__}.")
    return made


def as_texts(item: Any, encoding: str = "utf-8") -> tuple[str, ...]:
    """Return the text of an item, or its two texts where it is a pair; a `Path` stands for what the file holds.

    Raises:
        DataError: a text is missing, or is none.
    """
    parts = tuple(item) if isinstance(item, tuple | list | L) else (item,)
    texts = tuple(read_text(part, encoding) if isinstance(part, os.PathLike) else part for part in parts)
    for text in texts:
        if not isinstance(text, str):
            raise DataError(_no_text(text))
    return texts


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8") -> str:
    """Return a text file's contents.

    Raises:
        DataError: there is no such file, or it is in another encoding; the byte is named.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except OSError as error:
        raise DataError(f"The text file {os.fspath(path)} cannot be read: {error.strerror or error}.") from error
    try:
        return raw.decode(known_encoding(encoding))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"The text file {os.fspath(path)} is no {encoding}: byte {error.start} (line {line}) is "
            f"0x{raw[error.start]:02x}, {error.reason}. Pass encoding={likely_encoding(raw)!r} (or the encoding "
            "that it has), or convert the file, as iconv does."
        ) from error


def known_encoding(name: str) -> str:
    """Return the name of an encoding as it was given.

    Raises:
        ArgumentError: there is no such encoding.
    """
    try:
        codecs.lookup(name)
    except LookupError as error:
        raise ArgumentError(f"There is no encoding {name!r}. Usual ones are 'utf-8', 'latin-1', 'utf-16'.") from error
    return name


def _no_text(item: Any) -> str:
    if is_missing(item):
        return (
            "The text is missing (it is empty in the table). Leave such rows out, as df.dropna(subset=[...]) does, or "
            "write an empty text into them: df.fillna('')."
        )
    of_numbers = " Make strings of a column of numbers: df['text'].astype(str)." if isinstance(item, Number) else ""
    return f"A text is a string or the path of a text file; got {item!r:.80} of type {type(item).__name__}.{of_numbers}"
