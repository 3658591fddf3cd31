"""Transforms: after reading it you know how a value is encoded, decoded and augmented on its way to the model.

A `Transform` encodes one value and can decode it again; the annotation on the first argument of `encodes` says which
values it touches, all others pass unchanged. An `Augment` draws its chance once and applies it to every column of a
sample or batch, so that a mask or a point stays with its picture.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import NoneType, UnionType
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

from flambeau.data.batch import Batch, as_batch
from flambeau.data.chance import loose_chance
from flambeau.data.kinds import Kind, Picture, kind_of
from flambeau.foundation.errors import ArgumentError

TRAIN, VALID = 0, 1


class Transform:
    """A reversible step on one value: override `encodes`, and `decodes` where it can be undone.

    `Transform(function)` and `@Transform` wrap a plain function. `split_idx` limits a transform to training (0) or
    validation (1); `order` sorts transforms of one stage. Tuples are encoded element by element and keep their class,
    unless the annotation of `encodes` asks for a tuple.
    """

    order: int = 0
    split_idx: int | None = None
    kinds: ClassVar[tuple[type[Kind], ...] | None] = None
    """On a batch: the kinds of columns this transform touches (None: see `touches`)."""
    checks_targets: ClassVar[bool] = False
    """Whether a data set encodes all targets when it is made, so that an unusable one is told before the training."""
    needs_batch: ClassVar[bool] = False
    """Whether it works on batches only, and not among the item transforms."""

    def __init__(
        self,
        enc: Callable[..., Any] | None = None,
        dec: Callable[..., Any] | None = None,
        split_idx: int | None = None,
        order: int | None = None,
    ) -> None:
        if enc is not None:
            self.encodes = enc  # type: ignore[method-assign]
        if dec is not None:
            self.decodes = dec  # type: ignore[method-assign]
        if split_idx is not None:
            self.split_idx = split_idx
        if order is not None:
            self.order = order

    @property
    def name(self) -> str:
        """The transform's name: its class, or the function it wraps."""
        return function_name(self.encodes) if "encodes" in self.__dict__ else type(self).__name__

    @property
    def kind(self) -> Kind | None:
        """The kind of the values that this transform makes, where it is not told by their class."""
        return None

    def is_random(self, training: bool) -> bool:
        """Whether the outcome may depend on chance, so that an epoch must not be kept in memory.

        Of flambeau's own transforms only those of class `Augment` draw. What a user's code does nobody knows here, so
        in training it counts as random.
        """
        return training and not is_own_code(self.code)

    @property
    def code(self) -> Any:
        """Whose code it runs: the function it wraps, else its class."""
        return self.encodes if "encodes" in self.__dict__ else type(self)

    @property
    def learns(self) -> bool:
        """Whether the transform learns something from data."""
        return type(self).setups is not Transform.setups or type(self).setup is not Transform.setup

    @property
    def threads_well(self) -> bool:
        """Whether several threads may run it at once: flambeau's own transforms, but not functions of the user's."""
        # a wrapped method such as PILImage.create belongs to its class; a plain function to nobody
        owner = getattr(self.encodes, "__self__", None) if "encodes" in self.__dict__ else type(self)
        return isinstance(owner, type) and owner.__module__.startswith("flambeau.")

    def setup(self, items: Any = None, train_setup: bool = False) -> None:
        """Learn from the training items whatever the transform needs (a vocabulary, a mean)."""
        self.setups(items)

    def setups(self, items: Any) -> None:
        """Learn from items; override where there is something to learn."""

    def encodes(self, x: Any) -> Any:
        """Return the encoded value; override."""
        return x

    def decodes(self, x: Any) -> Any:
        """Undo `encodes`; override where that is possible."""
        return x

    def __call__(self, x: Any, split_idx: int | None = None) -> Any:
        if self.split_idx is not None and split_idx is not None and split_idx != self.split_idx:
            return x
        return self._on_parts(self.encodes, x)

    def decode(self, x: Any) -> Any:
        """Undo the transform on a value, or on each value of a tuple."""
        return self._on_parts(self.decodes, x)

    def _on_parts(self, function: Callable[[Any], Any], x: Any) -> Any:
        types = accepted_types(function)
        if isinstance(x, tuple) and (types is None or not isinstance(x, types)):
            return rebuild(x, [self._on_parts(function, part) for part in x])
        return function(x) if types is None or isinstance(x, types) else x

    def touches(self, kind: Kind) -> bool:
        """Whether a batch's column of this kind goes through the transform.

        By the class attribute `kinds` where it is set, else by the annotation of `encodes` (`TensorImage` stands for
        pictures), else pictures only.
        """
        if self.kinds is not None:
            return isinstance(kind, self.kinds)
        for accepted in accepted_types(self.encodes) or ():
            marked = getattr(accepted, "kind", None)
            if isinstance(marked, Kind):
                return isinstance(kind, type(marked))
        return isinstance(kind, Picture)

    def on_batch(self, batch: Batch, chances: Sequence[random.Random] | None, training: bool) -> Batch:
        """Return the batch with each column that this transform touches encoded."""
        if self.split_idx is not None and self.split_idx != (TRAIN if training else VALID):
            return batch
        return batch.map(lambda value, kind: self.encodes(value) if self.touches(kind) else value)

    def decode_column(self, value: Any, kind: Kind) -> Any:
        """Undo `on_batch` for one column."""
        return self.decodes(value) if self.touches(kind) else value

    def settings(self) -> dict[str, Any]:
        """Return, as JSON values, the arguments that build this transform again after an export.

        Raises:
            ArgumentError: the transform wraps the user's own function, which an export does not carry.
        """
        raise ArgumentError(
            f"The transform {self.name!r} is code of your own, which an export does not carry. "
            f"Give it back when loading: load_learner(path, transforms={{{self.name!r}: ...}})."
        )

    def __repr__(self) -> str:
        return self.name


