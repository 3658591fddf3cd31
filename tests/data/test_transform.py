"""Transforms touch what their annotation names, undo themselves, and say whether they draw."""

from __future__ import annotations

import random
from collections import namedtuple
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from flambeau.course.names import fastuple
from flambeau.data.batch import Batch
from flambeau.data.categorize import Categorize
from flambeau.data.kinds import Category, Kind, Picture, Plain
from flambeau.data.transform import (
    Augment,
    ItemTransform,
    Transform,
    accepted_types,
    as_transform,
    as_transforms,
    function_name,
    is_own_code,
)
from flambeau.foundation.errors import ArgumentError

Pair = namedtuple("Pair", ["left", "right"])


class Halve(Transform):
    """Halve whole numbers."""

    def encodes(self, x: int) -> float:
        return x / 2

    def decodes(self, x: float) -> int:
        return int(x * 2)


class Both(Transform):
    """Add the two parts of a tuple."""

    def encodes(self, x: tuple[int, int]) -> int:
        return x[0] + x[1]


class Shift(Augment):
    """Add one draw to every column."""

    def draw(self, chance: random.Random, sample: Sequence[Any], kinds: Sequence[Kind], training: bool) -> float:
        return chance.random() if training else 0.0

    def apply(self, value: Any, kind: Kind, drawn: float) -> Any:
        return value + drawn


class Pairs(fastuple):
    """Two numbers."""


def test_only_values_of_the_annotated_type_are_encoded() -> None:
    assert Halve()(4) == 2.0
    assert Halve()("4") == "4"
    assert Halve()((4, "4", 6)) == (2.0, "4", 3.0)
    assert Halve().decode((2.0, 3.0)) == (4, 6)


def test_tuples_keep_their_class() -> None:
    assert Halve()(Pair(2, 4)) == Pair(1.0, 2.0)
    assert type(Halve()(Pairs(2, 4))) is Pairs


def test_an_annotation_that_asks_for_a_tuple_gets_the_tuple() -> None:
    assert Both()((1, 2)) == 3


def test_a_union_names_several_types_and_none_is_no_type() -> None:
    def encode(x: int | str | None) -> None: ...

    def anything(x: int | Any) -> None: ...

    def later(x: NotKnownHere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert accepted_types(encode) == (int, str)
    assert accepted_types(anything) is None
    assert accepted_types(later) is None
    assert accepted_types(len) is None


def test_a_transform_of_one_half_leaves_the_other_alone() -> None:
    training_only = Transform(lambda x: x + 1, split_idx=0)
    assert [training_only(1, half) for half in (None, 0, 1)] == [2, 2, 1]


def test_what_users_pass_becomes_transforms_in_their_order() -> None:
    made = as_transforms([Transform(len, order=3), str.upper, Halve])
    assert [t.name for t in made] == ["upper", "Halve", "len"]
    assert as_transforms(None) == []
    with pytest.raises(ArgumentError, match="must be a Transform or a function, got 3 of type int"):
        as_transform(3)


def test_an_item_transform_gets_the_whole_sample() -> None:
    swap = ItemTransform(lambda sample: (sample[1], sample[0]))
    assert swap((1, 2)) == (2, 1)


def test_an_item_transform_of_a_batch_gives_its_new_columns() -> None:
    batch = Batch((torch.ones(2),), (torch.zeros(2),), (Picture(), Category(("a",))), [5, 6])
    made = ItemTransform(lambda columns: (columns[0], columns[1], columns[0])).on_batch(batch, None, True)
    assert (len(made.inputs), len(made.targets), made.indices) == (1, 2, [5, 6])
    assert made.all_kinds == (Picture(), Category(("a",)), Plain())


def test_a_batch_function_touches_pictures_only() -> None:
    batch = Batch((torch.ones(2),), (torch.ones(2),), (Picture(), Plain()))
    x, y = Transform(lambda x: x * 3).on_batch(batch, None, True)
    assert (x.tolist(), y.tolist()) == ([3, 3], [1, 1])


def test_an_augment_draws_once_for_all_columns() -> None:
    sample = Shift().on_sample((1.0, 2.0), [Plain(), Plain()], random.Random(0), True)
    assert sample[1] - sample[0] == pytest.approx(1.0)
    assert sample[0] != 1.0
    assert Shift()((1.0, 2.0), 1) == (1.0, 2.0)


def test_code_of_the_users_own_counts_as_random_in_training_only() -> None:
    assert Transform(lambda x: x).is_random(True)
    assert as_transform(nn.Identity()).is_random(True)
    assert Halve().is_random(True)
    assert not Halve().is_random(False)
    assert not Categorize().is_random(True)
    assert Shift().is_random(True)


def test_code_is_known_by_where_it_was_written() -> None:
    assert is_own_code(Categorize().encodes)
    assert is_own_code(Categorize)
    assert not is_own_code(torch.add)
    assert not is_own_code(test_code_is_known_by_where_it_was_written)


def test_a_transform_is_named_after_what_it_wraps() -> None:
    assert Transform(Pair._make).name == "Pair._make"
    assert Halve().name == "Halve"
    assert function_name(Halve()) == "Halve"


def test_an_export_says_that_own_code_must_be_given_back() -> None:
    with pytest.raises(ArgumentError, match=r"'Halve' is code of your own.*load_learner\(path, transforms="):
        Halve().settings()


def test_a_transform_that_learns_says_so() -> None:
    assert Categorize().learns
    assert not Halve().learns


def double(x: Tensor) -> Tensor:
    """Return twice the tensor."""
    return x * 2


def test_a_decorated_function_is_a_transform() -> None:
    assert Transform(double, lambda x: x / 2).decode(Transform(double)(torch.ones(1))).item() == 1.0
