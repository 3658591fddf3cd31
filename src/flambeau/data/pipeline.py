"""A pipeline of transforms: after reading it you know how one column goes from an item to a value, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from flambeau.data.kinds import Kind, kind_of
from flambeau.data.transform import Transform, as_transforms
from flambeau.foundation.errors import DataError, FlambeauError


class Pipeline:
    """Transforms in a row: calling encodes with each in turn, `decode` undoes them from the last to the first."""

    def __init__(self, funcs: Any = None, split_idx: int | None = None) -> None:
        self.transforms: list[Transform] = as_transforms(funcs)
        self.split_idx = split_idx

    def setup(self, items: Sequence[Any], name: Callable[[int], str] | None = None) -> None:
        """Let each transform that learns from items see them, as encoded by the transforms before it."""
        for place, transform in enumerate(self.transforms):
            if transform.learns:
                transform.setup(EncodedItems(items, self.transforms[:place], name), train_setup=True)

    def __call__(self, x: Any) -> Any:
        for transform in self.transforms:
            x = transform(x, self.split_idx)
        return x

    def decode(self, x: Any) -> Any:
        """Undo the transforms, the last one first."""
        for transform in reversed(self.transforms):
            x = transform.decode(x)
        return x

    def kind(self, value: Any) -> Kind:
        """Return the kind of an encoded value: as the last transform that knows says, else as its own class says."""
        for transform in reversed(self.transforms):
            if transform.kind is not None:
                return transform.kind
        return kind_of(value)

    def is_random(self, training: bool) -> bool:
        """Whether some transform's outcome may depend on chance."""
        return any(transform.is_random(training) for transform in self.transforms)

    def __getitem__(self, place: int) -> Transform:
        return self.transforms[place]

    def __len__(self) -> int:
        return len(self.transforms)

    def __iter__(self) -> Iterator[Transform]:
        return iter(self.transforms)

    def __repr__(self) -> str:
        return f"Pipeline: {' -> '.join(transform.name for transform in self.transforms)}"


def raise_located(error: Exception, name: str) -> NoReturn:
    """Raise an error that came while an item was read as one of flambeau's family that names the item."""
    if not isinstance(error, FlambeauError):
        raise DataError(
            f"Reading {name} failed: {type(error).__name__}: {error}. "
            "Look at the functions given as get_x, get_y or transforms."
        ) from error
    if name in str(error):
        raise error
    raise type(error)(f"{error} This was {name}.") from error


class EncodedItems(Sequence[Any]):
    """Items seen through some transforms, computed when asked for; `name(i)` tells which item stands at a place."""

    def __init__(
        self, items: Sequence[Any], transforms: Sequence[Transform], name: Callable[[int], str] | None = None
    ) -> None:
        self.items, self.transforms, self._name = items, list(transforms), name

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: Any) -> Any:
        value = self.items[place]
        try:
            for transform in self.transforms:
                value = transform(value, None)
        except Exception as error:
            raise_located(error, self.name(place))
        return value

    def __iter__(self) -> Iterator[Any]:
        if len(self.transforms) != 1:
            return (self[place] for place in range(len(self)))
        return self._through(self.transforms[0])

    def _through(self, transform: Transform) -> Iterator[Any]:
        for place, value in enumerate(self.items):
            try:
                yield transform(value, None)
            except Exception as error:
                raise_located(error, self.name(place))

    def name(self, place: int) -> str:
        """Return words for the item at a place, for errors."""
        return self._name(place) if self._name else f"item {place}: {self.items[place]!r}"
