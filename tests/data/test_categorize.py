"""Labels become numbers and come back; what is missing or unknown is told with its item."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from flambeau.data.categorize import (
    Categorize,
    EncodedMultiCategorize,
    MultiCategorize,
    OneHotEncode,
    RegressionSetup,
    index_of,
    is_missing,
)
from flambeau.data.kinds import Category, MultiCategory, Number
from flambeau.data.labels import CategoryMap
from flambeau.data.pipeline import Pipeline
from flambeau.foundation.errors import EmptyError, LabelError


def learnt(transform: Any, items: list[Any]) -> Any:
    """Return the transform after it saw the items."""
    transform.setup(items)
    return transform


def test_classes_are_sorted_and_come_back() -> None:
    classes = learnt(Categorize(), ["dog", "cat", "dog"])
    assert [classes.encodes(label) for label in ("cat", "dog")] == [0, 1]
    assert classes.decodes(torch.tensor(1)) == "dog"
    assert classes.kind == Category(("cat", "dog"))


def test_labels_of_numpy_and_torch_are_found_among_plain_classes() -> None:
    classes = learnt(Categorize(), [3, 5])
    assert [classes.encodes(label) for label in (np.int64(5), torch.tensor(5), 5)] == [1, 1, 1]


def test_an_unknown_label_proposes_the_nearest_class() -> None:
    with pytest.raises(LabelError, match=r"'Dog' is not among the 2 classes .*Did you mean 'dog'\?.*vocab="):
        index_of("Dog", CategoryMap(["cat", "dog"]))


def test_a_label_that_is_a_list_is_told() -> None:
    with pytest.raises(LabelError, match=r"\['a'\] is not among"):
        index_of(["a"], CategoryMap(["a", "b"]))


def test_unknown_and_missing_labels_are_na_where_that_is_a_class() -> None:
    classes = learnt(Categorize(add_na=True), ["b", None, "a"])
    assert list(classes.vocab) == ["#na#", "a", "b"]
    assert [classes.encodes(label) for label in ("a", "never seen", None)] == [1, 0, 0]
    assert "never seen" not in classes.vocab.o2i
    again = Categorize(**classes.settings())
    assert list(again.vocab or ()) == ["#na#", "a", "b"]


@pytest.mark.parametrize("label", [None, float("nan"), np.float32("nan")])
def test_a_missing_label_names_its_item(label: Any) -> None:
    assert is_missing(label)
    with pytest.raises(LabelError, match=r"The label of item 1 is (None|nan)"):
        learnt(Categorize(), ["a", label])


def test_no_items_at_all_is_told() -> None:
    with pytest.raises(EmptyError, match="training half of the split is empty"):
        learnt(Categorize(), [])


def test_settings_build_the_same_classes() -> None:
    classes = learnt(Categorize(), ["b", "a"])
    assert list(Categorize(**classes.settings()).vocab or ()) == ["a", "b"]


def test_many_labels_become_zeros_and_ones_and_come_back() -> None:
    pipeline = Pipeline([MultiCategorize(), OneHotEncode()])
    pipeline.setup([["b", "a"], ["c"], []])
    assert pipeline(["c", "a"]).tolist() == [1, 0, 1]
    assert pipeline([]).tolist() == [0, 0, 0]
    assert pipeline.decode(pipeline(["c", "a"])) == ["a", "c"]
    assert pipeline.kind(None) == MultiCategory(("a", "b", "c"))


def test_one_string_is_not_many_labels() -> None:
    with pytest.raises(LabelError, match=r"one string came: 'a b'.*label_delim=' '"):
        learnt(MultiCategorize(), ["a b"])


def test_many_labels_of_different_types_cannot_be_sorted() -> None:
    with pytest.raises(LabelError, match="cannot be sorted"):
        learnt(MultiCategorize(), [["a"], [1]])


def test_no_label_anywhere_is_told() -> None:
    with pytest.raises(LabelError, match="No item of the training half has a label"):
        learnt(MultiCategorize(), [[], []])


def test_one_hot_alone_asks_for_the_number_of_classes() -> None:
    with pytest.raises(LabelError, match=r"OneHotEncode\(c=\.\.\.\)"):
        OneHotEncode().setup([])


def test_labels_already_encoded_are_checked_for_their_number() -> None:
    encoded = EncodedMultiCategorize(["a", "b"])
    assert encoded.encodes([0, 1]).tolist() == [0, 1]
    assert encoded.decodes(torch.tensor([0.0, 1.0])) == ["b"]
    with pytest.raises(LabelError, match="Expected 2 zeros and ones"):
        encoded.encodes([0, 1, 0])
    with pytest.raises(LabelError, match="Expected 2 zeros and ones"):
        encoded.encodes("ab")


def test_numbers_become_float_tensors() -> None:
    one, two = learnt(RegressionSetup(), [1, 2]), learnt(RegressionSetup(), [[1, 2]])
    assert (one.encodes(3).tolist(), one.encodes("3.5").item(), one.kind) == (3.0, 3.5, Number(1))
    assert (two.encodes([3, 4]).tolist(), two.encodes(np.array([3, 4])).dtype, two.kind) == (
        [3.0, 4.0],
        torch.float32,
        Number(2),
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("cat", "A number was expected as target, got 'cat' of type str"),
        (None, "got None of type NoneType"),
        (float("inf"), "A finite number was expected as target, got inf"),
        ([1.0, 2.0], r"Expected 1 numbers as target, as at first, got 2: \[1.0, 2.0\]"),
    ],
)
def test_a_target_that_is_no_number_is_told(value: Any, words: str) -> None:
    with pytest.raises(LabelError, match=words):
        learnt(RegressionSetup(), [1.0]).encodes(value)
