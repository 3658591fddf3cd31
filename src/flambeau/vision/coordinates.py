"""Random changes of place: after reading it you know how flips, turns, tilts, zooms and crops of a batch are drawn."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from flambeau.foundation.errors import ArgumentError, unknown_name
from flambeau.vision import geometry
from flambeau.vision.geometry import IDENTITY, Matrix, PadMode
from flambeau.vision.picture_augment import Draw, Drawn, PictureAugment, drawn_value
from flambeau.vision.placement import as_size


class CoordinateAugment(PictureAugment):
    """A change of where pixels come from; `size` (a side or (height, width)) also changes the size.

    It happens with probability `p`. `draw` fixes what is drawn, or draws it; `batch` draws once for a whole batch.
    """

    def __init__(
        self,
        p: float = 0.5,
        draw: Draw | None = None,
        size: int | Sequence[int] | None = None,
        mode: str = "bilinear",
        pad_mode: str = PadMode.Reflection,
        batch: bool = False,
    ) -> None:
        super().__init__(p, batch)
        self.draw_value = draw
        if size is not None:
            as_size(size)
        self.size = tuple(size) if isinstance(size, Sequence) else size
        if pad_mode not in list(PadMode):
            raise unknown_name("pad mode", pad_mode, list(PadMode))
        self.mode, self.pad_mode = mode, PadMode(pad_mode)

    def add_to(self, drawn: Drawn, chances: Sequence[random.Random], training: bool) -> None:
        n, size = len(drawn.matrices), drawn.size
        if training:
            found = self.draw_all(lambda chance: self.matrix(chance, size), chances, n)
        else:
            found = [self.fixed(size)] * n
        drawn.matrices = [geometry.compose(old, new) for old, new in zip(drawn.matrices, found, strict=True)]
        drawn.mode, drawn.pad_mode = self.mode, self.pad_mode
        if self.size is not None:
            drawn.size = as_size(self.size)

    def matrix(self, chance: random.Random, size: tuple[int, int]) -> Matrix:
        """Draw the matrix for a picture of `size` (width, height)."""
        return self.change(chance, size) if self.p >= 1 or chance.random() < self.p else IDENTITY

    def change(self, chance: random.Random, size: tuple[int, int]) -> Matrix:
        """Draw the matrix given that the change happens; override."""
        return IDENTITY

    def fixed(self, size: tuple[int, int]) -> Matrix:
        """Return the matrix used in validation, without chance."""
        return IDENTITY


class AffineCoord(CoordinateAugment):
    """Change the size of a batch of pictures (and nothing else)."""

    def __init__(
        self, size: int | Sequence[int] | None = None, mode: str = "bilinear", pad_mode: str = PadMode.Reflection
    ) -> None:
        super().__init__(1.0, None, size, mode, pad_mode)

    def is_random(self, training: bool) -> bool:
        return False


class Flip(CoordinateAugment):
    """Mirror left and right."""

    def change(self, chance: random.Random, size: tuple[int, int]) -> Matrix:
        return geometry.flip() if drawn_value(self.draw_value, chance, lambda: 1.0) > 0 else IDENTITY


class Dihedral(CoordinateAugment):
    """Show one of the eight symmetries of a square: mirrored, turned by quarters."""

    def change(self, chance: random.Random, size: tuple[int, int]) -> Matrix:
        return geometry.dihedral(int(drawn_value(self.draw_value, chance, lambda: chance.randrange(8))))


class Rotate(CoordinateAugment):
    """Turn by up to `max_deg` degrees either way, about the centre."""

    def __init__(
        self,
        max_deg: float = 10,
        p: float = 0.5,
        draw: Draw | None = None,
        size: int | Sequence[int] | None = None,
        mode: str = "bilinear",
        pad_mode: str = PadMode.Reflection,
        batch: bool = False,
    ) -> None:
        super().__init__(p, draw, size, mode, pad_mode, batch)
        self.max_deg = max_deg

    def change(self, chance: random.Random, size: tuple[int, int]) -> Matrix:
        degrees = drawn_value(self.draw_value, chance, lambda: chance.uniform(-self.max_deg, self.max_deg))
        return geometry.rotate(degrees, size)


class Zoom(CoordinateAugment):
    """Enlarge by a factor between `min_zoom` and `max_zoom`, keeping a random part in view."""

    def __init__(
        self,
        min_zoom: float = 1.0,
        max_zoom: float = 1.1,
        p: float = 0.5,
        draw: Draw | None = None,
        draw_x: Draw | None = None,
        draw_y: Draw | None = None,
        size: int | Sequence[int] | None = None,
        mode: str = "bilinear",
        pad_mode: str = PadMode.Reflection,
        batch: bool = False,
    ) -> None:
        super().__init__(p, draw, size, mode, pad_mode, batch)
        if not 0 < min_zoom <= max_zoom:
            raise ArgumentError(f"Zoom needs 0 < min_zoom <= max_zoom, got {min_zoom} and {max_zoom}.")
        self.min_zoom, self.max_zoom = min_zoom, max_zoom
        self.draw_x, self.draw_y = draw_x, draw_y

    def change(self, chance: random.Random, size: tuple[int, int]) -> Matrix:
        factor = drawn_value(self.draw_value, chance, lambda: chance.uniform(self.min_zoom, self.max_zoom))
        x, y = drawn_value(self.draw_x, chance, chance.random), drawn_value(self.draw_y, chance, chance.random)
        return geometry.zoom(factor, x, y)


class Warp(CoordinateAugment):
    """Tilt sideways and up or down by up to `magnitude`; each of the two happens with probability `p`."""

    def __init__(
        self,
        magnitude: float = 0.2,
        p: float = 0.5,
        draw_x: Draw | None = None,
        draw_y: Draw | None = None,
        size: int | Sequence[int] | None = None,
        mode: str = "bilinear",
        pad_mode: str = PadMode.Reflection,
        batch: bool = False,
    ) -> None:
        super().__init__(p, None, size, mode, pad_mode, batch)
        self.magnitude, self.draw_x, self.draw_y = magnitude, draw_x, draw_y

    def matrix(self, chance: random.Random, size: tuple[int, int]) -> Matrix:
        return geometry.warp(self._tilt(self.draw_x, chance), self._tilt(self.draw_y, chance))

    def _tilt(self, draw: Draw | None, chance: random.Random) -> float:
        if self.p < 1 and chance.random() >= self.p:
            return 0.0
        return drawn_value(draw, chance, lambda: chance.uniform(-self.magnitude, self.magnitude))


class RandomResizedCropGPU(CoordinateAugment):
    """Show a random part of a batch's pictures at `size`; validation shows the centre `valid_scale` of the area."""

    def __init__(
        self,
        size: int | Sequence[int],
        min_scale: float = 0.08,
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        mode: str = "bilinear",
        valid_scale: float = 1.0,
        max_scale: float = 1.0,
        pad_mode: str = PadMode.Reflection,
        batch: bool = False,
    ) -> None:
        super().__init__(1.0, None, size, mode, pad_mode, batch)
        self.min_scale, self.max_scale, self.valid_scale, self.ratio = min_scale, max_scale, valid_scale, tuple(ratio)

    def change(self, chance: random.Random, size: tuple[int, int]) -> Matrix:
        return geometry.pixel_crop(random_box(chance, size, self.min_scale, self.max_scale, self.ratio), size)

    def fixed(self, size: tuple[int, int]) -> Matrix:
        side = math.sqrt(self.valid_scale)
        return IDENTITY if side == 1 else geometry.crop(-side, -side, side, side)


def random_box(
    chance: random.Random, size: tuple[int, int], min_scale: float, max_scale: float, ratio: Sequence[float]
) -> tuple[int, int, int, int]:
    """Draw a box: its share of the area in min_scale..max_scale, width/height in `ratio` (Szegedy 2015, section 6).

    Ten tries that must fit; then the largest centred box whose proportions are within `ratio`.
    """
    width, height = size
    for _ in range(10):
        area = chance.uniform(min_scale, max_scale) * width * height
        aspect = math.exp(chance.uniform(math.log(ratio[0]), math.log(ratio[1])))
        box_width, box_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            left, top = chance.randint(0, width - box_width), chance.randint(0, height - box_height)
            return left, top, left + box_width, top + box_height
    box_width = min(width, max(1, round(height * ratio[1])))
    box_height = min(height, max(1, round(width / ratio[0])))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    return left, top, left + box_width, top + box_height
