"""A head has fastai's layers in fastai's order, and takes maps and pooled features alike."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from flambeau.foundation.errors import ArgumentError
from flambeau.vision.heads import create_head


def leaves(head: nn.Module) -> list[nn.Module]:
    return [layer for layer in head.modules() if not isinstance(layer, nn.Sequential) and not list(layer.children())]


def names(head: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in head.children()]


def test_the_default_head_is_the_one_of_the_book() -> None:
    head = create_head(512, 10)
    assert names(head) == [
        "AdaptiveConcatPool2d", "Flatten",
        "BatchNorm1d", "Dropout", "Linear", "ReLU",
        "BatchNorm1d", "Dropout", "Linear",
    ]  # fmt: skip
    assert [(layer.in_features, layer.out_features) for layer in leaves(head) if isinstance(layer, nn.Linear)] == [
        (1024, 512),
        (512, 10),
    ]
    assert [layer.p for layer in leaves(head) if isinstance(layer, nn.Dropout)] == [0.25, 0.5]
    assert all(layer.bias is None for layer in leaves(head) if isinstance(layer, nn.Linear))


def test_the_head_pools_maximum_first_and_average_second() -> None:
    features = torch.arange(8.0).view(1, 2, 2, 2)
    pooled = create_head(2, 3)[:2](features)
    assert pooled.tolist() == [[3.0, 7.0, 1.5, 5.5]]


@pytest.mark.parametrize("features", [torch.randn(4, 6, 3, 5), torch.randn(4, 6)])
def test_maps_and_pooled_features_give_one_row_a_picture(features: Tensor) -> None:
    head = create_head(6, 3, pool=features.ndim == 4)
    assert head(features).shape == (4, 3)


def test_without_the_concatenation_the_features_stay_as_many() -> None:
    head = create_head(6, 3, concat_pool=False, lin_ftrs=[5, 4], ps=[0.1, 0.2, 0.3], first_bn=False)
    assert names(head)[:2] == ["AdaptiveAvgPool2d", "Flatten"]
    assert names(head)[2:5] == ["Dropout", "Linear", "ReLU"]
    assert [layer.in_features for layer in leaves(head) if isinstance(layer, nn.Linear)] == [6, 5, 4]
    assert [layer.p for layer in leaves(head) if isinstance(layer, nn.Dropout)] == [0.1, 0.2, 0.3]


def test_linear_first_ends_in_a_plain_linear_layer() -> None:
    head = create_head(6, 3, lin_first=True)
    assert names(head) == [
        "AdaptiveConcatPool2d", "Flatten", "Dropout", "Linear", "ReLU", "BatchNorm1d", "Dropout", "Linear",
    ]  # fmt: skip
    assert head(torch.randn(2, 6, 2, 2)).shape == (2, 3)


def test_the_final_norm_and_the_range_come_last() -> None:
    head = create_head(6, 2, bn_final=True, y_range=(-1, 1))
    assert names(head)[-2:] == ["BatchNorm1d", "SigmoidRange"]
    assert head[-2].momentum == 0.01
    assert head(torch.randn(8, 6, 2, 2) * 100).abs().max() < 1


def test_a_wrong_number_of_dropouts_is_explained() -> None:
    with pytest.raises(ArgumentError, match="ps holds 3 dropout probabilities for 2 linear layers"):
        create_head(6, 2, ps=[0.1, 0.2, 0.3])
