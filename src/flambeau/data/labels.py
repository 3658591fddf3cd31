"""Labels: after reading it you know how one is read from a path, an attribute or a row, and how classes get numbers."""

from __future__ import annotations

import os
import pathlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flambeau.data.tables import no_column, table_column
from flambeau.foundation.errors import ArgumentError, LabelError, nearest
from flambeau.foundation.lists import L, listify

NA_LABEL = "#na#"
WHOLE = (str, int)  # what most labels are: Python's own, and never missing


def parent_label(item: str | os.PathLike[str]) -> str:
    """Return the name of the folder that holds `item`."""
    # by text: parsing a Path anew for each of a hundred thousand files is what building loaders would mostly do
    name = os.path.basename(os.path.dirname(os.fspath(item).rstrip("/" + os.sep)))
    if not name:
        raise LabelError(f"{os.fspath(item)!r} lies in no folder, so parent_label has no name to read.")
    return name


class RegexLabeller:
    """Read the label from a path or text with the first group of a regular expression.

    `match=True` looks at the beginning only. Paths are written with forward slashes on every system.
    """

    def __init__(self, pat: str | re.Pattern[str], match: bool = False) -> None:
        try:
            self.pattern = re.compile(pat)
        except re.error as error:
            raise ArgumentError(f"{pat!r} is not a regular expression: {error}.") from error
        if not self.pattern.groups:
            raise ArgumentError(f"The pattern {self.pattern.pattern!r} has no group: put the label in parentheses.")
        self.match = match

    def __call__(self, item: object) -> str:
        text = item.as_posix() if isinstance(item, pathlib.PurePath) else str(item)
        found = self.pattern.match(text) if self.match else self.pattern.search(text)
        if found is None or found.group(1) is None:
            where = "the beginning of " if self.match else ""
            raise LabelError(f"The pattern {self.pattern.pattern!r} does not match {where}{text!r}.")
        return found.group(1)

    def __repr__(self) -> str:
        return f"RegexLabeller({self.pattern.pattern!r}, match={self.match})"


@dataclass(frozen=True)
class UsingAttribute:
    """Apply `f` to one attribute of the item."""

    f: Callable[[Any], Any]
    attribute: str

    def __call__(self, item: Any) -> Any:
        return self.f(getattr(item, self.attribute))


def using_attr(f: Callable[[Any], Any], attr: str) -> UsingAttribute:
    """Return a function that applies `f` to the attribute `attr` of its item, such as a path's `name`."""
    return UsingAttribute(f, attr)


def is_missing(value: Any) -> bool:
    """Say whether `value` is None, NaN, NaT or pandas' NA, without importing pandas."""
    if type(value) in WHOLE:
        return False
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


class ColReader:
    """Read one or several columns of a row: a Series, a named tuple of `itertuples`, a dictionary or a plain sequence.

    `pref` and `suff` are put round the value (a folder as `pref` is joined as a path), `label_delim` cuts the text into
    several labels, blank ones left out. A number as column is a position, where it is not a name.
    """

    def __init__(
        self,
        cols: str | int | Iterable[str | int],
        pref: str | os.PathLike[str] = "",
        suff: str = "",
        label_delim: str | None = None,
    ) -> None:
        self.cols: list[str | int] = [_plain(col) for col in listify(cols)]
        self.pref = str(pref) + os.path.sep if isinstance(pref, pathlib.PurePath) else str(pref)
        self.suff, self.label_delim = suff, label_delim
        if not self.cols:
            raise ArgumentError("ColReader needs at least one column, got none.")

    def __call__(self, row: Any) -> Any:
        values = [self._read(row, col) for col in self.cols]
        return values[0] if len(values) == 1 else L(values)

    def require_columns(self, table: Any) -> None:
        """Raise a TableError where a data frame lacks one of the columns."""
        for col in self.cols:
            table_column(table, col)

    def _read(self, row: Any, col: str | int) -> Any:
        value = _cell(row, col)
        if is_missing(value):
            names = _column_names(row)
            name = names[col] if isinstance(col, int) and col not in names and names else col
            raise LabelError(
                f"Column {name!r} is empty{_row_name(row)}. Drop such rows (df.dropna(subset=[{name!r}])) or fill them."
            )
        if self.label_delim is not None:
            return [part for part in str(value).split(self.label_delim) if part.strip()]
        return f"{self.pref}{value}{self.suff}" if self.pref or self.suff else value

    def __repr__(self) -> str:
        return f"ColReader({self.cols[0] if len(self.cols) == 1 else self.cols!r})"


