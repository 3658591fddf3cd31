"""A corpus larger than memory as numbers on the disk: after reading it you know how it is tokenised once and for all.

    ids.bin       int32, the tokens of all documents, one after the other, by provisional numbers (see numbering.py)
    lengths.bin   int64, the number of tokens of each document
    words.jsonl   the token of each provisional number, one a line, written as JSON
    state.json    how much of these files counts, and of which corpus and tokenizer they are

Every few million tokens the files are written on and then state.json is replaced as a whole. What stands in the files
behind its counts is of a process that was killed: it is cut off, and the reading goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path as AnyPath
from typing import Any

import numpy as np

from flambeau.data.data_loaders import DataLoaders
from flambeau.data.splitters import RandomSplitter
from flambeau.foundation.errors import ArgumentError, DataError, EmptyError
from flambeau.foundation.paths import Path, atomic_write
from flambeau.foundation.progress_bar import progress_bar
from flambeau.text.corpus import Corpus, as_corpus
from flambeau.text.dataset import LMDatasets
from flambeau.text.documents import Documents, Ints, offsets_of
from flambeau.text.loaders import LMDataLoader
from flambeau.text.numbering import ProvisionalNumbers, learn_vocab, renumbered
from flambeau.text.numericalize import Numericalize
from flambeau.text.tokenizer import Tokenizer

IDS, LENGTHS, WORDS, STATE = "ids.bin", "lengths.bin", "words.jsonl", "state.json"
FORMAT = "flambeau-tokens"
EVERY = 50_000  # documents after which at the latest what was read is written
TOKENS_HELD = 4_000_000
STEPS = 10_000  # of the progress bar
ASK_EVERY = 100  # documents after which it is told


class TokenStore:
    """The tokens of a corpus in a folder; `TokenStore.build` writes them, `TokenStore(folder)` opens what is there.

    Raises:
        DataError: there is no store in the folder, it is not complete, or damaged.
    """

    def __init__(self, folder: str | AnyPath, tokenizer: Tokenizer | None = None) -> None:
        self.folder = Path(folder)
        self.tokenizer = Tokenizer() if tokenizer is None else tokenizer
        state = _read_state(self.folder)
        if state is None or not state["complete"]:
            what = "no token store" if state is None else f"a token store of {state['documents']:,} documents so far"
            raise DataError(f"In {self.folder} is {what}. Call TokenStore.build(corpus, folder) to write or finish it.")
        _require_same("tokenizer", state["tokenizer"], about_tokenizer(self.tokenizer), self.folder)
        _require_files(self.folder, state)
        self.n_documents, self.n_tokens, self.n_words = state["documents"], state["tokens"], state["words"]

    @classmethod
    def build(
        cls,
        source: Any,
        folder: str | AnyPath,
        tokenizer: Tokenizer | None = None,
        columns: str | Sequence[str] | None = None,
        cut: str = "lines",
        sep: str | None = None,
        every: int = EVERY,
        without: str | AnyPath | None = None,
        encoding: str = "utf-8",
    ) -> TokenStore:
        """Tokenise a corpus into a folder, or what is left of it where an earlier call was broken off; show a bar.

        `source` is a folder of text files, a file, or an iterable of texts that can be gone through again; see
        `as_corpus` for `columns`, `cut` and `sep`. Of a folder the files in `without` (None: in `folder`) are no texts,
        so that what is made of them may lie beside them. Memory holds the distinct words and a few million numbers,
        however large the corpus. After every `every` documents, or sooner, what was read is safe.

        Raises:
            DataError: the folder holds another corpus or other tokens, or is damaged; a document cannot be read.
            ArgumentError: the tokenizer learns pieces of words and has not learnt them yet, or `folder` is the corpus.
            EmptyError: the corpus has no document.
        """
        tokenizer = Tokenizer() if tokenizer is None else tokenizer
        place = Path(folder)
        corpus = as_corpus(source, columns, cut, sep, place if without is None else without, encoding)
        origin = {"source": corpus.about, "tokenizer": about_tokenizer(tokenizer)}
        place.mkdir(parents=True, exist_ok=True)
        state = _read_state(place)
        if state is None:
            state = {"format": FORMAT, "format_version": 1, "complete": False, **origin}
            state |= {"documents": 0, "tokens": 0, "words": 0, "words_bytes": 0}
        for what in origin:
            _require_same(what, state[what], origin[what], place)
        if not state["complete"]:
            _read_on(corpus, tokenizer, place, state, every)
        return cls(place, tokenizer)

    def documents(
        self, num: Numericalize | None = None, training: Ints | None = None
    ) -> tuple[Documents, Numericalize]:
        """Return the documents, whose numbers stay on the disk, and the vocabulary that gives them their meaning.

        `num` without a vocabulary learns it from the documents at the places `training` (None: all).
        """
        num = Numericalize(joiner=self.tokenizer.joiner) if num is None else num
        lengths = np.fromfile(self.folder / LENGTHS, dtype=np.int64, count=self.n_documents)
        ids = FileIds(self.folder / IDS, dtype=np.int32, mode="r", shape=(self.n_tokens,))
        documents, words = Documents(ids, offsets_of(lengths)), self.words()
        if num.vocab is None:
            learn_vocab(num, documents, words, np.arange(self.n_documents) if training is None else training)
        return renumbered(documents, words, num, in_memory=False), num

    def words(self) -> list[str]:
        """Return all distinct tokens, in the order in which they came first."""
        return list(_words_in(self.folder, self.n_words))

    def dataloaders(
        self,
        num: Numericalize | None = None,
        valid_pct: float = 0.1,
        seed: int | None = None,
        bs: int = 64,
        seq_len: int = 72,
        path: str | AnyPath = ".",
        **options: Any,
    ) -> DataLoaders:
        """Return loaders for a language model; a share of the documents validates, and the others give the vocabulary.

        `num` says what the vocabulary is or may be (`Numericalize(min_freq=..., max_vocab=..., backwards=...)`);
        `options` are those of `DataLoaders.from_datasets`.

        Raises:
            EmptyError: there are fewer than two documents.
        """
        if self.n_documents < 2:
            raise EmptyError(
                f"The corpus is {self.n_documents} document, but one must train and another validate. Cut it: a file "
                "has one document a line, or a paragraph (cut='paragraphs')."
            )
        training, validation = RandomSplitter(valid_pct, seed).arrays(self.n_documents)
        documents, num = self.documents(num, training)
        datasets = LMDatasets.from_documents(documents, self.tokenizer, num, [training, validation])
        seeded = {} if seed is None else {"seed": seed}
        return DataLoaders.from_datasets(
            datasets, bs=bs, dl_type=LMDataLoader, seq_len=seq_len, path=path, **{**seeded, **options}
        )

    def __repr__(self) -> str:
        return (
            f"TokenStore of {self.n_documents:,} documents, {self.n_tokens:,} tokens, {self.n_words:,} words, in "
            f"{self.folder}"
        )


class FileIds(np.memmap):
    """Numbers in a file; a worker process that gets them opens the file, and is not sent what it holds."""

    def __reduce__(self) -> Any:
        whole = isinstance(self.filename, os.PathLike | str) and self.nbytes == os.path.getsize(self.filename)
        if not whole:
            return np.asarray(self).__reduce__()
        return FileIds, (str(self.filename), self.dtype, "r", 0, self.shape)


# ---- reading


def _read_on(corpus: Corpus, tokenizer: Tokenizer, folder: Path, state: dict[str, Any], every: int) -> None:
    """Tokenise the documents behind those that count, and write them and the state."""
    _cut_off(folder, state)
    numbers = ProvisionalNumbers((word, n) for n, word in enumerate(_words_in(folder, state["words"])))
    ids, lengths, number = array("i"), array("q"), numbers.__getitem__
    with progress_bar(STEPS, "tokens") as tell:
        for tokens in tokenizer.stream(map(tokenizer.text, corpus.texts(state["documents"]))):
            ids.extend(map(number, tokens))
            lengths.append(len(tokens))
            if not len(lengths) % ASK_EVERY:
                tell(int(STEPS * corpus.share()))
            if len(lengths) >= every or len(ids) >= TOKENS_HELD:
                _write(folder, state, ids, lengths, numbers)
                ids, lengths = array("i"), array("q")
    if not state["documents"] and not lengths:
        raise EmptyError(f"The corpus has no document with text: {json.dumps(corpus.about)}.")
    state["complete"] = True
    _write(folder, state, ids, lengths, numbers)


def _write(folder: Path, state: dict[str, Any], ids: array[int], lengths: array[int], numbers: dict[str, int]) -> None:
    """Add to the files what was read, and when it is on the disk say in the state that it counts."""
    words = "".join(f"{json.dumps(word)}\n" for word in islice(numbers, state["words"], None)).encode()
    for name, content in ((IDS, ids), (LENGTHS, lengths), (WORDS, words)):
        with open(folder / name, "ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    state["documents"] += len(lengths)
    state["tokens"] += len(ids)
    state["words"] = len(numbers)
    state["words_bytes"] += len(words)
    with atomic_write(folder / STATE, "w") as file:
        json.dump(state, file, indent=2)


def _sizes(state: dict[str, Any]) -> dict[str, int]:
    """Return how many bytes of each file count."""
    return {IDS: 4 * state["tokens"], LENGTHS: 8 * state["documents"], WORDS: state["words_bytes"]}


def _cut_off(folder: Path, state: dict[str, Any]) -> None:
    """Cut the files to what counts."""
    for name in _sizes(state):
        (folder / name).touch()
    _require_files(folder, state)
    for name, size in _sizes(state).items():
        os.truncate(folder / name, size)


def _require_files(folder: Path, state: dict[str, Any]) -> None:
    for name, size in _sizes(state).items():
        path = folder / name
        there = path.stat().st_size if path.is_file() else 0
        if there < size:
            raise DataError(
                f"{path} is damaged: {size:,} bytes of it count, but it has {there:,}. Delete the folder {folder} and "
                "build the store again."
            )


def _words_in(folder: Path, n: int) -> Iterator[str]:
    with open(folder / WORDS, "rb") as file:
        for line in islice(file, n):
            yield json.loads(line)


# ---- what a store is of


def about_tokenizer(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return what tells a tokenizer from another: its class, its rules, and the pieces of words that it has learnt.

    Raises:
        ArgumentError: it has not learnt them yet.
    """
    words = tokenizer.words
    about: dict[str, Any] = {
        "tok": _name(type(tokenizer.tok)),
        "rules": [_name(rule) for rule in words.rules],
        "post_rules": [_name(rule) for rule in words.post_rules],
        "mark_fields": tokenizer.mark_fields,
    }
    if tokenizer.learns:
        try:
            learnt = tokenizer.tok.to_text()
        except ArgumentError as error:
            raise ArgumentError(
                "The tokenizer has not learnt its pieces of words yet. Let it learn from a part of the corpus first: "
                "tokenizer.setup(texts)."
            ) from error
        about["learnt"] = hashlib.sha256(learnt.encode()).hexdigest()
    return about


def _name(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"


def _read_state(folder: Path) -> dict[str, Any] | None:
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        if state["format"] != FORMAT or state["format_version"] != 1 or min(_sizes(state).values()) < 0:
            raise ValueError(f"its format is {state['format']!r}, version {state['format_version']!r}")
        return dict(state)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no state of a token store ({error}). Name another folder, or delete it.") from error


def _require_same(what: str, kept: Any, given: Any, folder: Path) -> None:
    kept, given = json.loads(json.dumps(kept)), json.loads(json.dumps(given))
    if kept == given:
        return
    names = [name for name in {**kept, **given} if kept.get(name) != given.get(name)]
    told = "; ".join(f"{name} {kept.get(name)!r:.80} there and {given.get(name)!r:.80} here" for name in names[:3])
    raise DataError(
        f"The token store in {folder} is of another {what}: {told}. Name another folder, or delete this one to "
        "build it again."
    )
