"""What a row's inputs are: after reading it you know how numbers in a tensor are shown as the cells they came from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from flambeau.data.kinds import Kind

DIGITS = 5  # of a deviation, which float32 keeps also for numbers some deviations from the mean
SMALLEST = 1e-100  # below it, rounding would need more decimals than there are


@dataclass(frozen=True)
class Levels(Kind):
    """The categories of a row: an integer tensor (columns,), each the number of a level of its column."""

    names: tuple[Any, ...] = ()
    vocabs: tuple[Any, ...] = ()

    def decoded(self, value: Any) -> Any:
        """Return the row's levels by column."""
        codes = torch.as_tensor(value).tolist()
        return {name: vocab[code] for name, vocab, code in zip(self.names, self.vocabs, codes, strict=True)}

    def cells(self, value: Any) -> dict[str, str] | None:
        return {str(name): str(level) for name, level in self.decoded(value).items()}

    def text(self, value: Any) -> str:
        return ", ".join(f"{name}={level}" for name, level in self.decoded(value).items())


@dataclass(frozen=True)
class Numbers(Kind):
    """The numbers of a row: a float tensor (columns,); `means` and `stds` undo their scaling."""

    names: tuple[Any, ...] = ()
    means: tuple[Any, ...] = ()
    stds: tuple[Any, ...] = ()

    def decoded(self, value: Any) -> Any:
        """Return the row's numbers by column, as they were before Normalize."""
        row = unscaled(torch.as_tensor(value).reshape(1, -1).numpy(), self.means, self.stds)
        return dict(zip(self.names, row[0].tolist(), strict=True))

    def cells(self, value: Any) -> dict[str, str] | None:
        return {str(name): f"{number:.6g}" for name, number in self.decoded(value).items()}

    def text(self, value: Any) -> str:
        return ", ".join(f"{name}={number:.6g}" for name, number in self.decoded(value).items())


def unscaled(values: Any, means: Sequence[float], stds: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return rows of scaled numbers as they were, rounded to what 32 bits kept of them: 0 comes back as 0."""
    rows = np.asarray(values, dtype=np.float64) * np.array(stds) + np.array(means)
    for place, (mean, std) in enumerate(zip(means, stds, strict=True)):
        if std > SMALLEST and (mean, std) != (0.0, 1.0):
            rows[:, place] = rows[:, place].round(DIGITS - math.floor(math.log10(std)))
    return rows
