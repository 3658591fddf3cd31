"""Where augmentation's luck comes from: after reading it you know why the same seed gives the same pictures.

Each item draws from its own stream, made of (seed, epoch, item, stage) alone. The number of workers, the batch size and
the device therefore do not change what happens to an item.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

ITEM_STAGE, BATCH_STAGE = 0, 1


def item_chance(seed: int, epoch: int, index: int, stage: int = ITEM_STAGE) -> random.Random:
    """Return the stream of chance of one item in one epoch."""
    # odd 64-bit multipliers (Steele 2014, SplitMix) spread neighbouring items far apart
    mixed = (seed * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9 + index * 0x94D049BB133111EB + stage) % (1 << 64)
    return random.Random(mixed)


def batch_chances(seed: int, epoch: int, indices: Iterable[int]) -> list[random.Random]:
    """Return one stream for each item of a batch."""
    return [item_chance(seed, epoch, int(index), BATCH_STAGE) for index in indices]


def loose_chance() -> random.Random:
    """Return a stream for a call outside any epoch; it follows `random.seed`, hence `set_seed`."""
    return random.Random(random.getrandbits(64))
