"""`L` behaves like a list and like the practitioner's list at once."""

from __future__ import annotations

import operator
import pickle
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from flambeau.foundation.lists import L, coll_repr, first, listify, noop, range_of


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (L(), []),
        (L(None), []),
        (L("abc"), ["abc"]),
        (L(3), [3]),
        (L(1, 2), [1, 2]),
        (L(Path("a")), [Path("a")]),
        (L(x for x in "ab"), ["a", "b"]),
        (L({"a": 1}), ["a"]),
        (L(np.array([1, 2])), [1, 2]),
        (L(np.array(7)), [7]),
        (L([1], [2]), [[1], [2]]),
    ],
)
def test_a_list_is_made_of_the_elements_or_of_the_thing_itself(made, expected):
    assert made == expected
    assert type(made) is L


@pytest.mark.parametrize(
    "index",
    [[0, 2], (0, 2), L(0, 2), np.array([0, 2]), torch.tensor([0, 2]), slice(0, 3, 2), [True, False, True, False]],
)
def test_positions_masks_and_slices_pick_a_list(index):
    picked = L("a", "b", "c", "d")[index]
    assert picked == ["a", "c"]
    assert type(picked) is L


@pytest.mark.parametrize("index", [1, -3, np.int64(1), torch.tensor(1)])
def test_one_position_picks_one_element(index):
    assert L("a", "b", "c", "d")[index] == "b"


def test_a_mask_of_another_length_is_refused():
    with pytest.raises(IndexError, match="mask of 1 elements cannot pick from a list of 2"):
        L(1, 2)[[True]]


def test_map_takes_functions_format_strings_and_tables():
    numbers = L(0, 1, 2)
    assert numbers.map(operator.neg) == [0, -1, -2]
    assert numbers.map(operator.sub, 10) == [10, 9, 8]
    assert numbers.map("{}.png") == ["0.png", "1.png", "2.png"]
    assert numbers.map(["a", "b", "c"]) == ["a", "b", "c"]
    assert numbers.map({0: "x", 1: "y", 2: "z"}) == ["x", "y", "z"]


def test_the_verbs_filter_find_sort_and_count():
    words = L("pear", "fig", "apple", "fig")
    assert words.filter(lambda word: len(word) > 3) == ["pear", "apple"]
    assert words.filter(lambda word: len(word) > 3, negate=True) == ["fig", "fig"]
    assert words.argwhere(lambda word: word == "fig") == [1, 3]
    assert words.unique() == ["pear", "fig", "apple"]
    assert words.unique(sort=True) == ["apple", "fig", "pear"]
    assert words.sorted(len, reverse=True) == ["apple", "pear", "fig", "fig"]
    assert words.unique().val2idx() == {"pear": 0, "fig": 1, "apple": 2}
    assert words.enumerate()[1] == (1, "fig")


def test_rows_turn_into_columns_and_lists_join():
    rows = L((1, "a"), (2, "b"))
    assert rows.zip() == [(1, 2), ("a", "b")]
    assert rows.itemgot(1) == ["a", "b"]
    assert rows.starmap(lambda number, letter: letter * number) == ["a", "bb"]
    assert rows.sorted(0, reverse=True)[0] == (2, "b")
    assert L([1, 2], 3, [4]).concat() == [1, 2, 3, 4]
    assert L([[[5]]]).itemgot(0, 0) == [5]


def test_attributes_are_taken_from_objects_and_dictionaries():
    items = L(SimpleNamespace(a=SimpleNamespace(b=1)), SimpleNamespace(a=SimpleNamespace(b=2)))
    assert items.attrgot("a.b") == [1, 2]
    assert L({"url": "x"}, {}).attrgot("url") == ["x", None]
    assert items.sorted("a.b", reverse=True)[0].a.b == 2


def test_sums_stay_lists():
    sums = [operator.add(L(1), [2]), operator.add([1], L(2)), L(1) + 2, L(1) + L(2)]
    assert sums == [[1, 2]] * 4
    assert L(1) * 3 == [1, 1, 1]
    assert {type(x) for x in (*sums, L(1) * 3, L(1).copy())} == {L}


def test_shuffling_with_a_seed_repeats_and_leaves_the_list_alone():
    numbers = L.range(20)
    assert numbers.shuffle(1) == numbers.shuffle(1) == numbers.shuffle(random.Random(1))
    assert numbers.shuffle(1) != numbers.shuffle(2)
    assert numbers == list(range(20))
    assert numbers.shuffle().sorted() == numbers


def test_a_range_comes_from_numbers_or_a_collection():
    assert L.range(3) == [0, 1, 2]
    assert L.range("abc") == [0, 1, 2]
    assert L.range(1, 7, 3) == [1, 4]
    assert range_of("abc") == [0, 1, 2]
    assert range_of(2) == [0, 1]


def test_a_long_list_is_shown_short():
    assert repr(L(1, "a")) == "(#2) [1,'a']"
    assert repr(L.range(12)) == "(#12) [0,1,2,3,4,5,6,7,8,9...]"
    assert coll_repr(range(5), max_n=2) == "(#5) [0,1...]"


def test_first_takes_the_first_that_fits_or_none():
    assert first([3, 4]) == 3
    assert first(range(9), lambda x: x > 5) == 6
    assert first([]) is None


def test_the_small_helpers():
    assert noop(3, "ignored") == 3
    assert listify(None) == []
    assert listify("ab") == ["ab"]


def test_a_list_survives_pickling():
    copy = pickle.loads(pickle.dumps(L(1, 2)))
    assert copy == [1, 2]
    assert type(copy) is L
