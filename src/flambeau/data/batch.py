"""A batch: after reading it you know what travels from the loader to the model, and how samples become tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from flambeau.data.kinds import Kind, Picture, Plain
from flambeau.foundation.errors import CollateError, FlambeauError


@dataclass(slots=True)
class Batch:
    """The inputs and targets of some items, as plain tensors, with the kind of each column.

    Unpacks like the tuple it stands for: `x, y = batch`. `indices` are the items' places in the data set, where known.
    Where several processes share an epoch, `parts` tells how many items each of them has of this step.
    """

    inputs: tuple[Any, ...]
    targets: tuple[Any, ...] = ()
    kinds: tuple[Kind, ...] = ()
    indices: Sequence[int] | None = None
    parts: tuple[int, ...] = ()

    @property
    def columns(self) -> tuple[Any, ...]:
        """All columns, inputs first."""
        return (*self.inputs, *self.targets)

    @property
    def input_kinds(self) -> tuple[Kind, ...]:
        """The kinds of the inputs."""
        return self.kinds[: len(self.inputs)]

    @property
    def target_kinds(self) -> tuple[Kind, ...]:
        """The kinds of the targets."""
        return self.kinds[len(self.inputs) :]

    @property
    def all_kinds(self) -> tuple[Kind, ...]:
        """A kind for every column: `Plain` for those nobody described, such as targets made by a batch transform."""
        missing = len(self) - len(self.kinds)
        return (*self.kinds, *(Plain(),) * missing) if missing > 0 else self.kinds[: len(self)]

    @property
    def n_items(self) -> int:
        """The number of items in the batch."""
        return next((n for n in map(_length, self.columns) if n is not None), 0)

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """The (width, height) of the batch's pictures, None where there are none."""
        for value, kind in zip(self.columns, self.all_kinds, strict=True):
            if isinstance(kind, Picture):
                return value.shape[-1], value.shape[-2]
        return None

    @property
    def n_of_step(self) -> int:
        """The number of items that the step learns from: the batch's, or those of all processes together."""
        return sum(self.parts) if self.parts else self.n_items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __getitem__(self, place: int) -> Any:
        return self.columns[place]

    def map(self, function: Callable[[Any, Kind], Any]) -> Batch:
        """Return a batch whose columns went through `function(value, kind)`."""
        n = len(self.inputs)
        columns = [function(value, kind) for value, kind in zip(self.columns, self.all_kinds, strict=True)]
        return replace(self, inputs=tuple(columns[:n]), targets=tuple(columns[n:]))

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with its tensors on `device`."""
        device = torch.device(device)
        if all(not isinstance(value, Tensor) or value.device == device for value in self.columns) and not any(
            isinstance(value, dict | list | tuple) for value in self.columns
        ):
            return self
        return self.map(lambda value, _: _to(value, device))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory, from which a GPU copies while the program goes on."""
        return self.map(lambda value, _: _pinned(value))

    def take(self, places: slice | Sequence[int]) -> Batch:
        """Return the batch of the items at `places`."""
        indices = None if self.indices is None else _taken(list(self.indices), places)
        return replace(self.map(lambda value, _: _taken(value, places)), indices=indices)


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=device.type == "cuda")
    return _in_parts(lambda part: _to(part, device), value)


def _pinned(value: Any) -> Any:
    return value.pin_memory() if isinstance(value, Tensor) else _in_parts(_pinned, value)


