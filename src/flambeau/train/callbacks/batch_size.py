"""Batches that fit into memory: after reading it you know how a training that ran out of it goes on with smaller."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch

from flambeau.data.loaders import DataLoader
from flambeau.foundation.errors import ArgumentError, TrainingError
from flambeau.train.callback import Callback
from flambeau.train.callbacks.distributed import Distributed
from flambeau.train.snapshot import Snapshot, copied

# how allocators without an exception of their own say it
WORDS = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")


class AutoBatchSize(Callback):
    """Begin the fit again with batches half as large when it runs out of memory, as often as needed.

    Weights, optimizer, chance, history and callbacks are put back to where the fit began, and a printed line tells the
    new size, which the loaders keep. The learning rate stays. `GradientAccumulation(n_acc=64)` beside it keeps the
    steps too what they would be with batches of 64: it counts items.

    Raises:
        ArgumentError: a loader is not flambeau's own, so that its batches have the size they have; or several processes
            train together.
        TrainingError: batches of `min_bs` do not fit either.
    """

    order = 95  # behind all others, so that what is kept is how they begin

    def __init__(self, min_bs: int = 1) -> None:
        if not isinstance(min_bs, int) or min_bs < 1:
            raise ArgumentError(f"AutoBatchSize(min_bs=...) is a number of items, 1 or more; got {min_bs!r}.")
        self.min_bs = min_bs
        self._resumed = False
        self._begun_with: list[tuple[Callback, dict[str, Any]]] | None = None

    def run(self, fit: Callable[[], None]) -> None:
        """Call `fit` until it does not run out of memory."""
        if any(isinstance(cb, Distributed) for cb in self.learn.cbs):
            raise ArgumentError(
                "AutoBatchSize cannot begin again where several processes train together: one of them may run out of "
                "memory while the others wait for it. Find the batch size in one process, leave AutoBatchSize out here "
                "and pass bs=..."
            )
        for loader in self.learn.dls.loaders:
            if not isinstance(loader, DataLoader):
                raise ArgumentError(
                    f"AutoBatchSize makes smaller batches with flambeau's DataLoader; a {type(loader).__name__} has "
                    "the batches it has. Make DataLoaders.from_dsets(...) of its data set."
                )
        before, self._resumed, self._begun_with = Snapshot(self.learn), False, None
        while True:
            try:
                return fit()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                bs = self._half(error)
            # only here, after the error, are the tensors of the failed step let go of
            before.restore()
            self.learn.optimizer.zero_grad()
            gc.collect()
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
            for loader in self.learn.dls.loaders:
                loader.bs = min(loader.bs, bs)

    def before_fit(self) -> None:
        if self._begun_with is None:
            others = [cb for cb in self.learn.cbs if cb is not self]
            self._begun_with = [(cb, copied(cb.state_dict())) for cb in others]
        else:
            for cb, state in self._begun_with:
                cb.load_state_dict(state)

    def state_dict(self) -> dict[str, Any]:
        return {"bs": [getattr(loader, "bs", None) for loader in self.learn.dls.loaders]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._resumed = True
        for loader, bs in zip(self.learn.dls.loaders, state["bs"], strict=True):
            loader.bs = bs
        if self.learn.training:  # in the middle of an epoch
            self.learn.n_iter = len(self.learn.dls.train)

    def _half(self, error: Exception) -> int:
        bs = int(self.learn.dl.bs)
        if self._resumed:
            raise TrainingError(
                f"Batches of {bs}, which fitted before this training was resumed, do not fit now. Free some memory, or "
                "begin the training anew."
            ) from error
        if bs // 2 < self.min_bs:
            raise TrainingError(
                f"Even batches of {bs} do not fit into memory. Use smaller pictures, a smaller model, or 16 bits "
                f"(learn.to_fp16()). The device said: {str(error).splitlines()[0]}"
            ) from error
        if self.learn.keep_logging:
            print(f"Batches of {bs} do not fit into memory: the training begins again with batches of {bs // 2}.")
        return bs // 2


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that there was not enough memory, on an accelerator or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in WORDS)
    )
