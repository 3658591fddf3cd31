"""Changing the pictures of a batch: after reading it you know how drawn changes are collected and made in few passes.

Each picture draws its own luck. All changes of coordinates become one matrix a picture and one sampling; brightness
and contrast become one straight line on the logits of the pixels; changes of colour follow. Masks, points and boxes
get the same matrix as their picture.
"""

from __future__ import annotations

import math
import random
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.data.chance import loose_chance
from flambeau.data.kinds import Kind, Mask, Picture, Places, Plain, kind_of
from flambeau.data.transform import TRAIN, VALID, Augment
from flambeau.foundation.errors import ArgumentError
from flambeau.vision import geometry
from flambeau.vision.geometry import IDENTITY, Matrix, PadMode

T = TypeVar("T")

Draw = float | Callable[[random.Random], float]
"""A fixed value instead of a drawn one, or a function of chance that draws it."""

Line = tuple[float, float]
"""Brightness and contrast: scale and shift of the logit of a pixel in 0..1."""

Recolour = Callable[[Tensor, Tensor], Tensor]
"""A change of colours: takes pixels (batch, 3, height, width) in 0..1 and amounts (batch, 1, 1, 1)."""

LOGIT_EDGE = 1e-7
"""Logits are taken of values cut to LOGIT_EDGE..1 - LOGIT_EDGE."""


@dataclass(slots=True)
class Drawn:
    """What is to happen to the pictures of a batch: they are moved, then lit, then recoloured."""

    matrices: list[Matrix]
    size: tuple[int, int]
    mode: str
    pad_mode: PadMode
    lines: list[Line | None]
    colours: list[tuple[Recolour, list[float]]]

    def moves(self, source: tuple[int, int]) -> bool:
        """Whether pictures of size `source` (width, height) have to be sampled anew."""
        return self.size != source or any(matrix is not IDENTITY for matrix in self.matrices)


class PictureAugment(Augment):
    """One random change of pictures; it happens with probability `p`, and alike for a whole batch with `batch`."""

    order = 30

    def __init__(self, p: float, batch: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ArgumentError(f"{type(self).__name__}: p is a probability in 0..1, got {p}.")
        self.p, self.batch = p, batch

    @property
    def parts(self) -> Sequence[PictureAugment]:
        """The changes to make, in order."""
        return (self,)

    @abstractmethod
    def add_to(self, drawn: Drawn, chances: Sequence[random.Random], training: bool) -> None:
        """Draw this change for each picture and add it to what is to happen; override."""

    def draw_all(self, draw_one: Callable[[random.Random], T], chances: Sequence[random.Random], n: int) -> list[T]:
        """Return one draw for each of `n` pictures, or the same for all of them with `batch`."""
        return [draw_one(chances[0])] * n if self.batch else [draw_one(chance) for chance in chances]

    def on_batch(self, batch: Batch, chances: Sequence[random.Random] | None, training: bool) -> Batch:
        """Return the batch with its pictures changed, each by its own draw; in validation only sizes change."""
        if self.split_idx is not None and self.split_idx != (TRAIN if training else VALID):
            return batch
        return apply_to_batch(self.parts, batch, chances, training)

    def draw(self, chance: random.Random, sample: Sequence[Any], kinds: Sequence[Kind], training: bool) -> Any:
        return chance, training

    def on_sample(
        self, sample: tuple[Any, ...], kinds: Sequence[Kind], chance: random.Random, training: bool
    ) -> tuple[Any, ...]:
        """Return one sample changed as a batch of one; PIL images become tensors."""

        def as_column(value: Any, kind: Kind) -> Any:
            if hasattr(value, "to_tensor"):
                value = value.to_tensor()
            return value[None] if isinstance(kind, Picture | Mask | Places) else [value]

        columns = tuple(as_column(value, kind) for value, kind in zip(sample, kinds, strict=True))
        changed = self.on_batch(Batch(columns, kinds=tuple(kinds)), [chance], training)
        return tuple(column[0] for column in changed.columns)

    def __call__(self, x: Any, split_idx: int | None = None) -> Any:
        """Change a picture, a batch of pictures (batch, channel, height, width) or a tuple of columns."""
        if not isinstance(x, Tensor) or x.ndim < 4:
            return super().__call__(x, split_idx)
        kind = kind_of(x)
        kind = Picture() if isinstance(kind, Plain) else kind
        chances = [loose_chance() for _ in range(len(x))]
        changed = self.on_batch(Batch((x.as_subclass(Tensor),), kinds=(kind,)), chances, split_idx != VALID)[0]
        return changed.as_subclass(type(x))

    def settings(self) -> dict[str, Any]:
        """Return the arguments as JSON values; a `draw` function, which predicting never calls, is left out."""
        # `draw` is a method of every Augment, so a given value is kept under another name
        kept_as = {"draw": "draw_value"}
        values = {name: getattr(self, kept_as.get(name, name)) for name in signature(type(self)).parameters}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if not callable(value)
        }


def draw_parts(
    parts: Sequence[PictureAugment], chances: Sequence[random.Random], n: int, size: tuple[int, int], training: bool
) -> Drawn:
    """Draw all changes for `n` pictures of `size` (width, height), from one stream of chance a picture."""
    drawn = Drawn([IDENTITY] * n, size, "bilinear", PadMode.Reflection, [None] * n, [])
    for part in parts:
        part.add_to(drawn, chances, training)
    return drawn


