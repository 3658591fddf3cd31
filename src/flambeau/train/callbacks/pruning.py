"""Pruning: after reading it you know how a trial that goes badly is ended before its last epoch.

After each epoch the watched number is reported to the study. A trial that does worse than most earlier ones did at the
same epoch of a training of the same length is given up. The last epoch is never pruned: its number is the result.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flambeau.foundation.errors import unknown_name
from flambeau.train.callback import Callback
from flambeau.train.callbacks.lr_find import RateSweep
from flambeau.train.monitor import require_monitor

if TYPE_CHECKING:
    from optuna.trial import Trial


LENGTHS = "epochs planned"
RULES = ("median", "study", "none")
FEWEST_TRIALS = 5  # as in Optuna: what the first few did is no standard yet


def lags_behind(trial: Trial, values: Sequence[float], lengths: Sequence[int]) -> bool:
    """Tell whether a trial's best number so far is worse than the median of the finished trials at the same epoch.

    Only trainings of the same planned lengths are compared. A schedule that is stretched over more epochs is still at a
    high learning rate when a shorter one has annealed, so its numbers there say little.
    """
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    better = min if trial.study.direction == StudyDirection.MINIMIZE else max
    step, n_fits = len(values) - 1, len(lengths)
    others = [
        better(value for at, value in other.intermediate_values.items() if at <= step)
        for other in trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if other.user_attrs.get(LENGTHS, [])[:n_fits] == list(lengths) and step in other.intermediate_values
    ]
    if len(others) < FEWEST_TRIALS:
        return False
    own, median = better(values), statistics.median(others)
    return own != median and better(own, median) == median


class PruningCallback(Callback):
    """Report a number to a trial of Optuna after each epoch, and end a trial that falls behind.

    Epochs are counted over all fits of the learner. `rule` is "median" (see `lags_behind`), "study" (what the study's
    own pruner says) or "none". A number that is not finite ends the trial at once, whatever the rule.

    Raises:
        UnknownNameError: the learner does not measure `monitor`, or there is no such rule.
        optuna.TrialPruned: the trial was given up; the study takes it from there.
    """

    order = 65  # behind the recorder, which knows the numbers, and the table, which shows them

    def __init__(self, trial: Trial, monitor: str = "valid_loss", rule: str = "median") -> None:
        if rule not in RULES:
            raise unknown_name("rule of pruning", rule, RULES)
        self.trial, self.monitor, self.rule = trial, monitor, rule
        self.values: list[float] = []
        self.lengths: list[int] = []

    def _is_sweep(self) -> bool:
        return any(isinstance(cb, RateSweep) for cb in self.learn.cbs)

    def before_fit(self) -> None:
        if not self._is_sweep():
            require_monitor(self.learn, self.monitor)
            self.lengths.append(self.learn.n_epoch)
            self.trial.set_user_attr(LENGTHS, self.lengths)

    def after_epoch(self) -> None:
        if self._is_sweep():
            return
        from optuna import TrialPruned

        epoch, value = len(self.values), float(self.learn.recorder.rows[-1].get(self.monitor, math.nan))
        self.values.append(value)
        if not math.isfinite(value):
            raise TrialPruned(f"{self.monitor} is {value} after epoch {epoch}: the training has broken down")
        self.trial.report(value, epoch)
        if self.learn.epoch == self.learn.n_epoch - 1:
            return
        if self.rule == "study" and self.trial.should_prune():
            raise TrialPruned(f"given up after epoch {epoch} by the study's pruner")
        if self.rule == "median" and lags_behind(self.trial, self.values, self.lengths):
            raise TrialPruned(f"given up after epoch {epoch}: worse than the median at that epoch")
