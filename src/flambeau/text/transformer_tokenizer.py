"""The tokenizer of a transformer: after reading it you know how a document becomes the numbers its model was taught on.

A transformer reads subwords of its own vocabulary, between markers of its own. All of that is in one JSON text, which
the `tokenizers` library reads: an export carries the text, and predicting needs no transformers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from flambeau.data.kinds import Kind, in_short
from flambeau.data.transform import Transform
from flambeau.foundation.errors import ArgumentError, DataError, missing_dependency
from flambeau.text.transformer_files import (
    TOKENIZER_FILES,
    find_transformer,
    import_transformers,
    quiet_transformers,
    unreadable,
)

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

CHUNK = 1000  # documents given to the library at once: enough to fill its threads, few enough to tell progress
ROLES = ("pad", "cls", "sep", "mask", "unk", "eos", "bos")
NO_LENGTH = 10**9  # what transformers gives as the length of a tokenizer that has none is larger (1e30)
HALF = re.compile("[\ud800-\udfff]")  # of two code units of UTF-16, one alone is no character
NO_WORD = -1  # the place of a marker, which belongs to no word


@dataclass(frozen=True)
class Subwords(Kind):
    """Subwords of a tokenizer: an integer tensor (time,) of their ids."""

    tokenizer: TransformerTokenizer | None = None
    ragged: ClassVar[bool] = True
    told_by_column: ClassVar[bool] = True
    column_name: ClassVar[str | None] = "text"

    @property
    def pad_id(self) -> int:
        """What fills up the shorter documents of a batch."""
        return 0 if self.tokenizer is None else self.tokenizer.pad_id

    def decoded(self, value: Any) -> Any:
        return value if self.tokenizer is None or isinstance(value, str) else self.tokenizer.decodes(value)

    def text(self, value: Any) -> str:
        return in_short(self.whole_text(value))

    def whole_text(self, value: Any) -> str:
        if self.tokenizer is None:
            return " ".join(str(number) for number in torch.as_tensor(value).reshape(-1).tolist())
        return str(self.decoded(value))

    def settings(self) -> dict[str, Any]:
        return {}  # an export holds the tokenizer once, as the transform


class TransformerTokenizer(Transform):
    """Turn a document, or a pair, into ids `(time,)` int64 as a transformer reads them; never cut, never padded.

    Args:
        tokenizer: the JSON text of the `tokenizers` library, which holds vocabulary, rules and markers.
        ids: the ids of the markers by role (pad, cls, sep, mask, unk, eos, bos), None where there is none.
        max_len: how many ids the model takes at once, None where the tokenizer does not tell.
        special_tokens: tokens that were added to those that the model was pretrained with.
        model: the name or folder it came from, for messages; encoding: of text files.

    Two of them are equal when they hold the same.
    """

    checks_targets = False

    def __init__(
        self,
        tokenizer: str,
        ids: Mapping[str, int | None],
        max_len: int | None = None,
        special_tokens: Sequence[str] = (),
        model: str = "",
        encoding: str = "utf-8",
    ) -> None:
        super().__init__()
        self.encoding = encoding
        self.json_text, self.max_len, self.model = tokenizer, max_len, model
        self.special_tokens = list(special_tokens)
        self.ids: dict[str, int | None] = {role: ids.get(role) for role in ROLES}
        self._backend: Tokenizer | None = None
        for role, number in self.ids.items():
            if number is not None and not 0 <= number < self.vocab_size:
                raise ArgumentError(
                    f"The id of {role}, {number}, is not in the tokenizer's vocabulary of {self.vocab_size}."
                )

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path,
        max_len: int | None = None,
        lowercase: bool = False,
        special_tokens: Sequence[str] = (),
        encoding: str = "utf-8",
    ) -> TransformerTokenizer:
        """Return the tokenizer of a model: of a folder, a name of the hub, or "minilm" (see transformer_files.py).

        `max_len` lowers how many ids the model is given at once; `lowercase` is for texts in capitals and a model that
        tells them apart; `special_tokens` are words that shall be one token each, such as a field's marker "[s]";
        `encoding` is that of text files.

        Raises:
            MissingDependencyError: transformers is not installed, or what it reads a .model file with.
            ArgumentError: there is no such folder, it holds no tokenizer, or only one that is slow.
            DownloadError: the hub cannot be asked.
        """
        transformers = import_transformers("A transformer's tokenizer")
        source = find_transformer(name_or_folder, TOKENIZER_FILES)
        try:
            with quiet_transformers():
                read = transformers.AutoTokenizer.from_pretrained(
                    source.place, local_files_only=source.local, trust_remote_code=False
                )
        except OSError as error:
            raise unreadable(source, str(name_or_folder), _first_line(error)) from error
        except Exception as error:  # transformers and the libraries of each tokenizer raise their own
            _require_readers(error, str(name_or_folder))
            raise ArgumentError(
                f"The tokenizer of {str(name_or_folder)!r} cannot be read ({_first_line(error)}). One that brings code "
                "along, or needs another library, is not run here: save it as tokenizer.json, and pass the folder."
            ) from error
        if not read.is_fast:
            raise ArgumentError(
                f"The tokenizer of {str(name_or_folder)!r} is a {type(read).__name__} in Python, which has no "
                "tokenizer.json. Only those of the tokenizers library are taken: choose another model, or convert it."
            )
        if special_tokens:
            read.add_special_tokens({"additional_special_tokens": list(special_tokens)})
        ids = {role: getattr(read, f"{role}_token_id", None) for role in ROLES}
        told = read.model_max_length if read.model_max_length < NO_LENGTH else None
        lengths = [length for length in (max_len, told) if length is not None]
        name = Path(name_or_folder).name if isinstance(name_or_folder, Path) else str(name_or_folder)
        text, most = _plain_text(read.backend_tokenizer, lowercase), min(lengths, default=None)
        return cls(text, ids, most, special_tokens, name, encoding)

    def other_ids(self, other: TransformerTokenizer) -> list[str]:
        """Return the tokens, markers aside, that have one id here and another one, or none, in another tokenizer."""
        theirs, added = other.backend.get_vocab(), set(self.special_tokens)
        return [token for token, n in self.backend.get_vocab().items() if theirs.get(token) != n and token not in added]

    def settings(self) -> dict[str, Any]:
        return {
            "tokenizer": self.json_text,
            "ids": self.ids,
            "max_len": self.max_len,
            "special_tokens": self.special_tokens,
            "model": self.model,
            "encoding": self.encoding,
        }

    # what it knows

    @property
    def backend(self) -> Tokenizer:
        """The tokenizer of the `tokenizers` library, made when first needed."""
        if self._backend is None:
            from tokenizers import Tokenizer

            try:
                made = Tokenizer.from_str(self.json_text)
            except Exception as error:  # the library raises bare Exceptions
                raise DataError(f"The text of the tokenizer is none that `tokenizers` reads: {error}") from error
            made.no_truncation()
            made.no_padding()
            self._backend = made
        return self._backend

    @property
    def vocab_size(self) -> int:
        """How many ids there are, markers and added tokens among them."""
        return self.backend.get_vocab_size(with_added_tokens=True)

    @property
    def kind(self) -> Kind:
        return Subwords(self)

    @property
    def pad_id(self) -> int:
        """What fills up the shorter documents of a batch; a tokenizer without a pad has its end of text there."""
        found = (self.ids[role] for role in ("pad", "eos", "unk"))
        return next((number for number in found if number is not None), 0)

    @property
    def has_pad(self) -> bool:
        """Whether the pad is a token of its own, which never stands in a document."""
        return self.ids["pad"] is not None and self.ids["pad"] not in (self.ids["eos"], self.ids["unk"])

    @property
    def marker_ids(self) -> list[int]:
        """The ids that are no part of any text: markers, padding, and the tokens that were added to mark something."""
        added = self.backend.get_added_tokens_decoder()
        return sorted(number for number, token in added.items() if token.special)

    @property
    def edges(self) -> tuple[list[int], list[int]]:
        """The markers that stand before every document, and those after it."""
        encoding = self.backend.encode("a")
        marked = encoding.special_tokens_mask
        first = next((place for place, special in enumerate(marked) if not special), len(marked))
        last = next((place for place, special in enumerate(reversed(marked)) if not special), 0)
        return encoding.ids[:first], encoding.ids[len(marked) - last :] if last else []

    # encoding

    def encode_all(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        progress: Callable[[int], Any] | None = None,
    ) -> list[list[int]]:
        """Return the ids of many documents, or of pairs of them; `progress(n)` is called when n are done.

        Raises:
            DataError: a document is no string. ArgumentError: there are not as many pairs as texts.
        """
        if pairs is not None and len(pairs) != len(texts):
            raise ArgumentError(f"There are {len(texts)} texts but {len(pairs)} to pair them with.")
        found: list[list[int]] = []
        for start in range(0, len(texts), CHUNK):
            some: list[Any] = list(texts[start : start + CHUNK])
            if pairs is not None:
                some = list(zip(some, pairs[start : start + CHUNK], strict=True))
            try:
                encodings = self.backend.encode_batch_fast(some)
            except TypeError as error:
                raise _no_text(some, start) from error
            found.extend(encoding.ids for encoding in encodings)
            if progress is not None:
                progress(len(found))
        return found

    def encodes(self, x: str | tuple[str, str]) -> Tensor:
        """Return the ids of one document, or of a pair of them."""
        if isinstance(x, tuple) and len(x) != 2:
            raise DataError(f"A document or a pair of them was expected, got {len(x)} in one item.")
        return torch.tensor(
            self.encode_all([x] if isinstance(x, str) else [x[0]], None if isinstance(x, str) else [x[1]])[0]
        )

    def encode_words(self, words: Sequence[str]) -> tuple[list[int], list[int]]:
        """Return the ids of a document that is words already, and for each id the place of its word, -1 for a marker.

        Raises:
            DataError: a word is no string.
        """
        some = list(words)
        if self._glues_words and len(some) > 1:
            some[1:] = [" " + word for word in some[1:]]
        try:
            encoding: Encoding = self.backend.encode(some, is_pretokenized=True)
        except TypeError as error:
            raise _no_text(some, 0) from error
        return encoding.ids, [NO_WORD if word is None else word for word in encoding.word_ids]

    @property
    def _glues_words(self) -> bool:
        """Whether a word after a blank is another token than the same word at the start, as in GPT-2 and RoBERTa."""
        return any(
            part.get("type") == "ByteLevel" and not part.get("add_prefix_space")
            for part in _pre_tokenizers(self.json_text)
        )

    # decoding

    def decodes(self, x: Any) -> str:
        """Return the text of ids, without what stands around it; [MASK] and tokens that were added stay.

        Numbers below 0, which mark what a language model is not asked for, are left out.
        """
        around = {self.ids[role] for role in ("pad", "cls", "sep", "eos", "bos")}
        inner = [number for number in _numbers(x) if number >= 0 and number not in around]
        return self.backend.decode(inner, skip_special_tokens=False)

    def tokens(self, ids: Any) -> list[str]:
        """Return the token of each id.

        Raises:
            ArgumentError: an id is not in the vocabulary.
        """
        found = []
        for number in _numbers(ids):
            token = self.backend.id_to_token(number) if number >= 0 else None
            if token is None:
                raise ArgumentError(f"The id {number} is not in the tokenizer's vocabulary of {self.vocab_size}.")
            found.append(token)
        return found

    # as a value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TransformerTokenizer) and self.settings() == other.settings()

    def __hash__(self) -> int:
        return hash((self.json_text, self.max_len))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_backend": None}

    def __repr__(self) -> str:
        return f"TransformerTokenizer({self.model!r}, {self.vocab_size} ids)"


def _plain_text(backend: Tokenizer, lowercase: bool) -> str:
    """Return the JSON of a tokenizer, without cutting and padding."""
    plain = json.loads(backend.to_str())
    plain["truncation"] = plain["padding"] = None
    if lowercase:
        rules = plain.get("normalizer")
        plain["normalizer"] = {
            "type": "Sequence",
            "normalizers": [{"type": "Lowercase"}, *([] if rules is None else [rules])],
        }
    return json.dumps(plain, ensure_ascii=False)


def _pre_tokenizers(json_text: str) -> Iterator[dict[str, Any]]:
    waiting = [json.loads(json_text).get("pre_tokenizer")]
    while waiting:
        part = waiting.pop()
        if part:
            yield part
            waiting.extend(part.get("pretokenizers") or ())


def _numbers(ids: Any) -> list[int]:
    return [int(number) for number in (ids.tolist() if isinstance(ids, Tensor) else ids)]


def _no_text(items: Sequence[Any], start: int) -> DataError:
    place, value = next(
        (place, part)
        for place, item in enumerate(items, start)
        for part in (item if isinstance(item, tuple) else (item,))
        if not isinstance(part, str) or HALF.search(part)
    )
    if isinstance(value, str):
        half = HALF.search(value)
        assert half is not None
        return DataError(
            f"Document {place} holds half a character, {half[0]!r} at place {half.start()}, as a damaged emoji does, "
            r"and no tokenizer reads it. Take such halves out: re.sub('[\ud800-\udfff]', '', text)."
        )
    missing = value is None or value != value
    advice = "Leave such rows out, or fill them: table.dropna(), table.fillna('')." if missing else "Pass str(value)."
    return DataError(
        f"Document {place} is {value!r} of type {type(value).__name__}, and a string was expected. {advice}"
    )


def _require_readers(error: Exception, name: str) -> None:
    """Say which library is missing where a vocabulary is a .model file, as that of DeBERTa-v3 and T5.

    Raises:
        MissingDependencyError: one is missing.
    """
    if not re.search("sentencepiece|tiktoken|protobuf", str(error), re.IGNORECASE):
        return
    for library, module in (("sentencepiece", "sentencepiece"), ("protobuf", "google.protobuf")):
        try:
            import_module(module)
        except ImportError:
            raise missing_dependency(library, "hf", f"The tokenizer of {name!r} (a .model file)") from error


def _first_line(error: BaseException) -> str:
    words = str(error).strip().splitlines()
    return f"{type(error).__name__}: {words[0] if words else 'no message'}"
