"""Loaders of pictures in one call: after reading it you know which one fits how your labels are kept."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path as AnyPath
from typing import Any

from flambeau.data.block import CategoryBlock, DataBlock
from flambeau.data.data_loaders import DataLoaders, seeded
from flambeau.data.getters import ItemGetter, get_image_files
from flambeau.data.labels import ColReader, RegexLabeller, parent_label
from flambeau.data.splitters import ColSplitter, GrandparentSplitter, RandomSplitter, require_halves
from flambeau.data.tables import allow_no_labels, table_column
from flambeau.data.target_blocks import block_for_values, target_block
from flambeau.foundation.errors import ArgumentError, TableError
from flambeau.foundation.lists import listify
from flambeau.foundation.paths import Path
from flambeau.vision.blocks import ImageBlock, MaskBlock
from flambeau.vision.images import PILImage

Labeller = Callable[[Any], Any]


class ByName:
    """Label a path by a function of its file name."""

    def __init__(self, function: Labeller) -> None:
        self.function = function
        self.__name__ = getattr(function, "__name__", type(function).__name__)

    def __call__(self, path: str | AnyPath) -> Any:
        return self.function(os.path.basename(path))


class ByPosixPath:
    """Label a path by a pattern searched in it, written with forward slashes on every system."""

    def __init__(self, pattern: str | re.Pattern[str]) -> None:
        self.labeller = RegexLabeller(pattern)
        self.__name__ = "from_path_re"

    def __call__(self, path: str | AnyPath) -> Any:
        return self.labeller(AnyPath(path).as_posix())


class ImageDataLoaders(DataLoaders):
    """Loaders of pictures with a label.

    All take `bs`, `val_bs`, `device`, `num_workers`, and the other settings of `DataLoaders.from_datasets`. `seed`
    governs the split, the order of training and the augmentation.
    """

    @classmethod
    def from_folder(
        cls,
        path: str | AnyPath,
        train: str = "train",
        valid: str = "valid",
        valid_pct: float | None = None,
        seed: int | None = None,
        vocab: Iterable[Any] | None = None,
        item_tfms: Any = None,
        batch_tfms: Any = None,
        img_cls: type[PILImage] = PILImage,
        **options: Any,
    ) -> DataLoaders:
        """Return loaders of `path/train/<class>/...` and `path/valid/<class>/...`.

        With `valid_pct` the pictures below `path` are split at random instead, and the parent folder is the class.

        Raises:
            EmptyError: there is no such folder, or none for one of the halves.
        """
        if valid_pct is None:
            require_halves(path, {"train": train, "valid": valid})
        splitter = GrandparentSplitter(train, valid) if valid_pct is None else RandomSplitter(valid_pct, seed)
        get_items = get_image_files if valid_pct is not None else partial(get_image_files, folders=[train, valid])
        block = DataBlock(
            blocks=(ImageBlock(img_cls), CategoryBlock(vocab=vocab)),
            get_items=get_items,
            splitter=splitter,
            get_y=parent_label,
            item_tfms=item_tfms,
            batch_tfms=batch_tfms,
        )
        return block.dataloaders(path, **{"path": path, **seeded(seed), **options})

    @classmethod
    def from_path_func(
        cls,
        path: str | AnyPath,
        fnames: Sequence[Any],
        label_func: Labeller,
        valid_pct: float = 0.2,
        seed: int | None = None,
        item_tfms: Any = None,
        batch_tfms: Any = None,
        img_cls: type[PILImage] = PILImage,
        **options: Any,
    ) -> DataLoaders:
        """Return loaders of the pictures `fnames`, each labelled by a function of its path."""
        block = DataBlock(
            blocks=(ImageBlock(img_cls), CategoryBlock),
            splitter=RandomSplitter(valid_pct, seed),
            get_y=label_func,
            item_tfms=item_tfms,
            batch_tfms=batch_tfms,
        )
        return block.dataloaders(fnames, **{"path": path, **seeded(seed), **options})

    @classmethod
    def from_name_func(
        cls, path: str | AnyPath, fnames: Sequence[Any], label_func: Labeller, **options: Any
    ) -> DataLoaders:
        """Return loaders of the pictures `fnames`, each labelled by a function of its file name."""
        if not callable(label_func):
            raise ArgumentError(f"label_func must be a function of a file name, got {label_func!r}.")
        return cls.from_path_func(path, fnames, ByName(label_func), **options)

    @classmethod
    def from_path_re(
        cls, path: str | AnyPath, fnames: Sequence[Any], pat: str | re.Pattern[str], **options: Any
    ) -> DataLoaders:
        """Return loaders of the pictures `fnames`, labelled by the first group of a pattern found in the path."""
        return cls.from_path_func(path, fnames, ByPosixPath(pat), **options)

    @classmethod
    def from_name_re(
        cls, path: str | AnyPath, fnames: Sequence[Any], pat: str | re.Pattern[str], **options: Any
    ) -> DataLoaders:
        """Return loaders of the pictures `fnames`, labelled by the first group of a pattern found in the file name."""
        return cls.from_name_func(path, fnames, RegexLabeller(pat), **options)

    @classmethod
    def from_df(
        cls,
        df: Any,
        path: str | AnyPath = ".",
        valid_pct: float = 0.2,
        seed: int | None = None,
        fn_col: int | str = 0,
        folder: str | None = None,
        suff: str = "",
        label_col: Any = 1,
        label_delim: str | None = None,
        y_block: Any = None,
        valid_col: int | str | None = None,
        item_tfms: Any = None,
        batch_tfms: Any = None,
        img_cls: type[PILImage] = PILImage,
        **options: Any,
    ) -> DataLoaders:
        """Return loaders of the pictures that a table lists.

        `fn_col` holds file names below `path/folder`, `label_col` the label, `valid_col` marks the validation rows.
        Without `y_block`, text and whole numbers are classes and floats a regression; several columns are one class
        each where they hold 0 and 1, else a regression; with `label_delim` a cell holds many labels.

        Raises:
            TableError: a column is missing, or a picture named in the table does not exist.
        """
        root = Path(path) / (folder or "")
        reader = ColReader(fn_col, pref=root, suff=suff)
        _require_files(df, reader)
        label_cols = list(label_col) if isinstance(label_col, list | tuple) else [label_col]
        block = DataBlock(
            blocks=(ImageBlock(img_cls), target_block(df, label_cols, label_delim, y_block)),
            get_x=reader,
            get_y=ColReader(label_col if len(label_cols) > 1 else label_cols[0], label_delim=label_delim),
            splitter=RandomSplitter(valid_pct, seed) if valid_col is None else ColSplitter(valid_col),
            item_tfms=item_tfms,
            batch_tfms=batch_tfms,
        )
        return block.dataloaders(df, **{"path": path, **seeded(seed), **options})

    @classmethod
    def from_csv(
        cls,
        path: str | AnyPath,
        csv_fname: str | AnyPath = "labels.csv",
        header: Any = "infer",
        delimiter: str | None = None,
        quoting: int = 0,
        **options: Any,
    ) -> DataLoaders:
        """Return loaders of the pictures that the table `path/csv_fname` lists; see `from_df`.

        Where `label_delim` cuts cells into labels, an empty cell has none, which is printed.
        """
        import pandas as pd

        file = AnyPath(path) / csv_fname
        if not file.is_file():
            raise TableError(f"There is no table {file}. Give its name with csv_fname=..., relative to path.")
        # pandas takes an explicit None as "guess", with a warning, and guesses wrong where a label holds a blank
        read = partial(pd.read_csv, file, header=header, sep=delimiter or ",", quoting=quoting)
        df = read()
        if options.get("label_delim") is not None:
            names = [table_column(df, column).name for column in listify(options.get("label_col", 1))]
            # as they are written: "NA" and "1" are labels, which pandas takes for a missing one and, beside it, for 1.0
            df[names] = read(dtype=str, keep_default_na=False, na_values=[""])[names]
            df = allow_no_labels(df, names)
        return cls.from_df(df, path=path, **options)

    @classmethod
    def from_lists(
        cls,
        path: str | AnyPath,
        fnames: Sequence[Any],
        labels: Sequence[Any],
        valid_pct: float = 0.2,
        seed: int | None = None,
        y_block: Any = None,
        item_tfms: Any = None,
        batch_tfms: Any = None,
        img_cls: type[PILImage] = PILImage,
        **options: Any,
    ) -> DataLoaders:
        """Return loaders of pictures and their labels in two lists of one length.

        Without `y_block`, text and whole numbers are classes, floats a regression, and a list an item many labels.
        """
        if len(fnames) != len(labels):
            raise ArgumentError(f"There are {len(fnames)} pictures but {len(labels)} labels; give one label a picture.")
        block = DataBlock(
            blocks=(ImageBlock(img_cls), y_block or block_for_values(list(labels))),
            getters=[ItemGetter(0), ItemGetter(1)],
            splitter=RandomSplitter(valid_pct, seed),
            item_tfms=item_tfms,
            batch_tfms=batch_tfms,
        )
        return block.dataloaders(list(zip(fnames, labels, strict=True)), **{"path": path, **seeded(seed), **options})


class SegmentationDataLoaders(DataLoaders):
    """Loaders of pictures with a class for each pixel."""

    @classmethod
    def from_label_func(
        cls,
        path: str | AnyPath,
        fnames: Sequence[Any],
        label_func: Labeller,
        valid_pct: float = 0.2,
        seed: int | None = None,
        codes: Sequence[Any] | None = None,
        item_tfms: Any = None,
        batch_tfms: Any = None,
        **options: Any,
    ) -> DataLoaders:
        """Return loaders of the pictures `fnames`; `label_func` gives the path of a mask, `codes` names its classes."""
        block = DataBlock(
            blocks=(ImageBlock, MaskBlock(codes=codes)),
            splitter=RandomSplitter(valid_pct, seed),
            get_y=label_func,
            item_tfms=item_tfms,
            batch_tfms=batch_tfms,
        )
        return block.dataloaders(fnames, **{"path": path, **seeded(seed), **options})


def _require_files(df: Any, reader: ColReader) -> None:
    if len(df) == 0:
        raise TableError("The table has no rows, so there are no pictures to load.")
    lost = [(df.index[i], name) for i in range(len(df)) if not os.path.exists(name := str(reader(df.iloc[i])))]
    if lost:
        told = "; ".join(f"row {row}: {name}" for row, name in lost[:3])
        raise TableError(
            f"{len(lost)} of {len(df)} pictures named in the table do not exist ({told}). Check path, folder and suff."
        )
