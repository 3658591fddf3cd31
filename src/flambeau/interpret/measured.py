"""What is kept of each prediction: after reading it you know why interpreting a million items needs little memory.

Of each item only its loss, its answer, its target and the answer's probability stay; inputs and whole predictions are
read again for the few items that someone wants to see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flambeau.nn.losses import unreduced
from flambeau.train.callback import Callback
from flambeau.train.inference import loader_for, run

if TYPE_CHECKING:
    from flambeau.train.learner import Learner


@dataclass(frozen=True)
class Measured:
    """The losses, answers, targets and probabilities of all items, in the loader's order.

    `answers` and `targets` are (n,) for classes; for masks, many labels and numbers they are None (too large to keep),
    and `confusion` counts pixels.
    """

    losses: Tensor
    answers: Tensor | None
    targets: Tensor | None
    probabilities: Tensor | None
    confusion: Tensor | None


class _Measure(Callback):
    """Take from each batch what `Measured` keeps."""

    order = 45

    def __init__(self, learn: Learner, act: Callable[[Tensor], Tensor] | None, n_classes: int) -> None:
        self.act = act if act is not None else learn.activation
        self.n_classes = n_classes
        self.losses: list[Tensor] = []
        self.answers: list[Tensor] = []
        self.targets: list[Tensor] = []
        self.probabilities: list[Tensor] = []
        self.counts: Tensor | None = None

    def after_batch(self) -> None:
        learn = self.learn
        with unreduced(learn.loss_func) as per_item:
            self.losses.append(per_item(learn.pred, *learn.yb).detach().cpu())
        if not self.n_classes:
            return
        activated = self.act(learn.pred.detach())
        answers = learn.decodes(activated)
        target = learn.yb[0].long()
        if answers.shape != target.shape:
            return
        pairs = (target.reshape(-1) * self.n_classes + answers.reshape(-1).long()).cpu()
        known = (target.reshape(-1) >= 0).cpu() & (target.reshape(-1) < self.n_classes).cpu()
        counts = torch.bincount(pairs[known], minlength=self.n_classes**2)
        self.counts = counts if self.counts is None else self.counts + counts
        if target.ndim == 1:
            self.answers.append(answers.cpu())
            self.targets.append(target.cpu())
            if activated.ndim == 2 and activated.shape[1] == self.n_classes:
                self.probabilities.append(activated.gather(1, answers[:, None].long())[:, 0].float().cpu())


def measure(
    learn: Learner, ds_idx: int, dl: Any, act: Callable[[Tensor], Tensor] | None, n_classes: int
) -> tuple[Any, Measured]:
    """Run the learner over a loader once and return the loader and what was measured."""
    loader = loader_for(learn, ds_idx, dl)
    noted = _Measure(learn, act, n_classes)
    metrics, learn.metrics = learn.metrics, []
    try:
        run(learn, loader, [noted])
    finally:
        learn.metrics = metrics
    counts = noted.counts
    return loader, Measured(
        torch.cat(noted.losses),
        torch.cat(noted.answers) if noted.answers else None,
        torch.cat(noted.targets) if noted.targets else None,
        torch.cat(noted.probabilities) if noted.probabilities else None,
        None if counts is None else counts.reshape(n_classes, n_classes),
    )
