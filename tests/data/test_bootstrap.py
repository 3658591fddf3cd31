"""Bagging: a sample with replacement, the same in every epoch, and what is left out of it."""

from __future__ import annotations

import random

import pytest
import torch

from flambeau.data.bootstrap import Bootstrap, bagging
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.loaders import DataLoader
from flambeau.foundation.errors import ArgumentError


def loaders(n: int = 40, **options: object) -> DataLoaders:
    items = [(torch.tensor([float(i)]), torch.tensor(float(i))) for i in range(n)]
    train = DataLoader(items, 8, shuffle=True, device="cpu", seed=0, **options)  # type: ignore[arg-type]
    return DataLoaders(train, DataLoader(items[:8], 8, device="cpu"))


def epoch(loader: DataLoader) -> list[int]:
    return [int(y) for _, ys in loader for y in ys]


def test_a_sample_has_as_many_items_and_leaves_a_third_out() -> None:
    sample = Bootstrap(3)
    drawn, out = sample.drawn(10_000), sample.out_of_bag(10_000)
    assert len(drawn) == 10_000
    assert set(drawn).isdisjoint(out)
    assert set(drawn) | set(out) == set(range(10_000))
    assert len(out) / 10_000 == pytest.approx(1 / 2.718281828, abs=0.02)


def test_the_seed_makes_the_sample() -> None:
    assert Bootstrap(3).drawn(50) == Bootstrap(3).drawn(50)
    assert Bootstrap(3).drawn(50) != Bootstrap(4).drawn(50)
    once, twice = Bootstrap(3)(50, random.Random(0)), Bootstrap(3)(50, random.Random(1))
    assert list(once) != list(twice)
    assert sorted(once) == sorted(twice)


def test_every_epoch_trains_on_the_same_items_in_another_order() -> None:
    bagged = bagging(loaders(), 5)
    first, second = epoch(bagged.train), epoch(bagged.train)
    assert first != second
    assert sorted(first) == sorted(second) == sorted(Bootstrap(5).drawn(40))
    assert set(first).isdisjoint(bagged.train.order.out_of_bag(40))


def test_the_loaders_given_and_the_validation_stay_whole() -> None:
    given = loaders()
    bagged = bagging(given, 5)
    assert sorted(epoch(given.train)) == list(range(40))
    assert epoch(bagged.valid) == list(range(8))
    bagged.add_tfms([lambda x: x])
    assert given.valid.after_batch == []


def test_loaders_that_take_no_order_are_refused() -> None:
    plain = [(torch.zeros(2, 1), torch.zeros(2))]
    with pytest.raises(ArgumentError, match="the training loader is a list"):
        bagging(DataLoaders(plain, plain), 0)
    with pytest.raises(ArgumentError, match="in an order of its own"):
        bagging(loaders(order=lambda n, chance: range(n)), 0)
    assert isinstance(bagging(bagging(loaders(), 0), 1).train.order, Bootstrap)
