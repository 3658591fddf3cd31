"""Ratings in memory: after reading it you know how a table of who rated what becomes batches without work on rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.data.categorize import is_missing
from flambeau.data.dataset import Datasets, checked_splits
from flambeau.data.kinds import Kind, Number
from flambeau.data.labels import CategoryMap
from flambeau.data.pipeline import Pipeline
from flambeau.data.tables import as_pandas, require_columns
from flambeau.data.transform import ItemTransform
from flambeau.foundation.errors import DataError, EmptyError, LabelError, TableError
from flambeau.foundation.tensors import as_places

if TYPE_CHECKING:
    import pandas as pd

MAX_TOLD = 3  # names that a printed line quotes


@dataclass(frozen=True)
class Pair(Kind):
    """A user and an item: an integer tensor (2,) of their places in the vocabularies, 0 for one that is unknown."""

    user_name: str = "user"
    item_name: str = "item"
    users: tuple[Any, ...] = ()
    items: tuple[Any, ...] = ()

    def decoded(self, value: Any) -> Any:
        user, item = (int(place) for place in torch.as_tensor(value).reshape(-1)[:2])
        if not self.users:
            return user, item
        return self.users[user], self.items[item]

    def text(self, value: Any) -> str:
        return " | ".join(str(name) for name in self.decoded(value))

    def settings(self) -> dict[str, Any]:
        return {"user_name": self.user_name, "item_name": self.item_name}  # an export holds the vocabularies once


class EncodePair(ItemTransform):
    """Turn a row (a mapping, a table's row, or a user and an item) into the places of its user and item."""

    def __init__(self, user_name: str, item_name: str, users: Sequence[Any], items: Sequence[Any]) -> None:
        super().__init__()
        self.user_name, self.item_name = user_name, item_name
        self.users, self.items = (
            names if isinstance(names, CategoryMap) else CategoryMap(list(names), sort=False, add_na=True)
            for names in (users, items)
        )

    @property
    def kind(self) -> Kind | None:
        return Pair(self.user_name, self.item_name, tuple(self.users), tuple(self.items))

    def encodes(self, x: Any) -> Tensor:
        return self.table(x)[0]

    def decodes(self, x: Any) -> Any:
        return self.users[int(x[0])], self.items[int(x[1])]

    def settings(self) -> dict[str, Any]:
        return {
            "user_name": self.user_name,
            "item_name": self.item_name,
            "users": list(self.users)[1:],
            "items": list(self.items)[1:],
        }

    def table(self, rows: Any) -> Tensor:
        """Return the places (n, 2) of a table's users and items; unknown ones are 0.

        Raises:
            TableError: a column is missing, or a user or item has no name.
        """
        frame = as_frame(rows, self.user_name, self.item_name)
        columns = [
            _places(frame, name, vocab)
            for name, vocab in ((self.user_name, self.users), (self.item_name, self.items))
        ]
        return torch.from_numpy(np.stack(columns, 1))

    def unknown(self, rows: Any) -> list[str]:
        """Return lines that tell which users and items of a table were not in training.

        Raises:
            TableError: they were, but as another type: 7 in training, "7" here.
        """
        frame, pairs = as_frame(rows, self.user_name, self.item_name), self.table(rows)
        told = []
        for place, name in enumerate((self.user_name, self.item_name)):
            odd = frame[name][(pairs[:, place] == 0).numpy()].unique().tolist()
            if odd:
                _require_same_type(name, odd, (self.users, self.items)[place])
                shown = ", ".join(map(repr, odd[:MAX_TOLD])) + (", ..." if len(odd) > MAX_TOLD else "")
                told.append(f"{len(odd)} of column {name!r} not in training ({shown}): predicted as the mean {name}.")
        return told


def as_frame(rows: Any, user_name: str, item_name: str) -> pd.DataFrame:
    """Return rows as a table: a data frame as it is, else one row or a list of them.

    Raises:
        TableError: the user's or the item's column is missing.
    """
    import pandas as pd

    if isinstance(rows, pd.Series):
        rows = rows.to_dict()  # a row of a data frame
    if isinstance(rows, Mapping):
        rows = [rows]
    elif isinstance(rows, tuple):
        rows = [dict(zip((user_name, item_name), rows, strict=False))]
    if isinstance(rows, list):
        rows = [dict(zip((user_name, item_name), row, strict=False)) if isinstance(row, tuple) else row for row in rows]
        rows = pd.DataFrame([row.to_dict() if hasattr(row, "to_dict") else row for row in rows])
    frame = whole_table(rows)
    for name in (user_name, item_name):
        require_column(frame, name)
    return frame


def whole_table(table: Any) -> pd.DataFrame:
    """Return a pandas, polars or Arrow table as one of pandas; anything else raises a TableError."""
    return as_pandas(table, "table of ratings", "CollabDataLoaders.from_csv")


def require_column(frame: pd.DataFrame, name: str) -> None:
    """Raise a TableError when a table lacks a column, or has it twice."""
    require_columns([name], list(frame.columns), "the table of ratings")
    n = list(frame.columns).count(name)
    if n > 1:
        raise TableError(f"The ratings have {n} columns named {name!r}; rename all but one.")


def _places(frame: pd.DataFrame, name: str, vocab: CategoryMap) -> np.ndarray[Any, Any]:
    import pandas as pd

    _require_names(frame, name, frame[name].isna().to_numpy())
    # -1, an unknown name, becomes the 0 of "#na#"
    return pd.Index(list(vocab)[1:]).get_indexer(pd.Index(frame[name].to_numpy())).astype(np.int64) + 1


def _require_same_type(column: str, names: Sequence[Any], vocab: CategoryMap) -> None:
    """Raise a TableError when names that are unknown were in training as another type."""
    by_text = {str(name): name for name in vocab}
    known = next((by_text[str(name)] for name in names if str(name) in by_text), None)
    if known is not None:
        came = next(name for name in names if str(name) == str(known))
        raise TableError(
            f"Column {column!r} holds {came!r} ({type(came).__name__}), which was {known!r} ({type(known).__name__}) "
            f"in training. Convert it: table.astype({{{column!r}: {type(known).__name__!r}}})."
        )


class RatingValue(ItemTransform):
    """Take a row's rating."""

    def __init__(self, rating_name: str) -> None:
        super().__init__()
        self.rating_name = rating_name

    @property
    def kind(self) -> Kind | None:
        return Number()

    def encodes(self, x: Any) -> Tensor:
        value = x if isinstance(x, int | float) else x[self.rating_name if hasattr(x, "keys") else -1]
        return torch.tensor(float(value))

    def settings(self) -> dict[str, Any]:
        return {"rating_name": self.rating_name}

    def table(self, frame: pd.DataFrame) -> Tensor:
        """Return the ratings (n,) of a table.

        Raises:
            TableError: the column is missing, or a rating is missing, infinite, or no number.
        """
        import pandas as pd

        name = self.rating_name
        require_column(frame, name)
        if frame[name].dtype.kind in "mMc":
            raise TableError(
                f"The rating in column {name!r} must be a number, but the column holds {frame[name].dtype}. Name the "
                "right column: rating_name=..."
            )
        values = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)  # a number beyond its range becomes infinite
        odd = ~np.isfinite(values)
        if odd.any():
            first = int(odd.argmax())
            came = frame[name].iloc[first]
            came = came.item() if hasattr(came, "item") else came
            what = "is missing" if is_missing(came) else f"is {came!r}, which is no finite number"
            raise TableError(
                f"The rating in column {name!r}, row {frame.index[first]} of the table, {what} ({odd.sum()} such rows "
                "in all). Mend them or leave these rows out."
            )
        return torch.from_numpy(values)


