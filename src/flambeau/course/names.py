"""Small names that only course notebooks use: after reading it you know what `Inf.ones` and `fastuple` are."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch

from flambeau.foundation.errors import ArgumentError
from flambeau.foundation.paths import atomic_write


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
    """Write tensors, numbers, words, and tuples, lists, dictionaries and sets of these; all of it comes back as it was.

    The file is in the format of `torch.save`. Objects of other classes (arrays, paths, an `L`) are refused, because
    reading them back would mean to run code from the file.

    Raises:
        ArgumentError: `o` holds something that `load_pickle` would refuse; nothing is written.
    """
    written = io.BytesIO()
    try:
        torch.save(o, written)
        written.seek(0)
        torch.load(written, weights_only=True)
    except Exception as error:  # what cannot be written or read raises whatever it likes
        raise ArgumentError(
            f"{fn} was not written, because the {type(o).__name__} would not come back: {_foreign(written, error)}. "
            "Only tensors and plain values do: turn arrays into tensors (torch.as_tensor), numpy's numbers into "
            "Python's (float), paths into words (str) and an L into a list first. A model is kept with learn.save or "
            "learn.export."
        ) from error
    with atomic_write(fn) as file:
        file.write(written.getbuffer())


def _foreign(written: io.BytesIO, error: Exception) -> str:
    """Return which classes in what was written are refused, or else what went wrong."""
    written.seek(0)
    try:
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(written)
    except Exception:  # nothing whole was written
        foreign = []
    return f"it holds {', '.join(foreign)}" if foreign else f"{type(error).__name__}: {error}"


def load_pickle(fn: str | Path) -> Any:
    """Read what `save_pickle` wrote; another file of torch is refused unless it holds the same plain things."""
    return torch.load(fn, weights_only=True)
