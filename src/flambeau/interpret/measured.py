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

from flambeau.data.loaders import DataLoader
from flambeau.train.callback import Callback
from flambeau.train.ensemble import Ensemble
from flambeau.train.inference import loader_for, losses_of_items, run

if TYPE_CHECKING:
    from flambeau.train.learner import Learner


@dataclass(frozen=True)
class Measured:
    """The losses, answers, targets and probabilities of all items, in their order.

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
        self.indices: list[int] = []

    def after_batch(self) -> None:
        learn = self.learn
        if learn.pred is None:  # a callback cancelled the batch
            return
        self.losses.append(losses_of_items(learn))
        self.indices += [int(index) for index in learn.batch.indices or ()]
        if not self.n_classes:
            return
        activated = self.act(learn.pred.detach())
        answers = learn.decodes(activated)
        target = learn.yb[0].long()
        if answers.numel() != target.numel():
            return
        target = target.reshape(answers.shape)
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
    learn: Learner | Ensemble, ds_idx: int, dl: Any, act: Callable[[Tensor], Tensor] | None, n_classes: int
) -> tuple[Any, Measured]:
    """Run the learner over a loader once and return the loader, in the items' order, and what was measured."""
    ensemble = learn if isinstance(learn, Ensemble) else None
    learn = learn.members[0] if isinstance(learn, Ensemble) else learn
    loader = loader_for(learn, ds_idx, dl)
    if isinstance(loader, DataLoader):
        # each item once, so that a place among the losses is the place of its item
        loader = loader.new(shuffle=False, order=None)
    if ensemble is not None:
        return loader, _measure_ensemble(ensemble, loader, n_classes)
    noted = _Measure(learn, act, n_classes)
    run(learn, loader, [noted])
    counts, order = noted.counts, torch.tensor(noted.indices).argsort(stable=True)

    def joined(parts: list[Tensor]) -> Tensor | None:
        whole = torch.cat(parts) if parts else None
        return whole[order] if whole is not None and len(order) == len(whole) else whole

    losses = joined(noted.losses)
    return loader, Measured(
        losses if losses is not None else torch.empty(0),
        joined(noted.answers),
        joined(noted.targets),
        joined(noted.probabilities),
        None if counts is None else counts.reshape(n_classes, n_classes),
    )


def _measure_ensemble(ensemble: Ensemble, loader: Any, n_classes: int) -> Measured:
    """Return what is kept of an ensemble's averaged predictions, which are all in memory for a while."""
    preds, target, answers, losses = ensemble.get_preds(dl=loader, with_decoded=True, with_loss=True)
    if not n_classes or not isinstance(target, Tensor) or answers.numel() != target.numel():
        return Measured(losses, None, None, None, None)
    target = target.long().reshape(answers.shape)
    known = (target >= 0) & (target < n_classes)
    counts = torch.bincount(target[known] * n_classes + answers[known].long(), minlength=n_classes**2)
    counts = counts.reshape(n_classes, n_classes)
    if target.ndim != 1:
        return Measured(losses, None, None, None, counts)
    sure = preds.gather(1, answers[:, None].long())[:, 0].float() if preds.shape[1:] == (n_classes,) else None
    return Measured(losses, answers, target, sure, counts)