def _in_parts(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply a function to the parts of a dictionary, list or tuple; anything else stays."""
    if isinstance(value, dict):
        return {key: function(part) for key, part in value.items()}
    if isinstance(value, tuple):
        parts = [function(part) for part in value]
        return value._make(parts) if hasattr(value, "_make") else tuple(parts)
    return [function(part) for part in value] if isinstance(value, list) else value


def _length(column: Any) -> int | None:
    """Return how many items a column holds; a tuple or dictionary is one column in several parts."""
    if isinstance(column, tuple | dict):
        parts = column.values() if isinstance(column, dict) else column
        return next((n for n in map(_length, parts) if n is not None), None)
    if isinstance(column, Tensor | np.ndarray):
        return len(column) if column.ndim else None
    return len(column) if isinstance(column, list) else None


def _taken(column: Any, places: slice | Sequence[int]) -> Any:
    if isinstance(column, tuple | dict):
        return _in_parts(lambda part: _taken(part, places), column)
    if isinstance(places, slice) or isinstance(column, Tensor | np.ndarray):
        return column[places]
    return [column[place] for place in places]


def item_of(column: Any, place: int) -> Any:
    """Return one item's value of a batch's column, on the CPU."""
    if isinstance(column, tuple | dict):
        return _in_parts(lambda part: item_of(part, place), column)
    value = column[place]
    return value.detach().cpu() if isinstance(value, Tensor) else value


def as_batch(raw: Any, n_inputs: int | None = None) -> Batch:
    """Return what a plain loader yields (a tensor, a tuple, a list, a dict) as a `Batch`.

    A tuple's last column is the target unless `n_inputs` says otherwise; a lone tensor or dict has no target.
    """
    if isinstance(raw, Batch):
        return raw
    columns = tuple(raw) if isinstance(raw, tuple | list) else (raw,)
    if n_inputs is None:
        n_inputs = max(len(columns) - 1, 1)
    return Batch(columns[:n_inputs], columns[n_inputs:])


def to_tensor(value: Any) -> Any:
    """Return one item's value as a tensor where it has a tensor form, else unchanged.

    Pictures become uint8 (channel, height, width), whole numbers int64, other numbers float32; an array keeps its type,
    but float64 becomes float32.
    """
    # asked before all else: points and boxes are tensors too, and are scaled to their picture on the way
    convert = getattr(value, "to_tensor", None)
    if convert is not None:
        return convert()
    if isinstance(value, Tensor):
        return value
    if isinstance(value, bool | np.bool_):
        return torch.tensor(int(value))
    if isinstance(value, int | np.integer):
        return torch.tensor(int(value))
    if isinstance(value, float | np.floating):
        return torch.tensor(float(value), dtype=torch.float32)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        # numpy's own default is float64, for which models have no weights
        wanted = np.float32 if value.dtype == np.float64 else value.dtype
        return torch.from_numpy(np.require(value, wanted, ["C", "W"]))  # torch takes no array that is read-only
    return value


def collate(
    samples: Sequence[tuple[Any, ...]],
    kinds: Sequence[Kind] = (),
    n_inputs: int | None = None,
    indices: Sequence[int] | None = None,
    names: Callable[[int], str] | None = None,
) -> Batch:
    """Stack samples into a batch, column by column; where a kind is ragged, zeros fill up the shorter items.

    `names(place)` tells which item stands at a place of the batch, for the error when shapes differ.

    Raises:
        CollateError: a column's values differ in shape or type, or the samples in their number of columns.
    """
    n_columns = len(samples[0])
    if any(len(sample) != n_columns for sample in samples):
        raise CollateError(_why_not_alike(samples, names))
    described = [*kinds[:n_columns], *[Plain()] * (n_columns - len(kinds))]
    columns = [
        _stack(values, kind, place, names)
        for place, (values, kind) in enumerate(zip(zip(*samples, strict=True), described, strict=True))
    ]
    if n_inputs is None:
        n_inputs = max(n_columns - 1, 1)
    return Batch(tuple(columns[:n_inputs]), tuple(columns[n_inputs:]), tuple(described), indices)


def _stack(values: tuple[Any, ...], kind: Kind, place: int, names: Callable[[int], str] | None) -> Any:
    first = values[0]
    tensors: list[Any] = []
    try:
        if type(first) is int:
            return torch.tensor(values)
        tensors = [to_tensor(value) for value in values]
        if isinstance(tensors[0], Tensor):
            return _filled_up(tensors, kind) if kind.ragged else torch.stack(tensors)
    except FlambeauError:  # a picture that is damaged says so best itself
        raise
    except (RuntimeError, TypeError, ValueError) as error:
        raise CollateError(_why_not_stackable(tensors or list(values), kind, place, names, error)) from error
    if isinstance(first, dict):
        _require_same_keys(values, place, names)
        return {key: _stack(tuple(value[key] for value in values), Plain(), place, names) for key in first}
    if isinstance(first, tuple):
        if any(not isinstance(value, tuple) or len(value) != len(first) for value in values):
            raise CollateError(f"The tuples in column {place} of a batch differ in length; give each the same parts.")
        return tuple(_stack(parts, Plain(), place, names) for parts in zip(*values, strict=True))
    return list(values)


def _filled_up(tensors: list[Tensor], kind: Kind) -> Tensor:
    """Return tensors that differ in length as one, filled up at their ends with the kind's `pad_id`, else zeros."""
    return pad_sequence(tensors, batch_first=True, padding_value=getattr(kind, "pad_id", 0))


def _require_same_keys(values: tuple[Any, ...], place: int, names: Callable[[int], str] | None) -> None:
    for other, value in enumerate(values):
        if not isinstance(value, dict) or value.keys() != values[0].keys():
            found = ", ".join(map(repr, value)) if isinstance(value, dict) else type(value).__name__
            raise CollateError(
                f"The dictionaries in column {place} of a batch differ: {', '.join(map(repr, values[0]))} for "
                f"{_name(0, names)}, but {found} for {_name(other, names)}. Give each sample the same keys."
            )


def _name(place: int, names: Callable[[int], str] | None) -> str:
    return names(place) if names else f"item {place} of the batch"


def _why_not_alike(samples: Sequence[tuple[Any, ...]], names: Callable[[int], str] | None) -> str:
    other = next(place for place, sample in enumerate(samples) if len(sample) != len(samples[0]))
    return (
        f"The samples of a batch differ in their number of columns: {len(samples[0])} for {_name(0, names)}, but "
        f"{len(samples[other])} for {_name(other, names)}. Return a tuple of the same columns for every item."
    )


def _why_not_stackable(
    tensors: list[Any], kind: Kind, place: int, names: Callable[[int], str] | None, error: Exception
) -> str:
    expected = tensors[0]
    other = next((at for at, tensor in enumerate(tensors) if type(tensor) is not type(expected)), None)
    if other is not None:
        return (
            f"Column {place} of a batch holds a {type(expected).__name__} for {_name(0, names)} and a "
            f"{type(tensors[other]).__name__} ({tensors[other]!r:.100}) for {_name(other, names)}. "
            "Give one type a column."
        )
    shapes = [getattr(tensor, "shape", None) for tensor in tensors]
    other = next((at for at, shape in enumerate(shapes) if shape != shapes[0]), None)
    if other is None:
        return f"Column {place} of a batch ({type(kind).__name__}) cannot be stacked: {error}"
    tensor, first_name, other_name = tensors[other], _name(0, names), _name(other, names)
    advice = (
        "Pictures of one batch need one size: pass item_tfms=Resize(224)."
        if isinstance(kind, Picture)
        else "Pad or cut them to one length, for example with a before_batch function."
    )
    return (
        f"The samples of a batch differ in shape in column {place} ({type(kind).__name__}): {tuple(expected.shape)} "
        f"for {first_name}, but {tuple(tensor.shape)} for {other_name}. {advice}"
    )
