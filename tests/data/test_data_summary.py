"""The summary of a block walks one item and one batch aloud and stops where a mistake is."""

from __future__ import annotations

import pytest
import torch

from flambeau.data.block import CategoryBlock, DataBlock, RegressionBlock, TransformBlock
from flambeau.data.splitters import IndexSplitter
from flambeau.data.summary import told
from flambeau.foundation.errors import CollateError, DataError


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
