"""Folders of pictures: after reading it you can fetch pictures by address, find broken ones and shrink large ones.

Nothing fails silently: what could not be fetched, read or resized is returned and printed, with the reason.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import PIL.Image
from PIL.Image import Resampling

from flambeau.data.getters import get_image_files
from flambeau.foundation.errors import ArgumentError, ImageError
from flambeau.foundation.lists import L
from flambeau.foundation.parallel import parallel
from flambeau.foundation.paths import Path, atomic_write
from flambeau.vision.images import PILImage, PILImageBW

MOST_BYTES = 50 * 2**20
"""A larger file is no photo for training; reading stops there."""

MOST_TIMEOUTS = 15
"""A server that drips bytes is given up after this many timeouts."""

_SHOWN_FAILURES = 10
_BY_CHANNELS = {1: PILImageBW, 3: PILImage}
_EXTENSIONS = {"JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif"}
_WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


# ---- reading


def verify_image(fn: Any) -> bool:
    """Return whether a file is a picture that can be decoded to its last pixel."""
    return _fault(fn) is None


def verify_images(fns: Iterable[Any]) -> L[Any]:
    """Return those of the files that cannot be decoded as pictures."""
    return L(picture_faults(fns))


def picture_faults(fns: Iterable[Any], progress: bool | None = False) -> dict[Any, str]:
    """Return why files cannot be decoded as pictures, for those that cannot; `progress` None: a bar in a terminal."""
    files = list(fns)
    faults = parallel(_fault, files, threadpool=True, progress=progress)
    return {file: fault for file, fault in zip(files, faults, strict=True) if fault is not None}


def _fault(file: Any) -> str | None:
    try:
        image = PILImage.create(file)
        image.decode_near((1, 1))  # a smaller decoding reads a JPEG to its last byte, too, in a quarter of the time
        image.load()
    except ImageError as error:
        return str(error)
    return None


# ---- resizing


def resize_image(
    file: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    src: str | os.PathLike[str] = ".",
    max_size: int | None = None,
    n_channels: int = 3,
    ext: str | None = None,
    img_format: str | None = None,
    resample: int = Resampling.BILINEAR,
    resume: bool = False,
) -> Path:
    """Write `src`/`file` under the folder `dest`, its longer side at most `max_size`, and return the new file.

    A picture that is small enough is copied as it is. `ext` (".png") and `img_format` ("png") change the file type;
    `n_channels` is 3 for colour and 1 for grey. With `resume`, a file that is there already is kept.

    Raises:
        ImageError: the file is no readable picture.
    """
    if n_channels not in _BY_CHANNELS:
        raise ArgumentError(f"n_channels must be 3 (colour) or 1 (grey), got {n_channels}.")
    source, target = Path(src) / file, Path(dest) / file
    if ext is not None:
        target = target.with_suffix(ext if ext.startswith(".") else f".{ext}")
    if resume and target.exists():
        return target
    image = _BY_CHANNELS[n_channels].create(source)
    width, height = image.size
    shrink = max(width, height) / max_size if max_size else 1.0
    target.parent.mkdir(parents=True, exist_ok=True)
    if shrink <= 1 and ext is None and img_format is None:
        image.load()  # a broken file is reported, not copied
        if target.resolve() != source.resolve():
            shutil.copy2(source, target)
        return target
    size = max(1, round(width / shrink)), max(1, round(height / shrink))
    covered = image.decode_near(size)
    resized = image.resize(size, resample, box=(0, 0, *covered)) if shrink > 1 else image
    buffer = io.BytesIO()
    resized.save(buffer, img_format or PIL.Image.registered_extensions().get(target.suffix.lower(), "PNG"))
    with atomic_write(target) as opened:
        opened.write(buffer.getvalue())
    return target


def resize_images(
    path: str | os.PathLike[str],
    max_workers: int | None = None,
    max_size: int | None = None,
    recurse: bool = False,
    dest: str | os.PathLike[str] = ".",
    n_channels: int = 3,
    ext: str | None = None,
    img_format: str | None = None,
    resample: int = Resampling.BILINEAR,
    resume: bool | None = None,
) -> L[Path]:
    """Write the pictures of a folder under `dest` at a size of at most `max_size`, keeping the tree of folders.

    Returns the files that could not be read, and prints why. `dest` may be `path` itself. With `resume` (by default
    where `dest` is another folder and already there), files that are in `dest` already are kept. For the other
    arguments see `resize_image`.
    """
    source, target = Path(path), Path(dest)
    if resume is None:
        resume = target.exists() and target.resolve() != source.resolve() and target != Path(".")
    files = get_image_files(source, recurse=recurse)
    names = [file.relative_to(source) for file in files]
    work = partial(
        _resize_fault,
        dest=target,
        src=source,
        max_size=max_size,
        n_channels=n_channels,
        ext=ext,
        img_format=img_format,
        resample=resample,
        resume=resume,
    )
    faults = parallel(work, names, n_workers=max_workers, threadpool=True, progress=False)
    failed = [(file, fault) for file, fault in zip(files, faults, strict=True) if fault is not None]
    _print_failures("resize_images", len(files), [fault for _, fault in failed])
    return L(file for file, _ in failed)


def _resize_fault(file: Path, **options: Any) -> str | None:
    try:
        resize_image(file, **options)
    except (ImageError, OSError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        return str(error) if isinstance(error, ImageError) else f"{file}: {type(error).__name__}: {error}"
    return None


def _print_failures(what: str, total: int, reasons: Sequence[str]) -> None:
    if not reasons:
        return
    print(f"{what}: {len(reasons)} of {total} failed.")
    for reason in reasons[:_SHOWN_FAILURES]:
        print(f"  {reason}")
    if len(reasons) > _SHOWN_FAILURES:
        print(f"  ... and {len(reasons) - _SHOWN_FAILURES} more")


# ---- fetching


@dataclass(frozen=True)
class Downloaded:
    """What `download_images` kept (files), and what failed (pairs of address and reason)."""

    kept: L[Path]
    failed: L[tuple[str, str]]

    def __repr__(self) -> str:
        return f"{len(self.kept)} pictures kept, {len(self.failed)} failed"


def download_images(
    dest: str | os.PathLike[str],
    url_file: str | os.PathLike[str] | None = None,
    urls: Iterable[str] | None = None,
    max_pics: int = 1000,
    n_workers: int = 8,
    timeout: float = 4,
    preserve_filename: bool = False,
) -> Downloaded:
    """Fetch pictures into the folder `dest`, from addresses or from a text file with one address a line.

    Only http and https, at most 50 MB each; what arrives must be a picture. Files are named after a digest of their
    address, or with `preserve_filename` after its last part. The ending is that of the bytes received. What fails is
    printed and returned with its reason; nothing is raised for it.
    """
    if (url_file is None) == (urls is None):
        raise ArgumentError("download_images needs the addresses: give either urls=[...] or url_file='urls.txt'.")
    lines = Path(url_file).read_text().splitlines() if url_file is not None else (urls or ())
    wanted = list(dict.fromkeys(line.strip() for line in lines if str(line).strip()))[:max_pics]
    folder = Path(dest)
    folder.mkdir(parents=True, exist_ok=True)
    fetch = partial(_fetch_picture, timeout=timeout)
    kept, failed = L[Path](), L[tuple[str, str]]()

    def keep(url: str) -> tuple[str, Path | None, str]:
        content, extension, reason = fetch(url)
        if reason:
            return url, None, reason
        file = _new_file(folder, url, extension, preserve_filename)
        with atomic_write(file) as opened:
            opened.write(content)
        return url, file, ""

    for url, file, reason in parallel(keep, wanted, n_workers=n_workers, threadpool=True, progress=False):
        if file is None:
            failed.append((url, reason))
        else:
            kept.append(file)
    _print_failures("download_images", len(wanted), [f"{url}: {reason}" for url, reason in failed])
    return Downloaded(kept, failed)


def _fetch_picture(url: str, timeout: float) -> tuple[bytes, str, str]:
    """Return a picture's bytes, its ending and an empty string; or nothing, nothing and the reason."""
    if urlsplit(url).scheme.lower() not in ("http", "https"):
        return b"", "", "only http and https addresses are fetched"
    # many servers refuse Python's own name
    request = urllib.request.Request(url, headers={"User-Agent": "Mozilla/5.0 (compatible; flambeau)"})
    try:
        with _opener().open(request, timeout=timeout) as response:
            content = _read(response, time.monotonic() + MOST_TIMEOUTS * timeout)
            said = response.headers.get_content_type()
    except urllib.error.HTTPError as error:
        return b"", "", f"the server answered {error.code} {error.reason}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return b"", "", f"no answer within {timeout} s" if isinstance(reason, TimeoutError) else f"{reason}"
    except Exception as error:  # http.client raises its own family for broken answers
        return b"", "", f"{type(error).__name__}: {error}"
    if content is None:
        return b"", "", f"larger than {MOST_BYTES // 2**20} MB, or slower than {MOST_TIMEOUTS * timeout:g} s"
    try:
        with PIL.Image.open(io.BytesIO(content)) as image:
            found = image.format or ""
    except Exception:
        return b"", "", f"no picture: the server sent {said}, {len(content):,} bytes"
    return content, _EXTENSIONS.get(found, f".{found.lower()}"), ""


def _opener() -> urllib.request.OpenerDirector:
    # the default opener follows redirects to ftp, and reads local files
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.HTTPDefaultErrorHandler,
    ):
        opener.add_handler(handler())
    return opener


def _read(response: Any, deadline: float) -> bytes | None:
    content = bytearray()
    while chunk := response.read(2**16):
        content += chunk
        if len(content) > MOST_BYTES or time.monotonic() > deadline:
            return None
    return bytes(content)


def _new_file(folder: Path, url: str, extension: str, preserve_filename: bool) -> Path:
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    if not preserve_filename:
        return folder / f"{digest}{extension}"
    last = unquote(urlsplit(url).path).replace("\\", "/").rsplit("/", 1)[-1]
    stem = re.sub(r"[^\w.-]+", "_", last.rsplit(".", 1)[0]).strip("._")[:100]
    if not stem or _WINDOWS_DEVICES.match(stem):
        return folder / f"{digest}{extension}"
    # two addresses may end alike: the digest keeps both
    file = folder / f"{stem}{extension}"
    return folder / f"{stem}-{digest}{extension}" if file.exists() else file
