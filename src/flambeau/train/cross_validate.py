"""Cross-validation: after reading it you know how sure a result is, and how every item gets an honest prediction.

One split gives one number, and another split another. Here each part of the items validates once, on a learner that
never saw it:

    def make_learner(fold):
        dls = block(splitter=fold).dataloaders(files)
        return vision_learner(dls, resnet18, metrics=accuracy)

    found = cross_validate(make_learner, files, KFoldSplitter(5, stratify=parent_label), train=lambda l: l.fine_tune(3))

Between folds everything is let go: one learner is in memory at a time.
"""

from __future__ import annotations

import gc
import math
import os
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from numbers import Number
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from flambeau.data.dataset import Datasets, Rows, checked_splits
from flambeau.data.kinds import Category
from flambeau.data.splitters import KFoldSplitter, Split
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError, ShapeError
from flambeau.foundation.lists import L
from flambeau.foundation.nested import apply
from flambeau.foundation.processes import is_first_process
from flambeau.foundation.seeds import no_random
from flambeau.train.learner import Learner

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Fold:
    """One split of the items, counted from 0: the positions that train and those that validate.

    A fold is a splitter: `DataBlock(splitter=fold)`. For tables and tensors, `train_items` and `valid_items` are the
    rows themselves.
    """

    number: int
    n_folds: int
    train: L[int]
    valid: L[int]
    items: Any = field(repr=False)

    def __call__(self, items: Any) -> Split:
        """Return the two lists of positions, as any splitter does.

        Raises:
            ArgumentError: these are other items than those that were cut into folds.
        """
        if len(items) != len(self.items):
            raise ArgumentError(
                f"Fold {self.number} was cut from {len(self.items)} items, and is asked to split {len(items)}. Give "
                "cross_validate and make_learner the same items in the same order."
            )
        return self.train, self.valid

    @property
    def train_items(self) -> Any:
        """The items that train."""
        return taken(self.items, self.train)

    @property
    def valid_items(self) -> Any:
        """The items that validate."""
        return taken(self.items, self.valid)


def taken(items: Any, places: Sequence[int]) -> Any:
    """Return the items at some places: of a table its rows, of a tensor or array a tensor or array, else a list."""
    if hasattr(items, "iloc"):
        return items.iloc[list(places)]
    if isinstance(items, Tensor) or type(items).__module__ == "numpy":
        return items[list(places)]
    return L([items[place] for place in places])


