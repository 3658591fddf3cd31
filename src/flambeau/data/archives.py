"""Unpacking: after reading it you know why an archive from a stranger can write nothing outside its own folder.

Members are written by this file and not by `tarfile` or `zipfile`, whose own checks were got round more than once
(CVE-2025-4517, CVE-2026-11940). Only folders and plain files are accepted: without links, a name that holds no ".." and
begins at no root stays where it belongs.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from flambeau.foundation.errors import DownloadError
from flambeau.foundation.paths import Path

ARCHIVE_SUFFIXES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tbz2", ".txz", ".tar", ".zip")
# Real data sets shrink about tenfold, long runs of equal rows a hundredfold; a bomb shrinks a thousandfold and more.
MAX_RATIO, ALWAYS_ALLOWED = 200, 2**30
MAX_MEMBERS = 10_000_000
_CHUNK = 2**20


@dataclass(frozen=True)
class _Member:
    name: str
    is_folder: bool
    refusal: str | None
    open: Callable[[], IO[bytes] | None]


def archive_stem(name: str) -> str:
    """Return a file's name without what says it is an archive: "a.tar.gz" gives "a"."""
    for suffix in ARCHIVE_SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def file_extract(path: str | os.PathLike[str], dest: str | os.PathLike[str] | None = None) -> Path:
    """Unpack a tar or zip archive into the folder `dest` (that of the archive by default) and return the folder.

    Files of the same name are replaced, once the whole archive has been read and found sound.

    Raises DownloadError when the archive is damaged, hostile or none.
    """
    archive = Path(path)
    folder = archive.parent if dest is None else Path(dest)
    beside = folder / f".{archive.name}.unpacking"
    try:
        unpack(archive, beside)
        shutil.copytree(beside, folder, dirs_exist_ok=True, copy_function=os.replace)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def unpack(archive: Path, into: Path) -> None:
    """Unpack `archive` into the folder `into`, emptied first; on failure nothing of it is left."""
    if not archive.is_file():
        raise DownloadError(f"There is no archive {archive}.")
    if into.exists():
        shutil.rmtree(into)  # what a killed process left
    try:
        into.mkdir(parents=True)
        with _in_words(archive):
            _write_members(archive, into)
    except BaseException:
        shutil.rmtree(into, ignore_errors=True)
        raise


@contextmanager
def _in_words(archive: Path) -> Iterator[None]:
    """Turn the many errors of Python's archive modules into DownloadErrors."""
    try:
        yield
    except DownloadError:
        raise
    except (OSError, NotImplementedError) as error:
        # gzip and bz2 report a damaged stream as an OSError without a number
        if isinstance(error, OSError) and error.errno is None:
            raise DownloadError(f"{archive} is damaged or was not downloaded whole ({error}).") from error
        raise DownloadError(f"Could not unpack {archive}: {error}.") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DownloadError(f"{archive} is damaged or was not downloaded whole ({error}).") from error


def _write_members(archive: Path, into: Path) -> None:
    room = max(ALWAYS_ALLOWED, MAX_RATIO * archive.stat().st_size)
    known_folders: set[str] = set()
    for count, member in enumerate(_members(archive)):
        target = os.path.join(into, *_safe_parts(member, archive))
        parent = target if member.is_folder else os.path.dirname(target)
        if parent not in known_folders:
            os.makedirs(parent, exist_ok=True)
            known_folders.add(parent)
        if not member.is_folder:
            source = member.open()
            if source is not None:
                with source, open(target, "wb") as file:
                    while chunk := source.read(_CHUNK):
                        room -= len(chunk)
                        if room < 0:
                            raise _hostile(archive, member.name, f"swells to over {MAX_RATIO} times the archive's size")
                        file.write(chunk)
        if count >= MAX_MEMBERS:
            raise _hostile(archive, member.name, f"is one of more than {MAX_MEMBERS} members")


def _safe_parts(member: _Member, archive: Path) -> list[str]:
    """Return the parts of a member's path, or refuse it."""
    name = member.name.replace("\\", "/")  # some archives from Windows separate folders so
    if member.refusal is not None:
        raise _hostile(archive, member.name, member.refusal)
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        raise _hostile(archive, member.name, "has an absolute path")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise _hostile(archive, member.name, "climbs out of its folder with '..'")
    if "\0" in name or (os.name == "nt" and ":" in name):
        raise _hostile(archive, member.name, "has a forbidden character in its name")
    return parts


def _hostile(archive: Path, name: str, why: str) -> DownloadError:
    return DownloadError(f"{archive} was not unpacked: its member {name[:200]!r} {why}. It may be meant to do harm.")


def _members(archive: Path) -> Iterator[_Member]:
    # tar is asked first: a tar whose last member is a zip looks like a zip from its end
    if tarfile.is_tarfile(archive):
        return _tar_members(archive)
    if zipfile.is_zipfile(archive):
        return _zip_members(archive)
    with open(archive, "rb") as file:
        beginning = file.read(200).lstrip().lower()
    if beginning.startswith((b"<!doctype", b"<html")):
        raise DownloadError(f"{archive} is a web page, not an archive: the server answered with text.")
    if archive.name.lower().endswith(ARCHIVE_SUFFIXES):
        raise DownloadError(f"{archive} is damaged: it does not begin as a tar or zip archive does.")
    raise DownloadError(f"{archive} is neither a tar nor a zip archive. To fetch a single file use download_url.")


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive) as tar:
        while (info := tar.next()) is not None:
            refusal = None
            if info.issym() or info.islnk():
                refusal = f"is a link (to {info.linkname[:200]!r})"
            elif not (info.isfile() or info.isdir()):
                refusal = "is a device or another special file"

            def open_member(info: tarfile.TarInfo = info) -> IO[bytes] | None:
                return tar.extractfile(info)

            yield _Member(info.name, info.isdir(), refusal, open_member)
            tar.members = []  # type: ignore[attr-defined]  # else tarfile keeps a kibibyte for each member
        _read_to_end(tar, archive)


def _read_to_end(tar: tarfile.TarFile, archive: Path) -> None:
    """Read what follows the last member: only at its end does a compressed stream prove its checksum."""
    room = ALWAYS_ALLOWED
    assert tar.fileobj is not None
    while padding := tar.fileobj.read(_CHUNK):
        room -= len(padding)
        if room < 0:
            raise _hostile(archive, "(the end)", "is followed by more than a gibibyte of nothing")


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as zipped:
        for info in zipped.infolist():
            refusal = None
            if stat.S_ISLNK(info.external_attr >> 16):
                refusal = "is a link"
            elif info.flag_bits & 1:
                refusal = "is encrypted, and needs a password"

            def open_member(info: zipfile.ZipInfo = info) -> IO[bytes] | None:
                return zipped.open(info)

            if not info.filename.startswith("__MACOSX/"):
                yield _Member(info.filename, info.is_dir(), refusal, open_member)


def only_folder(unpacked: Path) -> Path:
    """Return the folder that holds everything in `unpacked`: a lone folder inside it, or itself."""
    entries = [entry for entry in unpacked.iterdir() if not entry.name.startswith(("._", ".DS_Store"))]
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else unpacked


def put_in_place(new: Path, dest: Path) -> None:
    """Rename the folder `new` to `dest`; a folder already there is removed once the new one stands."""
    old = dest.with_name(f".{dest.name}.old")
    if old.exists():
        shutil.rmtree(old)
    with suppress(FileNotFoundError):
        os.replace(dest, old)
    os.replace(new, dest)
    shutil.rmtree(old, ignore_errors=True)