class RatingRows(Sequence[tuple[Any, ...]]):
    """Encoded ratings as a sequence of rows: user, item, rating, as a person writes them."""

    def __init__(self, pairs: Tensor, ratings: Tensor, encode: EncodePair) -> None:
        self.pairs, self.ratings, self.encode = pairs, ratings, encode

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, place: Any) -> Any:
        return (*self.encode.decodes(self.pairs[int(place)]), float(self.ratings[int(place)]))


class Ratings(Datasets):
    """Ratings held as tensors: `batch(indices)` is an index into them, so that an epoch does no work on rows.

    A sample is the places of a user and an item (2,), and the rating ().
    """

    def __init__(
        self,
        pairs: Tensor,
        ratings: Tensor,
        encode: EncodePair,
        value: RatingValue,
        splits: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self.pairs, self.ratings, self.encode, self.value = pairs, ratings, encode, value
        self.source, self._items = RatingRows(pairs, ratings, encode), None
        self.pipelines = [Pipeline([encode]), Pipeline([value])]
        self.n_inp, self.split_idx, self._c = 1, None, 1
        self._kinds = [cast(Kind, encode.kind), Number()]
        self._batch_kinds = tuple(self._kinds)
        self.indices = range(len(pairs))
        self.splits = [range(len(pairs)), []] if splits is None else list(splits)

    def _view(self, indices: Sequence[int], split_idx: int | None) -> Ratings:
        view = Ratings(*self.half(indices), self.encode, self.value)
        view.split_idx, view._kinds = split_idx, self._kinds
        return view

    def half(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the pairs and ratings at some places."""
        places = torch.from_numpy(np.asarray(indices, dtype=np.int64))
        return self.pairs.index_select(0, places), self.ratings.index_select(0, places)

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the batch of these ratings."""
        places = as_places(indices)
        columns = self.pairs.index_select(0, places), self.ratings.index_select(0, places)
        return Batch(columns[:1], columns[1:], self._batch_kinds)

    def __getitem__(self, place: Any) -> Any:
        return self.pairs[place], self.ratings[place]

    def item_name(self, index: int) -> str:
        """Return words for a rating: its user and item."""
        user, item, _ = self.source[index]
        return f"the rating of {item!r} by {user!r}"

    @property
    def vocab(self) -> Any:
        """The users and items."""
        return [self.encode.users, self.encode.items]

    def is_random(self, training: bool) -> bool:
        """Whether reading involves chance: it does not."""
        return False

    def with_items(self, items: Any, n_columns: int | None = None) -> Ratings:
        """Return other rows through the same vocabularies; a printed line tells of unknown users and items."""
        if hasattr(items, "__len__") and len(items) == 0:
            raise EmptyError("There are no rows to predict: the list or table is empty.")
        frame = as_frame(items, self.encode.user_name, self.encode.item_name)
        pairs = self.encode.table(frame)
        for line in self.encode.unknown(frame) if bool((pairs == 0).any()) else ():
            print(line)
        wanted = n_columns is None or n_columns > 1
        ratings = self.value.table(frame) if wanted else torch.zeros(len(pairs))
        other = (Ratings if wanted else UnratedPairs)(pairs, ratings, self.encode, self.value)
        other.split_idx, other._kinds = 1, self._kinds
        return other

    @property
    def is_template(self) -> bool:
        """Whether there are no ratings on purpose: those of an export."""
        return len(self.pairs) == 0


class UnratedPairs(Ratings):
    """Users and items to predict, without ratings."""

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the batch of these pairs."""
        return Batch((self.pairs.index_select(0, as_places(indices)),), (), self._batch_kinds)


def read_ratings(frame: pd.DataFrame, user_name: str, item_name: str, rating_name: str, splits: Any) -> Ratings:
    """Return a table's ratings, with vocabularies of the training half, and say what is odd about them.

    Raises:
        TableError, EmptyError, DataError: see the message.
    """
    if len({user_name, item_name, rating_name}) < 3:
        raise TableError(
            f"User, item and rating must be three columns; got {user_name!r}, {item_name!r} and {rating_name!r}."
        )
    value = RatingValue(rating_name)
    frame = as_frame(frame, user_name, item_name)
    ratings = value.table(frame)
    halves = _halves(splits, len(frame))
    columns = [_numbered(frame, name) for name in (user_name, item_name)]
    vocabs = [_vocab(column, halves[0]) for column in columns]
    users, items = (len(vocab) - 1 for vocab in vocabs)
    if min(users, items) < 2:
        raise DataError(
            f"Ratings of {users} user(s) and {items} item(s) cannot tell whose taste is whose: at least two "
            f"of each are needed. Are {user_name!r} and {item_name!r} the right columns?"
        )
    pairs = np.stack([column.places(vocab) for column, vocab in zip(columns, vocabs, strict=True)], 1)
    _tell_duplicates(*columns)
    return Ratings(torch.from_numpy(pairs), ratings, EncodePair(user_name, item_name, *vocabs), value, halves)


def _halves(splits: Any, n: int) -> list[Any]:
    """Return the halves of a split as arrays; one that is no split of `n` rows raises an ArgumentError."""
    halves = [np.asarray(half) for half in splits]
    sound = all(half.dtype.kind in "iu" and (not len(half) or 0 <= half.min() <= half.max() < n) for half in halves)
    return [np.asarray(half, np.int64) for half in (halves if sound else checked_splits(splits, n))]


@dataclass(frozen=True)
class Numbered:
    """A column of names by number: `codes` (rows,) say which of `names`, each of which is there once.

    A whole table is gone through once for each column; all else is done on these numbers.
    """

    column_name: str
    codes: np.ndarray[Any, Any]
    names: list[Any]
    ordered: bool  # whether the names stand in an order of their own, as those of a categorical column

    def places(self, vocab: CategoryMap) -> np.ndarray[Any, Any]:
        """Return the place of each row's name in a vocabulary (rows,), int64; 0 where it is not there."""
        return np.array([vocab.o2i.get(name, 0) for name in self.names], dtype=np.int64)[self.codes]


def _numbered(frame: pd.DataFrame, name: str) -> Numbered:
    import pandas as pd

    column = frame[name]
    try:
        if hasattr(column, "cat"):
            codes, names = column.cat.codes.to_numpy(), column.cat.categories.tolist()
        else:
            codes, unique = pd.factorize(column)
            names = unique.tolist()
    except TypeError as error:  # a list in a cell
        raise TableError(f"Column {name!r} holds what is no name ({error}); names are text or numbers.") from error
    _require_names(frame, name, codes < 0)
    return Numbered(name, codes, names, hasattr(column, "cat"))


def _require_names(frame: pd.DataFrame, name: str, missing: np.ndarray[Any, Any]) -> None:
    if missing.any():
        raise TableError(
            f"Row {frame.index[missing.argmax()]} of the ratings has no {name!r} ({missing.sum()} such rows in all). "
            "Fill them in or leave these rows out: ratings.dropna()."
        )


def _vocab(column: Numbered, training: np.ndarray[Any, Any]) -> CategoryMap:
    """Return the names that occur in training, sorted unless they have an order."""
    present = np.zeros(len(column.names), dtype=bool)
    present[column.codes[training]] = True
    names = [column.names[place] for place in np.flatnonzero(present)]
    try:
        return CategoryMap(names, sort=not column.ordered, add_na=True)
    except LabelError as error:
        kinds = {type(name).__name__: name for name in names}
        shown = " and ".join(f"{kind} ({name!r})" for kind, name in kinds.items())
        raise TableError(
            f"Column {column.column_name!r} holds names of different types, {shown}. Make them all text: "
            f"ratings.assign(**{{{column.column_name!r}: ratings[{column.column_name!r}].astype(str)}})."
        ) from error


def _tell_duplicates(users: Numbered, items: Numbered) -> None:
    pairs = users.codes.astype(np.int64) * len(items.names) + items.codes
    pairs.sort()
    repeats = pairs[1:][pairs[1:] == pairs[:-1]]
    if len(repeats):
        user, item = divmod(int(repeats[0]), len(items.names))
        columns = [users.column_name, items.column_name]
        print(
            f"{len(repeats)} ratings repeat a pair that was rated before, such as {str(items.names[item])!r} by "
            f"{str(users.names[user])!r}. All are kept; a pair in both halves makes validation too easy. To keep the "
            f"last of each: ratings.drop_duplicates({columns!r}, keep='last')."
        )