@dataclass
class CrossValidation:
    """What a cross-validation found.

    Attributes:
        folds: the splits.
        rows: for each fold its sizes, loss, metrics and seconds.
        predictions: of each item, in the items' order, by the learner that did not train on it; activated
            (probabilities for classes). Rows of items that no fold validated are NaN.
        targets: in the items' order; -1 (numbers: NaN) where no fold validated the item.
        validated: which items have a prediction.
        pooled: loss and metrics over all these predictions at once.
        vocab: the classes, None for other targets.
    """

    folds: list[Fold]
    rows: list[dict[str, Any]]
    predictions: Any
    targets: Any
    validated: Tensor
    pooled: dict[str, float]
    vocab: list[Any] | None = None

    @property
    def names(self) -> list[str]:
        """The loss and the metrics."""
        return list(self.pooled)

    def mean(self, name: str) -> float:
        """Return the mean of the loss or of a metric over the folds."""
        values = self._values(name)
        return math.fsum(values) / len(values)

    def std(self, name: str) -> float:
        """Return the standard deviation between folds (that of a sample: divided by n - 1)."""
        values, mean = self._values(name), self.mean(name)
        return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1))

    def standard_error(self, name: str) -> float:
        """Return std / sqrt(folds): how far the mean may be off.

        Rather more than this, since the folds share training items (Bengio and Grandvalet 2004: no estimate from one
        cross-validation is free of that).
        """
        return self.std(name) / math.sqrt(len(self.rows))

    def _values(self, name: str) -> list[float]:
        if name not in self.pooled:
            raise ArgumentError(f"There is no {name!r} among what was measured: {', '.join(self.names)}.")
        return [float(row[name]) for row in self.rows]

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each fold."""
        import pandas as pd

        return pd.DataFrame(self.rows).set_index("fold")

    def summary(self) -> pd.DataFrame:
        """Return for the loss and each metric: mean, standard deviation, standard error, and the pooled value."""
        import pandas as pd

        rows = [(self.mean(one), self.std(one), self.standard_error(one), self.pooled[one]) for one in self.names]
        columns = ["mean", "std", "standard error", "pooled"]
        return pd.DataFrame(rows, columns=columns, index=pd.Index(self.names, name="measure"))

    def __repr__(self) -> str:
        n, n_valid = len(self.validated), int(self.validated.sum())
        covered = f"{n} items" if n == n_valid else f"{n_valid} of {n} items validated"
        width = max(12, *(len(name) + 2 for name in self.names))
        head = f"{'fold':>6}{'train':>8}{'valid':>8}" + "".join(f"{name:>{width}}" for name in self.names)
        lines = [f"Cross-validation, {len(self.folds)} folds, {covered}", "", head]
        for row in self.rows:
            numbers = "".join(f"{row[name]:{width}.4f}" for name in self.names)
            lines.append(f"{row['fold']:6}{row['n_train']:8}{row['n_valid']:8}{numbers}")
        for title, values in (
            ("mean", [self.mean(name) for name in self.names]),
            ("standard deviation", [self.std(name) for name in self.names]),
            ("standard error", [self.standard_error(name) for name in self.names]),
            ("all predictions", list(self.pooled.values())),
        ):
            lines.append(f"{title:>22}" + "".join(f"{value:{width}.4f}" for value in values))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        folds = self.to_frame().to_html(border=0, float_format=lambda number: f"{number:.4f}")
        return folds + self.summary().to_html(border=0, float_format=lambda number: f"{number:.4f}")

    def plot(self) -> Drawing:
        """Draw each fold as a point, with the mean and a band of one standard deviation, a panel each measure."""
        import matplotlib.pyplot as plt

        n = len(self.names)
        figure, axes = plt.subplots(1, n, figsize=(2.9 * n + 0.4, 3.2), squeeze=False, layout="constrained")
        for ax, name in zip(axes.flat, self.names, strict=True):
            mean, std = self.mean(name), self.std(name)
            ax.axhspan(mean - std, mean + std, color="C0", alpha=0.15, linewidth=0)
            ax.axhline(mean, color="C0", linewidth=1)
            ax.plot([row["fold"] for row in self.rows], self._values(name), "o", color="C0")
            ax.set_xticks(range(len(self.rows)))
            ax.set(title=f"{name}\n{mean:.4f} ± {std:.4f}", xlabel="fold")
            ax.title.set_fontsize(10)
            ax.margins(x=0.15)
            ax.spines[["top", "right"]].set_visible(False)
        return Drawing(figure)


def cross_validate(
    make_learner: Callable[[Fold], Learner],
    items: Any,
    folds: int | KFoldSplitter | Sequence[Any] = 5,
    *,
    train: Callable[[Learner], Any],
    seed: int | None = 0,
    verbose: bool = True,
) -> CrossValidation:
    """Train one learner for each fold and measure it on the items that it did not see.

    Args:
        make_learner: makes an untrained learner whose data are split by the `Fold` it is given.
        items: what is cut into folds: a list, a table, a tensor.
        folds: how many (at random); a `KFoldSplitter` with `groups` or `stratify`; or a list of splits, each two lists
            of positions. No item may validate twice; items that never validate (in splits by time) have no prediction.
        train: trains a learner, such as `lambda learn: learn.fine_tune(3)`.
        seed: fold k runs under `no_random(seed + k)`, so that any of them can be repeated by itself; the states of
            chance are put back afterwards. None: under the chance of the moment.
        verbose: print a line for each fold (of several processes the first does).

    Raises:
        ArgumentError: the folds overlap, or a learner does not fit its fold: it validates other items, it trains on
            the items it should validate, or it has been trained in an earlier fold.
        ShapeError: the predictions of the folds have different shapes.
    """
    splits = _all_folds(folds, items, seed)
    pooling = _Pooling(len(items))
    rows: list[dict[str, Any]] = []
    seen: list[weakref.ref[Any]] = []
    for fold in splits:
        started = time.perf_counter()
        with _telling_the_fold(fold), no_random(seed + fold.number) if seed is not None else nullcontext():
            learn = make_learner(fold)
            _check_learner(learn, fold, seen)
            seen += [weakref.ref(learn), weakref.ref(learn.model)]
            with learn.no_bar(), learn.no_logging():
                train(learn)
                values = learn.validate()
                raw, targets = learn.get_preds(act=lambda prediction: prediction)
            names = ["valid_loss", *(metric.name for metric in learn.metrics)]
            pooling.add(fold, learn, raw, targets)
        measured = dict(zip(names, values, strict=True))
        seconds = time.perf_counter() - started
        sizes = {"fold": fold.number, "n_train": len(fold.train), "n_valid": len(fold.valid)}
        rows.append({**sizes, **measured, "seconds": round(seconds, 2)})
        if verbose and is_first_process():
            told = ", ".join(f"{name} {value:.4f}" for name, value in measured.items())
            print(f"fold {fold.number} (of {fold.n_folds}): {told}, {seconds:.1f} s")
        del learn, raw, targets
        gc.collect()  # a learner and its callbacks know each other: no count of references ever falls to 0
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
    return pooling.result(splits, rows)


@contextmanager
def _telling_the_fold(fold: Fold) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(f"This was fold {fold.number} (of {fold.n_folds}, counted from 0).")
        raise


# ---- folds


def _all_folds(folds: Any, items: Any, seed: int | None) -> list[Fold]:
    if not hasattr(items, "__len__"):
        raise ArgumentError(f"items must have a length, and a {type(items).__name__} has none; make a list of it.")
    n = len(items)
    if isinstance(folds, bool) or (isinstance(folds, int) and folds < 2):
        raise ArgumentError(f"folds must be a number of folds, 2 or more, a KFoldSplitter or splits; got {folds!r}.")
    if isinstance(folds, int):
        folds = KFoldSplitter(folds, seed=seed or 0)
    if isinstance(folds, KFoldSplitter):
        splits: list[Any] = list(folds.splits(items))
    elif callable(folds):
        raise ArgumentError(
            f"A {type(folds).__name__} gives one split; cross-validation needs several. Use KFoldSplitter (it takes "
            "groups= and stratify=), or a list of splits: [splitter(items) for splitter in ...]."
        )
    else:
        splits = list(folds)
    found = []
    owner: dict[int, int] = {}
    for number, split in enumerate(splits):
        if not isinstance(split, list | tuple) or len(split) != 2:
            raise ArgumentError(f"Fold {number} must be two lists of positions, (train, valid); got {split!r:.100}.")
        halves = [[position % n for position in half] for half in checked_splits(split, n)]
        _check_fold(number, halves[0], halves[1], owner)
        found.append(Fold(number, len(splits), L(halves[0]), L(halves[1]), items))
    if len(found) < 2:
        raise ArgumentError(f"Cross-validation needs at least 2 folds, got {len(found)}.")
    return found


def _check_fold(number: int, train: list[int], valid: list[int], owner: dict[int, int]) -> None:
    for half, name in ((train, "training"), (valid, "validation")):
        if not half:
            raise ArgumentError(f"The {name} half of fold {number} is empty.")
    both = set(train).intersection(valid)
    if both:
        raise ArgumentError(
            f"Fold {number} trains and validates on {len(both)} same items, such as position {min(both)}."
        )
    for position in valid:
        if position in owner:
            raise ArgumentError(
                f"The item at position {position} validates in fold {owner[position]} and in fold {number}. Each item "
                "may validate once; for a repeated cross-validation call cross_validate once for each repeat."
            )
        owner[position] = number


# ---- learners


def _check_learner(learn: Any, fold: Fold, seen: list[weakref.ref[Any]]) -> None:
    if not isinstance(learn, Learner):
        raise ArgumentError(f"make_learner must return a Learner, got a {type(learn).__name__}.")
    if any(ref() in (learn, learn.model) for ref in seen if ref() is not None):
        raise ArgumentError(
            f"For fold {fold.number}, make_learner returned a learner or model of an earlier fold, which has been "
            "trained on the items that validate now. Make a new model inside make_learner."
        )
    loader = learn.dls.valid
    sampler = getattr(loader, "sampler", None)
    if isinstance(sampler, torch.utils.data.RandomSampler):
        raise ArgumentError("The validation loader shuffles, so that predictions have no order. Pass shuffle=False.")
    train_set, valid_set = (getattr(one, "dataset", None) for one in (learn.dls.train, loader))
    if not isinstance(valid_set, Datasets):
        return
    of_one_list = len(valid_set.source) == len(fold.items)
    same = _same_items(valid_set, fold.valid, fold.items)
    if same is None and of_one_list:  # items that cannot be compared are known by their places alone
        same = [int(index) for index in valid_set.indices] == list(fold.valid)
    if same is False:
        raise ArgumentError(
            f"The learner of fold {fold.number} validates other items than the fold ({len(valid_set)} instead of "
            f"{len(fold.valid)}, or others, or in another order). Give cross_validate and make_learner the same items "
            "in the same order, and split by the fold: DataBlock(..., splitter=fold)."
        )
    used = set(train_set.indices) if of_one_list and isinstance(train_set, Datasets) else set()
    if used.intersection(valid_set.indices):
        raise ArgumentError(f"The learner of fold {fold.number} trains on items that it validates.")


def _same_items(dataset: Datasets, places: Sequence[int], items: Any) -> bool | None:
    """Whether a data set holds the items at these places, in this order; None where nothing can be compared.

    How the data set numbers them does not matter: a list in another order has the same numbers and other items.
    """
    if len(dataset) != len(places):
        return False if len(dataset.source) == len(items) else None
    is_table = isinstance(dataset.source, Rows)
    if is_table != hasattr(items, "iloc"):
        return None
    if is_table:
        return _same_rows(dataset, places, items)
    return _all_same([(one, items[other]) for one, other in zip(dataset.items, places, strict=True)])


def _same_rows(dataset: Datasets, places: Sequence[int], frame: Any) -> bool:
    """Whether the rows have the same labels, and their columns are not those of other rows.

    make_learner may have cleaned its table, so that single columns may differ; but not all of them, and none may hold
    the same values in another order, as a table does that was sorted and numbered anew.
    """
    own, cut = dataset.items, frame.iloc[list(places)]
    if list(own.index) != list(cut.index):
        return False
    shared = [name for name in cut.columns if name in own.columns]
    if not (own.columns.is_unique and cut.columns.is_unique) or not shared:
        return True
    differing = [name for name in shared if _texts(own[name]) != _texts(cut[name])]
    whole = dataset.source.frame
    if any(sorted(_texts(whole[name])) == sorted(_texts(frame[name])) for name in differing):
        return False
    return not differing or len(differing) < len(shared)


def _texts(column: Any) -> list[str]:
    return [str(value) for value in column]


def _is_same(one: Any, other: Any) -> bool | None:
    """Whether two items are equal; None where they are of classes that cannot be compared."""
    if one is other:
        return True
    if isinstance(one, str | os.PathLike) and isinstance(other, str | os.PathLike):
        return _is_same_file(one, other)
    if isinstance(one, Number) and isinstance(other, Number):
        return bool(one == other or (one != one and other != other))
    if type(one) is not type(other):
        return None
    if isinstance(one, Tensor):
        return one.device == other.device and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and _all_same([(one[key], other[key]) for key in one])
    if isinstance(one, tuple | list | L):
        return len(one) == len(other) and _all_same(list(zip(one, other, strict=True)))
    equal: Any = one.__eq__(other)  # a class without a comparison of its own answers NotImplemented
    return equal if isinstance(equal, bool) else None


def _all_same(pairs: list[tuple[Any, Any]]) -> bool | None:
    verdicts = {_is_same(one, other) for one, other in pairs}
    return False if False in verdicts else None if None in verdicts else True


def _is_same_file(one: Any, other: Any) -> bool | None:
    """Whether two texts or paths are equal; a path and the name of its file are."""
    first, second = str(one), str(other)
    if first == second:
        return True
    if isinstance(one, str) == isinstance(other, str):
        return False
    longer, shorter = (PurePath(text).parts for text in sorted((first, second), key=len, reverse=True))
    if longer[len(longer) - len(shorter) :] == shorter:
        return True
    return False if PurePath(first).suffix and PurePath(second).suffix else None  # a text may name something else


# ---- out-of-fold predictions


class _Pooling:
    """The predictions of all folds, put in the items' order, and the metrics over all of them."""

    def __init__(self, n_items: int) -> None:
        self.validated = torch.zeros(n_items, dtype=torch.bool)
        self.predictions: Any = None
        self.targets: Any = None
        self.metrics: list[Any] = []
        self.losses: list[float] = []
        self.sizes: list[int] = []
        self.vocab: list[Any] | None = None

    def add(self, fold: Fold, learn: Learner, raw: Any, targets: Any) -> None:
        """Take in what the learner of a fold answered.

        Raises:
            ArgumentError: there is not one answer for each item, or the classes differ from those of earlier folds.
            ShapeError: the answers have different shapes.
        """
        n = len(fold.valid)
        if isinstance(raw, list):
            raise ShapeError("The predictions of the items have different shapes, so that they cannot be put together.")
        counts = {len(tensor) for tensor in _leaves(raw)}
        if counts != {n}:
            raise ArgumentError(
                f"The learner of fold {fold.number} gave {counts.pop() if counts else 0} predictions for the {n} items "
                "that validate. The validation loader must give each of them once, in their order (drop_last=False)."
            )
        self._check_vocab(fold, learn)
        if not self.metrics:
            self.metrics = deepcopy(learn.metrics)
            for metric in self.metrics:
                metric.reset()
        for metric in self.metrics:
            metric.update(raw, *(targets if isinstance(targets, tuple) else (targets,)))
        self.losses.append(learn.recorder.validation_values()[0])
        self.sizes.append(n)
        activated = apply(lambda leaf: learn.activation(leaf), raw)
        self.predictions = self._placed(self.predictions, activated, fold)
        self.targets = self._placed(self.targets, targets, fold)
        self.validated[list(fold.valid)] = True

    def _check_vocab(self, fold: Fold, learn: Learner) -> None:
        kinds = learn.dls.kinds[learn.dls.n_inp :]
        vocab = list(kinds[0].vocab) if len(kinds) == 1 and isinstance(kinds[0], Category) else None
        if fold.number and vocab != self.vocab:
            raise ArgumentError(
                f"Fold {fold.number} has the classes {vocab}, and the folds before it {self.vocab}: their predictions "
                "cannot be pooled. Name all classes: CategoryBlock(vocab=[...])."
            )
        self.vocab = vocab

    def _placed(self, whole: Any, part: Any, fold: Fold) -> Any:
        if isinstance(part, tuple | list):
            return tuple(self._placed(whole and whole[at], one, fold) for at, one in enumerate(part))
        if isinstance(part, dict):
            return {key: self._placed(whole and whole[key], one, fold) for key, one in part.items()}
        if whole is None:
            nothing = math.nan if part.is_floating_point() else -1
            whole = torch.full((len(self.validated), *part.shape[1:]), nothing, dtype=part.dtype)
        if whole.shape[1:] != part.shape[1:]:
            raise ShapeError(
                f"Fold {fold.number} predicts {tuple(part.shape[1:])} for each item, and the folds before it "
                f"{tuple(whole.shape[1:])}. Make all learners alike."
            )
        whole[list(fold.valid)] = part
        return whole

    def result(self, folds: list[Fold], rows: list[dict[str, Any]]) -> CrossValidation:
        """Return the whole."""
        loss = math.fsum(one * n for one, n in zip(self.losses, self.sizes, strict=True)) / sum(self.sizes)
        pooled = {"valid_loss": loss, **{metric.name: float(metric.compute()) for metric in self.metrics}}
        return CrossValidation(folds, rows, self.predictions, self.targets, self.validated, pooled, self.vocab)


def _leaves(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
