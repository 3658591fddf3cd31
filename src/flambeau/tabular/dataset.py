"""Rows as tensors: after reading it you know why a batch of a table costs one index a column group, and no Python.

Processes run once, over whole columns, when the data set is made; what is left are three tensors, and a batch is a
selection of their rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.data.dataset import Datasets, Getter, Rows
from flambeau.data.kinds import Kind
from flambeau.data.labels import ColReader
from flambeau.data.pipeline import Pipeline
from flambeau.data.tables import require_columns
from flambeau.data.transform import Transform
from flambeau.foundation.errors import ArgumentError, TableError
from flambeau.foundation.tensors import as_places
from flambeau.tabular.kinds import Levels, Numbers
from flambeau.tabular.procs import UNKNOWN, Categorify, Dummies, Normalize
from flambeau.tabular.table import Table, as_frame
from flambeau.tabular.targets import Target, encode_target


class TableReader(Transform):
    """Which columns of a table are categories, numbers and targets: where the reading of a row begins."""

    def __init__(
        self,
        cat_names: Sequence[Any] = (),
        cont_names: Sequence[Any] = (),
        y_names: Sequence[Any] = (),
    ) -> None:
        super().__init__()
        self.cat_names, self.cont_names, self.y_names = list(cat_names), list(cont_names), list(y_names)

    def settings(self) -> dict[str, Any]:
        return {"cat_names": self.cat_names, "cont_names": self.cont_names, "y_names": self.y_names}


class TableDataset(Datasets):
    """The rows of a table as tensors: categories (n, columns) int64, numbers (n, columns) float32, and a target.

    The first pipeline holds the reader and the processes, the second none; then comes one for the target.
    """

    travels: ClassVar[bool] = True
    tensors: tuple[Tensor, ...]

    def __init__(
        self,
        frame: Any,
        reader: TableReader,
        procs: Sequence[Transform],
        target: Target | None,
        splits: list[Sequence[int]],
    ) -> None:
        targets = [] if target is None else [Pipeline([Getter(ColReader(reader.y_names), "get_y"), target.transform])]
        self.source, self._items = Rows(frame), None
        self.pipelines = [Pipeline([reader, *procs]), Pipeline(), *targets]
        self.n_inp, self.splits, self.split_idx = 2, splits, None
        self.indices: Sequence[int] = range(len(frame))
        self._kinds, self._c = None, None
        train = np.asarray(splits[0], dtype=np.int64)
        table = Table.from_frame(frame, reader.cat_names, reader.cont_names)
        for place, proc in enumerate(procs):
            if isinstance(proc, Dummies):
                proc.learn_levels(procs[:place], table)
            elif proc.learns:
                proc.setup(table.take(train), train_setup=True)
            table = proc.encodes(table.copy())
        found = [] if target is None else [encode_target(frame, reader.y_names, target.transform, splits)]
        self._cat_names, self._cont_names = tuple(table.cat_names), tuple(table.cont_names)
        self.tensors = (*as_tensors(table), *found)
        self._kinds = [*self._input_kinds(), *([] if target is None else [target.kind])]

    # what it holds

    @property
    def reader(self) -> TableReader:
        """The columns that it reads."""
        reader = self.pipelines[0][0]
        assert isinstance(reader, TableReader)
        return reader

    @property
    def procs(self) -> list[Any]:
        """The processes, in their order."""
        return self.pipelines[0].transforms[1:]

    @property
    def cat_names(self) -> list[Any]:
        """The columns of the first tensor."""
        kind = self.kinds[0]
        return list(kind.names) if isinstance(kind, Levels) else []

    @property
    def cont_names(self) -> list[Any]:
        """The columns of the second tensor."""
        kind = self.kinds[1]
        return list(kind.names) if isinstance(kind, Numbers) else []

    def _input_kinds(self) -> list[Kind]:
        classes = next((proc.levels for proc in self.procs if isinstance(proc, Categorify)), {})
        scaling = next((proc for proc in self.procs if isinstance(proc, Normalize)), None)
        means, stds = ({}, {}) if scaling is None else (scaling.means, scaling.stds)
        vocabs = tuple((UNKNOWN, *classes.get(name, ())) for name in self._cat_names)
        own_means = tuple(means.get(name, 0.0) for name in self._cont_names)
        return [
            Levels(self._cat_names, vocabs),
            Numbers(self._cont_names, own_means, tuple(stds.get(name, 1.0) for name in self._cont_names)),
        ]

    # rows

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the batch of these rows: one selection a tensor."""
        places = as_places(indices)
        columns = [tensor.index_select(0, places) for tensor in self.tensors]
        return Batch(tuple(columns[:2]), tuple(columns[2:]), tuple(self.kinds[: len(columns)]))

    def __getitem__(self, place: Any) -> Any:
        if type(place) is int:
            return tuple(tensor[place] for tensor in self.tensors)
        return super().__getitem__(place)

    def __len__(self) -> int:
        return len(self.indices)

    def _view(self, indices: Sequence[int], split_idx: int | None) -> TableDataset:
        view = super()._view(indices, split_idx)
        assert isinstance(view, TableDataset)
        at = {} if isinstance(self.indices, range) else {index: place for place, index in enumerate(self.indices)}
        places = torch.tensor([at.get(index, index) for index in indices] if at else list(indices), dtype=torch.long)
        view.tensors = tuple(tensor[places] for tensor in self.tensors)
        return view

    def _first_targets(self) -> Sequence[Any]:
        return [tensor[0] for tensor in self.tensors[self.n_inp :]]

    def is_random(self, training: bool) -> bool:
        return False

    def with_items(self, items: Any, n_columns: int | None = None) -> TableDataset:
        """Return the data set of a new table, or of a list of rows, through the same processes.

        Raises:
            TableError: a column is missing, or a cell cannot be used; with row and column.
        """
        other = object.__new__(TableDataset)
        other.__dict__.update(self.__dict__)
        with_target = n_columns is None or n_columns > self.n_inp
        few = isinstance(items, list | tuple) and not with_target and all(hasattr(row, "keys") for row in items)
        if few and not any(getattr(row, "ndim", 1) == 2 for row in items):
            table = Table.from_rows(items, self.reader.cat_names, self.reader.cont_names)
            other.source = list(items)
        else:
            frame = _frame_of(items)
            table = Table.from_frame(frame, self.reader.cat_names, self.reader.cont_names)
            other.source = Rows(frame)
        for proc in self.procs:
            table = proc.encodes(table)
        other.tensors = as_tensors(table)
        if with_target and len(self.pipelines) > self.n_inp:
            require_columns(self.reader.y_names, list(frame.columns))
            everything = [range(len(frame)), range(0)]
            found = encode_target(frame, self.reader.y_names, self.pipelines[2].transforms[-1], everything)
            other.tensors = (*other.tensors, found)
        else:
            other.pipelines = self.pipelines[: self.n_inp]
            other._kinds = self.kinds[: self.n_inp]
        other.indices, other.split_idx, other._items = range(table.n), 1, None
        other.splits = [[], range(table.n)]
        if table.n and self.is_template:
            other._c = None if with_target else self._c
        return other

    def item_name(self, index: int) -> str:
        return self.source.name(index) if isinstance(self.source, Rows) else f"row {index}"


