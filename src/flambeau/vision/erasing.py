"""Random erasing: after reading it you know how holes of noise teach a model not to rely on one spot (Zhong 2017)."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.data.chance import loose_chance
from flambeau.data.kinds import Picture
from flambeau.data.transform import Augment


class RandomErasing(Augment):
    """Fill random boxes of a batch's pictures with noise, after normalising.

    Each box covers a share of the area in sl..sh; its height/width lies in min_aspect..1/min_aspect.
    """

    order = 100
    needs_batch = True
    kinds = (Picture,)

    def __init__(
        self, p: float = 0.5, sl: float = 0.0, sh: float = 0.3, min_aspect: float = 0.3, max_count: int = 1
    ) -> None:
        super().__init__()
        self.p, self.sl, self.sh, self.min_aspect, self.max_count = p, sl, sh, min_aspect, max_count

    def is_moving(self, training: bool) -> bool:
        return False

    def on_batch(self, batch: Batch, chances: Sequence[random.Random] | None, training: bool) -> Batch:
        if not training:
            return batch
        return batch.map(lambda x, kind: self._erased(x, chances) if self.touches(kind) else x)

    def _erased(self, pixels: Tensor, chances: Sequence[random.Random] | None) -> Tensor:
        streams = chances if chances is not None else [loose_chance() for _ in range(len(pixels))]
        pixels = pixels.clone() if pixels.is_floating_point() else pixels.float().div_(255)
        for picture, chance in zip(pixels, streams, strict=True):
            if chance.random() >= self.p:
                continue
            noise = torch.Generator().manual_seed(chance.getrandbits(63))
            for top, bottom, left, right in self._boxes(chance, picture.shape[-2], picture.shape[-1]):
                hole = picture[:, top:bottom, left:right]
                hole.copy_(torch.randn(hole.shape, generator=noise))
        return pixels

    def _boxes(self, chance: random.Random, height: int, width: int) -> list[tuple[int, int, int, int]]:
        boxes = []
        count = chance.randint(1, self.max_count)
        for _ in range(count):
            area = chance.uniform(self.sl, self.sh) * height * width / count
            aspect = math.exp(chance.uniform(math.log(self.min_aspect), -math.log(self.min_aspect)))
            h, w = min(round(math.sqrt(area * aspect)), height), min(round(math.sqrt(area / aspect)), width)
            top, left = chance.randint(0, height - h), chance.randint(0, width - w)
            boxes.append((top, top + h, left, left + w))
        return boxes

    def settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("p", "sl", "sh", "min_aspect", "max_count")}
