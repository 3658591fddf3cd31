"""After this page you know what a metric is, and why none here is an average of batch averages.

A metric sees every batch and answers once, for the whole set. `update` must not wait for the device: it keeps tensors
and asks for no number; `compute` does, once an epoch.
"""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from flambeau.foundation.errors import ShapeError
from flambeau.foundation.nested import apply, find_tensors

NOT_ASKED = -100  # the target of what does not count: torch's losses and those of flambeau leave it out

# more sums than this wait in a list no longer: each is a small allocation of its own
_FOLD_EVERY = 512

# beyond the first, collected predictions leave the accelerator; beyond the second, memory would be next
DEVICE_BYTES = 256 * 2**20
MEMORY_BYTES = 2 * 2**30
_TENSOR = object()


def snake_case(name: str) -> str:
    """Return `F1Score` as `f1_score`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


class Metric(ABC):
    """Measure predictions over a whole set: `reset`, then `update` with each batch, then `compute`."""

    @property
    def name(self) -> str:
        """The column it fills in the table of results."""
        return snake_case(type(self).__name__)

    @abstractmethod
    def reset(self) -> None:
        """Forget all batches."""

    @abstractmethod
    def update(self, prediction: Any, *targets: Tensor) -> None:
        """Take in one batch: raw predictions, as the loss gets them (one tensor, or what else the model gives)."""

    def update_with_loss(self, loss: Tensor, prediction: Any, *targets: Tensor) -> None:
        """Take in one batch of a learner, whose mean loss is known; few metrics have a use for it."""
        self.update(prediction, *targets)

    @abstractmethod
    def compute(self) -> float | Tensor:
        """Return the value over all batches since `reset`; nan where there were none."""


def require_tensor(prediction: Any, name: str) -> None:
    """Check that a metric that reads one tensor gets one.

    Raises:
        ShapeError: the model gives something else, such as a tuple.
    """
    if not isinstance(prediction, Tensor):
        what = type(prediction).__name__ + (f" of {len(prediction)}" if isinstance(prediction, tuple | list) else "")
        raise ShapeError(
            f"The metric {name} reads one tensor, but the model gives a {what}. Say which part is meant with a "
            f"function: def {name}_of_first(prediction, target): return {name}(prediction[0], target)."
        )


class RunningSum:
    """Add up tensors of one shape without a kernel per batch and without waiting for the device."""

    def __init__(self) -> None:
        self._waiting: list[Tensor] = []

    def add(self, term: Tensor) -> None:
        """Take in one term."""
        self._waiting.append(term)
        if len(self._waiting) >= _FOLD_EVERY:
            self._waiting = [self._sum()]

    def _sum(self) -> Tensor:
        stacked = torch.stack(self._waiting)
        # float64 where there is one: a float32 sum of many batches loses the small ones
        return stacked.sum(0) if stacked.device.type == "mps" else stacked.sum(0, dtype=torch.float64)

    def total(self) -> Tensor | None:
        """Return the sum as float64 on the CPU, or None where nothing came."""
        return self._sum().cpu().double() if self._waiting else None


class MeanMetric(Metric):
    """Average over all elements of the set: `mean` gives a batch's average, `count` how many elements it is over."""

    def __init__(
        self,
        mean: Callable[..., Tensor],
        name: str,
        count: Callable[..., int | Tensor],
        finish: Callable[[float], float] | None = None,
    ) -> None:
        self.mean, self._name, self._count, self._finish = mean, name, count, finish
        self.reset()

    @property
    def name(self) -> str:
        """The function's name."""
        return self._name

    def reset(self) -> None:
        """Forget all batches."""
        self._means: list[Tensor] = []
        self._counts: list[int | Tensor] = []

    def update(self, prediction: Any, *targets: Tensor) -> None:
        """Take in one batch."""
        require_tensor(prediction, self.name)
        self._add(self.mean(prediction, *targets), self._count(prediction, *targets))

    def _add(self, mean: Tensor, count: int | Tensor) -> None:
        self._means.append(mean.detach())
        self._counts.append(count)
        if len(self._means) >= _FOLD_EVERY:
            total, count = self._totals()
            self._means, self._counts = [total / count.clamp(min=1)], [count]

    def _totals(self) -> tuple[Tensor, Tensor]:
        means = torch.stack(self._means)
        means = means if means.device.type == "mps" else means.double()
        if isinstance(self._counts[0], Tensor):
            counts = torch.stack([torch.as_tensor(count, device=means.device) for count in self._counts]).to(means)
        else:
            counts = torch.tensor(self._counts, dtype=means.dtype, device=means.device)
        # a batch without any counted element has the mean nan and the weight 0
        return torch.where(counts > 0, means * counts, 0).sum(), counts.sum()

    def compute(self) -> float:
        """Return the mean over all elements."""
        if not self._means:
            return float("nan")
        total, count = self._totals()
        if count == 0:
            return float("nan")
        value = float(total) / float(count)
        return value if self._finish is None else self._finish(value)


