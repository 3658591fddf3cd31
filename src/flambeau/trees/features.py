"""What a tree splits on: after reading it you know how a number in a matrix is told in the words of its column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flambeau.data.kinds import Kind
from flambeau.foundation.numbers import number_words
from flambeau.tabular.kinds import Levels, Numbers, unscaled

MOST_LEVELS = 3  # levels that a rule lists by name


def drawn(words: Any) -> str:
    """Return words of a table for a picture, letter by letter: matplotlib takes what is between $ for a formula.

    >>> drawn("US$ to AU$")
    'US\\\\$ to AU\\\\$'
    """
    return str(words).replace("$", r"\$")


@dataclass(frozen=True)
class Feature:
    """A column of the matrix: a category has `levels` ("#na#" at 0), a number was scaled by `mean` and `std`."""

    name: str
    levels: tuple[Any, ...] = ()
    mean: float = 0.0
    std: float = 1.0

    def number(self, encoded: float) -> float:
        """Return a number of the matrix in the column's own unit; of a category its code."""
        return encoded if self.levels else float(unscaled([[encoded]], [self.mean], [self.std])[0, 0]) + 0.0  # no -0

    def shown(self, encoded: float, precision: int = 4) -> str:
        """Return a value of the matrix as a person would write it."""
        if self.levels:
            return str(self.levels[min(max(round(encoded), 0), len(self.levels) - 1)])
        return number_words(self.number(encoded), precision)

    def rule(self, threshold: float, precision: int = 4) -> str:
        """Return in words which rows go left at a threshold: those whose value is at most that."""
        if not self.levels:
            return f"{self.name} <= {number_words(self.number(threshold), precision)}"
        left = [str(level) for level in self.levels[: int(threshold) + 1]]
        named = left[1:] if len(left) > 1 else left  # an empty cell goes left wherever the threshold is
        if len(named) == 1:
            return f"{self.name} is {named[0]}"
        if len(named) <= MOST_LEVELS:
            return f"{self.name} is one of {', '.join(named)}"
        return f"{self.name} is up to {named[-1]} ({len(named)} of {len(self.levels) - 1} levels)"


def features_of(kinds: Sequence[Kind], embedded: Sequence[int] = ()) -> list[Feature]:
    """Return the columns of the matrix made of a table's categories and numbers, in this order.

    With `embedded`, the sizes of the vectors that stand for the categories, each of these brings so many columns.
    """
    levels, numbers = kinds[:2]
    assert isinstance(levels, Levels)
    assert isinstance(numbers, Numbers)
    if embedded:
        cats = [
            Feature(f"{name}_{i}") for name, size in zip(levels.names, embedded, strict=True) for i in range(size)
        ]
    else:
        cats = [Feature(str(name), tuple(vocab)) for name, vocab in zip(levels.names, levels.vocabs, strict=True)]
    scaled = zip(numbers.names, numbers.means, numbers.stds, strict=True)
    return [*cats, *(Feature(str(name), (), float(mean), float(std)) for name, mean, std in scaled)]
