"""Nested batches: after reading it you can do one thing to each tensor inside tuples, lists and dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from flambeau.foundation.devices import default_device
from flambeau.foundation.errors import ShapeError


def apply(f: Callable[..., Any], x: Any, *args: Any, **kwargs: Any) -> Any:
    """Apply `f` to each leaf of nested tuples, named tuples, lists and mappings, keeping their classes."""
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*(apply(f, element, *args, **kwargs) for element in x))
    if isinstance(x, tuple | list):
        return type(x)([apply(f, element, *args, **kwargs) for element in x])
    if isinstance(x, Mapping):
        return type(x)({key: apply(f, value, *args, **kwargs) for key, value in x.items()})  # type: ignore[call-arg]
    return f(x, *args, **kwargs)


def find_tensors(x: Any) -> Iterator[Tensor]:
    """Give the tensors inside `x`, one by one, in order."""
    if isinstance(x, Tensor):
        yield x
    elif isinstance(x, Mapping):
        for value in x.values():
            yield from find_tensors(value)
    elif isinstance(x, tuple | list):
        for element in x:
            yield from find_tensors(element)


def find_batch_size(x: Any) -> int:
    """Return the length of the first tensor inside `x`."""
    for tensor in find_tensors(x):
        if tensor.ndim:
            return len(tensor)
    raise ShapeError(f"Expected a batch with a tensor that has a batch dimension, got {type(x).__name__} without one.")


def to_device(x: Any, device: torch.device | str | int | None = None, non_blocking: bool = False) -> Any:
    """Move each tensor inside `x` to `device` (to the default device when none is given)."""
    to = default_device() if device is None else device
    return apply(lambda leaf: leaf.to(to, non_blocking=non_blocking) if isinstance(leaf, Tensor) else leaf, x)


def to_cpu(x: Any) -> Any:
    """Move each tensor inside `x` to the CPU."""
    return to_device(x, "cpu")


def to_detach(x: Any, cpu: bool = True) -> Any:
    """Cut each tensor inside `x` from the graph and, with `cpu`, bring it to the CPU."""

    def detach(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf.detach().cpu() if cpu else leaf.detach()

    return apply(detach, x)


def _cast(x: Any, dtype: torch.dtype) -> Any:
    def cast(leaf: Any) -> Any:
        return leaf.to(dtype) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf

    return apply(cast, x)


def to_float(x: Any) -> Any:
    """Turn each floating tensor inside `x` into float32."""
    return _cast(x, torch.float32)


def to_half(x: Any) -> Any:
    """Turn each floating tensor inside `x` into float16."""
    return _cast(x, torch.float16)
