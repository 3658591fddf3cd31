"""Fetching data: after reading it you know where `untar_data` puts a data set, and what happens when the line breaks.

A file arrives under another name and is renamed when it is whole and checked; a folder likewise. A killed process
therefore leaves an old state or a new one. What came of a broken download is kept and continued, if the server says
that its file is still the same.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, NoReturn
from urllib.parse import urlsplit

from flambeau.data.archives import archive_stem, only_folder, put_in_place, unpack
from flambeau.data.urls import URLs, file_name
from flambeau.foundation.errors import ArgumentError, DownloadError
from flambeau.foundation.paths import Path, atomic_write, storage_path

_CHUNK = 2**18
_PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds before each new try; a try that brought something starts the row again
_MAY_PASS = (408, 425, 429, 500, 502, 503, 504)  # HTTP answers that say "later", not "never"

Report = Callable[[int, int | None], None]  # called with the bytes that are here, and how many there will be


class _DroppedError(Exception):
    """The connection broke; trying again may help."""


# ---- data sets


def untar_data(
    url: str,
    archive: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    c_key: str = "data",
    force_download: bool = False,
    sha256: str | None = None,
    timeout: float = 10,
) -> Path:
    """Download the archive at `url`, unpack it and return its folder; what is already here is not fetched again.

    The archive is kept in the folder `archive` and unpacked in the folder `data`; by default both lie under
    `storage_path`, that is FLAMBEAU_HOME or `~/.flambeau`. An archive placed there by hand is taken without a network.
    `sha256` is the checksum expected of the whole archive; without one, that of the first download is kept beside it
    and compared from then on.

    Raises DownloadError when the archive cannot be fetched, is damaged, or tries to write outside its folder.
    """
    kept = (storage_path("archive") if archive is None else Path(archive)) / file_name(url)
    folder = storage_path(c_key) if data is None else Path(data)  # type: ignore[arg-type]  # storage_path checks it
    dest = folder / archive_stem(kept.name)
    if dest.is_dir() and not force_download:
        return dest
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(dest):
        if dest.is_dir() and not force_download:
            return dest  # another process made it while this one waited
        download_data(url, kept, force_download=force_download, timeout=timeout, sha256=sha256)
        beside = folder / f".{dest.name}.unpacking"
        try:
            unpack(kept, beside)
            put_in_place(only_folder(beside), dest)
        except DownloadError as error:
            if not _record(kept).exists():  # placed by hand: it is not ours to delete
                raise DownloadError(f"{error} Replace {kept}, then run again.") from error
            kept.unlink(missing_ok=True)
            _record(kept).unlink(missing_ok=True)
            raise DownloadError(f"{error} The archive was deleted; run again to fetch it anew.") from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return dest


def download_data(
    url: str,
    fname: str | os.PathLike[str] | None = None,
    c_key: str = "archive",
    force_download: bool = False,
    timeout: float = 10,
    sha256: str | None = None,
    show_progress: bool = True,
) -> Path:
    """Return the file of `url`, downloaded to `fname` (by default into storage) unless it is there already.

    Raises DownloadError when it cannot be fetched or its checksum differs.
    """
    target = URLs.path(url, c_key) if fname is None else Path(fname)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target):
        expected = sha256 or _recorded(target)
        if target.exists() and not force_download:
            if expected is not None:
                _compare(target, checksum(target), expected, f"Delete {target}, then run again.")
            return target
        advice = f"Or download it in a browser, put it at {target}, then run again."
        digest = _download(url, target, expected, timeout, show_progress, advice)
        with atomic_write(_record(target), "w") as record:
            record.write(f"{digest}  {target.name}\n")
    return target


def download_url(
    url: str,
    dest: str | os.PathLike[str] | None = None,
    show_progress: bool = True,
    timeout: float = 10,
    sha256: str | None = None,
) -> Path:
    """Download `url` to the file or into the folder `dest` (by default here) and return its path.

    An earlier file is replaced, a broken download continued. `timeout` is the longest silence allowed, in seconds.

    Raises DownloadError when the file cannot be fetched or its checksum differs; an earlier file then stays.
    """
    target = Path(file_name(url)) if dest is None else Path(dest)
    if target.is_dir():
        target = target / file_name(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target):
        _download(url, target, sha256, timeout, show_progress, f"Or download it in a browser and put it at {target}.")
    return target


# ---- checksums


def checksum(path: str | os.PathLike[str]) -> str:
    """Return the sha256 of a whole file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _compare(path: Path, digest: str, expected: str, advice: str) -> None:
    if digest != expected.lower():
        raise DownloadError(f"The sha256 of {path} is {digest}, expected {expected.lower()}. {advice}")