class CollectingMetric(Metric):
    """Keep what a function needs of every batch and call it once on the whole set.

    The function gets predictions as the loss does: a model's tuple or dictionary is joined part by part.
    Tensors stay on the device up to `DEVICE_BYTES`, then move to the CPU. Beyond `MEMORY_BYTES`, or where batches have
    different shapes, the value becomes the average over the parts that fit, weighted by their targets, and a warning
    says so.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function, self._name = function, name
        self.reset()

    @property
    def name(self) -> str:
        """The function's name."""
        return self._name

    def reset(self) -> None:
        """Forget all batches."""
        self._batches: list[list[Tensor]] = []  # the tensors of each batch
        self._form: Any = None  # prediction and targets, with `_TENSOR` where the tensors were
        self._n_bytes = 0
        self._device_bytes = 0
        self._part_values: list[float] = []
        self._part_sizes: list[int] = []

    def prepare(self, prediction: Any, *targets: Tensor) -> tuple[Any, ...]:
        """Return what to keep of a batch."""
        return prediction, *targets

    def update(self, prediction: Any, *targets: Tensor) -> None:
        """Take in one batch.

        Raises:
            ShapeError: the prediction holds a number for the whole batch, which cannot be joined with others.
        """
        columns = self.prepare(prediction, *targets)
        kept = [column.detach() for column in find_tensors(columns)]
        if any(column.ndim == 0 for column in kept):
            raise ShapeError(
                f"The metric {self.name} keeps predictions and targets of the whole set, one or more for each item, "
                "but among them is a single number for the whole batch. Let the model give items on the first axis."
            )
        self._form = apply(lambda leaf: _TENSOR if isinstance(leaf, Tensor) else leaf, columns)
        if self._batches and any(a.shape[1:] != b.shape[1:] for a, b in zip(kept, self._batches[0], strict=True)):
            self._close_part("the batches have different shapes")
        size = sum(column.nbytes for column in kept)
        if self._n_bytes + size > MEMORY_BYTES and self._batches:
            self._close_part(f"the predictions take more than {MEMORY_BYTES / 2**30:g} GiB")
        self._n_bytes += size
        if kept[0].device.type != "cpu":
            self._device_bytes += size
            if self._device_bytes > DEVICE_BYTES:
                self._batches = [[column.cpu() for column in batch] for batch in self._batches]
                kept = [column.cpu() for column in kept]
                self._device_bytes = 0
        self._batches.append(kept)

    def _value(self) -> tuple[float, int]:
        """Return the function's value on the batches at hand, and its weight."""
        devices = {batch[0].device for batch in self._batches}
        columns = [
            torch.cat([column.cpu() for column in parts] if len(devices) > 1 else list(parts))
            for parts in zip(*self._batches, strict=True)
        ]
        whole = iter(columns)
        arguments = apply(lambda leaf: next(whole) if leaf is _TENSOR else leaf, self._form)
        return _as_number(self._function(*arguments), self.name), columns[-1].numel()

    def _close_part(self, reason: str) -> None:
        if not self._part_values:
            warnings.warn(f"{self.name} is averaged over parts of the set, because {reason}.", stacklevel=4)
        value, size = self._value()
        self._part_values.append(value)
        self._part_sizes.append(size)
        self._batches, self._n_bytes, self._device_bytes = [], 0, 0

    def compute(self) -> float:
        """Return the function's value on the whole set."""
        if not self._batches:
            return float("nan")
        value, size = self._value()
        values, sizes = [*self._part_values, value], [*self._part_sizes, size]
        return sum(v * n for v, n in zip(values, sizes, strict=True)) / max(1, sum(sizes)) if len(values) > 1 else value


def _as_number(value: Any, name: str) -> float:
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ShapeError(
            f"The metric {name} gave a tensor of shape {tuple(value.shape)}; one number was expected. "
            "End the function in .mean()."
        )
    return float(value)
