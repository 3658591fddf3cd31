"""A loss that is no number: after reading it you know how a training ends at the batch that spoilt it, and names it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flambeau.data.loaders import DataLoader
from flambeau.foundation.errors import ArgumentError
from flambeau.foundation.nested import find_tensors
from flambeau.train.callback import Callback, CancelFitException
from flambeau.train.callbacks.distributed import of_all

EVERY_ON_DEVICE = 10  # batches
NAMED = 5  # items


class TerminateOnNaNCallback(Callback):
    """End the fit when a training loss is NaN or infinite, and name the batch and its items.

    On the CPU each loss is looked at before its backward pass, so that the weights stay sound. On an accelerator the
    program would have to wait for the device at each batch; there the losses are looked at together after every 10th,
    and the message says how many steps came too late. `every=1` looks at each batch there too. What was found is kept
    in `found`.
    """

    run_valid = False
    run_lr_find = False  # which ends at such a loss by itself

    def __init__(self, every: int | None = None) -> None:
        if every is not None and (not isinstance(every, int) or every < 1):
            raise ArgumentError(f"TerminateOnNaNCallback(every=...) counts batches from 1 on, got {every!r}.")
        self.every = every
        self.found: str | None = None
        self._unseen: list[tuple[Tensor, int, Sequence[int] | None]] = []

    def before_fit(self) -> None:
        self.found, self._unseen = None, []

    def after_loss(self) -> None:
        learn = self.learn
        self._unseen.append((learn.loss.detach(), learn.iter, learn.batch.indices))
        every = self.every or (1 if learn.loss.device.type == "cpu" else EVERY_ON_DEVICE)
        if len(self._unseen) >= every:
            self._look()

    def after_train(self) -> None:
        self._look()

    def _look(self) -> None:
        unseen, self._unseen = self._unseen, []
        if not unseen:
            return
        # asked of all processes: where one ended alone, the others would wait for it for ever
        told = [words for words in of_all(self.learn, self._fault(unseen)) if words is not None]
        if not told:
            return
        self.found = " ".join(told)
        if self.learn.keep_logging and self.learn.is_first_process:
            print(self.found)
        raise CancelFitException

    def _fault(self, unseen: Sequence[tuple[Tensor, int, Sequence[int] | None]]) -> str | None:
        """Return what is to be told of the first loss that is not finite; None where all are."""
        values = torch.stack([loss.float().mean() for loss, _, _ in unseen]).tolist()
        place = next((place for place, value in enumerate(values) if not math.isfinite(value)), None)
        if place is None:
            return None
        _, batch_number, indices = unseen[place]
        late = len(unseen) - 1 - place
        return (
            f"Epoch {self.learn.epoch}, batch {batch_number}: the loss is {values[place]}, and the training ends. "
            f"{self._suspects(indices, is_last=late == 0)}"
            + (f" {late} more steps were taken before it was seen." if late else "")
        )

    def _suspects(self, indices: Sequence[int] | None, is_last: bool) -> str:
        if indices is None:
            return "The loader does not say which items were in the batch."
        if is_last and self.learn.batch is not None:
            for column, what in ((self.learn.batch.inputs, "inputs"), (self.learn.batch.targets, "targets")):
                spoilt = _not_finite(column, len(indices))
                if spoilt:
                    return f"Not finite are the {what} of: {self._names([indices[i] for i in spoilt])}."
        return f"The items of the batch: {self._names(indices)}. Look at them, or lower the learning rate."

    def _names(self, indices: Sequence[int]) -> str:
        dl = self.learn.dl
        name = dl.maker.name if isinstance(dl, DataLoader) else lambda index: f"item {index}"
        named = ", ".join(str(name(int(index))) for index in indices[:NAMED])
        more = len(indices) - NAMED
        return f"{named} and {more} more" if more > 0 else named


def _not_finite(columns: Any, n_items: int) -> list[int]:
    """Return the places of the items with a number that is not finite."""
    spoilt: set[int] = set()
    for tensor in find_tensors(columns):
        if tensor.is_floating_point() and tensor.ndim and len(tensor) == n_items:
            sound = torch.isfinite(tensor).reshape(n_items, -1).all(1)
            spoilt.update((~sound).nonzero().flatten().tolist())
    return sorted(spoilt)