def _record(path: Path) -> Path:
    """Return where the checksum of a downloaded file is kept, in the format of `sha256sum`."""
    return path.with_name(f"{path.name}.sha256")


def _recorded(path: Path) -> str | None:
    try:
        return _record(path).read_text(encoding="utf-8").split()[0]
    except (FileNotFoundError, IndexError):
        return None


# ---- one download


def _download(url: str, target: Path, sha256: str | None, timeout: float, show_progress: bool, advice: str) -> str:
    """Bring `url` to `target` and return its checksum."""
    scheme = urlsplit(url).scheme
    if scheme not in ("http", "https", "file"):
        raise ArgumentError(f"Expected an address with http, https or file, got {url!r}. For a file: path.as_uri().")
    part = target.with_name(f"{target.name}.part")
    with _bar(target.name, show_progress) as report:
        if scheme == "file":
            _copy(url, part)
        else:
            _fetch(url, part, timeout, report, advice)
    digest = checksum(part)
    if sha256 is not None and digest != sha256.lower():
        _forget(part)
        known = _record(target)
        change = f" If a new version is meant, delete {known}." if known.exists() else ""
        raise DownloadError(f"What came from {url} has sha256 {digest}, expected {sha256.lower()}: not kept.{change}")
    os.replace(part, target)
    _note(part).unlink(missing_ok=True)
    return digest


def _copy(url: str, part: Path) -> None:
    source = urllib.request.url2pathname(urlsplit(url).path)
    try:
        shutil.copyfile(source, part)
    except OSError as error:
        raise DownloadError(f"Could not copy {url}: {error}.") from error


def _fetch(url: str, part: Path, timeout: float, report: Report, advice: str) -> None:
    """Receive `url`, trying again after each break until several tries in a row brought nothing."""
    failures, most = 0, _size(part)
    while True:
        try:
            return _receive(url, part, timeout, report, advice)
        except _DroppedError as error:
            # measured by the most there ever was: a server that always starts anew would be asked for ever
            failures = 0 if _size(part) > most else failures + 1
            most = max(most, _size(part))
            if failures > len(_PAUSES):
                raise DownloadError(f"Could not download {url}: {error} ({failures} times). {advice}") from error
            time.sleep(_PAUSES[max(failures - 1, 0)])


def _receive(url: str, part: Path, timeout: float, report: Report, advice: str) -> None:
    """Ask once for what is missing of `part`, and write it as it comes."""
    validator = _validator(url, part)
    here = _size(part) if validator else 0
    headers = {"User-Agent": "Mozilla/5.0 (compatible; flambeau)", "Accept-Encoding": "identity"}
    if validator:
        headers |= {"Range": f"bytes={here}-", "If-Range": validator}
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout, context=_certificates()) as response:
            continues = response.status == 206 and _starts_at(response) == here
            if not continues:
                here = 0
                _forget(part)  # before the new note: old bytes under a new mark would be continued
                _note(part).write_text(json.dumps({"url": url, "validator": _validator_of(response)}), encoding="utf-8")
            length = response.headers.get("Content-Length")
            total = here + int(length) if length else None
            with open(part, "ab" if continues else "wb") as file:
                here = _write(response, file, here, total, report)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # more is here than the server has: another file
            _forget(part)
            raise _DroppedError("the server's file has changed") from error
        if error.code in _MAY_PASS:
            raise _DroppedError(f"the server answered {error.code} {error.reason}") from error
        _give_up(url, f"the server answered {error.code} {error.reason}", advice, error)
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
            raise _DroppedError(str(error.reason)) from error
        _give_up(url, _reason(url, error.reason, timeout), advice, error)
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise _DroppedError(f"the connection broke ({error or type(error).__name__})") from error
    except OSError as error:
        _give_up(url, f"it could not be written ({error})", "What came is kept.", error)
    if total is not None and here != total:
        raise _DroppedError(f"the connection broke after {here} of {total} bytes")


