"""Splits: after reading it you know which items train, which validate, and when a random split would lie.

A splitter takes the items (a list or a table) and returns two lists of positions, for training and for validation.
Random splits are for independent items. Photos of one patient, frames of one film, sales of one shop are not: use
`GroupSplitter`. What happens over time is split at a date: `TimeSplitter`.
"""

from __future__ import annotations

import os
import pathlib
import random
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flambeau.data.tables import as_pandas, table_column
from flambeau.foundation.errors import ArgumentError, DataError, EmptyError, TableError, nearest
from flambeau.foundation.lists import L, listify

if TYPE_CHECKING:
    import pandas as pd

VALIDATION_NAMES = ("validation", "valid", "test")

Split = tuple[L[int], L[int]]
By = str | Callable[[Any], Any] | Sequence[Any]


def _permutation(n: int, seed: int | None) -> npt.NDArray[np.int64]:
    """Shuffle the first `n` numbers.

    RandomState is numpy's frozen stream: a seed means the same split in every version of numpy and torch. Without a
    seed one is drawn from Python's generator, so that `set_seed` governs the split.

    Raises:
        ArgumentError: the seed is no whole number from 0 to 2**32 - 1.
    """
    if seed is not None and not (isinstance(seed, int | np.integer) and 0 <= seed < 2**32):
        raise ArgumentError(f"The seed of a split is a whole number from 0 to 2**32 - 1, or None; got {seed!r}.")
    return np.random.RandomState(random.getrandbits(32) if seed is None else seed).permutation(n)


def _count(valid_pct: float, n: int, what: str) -> int:
    """Return how many of `n` validate: the share rounded down, and one at least on each side."""
    if n < 2:
        raise DataError(f"A split needs at least 2 {what}, got {n}.")
    return min(max(int(valid_pct * n), 1), n - 1)


def _check_share(valid_pct: float, name: str = "valid_pct") -> None:
    if not 0 < valid_pct < 1:
        raise ArgumentError(f"{name} is a share between 0 and 1, such as 0.2 for 20 %; got {valid_pct}.")


def _halves(valid: npt.ArrayLike, empty: str) -> Split:
    """Turn a mask into a split; `empty` says what to do when a half holds nothing."""
    mask = np.asarray(valid, dtype=bool)
    for half, name in ((~mask, "training"), (mask, "validation")):
        if not half.any():
            raise DataError(f"The {name} set is empty: all {len(mask)} items are on the other side. {empty}")
    return L(np.flatnonzero(~mask).tolist()), L(np.flatnonzero(mask).tolist())


def _rows(items: Any) -> Iterable[Any]:
    return (row for _, row in items.iterrows()) if hasattr(items, "iterrows") else items


def _column(items: Any, col: str | int) -> Any:
    """Return one column of a table."""
    if not hasattr(items, "columns"):
        raise TableError(f"The column {col!r} was asked of {type(items).__name__}, which is not a table.")
    return table_column(items, col)


def values_by(items: Any, by: By, who: str) -> list[Any]:
    """Return one value an item: from a column, a function of the item, or a sequence; some may be missing.

    Raises:
        TableError: there is no such column.
        ArgumentError: there is not one value for each item; `who` says in the message who asked.
    """
    if callable(by):
        values = [by(row) for row in _rows(items)]
    elif isinstance(by, str):
        values = list(_column(items, by))
    else:
        values = list(by)
    if len(values) != len(items):
        raise ArgumentError(f"{who} got {len(values)} values for {len(items)} items; it needs one for each.")
    return values


def _values(items: Any, by: By, who: str) -> list[Any]:
    """Return one value an item, of which none is missing."""
    values = values_by(items, by, who)
    missing = [position for position, value in enumerate(values) if value is None or value != value]
    if missing:
        shown = ", ".join(map(str, missing[:5]))
        raise TableError(f"{who}: {len(missing)} of {len(values)} items have no value (first at position {shown}).")
    return values


