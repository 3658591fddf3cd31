"""After this page you know how overlap is measured in segmentation: Dice and Jaccard, for one object or many classes.

All of them count, over the whole set, how often class a was said where class b was true; the rest is arithmetic on
that table.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flambeau.foundation.errors import ShapeError
from flambeau.nn.metric import Metric, RunningSum, require_tensor


def count_pairs(predicted: Tensor, target: Tensor, n_classes: int) -> Tensor:
    """Count pairs of classes: row = true class, column = predicted class. Targets outside 0 to n-1 do not count."""
    target, predicted = target.reshape(-1).long(), predicted.reshape(-1).long()
    row = torch.where((target >= 0) & (target < n_classes), target, n_classes)
    cells = row * n_classes + predicted
    size = (n_classes + 1) * n_classes
    if cells.device.type == "cpu":
        counts = torch.bincount(cells, minlength=size)
    else:  # bincount makes an accelerator wait, because it looks for the largest value
        counts = cells.new_zeros(size).scatter_add_(0, cells, torch.ones_like(cells))
    return counts.view(n_classes + 1, n_classes)[:-1]


class _Overlap(Metric):
    """Gather the table of true and predicted classes."""

    def __init__(self, axis: int = 1) -> None:
        self.axis = axis
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._tables = RunningSum()

    def update(self, prediction: Any, *targets: Tensor) -> None:
        """Take in raw predictions `(batch, classes, ...)` and class numbers `(batch, ...)`."""
        require_tensor(prediction, self.name)
        n_outputs = prediction.shape[self.axis]
        predicted = prediction.argmax(self.axis) if n_outputs > 1 else (prediction > 0).squeeze(self.axis)
        if predicted.numel() != targets[0].numel():
            raise ShapeError(
                f"{type(self).__name__} reads classes on axis {self.axis} of predictions {tuple(prediction.shape)}, so "
                f"targets of shape {tuple(predicted.shape)} were expected, got {tuple(targets[0].shape)}."
            )
        self._tables.add(count_pairs(predicted, targets[0], max(n_outputs, 2)))

    def overlaps(self) -> tuple[Tensor, Tensor]:
        """Return, per class, the size of the intersection and the sum of both sizes."""
        table = self._tables.total()
        if table is None:
            nothing = torch.full((2,), float("nan"))
            return nothing, nothing
        return table.diag(), table.sum(0) + table.sum(1)

    def one_object(self) -> tuple[float, float]:
        """Return both numbers for class 1 of two."""
        both, sizes = self.overlaps()
        if len(both) != 2:
            raise ShapeError(
                f"{type(self).__name__} measures one object against the background, but there are {len(both)} classes; "
                f"use {type(self).__name__}Multi."
            )
        return float(both[1]), float(sizes[1])


class Dice(_Overlap):
    """Measure the overlap of one object: `2 |A and B| / (|A| + |B|)`; nan where neither has a pixel."""

    def compute(self) -> float:
        """Return the Dice coefficient."""
        both, sizes = self.one_object()
        return 2 * both / sizes if sizes else float("nan")


class JaccardCoeff(_Overlap):
    """Measure the overlap of one object: `|A and B| / |A or B|`; nan where neither has a pixel."""

    def compute(self) -> float:
        """Return the Jaccard coefficient."""
        both, sizes = self.one_object()
        return both / (sizes - both) if sizes else float("nan")


class DiceMulti(_Overlap):
    """Average the Dice coefficient over all classes that occur. Pixels with a target outside do not count."""

    def compute(self) -> float:
        """Return the mean Dice coefficient."""
        both, sizes = self.overlaps()
        return float((2 * both / sizes).nanmean())


class JaccardCoeffMulti(_Overlap):
    """Average the Jaccard coefficient over all classes that occur. Pixels with a target outside do not count."""

    def compute(self) -> float:
        """Return the mean Jaccard coefficient (mean intersection over union)."""
        both, sizes = self.overlaps()
        return float((both / (sizes - both)).nanmean())
