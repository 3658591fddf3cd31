"""Keeping items in memory: after reading it you know why the second epoch over small files is so much faster.

Items whose samples involve no chance are the same in each epoch. The first time an item is made it is copied into one
tensor a column; from then on a batch is an index into these tensors.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.foundation.processes import n_local_processes

SHARE_OF_FREE_MEMORY = 0.25
MOST_BYTES = 4 << 30


def memory_budget() -> int:
    """Return how many bytes one loader may keep: a quarter of this process's part of the free memory, at most 4 GiB."""
    return min(int(free_memory() * SHARE_OF_FREE_MEMORY) // n_local_processes(), MOST_BYTES)


def free_memory() -> int:
    """Return how many bytes the system, or the container's limit, can still give; 4 GiB where neither tells."""
    try:
        # Linux counts files it keeps cached as used; MemAvailable says what it would give up for a program
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
        limit = Path("/sys/fs/cgroup/memory.max")
        words = limit.read_text(encoding="ascii").strip() if limit.exists() else "max"
        return free if words == "max" else min(free, int(words))
    except (OSError, ValueError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 4 << 30


class BatchCache:
    """The collated items of a data set, filled as they are first asked for."""

    def __init__(self, make: Callable[[Sequence[int], int], Batch], n: int, budget: int) -> None:
        self.make, self.n, self.budget = make, n, budget
        self.columns: list[Tensor] | None = None
        self.kept = bytearray(n)
        self.n_kept = 0
        self.pattern: Batch | None = None
        self.n_inputs = 0
        self.hopeless = False

    def batch(self, indices: Sequence[int], epoch: int) -> Batch:
        """Return the batch of these items, making only those not yet kept."""
        if self.hopeless:
            return self.make(indices, epoch)
        if self.n_kept < self.n:
            missing = [index for index in indices if not self.kept[index]]
            if missing:
                made = self.make(missing, epoch)
                if not self.keep(made, missing):
                    return made if len(missing) == len(indices) else self.make(indices, epoch)
                if len(missing) == len(indices):
                    return made
        assert self.columns is not None
        assert self.pattern is not None
        places = torch.as_tensor(indices)
        columns = [column[places] for column in self.columns]
        n = self.n_inputs
        return replace(self.pattern, inputs=tuple(columns[:n]), targets=tuple(columns[n:]), indices=indices)

    def keep(self, made: Batch, indices: Sequence[int]) -> bool:
        """Copy a batch's items; return False, and give up for good, where they do not fit into equal tensors."""
        if not self.hopeless and not self._copy(made, indices):
            self.hopeless, self.columns = True, None
        return not self.hopeless

    def _copy(self, made: Batch, indices: Sequence[int]) -> bool:
        values = made.columns
        if not all(isinstance(value, Tensor) for value in values):
            return False
        if self.columns is None:
            size = sum(value.numel() // len(indices) * value.element_size() for value in values) * self.n
            if size > self.budget:
                return False
            self.columns = [value.new_empty((self.n, *value.shape[1:])) for value in values]
            self.pattern = replace(made, inputs=(), targets=(), indices=None)
            self.n_inputs = len(made.inputs)
        places = torch.as_tensor(indices)
        for column, value in zip(self.columns, values, strict=True):
            if column.shape[1:] != value.shape[1:] or column.dtype != value.dtype:
                return False
            column[places] = value
        for index in indices:
            if not self.kept[index]:
                self.kept[index] = 1
                self.n_kept += 1
        return True
