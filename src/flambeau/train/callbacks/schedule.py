"""Scheduling: after reading it you know how the learning rate and momentum change from batch to batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flambeau.nn.optimizers import set_hyper
from flambeau.train.callback import Callback

Schedule = Callable[[float], float | Sequence[float]]


class ParamScheduler(Callback):
    """Set hyper-parameters before each training batch: `scheds` maps "lr", "mom", "wd" to functions of progress."""

    order = 10
    run_valid = False

    def __init__(self, scheds: Mapping[str, Schedule]) -> None:
        self.scheds = dict(scheds)

    def before_batch(self) -> None:
        for name, schedule in self.scheds.items():
            set_hyper(self.learn.optimizer, name, schedule(self.learn.pct_train))
