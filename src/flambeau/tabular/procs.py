"""Processes of a table: after reading it you know how categories become numbers, gaps are filled, numbers are scaled.

Each process learns from the training rows (`setups`), then encodes any table (`encodes`), and writes what it learnt as
plain values (`settings`), so that an export predicts without the training data and without running anyone's code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flambeau.data.labels import CategoryMap
from flambeau.data.transform import Transform
from flambeau.foundation.errors import ArgumentError, TableError, unknown_name
from flambeau.tabular.table import FEW, Table, is_empty_cell, plain

UNKNOWN = "#na#"
SMALLEST_DEVIATION = 1e-7


class TabularProc(Transform):
    """A process of a table: `setups(table)` learns from training rows, `encodes(table)` changes a table in place."""

    def setups(self, items: Table) -> None:
        """Learn from the training rows."""

    def encodes(self, x: Table) -> Table:
        """Return the table encoded; its lists and columns may be replaced."""
        return x


class Categorify(TabularProc):
    """Turn each category into its number; 0 is "#na#", for empty cells and for levels that training never saw.

    Levels are sorted; a categorical column keeps the order of its categories, an ordered one also those that do not
    occur in training.
    """

    order = 1

    def __init__(self, classes: Mapping[Any, Sequence[Any]] | None = None) -> None:
        super().__init__()
        self.levels: dict[Any, list[Any]] = {name: list(levels) for name, levels in (classes or {}).items()}
        self._numbers: dict[Any, dict[Any, int]] = {}

    @property
    def classes(self) -> dict[Any, CategoryMap]:
        """The levels of each column, "#na#" at 0."""
        return {name: CategoryMap(levels, sort=False, add_na=True) for name, levels in self.levels.items()}

    def setups(self, items: Table) -> None:
        for name in items.cat_names:
            if name not in self.levels:
                self.levels[name] = _levels(items.columns[name], name)
        self._numbers = {}

    def encodes(self, x: Table) -> Table:
        for name in x.cat_names:
            column = x.columns[name]
            codes = self._few(name, column) if x.n <= FEW else self._many(name, column)
            if not codes.any() and self.levels[name]:
                self._tell_unknown(name, column)
            x.columns[name] = codes
        return x

    def _few(self, name: Any, column: Any) -> npt.NDArray[np.int64]:
        if name not in self._numbers:
            self._numbers[name] = {level: place for place, level in enumerate(self.levels[name], 1)}
        numbers = self._numbers[name]
        return np.array([0 if is_empty_cell(v) else numbers.get(plain(v), 0) for v in column], dtype=np.int64)

    def _many(self, name: Any, column: Any) -> npt.NDArray[np.int64]:
        import pandas as pd

        # only the values that differ are looked up
        codes, values = pd.factorize(column)
        table = np.append(self._few(name, list(values)), 0)  # -1, an empty cell, falls on the last place
        return table[codes]

    def _tell_unknown(self, name: Any, column: Any) -> None:
        """Print that none of several values is known, or that one is a word where training had numbers, or vice versa.

        A single value that is new is nothing special.
        """
        first, levels = _first(column), self.levels[name]
        other_sort = all(isinstance(first, str) != isinstance(level, str) for level in levels)
        if first is not None and (len(column) > 1 or other_sort):
            known = ", ".join(map(repr, levels[:5]))
            print(f"No value of column {name!r} is known from training (first: {first!r}; known: {known}).")

    def settings(self) -> dict[str, Any]:
        return {"classes": self.levels}


def _levels(column: Any, name: Any) -> list[Any]:
    import pandas as pd

    categorical = column.cat if isinstance(getattr(column, "dtype", None), pd.CategoricalDtype) else None
    try:
        values = pd.unique(pd.Series(column).dropna())
    except TypeError as error:
        raise TableError(
            f"Column {name!r} holds {_first(column)!r}, which cannot be a level: levels are words, numbers or truths. "
            f"Leave the column out, or make words of it: df[{name!r}].astype(str)."
        ) from error
    present = dict.fromkeys(map(plain, values))
    if categorical is not None:
        levels = [plain(level) for level in categorical.categories]
        return levels if categorical.ordered else [level for level in levels if level in present]
    if getattr(getattr(column, "dtype", None), "kind", "O") in "Mm":
        raise TableError(
            f"Column {name!r} holds dates or times ({column.dtype}), each nearly a level of its own. Take them apart "
            f"first: df = add_datepart(df, {name!r})."
        )
    try:
        return sorted(present)
    except TypeError:  # numbers and words in one column
        return sorted(present, key=lambda level: (isinstance(level, str), str(level)))


def _first(column: Any) -> Any:
    return next((plain(value) for value in column if not is_empty_cell(value)), None)


class FillStrategy:
    """How FillMissing chooses what stands for an empty cell; each takes the column's numbers that are there."""

    @staticmethod
    def median(values: npt.NDArray[np.float64], fill: float) -> float:
        """Return the median."""
        return float(np.median(values))

    @staticmethod
    def constant(values: npt.NDArray[np.float64], fill: float) -> float:
        """Return the given constant."""
        return float(fill)

    @staticmethod
    def mode(values: npt.NDArray[np.float64], fill: float) -> float:
        """Return the number that occurs most often, the smallest of several."""
        found, counts = np.unique(values, return_counts=True)
        return float(found[counts.argmax()])


