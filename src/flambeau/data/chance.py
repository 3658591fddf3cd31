"""Where augmentation's luck comes from: after reading it you know why the same seed gives the same pictures.

Each item draws from its own stream, made of (seed, epoch, item, stage) alone. The number of workers, the batch size and
the device therefore do not change what happens to an item.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

BATCH_STAGE = 1


class ItemChance(random.Random):
    """The stream of one item in one epoch; `for_batch` is the stream that batch transforms would get for it."""

    def __init__(self, key: int) -> None:
        super().__init__(key)
        self.key = key

    def for_batch(self) -> random.Random:
        """Return the item's stream of the batch stage, for a transform that does the work of both stages at once."""
        return random.Random((self.key + BATCH_STAGE) % (1 << 64))


def item_chance(seed: int, epoch: int, index: int) -> ItemChance:
    """Return the stream of chance of one item in one epoch, for its item transforms."""
    # odd 64-bit multipliers (Steele 2014, SplitMix) spread neighbouring items far apart
    mixed = seed * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9 + index * 0x94D049BB133111EB
    return ItemChance(mixed % (1 << 64))


def batch_chances(seed: int, epoch: int, indices: Iterable[int]) -> list[random.Random]:
    """Return one stream for each item of a batch."""
    return [item_chance(seed, epoch, int(index)).for_batch() for index in indices]


def loose_chance() -> random.Random:
    """Return a stream for a call outside any epoch; it follows `random.seed`, hence `set_seed`."""
    return random.Random(random.getrandbits(64))