class ItemTransform(Transform):
    """A transform of whole samples or batches: `encodes` gets the tuple of all columns, not its parts.

    On a batch it may add or remove targets: what it returns are the new columns.
    """

    def _on_parts(self, function: Callable[[Any], Any], x: Any) -> Any:
        return function(x)

    def on_batch(self, batch: Batch, chances: Sequence[random.Random] | None, training: bool) -> Batch:
        if self.split_idx is not None and self.split_idx != (TRAIN if training else VALID):
            return batch
        n_inputs = len(batch.inputs)
        encoded = as_batch(self.encodes(batch.columns), n_inputs)
        return replace(encoded, kinds=encoded.kinds or batch.kinds, indices=batch.indices)

    def decode_column(self, value: Any, kind: Kind) -> Any:
        return value


class Augment(Transform):
    """A transform with one draw of chance for all columns of a sample or a batch.

    Override `draw` (all the chance) and `apply` (no chance), or `on_batch` where it works on a batch.
    """

    def is_random(self, training: bool) -> bool:
        """Whether the outcome depends on chance; an epoch without chance can be kept in memory."""
        return training

    def is_moving(self, training: bool) -> bool:
        """Whether chance may put what a picture shows in another place, so that masks and points have to follow."""
        return self.is_random(training)

    def draw(self, chance: random.Random, sample: Sequence[Any], kinds: Sequence[Kind], training: bool) -> Any:
        """Draw what is to happen to one sample."""
        raise NotImplementedError(f"{type(self).__name__} has no draw for single samples")

    def apply(self, value: Any, kind: Kind, drawn: Any) -> Any:
        """Return one column's value after the drawn change."""
        raise NotImplementedError(f"{type(self).__name__} has no apply for single samples")

    def on_sample(
        self, sample: tuple[Any, ...], kinds: Sequence[Kind], chance: random.Random, training: bool
    ) -> tuple[Any, ...]:
        """Return the sample with one draw applied to all its columns."""
        if self.split_idx is not None and self.split_idx != (TRAIN if training else VALID):
            return sample
        drawn = self.draw(chance, sample, kinds, training)
        return rebuild(sample, [self.apply(value, kind, drawn) for value, kind in zip(sample, kinds, strict=True)])

    def on_batch(self, batch: Batch, chances: Sequence[random.Random] | None, training: bool) -> Batch:
        """Change a batch; override where that is possible.

        Raises:
            ArgumentError: this one changes single items.
        """
        raise ArgumentError(
            f"{self.name} changes single items, before they form a batch: give it with item_tfms, not with batch_tfms. "
            "To change the size of whole batches use aug_transforms(size=...)."
        )

    def fuse(self, following: Sequence[Transform]) -> tuple[Transform, int] | None:
        """Return one transform of samples that does this and the first n of `following` in a single pass, with n.

        Asked when batches are made on the CPU: resampling once from the decoded picture costs a fraction of resizing
        it first and warping the batch afterwards. None: nothing to gain.
        """
        return None

    def __call__(self, x: Any, split_idx: int | None = None) -> Any:
        """Apply to one value (or a tuple of values) outside any loader, as in training unless `split_idx` is 1."""
        sample = x if isinstance(x, tuple) else (x,)
        result = self.on_sample(sample, [kind_of(value) for value in sample], loose_chance(), split_idx != VALID)
        return result if isinstance(x, tuple) else result[0]

    def decode(self, x: Any) -> Any:
        return x

    def decode_column(self, value: Any, kind: Kind) -> Any:
        return value


