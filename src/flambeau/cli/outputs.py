"""Where commands write: after reading it you know why a place that cannot be written is told before the work."""

from __future__ import annotations

import os
from pathlib import Path

from flambeau.foundation.errors import ArgumentError


def require_folder_to_write(folder: Path, option: str = "--out") -> None:
    """Look whether a folder for results can be made, or is there and can be written.

    Raises:
        ArgumentError: a file is in its place, or it may not be written.
    """
    there = next(part for part in (folder, *folder.absolute().parents) if part.exists())
    if not there.is_dir():
        raise ArgumentError(
            f"The results need a folder, and {there} is a file. Name another place by {option}, or move the file away."
        )
    _require_rights(folder, there, option)


def require_file_to_write(file: Path, option: str) -> None:
    """Look whether a file for results can be written.

    Raises:
        ArgumentError: its folder is not there or cannot be written, or a folder has its name.
    """
    if file.is_dir():
        raise ArgumentError(f"{option} names a file, but {file} is a folder. Add a name: {file / 'answers.csv'}.")
    if not file.parent.is_dir():
        raise ArgumentError(
            f"{file} cannot be written: there is no folder {file.parent}. Make it first, or name another by {option}."
        )
    _require_rights(file, file.parent, option)


def _require_rights(place: Path, folder: Path, option: str) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ArgumentError(f"{place} may not be written: the folder {folder} is not yours. Name another by {option}.")
