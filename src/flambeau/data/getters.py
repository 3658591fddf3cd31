"""Finding items: after reading it you know how the files of a folder become a list, and what is skipped."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from flambeau.foundation.errors import EmptyError, nearest
from flambeau.foundation.lists import L, listify
from flambeau.foundation.paths import Path

# What Pillow opens without further programs; the system's own table of types differs between machines.
image_extensions: frozenset[str] = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".jp2"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".ico", ".tga"}
)
text_extensions: frozenset[str] = frozenset([".txt"])


def get_files(
    path: str | os.PathLike[str],
    extensions: str | Iterable[str] | None = None,
    recurse: bool = True,
    folders: str | Iterable[str] | None = None,
    followlinks: bool = True,
) -> L[Path]:
    """Return the files under `path`, sorted.

    Hidden files and folders (a name that begins with a dot) are skipped. `extensions` such as ".csv" are compared
    without regard to case. `folders` names the folders directly under `path` to look into, and no others; "." among
    them means the files of `path` itself.

    Raises EmptyError when there is nothing, saying what is there instead.
    """
    wanted = frozenset(extension.lower() for extension in listify(extensions)) if extensions is not None else None
    root = os.fspath(path)
    if not os.path.isdir(root):
        raise _no_folder(root)
    found: list[str] = []
    chosen = listify(folders)
    if chosen and recurse:
        for folder in chosen:
            if folder == ".":
                _gather(root, wanted, False, followlinks, set(), found)
            elif os.path.isdir(os.path.join(root, folder)):
                _gather(os.path.join(root, folder), wanted, True, followlinks, set(), found)
    else:
        _gather(root, wanted, recurse, followlinks, set(), found)
    if not found:
        raise _nothing(root, wanted, recurse, chosen)
    found.sort()
    return L([Path(name) for name in found])


def _gather(
    folder: str,
    wanted: frozenset[str] | None,
    recurse: bool,
    followlinks: bool,
    visited: set[tuple[int, int]],
    found: list[str],
) -> None:
    """Add the files of `folder` to `found`; `visited` stops links that lead in a circle."""
    subfolders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                continue
            # The extension is asked first: it costs no question to the disk.
            if (wanted is None or os.path.splitext(name)[1].lower() in wanted) and entry.is_file():
                found.append(entry.path)
            elif recurse and entry.is_dir(follow_symlinks=followlinks):
                subfolders.append(entry)
    for entry in subfolders:
        if followlinks:
            status = os.stat(entry.path)
            identity = (status.st_dev, status.st_ino)
            if identity in visited:
                continue
            visited = visited | {identity}
        _gather(entry.path, wanted, recurse, followlinks, visited, found)


def _no_folder(root: str) -> EmptyError:
    if os.path.exists(root):
        return EmptyError(f"{root!r} is a file; expected a folder to look for files in.")
    parent = os.path.dirname(os.path.abspath(root))
    if not os.path.isdir(parent):
        return EmptyError(f"There is no folder {root!r}, nor the folder above it ({parent}).")
    there = sorted(entry.name for entry in os.scandir(parent) if entry.is_dir())
    close = nearest(os.path.basename(root), there)
    hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"{parent} holds {_some(there, 'folders')}."
    return EmptyError(f"There is no folder {root!r}. {hint}")


def _nothing(root: str, wanted: frozenset[str] | None, recurse: bool, folders: list[str]) -> EmptyError:
    """Say what was looked for, where, and what is there instead."""
    kind = "file" if wanted is None else f"file ending in {', '.join(sorted(wanted))}"
    depth = "" if recurse else " itself (recurse=False)"
    within = f", in its folders {', '.join(map(repr, folders))}" if folders else ""
    return EmptyError(f"No {kind} in {root!r}{depth}{within}. {_inventory(root)}")


def _inventory(root: str) -> str:
    subfolders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and entry.name[0] != ".")
    endings: Counter[str] = Counter()
    for _, folders, names in _walk_some(root):
        folders[:] = [name for name in folders if name[0] != "."]
        endings.update(os.path.splitext(name)[1] or "no extension" for name in names if name[0] != ".")
    if not subfolders and not endings:
        return "The folder is empty."
    files = ", ".join(f"{ending} ({count})" for ending, count in endings.most_common(5))
    return f"It holds {_some(subfolders, 'folders')} and {f'files: {files}' if files else 'no files'}."


def _walk_some(root: str) -> Iterator[tuple[str, list[str], list[str]]]:
    # A hundred folders tell what is there; an error should not read a whole disk.
    for _, step in zip(range(100), os.walk(root), strict=False):
        yield step


def _some(names: list[str], what: str) -> str:
    if not names:
        return f"no {what}"
    return f"the {what} {', '.join(map(repr, names[:6]))}{f' and {len(names) - 6} more' if len(names) > 6 else ''}"


def get_image_files(
    path: str | os.PathLike[str], recurse: bool = True, folders: str | Iterable[str] | None = None
) -> L[Path]:
    """Return the pictures under `path`, sorted; see `get_files`."""
    return get_files(path, image_extensions, recurse, folders)


def get_text_files(
    path: str | os.PathLike[str], recurse: bool = True, folders: str | Iterable[str] | None = None
) -> L[Path]:
    """Return the `.txt` files under `path`, sorted; see `get_files`."""
    return get_files(path, text_extensions, recurse, folders)


@dataclass(frozen=True)
class FileGetter:
    """Find files as `get_files` does, in the folder `suf` under the path it is called with."""

    suf: str = ""
    extensions: str | Iterable[str] | None = None
    recurse: bool = True
    folders: str | Iterable[str] | None = None

    def __call__(self, path: str | os.PathLike[str]) -> L[Path]:
        folder = os.path.join(path, self.suf) if self.suf else path
        return get_files(folder, self.extensions, self.recurse, self.folders)


def ImageGetter(suf: str = "", recurse: bool = True, folders: str | Iterable[str] | None = None) -> FileGetter:
    """Return a `FileGetter` for pictures."""
    return FileGetter(suf, image_extensions, recurse, folders)


@dataclass(frozen=True)
class ItemGetter:
    """Take element `index` of an item."""

    index: Any

    def __call__(self, item: Any) -> Any:
        return item[self.index]


@dataclass(frozen=True)
class AttrGetter:
    """Take the attribute `name` of an item; `default` where it has none, unless that is None."""

    name: str
    default: Any = None

    def __call__(self, item: Any) -> Any:
        return getattr(item, self.name) if self.default is None else getattr(item, self.name, self.default)
