"""`L`, the list with verbs: after reading it you can map, filter, pick and index without writing a loop."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from functools import partial
from itertools import chain, islice
from operator import attrgetter, itemgetter
from typing import Any, SupportsIndex, TypeVar, overload

from flambeau.foundation.seeds import random_generator

T = TypeVar("T")
U = TypeVar("U")
_WHOLE = (str, bytes, bytearray)  # these can be iterated, but a reader means them as one thing


def noop(x: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Return `x` unchanged, whatever else is given."""
    return x


def _iterates(x: object) -> bool:
    """Say whether `x` gives several things (a zero-dimensional tensor has `__iter__` and does not)."""
    return hasattr(x, "__iter__") and not isinstance(x, _WHOLE) and getattr(x, "ndim", 1) != 0


def listify(x: Any) -> list[Any]:
    """Return a plain list: nothing for None, the elements of an iterable, else `x` alone."""
    if x is None:
        return []
    return list(x) if _iterates(x) else [x]


def range_of(x: Any) -> list[int]:
    """Return all the indices of a collection, or of a count."""
    return list(range(len(x) if hasattr(x, "__len__") else x))


def coll_repr(collection: Iterable[Any], max_n: int = 10) -> str:
    """Write a collection as `(#count) [first,second...]`, with `max_n` elements at most."""
    elements = collection if isinstance(collection, Sized) else list(collection)
    shown = ",".join(repr(element) for element in islice(elements, max_n))
    return f"(#{len(elements)}) [{shown}{'...' if len(elements) > max_n else ''}]"


def first(x: Iterable[T], f: Callable[[T], Any] | None = None) -> T | None:
    """Return the first element of `x` (the first for which `f` holds), or None."""
    return next(iter(x if f is None else filter(f, x)), None)


def _nested_attribute(x: Any, name: str, default: Any) -> Any:
    if isinstance(x, Mapping):
        return x.get(name, default)
    for part in name.split("."):
        x = getattr(x, part, default)
    return x


