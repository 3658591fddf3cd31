"""Watching a number: after reading it you know how the best epoch is kept, and when a training has had enough.

After each epoch a tracker compares one column of the table of epochs with the best value so far: lower is better for a
loss or an error, higher for all else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path as AnyPath
from typing import Any

import numpy as np

from flambeau.foundation.errors import ArgumentError
from flambeau.nn.optimizers import get_hyper, set_hyper
from flambeau.train.callback import Callback, CancelFitException
from flambeau.train.callbacks.schedule import ParamScheduler
from flambeau.train.monitor import require_monitor, smaller_is_better

Comparison = Callable[[float, float], Any]


class TrackerCallback(Callback):
    """Keep the best value of the column `monitor` in `best`, and tell in `new_best` whether this epoch made it.

    `comp(value, best)` says whether a value is better: `np.less`, `np.greater` or one of your own; None: `np.less`
    where the column's name is that of a fault ("loss", "error", "rmse", ...), else `np.greater`. A value has to be
    better by more than `min_delta`. `wait` counts the epochs since the best. With `reset_on_fit=False` the best of an
    earlier fit has to be beaten.

    Raises:
        ArgumentError: `min_delta` is below 0; when the fit begins: it records no such column (all are listed).
    """

    order = 65  # after the recorder, and after the table has its row
    run_lr_find = False

    def __init__(
        self,
        monitor: str = "valid_loss",
        comp: Comparison | None = None,
        min_delta: float = 0.0,
        reset_on_fit: bool = True,
    ) -> None:
        if min_delta < 0:
            raise ArgumentError(f"min_delta says by how much a value must be better: 0 or more, got {min_delta!r}.")
        if comp is None:
            comp = np.less if smaller_is_better(monitor) else np.greater
        self.monitor, self.comp, self.min_delta, self.reset_on_fit = monitor, comp, min_delta, reset_on_fit
        self.lower_is_better = bool(comp(0.0, 1.0))
        self.best: float | None = None
        self.new_best = False
        self.wait = 0

    def before_fit(self) -> None:
        require_monitor(self.learn, self.monitor)
        self.new_best, self.wait = False, 0
        if self.reset_on_fit:
            self.best = None

    def after_epoch(self) -> None:
        value = self.learn.recorder.rows[-1].get(self.monitor)
        self.new_best = False
        if value is None:  # the epoch was cut short before it was measured
            return
        if not math.isnan(value):
            handicap = self.min_delta if self.lower_is_better else -self.min_delta
            self.new_best = self.best is None or bool(self.comp(value + handicap, self.best))
        if self.new_best:
            self.best, self.wait = value, 0
        else:
            self.wait += 1
        self.judged()

    def judged(self) -> None:
        """Act on `new_best`, `best` and `wait`, which are known now; override it, as you would an event."""

    def say(self, words: str) -> None:
        """Print a line, where the learner prints at all, and in the first process only."""
        if self.learn.keep_logging and self.learn.is_first_process:
            print(words)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "wait": self.wait}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.wait = state["best"], state["wait"]


class SaveModelCallback(TrackerCallback):
    """Save the weights of the best epoch as `fname`, and load them when the fit has ended.

    With `every_epoch` (True, or each so many epochs) each is saved as `fname_<epoch>`, with `at_end` the last alone,
    and nothing is loaded. `with_opt` saves the optimizer too. A fit that breaks or is interrupted leaves the learner
    with its newest weights; the best are in the file.
    """

    def __init__(
        self,
        monitor: str = "valid_loss",
        comp: Comparison | None = None,
        min_delta: float = 0.0,
        fname: str = "model",
        every_epoch: bool | int = False,
        at_end: bool = False,
        with_opt: bool = False,
        reset_on_fit: bool = True,
    ) -> None:
        super().__init__(monitor, comp, min_delta, reset_on_fit)
        if every_epoch and at_end:
            raise ArgumentError("SaveModelCallback saves every_epoch, at_end, or (neither) the best: choose one.")
        self.fname, self.every_epoch, self.at_end, self.with_opt = fname, every_epoch, at_end, with_opt
        self.last_saved_path: AnyPath | None = None

    @property
    def _keeps_best(self) -> bool:
        return not self.every_epoch and not self.at_end

    def before_fit(self) -> None:
        if self._keeps_best:
            super().before_fit()
        if self.reset_on_fit:
            self.last_saved_path = None

    def after_epoch(self) -> None:
        if self._keeps_best:
            super().after_epoch()
        elif self.every_epoch and self.learn.epoch % self.every_epoch == 0:
            self._save(f"{self.fname}_{self.learn.epoch}")

    def judged(self) -> None:
        if self.new_best:
            self._save(self.fname)
            self.say(f"Epoch {self.learn.epoch} is the best so far ({self.monitor} {self.best:.6g}); saved.")

    def _save(self, name: str) -> None:
        self.last_saved_path = self.learn.save(name, with_opt=self.with_opt)

    def after_fit(self) -> None:
        if not self.learn.completed:
            if self._keeps_best and self.last_saved_path is not None:
                self.say(f"The training was broken off; the weights of its best epoch: learn.load({self.fname!r}).")
        elif self.at_end:
            self._save(self.fname)
        elif self._keeps_best and self.last_saved_path is not None:
            self.learn.load(self.fname, with_opt=self.with_opt)

    def state_dict(self) -> dict[str, Any]:
        path = None if self.last_saved_path is None else str(self.last_saved_path)
        return {**super().state_dict(), "last_saved_path": path}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        path = state["last_saved_path"]
        self.last_saved_path = None if path is None else AnyPath(path)


class EarlyStoppingCallback(TrackerCallback):
    """End the fit when `patience` epochs in a row have brought nothing better."""

    order = 80  # the last: the epoch shall be shown, logged and saved before the fit ends

    def __init__(
        self,
        monitor: str = "valid_loss",
        comp: Comparison | None = None,
        min_delta: float = 0.0,
        patience: int = 1,
        reset_on_fit: bool = True,
    ) -> None:
        super().__init__(monitor, comp, min_delta, reset_on_fit)
        self.patience = _counted(patience)

    def judged(self) -> None:
        if self.wait >= self.patience:
            if self.best is None:
                self.say(f"{self.monitor} has been no number (nan) in {self.wait} epoch(s): stopping early.")
            else:
                self.say(f"{self.monitor} has not improved since epoch {self.learn.epoch - self.wait}: stopping early.")
            raise CancelFitException


class ReduceLROnPlateau(TrackerCallback):
    """Divide the learning rates by `factor`, down to `min_lr`, when `patience` epochs have brought nothing better.

    Raises:
        ArgumentError: when the fit begins: a schedule sets the rate at each batch, so that this would change nothing.
    """

    def __init__(
        self,
        monitor: str = "valid_loss",
        comp: Comparison | None = None,
        min_delta: float = 0.0,
        patience: int = 1,
        factor: float = 10.0,
        min_lr: float = 0.0,
        reset_on_fit: bool = True,
    ) -> None:
        super().__init__(monitor, comp, min_delta, reset_on_fit)
        if factor <= 1:
            raise ArgumentError(f"ReduceLROnPlateau divides the rate by factor, which must be above 1; got {factor!r}.")
        self.patience, self.factor, self.min_lr = _counted(patience), factor, min_lr

    def before_fit(self) -> None:
        super().before_fit()
        if any(isinstance(cb, ParamScheduler) and "lr" in cb.scheds for cb in self.learn.cbs):
            raise ArgumentError(
                "ReduceLROnPlateau needs a fit whose learning rate is constant, learn.fit(n, lr): this one has a "
                "schedule, which sets the rate anew at each batch."
            )

    def judged(self) -> None:
        if self.wait < self.patience:
            return
        before = get_hyper(self.learn.optimizer, "lr")
        # a rate that is below the floor already stays
        after = [min(rate, max(rate / self.factor, self.min_lr)) for rate in before]
        set_hyper(self.learn.optimizer, "lr", after)
        self.wait = 0
        if after != before:
            self.say(f"Epoch {self.learn.epoch}: the learning rate is {after[-1]:.3g} from here on.")


def _counted(patience: int) -> int:
    if not isinstance(patience, int) or patience < 1:
        raise ArgumentError(f"patience is a number of epochs, 1 or more; got {patience!r}.")
    return patience
