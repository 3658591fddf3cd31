"""Text that is read from the disk again and again: after reading it you know how documents come out of large files.

A corpus may be larger than memory, so each kind gives its documents one after the other. It can begin at any document,
and says of itself what tells it from another corpus (`about`), so that work on it can be gone on with later.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import hashlib
import io
import json
import lzma
import os
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import nullcontext
from itertools import islice
from pathlib import Path as AnyPath
from typing import IO, Any, Protocol, cast

from flambeau.data.getters import get_text_files
from flambeau.data.tables import likely_encoding, read_csv, require_columns
from flambeau.foundation.errors import ArgumentError, DataError, EmptyError, TableError, unknown_name
from flambeau.foundation.paths import Path
from flambeau.text.tokenizer import known_encoding, read_text

OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz"}
TABLES = (".csv", ".tsv")
CUTS = ("lines", "paragraphs")
ROWS_AT_ONCE = 10_000
SAMPLE = 1 << 16  # bytes at a file's beginning, middle and end that tell it from another of its size
UTF_8 = "utf-8"
MARK = b"\xef\xbb\xbf"  # some editors begin a file with it


class Corpus(Protocol):
    """Documents in a fixed order."""

    @property
    def about(self) -> dict[str, Any]:
        """What tells this corpus from another: names, sizes and samples, as JSON knows them."""

    def texts(self, start: int = 0) -> Iterator[str]:
        """Yield the documents from the one at place `start` on."""

    def share(self) -> float:
        """Return how much of the corpus was read by the latest `texts`, from 0 to 1."""


class TextFolder:
    """The text files of a folder, each of which is a document, in the order of their names.

    `without` is a folder in it whose files are none: that of what is made of the corpus.

    Raises:
        EmptyError: there is no such folder, or no .txt file in it. ArgumentError: `without` is the folder itself.
    """

    def __init__(self, folder: str | AnyPath, encoding: str = UTF_8, without: str | AnyPath | None = None) -> None:
        self.folder, self.encoding = Path(folder), known_encoding(encoding)
        self.files = get_text_files(folder)
        if without is not None:
            self.files = self.files.filter(_outside(self.folder, without))
            if not self.files:
                raise EmptyError(f"The text files of {folder} all lie in {without}, which is for what is made of them.")
        self._read = 0

    @property
    def about(self) -> dict[str, Any]:
        """What tells this corpus from another."""
        digest, start = hashlib.sha256(), len(str(self.folder / "a")) - 1
        for file in map(str, self.files):
            try:
                with open(file, "rb", buffering=0) as raw:
                    size = os.fstat(raw.fileno()).st_size
                    digest.update(f"{file[start:].replace(os.sep, '/')}\0{size}\n".encode(errors="surrogateescape"))
                    _add_samples(digest, raw, size)
            except OSError as error:
                raise DataError(f"The text file {file} cannot be read: {error.strerror or error}.") from error
        told = {"kind": "folder", "files": len(self.files), "names, sizes and samples": digest.hexdigest()}
        return {**told, **_read_as(self.encoding)}

    def texts(self, start: int = 0) -> Iterator[str]:
        """Yield the documents from the one at place `start` on."""
        for place in range(start, len(self.files)):
            yield read_text(self.files[place], self.encoding)
            self._read = place + 1

    def share(self) -> float:
        """Return how much was read by the latest `texts`, from 0 to 1."""
        return self._read / len(self.files)


def _outside(corpus: Path, folder: str | AnyPath) -> Callable[[Path], bool]:
    """Return what tells whether a file of a corpus lies outside of a folder.

    Raises:
        ArgumentError: the folder holds the corpus, so that none does.
    """
    inner = os.path.relpath(os.path.realpath(folder), os.path.realpath(corpus))
    if inner == os.curdir:
        raise ArgumentError(
            f"What is made of the texts in {corpus} would lie among them, and count as texts the next time. Name "
            f"another folder for it, such as {corpus / 'language-model'}, whose files are left out."
        )
    start = str(corpus / inner) + os.sep
    return lambda file: not str(file).startswith(start)


def _read_as(encoding: str) -> dict[str, str]:
    return {} if encoding == UTF_8 else {"encoding": encoding}


def _add_samples(digest: Any, raw: IO[bytes], size: int) -> None:
    """Add a file's beginning, middle and end to a digest: all of it, where it is short."""
    for place in sorted({0, max(size // 2 - SAMPLE, 0), max(size - SAMPLE, 0)}):
        if place:
            raw.seek(place)
        digest.update(raw.read(SAMPLE))


class _OneFile:
    """A file that may be compressed (.gz, .bz2, .xz), and how far it was read."""

    def __init__(self, file: str | AnyPath, encoding: str = UTF_8) -> None:
        self.file, self.encoding = Path(file), known_encoding(encoding)
        if not self.file.is_file():
            raise DataError(f"There is no file {self.file}.")
        self.size = self.file.stat().st_size
        self._raw: IO[bytes] | None = None

    def share(self) -> float:
        """Return how much was read by the latest `texts`, from 0 to 1."""
        if self._raw is None or self._raw.closed:
            return float(self._raw is not None)
        return min(self._raw.tell() / max(self.size, 1), 1.0)

    def _about(self, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256()
        with open(self.file, "rb") as raw:
            _add_samples(digest, raw, self.size)
        told = {"kind": kind, "file": self.file.name, "bytes": self.size, "samples": digest.hexdigest()}
        return {**told, **_read_as(self.encoding)}


class TextFile(_OneFile):
    """A file of many documents: each line is one, or with `cut="paragraphs"` what stands between empty lines.

    Lines without text are left out. A document must fit into memory, the file need not.

    Raises:
        DataError: there is no such file, it is damaged, or in another encoding; the byte is named.
    """

    def __init__(self, file: str | AnyPath, cut: str = "lines", encoding: str = UTF_8) -> None:
        if cut not in CUTS:
            raise unknown_name("cut of a text file into documents", cut, CUTS)
        super().__init__(file, encoding)
        self.cut = cut

    @property
    def about(self) -> dict[str, Any]:
        """What tells this corpus from another."""
        return {**self._about("text file"), "cut": self.cut}

    def texts(self, start: int = 0) -> Iterator[str]:
        """Yield the documents from the one at place `start` on."""
        found = self._lines() if self.cut == "lines" else self._paragraphs()
        return islice(found, start, None)

    def _lines(self) -> Iterator[str]:
        return (line for line in self._all_lines() if line)

    def _paragraphs(self) -> Iterator[str]:
        held: list[str] = []
        for line in self._all_lines():
            if line:
                held.append(line)
            elif held:
                yield "\n".join(held)
                held = []
        if held:
            yield "\n".join(held)

    def _all_lines(self) -> Iterator[str]:
        with open(self.file, "rb") as self._raw:
            for line in decoded_lines(self.file, self._raw, self.encoding):
                yield line.strip()


class TableColumn(_OneFile):
    """Columns of a CSV or TSV file, compressed or not, read in pieces; several in a row are joined by an empty line.

    Rows without text are left out.

    Raises:
        TableError: there is no such column, or the file cannot be read as a table.
        DataError: there is no such file, it is damaged, or in another encoding.
    """

    def __init__(
        self, file: str | AnyPath, columns: str | Sequence[str], sep: str | None = None, encoding: str = UTF_8
    ) -> None:
        super().__init__(file, encoding)
        self.columns = [columns] if isinstance(columns, str) else list(columns)
        self.sep = sep or separator_of(self.file)

    @property
    def about(self) -> dict[str, Any]:
        """What tells this corpus from another."""
        return {**self._about("table"), "columns": self.columns, "sep": self.sep}

    def texts(self, start: int = 0) -> Iterator[str]:
        """Yield the documents from the one at place `start` on."""
        return islice(self._texts(), start, None)

    def _texts(self) -> Iterator[str]:
        n_rows = 0
        try:
            for frame in self._pieces():
                n_rows += len(frame)
                for cells in zip(*(frame[name] for name in self.columns), strict=True):
                    text = "\n\n".join(cells).strip()
                    if text:
                        yield text
        except UnicodeDecodeError as error:
            for _ in decoded_lines(self.file, encoding=self.encoding):  # it names the line
                pass
            raise DataError(f"{self.file} is no {self.encoding} ({error.reason}).") from error
        except (EOFError, gzip.BadGzipFile, lzma.LZMAError) as error:
            raise _damaged(self.file, f"row {n_rows}", error) from error

    def _pieces(self) -> Iterator[Any]:
        import pandas as pd

        with open(self.file, "rb") as self._raw:
            options: dict[str, Any] = {
                "sep": self.sep, "compression": COMPRESSIONS.get(self.file.suffix), "index_col": False,
                "encoding": self.encoding,
            }  # fmt: skip
            try:
                names = list(pd.read_csv(self._raw, nrows=0, **options).columns)
                require_columns(self.columns, names, str(self.file))
                self._raw.seek(0)
                yield from pd.read_csv(
                    self._raw, usecols=self.columns, chunksize=ROWS_AT_ONCE, dtype=str, keep_default_na=False, **options
                )
            except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
                raise TableError(
                    f"{self.file} cannot be read as a table: {str(error).strip()}. Check the separator ({self.sep!r})."
                ) from error


class Given:
    """Documents of an iterable that can be gone through again: a list, a column, a `datasets.Dataset`'s column.

    Raises:
        ArgumentError: it is a generator, which gives its items once.
    """

    def __init__(self, documents: Iterable[str]) -> None:
        if isinstance(documents, str) or not hasattr(documents, "__iter__"):
            raise ArgumentError(f"A corpus is a list of texts, or a file or folder; got a {type(documents).__name__}.")
        if iter(documents) is documents:
            raise ArgumentError(
                f"A corpus is gone through again when work on it goes on, but a {type(documents).__name__} gives its "
                "items once. Pass a list, or an object whose __iter__ begins anew."
            )
        self.documents = documents
        self.n = len(documents) if isinstance(documents, Sized) else None
        self._read = 0

    @property
    def about(self) -> dict[str, Any]:
        """What tells this corpus from another."""
        first = hashlib.sha256(json.dumps(next(iter(self.documents), None), default=repr).encode()).hexdigest()
        return {"kind": type(self.documents).__name__, "documents": self.n, "first": first}

    def texts(self, start: int = 0) -> Iterator[str]:
        """Yield the documents from the one at place `start` on."""
        for place, text in enumerate(self.documents):
            if place >= start:
                if not isinstance(text, str):
                    raise DataError(f"Document {place} is no text but {text!r:.80} of type {type(text).__name__}.")
                yield text
            self._read = place + 1

    def share(self) -> float:
        """Return how much was read by the latest `texts`, from 0 to 1."""
        return self._read / self.n if self.n else 0.0


def as_corpus(
    source: Any,
    columns: str | Sequence[str] | None = None,
    cut: str = "lines",
    sep: str | None = None,
    without: str | AnyPath | None = None,
    encoding: str = UTF_8,
) -> Corpus:
    """Return the corpus that a path or an iterable of texts stands for.

    A folder holds one document a .txt file, those in the folder `without` left out. Of a table (.csv, .tsv) `columns`
    hold the text; any other file is cut by `cut`, see `TextFile`. Each may be compressed.

    Raises:
        ArgumentError, DataError: there is none; see the classes.
    """
    if hasattr(source, "texts") and hasattr(source, "about"):
        return cast(Corpus, source)
    if not isinstance(source, str | os.PathLike):
        return Given(source)
    path = Path(source)
    if path.is_dir():
        return TextFolder(path, encoding, without)
    if kind_of_file(path) not in TABLES:
        if columns:
            raise ArgumentError(f"A column was named, but {path} is no .csv or .tsv file.")
        return TextFile(path, cut, encoding)
    if not columns:
        names = _names_of(path, sep, encoding)
        raise ArgumentError(f"Which column of {path} holds the text? It has {', '.join(names) or 'none'}.")
    return TableColumn(path, columns, sep, encoding)


def _names_of(path: Path, sep: str | None, encoding: str) -> list[str]:
    return [str(name) for name in read_csv(path, nrows=0, sep=sep or separator_of(path), encoding=encoding)]


def separator_of(file: AnyPath) -> str:
    """Return what separates the columns of a table, by its file's name: a tab in .tsv, else a comma."""
    return "\t" if kind_of_file(file) == ".tsv" else ","


def kind_of_file(path: AnyPath) -> str:
    """Return a file's suffix in small letters, that of compression left out: ".csv" of reviews.csv.gz."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in OPENERS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def decoded_lines(file: str | AnyPath, raw: IO[bytes] | None = None, encoding: str = UTF_8) -> Iterator[str]:
    """Yield the lines of a text file, compressed or not; `raw` is the file where it is open already.

    Raises:
        DataError: it is damaged or in another encoding; the byte and its line are named.
    """
    opener = OPENERS.get(AnyPath(file).suffix.lower())
    with open(file, "rb") if raw is None else nullcontext(raw) as opened:
        lines = opened if opener is None else opener(opened, "rb")
        if not _ends_lines_with_a_byte(encoding):
            lines = io.TextIOWrapper(lines, encoding)
        place, number, start = 0, 0, 0
        try:
            for number, line in enumerate(lines, 1):
                if isinstance(line, str):
                    yield line
                    continue
                start = len(MARK) if number == 1 and encoding == UTF_8 and line.startswith(MARK) else 0
                yield line[start:].decode(encoding)
                place += len(line)
        except UnicodeDecodeError as error:
            at = place + error.start + start
            told = f"byte {at} (line {number}) is 0x{error.object[error.start]:02x}"
            where = told if _ends_lines_with_a_byte(encoding) else f"behind line {number}"
            likely = likely_encoding(error.object if number == 1 else b"")
            raise DataError(
                f"{file} is no {encoding}: {where}, {error.reason}. Pass encoding={likely!r} (or the encoding that it "
                "has), or convert the file, as iconv does."
            ) from error
        except (EOFError, gzip.BadGzipFile, lzma.LZMAError) as error:
            raise _damaged(file, f"line {number}", error) from error


def _ends_lines_with_a_byte(encoding: str) -> bool:
    """Whether the lines of an encoding can be told before they are decoded: not in UTF-16, of two bytes a letter."""
    return codecs.lookup(encoding).name.split("-")[:2] not in (["utf", "16"], ["utf", "32"])


def _damaged(file: str | AnyPath, place: str, error: Exception) -> DataError:
    return DataError(f"{file} is damaged or cut short behind {place} ({error}). Fetch or compress it anew.")