@dataclass(frozen=True)
class RandomSplitter:
    """Let a random share of the items validate; `valid_pct=0` lets none."""

    valid_pct: float = 0.2
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.valid_pct:
            _check_share(self.valid_pct)

    def __call__(self, items: Any) -> Split:
        train, valid = self.arrays(len(items))
        return L(train.tolist()), L(valid.tolist())

    def arrays(self, n: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the two halves of `n` items as arrays: of a million, a list takes longer than all else."""
        n_valid = _count(self.valid_pct, n, "items") if self.valid_pct else 0
        shuffled = _permutation(n, self.seed)
        return shuffled[n_valid:], shuffled[:n_valid]


@dataclass(frozen=True)
class GrandparentSplitter:
    """Split by the name of the folder above the item's folder: `train/cat/1.jpg`, `valid/dog/2.jpg`.

    Each name may be several. Items under any other folder are left out, with a warning that counts them.
    """

    train_name: str | tuple[str, ...] = "train"
    valid_name: str | tuple[str, ...] = "valid"

    def __call__(self, items: Sequence[str | os.PathLike[str]]) -> Split:
        names = [pathlib.Path(item).parent.parent.name for item in items]
        found = Counter(names)
        sides: list[L[int]] = []
        for wanted in (set(listify(self.train_name)), set(listify(self.valid_name))):
            side: L[int] = L([position for position, name in enumerate(names) if name in wanted])
            if not side:
                raise DataError(
                    f"No folder named {' or '.join(map(repr, sorted(wanted)))} among the grandparents of the "
                    f"{len(names)} items: found {_counts(found) or 'none'}. Pass train_name and valid_name, or split "
                    "at random with RandomSplitter."
                )
            sides.append(side)
        used = {*listify(self.train_name), *listify(self.valid_name)}
        left_out = Counter({name: count for name, count in found.items() if name not in used})
        if left_out:
            message = f"{left_out.total()} items are in neither set and are left out: {_counts(left_out)}."
            warnings.warn(message, stacklevel=2)
        return sides[0], sides[1]


def halves_of(tables: Any) -> tuple[pd.DataFrame, IndexSplitter] | None:
    """Return the "train" and "validation" tables of a dictionary as one, and its split; None where it has no such two.

    What validates may be called "valid" or "test", too, as `datasets.Dataset.train_test_split` calls it.
    """
    import pandas as pd

    names = [name for name in VALIDATION_NAMES if isinstance(tables, Mapping) and name in tables]
    if not names or "train" not in tables:
        return None
    halves = [as_pandas(tables[name], "table", "read_csv") for name in ("train", names[0])]
    whole = pd.concat(halves, ignore_index=True)
    return whole, IndexSplitter(range(len(halves[0]), len(whole)))


def require_halves(path: str | os.PathLike[str], halves: dict[str, str]) -> None:
    """Raise an EmptyError where `path` lacks the folder of a half; `halves` are their names, by option."""
    if not os.path.isdir(path):
        return  # told when its files are looked for
    there = sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and entry.name[0] != ".")
    for option, name in halves.items():
        if not os.path.isdir(os.path.join(path, name)):
            close = nearest(name, set(there) - set(halves.values()), n=1)
            hint = f" Did you mean {option}={close[0]!r}?" if close else ""
            raise EmptyError(
                f"There is no folder {name!r} in {os.fspath(path)}; it holds {', '.join(map(repr, there)) or 'none'}."
                f"{hint} Without folders for the halves, split at random: valid_pct=0.2."
            )


def _counts(names: Counter[str]) -> str:
    shown = ", ".join(f"{name or '(no folder)'} ({count})" for name, count in names.most_common(6))
    return shown + (", ..." if len(names) > 6 else "")


@dataclass(frozen=True)
class FuncSplitter:
    """Let the items validate for which `func` is true; a row of a table comes as a Series."""

    func: Callable[[Any], Any]

    def __call__(self, items: Any) -> Split:
        return _halves([bool(self.func(item)) for item in _rows(items)], "Look at what the function returns.")


@dataclass(frozen=True)
class IndexSplitter:
    """Let the items at these positions validate; an empty list lets none."""

    valid_idx: Sequence[int]

    def __call__(self, items: Any) -> Split:
        positions = list(self.valid_idx)
        if positions and all(isinstance(position, bool | np.bool_) for position in positions):
            raise DataError(
                f"IndexSplitter takes positions, got {len(positions)} of True and False. Use MaskSplitter(mask), or "
                "give np.flatnonzero(mask)."
            )
        n, chosen = len(items), [int(position) for position in positions]
        outside = [position for position in chosen if not -n <= position < n]
        if outside:
            raise DataError(f"IndexSplitter: position {outside[0]} lies outside the {n} items.")
        mask = np.zeros(n, dtype=bool)
        mask[chosen] = True
        if not chosen:
            return L.range(n), L()
        return _halves(mask, "Name fewer positions.")


@dataclass(frozen=True)
class MaskSplitter:
    """Let the items validate whose entry in `mask` is true."""

    mask: Sequence[bool]

    def __call__(self, items: Any) -> Split:
        if len(self.mask) != len(items):
            raise DataError(f"The mask has {len(self.mask)} entries for {len(items)} items.")
        return _halves(np.asarray(self.mask), "Look at the mask.")


@dataclass(frozen=True)
class FileSplitter:
    """Let the files validate whose names stand in the text file `fname`, one a line."""

    fname: str | os.PathLike[str]

    def __call__(self, items: Sequence[str | os.PathLike[str]]) -> Split:
        lines = pathlib.Path(self.fname).read_text(encoding="utf-8").splitlines()
        listed = {pathlib.PurePath(line.strip()).name for line in lines if line.strip()}
        names = [pathlib.Path(item).name for item in items]
        absent = sorted(listed.difference(names))
        if absent and len(absent) < len(listed):
            message = f"{len(absent)} names in {self.fname} are not among the items, such as {absent[0]!r}."
            warnings.warn(message, stacklevel=2)
        example = f"An item is called {names[0]!r}, " if names else ""
        first_line = f"the file begins with {lines[0]!r}." if lines else "the file is empty."
        return _halves([name in listed for name in names], example + first_line)


@dataclass(frozen=True)
class ColSplitter:
    """Let the rows of a table validate whose column `col` is true, or equals `on`, or is one of several `on`."""

    col: str | int = "is_valid"
    on: Any = None

    def __call__(self, items: Any) -> Split:
        column = _column(items, self.col)
        if column.isna().any():
            raise TableError(f"Column {self.col!r} is empty in row {column.index[column.isna()].tolist()[0]!r}.")
        values = column.unique().tolist()
        if self.on is not None:
            wanted = self.on if isinstance(self.on, list | tuple | set) else [self.on]
            return _halves(column.isin(list(wanted)), f"Column {self.col!r} holds {L(values)!r}; on={self.on!r}.")
        # The text "False" is true to Python: only what can mean yes or no is taken without `on`.
        if any(value not in (0, 1) for value in values):
            raise TableError(
                f"Column {self.col!r} holds {L(values)!r}, not true and false. Make it true where a row validates, "
                f"such as df[{column.name!r}] = df[{column.name!r}] == {values[-1]!r}, before you hand the table over "
                f"(a csv file: read it with pandas first). In a DataBlock of your own, splitter=ColSplitter("
                f"{self.col!r}, on={values[-1]!r}) does the same."
            )
        return _halves(column.astype(bool), f"Column {self.col!r} is {values[0]!r} in every row." if values else "")


@dataclass(frozen=True)
class EndSplitter:
    """Let the last share of the items validate (the first, with `valid_last=False`)."""

    valid_pct: float = 0.2
    valid_last: bool = True

    def __post_init__(self) -> None:
        _check_share(self.valid_pct)

    def __call__(self, items: Any) -> Split:
        n = len(items)
        n_valid = _count(self.valid_pct, n, "items")
        if self.valid_last:
            return L.range(n - n_valid), L.range(n - n_valid, n)
        return L.range(n_valid, n), L.range(n_valid)


@dataclass(frozen=True)
class TrainTestSplitter:
    """Split as scikit-learn's `train_test_split` does.

    `stratify` (a column, a function or one value an item) keeps the shares of its values on both sides.
    """

    test_size: float | int = 0.2
    random_state: int | None = None
    stratify: By | None = None
    train_size: float | int | None = None
    shuffle: bool = True

    def __call__(self, items: Any) -> Split:
        from sklearn.model_selection import train_test_split

        named = isinstance(self.stratify, str) or callable(self.stratify)
        stratify = _values(items, self.stratify, "TrainTestSplitter") if named else self.stratify  # type: ignore[arg-type]
        try:
            train, valid = train_test_split(
                np.arange(len(items)),
                test_size=self.test_size,
                train_size=self.train_size,
                random_state=random.getrandbits(32) if self.random_state is None else self.random_state,
                stratify=stratify,
                shuffle=self.shuffle,
            )
        except ValueError as error:
            raise DataError(f"TrainTestSplitter cannot split {len(items)} items: {error}") from error
        return L(train.tolist()), L(valid.tolist())


@dataclass(frozen=True)
class RandomSubsetSplitter:
    """Take a random share `train_sz` of the items to train and `valid_sz` to validate, and leave the rest out."""

    train_sz: float
    valid_sz: float
    seed: int | None = None

    def __post_init__(self) -> None:
        _check_share(self.train_sz, "train_sz")
        _check_share(self.valid_sz, "valid_sz")
        if self.train_sz + self.valid_sz > 1:
            raise ArgumentError(f"train_sz + valid_sz is {self.train_sz + self.valid_sz}; the shares cannot exceed 1.")

    def __call__(self, items: Any) -> Split:
        n = len(items)
        n_train, n_valid = int(self.train_sz * n), int(self.valid_sz * n)
        if not (n_train and n_valid):
            raise DataError(f"Of {n} items, {n_train} would train and {n_valid} validate: take larger shares.")
        shuffled = _permutation(n, self.seed).tolist()
        return L(shuffled[:n_train]), L(shuffled[n_train : n_train + n_valid])


def _unique(values: Iterable[Hashable]) -> list[Hashable]:
    """Return each value once, in an order that does not hang on the order of the items."""
    return sorted(set(values), key=lambda value: (type(value).__name__, str(value)))


@dataclass(frozen=True)
class GroupSplitter:
    """Keep all items of one group on one side: a random share of the groups validates.

    `by` gives each item's group: the name of a column, a function of the item, or one value an item. The unique values
    are shuffled with the seed, and the first `valid_pct` of them validate.
    """

    by: By
    valid_pct: float = 0.2
    seed: int | None = None

    def __post_init__(self) -> None:
        _check_share(self.valid_pct)

    def __call__(self, items: Any) -> Split:
        groups = _values(items, self.by, "GroupSplitter")
        unique = _unique(groups)
        n_valid = _count(self.valid_pct, len(unique), f"different groups (by {self.by!r:.60})")
        chosen = {unique[position] for position in _permutation(len(unique), self.seed)[:n_valid]}
        return _halves([group in chosen for group in groups], "")


@dataclass(frozen=True)
class TimeSplitter:
    """Train on what came before and validate on what came after.

    `by` gives each item's time: a column, a function of the item, or one value an item; text is read as dates. Items at
    `cutoff` or later validate; without it the cutoff is set so that about `valid_pct` do. Equal times stay together.
    """

    by: By
    valid_pct: float = 0.2
    cutoff: Any = None

    def __post_init__(self) -> None:
        _check_share(self.valid_pct)

    def __call__(self, items: Any) -> Split:
        times = times_of(items, self.by, "TimeSplitter")
        if self.cutoff is None:
            n_valid = _count(self.valid_pct, len(times), "items")
            cutoff = np.sort(times)[len(times) - n_valid]
        else:
            cutoff = _times([self.cutoff])[0]
        if len(times) and np.issubdtype(times.dtype, np.datetime64) != isinstance(cutoff, np.datetime64):
            raise ArgumentError(f"The cutoff {self.cutoff!r} cannot be compared with times such as {times[0]}.")
        reach = f"The times reach from {times.min()} to {times.max()}, the cutoff is {cutoff}." if len(times) else ""
        return _halves(times >= cutoff, reach)


def times_of(items: Any, by: By, who: str) -> npt.NDArray[Any]:
    """Return the time of each item: numbers as they are, text as dates.

    Raises:
        TableError: a time is missing, or cannot be read; `who` asks.
    """
    return _times(_values(items, by, who), who)


def _times(values: list[Any], who: str = "TimeSplitter") -> npt.NDArray[Any]:
    if all(isinstance(value, int | float | np.number) for value in values):
        return np.asarray(values)
    import pandas as pd

    if all(isinstance(value, str) and _is_number(value) for value in values):
        raise TableError(
            f"{who}: the times are numbers written as words ({values[0]!r}). Make numbers of them: "
            "pd.to_numeric(column)."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # pandas warns where it would guess the format item by item
            return np.asarray(pd.to_datetime(pd.Series(values)).dt.tz_localize(None).to_numpy())
    except (ValueError, TypeError, UserWarning) as error:
        raise TableError(f"{who} cannot read {values[0]!r} and the like as times: {error}") from error


def _is_number(text: str) -> bool:
    # eight digits may be a date, 20200131
    return text.strip().lstrip("+-").replace(".", "", 1).isdigit() and len(text.strip()) != len("20200131")


@dataclass(frozen=True)
class KFoldSplitter:
    """Cut the items into `n_folds` parts and let part number `fold` validate; the same seed gives the same parts.

    `stratify` (a column, a function or one value an item) spreads each of its values over all folds; `groups` keeps
    equal values in one fold.
    """

    n_folds: int = 5
    fold: int = 0
    seed: int = 0
    stratify: By | None = None
    groups: By | None = None

    def __post_init__(self) -> None:
        if self.n_folds < 2:
            raise ArgumentError(f"n_folds must be at least 2, got {self.n_folds}.")
        if not 0 <= self.fold < self.n_folds:
            raise ArgumentError(f"fold must be from 0 to {self.n_folds - 1} for {self.n_folds} folds, got {self.fold}.")
        if self.stratify is not None and self.groups is not None:
            raise ArgumentError("Pass stratify or groups, not both: whole groups cannot be spread over the folds.")

    def __call__(self, items: Any) -> Split:
        return self._split(self._folds(items), self.fold)

    def splits(self, items: Any) -> list[Split]:
        """Return the splits of all folds: each item validates in exactly one."""
        folds = self._folds(items)
        return [self._split(folds, fold) for fold in range(self.n_folds)]

    def _split(self, folds: npt.NDArray[np.int64], fold: int) -> Split:
        return _halves(folds == fold, f"Fold {fold} of {self.n_folds} has nothing to hold.")

    def _folds(self, items: Any) -> npt.NDArray[np.int64]:
        return self._by_group(items) if self.groups is not None else self._by_item(items)

    def _by_item(self, items: Any) -> npt.NDArray[np.int64]:
        """Deal the shuffled items out like cards; sorted by class first, each class is dealt to all folds."""
        if len(items) < self.n_folds:
            raise DataError(f"{self.n_folds} folds need at least as many items, got {len(items)}.")
        order = _permutation(len(items), self.seed)
        if self.stratify is not None:
            classes = _values(items, self.stratify, "KFoldSplitter")
            number = {value: position for position, value in enumerate(_unique(classes))}
            order = order[np.argsort([number[classes[position]] for position in order], kind="stable")]
        folds = np.empty(len(items), dtype=np.int64)
        folds[order] = np.arange(len(items)) % self.n_folds
        return folds

    def _by_group(self, items: Any) -> npt.NDArray[np.int64]:
        """Give the largest group to the smallest fold, again and again: folds of like size from uneven groups."""
        assert self.groups is not None
        groups = _values(items, self.groups, "KFoldSplitter")
        sizes, unique = Counter(groups), _unique(groups)
        if len(unique) < self.n_folds:
            raise DataError(f"{self.n_folds} folds need at least as many groups, got {len(unique)}.")
        shuffled = [unique[position] for position in _permutation(len(unique), self.seed)]
        filled = [0] * self.n_folds
        fold_of: dict[Hashable, int] = {}
        for group in sorted(shuffled, key=lambda group: -sizes[group]):
            fold_of[group] = int(np.argmin(filled))
            filled[fold_of[group]] += sizes[group]
        return np.array([fold_of[group] for group in groups], dtype=np.int64)
