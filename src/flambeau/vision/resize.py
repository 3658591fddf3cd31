"""Resizing single pictures: after reading it you know how pictures of all shapes get one size before they form a batch.

Each transform here draws one `Placement` for all pictures, masks and points of a sample.
"""

from __future__ import annotations

import math
import random
from abc import abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from PIL.Image import Transpose
from torch import Tensor

from flambeau.data.kinds import Kind, Mask, Picture, Places
from flambeau.data.transform import Augment, Transform
from flambeau.foundation.errors import ArgumentError, unknown_name
from flambeau.vision import geometry
from flambeau.vision.coordinates import random_box
from flambeau.vision.fused import fuse
from flambeau.vision.geometry import PadMode
from flambeau.vision.images import PILImage
from flambeau.vision.placement import Placement, as_size, place, size_of


class ResizeMethod(StrEnum):
    """How a picture of other proportions fills the wanted size: cut, filled up, or squeezed."""

    Crop = "crop"
    Pad = "pad"
    Squish = "squish"


class PlacingAugment(Augment):
    """A resize or crop: draws a box of the source, and shows it at a size."""

    order = 1

    def __init__(self, resamples: Sequence[Any] = ("bilinear", "nearest")) -> None:
        super().__init__()
        self.resamples = tuple(_resample_name(resample) for resample in resamples)

    @abstractmethod
    def placement(self, source: tuple[int, int], chance: random.Random, training: bool) -> Placement:
        """Return which box of a picture of size `source` (width, height) goes where."""

    def draw(self, chance: random.Random, sample: Sequence[Any], kinds: Sequence[Kind], training: bool) -> Placement:
        return self.placement(size_of(sample, kinds), chance, training)

    def apply(self, value: Any, kind: Kind, drawn: Placement) -> Any:
        if isinstance(kind, Picture):
            return place(value, drawn, self.resamples[0])
        if isinstance(kind, Mask):
            return place(value, drawn, self.resamples[1])
        if isinstance(kind, Places):
            return value.placed(drawn.box, drawn.source, drawn.size)
        return value

    def fuse(self, following: Sequence[Transform]) -> tuple[Transform, int] | None:
        """Return this and the augmentation of batches as one sampling from the decoded picture."""
        return fuse(self, following) if self.resamples == ("bilinear", "nearest") else None

    def settings(self) -> dict[str, Any]:
        """Return the arguments as JSON values."""
        values = vars(self).items()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values}


class Resize(PlacingAugment):
    """Give pictures one size: a side, or (height, width).

    'crop' shows the largest box of the wanted proportions, at a random place in training and the centre in validation;
    'pad' shows the whole picture and fills the rest as `pad_mode` says; 'squish' changes its proportions.
    `resamples` are those of pictures and of masks.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        method: str = ResizeMethod.Crop,
        pad_mode: str = PadMode.Reflection,
        resamples: Sequence[Any] = ("bilinear", "nearest"),
    ) -> None:
        super().__init__(resamples)
        if method not in list(ResizeMethod):
            raise unknown_name("resize method", method, list(ResizeMethod))
        if pad_mode not in list(PadMode):
            raise unknown_name("pad mode", pad_mode, list(PadMode))
        self.size, self.method, self.pad_mode = _checked(size), ResizeMethod(method), PadMode(pad_mode)

    def is_random(self, training: bool) -> bool:
        return training and self.method == ResizeMethod.Crop

    def placement(self, source: tuple[int, int], chance: random.Random, training: bool) -> Placement:
        (width, height), target = source, as_size(self.size)
        if self.method == ResizeMethod.Squish:
            return Placement((0, 0, width, height), source, target, self.pad_mode)
        pick = max if self.method == ResizeMethod.Pad else min
        scale = pick(width / target[0], height / target[1])
        box_width, box_height = max(1, int(scale * target[0])), max(1, int(scale * target[1]))
        if self.method == ResizeMethod.Pad:
            box_width, box_height = max(box_width, width), max(box_height, height)
        x, y = (chance.random(), chance.random()) if self.is_random(training) else (0.5, 0.5)
        left, top = math.floor(x * (width - box_width)), math.floor(y * (height - box_height))
        return Placement((left, top, left + box_width, top + box_height), source, target, self.pad_mode)


class RandomResizedCrop(PlacingAugment):
    """Show a random part of at least `min_scale` of the area, its proportions within `ratio`, at `size`.

    Validation squeezes the whole picture to `size` plus `val_xtra` (up to a multiple of 8) and shows the centre.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        min_scale: float = 0.08,
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        resamples: Sequence[Any] = ("bilinear", "nearest"),
        val_xtra: float = 0.14,
        max_scale: float = 1.0,
    ) -> None:
        super().__init__(resamples)
        if not 0 < min_scale <= max_scale <= 1:
            raise ArgumentError(f"Expected 0 < min_scale <= max_scale <= 1, got {min_scale} and {max_scale}.")
        self.size, self.min_scale, self.max_scale = _checked(size), min_scale, max_scale
        self.ratio, self.val_xtra = tuple(ratio), val_xtra

    def placement(self, source: tuple[int, int], chance: random.Random, training: bool) -> Placement:
        target = as_size(self.size)
        if training:
            return Placement(random_box(chance, source, self.min_scale, self.max_scale, self.ratio), source, target)
        extra = math.ceil(max(target) * self.val_xtra / 8) * 8
        shown = [source[axis] * target[axis] / (target[axis] + extra) for axis in (0, 1)]
        left, top = (source[0] - shown[0]) / 2, (source[1] - shown[1]) / 2
        return Placement((left, top, left + shown[0], top + shown[1]), source, target)


