"""Loaders of ratings: after reading it you know what `CollabDataLoaders` makes of a table with three columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as AnyPath
from typing import TYPE_CHECKING, Any, Self

import torch

from flambeau.collab.ratings import Ratings, read_ratings, whole_table
from flambeau.collab.splits import LeaveLastOutSplitter
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.loaders import DataLoader
from flambeau.data.splitters import RandomSplitter
from flambeau.data.tables import read_csv
from flambeau.foundation.errors import ArgumentError, EmptyError, TableError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

FEWEST_COLUMNS = 3


class CollabDataLoaders(DataLoaders):
    """Loaders of users, items and ratings. A batch is `x, y`: x (batch, 2) the places of user and item, y (batch,)."""

    @classmethod
    def from_df(
        cls,
        ratings: pd.DataFrame,
        valid_pct: float = 0.2,
        user_name: str | None = None,
        item_name: str | None = None,
        rating_name: str | None = None,
        seed: int | None = None,
        path: str | AnyPath = ".",
        bs: int = 64,
        val_bs: int | None = None,
        shuffle: bool = True,
        device: torch.device | str | None = None,
        splitter: Callable[[Any], Any] | None = None,
        drop_last: bool = True,
        after_batch: Any = None,
    ) -> Self:
        """Return loaders of a table; the names default to its first three columns.

        `splitter` replaces the random split: `TimeSplitter("timestamp")` validates on the latest ratings,
        `LeaveLastOutSplitter("user", "timestamp")` on each user's last. Users and items that occur in validation only
        are place 0, "#na#". The table is not changed.

        Raises:
            TableError: a column is missing, a name is missing, or a rating is no number; with the row.
            EmptyError: there is no row.
            DataError: there is one user only, or one item only.
        """
        ratings = whole_table(ratings)
        if len(ratings) == 0:
            raise EmptyError("The table of ratings has no row.")
        if ratings.shape[1] < FEWEST_COLUMNS:
            raise TableError(
                f"Ratings need three columns (user, item, rating), this table has {ratings.shape[1]}: "
                f"{list(map(str, ratings.columns))}. Was it read with the wrong separator? Pass delimiter=..."
            )
        user, item, rating = (
            str(given) if given is not None else str(default)
            for given, default in zip((user_name, item_name, rating_name), ratings.columns, strict=False)
        )
        if not all(isinstance(name, str) for name in ratings.columns):
            ratings = ratings.rename(columns=str)
        if isinstance(splitter, LeaveLastOutSplitter) and splitter.user is None:
            splitter = replace(splitter, user=user)
        split = RandomSplitter(valid_pct, seed).arrays(len(ratings)) if splitter is None else splitter(ratings)
        if not len(split[0]):
            raise EmptyError("The training half of the split is empty. Check the splitter.")
        data = read_ratings(ratings, user, item, rating, split)
        return cls.from_ratings(
            data, bs, val_bs, shuffle=shuffle, drop_last=drop_last, seed=seed, path=path, device=device,
            after_batch=after_batch,
        )  # fmt: skip

    @classmethod
    def from_csv(
        cls,
        csv: str | AnyPath,
        valid_pct: float = 0.2,
        user_name: str | None = None,
        item_name: str | None = None,
        rating_name: str | None = None,
        seed: int | None = None,
        path: str | AnyPath = ".",
        bs: int = 64,
        delimiter: str | None = None,
        header: int | None = 0,
        encoding: str = "utf-8",
        sep: str | None = None,
        **options: Any,
    ) -> Self:
        """Return loaders of a file of ratings, whose columns `sep` (or `delimiter`) separates.

        The other options are those of `from_df`.

        Raises:
            TableError: the file cannot be read as a table; and what `from_df` raises.
        """
        named = {} if delimiter is None and sep is None else {"sep": sep or delimiter}
        frame = read_csv(csv, header=header, encoding=encoding, **named)
        if header is not None and all(_is_number(name) for name in frame.columns[:FEWEST_COLUMNS]):
            first = ", ".join(map(str, frame.columns[:FEWEST_COLUMNS]))
            raise TableError(f"The first line of {csv} holds numbers ({first}) and no names of columns: header=None.")
        return cls.from_df(frame, valid_pct, user_name, item_name, rating_name, seed, path, bs, **options)

    @classmethod
    def from_ratings(
        cls,
        data: Ratings,
        bs: int = 64,
        val_bs: int | None = None,
        *,
        shuffle: bool = True,
        drop_last: bool = True,
        seed: int | None = None,
        path: str | AnyPath = ".",
        device: torch.device | str | None = None,
        after_batch: Any = None,
    ) -> Self:
        """Return loaders of ratings already in memory."""
        n_train = len(data.splits[0])
        if drop_last and n_train < bs:
            print(f"Only {n_train} training ratings: the batch is lowered from {bs} to {n_train}.")
            bs = n_train
        shared: dict[str, Any] = {"device": device, "seed": seed, "after_batch": after_batch}
        loaders = [DataLoader(data.train, bs, shuffle, drop_last, training=True, **shared)]
        if len(data.splits[1]):
            own = {**shared, "seed": loaders[0].maker.seed}
            loaders.append(DataLoader(data.valid, val_bs or bs, training=False, **own))
        return cls(*loaders, path=path)

    @property
    def ratings(self) -> Ratings:
        """The training ratings."""
        data = self.train_ds
        if not isinstance(data, Ratings):
            raise ArgumentError(f"These loaders hold a {type(data).__name__}, not ratings.")
        return data

    @property
    def classes(self) -> dict[str, Any]:
        """The vocabularies of users and items by column name, "#na#" at 0; `.o2i` goes from name to place."""
        encode = self.ratings.encode
        return {encode.user_name: encode.users, encode.item_name: encode.items}

    def show_batch(self, b: Any = None, max_n: int = 9, unique: bool = False, **options: Any) -> pd.DataFrame:
        """Return some ratings of a training batch as a table."""
        import pandas as pd

        if unique or options:
            raise unknown_name("option of show_batch for ratings", next(iter(options), "unique"), ["b", "max_n"])
        batch = b if b is not None else self.one_batch()
        data = self.ratings
        rows = [
            (*data.encode.decodes(pair), float(rating))
            for pair, rating in zip(batch[0][:max_n].cpu(), batch[1][:max_n].cpu(), strict=True)
        ]
        return pd.DataFrame(rows, columns=[data.encode.user_name, data.encode.item_name, data.value.rating_name])


def _is_number(name: Any) -> bool:
    return str(name).replace(".", "", 2).isdigit()
