"""Small names that only course notebooks use: after reading it you know what `Inf.ones` and `fastuple` are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch


class fastuple(tuple[Any, ...]):
    """A tuple made of its arguments; subclass it and give it a `show` to draw samples of your own."""

    def __new__(cls, *values: Any) -> Self:
        """Make the tuple of the arguments; one lone list or tuple is taken as the values themselves."""
        given = values[0] if len(values) == 1 and isinstance(values[0], list | tuple) else values
        return super().__new__(cls, given)


class _Endless:
    """Endless iterators, fresh at each access."""

    @property
    def zeros(self) -> Iterator[int]:
        """0, 0, 0, ..."""
        return itertools.repeat(0)

    @property
    def ones(self) -> Iterator[int]:
        """1, 1, 1, ..."""
        return itertools.repeat(1)

    @property
    def count(self) -> Iterator[int]:
        """0, 1, 2, ..."""
        return itertools.count()

    @property
    def nones(self) -> Iterator[None]:
        """None, None, None, ..."""
        return itertools.repeat(None)


Inf = _Endless()


def save_pickle(fn: str | Path, o: Any) -> None:
    """Write tensors, or lists and dictionaries of tensors and plain values: `load_pickle` reads nothing else back."""
    torch.save(o, fn)


def load_pickle(fn: str | Path) -> Any:
    """Read what `save_pickle` wrote; files pickled elsewhere are refused unless they hold plain values and tensors."""
    return torch.load(fn, weights_only=True)


