"""From bytes to what a model likes: after reading it you know where pictures become tensors, floats and normalised.

Pictures stay bytes as long as possible, for a byte is a quarter of a float on its way through memory and to the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from flambeau.data.batch import Batch, as_batch, to_tensor
from flambeau.data.kinds import Kind, Mask, Picture
from flambeau.data.transform import Transform
from flambeau.foundation.errors import ArgumentError, ShapeError

SMALLEST_DEVIATION = 1e-7


class ToTensor(Transform):
    """Turn one item's pictures, masks, points and arrays into tensors; all else passes unchanged."""

    order = 5

    def encodes(self, x: Any) -> Any:
        if isinstance(x, PIL.Image.Image) and not hasattr(x, "to_tensor"):
            pixels = torch.from_numpy(np.array(x))
            return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
        return to_tensor(x) if isinstance(x, np.ndarray) or hasattr(x, "to_tensor") else x

    def touches(self, kind: Kind) -> bool:
        return True

    def settings(self) -> dict[str, Any]:
        return {}


class IntToFloatTensor(Transform):
    """Turn a batch's pictures from bytes to floats in 0..1, and its masks to int64 divided by `div_mask`."""

    order = 10
    needs_batch = True

    def __init__(self, div: float = 255.0, div_mask: int = 1) -> None:
        super().__init__()
        self.div, self.div_mask = div, div_mask

    @property
    def is_plain(self) -> bool:
        """Whether pictures are scaled by 255 and masks are kept as they are."""
        return self.div == 255 and self.div_mask == 1

    def encodes(self, x: Tensor) -> Tensor:
        return x if x.is_floating_point() else x.float().div_(self.div)

    def decodes(self, x: Tensor) -> Tensor:
        return x.clamp(0.0, 1.0).mul(self.div).long() if x.is_floating_point() else x

    def on_batch(self, batch: Batch, chances: Any, training: bool) -> Batch:
        def encode(value: Any, kind: Kind) -> Any:
            if isinstance(kind, Mask):
                classes = value.long()
                return classes if self.div_mask == 1 else classes.div(self.div_mask, rounding_mode="floor")
            return self.encodes(value) if self.touches(kind) else value

        return batch.map(encode)

    def decode_column(self, value: Any, kind: Kind) -> Any:
        # floats in 0..1 are what pictures are drawn from, so there is nothing to undo but the mask's division
        return value * self.div_mask if isinstance(kind, Mask) and self.div_mask != 1 else value

    def settings(self) -> dict[str, Any]:
        return {"div": self.div, "div_mask": self.div_mask}


class Normalize(Transform):
    """Subtract a mean from the pictures of a batch and divide by a deviation, channel by channel.

    Both are of pixels in 0..1; bytes are scaled on the way. Without them, they are learnt from one batch; `axes` are
    those that the mean goes over.
    """

    order = 99
    needs_batch = True
    kinds = (Picture,)

    def __init__(self, mean: Any = None, std: Any = None, axes: Sequence[int] = (0, 2, 3)) -> None:
        super().__init__()
        if (mean is None) != (std is None):
            raise ArgumentError("Normalize takes both a mean and a deviation, or neither (then it learns them).")
        self.axes = tuple(axes)
        self.mean = None if mean is None else self._shaped(mean)
        self.std = None if std is None else self._shaped(std)
        self._prepared: dict[tuple[torch.device, bool], tuple[Tensor, Tensor]] = {}

    @classmethod
    def from_stats(cls, mean: Any, std: Any, dim: int = 1, ndim: int = 4) -> Self:
        """Return the transform for means and deviations along dimension `dim` of tensors with `ndim` dimensions."""
        return cls(mean, std, axes=[axis for axis in range(ndim) if axis != dim])

    def _shaped(self, stats: Any) -> Tensor:
        values = torch.as_tensor(stats, dtype=torch.float32).cpu()
        n_dims = max(self.axes) + 1 if self.axes else 0
        n_dims = max(n_dims, len(self.axes) + 1)
        if values.ndim == n_dims:
            return values
        kept = [-1 if axis not in self.axes else 1 for axis in range(n_dims)]
        return values.reshape(kept)

    def setups(self, items: Any) -> None:
        """Learn mean and deviation from one batch of a loader, unless they are given."""
        if self.mean is not None or items is None or not hasattr(items, "one_batch"):
            return
        batch = as_batch(items.one_batch())
        kinds = batch.kinds or (Picture(),)
        pictures = next((x for x, kind in zip(batch.columns, kinds, strict=False) if self.touches(kind)), None)
        if pictures is None:
            raise ArgumentError("Normalize() has no pictures to learn from in the first batch; give mean and std.")
        values = pictures.float() / (1 if pictures.is_floating_point() else 255)
        deviation, mean = torch.std_mean(values, self.axes, keepdim=True)
        self.mean, self.std = mean.cpu(), deviation.cpu() + SMALLEST_DEVIATION
        self._prepared = {}

    def encodes(self, x: Tensor) -> Tensor:
        scale, shift = self._line(x)
        return torch.addcmul(shift, x if x.is_floating_point() else x.float(), scale)

    def decodes(self, x: Tensor) -> Tensor:
        mean, std = self._stats(x)
        return x * std + mean

    def _line(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale and shift, so that each pixel is read and written once."""
        in_bytes = not x.is_floating_point()
        key = (x.device, in_bytes)
        if key not in self._prepared:
            mean, std = self._stats(x)
            self._prepared[key] = (1 / (std * 255 if in_bytes else std), -mean / std)
        scale, shift = self._prepared[key]
        if x.ndim == scale.ndim and x.shape[1:2] != scale.shape[1:2] and scale.shape[1:2] != (1,):
            raise ShapeError(
                f"Normalize holds the statistics of {scale.shape[1]} channels, but the batch has {x.shape[1]} (shape "
                f"{tuple(x.shape)}). Give statistics for {x.shape[1]} channels, or leave them out to learn them."
            )
        if x.is_floating_point() and x.dtype != scale.dtype:
            return scale.to(x.dtype), shift.to(x.dtype)
        return scale, shift

    def _stats(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.mean is None or self.std is None:
            raise ArgumentError(
                "Normalize() has no mean and standard deviation yet: it learns them when loaders are built. "
                "Give them, for example Normalize.from_stats(*imagenet_stats), to use it alone."
            )
        dtype = x.dtype if x.is_floating_point() else torch.float32
        mean, std = self.mean.to(x.device, dtype), self.std.to(x.device, dtype)
        if x.ndim == mean.ndim - 1:  # one sample
            return mean[0], std[0]
        return mean, std

    def settings(self) -> dict[str, Any]:
        """Return mean, std and axes as JSON values."""
        if self.mean is None or self.std is None:
            return {"axes": list(self.axes)}
        return {"mean": self.mean.flatten().tolist(), "std": self.std.flatten().tolist(), "axes": list(self.axes)}
