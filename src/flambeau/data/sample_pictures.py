"""The real pictures that come with flambeau: after reading it you know how to get a small Fashion-MNIST offline.

6,600 grey pictures of 28 x 28 pixels in ten classes, drawn with a fixed seed from Fashion-MNIST (MIT licence, see
`fashion_pictures/LICENSE`) and packed by `tools/make_fashion_subset.py`: 560 a class to train, from the official
training set, and 100 a class to validate, from the official test set.
"""

from __future__ import annotations

import pathlib
import tempfile
from importlib.resources import files

from PIL import Image

from flambeau.foundation.errors import DataError
from flambeau.foundation.paths import Path, storage_path

FASHION_CLASSES = ("t_shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle_boot")
SPLITS = ("train", "valid")
SIDE = 28


def unpack_fashion(dest: str | pathlib.Path | None = None) -> Path:
    """Write the pictures as `<dest>/<train or valid>/<class>/<number>.png` and return `dest`.

    Without `dest` they go to `fashion_small` in the data folder of flambeau's storage. A folder that holds them
    already is left as it is; `dest` appears whole or, if the process is killed, not at all. Raises `DataError` if it
    holds other things.
    """
    folder = storage_path("data") / "fashion_small" if dest is None else Path(dest)
    if _is_unpacked(folder):
        return folder
    if folder.exists():
        if not folder.is_dir() or any(folder.iterdir()):
            raise DataError(
                f"Expected a new or empty folder for the sample pictures, but {folder} holds other things. "
                "Name another folder."
            )
        folder.rmdir()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as unfinished:
        written = Path(unfinished) / folder.name
        for split in SPLITS:
            for class_name in FASHION_CLASSES:
                _unpack_sheet(split, class_name, written / split / class_name)
        try:
            written.rename(folder)
        except OSError:
            # another process was quicker: its folder is whole, because it was renamed too
            if not _is_unpacked(folder):
                raise
    return folder


def _is_unpacked(folder: pathlib.Path) -> bool:
    return all((folder / split / class_name).is_dir() for split in SPLITS for class_name in FASHION_CLASSES)


def _unpack_sheet(split: str, class_name: str, destination: pathlib.Path) -> None:
    """Cut one contact sheet, filled row by row, into numbered PNG files."""
    destination.mkdir(parents=True)
    sheet_file = files("flambeau.data") / "fashion_pictures" / split / f"{class_name}.webp"
    with sheet_file.open("rb") as opened, Image.open(opened) as sheet:
        # WebP stores colours; the sheet is grey, so that any one channel is the picture
        grey = sheet.getchannel(0)
    n_columns, n_rows = grey.width // SIDE, grey.height // SIDE
    for number in range(n_columns * n_rows):
        row, column = divmod(number, n_columns)
        box = (column * SIDE, row * SIDE, (column + 1) * SIDE, (row + 1) * SIDE)
        # low compression: the files are tiny, and the first start of the demo waits for them
        grey.crop(box).save(destination / f"{number:05d}.png", compress_level=1)
