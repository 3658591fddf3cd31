"""A cleaned table: after reading it you know how a frame becomes the numbers that nets and forests learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from flambeau.data.dataset import Datasets, checked_splits
from flambeau.data.labels import CategoryMap
from flambeau.data.tables import require_columns
from flambeau.data.transform import Transform
from flambeau.foundation.errors import ArgumentError, EmptyError, TableError
from flambeau.foundation.lists import L, listify
from flambeau.tabular.dataset import TableDataset, TableReader
from flambeau.tabular.procs import Categorify, TabularProc
from flambeau.tabular.remarks import remarks
from flambeau.tabular.table import as_frame
from flambeau.tabular.targets import choose_target

if TYPE_CHECKING:
    import pandas as pd

    from flambeau.tabular.data_loaders import TabularDataLoaders


class TabularPandas:
    """A table whose columns went through processes: categories as numbers, gaps filled, numbers scaled.

    Args:
        df: a pandas, polars or Arrow table; it is never changed.
        procs: processes, classes or objects, such as [Categorify, FillMissing, Normalize]; sorted by their `order`.
        cat_names, cont_names: the columns that are categories and those that are numbers.
        y_names: the target, or several; `y_block` overrides what is told of it in a printed line.
        splits: positions of the training rows and of the validation rows, as a splitter gives them (None: all train).
        do_setup: learn and encode at once (False: when `setup()` is called).
        device: where loaders put the batches.
        inplace: accepted for course code; the frame stays as it is either way, and is not copied.
        reduce_memory: give `xs` and `items` the smallest whole numbers and 32-bit floats.

    Raises:
        TableError: a column is missing, is of the wrong sort, or is target and input at once. EmptyError: no rows.
        LabelError: a target is missing.
    """

    def __init__(
        self,
        df: Any,
        procs: Any = None,
        cat_names: Any = None,
        cont_names: Any = None,
        y_names: Any = None,
        y_block: Any = None,
        splits: Sequence[Any] | None = None,
        do_setup: bool = True,
        device: torch.device | str | None = None,
        inplace: bool = False,
        reduce_memory: bool = True,
    ) -> None:
        frame = as_frame(df)
        if not len(frame):
            raise EmptyError("The table has no rows.")
        self.reader = TableReader(listify(cat_names), listify(cont_names), listify(y_names))
        names = [*self.reader.cat_names, *self.reader.cont_names, *self.reader.y_names]
        _check_names(self.reader, list(frame.columns))
        self._raw, self.y_block, self.device, self.reduce_memory = frame[names], y_block, device, reduce_memory
        self.procs = sorted((_made(proc) for proc in listify(procs)), key=lambda proc: proc.order)
        self.splits = [range(len(frame)), []] if splits is None else checked_splits(splits, len(frame))
        if not len(self.splits[0]):
            raise EmptyError(f"The training half of the split is empty ({len(frame)} rows in all).")
        self._dataset: TableDataset | None = None
        self._items: pd.DataFrame | None = None
        self._pending: Any = None  # a new frame, and the data set whose processes it will go through
        self._source: TableDataset | None = None
        self._target_line = ""
        if do_setup:
            self.setup()

    def setup(self) -> TabularPandas:
        """Let the processes learn from the training rows, and encode all rows."""
        target = None
        if self.reader.y_names:
            target = choose_target(self._raw, self.reader.y_names, self.y_block, np.asarray(self.splits[0]))
            print(target.line)
        self._dataset = TableDataset(self._raw, self.reader, self.procs, target, self.splits)
        for line in remarks(self._dataset):
            print(line)
        return self

    @property
    def dataset(self) -> TableDataset:
        """The rows as tensors.

        Raises:
            ArgumentError: nothing was learnt yet.
        """
        if self._dataset is None and self._pending is not None:
            self.process()
        if self._dataset is None:
            raise ArgumentError("This table was made with do_setup=False: call setup() first.")
        return self._dataset

    @classmethod
    def _of(cls, dataset: Datasets, like: TabularPandas) -> TabularPandas:
        assert isinstance(dataset, TableDataset)
        made = object.__new__(cls)
        made.__dict__.update(like.__dict__)
        made._dataset, made._items, made._pending = dataset, None, None
        made.splits = dataset.splits
        return made

    # halves

    @property
    def train(self) -> TabularPandas:
        """The training rows."""
        return self._of(self.dataset.train, self)

    @property
    def valid(self) -> TabularPandas:
        """The validation rows."""
        return self._of(self.dataset.valid, self)

    def new(self, df: Any, inplace: bool = False) -> TabularPandas:
        """Return another table that will go through what was learnt from this one, by `process()` or when it is read.

        Its target columns may be missing.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._pending, other._source = as_frame(df), self.dataset
        other._dataset = other._items = None
        return other

    def process(self) -> None:
        """Encode a table made by `new`; one that is encoded already stays as it is."""
        if self._dataset is None and self._source is not None:
            has_targets = bool(self.reader.y_names) and set(self.reader.y_names) <= set(self._pending.columns)
            self._dataset = self._source.with_items(self._pending, None if has_targets else 2)

    # what it holds

    @property
    def cat_names(self) -> L[Any]:
        """The categories, those that processes added included."""
        return L(self.dataset.cat_names)

    @property
    def cont_names(self) -> L[Any]:
        """The numbers, those that processes added included."""
        return L(self.dataset.cont_names)

    @property
    def y_names(self) -> L[Any]:
        """The targets."""
        return L(self.reader.y_names)

    @property
    def classes(self) -> dict[Any, CategoryMap]:
        """The levels of each category, "#na#" at 0."""
        return next((proc.classes for proc in self.procs if isinstance(proc, Categorify)), {})

    @property
    def vocab(self) -> Any:
        """The classes of the target."""
        return self.dataset.vocab

    @property
    def items(self) -> pd.DataFrame:
        """The encoded table: categories as numbers, numbers scaled, targets as numbers."""
        if self._items is None:
            import pandas as pd

            from flambeau.tabular.columns import df_shrink

            cats, conts, *targets = self.dataset.tensors
            columns: dict[Any, Any] = {}
            groups = zip((self.cat_names, self.cont_names, self.y_names), (cats, conts, *targets), strict=False)
            for names, tensor in groups:
                values = tensor.numpy().reshape(len(tensor), len(names))
                columns.update({name: values[:, place] for place, name in enumerate(names)})
            frame = pd.DataFrame(columns, index=self._index())
            self._items = df_shrink(frame, int2uint=False) if self.reduce_memory else frame
        return self._items

    def _index(self) -> Any:
        frame = self.dataset.source.frame
        return frame.index[np.asarray(self.dataset.indices)] if len(self.dataset) < len(frame) else frame.index

    @property
    def xs(self) -> pd.DataFrame:
        """The inputs: categories, then numbers."""
        return self.items[[*self.cat_names, *self.cont_names]]

    @property
    def cats(self) -> pd.DataFrame:
        """The categories."""
        return self.items[list(self.cat_names)]

    @property
    def conts(self) -> pd.DataFrame:
        """The numbers."""
        return self.items[list(self.cont_names)]

    @property
    def ys(self) -> pd.DataFrame:
        """The targets as numbers.

        Raises:
            ArgumentError: this table has none.
        """
        if len(self.dataset.tensors) < 3:
            raise ArgumentError("This table has no target: it was made without y_names, or without those columns.")
        return self.items[list(self.y_names)]

    @property
    def y(self) -> pd.Series:
        """The (first) target as numbers."""
        return self.ys.iloc[:, 0]

    @property
    def targ(self) -> pd.DataFrame:
        """The targets as numbers."""
        return self.ys

    @property
    def iloc(self) -> _Rows:
        """The table of some rows, by position: `to.iloc[:5]`."""
        return _Rows(self)

    def __len__(self) -> int:
        return len(self.dataset)

    # looking

    def decode(self) -> pd.DataFrame:
        """Return the table as it was before categories became numbers and numbers were scaled; gaps stay filled."""
        import pandas as pd

        dataset = self.dataset
        columns: dict[Any, Any] = {}
        for kind, tensor in zip(dataset.kinds, dataset.tensors, strict=False):
            columns.update(_decoded_columns(kind, tensor.numpy(), self.reader.y_names))
        return pd.DataFrame(columns, index=self._index())

    def show(self, max_n: int = 10) -> pd.DataFrame:
        """Return (a notebook draws it) the first rows, decoded."""
        return self.iloc[:max_n].decode()

    def dataloaders(self, bs: int | None = None, val_bs: int | None = None, **options: Any) -> TabularDataLoaders:
        """Return loaders of both halves; see `TabularDataLoaders.from_table`."""
        from flambeau.tabular.data_loaders import TabularDataLoaders

        return TabularDataLoaders.from_table(self, bs, val_bs, **options)

    def __repr__(self) -> str:
        if self._dataset is None and self._pending is None:
            return f"TabularPandas of {len(self._raw)} rows, not set up"
        return f"TabularPandas of {len(self)} rows: categories {list(self.cat_names)}, numbers {list(self.cont_names)}"


