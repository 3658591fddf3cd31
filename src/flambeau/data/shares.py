"""Sharing out: after reading it you know which items of an epoch each of several processes gets.

All processes know the same order of an epoch and cut it into the same steps of `bs` items a process; each makes its own
part of every step. No item comes twice, none is left out, and all processes take equally many steps:

    order           0 1 2 3 | 4 5 6 7 | 8        two processes, bs=2
    first process   0 1       4 5       8
    second process  2 3       6 7       (8)      an item in brackets is computed, so that nobody waits, and not counted
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch

from flambeau.data.batch import Batch, as_batch
from flambeau.data.loaders import DataLoader
from flambeau.foundation.errors import ArgumentError, TrainingError


def part_sizes(n_items: int, n_processes: int) -> tuple[int, ...]:
    """Return how many of a step's items each process gets: numbers that differ by one at most.

    >>> part_sizes(5, 3)
    (1, 2, 2)
    """
    ends = [n_items * place // n_processes for place in range(n_processes + 1)]
    return tuple(end - start for start, end in pairwise(ends))


class Share(ABC):
    """One process's part of a loader: batches that know, in `parts`, how many items each process has of the step."""

    step_indices: Sequence[int] | None = None
    """The places in the data set of all processes' items of the step that came last, where known."""

    def __init__(self, place: int, n_processes: int) -> None:
        self.place, self.n_processes = place, n_processes

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of steps of an epoch."""

    @abstractmethod
    def __iter__(self) -> Iterator[Batch]:
        """Yield this process's batch of each step."""

    def _own(self, n_items: int) -> tuple[slice, tuple[int, ...]]:
        """Return which of a step's items are this process's (the first where none is), and all sizes."""
        parts = part_sizes(n_items, self.n_processes)
        start = sum(parts[: self.place])
        return (slice(start, start + parts[self.place]) if parts[self.place] else slice(0, 1)), parts


class ShareOfItems(Share):
    """A part of one of flambeau's own loaders: only the process's own items are read."""

    def __init__(self, loader: DataLoader, place: int, n_processes: int) -> None:
        super().__init__(place, n_processes)
        self.loader = loader

    def __len__(self) -> int:
        return self.loader.n_steps(self.n_processes)

    def __iter__(self) -> Iterator[Batch]:
        return self.batches()

    def batches(self, first: int = 0) -> Iterator[Batch]:
        """Yield this process's batches from step number `first` on."""
        steps = list(self.loader.index_batches(self.n_processes))[first:]
        cuts = [self._own(len(step)) for step in steps]
        own = (step[cut] for step, (cut, _) in zip(steps, cuts, strict=True))
        for batch, step, (_, parts) in zip(self.loader.serve(own), steps, cuts, strict=False):
            self.step_indices = step
            yield replace(batch, parts=parts)


class ShareOfBatches(Share):
    """A part of each batch of any iterable: every process makes all batches, the model sees its own part of each."""

    def __init__(
        self, loader: Any, place: int, n_processes: int, n_inp: int | None, device: torch.device | str
    ) -> None:
        super().__init__(place, n_processes)
        self.loader, self.n_inp, self.device = loader, n_inp, device

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        for raw in self.loader:
            whole = as_batch(raw, self.n_inp)
            own, parts = self._own(whole.n_items)
            self.step_indices = whole.indices
            yield replace(whole.take(own).to(self.device), parts=parts)


class ShareOfTorchLoader(Share):
    """A part of a torch loader's batches, handed out by Accelerate, which also gives all processes one order."""

    def __init__(
        self,
        loader: torch.utils.data.DataLoader[Any],
        place: int,
        n_processes: int,
        n_inp: int | None,
        device: torch.device | str,
    ) -> None:
        from accelerate.data_loader import prepare_data_loader

        super().__init__(place, n_processes)
        self.n_inp, self.device = n_inp, device
        self.prepared = prepare_data_loader(
            loader, num_processes=n_processes, process_index=place, put_on_device=False, rng_types=["generator"]
        )

    def __len__(self) -> int:
        return len(self.prepared)

    def __iter__(self) -> Iterator[Batch]:
        for raw in self.prepared:
            batch = as_batch(raw, self.n_inp).to(self.device)
            yield replace(batch, parts=(batch.n_items,) * self.n_processes)


def share(
    loader: Any, place: int, n_processes: int, n_inp: int | None, device: torch.device | str, training: bool
) -> Share:
    """Return the part of a loader that the process at `place` of `n_processes` gets.

    Raises:
        ArgumentError: the loader is not flambeau's and cannot be shared out so that each item comes once.
        TrainingError: the training items do not suffice for one step of all processes.
    """
    if isinstance(loader, Share):
        return loader
    if isinstance(loader, DataLoader):
        part: Share = ShareOfItems(loader, place, n_processes)
        if training and len(part) == 0:
            raise TrainingError(
                f"{n_processes} processes with bs={loader.bs} take {loader.bs * n_processes} items a step, and there "
                f"are {loader.n} training items. Pass bs={max(loader.n // (4 * n_processes), 1)} or smaller."
            )
        return part
    if isinstance(loader, torch.utils.data.DataLoader):
        _check_torch_loader(loader, n_processes, training)
        if training:
            return ShareOfTorchLoader(loader, place, n_processes, n_inp, device)
    elif training and not isinstance(loader, list | tuple):
        raise ArgumentError(
            f"Several processes cannot share out a {type(loader).__name__}: nothing says that it gives all of them the "
            "same batches. Use flambeau's DataLoader, a torch DataLoader, or a list of batches."
        )
    return ShareOfBatches(loader, place, n_processes, n_inp, device)


def _check_torch_loader(loader: torch.utils.data.DataLoader[Any], n_processes: int, training: bool) -> None:
    draws = hasattr(loader.sampler, "generator")  # as torch's own samplers that shuffle have
    if not training:
        if draws:
            raise ArgumentError(
                "The validation loader is a torch DataLoader that shuffles, so that each process would see another "
                "order and items would count twice. Make it with shuffle=False."
            )
        return
    orderly = draws or isinstance(loader.sampler, torch.utils.data.SequentialSampler)
    if not orderly or loader.batch_size is None:
        raise ArgumentError(
            "Several processes can share out a torch DataLoader only where torch's own samplers choose the items, "
            "batch_size of them at a time: nothing says that another order is the same in all processes. Use "
            "shuffle=True or False and a batch_size, or flambeau's DataLoader with order=."
        )
    step = loader.batch_size * n_processes
    n = len(loader.sampler)  # type: ignore[arg-type]
    if n < step:
        raise TrainingError(f"{n_processes} processes take {step} items a step; the torch DataLoader has {n}.")
    if not loader.drop_last and n % step:
        raise ArgumentError(
            f"The training loader is a torch DataLoader whose {n} items do not fill steps of {step} items "
            f"({n_processes} processes with batch_size={loader.batch_size}): its last items would be repeated. Make it "
            "with drop_last=True, or use flambeau's DataLoader, which shares out any number."
        )