def _frame_of(items: Any) -> Any:
    import pandas as pd

    if isinstance(items, Rows):
        return items.frame
    if isinstance(items, list | tuple):
        frames = [_row_frame(item) for item in items]
        return pd.concat(frames) if frames else pd.DataFrame()
    if isinstance(items, str):
        raise TableError(f"A table was expected, got the words {items!r}. Read the file first: pd.read_csv({items!r}).")
    return as_frame(items)


def _row_frame(item: Any) -> Any:
    """Return the frame of one row.

    Raises:
        TableError: it is no row, or a table of several.
    """
    import pandas as pd

    if not hasattr(item, "keys") and not hasattr(item, "to_pandas"):
        raise TableError(
            f"A row is a Series (df.iloc[0]) or a dictionary of the columns, got a {type(item).__name__}. For a table "
            "of rows: learn.get_preds(dl=learn.dls.test_dl(df))."
        )
    frame = as_frame(item) if hasattr(item, "to_pandas") or isinstance(item, pd.DataFrame) else pd.DataFrame([item])
    if len(frame) != 1:
        raise TableError(
            f"One row was expected, got a table of {len(frame)}. For a table of rows: "
            "learn.get_preds(dl=learn.dls.test_dl(df))."
        )
    return frame


def as_tensors(table: Table) -> tuple[Tensor, Tensor]:
    """Return the categories and the numbers of a processed table.

    Raises:
        TableError: a category was never numbered, or a number is missing or larger than float32 holds.
    """
    cats = np.empty((table.n, len(table.cat_names)), dtype=np.int64)
    for place, name in enumerate(table.cat_names):
        codes = table.columns[name]
        if not isinstance(codes, np.ndarray) or codes.dtype.kind not in "iu":
            raise ArgumentError(f"Column {name!r} is a category; numbers are made of it by procs=[Categorify, ...].")
        cats[:, place] = codes
    conts = np.empty((table.n, len(table.cont_names)), dtype=np.float32)
    for place, name in enumerate(table.cont_names):
        with np.errstate(over="ignore"):
            conts[:, place] = table.numbers(name)
    if np.isfinite(conts.sum()):
        return torch.from_numpy(cats), torch.from_numpy(conts)
    if np.isnan(conts).any():
        row, place = (int(found[0]) for found in np.nonzero(np.isnan(conts)))
        n_gaps = int(np.isnan(conts[:, place]).sum())
        raise TableError(
            f"Column {table.cont_names[place]!r} has {n_gaps} empty cells, the first at {table.name(row)}. Add "
            "FillMissing to procs, or drop these rows."
        )
    if np.isinf(conts).any():
        row, place = (int(found[0]) for found in np.nonzero(np.isinf(conts)))
        raise TableError(
            f"Column {table.cont_names[place]!r} holds a number too large for a net at {table.name(row)}. Add "
            "Normalize to procs, or take the logarithm."
        )
    return torch.from_numpy(cats), torch.from_numpy(conts)
