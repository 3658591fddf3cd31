"""Splits for ratings: after reading it you know why the last rating of each user makes an honest test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flambeau.collab.ratings import require_column
from flambeau.data.splitters import times_of
from flambeau.foundation.errors import ArgumentError, EmptyError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LeaveLastOutSplitter:
    """Validate on each user's last `n` ratings by `time`, train on those before; a user of `n` or fewer only trains.

    Without `time` the table's order is the order of time. Equal times keep the table's order; text is read as dates.
    `user` None: the users' column of the loaders, else the first one.

    Raises:
        TableError: a column is missing, or a time is missing or cannot be read.
        EmptyError: no user has more than `n` ratings.
    """

    user: str | None = None
    time: str | None = None
    n: int = 1

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ArgumentError(f"LeaveLastOutSplitter leaves out at least one rating of a user; got n={self.n}.")

    def __call__(self, frame: pd.DataFrame) -> tuple[list[int], list[int]]:
        user = self.user if self.user is not None else str(frame.columns[0])
        require_column(frame, user)
        order = np.arange(len(frame))
        if self.time is not None:
            require_column(frame, self.time)
            order = np.argsort(times_of(frame, self.time, "LeaveLastOutSplitter"), kind="stable")
        users = frame[[user]].iloc[order]
        from_last = users.groupby(user, sort=False).cumcount(ascending=False).to_numpy()
        n_rated = users.groupby(user, sort=False)[user].transform("size").to_numpy()
        held = np.zeros(len(frame), dtype=bool)
        held[order] = (from_last < self.n) & (n_rated > self.n)
        if not held.any():
            raise EmptyError(f"No user has more than {self.n} rating(s), so there is none to leave out.")
        return np.flatnonzero(~held).tolist(), np.flatnonzero(held).tolist()
