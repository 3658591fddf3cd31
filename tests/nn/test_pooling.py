"""After this page you know what pooling keeps, and that enlarging begins without a checkerboard."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flambeau.nn.layers import NormType
from flambeau.nn.pooling import (
    AdaptiveConcatPool1d,
    AdaptiveConcatPool2d,
    AvgPool,
    MaxPool,
    PixelShuffle_ICNR,
    PoolFlatten,
    PoolType,
    icnr_init,
)


def test_concat_pool_puts_the_maximum_before_the_average() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    assert AdaptiveConcatPool2d()(x).flatten().tolist() == [6.0, 3.0]
    assert AdaptiveConcatPool2d(2)(x).shape == (1, 2, 2, 2)


def test_concat_pool_over_time() -> None:
    assert AdaptiveConcatPool1d()(torch.tensor([[[1.0, 5.0]]])).flatten().tolist() == [5.0, 3.0]


@pytest.mark.parametrize("pool_type, expected", [("Avg", [2.0]), ("Max", [3.0]), (PoolType.Cat, [3.0, 2.0])])
def test_pool_flatten_gives_one_vector_per_picture(pool_type: str, expected: list[float]) -> None:
    assert PoolFlatten(pool_type)(torch.tensor([[[[1.0, 3.0]]]])).tolist() == [expected]


def test_pools_are_made_for_any_dimension() -> None:
    assert isinstance(AvgPool(ndim=1), nn.AvgPool1d)
    assert MaxPool(2, ndim=2, ceil_mode=True)(torch.zeros(1, 1, 5, 5)).shape == (1, 1, 3, 3)


def test_icnr_makes_neighbouring_pixels_alike() -> None:
    weight = icnr_init(torch.empty(8, 3, 1, 1))
    enlarged = nn.functional.pixel_shuffle(nn.functional.conv2d(torch.randn(1, 3, 2, 2), weight), 2)
    torch.testing.assert_close(enlarged[..., ::2, ::2], enlarged[..., 1::2, 1::2])
    assert not torch.equal(weight[0], weight[4])


@pytest.mark.parametrize("norm_type", [NormType.Weight, NormType.Batch, None])
def test_pixel_shuffle_begins_as_a_nearest_resize(norm_type: NormType | None) -> None:
    layer = PixelShuffle_ICNR(4, 2, norm_type=norm_type).eval()
    output = layer(torch.randn(1, 4, 3, 5))
    assert output.shape == (1, 2, 6, 10)
    torch.testing.assert_close(output[..., ::2, ::2], output[..., 1::2, 1::2])
    assert output.abs().sum() > 0


def test_blur_keeps_the_enlarged_size() -> None:
    assert PixelShuffle_ICNR(4, blur=True, scale=3)(torch.zeros(1, 4, 2, 2)).shape == (1, 4, 6, 6)
