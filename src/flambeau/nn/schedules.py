"""After this page you can read and draw a schedule: a function from training progress in [0, 1] to a value.

A value is one number, or one number per layer group (the learning rates of discriminative training).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from flambeau.foundation.errors import ArgumentError

Value = float | list[float]
Schedule = Callable[[float], Value]


@dataclass(frozen=True)
class Annealing(ABC):
    """Go from `start` at progress 0 to `end` at progress 1; either may hold one number per layer group."""

    start: float | Sequence[float]
    end: float | Sequence[float]

    def __post_init__(self) -> None:
        start, end = self.start, self.end
        if not isinstance(start, (int, float)) and not isinstance(end, (int, float)) and len(start) != len(end):
            raise ArgumentError(
                f"{type(self).__name__} needs as many start values as end values, got {self.start} and {self.end}."
            )

    @abstractmethod
    def between(self, start: float, end: float, progress: float) -> float:
        """Return the value at `progress` for one layer group."""

    def __call__(self, progress: float) -> Value:
        start, end = self.start, self.end
        if isinstance(start, (int, float)):
            if isinstance(end, (int, float)):
                return self.between(start, end, progress)
            start = [start] * len(end)
        if isinstance(end, (int, float)):
            end = [end] * len(start)
        return [self.between(float(first), float(last), progress) for first, last in zip(start, end, strict=True)]


class SchedLin(Annealing):
    """Follow the straight line from `start` to `end`."""

    def between(self, start: float, end: float, progress: float) -> float:
        return start + progress * (end - start)


class SchedCos(Annealing):
    """Follow half a cosine wave from `start` to `end`: slow, fast, slow (Loshchilov and Hutter 2017)."""

    def between(self, start: float, end: float, progress: float) -> float:
        return start + (1 + math.cos(math.pi * (1 - progress))) * (end - start) / 2


class SchedNo(Annealing):
    """Stay at `start`; `end` is ignored."""

    def between(self, start: float, end: float, progress: float) -> float:
        return start


class SchedExp(Annealing):
    """Multiply by the same factor at every step, from `start` to `end`, both above zero."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for value in (self.start, self.end):
            if min([value] if isinstance(value, (int, float)) else value) <= 0:
                raise ArgumentError(f"SchedExp needs values above 0, got {value}; use SchedLin to reach 0.")

    def between(self, start: float, end: float, progress: float) -> float:
        return float(start * (end / start) ** progress)


@dataclass(frozen=True)
class SchedPoly(Annealing):
    """Follow `progress ** power` from `start` to `end`."""

    power: float

    def between(self, start: float, end: float, progress: float) -> float:
        return start + float(progress**self.power) * (end - start)


@dataclass(frozen=True)
class Combined:
    """Run several schedules one after the other, each over its own share of the progress."""

    pcts: tuple[float, ...]
    scheds: tuple[Schedule, ...]

    def __call__(self, progress: float) -> Value:
        if progress >= 1:
            return self.scheds[-1](1.0)
        begins = [0.0, *accumulate(self.pcts[:-1])]
        phase = bisect_right(begins, progress) - 1
        return self.scheds[phase](min(1.0, (progress - begins[phase]) / self.pcts[phase]))


def combine_scheds(pcts: Sequence[float], scheds: Sequence[Schedule]) -> Combined:
    """Give each schedule its share of the training: `combine_scheds([0.3, 0.7], [SchedLin(0, 1), SchedCos(1, 0)])`."""
    shares = tuple(float(pct) for pct in pcts)
    if len(shares) != len(scheds):
        raise ArgumentError(
            f"combine_scheds got {len(shares)} shares for {len(scheds)} schedules; give one share each."
        )
    if any(pct < 0 for pct in shares) or abs(sum(shares) - 1) > 1e-6:
        raise ArgumentError(f"The shares of combine_scheds must be 0 or more and sum to 1, got {list(shares)}.")
    return Combined(shares, tuple(scheds))


def combined_cos(
    pct: float, start: float | Sequence[float], middle: float | Sequence[float], end: float | Sequence[float]
) -> Combined:
    """Go from `start` to `middle` over the share `pct` of the training, then to `end`, both along a cosine."""
    return combine_scheds([pct, 1 - pct], [SchedCos(start, middle), SchedCos(middle, end)])
