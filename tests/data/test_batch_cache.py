"""The cache gives equal batches from memory, within its budget."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from flambeau.data.batch import Batch
from flambeau.data.batch_cache import MOST_BYTES, BatchCache, free_memory, memory_budget


class Maker:
    """Make batches of numbers and count the items made."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.made: list[int] = []
        self.dtype = dtype

    def batch(self, indices: Sequence[int], epoch: int) -> Batch:
        self.made += indices
        values = torch.tensor(indices, dtype=self.dtype)
        return Batch((values[:, None] * 10,), (values,), indices=indices)


def test_each_item_is_made_once_and_served_equal() -> None:
    maker = Maker()
    cache = BatchCache(maker.batch, 5, 1000)
    for order in ([0, 1], [2, 3], [4]), ([4, 2], [0, 3], [1]), ([1, 0], [3, 4], [2]):
        for indices in order:
            batch = cache.batch(indices, 0)
            assert batch[0].tolist() == [[i * 10.0] for i in indices]
            assert (batch[1].tolist(), batch.indices) == ([float(i) for i in indices], indices)
    assert sorted(maker.made) == [0, 1, 2, 3, 4]


def test_a_batch_of_kept_and_new_items_makes_the_new_ones_only() -> None:
    maker = Maker()
    cache = BatchCache(maker.batch, 4, 1000)
    cache.batch([0, 1], 0)
    assert cache.batch([2, 1, 1], 0)[1].tolist() == [2, 1, 1]
    assert maker.made == [0, 1, 2]


def test_changing_a_served_batch_leaves_the_cache_alone() -> None:
    cache = BatchCache(Maker().batch, 2, 1000)
    for _ in range(2):
        cache.batch([0, 1], 0)[0].zero_()
    assert cache.batch([0, 1], 0)[0].tolist() == [[0.0], [10.0]]


def test_nothing_is_kept_beyond_the_budget() -> None:
    maker = Maker()
    cache = BatchCache(maker.batch, 4, 4 * 8 - 1)  # an item is 8 bytes
    for _ in range(2):
        assert cache.batch([0, 1, 2, 3], 0)[1].tolist() == [0, 1, 2, 3]
    assert len(maker.made) == 8
    assert cache.columns is None
    assert BatchCache(maker.batch, 4, 4 * 8).keep(maker.batch([0], 0), [0])


def test_items_of_another_shape_or_without_a_tensor_are_not_kept() -> None:
    cache = BatchCache(lambda indices, epoch: Batch((torch.zeros(1, indices[0] + 1),)), 3, 1000)
    assert cache.batch([0], 0)[0].shape == (1, 1)
    assert cache.batch([1], 0)[0].shape == (1, 2)
    assert cache.hopeless
    words = BatchCache(lambda indices, epoch: Batch((["a"] * len(indices),)), 3, 1000)
    assert words.batch([0], 0)[0] == ["a"]
    assert words.hopeless


def test_the_budget_is_a_part_of_what_is_free() -> None:
    assert 0 < memory_budget() <= MOST_BYTES
    assert memory_budget() == pytest.approx(min(free_memory() / 4, MOST_BYTES), rel=0.2)
