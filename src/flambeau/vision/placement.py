"""Which box of a picture goes to which size: after reading it you know how all resizes and crops of pictures work.

All of them come down to one `Placement`: a box of the source, in its pixels, possibly reaching over its edges, is shown
at a wanted size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL.Image import Resampling
from torch import Tensor

from flambeau.data.kinds import Kind, Mask, Picture
from flambeau.foundation.errors import ArgumentError, DataError
from flambeau.vision.geometry import NEARLY_WHOLE, Matrix, PadMode, compose, pixel_crop, reduce, reduction, whole_factor
from flambeau.vision.images import PILImage

_NUMPY_PAD = {PadMode.Zeros: "constant", PadMode.Border: "edge", PadMode.Reflection: "symmetric"}
_RESAMPLING = {"nearest": Resampling.NEAREST, "bilinear": Resampling.BILINEAR, "bicubic": Resampling.BICUBIC}


@dataclass(frozen=True, slots=True)
class Placement:
    """Show `box` (left, top, right, bottom) of a picture of size `source` (width, height) at `size` (width, height)."""

    box: tuple[float, float, float, float]
    source: tuple[int, int]
    size: tuple[int, int]
    pad_mode: PadMode = PadMode.Reflection

    def scaled(self, size: Sequence[float]) -> tuple[float, float, float, float]:
        """Return the box in the pixels of a copy of the source that measures `size` (width, height)."""
        across, down = size[0] / self.source[0], size[1] / self.source[1]
        left, top, right, bottom = self.box
        return left * across, top * down, right * across, bottom * down


def size_of(sample: Sequence[Any], kinds: Sequence[Kind]) -> tuple[int, int]:
    """Return the (width, height) of the first picture or mask of a sample.

    Raises:
        DataError: there is none.
    """
    for value, kind in zip(sample, kinds, strict=True):
        if isinstance(kind, Picture | Mask):
            if isinstance(value, Tensor):
                return value.shape[-1], value.shape[-2]
            return value.size[0], value.size[1]
    raise DataError(
        "A change of size needs a picture or a mask in the sample, but its columns are "
        f"{', '.join(type(kind).__name__ for kind in kinds)}. Use ImageBlock or MaskBlock for the pictures."
    )


def place(value: Any, placement: Placement, resample: str) -> Any:
    """Return a picture or mask (PIL image or tensor) after the placement."""
    if isinstance(value, Tensor):
        return _place_tensor(value, placement, resample)
    image = value if isinstance(value, PILImage) else PILImage.create(value)
    width, height = placement.size
    box = placement.scaled(image.size)
    box_width, box_height = box[2] - box[0], box[3] - box[1]
    if resample != "nearest":
        before = image.size
        covered = image.decode_near((before[0] * width / box_width, before[1] * height / box_height))
        if covered != before:
            box = placement.scaled(covered)
            box_width, box_height = box[2] - box[0], box[3] - box[1]
    else:
        covered = image.size
    left, top, right, bottom = max(box[0], 0), max(box[1], 0), min(box[2], covered[0]), min(box[3], covered[1])
    x0, y0 = round((left - box[0]) / box_width * width), round((top - box[1]) / box_height * height)
    x1, y1 = round((right - box[0]) / box_width * width), round((bottom - box[1]) / box_height * height)
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    if (left, top, right, bottom) == (0, 0, *image.size) and image.size == (x1 - x0, y1 - y0):
        resized: Any = image
    else:
        resized = image.resize((x1 - x0, y1 - y0), _RESAMPLING[resample], box=(left, top, right, bottom))
    margins = (x0, y0, width - x1, height - y1)
    if not any(margins):
        return resized
    return type(image).create(pad_array(np.asarray(resized), margins, placement.pad_mode))


def pad_array(pixels: np.ndarray, margins: Sequence[int], pad_mode: PadMode) -> np.ndarray:
    """Return an array (height, width, ...) with margins (left, top, right, bottom) filled as `pad_mode` says."""
    left, top, right, bottom = (max(0, margin) for margin in margins)
    around = [(top, bottom), (left, right)] + [(0, 0)] * (pixels.ndim - 2)
    return np.pad(pixels, around, mode=_NUMPY_PAD[pad_mode])  # type: ignore[call-overload]


def _place_tensor(pixels: Tensor, placement: Placement, resample: str) -> Tensor:
    layered = pixels if pixels.ndim == 3 else pixels[None]
    left, top, right, bottom = (round(edge) for edge in placement.scaled((pixels.shape[-1], pixels.shape[-2])))
    inside = layered[:, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    margins = (-left, -top, right - layered.shape[-1], bottom - layered.shape[-2])
    if max(margins) > 0:
        padded = pad_array(inside.permute(1, 2, 0).cpu().numpy(), margins, placement.pad_mode)
        inside = torch.from_numpy(padded).permute(2, 0, 1).to(pixels.device)
    width, height = placement.size
    smooth = resample != "nearest"
    resized = F.interpolate(
        inside[None].float(), (height, width), mode=resample if smooth else "nearest-exact", antialias=smooth
    )[0]
    if not pixels.is_floating_point():
        resized = resized.round().to(pixels.dtype)
    return resized if pixels.ndim == 3 else resized[0]


def read_box(value: Any, placement: Placement, shrink: float, kind: Kind) -> tuple[Tensor, Matrix]:
    """Return the pixels of the placement's box as floats (1, channel, height, width), values as stored.

    A picture that will shrink `shrink` times is decoded and averaged down by the whole part of it first. The matrix
    takes places of the box to places of the returned pixels, which may reach a fraction of a pixel further.
    """
    image = None if isinstance(value, Tensor) else value if isinstance(value, PILImage) else PILImage.create(value)
    width, height = (value.shape[-1], value.shape[-2]) if image is None else image.size
    covered: tuple[float, float] = (width, height)
    if image is not None and isinstance(kind, Picture):
        covered = image.decode_near((width / (shrink + NEARLY_WHOLE), height / (shrink + NEARLY_WHOLE)))
        shrink, (width, height) = shrink * covered[0] / width, image.size
    factor = whole_factor(shrink) if isinstance(kind, Picture) else 1
    box = placement.scaled(covered)
    left, top = _floor(box[0]), _floor(box[1])
    right, bottom = max(-_floor(-box[2]), left + 1), max(-_floor(-box[3]), top + 1)
    inside = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
    margins = (-left, -top, right - width, bottom - height)
    to_pixels = pixel_crop((box[0] - left, box[1] - top, box[2] - left, box[3] - top), (right - left, bottom - top))
    if image is not None and factor > 1 and max(margins) <= 0:
        # on bytes, hence before they become floats
        floats = _as_floats(np.asarray(image.reduce(factor, box=inside)))
        return floats, compose(reduction((right - left, bottom - top), factor), to_pixels)
    if image is not None:
        pixels = np.asarray(image)
    else:
        pixels = value.numpy() if value.ndim == 2 else value.permute(1, 2, 0).numpy()
    pixels = pixels[inside[1] : inside[3], inside[0] : inside[2]]
    if max(margins) > 0:
        pixels = pad_array(pixels, margins, placement.pad_mode)
    floats, to_reduced = reduce(_as_floats(pixels), factor)
    return floats, compose(to_reduced, to_pixels)


def _as_floats(pixels: np.ndarray) -> Tensor:
    floats = torch.from_numpy(pixels.astype(np.float32))
    return floats[None, None] if floats.ndim == 2 else floats.permute(2, 0, 1)[None]


def _floor(edge: float) -> int:
    # a hair below a whole pixel is that pixel: the scaling above leaves rounding errors
    return int(np.floor(edge + 1e-6))


def as_size(size: int | Sequence[int]) -> tuple[int, int]:
    """Return (width, height) for a side, or for (height, width) as users write sizes.

    Raises:
        ArgumentError: it is neither, or not positive.
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ArgumentError(f"A size is one positive whole number or (height, width), got {size!r}.")
    return sides[1], sides[0]