def rebuild(like: tuple[Any, ...], values: Sequence[Any]) -> tuple[Any, ...]:
    """Return `values` as a tuple of the same class as `like`."""
    if type(like) is tuple:
        return tuple(values)
    return like._make(values) if hasattr(like, "_make") else type(like)(*values)


def as_transform(function: Any) -> Transform:
    """Return a transform for what users pass: a Transform, a Transform class, any callable (torchvision v2 too)."""
    if isinstance(function, Transform):
        return function
    if isinstance(function, type) and issubclass(function, Transform):
        return function()
    if not callable(function):
        raise ArgumentError(
            f"A transform must be a Transform or a function, got {function!r} of type {type(function).__name__}."
        )
    return Transform(function)


def as_item_transforms(functions: Any) -> list[Transform]:
    """Return a list of transforms as `as_transforms` does.

    Raises:
        ArgumentError: one of them works on batches only.
    """
    transforms = as_transforms(functions)
    for transform in transforms:
        if transform.needs_batch:
            raise ArgumentError(
                f"{transform.name} works on whole batches: give it with batch_tfms, not with item_tfms (after_batch, "
                "not after_item)."
            )
    return transforms


def as_transforms(functions: Any) -> list[Transform]:
    """Return a list of transforms for one transform, a list of them, or None, sorted by their order."""
    if functions is None:
        return []
    if not isinstance(functions, list | tuple):
        functions = [functions]
    return sorted((as_transform(function) for function in functions), key=lambda transform: transform.order)


_ACCEPTED: dict[Any, tuple[type, ...] | None] = {}


def accepted_types(function: Callable[..., Any]) -> tuple[type, ...] | None:
    """Return the classes that the annotation of a function's first argument names; None: anything goes."""
    key = getattr(function, "__func__", function)
    try:
        return _ACCEPTED[key]
    except KeyError:
        _ACCEPTED[key] = found = _read_annotation(key)
        return found
    except TypeError:  # an unhashable callable
        return _read_annotation(key)


def _read_annotation(function: Any) -> tuple[type, ...] | None:
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    arguments = [name for name in code.co_varnames[: code.co_argcount] if name not in ("self", "cls")]
    if not arguments:
        return None
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError, AttributeError, SyntaxError):  # a name only a type checker knows
        hints = function.__annotations__
    annotation = hints.get(arguments[0])
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    classes = [get_origin(option) or option for option in options]  # tuple[int, int] is a tuple
    if any(not isinstance(cls, type) or cls in (Any, object) for cls in classes):
        return None
    return tuple(cls for cls in classes if cls is not NoneType) or None


def is_own_code(code: Any) -> bool:
    """Return whether a class, function or callable belongs to flambeau."""
    while isinstance(code, partial):
        code = code.func
    owner = getattr(code, "__self__", None)
    if owner is not None and not isinstance(owner, type):
        code = type(owner)
    module = getattr(code, "__module__", None) or type(code).__module__
    return module.split(".")[0] == "flambeau"


def function_name(function: Any) -> str:
    """Return the name of a function as its author wrote it, inside partials too."""
    while isinstance(function, partial):
        function = function.func
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__name__", type(function).__name__)
    return f"{owner.__name__}.{name}" if isinstance(owner, type) else name
