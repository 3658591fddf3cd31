"""A seed repeats chance everywhere, and borrowed chance is given back."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from flambeau.foundation.seeds import no_random, random_generator, set_seed


def _draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_the_same_seed_gives_the_same_numbers():
    with no_random(0):
        set_seed(7)
        first = _draw()
        set_seed(7)
        assert _draw() == first
        set_seed(8)
        assert all(a != b for a, b in zip(_draw(), first, strict=True))


def test_a_seed_beyond_numpys_range_is_taken():
    with no_random(0):
        set_seed(2**40 + 3)


@pytest.mark.parametrize("word", ["reproducible", "deterministic"])
def test_one_word_asks_torch_for_deterministic_kernels(monkeypatch, word):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    try:
        with no_random(0):
            set_seed(1, **{word: True})
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.deterministic
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before


def test_chance_goes_on_as_if_nothing_had_been_drawn():
    with no_random(3):
        set_seed(5)
        expected = _draw()
        set_seed(5)
        with pytest.raises(ZeroDivisionError), no_random(1):
            _ = _draw()[0] / 0
        assert _draw() == expected


def test_a_generator_without_a_seed_follows_set_seed():
    with no_random(0):
        set_seed(5)
        first = random_generator().random()
        set_seed(5)
        assert random_generator().random() == first
    assert random_generator(3).random() == random.Random(3).random()
