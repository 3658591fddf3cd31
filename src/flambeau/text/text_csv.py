"""CSV files of texts: after reading it you know that a cell is read as it stands, and which columns become numbers.

To pandas a review that says no more than "NA", "null" or "None" is missing, and a column of texts such as "007" holds
whole numbers. Here only an empty cell is missing, and a text stays as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path as AnyPath
from typing import TYPE_CHECKING, Any

from flambeau.data.tables import read_csv

if TYPE_CHECKING:
    import pandas as pd

NO_NUMBER = ("NA", "N/A", "n/a", "<NA>", "#NA", "#N/A", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None")
"""What stands in a column of numbers for one that is missing, as pandas has it."""
TRUTHS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}
# no zero in front, and few enough digits for 64 bits: what is longer is a name, as of an account
_INTEGER = "(?:0|[1-9][0-9]{0,17})"
_WHOLE = re.compile(f"[+-]?{_INTEGER}")
_DECIMAL = re.compile(rf"[+-]?(?:(?:{_INTEGER}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|(?i:inf|infinity))")


def read_cells(csv: str | AnyPath, **options: Any) -> pd.DataFrame:
    """Return the table of a CSV file with each cell as the string that stands in the file; an empty one is missing.

    Raises:
        TableError: the file cannot be read as a table; see `read_csv`.
    """
    return read_csv(csv, dtype=str, keep_default_na=False, na_values=[""], **options)


def with_values(cells: pd.DataFrame, texts: Collection[Any]) -> pd.DataFrame:
    """Return a table of strings in which all columns but `texts` hold the numbers and truth values that they tell.

    A column of whole numbers, or of decimal ones, becomes numbers, where each cell holds one or says that it is missing
    ("NA", "nan"). One in which a cell has a zero in front ("007"), or more digits than a number, is of names.
    """
    import pandas as pd

    columns = [cells[name] if name in texts else _valued(cells[name]) for name in cells.columns]
    return pd.concat(columns, axis=1) if columns else cells


def _valued(column: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    told = {cell: cell.strip() for cell in column.dropna().unique()}
    if told and all(word in TRUTHS for word in told.values()):
        return _mapped(column, {cell: TRUTHS[word] for cell, word in told.items()})
    numbers = {cell: word for cell, word in told.items() if word not in NO_NUMBER}
    if not any(word[-1:].isdigit() or word[-1:] == "." for word in numbers.values()):
        return column  # no more than words, of which "inf" may be one
    if all(map(_WHOLE.fullmatch, numbers.values())):
        return _mapped(column, {cell: int(word) for cell, word in numbers.items()})
    if all(map(_DECIMAL.fullmatch, numbers.values())):
        return pd.Series([float(numbers.get(cell, "nan")) for cell in column], column.index, float, column.name)
    return column


def _mapped(column: pd.Series[Any], values: dict[str, Any]) -> pd.Series[Any]:
    """Return the values of a column's cells, as objects where some are missing: pandas would make them floats."""
    import pandas as pd

    found = [values.get(cell) for cell in column]
    return pd.Series(found, column.index, object if None in found else None, column.name)
