"""Tables: after reading it you know how one is read, how a column is found, and what a wrong name is told."""

from __future__ import annotations

import codecs
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path as AnyPath
from typing import TYPE_CHECKING, Any

from flambeau.foundation.errors import TableError, nearest

if TYPE_CHECKING:
    import pandas as pd

MOST_SHOWN = 12


def table_column(table: Any, name: str | int) -> Any:
    """Return a column of a data frame by its name, else by its place.

    Raises:
        TableError: there is no such column, or several; of the former the nearest are proposed.
    """
    names = list(table.columns)
    if names.count(name) > 1:
        raise TableError(f"The table has {names.count(name)} columns of the name {name!r}. Rename all but one.")
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


def allow_no_labels(table: pd.DataFrame, names: Iterable[str | int]) -> pd.DataFrame:
    """Return a table read from a CSV file in which an empty cell of a column of several labels stands for none of them.

    How many there are is printed: pandas has them as missing, which they may be as well.
    """
    table = table.copy(deep=False)
    for column in (table_column(table, name) for name in names):
        n_empty, n, name = int(column.isna().sum()), len(table), column.name
        if n_empty:
            told = repr(name) if isinstance(name, str) else str(name)  # a number, where the file names no columns
            print(f"{n_empty} of {n} rows have an empty cell in {told}: they have none of the labels.")
            table[name] = column.astype(object).where(column.notna(), "")
    return table


def as_pandas(table: Any, what: str, for_files: str) -> pd.DataFrame:
    """Return a pandas, polars or Arrow table, or a `datasets.Dataset`, as one of pandas.

    Of a `datasets.Dataset` the numbers of a ClassLabel, also in lists, become the names that they stand for.

    Raises:
        TableError: it is something else; `what` was expected, and what reads files are told.
    """
    import pandas as pd

    frame = table.to_pandas() if hasattr(table, "to_pandas") else table
    if isinstance(frame, pd.DataFrame):
        for column, feature in (getattr(table, "features", None) or {}).items():
            inner = getattr(feature, "feature", feature)  # of a list, what it holds
            if type(inner).__name__ == "ClassLabel" and column in frame:
                name_of = partial(_class_name, inner.names)
                frame[column] = [name_of(cell) for cell in frame[column].tolist()]
        return frame
    hint = ""
    if isinstance(table, Mapping) and table:
        hint = f" A dictionary came: give one of its tables, such as data[{next(iter(table))!r}]."
    raise TableError(
        f"A {what} was expected (a pandas, polars or Arrow one, or a datasets.Dataset), got a "
        f"{type(table).__name__}.{hint} For a file use {for_files}."
    )


def _class_name(names: Sequence[str], number: Any) -> Any:
    """Return the name of a class, or of each in a list; None where it is missing, which datasets writes as -1."""
    if hasattr(number, "__len__"):
        return [_class_name(names, one) for one in number]
    return names[int(number)] if number is not None and number >= 0 else None  # NaN is not


def read_csv(csv: str | AnyPath, **options: Any) -> pd.DataFrame:
    """Return the table of a CSV file, `options` being those of `pandas.read_csv`.

    Raises:
        TableError: there is no such file, it has another encoding or separator, a row of another length, or a column's
            name twice; with where and what to do.
    """
    import pandas as pd

    if len(str(options.get("sep", ","))) > 1:
        options = {"engine": "python", **options}  # pandas' quicker engine knows separators of one letter only
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # where rows are longer than the first line, pandas would take their first cells as an index
            frame = pd.read_csv(csv, **{"index_col": False, **options})
    except FileNotFoundError as error:
        raise TableError(f"There is no file {csv}.") from error
    except IsADirectoryError as error:
        raise TableError(f"{csv} is a folder; name the CSV file in it.") from error
    except LookupError as error:
        raise TableError(f"There is no such encoding: {error}. Usual ones are 'utf-8', 'latin-1', 'utf-16'.") from error
    except UnicodeDecodeError as error:
        encoding = options.get("encoding") or "UTF-8"
        with open(csv, "rb") as file:
            likely = likely_encoding(file.read(2))
        raise TableError(
            f"{csv} is no {encoding} ({_first_odd_line(csv, encoding)}). Pass encoding={likely!r}, or the encoding "
            "that it has."
        ) from error
    except pd.errors.ParserWarning as error:
        raise TableError(
            f"The rows of {csv} have more cells than its first line names columns. Name each column there."
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise TableError(
            f"{csv} cannot be read as a table: {str(error).strip()}. Check the separator: sep=';' or sep='\\t'."
        ) from error
    if frame.shape[1] == 1:
        name = str(frame.columns[0])
        marks = [mark for mark in (";", "\t", "|", ",") if mark in name and mark != options.get("sep", ",")]
        if marks:
            raise TableError(f"{csv} has one column only, {name[:60]!r}. Its separator seems to be: sep={marks[0]!r}.")
    _require_names_once(csv, frame, options)
    return frame


def _require_names_once(csv: str | AnyPath, frame: pd.DataFrame, options: dict[str, Any]) -> None:
    """Raise a TableError where pandas renamed a second column `x` to `x.1`."""
    import pandas as pd

    names = [str(name) for name in frame.columns]
    suspects = [name for name in names if name.rpartition(".")[0] in names and name.rpartition(".")[2].isdigit()]
    if all(name.replace(".", "").isdigit() for name in names):
        return  # no names but a row of numbers: the file has no line of names
    if not suspects or options.get("header", 0) != 0 or "names" in options:
        return
    written = pd.read_csv(csv, **{**options, "header": None, "nrows": 1}).iloc[0].map(str)
    twice = list(dict.fromkeys(written[written.duplicated()]))
    if twice:
        raise TableError(f"{csv} has several columns of one name: {', '.join(map(repr, twice))}. Rename all but one.")


def likely_encoding(start: bytes) -> str:
    """Return the encoding that a file which is not in UTF-8 is likely to have, by its first bytes."""
    return "utf-16" if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "latin-1"


def _first_odd_line(csv: str | AnyPath, encoding: str) -> str:
    """Return which line of a plain file is in another encoding."""
    with open(csv, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                return f"line {number}: {error.reason}"
    return "it is compressed"