def _cell(row: Any, col: str | int) -> Any:
    """Return one cell of a row of any class."""
    names = _column_names(row)
    if col in names:
        return getattr(row, str(col)) if hasattr(row, "_fields") else row[col]
    if isinstance(col, int) and not isinstance(row, dict) and -len(row) <= col < len(row):
        return row.iloc[col] if hasattr(row, "iloc") else row[col]
    raise no_column(col, names, "The table" if hasattr(row, "iloc") or hasattr(row, "_fields") else "The row")


def _column_names(row: Any) -> list[Any]:
    if hasattr(row, "_fields"):
        return list(row._fields)
    if hasattr(row, "index") and hasattr(row, "iloc"):
        return list(row.index)
    return list(row) if isinstance(row, dict) else []


def _row_name(row: Any) -> str:
    if hasattr(row, "_fields"):
        return f" in row {_plain(row.Index)!r}" if "Index" in row._fields else ""
    return f" in row {_plain(row.name)!r}" if hasattr(row, "iloc") else ""


class CategoryMap(Sequence[Any]):
    """Hold the classes found in `col`, each at the position that is its number; `o2i` goes from class to number.

    Missing values are no class. `sort=False` keeps the order of first appearance. `add_na` puts "#na#" at 0, and every
    unknown class is then 0. A categorical column gives all its categories, with `strict` only those that occur.
    """

    def __init__(self, col: Any, sort: bool = True, add_na: bool = False, strict: bool = False) -> None:
        if hasattr(col, "cat"):
            present = set(col.unique()) if strict else None
            categories = col.cat.categories.tolist()
            classes = L([category for category in categories if present is None or category in present])
        else:
            try:
                own = hasattr(col, "unique")
                values: Iterable[Any] = map(_plain, col.unique()) if own else dict.fromkeys(map(_plain, listify(col)))
            except TypeError as error:  # a label that is a list
                raise LabelError(
                    f"A class must be one value ({error}). For several labels an item use MultiCategoryBlock."
                ) from error
            classes = L([value for value in values if not is_missing(value)])
            if sort:
                classes = _sorted(classes)
        self.items: L[Any] = L([NA_LABEL]) + classes if add_na else classes
        self.add_na = add_na
        self.o2i: dict[Any, int] = defaultdict(int) if add_na else {}
        self.o2i.update(self.items.val2idx())

    @property
    def classes(self) -> L[Any]:
        """All classes, "#na#" included."""
        return self.items

    def map_objs(self, labels: Iterable[Any]) -> L[int]:
        """Return the number of each label; an unknown one is 0 with `add_na`, else a LabelError."""
        return L([self._number(label) for label in labels])

    def map_ids(self, ids: Iterable[int]) -> L[Any]:
        """Return the class of each number."""
        return L([self.items[int(position)] for position in ids])

    def _number(self, label: Any) -> int:
        if label in self.o2i:
            return self.o2i[label]
        if self.add_na:
            return 0
        close = nearest(str(label), map(str, self.items))
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise LabelError(f"The label {label!r} is not one of the {len(self)} classes {self.items!r}.{hint}")

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    def __eq__(self, other: object) -> bool:
        return list(self.items) == list(other) if isinstance(other, Iterable) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.items)


def _plain(value: Any) -> Any:
    """Turn a scalar of numpy or torch into Python's: it reads better, goes into JSON, and equal ones are one class."""
    if type(value) in WHOLE:
        return value
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _sorted(classes: L[Any]) -> L[Any]:
    try:
        return classes.sorted()
    except TypeError as error:
        example = {type(value).__name__: value for value in classes}
        kinds = ", ".join(f"{name} ({value!r})" for name, value in example.items())
        raise LabelError(
            f"Labels of different types cannot be sorted: {kinds}. Make them all text, or pass sort=False."
        ) from error