class CropPad(PlacingAugment):
    """Cut the centre of `size` out of a picture, or fill it up to `size`, without resizing."""

    def __init__(self, size: int | Sequence[int], pad_mode: str = PadMode.Zeros) -> None:
        super().__init__()
        if pad_mode not in list(PadMode):
            raise unknown_name("pad mode", pad_mode, list(PadMode))
        self.size, self.pad_mode = _checked(size), PadMode(pad_mode)

    def is_random(self, training: bool) -> bool:
        return False

    def place_of(self, chance: random.Random, training: bool) -> tuple[float, float]:
        """Return where the box lies in the room there is: 0.5 is the centre."""
        return 0.5, 0.5

    def placement(self, source: tuple[int, int], chance: random.Random, training: bool) -> Placement:
        width, height = as_size(self.size)
        x, y = self.place_of(chance, training)
        left, top = math.floor(x * (source[0] - width)), math.floor(y * (source[1] - height))
        return Placement((left, top, left + width, top + height), source, (width, height), self.pad_mode)

    def settings(self) -> dict[str, Any]:
        return {"size": self.size, "pad_mode": self.pad_mode}


class RandomCrop(CropPad):
    """Cut a random box of `size` out of a picture in training, the centre in validation; small ones are filled up."""

    def __init__(self, size: int | Sequence[int]) -> None:
        super().__init__(size)

    def is_random(self, training: bool) -> bool:
        return training

    def place_of(self, chance: random.Random, training: bool) -> tuple[float, float]:
        return (chance.random(), chance.random()) if training else (0.5, 0.5)

    def settings(self) -> dict[str, Any]:
        return {"size": self.size}


class RatioResize(PlacingAugment):
    """Give the longer side of a picture the length `max_sz`, keeping its proportions."""

    def __init__(self, max_sz: int, resamples: Sequence[Any] = ("bilinear", "nearest")) -> None:
        super().__init__(resamples)
        self.max_sz = as_size(max_sz)[0]

    def is_random(self, training: bool) -> bool:
        return False

    def placement(self, source: tuple[int, int], chance: random.Random, training: bool) -> Placement:
        scale = self.max_sz / max(source)
        target = max(1, round(source[0] * scale)), max(1, round(source[1] * scale))
        return Placement((0, 0, *source), source, target)


class FlipItem(Augment):
    """Mirror a sample left and right with probability `p`, in training."""

    order = 20

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def draw(self, chance: random.Random, sample: Sequence[Any], kinds: Sequence[Kind], training: bool) -> int:
        """Return which symmetry of a square to apply."""
        return 1 if training and chance.random() < self.p else 0

    def apply(self, value: Any, kind: Kind, drawn: int) -> Any:
        return symmetry(value, kind, drawn) if drawn else value

    def settings(self) -> dict[str, Any]:
        return {"p": self.p}


class DihedralItem(FlipItem):
    """Apply one of the eight symmetries of a square with probability `p`, in training."""

    def __init__(self, p: float = 1.0) -> None:
        super().__init__(p)

    def draw(self, chance: random.Random, sample: Sequence[Any], kinds: Sequence[Kind], training: bool) -> int:
        return chance.randrange(8) if training and (self.p >= 1 or chance.random() < self.p) else 0


# by the number that `geometry.dihedral` takes: bit 0 mirrors x, bit 1 mirrors y, bit 2 swaps them
_SYMMETRIES = {
    1: Transpose.FLIP_LEFT_RIGHT,
    2: Transpose.FLIP_TOP_BOTTOM,
    3: Transpose.ROTATE_180,
    4: Transpose.TRANSPOSE,
    5: Transpose.ROTATE_90,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
}


def symmetry(value: Any, kind: Kind, k: int) -> Any:
    """Return a picture, mask, points or boxes after symmetry `k` (see `geometry.dihedral`)."""
    if isinstance(kind, Picture | Mask):
        if not isinstance(value, Tensor):
            return (value if isinstance(value, PILImage) else PILImage.create(value)).transpose(_SYMMETRIES[k])
        value = value.flip(-1) if k & 1 else value
        value = value.flip(-2) if k & 2 else value
        return value.transpose(-1, -2) if k & 4 else value
    if isinstance(kind, Places):
        width, height = value.img_size
        size = (height, width) if k & 4 else (width, height)
        return type(value).from_unit(geometry.map_places(value.to_tensor(), geometry.dihedral(k)), size)
    return value


def _checked(size: int | Sequence[int]) -> int | tuple[int, ...]:
    as_size(size)
    return size if isinstance(size, int) else tuple(size)


def _resample_name(resample: Any) -> str:
    names = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # PIL's numbers
    name = names.get(int(resample)) if not isinstance(resample, str) else resample
    if name not in names.values():
        raise unknown_name("resampling", resample, names.values())
    return str(name)
