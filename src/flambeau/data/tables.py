"""Tables: after reading it you know how one is read, how a column is found, and what a wrong name is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path as AnyPath
from typing import TYPE_CHECKING, Any

from flambeau.foundation.errors import TableError, nearest

if TYPE_CHECKING:
    import pandas as pd

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


def require_columns(names: Sequence[Any], present: Sequence[Any], what: str = "the table") -> None:
    """Raise a TableError when columns are missing, with the nearest names that are there."""
    missing = [name for name in names if name not in present]
    if not missing:
        return
    told = []
    for name in missing[:5]:
        close = nearest(str(name), [str(column) for column in present])
        told.append(f"{name!r}" + (f" (is it {' or '.join(map(repr, close))}?)" if close else ""))
    others = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    raise TableError(
        f"{what[0].upper()}{what[1:]} lacks the column{'s' * (len(missing) > 1)} {', '.join(told)}{others}. "
        f"It has: {', '.join(map(str, list(present)[:20]))}{', ...' if len(present) > 20 else ''}."
    )


def read_csv(csv: str | AnyPath, **options: Any) -> pd.DataFrame:
    """Return the table of a CSV file, `options` being those of `pandas.read_csv`.

    Raises:
        TableError: there is no such file, it has another encoding or separator, or a row of another length; with where
            and what to do.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(csv, **options)
    except FileNotFoundError as error:
        raise TableError(f"There is no file {csv}.") from error
    except IsADirectoryError as error:
        raise TableError(f"{csv} is a folder, not a file.") from error
    except LookupError as error:
        raise TableError(f"There is no such encoding: {error}. Usual ones are 'utf-8', 'latin-1', 'utf-16'.") from error
    except UnicodeDecodeError as error:
        encoding = options.get("encoding") or "UTF-8"
        raise TableError(
            f"{csv} is no {encoding} ({_first_odd_line(csv, encoding)}). Pass encoding='latin-1', or the encoding that "
            "it has."
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise TableError(
            f"{csv} cannot be read as a table: {str(error).strip()}. Check the separator: sep=';' or sep='\\t'."
        ) from error
    if frame.shape[1] == 1 and "sep" not in options:
        name = str(frame.columns[0])
        marks = [mark for mark in (";", "\t", "|") if mark in name]
        if marks:
            raise TableError(f"{csv} has one column only, {name[:60]!r}. Its separator seems to be: sep={marks[0]!r}.")
    return frame


def _first_odd_line(csv: str | AnyPath, encoding: str) -> str:
    """Return which line of a plain file is in another encoding."""
    with open(csv, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                return f"line {number}: {error.reason}"
    return "it is compressed"
