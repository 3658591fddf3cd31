"""The learning-rate finder: after reading it you know how a rate is found in a hundred batches (Smith 2015).

The rate grows exponentially from batch to batch; where the loss falls well, the rate is good, where it explodes, too
high. The suggesters read the curve in different ways.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError, TrainingError
from flambeau.foundation.processes import n_processes
from flambeau.nn.optimizers import set_hyper
from flambeau.train.callback import Callback, CancelFitException, CancelValidException
from flambeau.train.snapshot import Snapshot

if TYPE_CHECKING:
    from flambeau.train.learner import Learner

Suggester = Callable[[Sequence[float], Sequence[float]], float]
EXPLODED = 4.0  # times the best smoothed loss
MIN_STEPS = 6
LAST = 5  # points at the end of the curve, where the loss explodes, are not looked at
MIN_POINTS = 3  # but so many are


class SuggestedRates(tuple[float, ...]):
    """The suggested rates, one a suggester, also by name: `rates.valley`; the curve is kept in `lrs` and `losses`."""

    lrs: list[float]
    losses: list[float]
    names: tuple[str, ...]
    valley: float
    slide: float
    minimum: float
    steep: float

    @classmethod
    def of(cls, names: Sequence[str], rates: Sequence[float], lrs: list[float], losses: list[float]) -> SuggestedRates:
        """Make the result of a search."""
        made = cls(rates)
        made.names, made.lrs, made.losses = tuple(names), lrs, losses
        for name, rate in zip(names, rates, strict=True):
            setattr(made, name, rate)
        return made

    def __repr__(self) -> str:
        return f"SuggestedRates({', '.join(f'{n}={r:.2e}' for n, r in zip(self.names, self, strict=True))})"


def valley(lrs: Sequence[float], losses: Sequence[float], num_it: int = 100) -> float:
    """Suggest the rate half way through the middle third of the curve's longest valley.

    A valley is a decreasing subsequence of the losses. It is taken to begin as many points before its end as it is
    long: a few lucky points of the flat beginning shall not stretch it. `num_it` is not needed, here as below.
    """
    n = len(losses)
    length = [1] * n
    for i in range(1, n):
        length[i] += max((length[j] for j in range(i) if losses[j] > losses[i]), default=0)
    end = max(range(n), key=length.__getitem__)
    start = max(end - length[end], 0)
    third = (end - start) / 3
    return float(lrs[start + int(third) + int(third / 2)])


def slide(
    lrs: Sequence[float],
    losses: Sequence[float],
    num_it: int = 100,
    lr_diff: int = 15,
    thresh: float = 0.005,
    adjust_value: float = 1.0,
) -> float:
    """Suggest a rate by sliding an interval from the right until the slopes at its two ends agree."""
    slopes = np.gradient(np.asarray(losses, dtype=float))
    right, left = -1, -lr_diff - 1
    chosen = float(lrs[left]) if len(lrs) > lr_diff else float(lrs[0])
    while left >= -len(slopes) and abs(slopes[right] - slopes[left]) > thresh:
        chosen = float(lrs[left])
        right, left = right - 1, left - 1
    return chosen * adjust_value


def minimum(lrs: Sequence[float], losses: Sequence[float], num_it: int = 100) -> float:
    """Suggest a tenth of the rate at which the loss was lowest."""
    return float(lrs[int(np.argmin(losses))]) / 10


def steep(lrs: Sequence[float], losses: Sequence[float], num_it: int = 100) -> float:
    """Suggest the rate at which the loss falls most steeply over the logarithm of the rate."""
    slopes = np.gradient(np.asarray(losses, dtype=float), np.log(np.asarray(lrs, dtype=float)))
    return float(lrs[int(np.argmin(slopes))])


class RateSweep(Callback):
    """Let the rate grow from batch to batch, and end the fit when the loss has exploded."""

    order = 55  # after the recorder
    run_valid = False

    def __init__(self, start_lr: float, end_lr: float, num_it: int, stop_div: bool) -> None:
        self.start_lr, self.end_lr, self.num_it, self.stop_div = start_lr, end_lr, num_it, stop_div
        self.best = math.inf

    def before_batch(self) -> None:
        share = self.learn.train_iter / max(self.num_it - 1, 1)
        set_hyper(self.learn.optimizer, "lr", self.start_lr * (self.end_lr / self.start_lr) ** share)

    def after_batch(self) -> None:
        smooth = self.learn.recorder.smooth_loss()
        self.best = min(self.best, smooth)
        exploded = not math.isfinite(smooth) or (self.stop_div and smooth > EXPLODED * self.best)
        if exploded or self.learn.train_iter >= self.num_it:
            raise CancelFitException


def _outsiders(learn: Learner) -> list[Callback]:
    return [cb for cb in learn.cbs if not cb.run_lr_find]


class _NoValidation(Callback):
    def before_validate(self) -> None:
        raise CancelValidException


def find_rate(
    learn: Learner,
    start_lr: float,
    end_lr: float,
    num_it: int,
    stop_div: bool,
    show_plot: bool,
    suggesters: Sequence[Suggester],
) -> SuggestedRates:
    """Sweep the rate, put everything back as it was, and return the suggestions.

    Raises:
        ArgumentError: the range of rates is empty.
        TrainingError: the loss is not finite from the start, or there were too few batches.
    """
    if not 0 < start_lr < end_lr or num_it < MIN_STEPS:
        raise ArgumentError(
            f"lr_find needs 0 < start_lr < end_lr and num_it >= {MIN_STEPS}, got {start_lr}, {end_lr}, {num_it}."
        )
    before = Snapshot(learn)
    sweep = RateSweep(start_lr, end_lr, num_it, stop_div)
    learn._check_train_loader()
    n_epoch = -(-num_it // len(learn.dls.train)) * n_processes()  # several processes make fewer steps an epoch
    try:
        with ExitStack() as aside:
            for change in (learn.no_logging(), learn.no_bar(), learn.removed_cbs(_outsiders(learn))):
                aside.enter_context(change)
            learn.fit(n_epoch, cbs=[sweep, _NoValidation()])
        losses, lrs = list(learn.recorder.losses), list(learn.recorder.lrs)
    finally:
        before.restore()
    shown = usable_points(losses, num_it)
    xs, ys = lrs[shown], losses[shown]
    if len(xs) < 2:
        finite = all(map(math.isfinite, losses))
        what = "there were too few batches" if finite else "the loss is not a finite number"
        raise TrainingError(
            f"The rate finder saw {len(losses)} batches and could use {len(xs)} of them: {what}. Look for NaN in the "
            "data, or start lower: lr_find(start_lr=1e-9)."
        )
    names = [getattr(getattr(f, "func", f), "__name__", type(f).__name__) for f in suggesters]
    rates = SuggestedRates.of(names, [f(xs, ys) for f in suggesters], lrs, losses)
    if show_plot:
        plot_rates(rates, shown)
    return rates


def usable_points(losses: Sequence[float], num_it: int) -> slice:
    """Return which part of the curve tells something: without the noisy first tenth, the exploding end, and NaN."""
    n = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    exploded = n < len(losses)
    last = 0 if exploded else min(LAST, max(n - MIN_POINTS, 0))
    first = min(num_it // 10, max(n - last - MIN_POINTS, 0))
    return slice(first, n - last)


def plot_rates(rates: SuggestedRates, shown: slice = slice(None), ax: Any = None) -> Drawing:
    """Draw the loss over the learning rate, and the suggestions on it."""
    import matplotlib.pyplot as plt

    ax = ax if ax is not None else plt.subplots(figsize=(6.4, 4), layout="constrained")[1]
    xs, ys = rates.lrs[shown], rates.losses[shown]
    ax.plot(xs, ys, color="0.4")
    ax.set(xscale="log", xlabel="learning rate", ylabel="loss (smoothed)")
    for name, rate in zip(rates.names, rates, strict=True):
        nearest_x = min(range(len(xs)), key=lambda i: abs(math.log(xs[i] / rate)))
        ax.plot(rate, ys[nearest_x], "o", label=f"{name} {rate:.1e}")
    if rates.names:
        ax.legend(frameon=False)
    return Drawing(ax.figure)