def apply_to_batch(
    parts: Sequence[PictureAugment], batch: Batch, chances: Sequence[random.Random] | None, training: bool
) -> Batch:
    """Return the batch with its pictures, masks, points and boxes changed together.

    Pictures come in as bytes or as floats in 0..1 and leave as floats in 0..1, or untouched where nothing happens.
    """
    first = next(
        (x for x, kind in zip(batch.columns, batch.kinds, strict=True) if isinstance(kind, Picture | Mask)), None
    )
    if first is None:
        return batch
    n, source = len(first), (first.shape[-1], first.shape[-2])
    streams = chances if chances is not None else [loose_chance() for _ in range(n if training else 0)]
    drawn = draw_parts(parts, streams, n, source, training)

    def change(value: Any, kind: Kind) -> Any:
        if isinstance(kind, Picture):
            return finish(move_pictures(value, drawn), drawn)
        if not drawn.moves(source):
            return value
        if isinstance(kind, Mask):
            return move_masks(value, drawn)
        return geometry.map_places(value, drawn.matrices) if isinstance(kind, Places) else value

    return batch.map(change)


def move_pictures(pixels: Tensor, drawn: Drawn) -> Tensor:
    """Return pictures (batch, channel, height, width) sampled through their matrices; bytes become floats in 0..1."""
    source = (pixels.shape[-1], pixels.shape[-2])
    light_only = not drawn.moves(source)
    if light_only and not drawn.colours and not any(drawn.lines):
        return pixels
    if light_only:
        return pixels if pixels.is_floating_point() else pixels.float().div_(255)
    steps = [geometry.shrinkage(matrix, source, drawn.size) for matrix in drawn.matrices]
    factors = [geometry.whole_factor(step) for step in steps]
    if len(set(factors)) == 1:
        return _sampled(pixels, drawn.matrices, factors[0], drawn)
    # the factor of each picture depends on that picture alone, so that its batch makes no difference
    moved = pixels.new_empty(*pixels.shape[:2], *drawn.size[::-1], dtype=torch.result_type(pixels, 1.0))
    for factor in set(factors):
        places = [place for place, own in enumerate(factors) if own == factor]
        moved[places] = _sampled(pixels[places], [drawn.matrices[place] for place in places], factor, drawn)
    return moved


def _sampled(pixels: Tensor, matrices: Sequence[Matrix], factor: int, drawn: Drawn) -> Tensor:
    in_bytes = not pixels.is_floating_point()
    pixels, to_reduced = geometry.reduce(pixels, factor)
    through = geometry.as_matrices([geometry.compose(to_reduced, matrix) for matrix in matrices], pixels.device)
    sampled = geometry.sample(pixels, through, drawn.size[::-1], drawn.mode, drawn.pad_mode)
    return sampled.div_(255) if in_bytes else sampled


def move_masks(masks: Tensor, drawn: Drawn) -> Tensor:
    """Return masks (batch, [1,] height, width) sampled by the nearest pixel, so that classes never mix."""
    layered = masks if masks.ndim == 4 else masks[:, None]
    matrices = geometry.as_matrices(drawn.matrices, masks.device)
    moved = geometry.sample(layered.float(), matrices, drawn.size[::-1], "nearest", drawn.pad_mode).to(masks.dtype)
    return moved if masks.ndim == 4 else moved[:, 0]


def finish(pixels: Tensor, drawn: Drawn) -> Tensor:
    """Apply the drawn light and colours to pictures in 0..1."""
    if any(drawn.lines):
        lines = torch.tensor([line or (1.0, 0.0) for line in drawn.lines]).to(pixels.device, pixels.dtype)
        scale, shift = lines.view(-1, 2, 1, 1, 1).unbind(1)
        pixels = torch.logit(pixels, eps=LOGIT_EDGE).mul_(scale).add_(shift).sigmoid_()
    return recoloured(pixels, drawn)


def recoloured(pixels: Tensor, drawn: Drawn) -> Tensor:
    """Apply the drawn changes of colour to pictures in 0..1; grey ones have none."""
    for recolour, amounts in drawn.colours if pixels.shape[1] == 3 else ():
        pixels = recolour(pixels, pixels.new_tensor(amounts).view(-1, 1, 1, 1))
    return pixels


def light_table(line: Line) -> np.ndarray:
    """Return what each of the 256 byte values becomes, as floats in 0..1."""
    values = np.clip(np.arange(256) / 255, LOGIT_EDGE, 1 - LOGIT_EDGE)
    logits = np.log(values / (1 - values)) * line[0] + line[1]
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def drawn_value(given: Draw | None, chance: random.Random, otherwise: Callable[[], float]) -> float:
    """Return the value that a caller fixed, or draw it."""
    if given is None:
        return otherwise()
    return float(given(chance)) if callable(given) else float(given)


def log_uniform(chance: random.Random, most: float) -> float:
    """Draw a factor between 1 - most and 1 / (1 - most), its logarithm uniform."""
    edge = -math.log(1 - most)
    return math.exp(chance.uniform(-edge, edge))
