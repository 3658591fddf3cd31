"""A batch: after reading it you know what travels from the loader to the model, and how samples become tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.data.kinds import Kind, Picture, Plain
from flambeau.foundation.errors import CollateError


@dataclass(slots=True)
class Batch:
    """The inputs and targets of some items, as plain tensors, with the kind of each column.

    Unpacks like the tuple it stands for: `x, y = batch`. `indices` are the items' places in the data set, where known.
    """

    inputs: tuple[Any, ...]
    targets: tuple[Any, ...] = ()
    kinds: tuple[Kind, ...] = ()
    indices: Sequence[int] | None = None

    @property
    def columns(self) -> tuple[Any, ...]:
        """All columns, inputs first."""
        return (*self.inputs, *self.targets)

    @property
    def input_kinds(self) -> tuple[Kind, ...]:
        return self.kinds[: len(self.inputs)]

    @property
    def target_kinds(self) -> tuple[Kind, ...]:
        return self.kinds[len(self.inputs) :]

    @property
    def n_items(self) -> int:
        """The number of items in the batch."""
        for column in self.columns:
            if isinstance(column, Tensor | np.ndarray | list | tuple):
                return len(column)
            if isinstance(column, dict) and column:
                return len(next(iter(column.values())))
        return 0

    def __iter__(self) -> Iterator[Any]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __getitem__(self, place: int) -> Any:
        return self.columns[place]

    def map(self, function: Callable[[Any, Kind], Any]) -> Batch:
        """Return a batch whose columns went through `function(value, kind)`."""
        n = len(self.inputs)
        kinds = self.kinds or (Plain(),) * len(self)
        columns = [function(value, kind) for value, kind in zip(self.columns, kinds, strict=True)]
        return replace(self, inputs=tuple(columns[:n]), targets=tuple(columns[n:]))

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with its tensors on `device`."""
        device = torch.device(device)
        if all(not isinstance(value, Tensor) or value.device == device for value in self.columns) and not any(
            isinstance(value, dict | list | tuple) for value in self.columns
        ):
            return self
        return self.map(lambda value, _: _to(value, device))

    def take(self, places: slice | Sequence[int]) -> Batch:
        """Return the batch of the items at `places`."""

        def pick(value: Any, _: Kind) -> Any:
            if isinstance(value, Tensor | np.ndarray) or isinstance(places, slice):
                return value[places]
            return [value[place] for place in places]

        indices = self.indices
        if indices is not None:
            indices = indices[places] if isinstance(places, slice) else [indices[place] for place in places]
        return replace(self.map(pick), indices=indices)


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=device.type == "cuda")
    if isinstance(value, dict):
        return {key: _to(part, device) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_to(part, device) for part in value)
    return value


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

    Pictures become uint8 (channel, height, width), whole numbers int64, other numbers float32.
    """
    if isinstance(value, Tensor):
        return value
    convert = getattr(value, "to_tensor", None)
    if convert is not None:
        return convert()
    if isinstance(value, bool | np.bool_):
        return torch.tensor(int(value))
    if isinstance(value, int | np.integer):
        return torch.tensor(int(value))
    if isinstance(value, float | np.floating):
        return torch.tensor(float(value), dtype=torch.float32)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return torch.from_numpy(np.ascontiguousarray(value))
    return value


def collate(
    samples: Sequence[tuple[Any, ...]],
    kinds: Sequence[Kind] = (),
    n_inputs: int | None = None,
    indices: Sequence[int] | None = None,
    names: Callable[[int], str] | None = None,
) -> Batch:
    """Stack samples into a batch, column by column.

    `names(place)` tells which item stands at a place of the batch, for the error when shapes differ.

    Raises:
        CollateError: a column's values differ in shape.
    """
    columns = []
    for place, values in enumerate(zip(*samples, strict=True)):
        columns.append(_stack(values, kinds[place] if place < len(kinds) else Plain(), place, names))
    if n_inputs is None:
        n_inputs = max(len(columns) - 1, 1)
    return Batch(tuple(columns[:n_inputs]), tuple(columns[n_inputs:]), tuple(kinds[: len(columns)]), indices)


def _stack(values: tuple[Any, ...], kind: Kind, place: int, names: Callable[[int], str] | None) -> Any:
    first = values[0]
    if type(first) is int:
        return torch.tensor(values)
    tensors = [to_tensor(value) for value in values]
    if not isinstance(tensors[0], Tensor):
        if isinstance(first, dict):
            return {key: _stack(tuple(value[key] for value in values), Plain(), place, names) for key in first}
        if isinstance(first, tuple):
            return tuple(_stack(parts, Plain(), place, names) for parts in zip(*values, strict=True))
        return list(values)
    try:
        return torch.stack(tensors)
    except RuntimeError as error:
        raise CollateError(_why_not_stackable(tensors, kind, place, names)) from error


def _why_not_stackable(tensors: list[Any], kind: Kind, place: int, names: Callable[[int], str] | None) -> str:
    expected = tensors[0]
    for other, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor):
            return f"Column {place} of a batch holds tensors and also a {type(tensor).__name__}; give one type a column."
        if tensor.shape != expected.shape:
            break
    first_name = names(0) if names else "item 0 of the batch"
    other_name = names(other) if names else f"item {other} of the batch"
    advice = (
        "Pictures of one batch need one size: pass item_tfms=Resize(224)."
        if isinstance(kind, Picture)
        else "Pad or cut them to one length, for example with a before_batch function."
    )
    return (
        f"The samples of a batch differ in shape in column {place} ({type(kind).__name__}): {tuple(expected.shape)} for "
        f"{first_name}, but {tuple(tensor.shape)} for {other_name}. {advice}"
    )
