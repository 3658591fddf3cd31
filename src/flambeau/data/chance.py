"""Where augmentation's luck comes from: after reading it you know why the same seed gives the same pictures.

Each item draws from its own stream, made of (seed, epoch, item, stage) alone. The number of workers, the batch size and
the device therefore do not change what happens to an item.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

BATCH_STAGE = 1
FOREIGN_STAGE = 2


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


def seed_global_streams(seed: int, epoch: int, index: int) -> None:
    """Let the global streams of Python, numpy and torch, from which foreign code draws, be one item's own."""
    key = (item_chance(seed, epoch, index).key + FOREIGN_STAGE) % (1 << 63)
    random.seed(key)
    np.random.seed(key % (1 << 32))
    # not torch.manual_seed, which would seed the GPUs as well, and start them in a worker process
    torch.default_generator.manual_seed(key)


@contextmanager
def global_streams_kept() -> Iterator[None]:
    """Give the global streams back as they were: what items draw must not move the model's dropout."""
    states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.default_generator.set_state(states[2])


def loose_chance() -> random.Random:
    """Return a stream for a call outside any epoch; it follows `random.seed`, hence `set_seed`."""
    return random.Random(random.getrandbits(64))