class _Rows:
    """Rows of a table by position."""

    def __init__(self, table: TabularPandas) -> None:
        self.table = table

    def __getitem__(self, places: Any) -> TabularPandas:
        n = len(self.table)
        chosen = range(n)[places] if isinstance(places, slice) else [range(n)[place] for place in listify(places)]
        return TabularPandas._of(self.table.dataset.at(list(chosen)), self.table)


def _decoded_columns(kind: Any, values: Any, y_names: Sequence[Any]) -> dict[Any, Any]:
    from flambeau.data.kinds import Category
    from flambeau.tabular.kinds import Levels, Numbers, unscaled

    if isinstance(kind, Levels):
        vocabs = [np.array(vocab, dtype=object) for vocab in kind.vocabs]
        return {name: vocabs[place][values[:, place]] for place, name in enumerate(kind.names)}
    if isinstance(kind, Numbers):
        numbers = unscaled(values, kind.means, kind.stds)
        return {name: numbers[:, place] for place, name in enumerate(kind.names)}
    if isinstance(kind, Category):
        return {y_names[0]: np.array(kind.vocab, dtype=object)[values]}
    return {name: values[:, place] for place, name in enumerate(y_names)}


def _check_names(reader: TableReader, present: list[Any]) -> None:
    inputs = [*reader.cat_names, *reader.cont_names]
    require_columns([*inputs, *reader.y_names], present)
    if not inputs:
        raise ArgumentError("The table has no inputs: name columns in cat_names or cont_names (cont_cat_split helps).")
    leaks = [name for name in reader.y_names if name in inputs]
    if leaks:
        raise TableError(
            f"The target {', '.join(map(repr, leaks))} is among the inputs, so the answer would be given away. Take it "
            "out of cat_names and cont_names."
        )
    twice = [name for place, name in enumerate(inputs) if name in inputs[:place]]
    if twice:
        raise TableError(f"Column {twice[0]!r} is named twice among cat_names and cont_names.")
    odd = [name for name in (*inputs, *reader.y_names) if not isinstance(name, str)]
    if odd:
        raise TableError(f"Columns must be named by words, got {odd[0]!r}. Rename: df.columns = df.columns.map(str).")


def _made(proc: Any) -> Transform:
    made = proc() if isinstance(proc, type) else proc
    if not isinstance(made, TabularProc):
        raise ArgumentError(
            f"procs are processes of a table ({made!r} came): Categorify, FillMissing, Normalize, Dummies of "
            "flambeau.tabular, or a TabularProc of your own."
        )
    from copy import deepcopy

    return deepcopy(made)