def _write(response: IO[bytes], file: IO[bytes], here: int, total: int | None, report: Report) -> int:
    """Write all that comes and return how much is there then."""
    report(here, total)
    while chunk := response.read(_CHUNK):
        file.write(chunk)
        here += len(chunk)
        report(here, total)
    file.flush()
    os.fsync(file.fileno())
    return here


def _give_up(url: str, reason: str, advice: str, error: Exception) -> NoReturn:
    raise DownloadError(f"Could not download {url}: {reason}. {advice}") from error


def _reason(url: str, error: object, timeout: float) -> str:
    """Say in words why no connection came about."""
    host = urlsplit(url).hostname
    if isinstance(error, socket.gaierror):
        return f"the name {host} is not known here (no network, or a mistyped address)"
    if isinstance(error, ConnectionRefusedError):
        return f"{host} refused the connection"
    if isinstance(error, TimeoutError):
        return f"{host} did not answer within {timeout:g} seconds"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {host} was refused ({error.verify_message}); is this computer's clock right?"
    return str(error)


def _certificates() -> ssl.SSLContext:
    """Trust what the system trusts, and certifi's list too: some Pythons for macOS come without any."""
    context = ssl.create_default_context()
    with suppress(ImportError):
        import certifi  # type: ignore[import-not-found,unused-ignore]

        context.load_verify_locations(certifi.where())
    return context


# ---- what a broken download leaves


def _note(part: Path) -> Path:
    """Return where it is kept of which file `part` is the beginning."""
    return part.with_name(f"{part.name}.json")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _validator(url: str, part: Path) -> str | None:
    """Return the mark by which the server tells whether its file is the one `part` began, or None to start anew."""
    if not _size(part):
        return None
    try:
        note = json.loads(_note(part).read_text(encoding="utf-8"))
        return str(note["validator"]) if note["url"] == url and note["validator"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _validator_of(response: http.client.HTTPResponse) -> str | None:
    """Return a strong mark of the server's file (RFC 9110, 13.1.5: a weak ETag may not ask for a part)."""
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _starts_at(response: http.client.HTTPResponse) -> int | None:
    unit, _, span = (response.headers.get("Content-Range") or "").partition(" ")
    start = span.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdigit() else None


# ---- alone, and seen


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time make `path`; the others wait and find it made."""
    lock_path = path.with_name(f".{path.name}.lock")
    while True:
        lock = open(lock_path, "a+b")  # noqa: SIM115 - held open until the end: closing it gives the lock away
        _wait_for(lock)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), os.stat(lock_path)):
                break
        lock.close()  # the one before deleted the file that was waited for
    try:
        yield
    finally:
        with suppress(OSError):  # Windows deletes no open file: an empty one stays
            lock_path.unlink()
        lock.close()


def _wait_for(lock: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        while True:
            with suppress(OSError):  # it gives up after ten seconds each time
                return msvcrt.locking(lock.fileno(), msvcrt.LK_LOCK, 1)
    else:
        import fcntl

        with suppress(OSError):  # some network drives have no locks; there one process has to do
            fcntl.flock(lock, fcntl.LOCK_EX)


@contextmanager
def _bar(name: str, show: bool) -> Iterator[Report]:
    """Show a bar on stderr where someone watches, else one line."""
    if not show:
        yield lambda here, total: None
    elif not sys.stderr.isatty():
        yield _one_line(name)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(name, total=None)
            yield lambda here, total: progress.update(task, completed=here, total=total)


def _one_line(name: str) -> Report:
    said = False

    def report(here: int, total: int | None) -> None:
        nonlocal said
        if not said:
            size = "" if total is None else f" ({total / 1e6:.1f} MB)"
            print(f"Downloading {name}{size} ...", file=sys.stderr, flush=True)
            said = True

    return report
