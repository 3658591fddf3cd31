"""Kinds read as words, decode and draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flambeau.data.kinds import Category, Kind, Mask, MultiCategory, Number, Picture, Plain, Points, Text, kind_of


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, Category((False, True))),
        (np.bool_(False), Category((False, True))),
        (3, Number()),
        (2.5, Number()),
        (np.float32(1), Number()),
        ("words", Text()),
        (torch.zeros(2), Plain()),
        (None, Plain()),
    ],
)
def test_a_value_tells_its_kind(value: object, kind: Kind) -> None:
    assert kind_of(value) == kind


def test_a_class_that_carries_a_kind_tells_it() -> None:
    class Sound:
        kind = Mask(("quiet", "loud"))

    assert kind_of(Sound()) == Mask(("quiet", "loud"))


@pytest.mark.parametrize(
    ("kind", "value", "words", "decoded"),
    [
        (Category(("cat", "dog")), torch.tensor(1), "dog", "dog"),
        (MultiCategory(("a", "b", "c")), torch.tensor([1.0, 0.0, 0.7]), "a;c", ["a", "c"]),
        (Number(), torch.tensor(1.5), "1.5", 1.5),
        (Number(2), torch.tensor([1.0, 2.0]), "1, 2", [1.0, 2.0]),
        (Text(), "hello", "hello", "hello"),
        (Plain(), (1, 2), "(1, 2)", (1, 2)),
    ],
)
def test_a_kind_says_its_values_in_words(kind: Kind, value: object, words: str, decoded: object) -> None:
    assert kind.text(value) == words
    assert kind.decoded(value) == decoded


def test_pictures_masks_and_points_say_their_size() -> None:
    assert Picture().text(torch.zeros(3, 4, 5)) == "picture 3x4x5"
    assert Mask().text(torch.zeros(4, 5)) == "mask"
    assert Points().text(torch.tensor([[0.0, -1.0]])) == "(0.00, -1.00)"
    assert Plain().text(torch.zeros(4, 5)) == "tensor (4, 5)"


def test_settings_build_a_kind_again() -> None:
    kind = Category(("cat", "dog"))
    assert kind.settings() == {"vocab": ["cat", "dog"]}
    assert Category(tuple(kind.settings()["vocab"])) == kind


def test_a_label_is_added_to_the_title_of_its_picture() -> None:
    ax = Picture().show(torch.rand(3, 8, 8) * 2, title="above")
    Category(("cat", "dog")).show(0, ax=ax)
    assert ax.get_title() == "above\ncat"


def test_points_lie_where_their_numbers_say() -> None:
    ax = Picture().show(torch.zeros(3, 10, 20))
    Points().show(torch.tensor([[-1.0, -1.0], [0.0, 0.0]]), ax=ax, c="blue", title="two")
    assert ax.collections[0].get_offsets().tolist() == [[-0.5, -0.5], [9.5, 4.5]]
    assert ax.get_title() == "two"
