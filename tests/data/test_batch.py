"""Samples become batches of plain tensors; what does not stack is told by name."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
import torch

from flambeau.data.batch import Batch, as_batch, collate, item_of, to_tensor
from flambeau.data.kinds import Category, Kind, Number, Picture, Plain
from flambeau.foundation.errors import CollateError

Pair = namedtuple("Pair", ["left", "right"])


def test_samples_are_stacked_column_by_column() -> None:
    batch = collate([(torch.zeros(2), 1), (torch.ones(2), 0)], [Plain(), Category(("a", "b"))], indices=[4, 7])
    x, y = batch
    assert x.tolist() == [[0, 0], [1, 1]]
    assert (y.tolist(), y.dtype) == ([1, 0], torch.int64)
    assert (len(batch.inputs), len(batch.targets), batch.n_items, batch.indices) == (1, 1, 2, [4, 7])


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (True, torch.int64),
        (3, torch.int64),
        (np.int32(3), torch.int64),
        (0.5, torch.float32),
        (np.float64(0.5), torch.float32),
        (np.zeros(2), torch.float32),
        (np.zeros(2, dtype=np.uint8), torch.uint8),
        (np.zeros(2, dtype=np.int64), torch.int64),
    ],
)
def test_numbers_and_arrays_become_tensors(value: object, dtype: torch.dtype) -> None:
    assert to_tensor(value).dtype == dtype


@pytest.mark.filterwarnings("error")
def test_arrays_that_are_read_only_or_turned_become_tensors_without_a_warning() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::-1]
    array.flags.writeable = False
    assert to_tensor(array).tolist() == [[2, 1, 0], [5, 4, 3]]


def test_words_stay_a_list_and_dictionaries_are_stacked_by_key() -> None:
    batch = collate([({"ids": torch.zeros(3), "text": "a"}, "x"), ({"ids": torch.ones(3), "text": "b"}, "y")])
    assert batch[0]["ids"].shape == (2, 3)
    assert batch[0]["text"] == ["a", "b"]
    assert batch[1] == ["x", "y"]
    assert batch.n_items == 2


def test_a_column_of_tuples_is_one_column_in_parts() -> None:
    batch = collate([((torch.zeros(3), 1), 0), ((torch.ones(3), 2), 1), ((torch.ones(3), 3), 1)])
    assert [part.shape for part in batch[0]] == [(3, 3), (3,)]
    assert batch.n_items == 3
    taken = batch.take([2, 0])
    assert taken[0][1].tolist() == [3, 1]
    assert taken[1].tolist() == [1, 0]
    assert item_of(batch[0], 1)[1] == 2


def test_taking_a_slice_or_places_keeps_columns_and_indices_together() -> None:
    batch = Batch((torch.arange(4), {"words": ["a", "b", "c", "d"]}), indices=[9, 8, 7, 6])
    assert batch.take(slice(1, 3))[1] == {"words": ["b", "c"]}
    assert batch.take([3, 0]).indices == [6, 9]
    assert batch.take([3, 0])[0].tolist() == [3, 0]


def test_a_plain_batch_gets_its_last_column_as_target() -> None:
    assert len(as_batch((1, 2, 3)).targets) == 1
    assert len(as_batch((1, 2, 3), 1).targets) == 2
    assert len(as_batch(torch.zeros(2)).targets) == 0
    assert len(as_batch([torch.zeros(2)]).targets) == 0


def test_columns_that_nobody_described_are_plain() -> None:
    batch = Batch((torch.zeros(1),), (torch.zeros(1),), (Picture(),))
    assert batch.all_kinds == (Picture(), Plain())
    seen: list[Kind] = []
    batch.map(lambda value, kind: seen.append(kind))
    assert seen == [Picture(), Plain()]


def test_moving_reaches_into_nested_columns_and_keeps_named_tuples() -> None:
    batch = Batch((Pair(torch.zeros(1), "word"), {"a": [torch.zeros(1)]})).to("meta")
    assert batch[0].left.device.type == "meta"
    assert batch[1]["a"][0].device.type == "meta"
    assert isinstance(batch[0], Pair)


def test_pictures_of_different_sizes_ask_for_a_resize_and_name_both() -> None:
    samples = [(torch.zeros(3, 4, 4), 0), (torch.zeros(3, 4, 4), 0), (torch.zeros(3, 5, 4), 1)]
    with pytest.raises(CollateError) as error:
        collate(samples, [Picture(), Number()], names=lambda place: f"file{place}.png")
    assert "(3, 4, 4) for file0.png, but (3, 5, 4) for file2.png" in str(error.value)
    assert "item_tfms=Resize(224)" in str(error.value)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ([(1, 2), (1,)], "2 for item 0 of the batch, but 1 for item 1"),
        ([(1,), ("one",)], r"holds a int for item 0 of the batch and a str \('one'\) for item 1"),
        ([(torch.zeros(1),), (None,)], r"a Tensor for item 0 of the batch and a NoneType"),
        ([({"a": 1},), ({"b": 1},)], "dictionaries in column 0 of a batch differ: 'a' .* but 'b'"),
        ([((1, 2),), ((1,),)], "tuples in column 0 of a batch differ in length"),
        ([(torch.zeros(2),), (torch.zeros(3),)], "Pad or cut them to one length"),
    ],
)
def test_samples_that_do_not_stack_are_told(samples: list[tuple[object, ...]], words: str) -> None:
    with pytest.raises(CollateError, match=words):
        collate(samples)
