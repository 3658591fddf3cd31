"""A training that is broken off after an epoch and gone on with by another learner, as a resumed one is."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from torch import Tensor

from flambeau.train.callback import Callback, CancelFitException
from flambeau.train.learner import Learner

Make = Callable[[], tuple[Learner, list[Callback]]]


def round_trip(state: dict[str, Any]) -> dict[str, Any]:
    """Return a callback's state as a file would give it back: tensors, and what JSON makes of all else."""
    tensors = {name: value.clone() for name, value in state.items() if isinstance(value, Tensor)}
    rest = {name: value for name, value in state.items() if name not in tensors}
    return {**json.loads(json.dumps(rest)), **tensors}


class Keep(Callback):
    """Keep all states at the end of `epoch`, and end the fit there."""

    order = 100

    def __init__(self, epoch: int, cbs: list[Callback]) -> None:
        self.at, self.others = epoch, cbs

    def after_epoch(self) -> None:
        if self.learn.epoch == self.at:
            self.weights = copy.deepcopy(self.learn.model.state_dict())
            self.steps = copy.deepcopy(self.learn.optimizer.state_dict())
            self.states = [round_trip(cb.state_dict()) for cb in self.others]
            self.loader_epoch = getattr(self.learn.dls.train, "epoch", None)
            raise CancelFitException


class GiveBack(Callback):
    """Give all states back when the first epoch begins."""

    order = 100

    def __init__(self, kept: Keep, cbs: list[Callback]) -> None:
        self.kept, self.others, self.done = kept, cbs, False

    def before_train(self) -> None:
        if self.done:
            return
        self.done = True
        self.learn.model.load_state_dict(self.kept.weights)
        self.learn.optimizer.load_state_dict(self.kept.steps)
        if self.kept.loader_epoch is not None:
            self.learn.dls.train.epoch = self.kept.loader_epoch
        for cb, state in zip(self.others, self.kept.states, strict=True):
            cb.load_state_dict(state)


def whole_and_resumed(make: Make, n_epoch: int = 4, at: int = 1) -> tuple[Learner, Learner]:
    """Return a learner trained in one go, and one that went on from the end of epoch `at` of a third."""
    whole, cbs = make()
    broken, broken_cbs = make()
    resumed, resumed_cbs = make()
    keep = Keep(at, broken_cbs)
    with whole.no_logging(), broken.no_logging(), resumed.no_logging():
        whole.fit(n_epoch, 0.05, cbs=cbs)
        broken.fit(n_epoch, 0.05, cbs=[*broken_cbs, keep])
        resumed.fit(n_epoch, 0.05, cbs=[*resumed_cbs, GiveBack(keep, resumed_cbs)], start_epoch=at + 1)
    return whole, resumed
