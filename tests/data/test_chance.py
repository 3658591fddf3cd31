"""Chance of an item depends on seed, epoch, item and stage, and on nothing else."""

from __future__ import annotations

import random
from itertools import pairwise, product

from flambeau.data.chance import batch_chances, item_chance, loose_chance


def test_the_same_place_in_training_draws_the_same() -> None:
    assert item_chance(1, 2, 3).random() == item_chance(1, 2, 3).random()


def test_different_places_in_training_draw_differently() -> None:
    streams = [item_chance(*key) for key in product(range(4), range(4), range(8))]
    draws = {draw for stream in streams for draw in (stream.for_batch().random(), stream.random())}
    assert len(draws) == 4 * 4 * 8 * 2


def test_neighbouring_items_draw_evenly() -> None:
    draws = [item_chance(0, 0, index).random() for index in range(2000)]
    assert abs(sum(draws) / 2000 - 0.5) < 0.03
    assert abs(sum(x * y for x, y in pairwise(draws)) / 1999 - 0.25) < 0.03


def test_each_item_of_a_batch_has_its_own_stream() -> None:
    chances = batch_chances(7, 1, [4, 9])
    assert [c.random() for c in chances] == [item_chance(7, 1, i).for_batch().random() for i in (4, 9)]


def test_chance_outside_a_loader_follows_the_seed_of_python() -> None:
    random.seed(5)
    first = loose_chance().random()
    random.seed(5)
    assert loose_chance().random() == first
