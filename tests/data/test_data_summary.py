"""The summary of a block walks one item and one batch aloud and stops where a mistake is."""

from __future__ import annotations

import pytest
import torch

from flambeau.data.block import CategoryBlock, DataBlock, RegressionBlock, TransformBlock
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.dataset import Datasets
from flambeau.data.loaders import DataLoader
from flambeau.data.splitters import IndexSplitter
from flambeau.data.summary import told
from flambeau.foundation.errors import ArgumentError, CollateError, DataError, EmptyError
from flambeau.vision.tensor_types import TensorImage


def test_values_are_told_in_few_words() -> None:
    assert told(torch.zeros(2, 3)) == "tensor (2, 3) float32"
    assert told((torch.tensor(3), "a")) == "(3, 'a')"
    assert len(told("a" * 500)) == 120


def test_each_stage_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    parity = ["even", "odd"] * 5
    get_y = parity.__getitem__
    block = DataBlock((RegressionBlock, CategoryBlock), get_x=float, get_y=get_y, splitter=IndexSplitter([0]))
    block.summary(list(range(9)), bs=3)
    said = capsys.readouterr().out
    assert "9 items, 8 for training, 1 for validation" in said
    assert "float                    -> 1.0" in said
    assert "Categorize               -> 1" in said
    assert "collated                 -> (tensor (3,) float32, tensor (3,) int64)" in said


def test_a_transform_that_fails_stops_the_walk_with_the_name_of_the_item(capsys: pytest.CaptureFixture[str]) -> None:
    block = DataBlock((TransformBlock(type_tfms=[float, len]), RegressionBlock), splitter=IndexSplitter([0]))
    with pytest.raises(DataError, match=r"Reading 2 failed: TypeError: object of type 'float' has no len"):
        block.summary([1, 2, 3, 4], bs=2)
    assert "float                    -> 2.0" in capsys.readouterr().out


def test_a_block_that_cannot_be_collated_stops_there(capsys: pytest.CaptureFixture[str]) -> None:
    block = DataBlock((TransformBlock, RegressionBlock), get_x=torch.zeros, splitter=IndexSplitter([0]))
    with pytest.raises(CollateError, match="differ in shape in column 0"):
        block.summary([1, 2, 3, 4], bs=2)
    assert "One batch of 2" in capsys.readouterr().out


def test_loaders_tell_each_stage_with_the_transforms_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    parity = ["even", "odd"] * 5
    get_y = parity.__getitem__
    block = DataBlock((RegressionBlock, CategoryBlock), get_x=float, get_y=get_y, splitter=IndexSplitter([0]))
    dls = block.dataloaders([0, 1, 2, 3, 4], bs=3, shuffle=False, device="cpu")
    dls.add_tfms(doubled)
    dls.summary()
    said = capsys.readouterr().out
    stages = ["One item", "column 0 (input)", "float", "column 1 (target)", "Categorize", "No item transforms"]
    stages += ["One batch of 3", "collated", "doubled"]
    assert sorted(said.index(words) for words in stages) == [said.index(words) for words in stages]
    assert "One item\n  1\n" in said
    assert "float                    -> 1.0" in said
    assert "collated                 -> (tensor (3,) float32, tensor (3,) int64)" in said
    assert dls.train.epoch == 0


def doubled(x: TensorImage) -> TensorImage:
    return x * 2  # type: ignore[return-value]


def test_loaders_of_plain_data_sets_tell_their_item_and_batch(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [(torch.full((2,), 3.0), 1)] * 6
    DataLoaders.from_dsets(pairs, bs=2, item_tfms=lambda x: x * 2, device="cpu", shuffle=False).summary()
    said = capsys.readouterr().out
    assert "item 0 of a list -> (tensor (2,) float32, 1)" in said
    assert "-> (tensor (2,) float32, 2)" in said
    assert "-> (tensor (2, 2) float32, tensor (2,) int64)" in said


def test_loaders_that_are_not_flambeaus_or_have_no_items_tell_so() -> None:
    with pytest.raises(ArgumentError, match="training loader is a list, which does not know what its columns are"):
        DataLoaders([(torch.zeros(4, 2), torch.zeros(4))], device="cpu").summary()
    with pytest.raises(EmptyError, match="no items to walk through; a loaded learner has none"):
        DataLoaders(DataLoader(Datasets.template([], [], 1, 2), 4)).summary()
