"""Random light and colour: after reading it you know how brightness, contrast, saturation and hue are drawn."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from flambeau.foundation.errors import ArgumentError
from flambeau.vision.picture_augment import LOGIT_EDGE, Draw, Drawn, Line, PictureAugment, drawn_value, log_uniform

# ITU-R BT.601 luma, the greys that PIL and JPEG use
LUMA = (0.299, 0.587, 0.114)


class LightAugment(PictureAugment):
    """A change of brightness or contrast, as a line on the logits of the pixels."""

    def __init__(
        self, max_lighting: float = 0.2, p: float = 0.75, draw: Draw | None = None, batch: bool = False
    ) -> None:
        super().__init__(p, batch)
        if not 0 <= max_lighting < 1:
            raise ArgumentError(f"{type(self).__name__}: max_lighting must be in 0..1, 1 excluded; got {max_lighting}.")
        self.max_lighting, self.draw_value = max_lighting, draw

    def add_to(self, drawn: Drawn, chances: Sequence[random.Random], training: bool) -> None:
        if training:
            lines = self.draw_all(self.line, chances, len(drawn.lines))
            drawn.lines = [_then(old, new) for old, new in zip(drawn.lines, lines, strict=True)]

    def is_moving(self, training: bool) -> bool:
        return False

    def line(self, chance: random.Random) -> Line | None:
        """Draw the line; None: nothing happens."""
        return self.change(chance) if self.p >= 1 or chance.random() < self.p else None

    def change(self, chance: random.Random) -> Line:
        """Draw the line given that the change happens; override."""
        raise NotImplementedError


class Brightness(LightAugment):
    """Lighten or darken; the drawn value in 0..1 says what middle grey becomes (0.5: no change)."""

    def change(self, chance: random.Random) -> Line:
        grey = drawn_value(
            self.draw_value,
            chance,
            lambda: chance.uniform(0.5 * (1 - self.max_lighting), 0.5 * (1 + self.max_lighting)),
        )
        grey = min(max(grey, LOGIT_EDGE), 1 - LOGIT_EDGE)
        return 1.0, math.log(grey / (1 - grey))


class Contrast(LightAugment):
    """Strengthen or weaken contrast; the drawn value is the factor (1: no change), its logarithm uniform."""

    def change(self, chance: random.Random) -> Line:
        return drawn_value(self.draw_value, chance, lambda: log_uniform(chance, self.max_lighting)), 0.0


def _then(first: Line | None, second: Line | None) -> Line | None:
    if first is None or second is None:
        return first or second
    return first[0] * second[0], first[1] * second[0] + second[1]


class ColourAugment(PictureAugment):
    """A change of colours that needs all three channels of a pixel."""

    neutral: ClassVar[float]

    def is_moving(self, training: bool) -> bool:
        return False

    def add_to(self, drawn: Drawn, chances: Sequence[random.Random], training: bool) -> None:
        amounts = self.draw_all(self.amount, chances, len(drawn.lines)) if training else []
        if any(amount != self.neutral for amount in amounts):
            drawn.colours.append((self.recolour, amounts))

    def amount(self, chance: random.Random) -> float:
        """Draw how much; `neutral` means nothing."""
        return self.change(chance) if self.p >= 1 or chance.random() < self.p else self.neutral

    def change(self, chance: random.Random) -> float:
        """Draw how much, given that the change happens; override."""
        raise NotImplementedError

    def recolour(self, pixels: Tensor, amounts: Tensor) -> Tensor:
        """Return pixels (batch, 3, height, width) in 0..1, changed by amounts (batch, 1, 1, 1); override."""
        raise NotImplementedError


class Saturation(ColourAugment):
    """Make colours stronger or greyer; the drawn value is the factor (1: no change), its logarithm uniform."""

    neutral = 1.0

    def __init__(
        self, max_lighting: float = 0.2, p: float = 0.75, draw: Draw | None = None, batch: bool = False
    ) -> None:
        super().__init__(p, batch)
        self.max_lighting, self.draw_value = max_lighting, draw

    def change(self, chance: random.Random) -> float:
        return drawn_value(self.draw_value, chance, lambda: log_uniform(chance, self.max_lighting))

    def recolour(self, pixels: Tensor, amounts: Tensor) -> Tensor:
        weights = pixels.new_tensor(LUMA).view(1, 3, 1, 1)
        grey = (pixels * weights).sum(1, keepdim=True)
        return torch.lerp(grey.expand_as(pixels), pixels, amounts).clamp_(0, 1)


class Hue(ColourAugment):
    """Turn colours round the colour wheel; the drawn value is a share of a whole turn (0: no change)."""

    neutral = 0.0

    def __init__(self, max_hue: float = 0.1, p: float = 0.75, draw: Draw | None = None, batch: bool = False) -> None:
        super().__init__(p, batch)
        self.max_hue, self.draw_value = max_hue, draw

    def change(self, chance: random.Random) -> float:
        return drawn_value(self.draw_value, chance, lambda: log_uniform(chance, self.max_hue) - 1)

    def recolour(self, pixels: Tensor, amounts: Tensor) -> Tensor:
        hue, saturation, value = to_hsv(pixels)
        return from_hsv((hue + amounts[:, 0]) % 1, saturation, value)


def to_hsv(pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return hue (in turns), saturation and value, each (batch, height, width), of RGB in 0..1."""
    value, brightest = pixels.max(1)
    spread = value - pixels.amin(1)
    red, green, blue = pixels.unbind(1)
    safe = spread.clamp(min=LOGIT_EDGE)
    sixths = torch.stack([(green - blue) / safe, (blue - red) / safe + 2, (red - green) / safe + 4])
    hue = sixths.gather(0, brightest[None])[0] / 6 % 1
    return hue, spread / value.clamp(min=LOGIT_EDGE), value


def from_hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Return RGB (batch, 3, height, width) for hue, saturation and value."""
    # the usual six cases in one formula: each channel falls off with its distance from its own hue
    offsets = torch.tensor([5.0, 3.0, 1.0], device=hue.device, dtype=hue.dtype).view(1, 3, 1, 1)
    wheel = (offsets + hue[:, None] * 6) % 6
    fall = torch.minimum(wheel, 4 - wheel).clamp(0, 1)
    return value[:, None] * (1 - saturation[:, None] * fall)
