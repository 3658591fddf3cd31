"""Tables: after reading it you know how a column is found by its name or its place, and what a wrong name is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.foundation.errors import TableError, nearest

MOST_SHOWN = 12


def table_column(table: Any, name: str | int) -> Any:
    """Return a column of a data frame by its name, else by its place.

    Raises:
        TableError: there is no such column; the nearest are proposed.
    """
    names = list(table.columns)
    if name in names:
        return table[name]
    if isinstance(name, int) and -len(names) <= name < len(names):
        return table.iloc[:, name]
    raise no_column(name, names)


def no_column(name: str | int, names: Iterable[Any], where: str = "The table") -> TableError:
    """Build the error for a column that is not there, proposing the nearest of `names`."""
    known = list(names)
    close = nearest(str(name), map(str, known))
    shown = ", ".join(map(repr, known[:MOST_SHOWN])) + (", ..." if len(known) > MOST_SHOWN else "")
    hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"Its columns: {shown}."
    return TableError(f"{where} has no column {name!r}. {hint}")
