"""Gradients before the step: after reading it you know how small batches make a large one, and what clipping does."""

from __future__ import annotations

from typing import Any

import torch

from flambeau.foundation.errors import ArgumentError
from flambeau.train.callback import Callback, CancelBatchException


class GradientAccumulation(Callback):
    """Step only when `n_acc` items have been seen, or after each `accumulate` batches where that is given.

    The step is the one that a single batch of all these items would take: each batch weighs as much as it has items,
    and what an epoch's last batches leave over makes a step too. That holds for losses which are means over the items;
    norm layers still see the small batches. Where several processes train together, the items of all of them count.

    Raises:
        ArgumentError: a count is below 1.
    """

    order = -5  # behind mixed precision, before whatever looks at whole gradients
    run_valid = False

    def __init__(self, n_acc: int = 32, accumulate: int | None = None) -> None:
        for name, count in (("n_acc", n_acc), ("accumulate", accumulate)):
            if count is not None and (not isinstance(count, int) or count < 1):
                raise ArgumentError(f"GradientAccumulation({name}=...) counts from 1 on, got {count!r}.")
        self.n_acc, self.accumulate = n_acc, accumulate
        self.n_items = self.n_batches = 0

    def before_train(self) -> None:
        self.n_items = self.n_batches = 0
        self.learn.optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return {"n_items": self.n_items, "n_batches": self.n_batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.n_items, self.n_batches = state["n_items"], state["n_batches"]

    def before_backward(self) -> None:
        # a sum over items, so that batches of any size add up; divided by a fixed number to stay near the loss
        self.learn.loss_grad = self.learn.loss_grad * (self.learn.batch.n_of_step / self.n_acc)

    def after_backward(self) -> None:
        self.n_items += self.learn.batch.n_of_step
        self.n_batches += 1
        full = self.n_items >= self.n_acc if self.accumulate is None else self.n_batches >= self.accumulate
        if not full and self.learn.iter < self.learn.n_iter - 1:
            raise CancelBatchException  # keeps the gradients
        gradients = [p.grad for p in self.learn.model.parameters() if p.grad is not None]
        torch._foreach_mul_(gradients, self.n_acc / self.n_items)
        self.n_items = self.n_batches = 0


class GradientClip(Callback):
    """Scale the gradients down where their norm, of all parameters together, is above `max_norm` (Pascanu 2013)."""

    run_valid = False

    def __init__(self, max_norm: float = 1.0, norm_type: float = 2.0) -> None:
        if max_norm <= 0:
            raise ArgumentError(f"GradientClip needs a max_norm above 0, got {max_norm!r}.")
        self.max_norm, self.norm_type = max_norm, norm_type

    def before_step(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.learn.model.parameters(), self.max_norm, self.norm_type)
