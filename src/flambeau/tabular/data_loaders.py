"""Loaders of a table: after reading it you know how a frame or a CSV file becomes batches in one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path as AnyPath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from flambeau.data.data_loaders import DataLoaders
from flambeau.data.loaders import DataLoader
from flambeau.data.splitters import IndexSplitter, RandomSplitter
from flambeau.data.tables import read_csv
from flambeau.foundation.errors import ArgumentError, EmptyError
from flambeau.foundation.lists import listify
from flambeau.tabular.columns import cont_cat_split
from flambeau.tabular.procs import Categorify, FillMissing, Normalize
from flambeau.tabular.table import as_frame
from flambeau.tabular.tabular_pandas import TabularPandas

if TYPE_CHECKING:
    import pandas as pd


class TableLoader(DataLoader):
    """A loader of rows: in training a lone last row joins the batch before it, for batch norm cannot learn from one."""

    def n_steps(self, n_processes: int = 1) -> int:
        """Return how many steps an epoch has."""
        size = self.bs * n_processes
        joins = self.training and not self.drop_last and size > 1 and self.n > size and self.n % size == 1
        return self.n // size if joins else super().n_steps(n_processes)

    def index_batches(self, n_processes: int = 1) -> Iterator[list[int]]:
        """Return the rows of each batch of the coming epoch; of several batches where `n_processes` make a step."""
        n_steps, size, places = self.n_steps(n_processes), self.bs * n_processes, list(self.get_idxs())
        for step in range(n_steps):
            is_last = step == n_steps - 1 and not self.drop_last
            yield places[step * size : None if is_last else (step + 1) * size]


class TabularDataLoaders(DataLoaders):
    """Loaders of the rows of a table; each row comes exactly once an epoch."""

    table: TabularPandas | None = None

    @classmethod
    def from_table(
        cls,
        table: TabularPandas,
        bs: int | None = None,
        val_bs: int | None = None,
        *,
        path: str | AnyPath = ".",
        device: torch.device | str | None = None,
        drop_last: bool = False,
        **options: Any,
    ) -> TabularDataLoaders:
        """Return loaders of both halves of a table; `bs` None means 64.

        `options` are further settings of `DataLoader`.

        Raises:
            ArgumentError: batches would hold a single row.
        """
        n_train = len(table.dataset.splits[0])
        if min(n_train, bs or 2) < 2:
            what = f"bs={bs}" if n_train > 1 else "one training row"
            raise ArgumentError(f"A net with batch norm learns from batches of at least 2 rows; {what} is too few.")
        device = device if device is not None else table.device
        settings = {"drop_last": drop_last, "device": device, "path": path, "dl_type": TableLoader, **options}
        dls = cls.from_datasets(table.dataset, bs if bs is not None else 64, val_bs, **settings)
        assert isinstance(dls, TabularDataLoaders)
        dls.table = table
        return dls

    @classmethod
    def from_df(
        cls,
        df: Any,
        path: str | AnyPath = ".",
        procs: Any = None,
        cat_names: Any = None,
        cont_names: Any = None,
        y_names: Any = None,
        y_block: Any = None,
        valid_idx: Any = None,
        bs: int | None = None,
        val_bs: int | None = None,
        *,
        splits: Any = None,
        valid_pct: float = 0.2,
        seed: int | None = None,
        device: torch.device | str | None = None,
        **options: Any,
    ) -> TabularDataLoaders:
        """Return loaders of a pandas, polars or Arrow table, which stays as it is.

        Without `procs` they are Categorify, FillMissing and Normalize. Without `cat_names` and `cont_names` all
        columns but the target and empty ones are used, sorted by `cont_cat_split`; a printed line tells how.
        `y_names` None is the last column. The rows at `valid_idx` validate, or those of `splits` (positions of both
        halves, or a splitter of the table), or `valid_pct` of them at random (`seed`).

        Raises:
            TableError, LabelError, EmptyError: see `TabularPandas`.
        """
        frame = as_frame(df)
        if not len(frame):
            raise EmptyError("The table has no rows.")
        targets = listify(y_names) if y_names is not None else [frame.columns[-1]]
        if cat_names is None and cont_names is None:
            cont_names, cat_names = _chosen_columns(frame, targets)
        if splits is None:
            splits = RandomSplitter(valid_pct, seed) if valid_idx is None else IndexSplitter(valid_idx)
        elif valid_idx is not None:
            raise ArgumentError("Give either valid_idx or splits, not both.")
        if callable(splits):
            splits = splits(frame)
        procs = [Categorify, FillMissing, Normalize] if procs is None else procs
        table = TabularPandas(frame, procs, cat_names, cont_names, targets, y_block, splits, device=device)
        return cls.from_table(table, bs, val_bs, path=path, seed=seed, **options)

    @classmethod
    def from_csv(
        cls,
        csv: str | AnyPath,
        path: str | AnyPath = ".",
        skipinitialspace: bool = True,
        *,
        sep: str = ",",
        encoding: str | None = None,
        decimal: str = ".",
        **options: Any,
    ) -> TabularDataLoaders:
        """Return loaders of a CSV file; `options` are those of `from_df`.

        Raises:
            TableError: the file cannot be read as a table; with the line and what to do.
        """
        frame = read_csv(csv, sep=sep, encoding=encoding, decimal=decimal, skipinitialspace=skipinitialspace)
        return cls.from_df(frame, path, **options)

    def show_batch(self, b: Any = None, max_n: int = 9, unique: bool = False, **options: Any) -> pd.DataFrame:
        """Return (a notebook draws it) rows of a training batch, decoded."""
        table = super().show_batch(b, max_n, unique, **options)
        targets = [name for name in table.columns if not isinstance(name, str)]
        y_names = self.train_ds.reader.y_names
        return numbers_apart(table.rename(columns=dict.fromkeys(targets, ", ".join(map(str, y_names)))), y_names)

    @property
    def classes(self) -> dict[Any, Any]:
        """The levels of each category."""
        return {} if self.table is None else self.table.classes

    @property
    def cat_names(self) -> list[Any]:
        """The categories, those that processes added included."""
        return self.train_ds.cat_names

    @property
    def cont_names(self) -> list[Any]:
        """The numbers, those that processes added included."""
        return self.train_ds.cont_names

    @property
    def xs(self) -> pd.DataFrame:
        """The encoded training inputs."""
        assert self.table is not None
        return self.table.train.xs


def numbers_apart(shown: pd.DataFrame, y_names: Sequence[Any], roles: Sequence[str] = ("",)) -> pd.DataFrame:
    """Return a shown table whose last column, "1.5, 20" of several targets, became a column a target.

    So do the last columns, where targets are shown in several `roles`: "actual" becomes "actual a" and "actual b".
    """
    import pandas as pd

    inputs, last = shown.iloc[:, : -len(roles)], shown.iloc[:, -len(roles) :]
    cells = [last.iloc[:, place].str.split(", ", expand=True) for place in range(len(roles))]
    if len(y_names) < 2 or any(part.shape[1] != len(y_names) for part in cells):
        return shown
    named = [
        part.set_axis([f"{role} {name}".strip() for name in y_names], axis=1)
        for role, part in zip(roles, cells, strict=True)
    ]
    return pd.concat([inputs, *named], axis=1)


def _chosen_columns(frame: pd.DataFrame, targets: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Return the numbers and the categories of a table whose owner named none, and print which they are."""
    rest = [name for name in frame.columns if name not in targets]
    empty = [name for name in rest if frame[name].isna().all()]
    conts, cats = cont_cat_split(frame[[name for name in rest if name not in empty]])
    told = [", ".join(map(str, names)) or "none" for names in (cats, conts, empty)]
    print(f"Categories: {told[0]}. Numbers: {told[1]}." + f" Left out, for they are empty: {told[2]}." * bool(empty))
    counting = [str(name) for name in conts if _counts_rows(frame[name])]
    if counting:
        print(f"{', '.join(counting)} only counts the rows. Is it an id? Then leave it out.")
    return conts, cats


def _counts_rows(column: Any) -> bool:
    """Whether a column of whole numbers rises by one from row to row."""
    return column.dtype.kind in "iu" and bool((np.diff(column.to_numpy(dtype=float, na_value=np.nan)) == 1).all())