def _as_function(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[..., Any]:
    """Turn what `map` accepts (a function, a format string, a table to look up in) into a function."""
    if callable(f):
        return partial(f, *args, **kwargs) if args or kwargs else f
    if isinstance(f, str):
        return f.format
    lookup: Callable[..., Any] = f.__getitem__
    return lookup


def _positions(index: Any, length: int) -> Iterator[int]:
    """Turn a mask or a collection of numbers into positions."""
    if hasattr(index, "tolist"):
        index = index.tolist()
    chosen = list(index)
    if chosen and all(isinstance(element, bool) for element in chosen):
        if len(chosen) != length:
            raise IndexError(f"A mask of {len(chosen)} elements cannot pick from a list of {length}.")
        return (position for position, keep in enumerate(chosen) if keep)
    return (element.__index__() for element in chosen)


class L(list[T]):
    """Hold elements in order, as a list does, and offer what notebooks do with lists as methods.

    `L(None)` is empty; `L(iterable)` takes the elements; `L(x)` wraps anything else, text included; `L(a, b)` takes
    both. Indexing with a slice, a mask, or a list, array or tensor of positions gives an `L`.
    """

    __slots__ = ()

    @overload
    def __init__(self, items: None = None, /) -> None: ...
    @overload
    def __init__(self, items: Iterable[T], /) -> None: ...
    @overload
    def __init__(self, items: T, /, *rest: T) -> None: ...
    def __init__(self, items: Any = None, /, *rest: T) -> None:
        if rest:
            super().__init__((items, *rest))
        elif items is not None:
            super().__init__(items if _iterates(items) else (items,))

    @classmethod
    def range(cls, start: Any, stop: int | None = None, step: int = 1) -> L[int]:
        """Return the numbers of `range`; a collection as `start` gives its indices."""
        if hasattr(start, "__len__"):
            start = len(start)
        return L(range(start) if stop is None else range(start, stop, step))

    # ---- picking

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> T: ...
    @overload
    def __getitem__(self, index: Any, /) -> L[T]: ...
    def __getitem__(self, index: Any, /) -> Any:
        if isinstance(index, int):
            return list.__getitem__(self, index)
        if isinstance(index, slice):
            return type(self)(list.__getitem__(self, index))
        if _iterates(index):
            return type(self)([list.__getitem__(self, position) for position in _positions(index, len(self))])
        return list.__getitem__(self, index)

    def itemgot(self, *indices: Any) -> L[Any]:
        """Take `element[index]` of each element, one index after the other."""
        picked: L[Any] = self
        for index in indices:
            picked = picked.map(itemgetter(index))
        return picked

    def attrgot(self, name: str, default: Any = None) -> L[Any]:
        """Take the attribute (dots reach deeper) or the dictionary entry `name` of each element."""
        return L([_nested_attribute(element, name, default) for element in self])

    def filter(self, f: Callable[..., Any] = noop, negate: bool = False, **kwargs: Any) -> L[T]:
        """Keep the elements for which `f` holds (or does not, with `negate`)."""
        return L([element for element in self if bool(f(element, **kwargs)) != negate])

    def argwhere(self, f: Callable[..., Any], negate: bool = False, **kwargs: Any) -> L[int]:
        """Return the positions of the elements for which `f` holds."""
        return L([position for position, element in enumerate(self) if bool(f(element, **kwargs)) != negate])

    def unique(self, sort: bool = False) -> L[T]:
        """Keep each value once, in order of first appearance or sorted."""
        values: L[T] = L(dict.fromkeys(self))
        return values.sorted() if sort else values

    # ---- changing

    def map(self, f: Any, *args: Any, **kwargs: Any) -> L[Any]:
        """Apply `f` to each element; `args` come before the element, as in `functools.partial`.

        `f` may also be a format string (`"{}.png"`) or anything to look elements up in (a dictionary, a list).
        """
        function = _as_function(f, args, kwargs)
        return L([function(element) for element in self])

    def starmap(self, f: Callable[..., U], *args: Any, **kwargs: Any) -> L[U]:
        """Apply `f` to the parts of each element: `f(*args, *element)`."""
        return L([f(*args, *element, **kwargs) for element in self])  # type: ignore[misc]

    def sorted(self, key: Any = None, reverse: bool = False) -> L[T]:
        """Return a sorted copy; `key` is a function, the name of an attribute or the number of an item."""
        if isinstance(key, str):
            key = attrgetter(key)
        elif isinstance(key, int):
            key = itemgetter(key)
        return L(sorted(self, key=key, reverse=reverse))

    def shuffle(self, rng: random.Random | int | None = None) -> L[T]:
        """Return a shuffled copy; `rng` is a generator or a seed."""
        shuffled: L[T] = L(self)
        (rng if isinstance(rng, random.Random) else random_generator(rng)).shuffle(shuffled)
        return shuffled

    # ---- joining

    def enumerate(self) -> L[tuple[int, T]]:
        """Return pairs of position and element."""
        return L(list(enumerate(self)))

    def zip(self) -> L[tuple[Any, ...]]:
        """Turn rows into columns: the first parts of all elements, then the second parts, and so on."""
        return L(list(zip(*self, strict=False)))

    def concat(self) -> L[Any]:
        """Join the elements of the elements into one list."""
        return L(list(chain.from_iterable(map(listify, self))))

    def val2idx(self) -> dict[T, int]:
        """Return a dictionary from value to position."""
        return {element: position for position, element in enumerate(self)}

    def copy(self) -> L[T]:
        """Return a copy."""
        return type(self)(self)

    def __add__(self, other: Any, /) -> L[Any]:
        return type(self)([*self, *listify(other)])

    def __radd__(self, other: Any) -> L[Any]:
        return type(self)([*listify(other), *self])

    def __mul__(self, times: SupportsIndex, /) -> L[T]:
        return type(self)(list.__mul__(self, times))

    def __repr__(self) -> str:
        return coll_repr(self)
