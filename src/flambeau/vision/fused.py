"""Resize and augment in one pass: after reading it you know why pictures are sampled once, straight from their file.

Resizing a picture first and warping the batch afterwards touches every pixel several times. Where batches are made on
the CPU, the resize's box and the augmentation's matrix are multiplied instead, the JPEG is decoded as small as the
final size allows, and each output pixel is looked up once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.data.chance import ItemChance
from flambeau.data.kinds import Kind, Mask, Picture, Places
from flambeau.data.normalize import IntToFloatTensor, ToTensor
from flambeau.data.transform import Augment, Transform
from flambeau.vision import geometry
from flambeau.vision.picture_augment import Drawn, PictureAugment, draw_parts, finish, light_table, recoloured
from flambeau.vision.placement import Placement, read_box


@dataclass(slots=True)
class FusedDraw:
    """Where a sample's pictures come from, and what happens to them on the way."""

    placement: Placement
    drawn: Drawn


class FusedResizeAugment(Augment):
    """Do a resize of single pictures and the augmentation of the batch in one sampling.

    Pictures leave as floats in 0..1 (channel, height, width), masks as int64, points and boxes in -1..1.
    """

    order = 1

    def __init__(self, resize: Augment, parts: Sequence[PictureAugment]) -> None:
        super().__init__()
        self.resize, self.parts = resize, list(parts)

    @property
    def name(self) -> str:
        return " + ".join(step.name for step in (self.resize, *self.parts))

    def is_random(self, training: bool) -> bool:
        return any(step.is_random(training) for step in (self.resize, *self.parts))

    def draw(self, chance: random.Random, sample: Sequence[Any], kinds: Sequence[Kind], training: bool) -> FusedDraw:
        placement = self.resize.draw(chance, sample, kinds, training)
        # the stream that the batch transforms would have had, so that the device does not change an item's luck
        later = chance.for_batch() if isinstance(chance, ItemChance) else chance
        return FusedDraw(placement, draw_parts(self.parts, [later], 1, placement.size, training))

    def apply(self, value: Any, kind: Kind, drawn: FusedDraw) -> Any:
        if isinstance(kind, Picture):
            return picture_at_once(value, kind, drawn)
        if isinstance(kind, Mask):
            return mask_at_once(value, kind, drawn)
        if isinstance(kind, Places):
            placed = self.resize.apply(value, kind, drawn.placement)
            return geometry.map_places(placed.to_tensor(), drawn.drawn.matrices[0])
        return value


def picture_at_once(value: Any, kind: Kind, drawn: FusedDraw) -> Tensor:
    """Return a picture's floats in 0..1, sampled once from the decoded pixels."""
    placement, matrix, size = drawn.placement, drawn.drawn.matrices[0], drawn.drawn.size
    left, top, right, bottom = placement.box
    shrink = geometry.shrinkage(matrix, (right - left, bottom - top), size)
    pixels, to_pixels = read_box(value, placement, shrink, kind)
    in_bytes = not isinstance(value, Tensor) or not value.is_floating_point()
    matrices = geometry.as_matrices([geometry.compose(to_pixels, matrix)])
    sampled = geometry.sample(pixels, matrices, size[::-1], drawn.drawn.mode, drawn.drawn.pad_mode)
    line = drawn.drawn.lines[0]
    if line is None or not in_bytes:
        return finish(sampled.div_(255) if in_bytes else sampled, drawn.drawn)[0]
    # bytes have 256 values: looking them up costs a third of computing logits and sigmoids
    levels = sampled.add_(0.5)
    if drawn.drawn.mode == "bicubic":
        levels.clamp_(0, 255)  # it overshoots at edges
    lit = torch.from_numpy(np.take(light_table(line), levels.numpy().astype(np.uint8), mode="clip"))
    return recoloured(lit, drawn.drawn)[0]


def mask_at_once(value: Any, kind: Kind, drawn: FusedDraw) -> Tensor:
    """Return a mask's classes (height, width) as int64, each from the nearest stored pixel."""
    pixels, to_pixels = read_box(value, drawn.placement, 1.0, kind)
    matrices = geometry.as_matrices([geometry.compose(to_pixels, drawn.drawn.matrices[0])])
    return geometry.sample(pixels, matrices, drawn.drawn.size[::-1], "nearest", drawn.drawn.pad_mode)[0, 0].long()


def fuse(resize: Augment, following: Sequence[Transform]) -> tuple[FusedResizeAugment, int] | None:
    """Return one transform for `resize` and the first n of `following`, with n; None where none of them augments.

    Conversions to tensors and to floats in between are part of what the fused transform does anyway.
    """
    parts: list[PictureAugment] = []
    n_taken = 0
    for place, transform in enumerate(following):
        if isinstance(transform, PictureAugment) and transform.split_idx is None:
            if any(part.batch for part in transform.parts):
                break  # one draw for the whole batch cannot be made sample by sample
            parts += transform.parts
            n_taken = place + 1
        elif not (isinstance(transform, ToTensor) or (isinstance(transform, IntToFloatTensor) and transform.is_plain)):
            break
    return (FusedResizeAugment(resize, parts), n_taken) if parts else None
