"""The blocks of vision: after reading it you know what makes a picture, a mask, points or boxes a column."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.data.block import TransformBlock
from flambeau.data.kinds import Kind, Mask
from flambeau.data.normalize import IntToFloatTensor
from flambeau.data.transform import Transform
from flambeau.vision.boxes import BoxCategorize, KeepBoxesInView
from flambeau.vision.images import PILImage, PILMask
from flambeau.vision.tensor_types import PointScaler, TensorBBox, TensorPoint


def ImageBlock(cls: type[PILImage] = PILImage) -> TransformBlock:
    """Return the block of pictures; `cls` opens them (`PILImage` in colour, `PILImageBW` in grey)."""
    return TransformBlock(type_tfms=cls.create, batch_tfms=IntToFloatTensor)


def MaskBlock(codes: Iterable[Any] | None = None) -> TransformBlock:
    """Return the block of masks: pictures whose pixels are class indices, named by `codes`."""
    return TransformBlock(type_tfms=[PILMask.create, NameCodes(codes)], batch_tfms=IntToFloatTensor)


def PointBlock() -> TransformBlock:
    """Return the block of points on a picture: pixel coordinates (n, 2) as x, y; the model sees them as -1..1.

    Decoded predictions are pixels again, of the picture that the model sees (after Resize).
    """
    return TransformBlock(type_tfms=TensorPoint.create, item_tfms=PointScaler)


def BBoxBlock() -> TransformBlock:
    """Return the block of boxes on a picture: rows of left, top, right, bottom in pixels; the model sees them as -1..1.

    A batch is (batch, n, 4), n being the most boxes a picture has in it: boxes of zeros fill up behind the others.
    Boxes follow their picture, are cut at its edges, and become filling where nothing of them is left in view.
    """
    return TransformBlock(type_tfms=TensorBBox.create, item_tfms=PointScaler, batch_tfms=KeepBoxesInView)


def BBoxLblBlock(vocab: Iterable[Any] | None = None, add_na: bool = True) -> TransformBlock:
    """Return the block of the boxes' labels, a list an item; a batch is (batch, n), filled up like the boxes with 0.

    With `add_na` class 0 is "#na#", the background; without it only a box of zeros tells that a label is filling.
    """
    return TransformBlock(type_tfms=BoxCategorize(vocab, add_na))


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
