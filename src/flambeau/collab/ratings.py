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
from flambeau.data.dataset import Datasets
from flambeau.data.kinds import Kind, Number
from flambeau.data.labels import CategoryMap
from flambeau.data.pipeline import Pipeline
from flambeau.data.tables import require_columns
from flambeau.data.transform import ItemTransform
from flambeau.foundation.errors import DataError, EmptyError, TableError

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
        self.users = CategoryMap(list(users), sort=False, add_na=True)
        self.items = CategoryMap(list(items), sort=False, add_na=True)

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
        """Return lines that tell which users and items of a table were not in training."""
        frame, pairs = as_frame(rows, self.user_name, self.item_name), self.table(rows)
        told = []
        for place, name in enumerate((self.user_name, self.item_name)):
            odd = frame[name][(pairs[:, place] == 0).numpy()].unique().tolist()
            if odd:
                shown = ", ".join(map(repr, odd[:MAX_TOLD])) + (", ..." if len(odd) > MAX_TOLD else "")
                told.append(f"{len(odd)} of column {name!r} not in training ({shown}): predicted as the mean {name}.")
        return told


def as_frame(rows: Any, user_name: str, item_name: str) -> pd.DataFrame:
    """Return rows as a table: a data frame as it is, else one row or a list of them.

    Raises:
        TableError: the user's or the item's column is missing.
    """
    import pandas as pd

    if hasattr(rows, "iloc") and not hasattr(rows, "columns"):
        rows = rows.to_dict()  # a row of a data frame
    if isinstance(rows, Mapping):
        rows = [rows]
    elif isinstance(rows, tuple):
        rows = [dict(zip((user_name, item_name), rows, strict=False))]
    if not hasattr(rows, "columns"):
        rows = [dict(zip((user_name, item_name), row, strict=False)) if isinstance(row, tuple) else row for row in rows]
        rows = pd.DataFrame([row.to_dict() if hasattr(row, "to_dict") else row for row in rows])
    for name in (user_name, item_name):
        require_column(rows, name)
    return cast("pd.DataFrame", rows)


def require_column(frame: pd.DataFrame, name: str) -> None:
    """Raise a TableError when a table lacks a column, or has it twice."""
    require_columns([name], list(frame.columns), "the table of ratings")
    n = list(frame.columns).count(name)
    if n > 1:
        raise TableError(f"The ratings have {n} columns named {name!r}; rename all but one.")


def _places(frame: pd.DataFrame, name: str, vocab: CategoryMap) -> np.ndarray[Any, Any]:
    import pandas as pd

    missing = frame[name].isna().to_numpy()
    if missing.any():
        raise TableError(
            f"Row {frame.index[missing.argmax()]} of the ratings has no {name!r} ({missing.sum()} such rows in all). "
            "Fill them in or leave these rows out: ratings.dropna()."
        )
    # -1, an unknown name, becomes the 0 of "#na#"
    return pd.Index(list(vocab)[1:]).get_indexer(pd.Index(frame[name].to_numpy())).astype(np.int64) + 1


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
        values = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        odd = ~np.isfinite(values)
        if odd.any():
            first = int(odd.argmax())
            came = frame[name].iloc[first]
            what = "is missing" if is_missing(came) else f"is {came!r}, which is no finite number"
            raise TableError(
                f"The rating in column {name!r}, row {frame.index[first]} of the table, {what} ({odd.sum()} such rows "
                "in all). Mend them or leave these rows out."
            )
        return torch.from_numpy(values.astype(np.float32))


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
        places = torch.as_tensor(np.asarray(indices), dtype=torch.int64)
        return self.pairs[places], self.ratings[places]

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the batch of these ratings."""
        places = torch.tensor(indices)
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
        return Batch((self.pairs[torch.tensor(indices)],), (), self._batch_kinds)


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
    train = frame.iloc[np.asarray(splits[0])]
    for name in (user_name, item_name):
        _require_names(frame, name)
    users, items = (_vocab(train[name]) for name in (user_name, item_name))
    if min(len(users), len(items)) < 2:
        raise DataError(
            f"Ratings of {len(users)} user(s) and {len(items)} item(s) cannot tell whose taste is whose: at least two "
            f"of each are needed. Are {user_name!r} and {item_name!r} the right columns?"
        )
    encode = EncodePair(user_name, item_name, users, items)
    pairs = encode.table(frame)
    _tell_duplicates(frame, pairs, user_name, item_name)
    return Ratings(pairs, ratings, encode, value, splits)


def _require_names(frame: pd.DataFrame, name: str) -> None:
    missing = frame[name].isna().to_numpy()
    if missing.any():
        raise TableError(
            f"Row {frame.index[missing.argmax()]} of the ratings has no {name!r} ({missing.sum()} such rows in all). "
            "Fill them in or leave these rows out: ratings.dropna()."
        )


def _vocab(column: pd.Series) -> list[Any]:
    return list(CategoryMap(column, add_na=True, strict=True))[1:]


def _tell_duplicates(frame: pd.DataFrame, pairs: Tensor, user_name: str, item_name: str) -> None:
    import pandas as pd

    known = (pairs > 0).all(1).numpy()
    keys = (pairs[:, 0] * (int(pairs[:, 1].max()) + 1) + pairs[:, 1]).numpy()[known]
    n = len(keys) - len(pd.unique(keys))
    if n:
        rows = frame[[user_name, item_name]]
        user, item = (str(name) for name in rows[rows.duplicated()].iloc[0])
        print(
            f"{n} ratings repeat a pair that was rated before, such as {item!r} by {user!r}. All are kept; "
            "a pair in both halves makes validation too easy. To keep the last of each: "
            f"ratings.drop_duplicates([{user_name!r}, {item_name!r}], keep='last')."
        )
