"""Samples are drawn by what their columns are; without a picture they are a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from flambeau.data.block import CategoryBlock, DataBlock
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.kinds import Category, Kind, Mask, Number, Picture, Points, Text
from flambeau.data.show import as_table, grid, show_results, show_samples
from flambeau.data.splitters import IndexSplitter
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError
from flambeau.vision.augment import aug_transforms
from flambeau.vision.blocks import ImageBlock
from flambeau.vision.resize import Resize

PICTURE, MASK = torch.rand(3, 6, 8), torch.zeros(6, 8, dtype=torch.int64)
CLASS = Category(("cat", "dog"))


@pytest.fixture(autouse=True)
def _close_figures() -> Any:
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [((5,), (2, 3)), ((4, 1), (1, 4)), ((4, None, 1), (4, 1)), ((4, 2, 2), (2, 2)), ((2, 1, 2, None, 2), (1, 4))],
)
def test_a_grid_is_as_square_as_may_be(arguments: tuple[Any, ...], shape: tuple[int, int]) -> None:
    axes = grid(*arguments)
    geometry = axes[0].get_gridspec()
    assert (geometry.nrows, geometry.ncols) == shape
    with pytest.raises(ArgumentError, match="nothing to draw"):
        grid(0)


def test_pictures_carry_their_label_as_title_and_their_mask_on_top() -> None:
    drawing = show_samples([(PICTURE, MASK, 1)] * 2, [Picture(), Mask(("a", "b")), CLASS])
    assert isinstance(drawing, Drawing)
    assert [(len(ax.images), ax.get_title()) for ax in drawing.axes] == [(2, "dog"), (2, "dog")]


def test_two_pictures_stand_side_by_side() -> None:
    drawing = show_samples([(PICTURE, PICTURE, 0)] * 2, [Picture(), Picture(), CLASS], nrows=1)
    assert isinstance(drawing, Drawing)
    assert [len(ax.images) for ax in drawing.axes] == [1] * 4


def test_samples_without_a_picture_are_a_table() -> None:
    table = show_samples([("words", 1), ("more", 0)], [Text(), CLASS])
    assert table.values.tolist() == [["words", "dog"], ["more", "cat"]]  # type: ignore[union-attr]
    assert as_table([(1.0,)], [Number()]).values.tolist() == [["1"]]


def test_results_say_both_labels_and_mark_the_wrong_ones() -> None:
    drawing = show_results([(PICTURE,)] * 2, [(0,), (1,)], [(0,), (0,)], [Picture()], [CLASS], ["", "0.9"])
    assert isinstance(drawing, Drawing)
    assert [ax.get_title() for ax in drawing.axes[:2]] == ["cat\ncat", "dog\ncat\n0.9"]
    assert len({ax.title.get_color() for ax in drawing.axes[:2]}) == 2


@pytest.mark.parametrize(
    ("kind", "value", "n_axes"),
    [(Mask(("a", "b")), MASK, 2), (Points(), torch.zeros(2, 2), 2), (Picture(), PICTURE, 4)],
)
def test_drawn_targets_stand_beside_their_predictions(kind: Kind, value: Any, n_axes: int) -> None:
    drawing = show_results([(PICTURE,)], [(value,)], [(value,)], [Picture()], [kind])
    assert isinstance(drawing, Drawing)
    assert len(drawing.axes) == n_axes


def test_results_without_a_picture_are_a_table_and_a_grid_limits_them() -> None:
    table = show_results([("a",)] * 3, [(0,)] * 3, [(1,)] * 3, [Text()], [CLASS])
    assert list(table.columns) == ["input 1", "actual", "predicted"]  # type: ignore[union-attr]
    drawing = show_results([(PICTURE,)] * 5, [(0,)] * 5, [(1,)] * 5, [Picture()], [CLASS], nrows=1, ncols=2)
    assert isinstance(drawing, Drawing)
    assert len(drawing.axes) == 2


@pytest.fixture
def dls(tmp_path: Path) -> DataLoaders:
    """Return loaders of grey pictures, each of another grey."""
    files = []
    for place in range(12):
        files.append(tmp_path / f"{'ab'[place % 2]}{place}.png")
        PIL.Image.fromarray(np.full((12, 12, 3), place * 20, dtype=np.uint8)).save(files[-1])
    block = DataBlock(
        (ImageBlock, CategoryBlock),
        get_y=lambda path: path.name[0],
        splitter=IndexSplitter([10, 11]),
        item_tfms=Resize(8),
        batch_tfms=aug_transforms(max_lighting=0.9, p_lighting=1.0),
    )
    return block.dataloaders(files, bs=5, device="cpu")


def titles(drawing: Any) -> list[str]:
    """Return the titles of the drawn samples."""
    return [ax.get_title() for ax in drawing.axes if ax.images]


def test_a_batch_of_either_half_is_shown(dls: DataLoaders) -> None:
    assert titles(dls.valid.show_batch()) == ["a", "b"]
    assert len(titles(dls.show_batch(max_n=4, nrows=1))) == 4
    assert len(titles(dls.train.show_batch(nrows=1, ncols=3))) == 3
    assert titles(dls.valid.show_batch(dls.valid.one_batch(), max_n=1)) == ["a"]


def test_unique_shows_one_item_under_different_augmentation(dls: DataLoaders) -> None:
    drawing = dls.train.show_batch(max_n=4, nrows=1, unique=True)
    means = {float(np.asarray(ax.images[0].get_array()).mean()) for ax in drawing.axes if ax.images}
    assert len(set(titles(drawing))) == 1
    assert len(means) > 1
