"""Paths: after reading it you know how folders are listed, where downloads are kept and how a file is written whole."""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import os
import pathlib
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal

from flambeau.foundation.errors import unknown_name
from flambeau.foundation.lists import L, listify

SECONDS_TILL_REMAINS_GO = 3600

if TYPE_CHECKING:
    _SystemPath = pathlib.Path
else:
    _SystemPath = type(pathlib.Path())  # before Python 3.12 only the system's own class can be subclassed


class Path(_SystemPath):
    """A `pathlib.Path` that lists itself; its children and parents are of this class too.

    `Path.BASE_PATH = path` shortens how paths under `path` are shown.
    """

    BASE_PATH: ClassVar[pathlib.Path | str | None] = None

    def ls(
        self, n_max: int | None = None, file_type: str | None = None, file_exts: str | Iterable[str] | None = None
    ) -> L[Path]:
        """Return what the folder holds, sorted; only some if `n_max`, a type or extensions are given.

        `file_type` is the first half of a MIME type ("image", "text", "audio"); extensions are written ".csv".
        """
        found = L(sorted(self.iterdir()))
        if file_type is not None or file_exts is not None:
            wanted = {extension.lower() for extension in listify(file_exts)}
            found = found.filter(lambda path: path.suffix.lower() in wanted or path._is_of_type(file_type))
        return found if n_max is None else found[:n_max]

    def _is_of_type(self, file_type: str | None) -> bool:
        if file_type is None:
            return False
        import mimetypes

        # A table of our own: the system's differs between machines (on some, .csv is a spreadsheet).
        kind, _ = mimetypes.MimeTypes().guess_type(self.name, strict=False)
        return kind is not None and kind.startswith(f"{file_type}/")

    def __repr__(self) -> str:
        shown: pathlib.PurePath = self
        if Path.BASE_PATH is not None:
            with contextlib.suppress(ValueError):  # not under BASE_PATH: shown whole
                shown = self.relative_to(Path.BASE_PATH)
        return f"Path({shown.as_posix()!r})"


def storage_path(kind: Literal["data", "archive", "models"]) -> Path:
    """Return the folder for data sets, archives or models, under FLAMBEAU_HOME or `~/.flambeau`; it may not exist."""
    if kind not in ("data", "archive", "models"):
        raise unknown_name("kind of storage", kind, ["data", "archive", "models"])
    home = os.environ.get("FLAMBEAU_HOME")
    return (Path(home).expanduser() if home else Path.home() / ".flambeau") / kind


def _sync_folder(folder: str) -> None:
    """Make a rename survive a power cut (Windows has no such call)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_remains(folder: str, name: str) -> None:
    """Remove the half files of killed processes; a younger one may be another process's, still at work."""
    for path in pathlib.Path(folder).glob(f".{glob.escape(name)}.????????.tmp"):
        with contextlib.suppress(FileNotFoundError):  # another process was quicker
            if time.time() - path.stat().st_mtime > SECONDS_TILL_REMAINS_GO:
                path.unlink()


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb", encoding: str | None = None) -> Iterator[IO[Any]]:
    """Open a file that takes the place of `path` when the `with` ends well, whole or not at all.

    Whatever fails, an earlier file stays as it was, no half file is left, and the error names `path`. What a killed
    process left beside it is removed by the next write, an hour later at the earliest.
    """
    if encoding is None and "b" not in mode:
        encoding = "utf-8"
    target = os.path.realpath(path)  # a link keeps pointing where it did
    folder, name = os.path.split(target)
    beside = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        _remove_remains(folder, name)
        with open(beside, mode.replace("w", "x"), encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(target):
            shutil.copymode(target, beside)
        os.replace(beside, target)
        _sync_folder(folder)
    except OSError as error:
        if error.filename not in (None, beside):
            raise  # about another file: an error of the caller's own
        raise OSError(error.errno, f"could not write {os.fspath(path)}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)


def installed_path(package: str, inside: str) -> pathlib.Path | None:
    """Return a file or folder of an installed package, which is not imported; None where it is not there."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = pathlib.Path(spec.submodule_search_locations[0]) / inside
    return path if path.exists() else None
