"""Averaged weights: after reading it you know why a running mean of the weights often predicts better than the newest.

Steps with a high rate jump around a good place rather than to it. The exponential average of the weights over the last
steps lies nearer (Polyak 1992; Izmailov 2018), and costs one copy of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from flambeau.foundation.errors import ArgumentError
from flambeau.train.callback import Callback

WEIGHT = "average."


class ModelAverage(Callback):
    """Keep an exponential average of the weights; validate with it, and leave it in the learner when the fit ends.

    After each step `average = decay * average + (1 - decay) * weights`, begun with the weights after the first step;
    the statistics of norm layers are averaged too. The average reaches back about 1 / (1 - decay) steps: choose fewer
    than the fit has. Training goes on with the newest weights. They come back after the epoch, so that what a
    `SaveModelCallback` saves is what was validated. Each fit begins an average of its own.

    Raises:
        ArgumentError: `decay` is not between 0 and 1.
    """

    order = 70  # after the trackers, which save the weights that were measured
    run_lr_find = False

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ArgumentError(f"ModelAverage(decay=...) is at least 0 and below 1, got {decay!r}.")
        self.decay = decay
        self._average: AveragedModel | None = None
        self._in_use = False  # whether the learner's model holds the average, and `_average` the newest weights
        self._until_epoch_ends = False

    def before_fit(self) -> None:
        update = get_ema_multi_avg_fn(self.decay)
        self._average = AveragedModel(self.learn.model, multi_avg_fn=update, use_buffers=True)
        self._in_use = self._until_epoch_ends = False

    def after_step(self) -> None:
        if self._average is not None:
            self._average.update_parameters(self.learn.model)

    def before_train(self) -> None:
        self._use(False)

    def after_train(self) -> None:
        self._until_epoch_ends = True

    def before_validate(self) -> None:
        self._use(True)

    def after_validate(self) -> None:
        if not self._until_epoch_ends:  # a callback validates in the middle of the training
            self._use(False)

    def after_epoch(self) -> None:
        self._until_epoch_ends = False
        self._use(False)

    def after_fit(self) -> None:
        self._use(True)
        self._average = None

    def _use(self, average: bool) -> None:
        """Exchange the weights where the model holds the wrong ones; in place, since optimizers know them by place."""
        if self._average is None or self._in_use is average or (average and not self._average.n_averaged):
            return
        with torch.no_grad():
            for own, other in self._pairs():
                kept = own.clone()
                own.copy_(other)
                other.copy_(kept)
        self._in_use = average

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        assert self._average is not None
        model, module = self.learn.model, self._average.module
        tensors = zip(
            chain(model.parameters(), model.buffers()), chain(module.parameters(), module.buffers()), strict=True
        )
        # whole numbers, such as a norm layer's count of batches, have no average and stay the newest
        return ((own, other) for own, other in tensors if own.is_floating_point() or own.is_complex())

    def state_dict(self) -> dict[str, Any]:
        if self._average is None:
            return {}
        weights = {WEIGHT + name: value for name, value in self._average.module.state_dict(keep_vars=False).items()}
        return {"n_averaged": int(self._average.n_averaged), "in_use": self._in_use, **weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if not state or self._average is None:
            return
        weights = {name.removeprefix(WEIGHT): value for name, value in state.items() if name.startswith(WEIGHT)}
        self._average.module.load_state_dict(weights)
        self._average.n_averaged.fill_(state["n_averaged"])
        self._in_use = state["in_use"]
        self._use(False)  # it was kept while the model held the average