class FillMissing(TabularProc):
    """Fill empty cells of number columns; with `add_col` a category `<name>_na` tells where, for those with gaps.

    Every number column gets a stored value, also those without gaps in training, so that new gaps are filled too.
    `fill_vals` gives constants by column (FillStrategy.constant).
    """

    order = 0

    def __init__(
        self,
        fill_strategy: Callable[[npt.NDArray[np.float64], float], float] | str = FillStrategy.median,
        add_col: bool = True,
        fill_vals: Mapping[Any, float] | None = None,
        *,
        fills: Mapping[Any, float] | None = None,
        flagged: Sequence[Any] = (),
    ) -> None:
        super().__init__()
        name = fill_strategy if isinstance(fill_strategy, str) else fill_strategy.__name__
        if name not in ("median", "constant", "mode"):
            raise unknown_name("fill strategy", name, ["median", "constant", "mode"])
        self.fill_strategy, self.add_col, self.fill_vals = name, add_col, dict(fill_vals or {})
        self.fills: dict[Any, float] = dict(fills or {})
        self.flagged = list(flagged)

    def setups(self, items: Table) -> None:
        choose = getattr(FillStrategy, self.fill_strategy)
        for name in items.cont_names:
            values = items.numbers(name)
            there = values[~np.isnan(values)]
            if not len(there) and self.fill_strategy != "constant":
                raise TableError(
                    f"Column {name!r} is empty in all {items.n} training rows, so nothing can stand for its gaps. "
                    "Leave it out of cont_names."
                )
            self.fills[name] = choose(there, self.fill_vals.get(name, 0.0))
            if len(there) < items.n and self.add_col and name not in self.flagged:
                if f"{name}_na" in items.columns:
                    raise TableError(
                        f"FillMissing tells in a column {f'{name}_na'!r} where {name!r} was empty, but the table has "
                        "a column of this name already. Rename it, or pass FillMissing(add_col=False)."
                    )
                self.flagged.append(name)

    def encodes(self, x: Table) -> Table:
        for name in x.cont_names:
            values = x.numbers(name)
            gaps = np.isnan(values)
            if name in self.flagged:
                x.columns[f"{name}_na"] = gaps
                x.cat_names.append(f"{name}_na")
            x.columns[name] = np.where(gaps, self.fills[name], values) if gaps.any() else values
        return x

    def settings(self) -> dict[str, Any]:
        return {
            "fill_strategy": self.fill_strategy,
            "add_col": self.add_col,
            "fill_vals": self.fill_vals,
            "fills": self.fills,
            "flagged": self.flagged,
        }


class Normalize(TabularProc):
    """Subtract each number column's mean and divide by its deviation; a constant column becomes zeros."""

    order = 2

    def __init__(self, means: Mapping[Any, float] | None = None, stds: Mapping[Any, float] | None = None) -> None:
        super().__init__()
        self.means: dict[Any, float] = dict(means or {})
        self.stds: dict[Any, float] = dict(stds or {})

    def setups(self, items: Table) -> None:
        for name in items.cont_names:
            values = items.numbers(name)
            there = values[~np.isnan(values)]
            if not len(there):
                raise TableError(f"Column {name!r} is empty in all {items.n} training rows. Leave it out.")
            with np.errstate(over="ignore"):
                self.means[name], self.stds[name] = float(there.mean()), float(there.std())
            if not np.isfinite(self.stds[name]):
                raise TableError(
                    f"The numbers of column {name!r} are too large to be scaled, up to {np.abs(there).max():.3g}. Take "
                    f"their logarithm: np.log(df[{name!r}])."
                )

    def encodes(self, x: Table) -> Table:
        for name in x.cont_names:
            deviation = self.stds[name]
            scale = 1 / deviation if deviation > SMALLEST_DEVIATION * max(abs(self.means[name]), 1e-20) else 0.0
            x.columns[name] = (x.numbers(name) - self.means[name]) * scale
        return x

    def settings(self) -> dict[str, Any]:
        return {"means": self.means, "stds": self.stds}


class Dummies(TabularProc):
    """Turn categories into dummy columns of zeros and ones, one a level: `Sex_female`, `Sex_male`.

    `names` chooses the columns (None: all categories). An unknown level is zero in all of them. Comes after
    Categorify, and after Normalize, which leaves these columns as they are.
    """

    order = 3

    def __init__(self, names: Sequence[Any] | None = None, levels: Mapping[Any, Sequence[Any]] | None = None) -> None:
        super().__init__()
        self.names = None if names is None else list(names)
        self.levels: dict[Any, list[Any]] = {name: list(found) for name, found in (levels or {}).items()}

    def learn_levels(self, procs: Sequence[Transform], table: Table) -> None:
        """Take the levels from the Categorify among the processes.

        Raises:
            ArgumentError: there is none, or a column is no category.
        """
        known = next((proc.levels for proc in procs if isinstance(proc, Categorify)), None)
        if known is None:
            raise ArgumentError("Dummies needs Categorify too: procs=[Categorify, FillMissing, Normalize, Dummies].")
        for name in table.cat_names if self.names is None else self.names:
            if name not in known:
                raise unknown_name("category to make dummy columns of", name, map(str, known))
            self.levels[name] = list(known[name])

    def encodes(self, x: Table) -> Table:
        for name, levels in self.levels.items():
            codes = x.columns.pop(name)
            x.cat_names.remove(name)
            for place, level in enumerate(levels, 1):
                x.columns[f"{name}_{level}"] = (codes == place).astype(np.float64)
                x.cont_names.append(f"{name}_{level}")
        return x

    def settings(self) -> dict[str, Any]:
        return {"names": self.names, "levels": self.levels}
