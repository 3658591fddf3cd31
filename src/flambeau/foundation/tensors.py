"""Small bridges between lists, arrays, pictures and tensors: after reading it you can cross them in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flambeau.foundation.errors import ArgumentError, ShapeError
from flambeau.foundation.lists import listify
from flambeau.foundation.nested import apply


def tensor(x: Any, *rest: Any, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Tensor:
    """Return a tensor from a list, an array, a table, a picture, a number, or several numbers.

    float64 becomes float32, which models compute in; a picture becomes (height, width) or (height, width, channel). The
    tensor has memory of its own unless `x` is a tensor already.
    """
    if rest:
        x = (x, *rest)
    values = x if isinstance(x, Tensor) else _from_array(x)
    if dtype is None and values.dtype == torch.float64:
        dtype = torch.float32
    return values.to(device=device, dtype=dtype)


def _from_array(x: Any) -> Tensor:
    if isinstance(x, list | tuple) and x and all(isinstance(element, Tensor) for element in x):
        return torch.stack(list(x))
    values = np.array(x)
    if values.dtype == np.uint16:
        values = values.astype(np.float32)  # torch computes little with uint16; float32 holds each value exactly
    try:
        return torch.from_numpy(values)
    except TypeError as error:
        example = values.reshape(-1)[0] if values.size else x
        raise ArgumentError(f"A tensor holds numbers; got {type(x).__name__} with {example!r} inside.") from error


def array(x: Any, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """Return a numpy array of a list, a picture or a tensor on any device."""
    return np.array(to_np(x) if isinstance(x, Tensor) else x, dtype=dtype)


def to_np(x: Any) -> Any:
    """Turn each tensor inside `x` into a numpy array (bfloat16 as float32, which numpy has)."""

    def convert(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        leaf = leaf.detach().cpu()
        return (leaf.float() if leaf.dtype == torch.bfloat16 else leaf).numpy()

    return apply(convert, x)


def one_hot(x: Any, c: int) -> Tensor:
    """Return `c` zeros of uint8 with a one at each class in `x` (one number, or several)."""
    classes = [int(element) for element in listify(x)]
    outside = [element for element in classes if not 0 <= element < c]
    if outside:
        raise ArgumentError(f"Class {outside[0]} does not fit into one_hot with c={c}: classes go from 0 to {c - 1}.")
    hot = torch.zeros(c, dtype=torch.uint8)
    hot[classes] = 1
    return hot


def pca(t: Tensor, k: int = 2) -> Tensor:
    """Project the rows of `t` (row, feature) on their `k` directions of largest variance (Pearson 1901)."""
    if t.ndim != 2 or not 1 <= k <= t.shape[1]:
        raise ShapeError(f"pca needs (rows, features) with at least k={k} features, got shape {tuple(t.shape)}.")
    centred = t.float() - t.float().mean(dim=0)
    directions: Tensor = torch.linalg.svd(centred, full_matrices=False).Vh  # one direction a row
    return centred @ directions[:k].T


def as_places(indices: Sequence[int]) -> Tensor:
    """Return places as an int64 tensor (n,); by way of numpy, which reads a list five times faster than torch."""
    return torch.from_numpy(np.array(indices, dtype=np.int64))
