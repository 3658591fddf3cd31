"""Tensors that know what they show: after reading it you can draw, turn and tilt a picture tensor by hand.

For notebooks and for columns of points and boxes. Pictures inside flambeau are plain tensors; operations on the classes
here give plain tensors too, except the methods below.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from flambeau.data.dataset import in_few_words
from flambeau.data.kinds import Kind, Mask, Picture, Points
from flambeau.data.transform import Augment
from flambeau.foundation.errors import ArgumentError, DataError
from flambeau.vision import coordinates, lighting
from flambeau.vision.boxes import Boxes, check_boxes
from flambeau.vision.geometry import PadMode, sample
from flambeau.vision.picture_augment import PictureAugment
from flambeau.vision.placement import as_size, size_of

FARTHEST = 10
"""A point that is hidden or out of view lies near its picture; one this many sizes away is a mistake."""


class TypedTensor(Tensor):
    """A tensor with a kind; arithmetic gives plain tensors."""

    kind: ClassVar[Kind]

    # a subclass that follows every operation would cost a Python call for each of them
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __new__(cls, x: Any, **options: Any) -> Self:
        return torch.as_tensor(x, **options).as_subclass(cls)

    def show(self, ctx: Any = None, ax: Any = None, title: str | None = None, **options: Any) -> Any:
        """Draw on axes (new ones by default) and return them."""
        return self.kind.show(self.as_subclass(Tensor), ax=ax if ax is not None else ctx, title=title, **options)

    def to_tensor(self) -> Tensor:
        """Return the plain tensor."""
        return self.as_subclass(Tensor)


class TensorImage(TypedTensor):
    """Pictures (batch, channel, height, width) or one (channel, height, width): bytes, or floats in 0..1."""

    kind: ClassVar[Kind] = Picture()

    def _changed(self, change: PictureAugment) -> Self:
        batch = self if self.ndim == 4 else type(self)(self[None])
        changed = change(batch)
        return changed if self.ndim == 4 else type(self)(changed[0])

    def affine_coord(
        self,
        mat: Any = None,
        coord_tfm: None = None,
        sz: int | Sequence[int] | None = None,
        mode: str = "bilinear",
        pad_mode: str = PadMode.Reflection,
    ) -> Self:
        """Return the pictures at size `sz`, sampled through matrices `mat` (batch, 2 or 3, 3) where given."""
        if coord_tfm is not None:
            raise ArgumentError("affine_coord takes no coord_tfm; give the whole change as a 3x3 matrix `mat`.")
        if mat is None:
            return self._changed(coordinates.AffineCoord(sz, mode, pad_mode))
        rows = torch.as_tensor(mat, dtype=torch.float32).reshape(-1, *torch.as_tensor(mat).shape[-2:])
        if rows.shape[-2] == 2:
            rows = torch.cat([rows, rows.new_tensor([0.0, 0.0, 1.0]).expand(len(rows), 1, 3)], 1)
        batch = self.to_tensor() if self.ndim == 4 else self.to_tensor()[None]
        batch = batch if batch.is_floating_point() else batch.float() / 255
        size = as_size(sz)[::-1] if sz is not None else (batch.shape[-2], batch.shape[-1])
        moved = sample(batch, rows.expand(len(batch), 3, 3), size, mode, pad_mode)
        return type(self)(moved if self.ndim == 4 else moved[0])

    def rotate(self, max_deg: float = 10, p: float = 0.5, draw: Any = None, **options: Any) -> Self:
        """Return the pictures turned; the options are those of `Rotate`."""
        return self._changed(coordinates.Rotate(max_deg, p, draw, **options))

    def zoom(
        self, min_zoom: float = 1.0, max_zoom: float = 1.1, p: float = 0.5, draw: Any = None, **options: Any
    ) -> Self:
        """Return the pictures enlarged; the options are those of `Zoom`."""
        return self._changed(coordinates.Zoom(min_zoom, max_zoom, p, draw, **options))

    def warp(
        self, magnitude: float = 0.2, p: float = 0.5, draw_x: Any = None, draw_y: Any = None, **options: Any
    ) -> Self:
        """Return the pictures tilted; the options are those of `Warp`."""
        return self._changed(coordinates.Warp(magnitude, p, draw_x, draw_y, **options))

    def flip_batch(self, p: float = 0.5, draw: Any = None, **options: Any) -> Self:
        """Return the pictures mirrored; the options are those of `Flip`."""
        return self._changed(coordinates.Flip(p, draw, **options))

    def dihedral_batch(self, p: float = 0.5, draw: Any = None, **options: Any) -> Self:
        """Return the pictures after a symmetry of the square; the options are those of `Dihedral`."""
        return self._changed(coordinates.Dihedral(p, draw, **options))

    def brightness(self, max_lighting: float = 0.2, p: float = 0.75, draw: Any = None, batch: bool = False) -> Self:
        """Return the pictures lightened or darkened; see `Brightness`."""
        return self._changed(lighting.Brightness(max_lighting, p, draw, batch))

    def contrast(self, max_lighting: float = 0.2, p: float = 0.75, draw: Any = None, batch: bool = False) -> Self:
        """Return the pictures with more or less contrast; see `Contrast`."""
        return self._changed(lighting.Contrast(max_lighting, p, draw, batch))

    def saturation(self, max_lighting: float = 0.2, p: float = 0.75, draw: Any = None, batch: bool = False) -> Self:
        """Return the pictures in stronger or greyer colours; see `Saturation`."""
        return self._changed(lighting.Saturation(max_lighting, p, draw, batch))

    def hue(self, max_hue: float = 0.1, p: float = 0.75, draw: Any = None, batch: bool = False) -> Self:
        """Return the pictures in turned colours; see `Hue`."""
        return self._changed(lighting.Hue(max_hue, p, draw, batch))


class TensorImageBW(TensorImage):
    """Grey pictures: one channel."""


class TensorMask(TypedTensor):
    """A class index for each pixel (height, width)."""

    kind: ClassVar[Kind] = Mask()


class PlacedTensor(TypedTensor):
    """Places on a picture, in its pixels; `img_size` is the picture's (width, height)."""

    img_size: tuple[int, int] | None = None
    checks_targets: ClassVar[bool] = True
    _width: ClassVar[int]

    @classmethod
    def create(cls, x: Any, img_size: Sequence[int] | None = None) -> Self:
        """Return places from a list, array or tensor of pixel coordinates.

        Raises:
            DataError: the numbers do not come in rows of the right length, or are not finite.
        """
        known = img_size if img_size is not None else getattr(x, "img_size", None)
        places = torch.as_tensor(x).as_subclass(Tensor).float()
        if places.numel() % cls._width or places.ndim > 2 or (places.ndim == 2 and places.shape[-1] != cls._width):
            raise DataError(
                f"{cls.__name__} takes rows of {cls._width} numbers in pixels, got the shape {tuple(places.shape)}."
            )
        if not torch.isfinite(places).all():
            raise DataError(
                f"{cls.__name__} takes finite numbers in pixels, got {in_few_words(places.tolist())}. Mend them, or "
                "leave such items out of get_items."
            )
        made = places.reshape(-1, cls._width).as_subclass(cls)
        made.img_size = (int(known[0]), int(known[1])) if known is not None else None
        return made

    @classmethod
    def from_unit(cls, places: Tensor, img_size: tuple[int, int]) -> Self:
        """Return places given in -1..1 over a picture of `img_size` (width, height)."""
        return cls.create((places + 1) / 2 * cls._scale(img_size), img_size)

    @classmethod
    def _scale(cls, size: Sequence[float]) -> Tensor:
        return torch.tensor(list(size) * (cls._width // 2), dtype=torch.float32)

    def placed(self, box: Sequence[float], source: tuple[int, int], size: tuple[int, int]) -> Self:
        """Return the places in the pixels of a picture that shows `box` of its `source` at `size`."""
        corner, extent = self._scale(box[:2]), self._scale((box[2] - box[0], box[3] - box[1]))
        if self.img_size is not None and self.img_size != source:
            corner = corner * self._scale(self.img_size) / self._scale(source)
            extent = extent * self._scale(self.img_size) / self._scale(source)
        return type(self).create((self.as_subclass(Tensor) - corner) / extent * self._scale(size), size)

    def to_tensor(self) -> Tensor:
        """Return the places in -1..1 over their picture.

        Raises:
            DataError: the size of the picture is not known.
        """
        if self.img_size is None:
            raise DataError(
                f"A {type(self).__name__} does not know the size of its picture, so it cannot be scaled to -1..1. Use "
                f"PointScaler or Resize among the item transforms, or {type(self).__name__}.create(x, img_size=...)."
            )
        return self.as_subclass(Tensor) / self._scale(self.img_size) * 2 - 1

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self).create, (self.tolist() if len(self) else torch.zeros(0, self._width), self.img_size)

    def __deepcopy__(self, memo: Any) -> Self:
        return type(self).create(self.as_subclass(Tensor).clone(), self.img_size)

    def show(self, ctx: Any = None, ax: Any = None, title: str | None = None, **options: Any) -> Any:
        """Draw on axes that hold the picture, and return them."""
        return self.kind.show(self.to_tensor(), ax=ax if ax is not None else ctx, title=title, **options)


class TensorPoint(PlacedTensor):
    """Points (n, 2) of x, y in the pixels of a picture; scaled to -1..1 when they leave the item stage."""

    kind: ClassVar[Kind] = Points()
    _width: ClassVar[int] = 2


class TensorBBox(PlacedTensor):
    """Boxes (n, 4) of left, top, right, bottom in the pixels of a picture; scaled to -1..1 like points."""

    kind: ClassVar[Kind] = Boxes()
    _width: ClassVar[int] = 4


def check_points(points: Tensor, size: tuple[int, int]) -> None:
    """Raise a DataError for a point so far from its picture of `size` (width, height) that it is no hidden one."""
    width, height = size
    x, y = points.as_subclass(Tensor).unbind(1)
    outside = torch.maximum((x / width - 0.5).abs(), (y / height - 0.5).abs()) > FARTHEST
    if outside.any():
        at = int(outside.nonzero()[0])
        raise DataError(
            f"Point {at} is at {points.as_subclass(Tensor)[at].tolist()}, more than {FARTHEST} times the size of its "
            f"picture ({width} x {height} pixels) away. Points are x, y in the pixels of the picture as it is opened; "
            "were the pictures resized and the points not?"
        )


class PointScaler(Augment):
    """Tell the points and boxes of a sample how large their picture is, where no resize does so; check both."""

    order = 1

    def is_random(self, training: bool) -> bool:
        return False

    def draw(self, chance: Any, sample: Sequence[Any], kinds: Sequence[Kind], training: bool) -> tuple[int, int]:
        size = size_of(sample, kinds)
        check_boxes(sample, kinds, size)
        for value, kind in zip(sample, kinds, strict=True):
            if isinstance(kind, Points) and isinstance(value, TensorPoint):
                check_points(value, value.img_size or size)
        return size

    def apply(self, value: Any, kind: Kind, drawn: tuple[int, int]) -> Any:
        if isinstance(value, PlacedTensor) and value.img_size is None:
            return type(value).create(value, drawn)
        return value

    def settings(self) -> dict[str, Any]:
        return {}
