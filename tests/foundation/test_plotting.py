"""Pictures land on axes with the right colours, in grids of the right shape."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from flambeau.foundation.errors import ShapeError
from flambeau.foundation.plotting import get_grid, show_image, show_images, show_titled_image, subplots


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize(
    ("picture", "shape"),
    [
        (torch.rand(3, 8, 6), (8, 6, 3)),
        (torch.rand(3, 8, 6).half(), (8, 6, 3)),
        (torch.rand(8, 6, 3), (8, 6, 3)),
        (torch.rand(1, 8, 6), (8, 6)),
        (torch.rand(3, 5, 4), (5, 4, 3)),
        (np.zeros((8, 6), dtype=np.uint8), (8, 6)),
        (np.zeros((8, 6, 3), dtype=np.uint8), (8, 6, 3)),
        (Image.new("RGB", (6, 8)), (8, 6, 3)),
    ],
)
def test_channels_come_last_on_the_axes(picture, shape):
    assert show_image(picture).images[0].get_array().shape == shape


def test_grey_pictures_are_grey_unless_told_otherwise():
    assert show_image(torch.rand(8, 8)).images[0].get_cmap().name == "gray"
    assert show_image(torch.rand(8, 8), cmap="Greys").images[0].get_cmap().name == "Greys"


def test_the_axes_given_are_used_and_titled():
    _, axes = subplots()
    assert show_image(torch.rand(8, 8), ctx=axes[0], title="cat") is axes[0]
    assert show_titled_image((torch.rand(8, 8), 3), ax=axes[0]).get_title() == "3"


def test_two_channels_are_refused():
    with pytest.raises(ShapeError, match=r"1, 3 or 4 channels, first or last; got shape \(2, 8, 8\)"):
        show_image(torch.rand(2, 8, 8))


def test_subplots_always_give_an_array_and_three_inches_each():
    figure, axes = subplots(2, 4)
    assert axes.shape == (2, 4)
    assert tuple(figure.get_size_inches()) == (12, 6)
    assert subplots()[1].shape == (1,)


@pytest.mark.parametrize(
    ("options", "rows", "columns"),
    [({}, 3, 4), ({"nrows": 2}, 2, 5), ({"ncols": 3}, 4, 3), ({"nrows": 1, "ncols": 10}, 1, 10)],
)
def test_a_grid_for_ten_is_near_a_square_or_as_wished(options, rows, columns):
    grid = get_grid(10, **options)
    assert len(grid) == 10
    assert grid[0].get_gridspec().get_geometry() == (rows, columns)


def test_a_double_grid_has_pairs():
    assert len(get_grid(3, ncols=1, double=True)) == 6


def test_several_pictures_are_shown_with_their_titles():
    axes = show_images([torch.rand(8, 8)] * 3, titles=["a", "b", "c"])
    assert [ax.get_title() for ax in axes] == ["a", "b", "c"]
