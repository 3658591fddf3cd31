"""A table as columns: after reading it you know how a frame, an Arrow table or a row is read, and what is refused.

Everything downstream works on whole columns as arrays, never on rows, and on copies: the frame given stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flambeau.data.tables import as_pandas, require_columns
from flambeau.foundation.errors import EmptyError, TableError

if TYPE_CHECKING:
    import pandas as pd

FEW = 64  # up to so many cells, a dictionary is faster than the machinery of pandas


def as_frame(table: Any) -> pd.DataFrame:
    """Return a pandas data frame of a table: one itself, or what has `to_pandas` (polars, Arrow) or is a mapping.

    Raises:
        TableError: it is no table, or two columns have one name.
    """
    import pandas as pd

    if isinstance(table, pd.Series):
        table = table.to_frame().T
    elif isinstance(table, Mapping):
        table = pd.DataFrame(table)
    frame = as_pandas(table, "table", "TabularDataLoaders.from_csv")
    twice = [str(name) for name in dict.fromkeys(frame.columns[frame.columns.duplicated()])]
    if twice:
        raise TableError(f"Several columns have one name: {', '.join(map(repr, twice))}. Rename or drop all but one.")
    return frame


@dataclass
class Table:
    """Columns by name, each a pandas Series or an array, and which of them are categories and which are numbers.

    Processes change the lists of names and replace columns; `name` tells a row to a person.
    """

    columns: dict[Any, Any]
    n: int
    cat_names: list[Any] = field(default_factory=list)
    cont_names: list[Any] = field(default_factory=list)
    labels: Any = None

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, cat_names: Sequence[Any], cont_names: Sequence[Any]) -> Table:
        """Return the columns of a frame that are inputs.

        Raises:
            TableError: a column is missing. EmptyError: there are no rows.
        """
        require_columns([*cat_names, *cont_names], list(frame.columns))
        if not len(frame):
            raise EmptyError("The table has no rows.")
        columns = {name: frame[name] for name in (*cat_names, *cont_names)}
        return cls(columns, len(frame), list(cat_names), list(cont_names), frame.index)

    @classmethod
    def from_rows(cls, rows: Sequence[Any], cat_names: Sequence[Any], cont_names: Sequence[Any]) -> Table:
        """Return the columns of a few rows, each a Series or a dictionary: the short way of a prediction.

        Raises:
            TableError: a row is something else, or lacks a column.
        """
        columns: dict[Any, Any] = {name: np.empty(len(rows), dtype=object) for name in (*cat_names, *cont_names)}
        for place, row in enumerate(rows):
            if not hasattr(row, "keys"):
                raise TableError(
                    f"A row is a Series (df.iloc[0]) or a dictionary of the columns, got a {type(row).__name__}."
                )
            cells = row.to_dict() if hasattr(row, "to_dict") else row
            require_columns(list(columns), list(cells), f"row {place}")
            for name, column in columns.items():
                column[place] = cells[name]
        labels = [getattr(row, "name", place) for place, row in enumerate(rows)]
        return cls(columns, len(rows), list(cat_names), list(cont_names), labels)

    def take(self, places: Any) -> Table:
        """Return the table of some rows."""
        columns = {name: c.iloc[places] if hasattr(c, "iloc") else c[places] for name, c in self.columns.items()}
        labels = self.labels
        if labels is not None:
            labels = labels[places] if hasattr(labels, "dtype") else [labels[place] for place in places]
        return replace(self, columns=columns, n=len(places), labels=labels)

    def copy(self) -> Table:
        """Return a table whose lists and columns can be replaced without touching this one."""
        return replace(
            self, columns=dict(self.columns), cat_names=list(self.cat_names), cont_names=list(self.cont_names)
        )

    def name(self, place: int) -> str:
        """Return words for a row."""
        return f"row {place if self.labels is None else self.labels[place]}"

    def numbers(self, name: Any) -> npt.NDArray[np.float64]:
        """Return a column as numbers, NaN where it is empty.

        Raises:
            TableError: a cell is no number, or is infinite; with its row.
        """
        values = as_numbers(self.columns[name], name, self.name)
        # one sum instead of a test a cell: infinite or not a number where some cell is
        if not np.isfinite(values.sum()):
            endless = np.flatnonzero(np.isinf(values))
            if len(endless):
                raise TableError(
                    f"Column {name!r} holds {values[endless[0]]} at {self.name(int(endless[0]))} ({len(endless)} such "
                    "cells). Replace infinities by a number, or by NaN, which FillMissing fills."
                )
        return values


def as_numbers(column: Any, name: Any, row_name: Callable[[int], str]) -> npt.NDArray[np.float64]:
    """Return a Series or array as floats, NaN where it is empty; see `Table.numbers`."""
    dtype = column.dtype
    if getattr(dtype, "kind", "O") in "Mm":
        raise TableError(
            f"Column {name!r} holds dates or times ({dtype}), which are no numbers. Turn them into numbers first: "
            f"df = add_datepart(df, {name!r})."
        )
    if isinstance(dtype, np.dtype) and dtype.kind in "fiub":
        return np.asarray(column, dtype=np.float64)
    if getattr(dtype, "kind", "O") in "fiub":  # pandas' own numbers, which may be missing
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    found = np.empty(len(column))
    for place, value in enumerate(column):
        if is_empty_cell(value):
            found[place] = np.nan
            continue
        if isinstance(value, str) or hasattr(value, "isoformat"):
            _refuse(name, value, row_name(place))
        try:
            found[place] = float(value)
        except (TypeError, ValueError):
            _refuse(name, value, row_name(place))
    return found


def _refuse(name: Any, value: Any, row: str) -> None:
    if hasattr(value, "isoformat"):
        raise TableError(
            f"Column {name!r} holds a date at {row}: {value}. Turn dates into numbers: add_datepart(df, {name!r})."
        )
    raise TableError(
        f"Column {name!r} is among the numbers (cont_names), but holds {value!r} at {row}. Make it a category "
        f"(cat_names), or turn it into numbers: pd.to_numeric(df[{name!r}], errors='coerce')."
    )


def is_empty_cell(value: Any) -> bool:
    """Whether a cell holds nothing: None, NaN, NaT or pandas' NA."""
    if value is None:
        return True
    if isinstance(value, str):
        return False
    try:
        return bool(value != value)
    except TypeError:  # pandas' NA compares to NA, which has no truth
        return True
    except ValueError:  # an array compares to several truths
        return False


def plain(value: Any) -> Any:
    """Return a level as JSON can hold it: Python's own number, string or truth; anything else as its words."""
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, str | int | float) else str(value)
