"""The blocks of vision: after reading it you know what makes a picture, a mask or a set of points a column."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.data.block import TransformBlock
from flambeau.data.kinds import Kind, Mask
from flambeau.data.normalize import IntToFloatTensor
from flambeau.data.transform import Transform
from flambeau.vision.images import PILImage, PILMask
from flambeau.vision.tensor_types import PointScaler, TensorPoint


def ImageBlock(cls: type[PILImage] = PILImage) -> TransformBlock:
    """Return the block of pictures; `cls` opens them (`PILImage` in colour, `PILImageBW` in grey)."""
    return TransformBlock(type_tfms=cls.create, batch_tfms=IntToFloatTensor)


def MaskBlock(codes: Iterable[Any] | None = None) -> TransformBlock:
    """Return the block of masks: pictures whose pixels are class indices, named by `codes`."""
    return TransformBlock(type_tfms=[PILMask.create, NameCodes(codes)], batch_tfms=IntToFloatTensor)


def PointBlock() -> TransformBlock:
    """Return the block of points on a picture: pixel coordinates (n, 2) as x, y; the model sees them as -1..1."""
    return TransformBlock(type_tfms=TensorPoint.create, item_tfms=PointScaler)


class NameCodes(Transform):
    """Say which classes a mask's numbers stand for."""

    order = 1

    def __init__(self, codes: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.vocab = None if codes is None else [str(code) for code in codes]

    @property
    def kind(self) -> Kind | None:
        """The kind of masks, with the names of their classes."""
        return Mask(tuple(self.vocab or ()))

    def settings(self) -> dict[str, Any]:
        return {"codes": self.vocab}
