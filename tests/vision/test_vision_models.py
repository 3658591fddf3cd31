"""A vision model is a body and a head, divides in three, and is built again from its settings without a download."""

from __future__ import annotations

import copy
import json
from itertools import chain

import pytest
import torch
from torch import nn

from flambeau.foundation.errors import ArgumentError
from flambeau.nn.param_groups import freeze_groups, is_norm
from flambeau.train.recipe import describe_model, rebuild_model
from flambeau.vision import architectures
from flambeau.vision.models import (
    VisionModel,
    build_vision_model,
    create_vision_model,
    model_meta,
    require_fitting_head,
    vision_splitter,
)
from flambeau.vision.xresnet import xresnet18, xresnet34


def tiny_network() -> nn.Module:
    convolutions = [nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Conv2d(4, 8, 3, stride=2)]
    return nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1))


def test_the_model_is_its_body_then_its_head() -> None:
    model = create_vision_model(architectures.resnet18, 5, pretrained=False)
    assert model[0] is model.body
    assert model[1] is model.head
    assert model(torch.randn(2, 3, 48, 40)).shape == (2, 5)
    assert not model.pretrained


@pytest.mark.parametrize("arch", [architectures.squeezenet1_1, "convnext_atto", "vit_tiny_patch16_224", xresnet34])
def test_three_groups_hold_each_parameter_once(arch) -> None:
    model = create_vision_model(arch, 2, pretrained=False)
    groups = vision_splitter(model)
    found = [id(parameter) for parameter in chain(*groups)]
    assert len(groups) == 3
    assert sorted(found) == sorted(id(parameter) for parameter in model.parameters())


def test_a_frozen_body_trains_its_head_and_its_norms_only() -> None:
    model = create_vision_model("resnet26d", 2, pretrained=False)
    freeze_groups(vision_splitter(model), -1, model=model)
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    for layer in model.body.modules():
        for parameter in layer.parameters(recurse=False):
            assert (parameter.grad is not None) == is_norm(layer)
    assert all(parameter.grad is not None for parameter in model.head.parameters())


def test_the_head_begins_with_the_wanted_numbers_and_quiet_biases() -> None:
    model = create_vision_model("convnext_atto", 2, pretrained=False, lin_first=True, init=nn.init.ones_)
    linear = [layer for layer in model.head.modules() if isinstance(layer, nn.Linear)]
    assert all(bool((layer.weight == 1).all()) for layer in linear)
    assert not linear[-1].bias.any()


@pytest.mark.parametrize(
    ("arch", "options", "side"),
    [
        (architectures.mobilenet_v2, {"n_in": 1, "ps": 0.1, "y_range": (0, 5)}, 32),
        ("vit_tiny_patch16_224", {"image_size": (64, 64), "lin_ftrs": [20]}, 64),
        (xresnet34, {"cut": -5, "concat_pool": False, "bn_final": True}, 32),
    ],
    ids=["torchvision", "timm", "flambeau"],
)
def test_the_settings_build_the_same_model_again(arch, options: dict, side: int) -> None:
    model = create_vision_model(arch, 4, pretrained=False, **options).eval()
    again = build_vision_model(json.loads(json.dumps(model.settings))).eval()
    again.load_state_dict(model.state_dict())
    pictures = torch.randn(2, options.get("n_in", 3), side, side)
    assert torch.equal(model(pictures), again(pictures))
    assert again.settings == model.settings


def test_the_settings_of_a_plain_xresnet_build_it_too() -> None:
    model = xresnet18(n_out=3)
    assert list(build_vision_model(model.settings).state_dict()) == list(model.state_dict())


@pytest.mark.parametrize(
    "options",
    [
        {"arch": tiny_network},
        {"arch": "resnet26d", "cut": lambda model: nn.Sequential(model.conv1)},
    ],
    ids=["function", "cut function"],
)
def test_what_only_the_callers_code_can_build_has_no_settings(options: dict) -> None:
    model = create_vision_model(n_out=2, pretrained=False, **options)
    assert model.settings is None
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 2)


def test_a_model_without_published_weights_says_so_and_starts_anew(capsys: pytest.CaptureFixture[str]) -> None:
    model = create_vision_model(xresnet18, 2)
    assert not model.pretrained
    assert capsys.readouterr().out == "xresnet18 has no pretrained weights: it starts from random ones.\n"


def test_a_model_can_be_copied_and_sliced() -> None:
    model = create_vision_model("convnext_atto", 2, pretrained=False)
    twin = copy.deepcopy(model)
    assert isinstance(twin, VisionModel)
    assert len(vision_splitter(twin)) == 3
    assert len(model[:1]) == 1


def test_the_splitter_asks_for_another_where_it_cannot_divide() -> None:
    with pytest.raises(ArgumentError, match="got a Linear; pass a splitter of your own"):
        vision_splitter(nn.Linear(2, 2))


def test_the_facts_of_the_book_are_read_off_the_network() -> None:
    meta = model_meta[architectures.resnet18]
    assert meta["cut"] == -2
    assert meta["stats"] == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert model_meta[xresnet18]["cut"] == -4
    assert model_meta[architectures.densenet121]["cut"] == -1


def test_a_custom_head_of_plain_layers_comes_back() -> None:
    model = create_vision_model(
        "resnet18",
        2,
        pretrained=False,
        custom_head=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 2)),
    ).eval()
    described = describe_model(model)
    again = rebuild_model(described, None, model.state_dict()).eval()
    again.load_state_dict(model.state_dict())
    pictures = torch.rand(2, 3, 32, 32)
    assert torch.equal(model(pictures), again(pictures))


def test_trying_a_head_out_changes_neither_statistics_nor_chance() -> None:
    class Draws(nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features.mean((2, 3)) + torch.rand(1)

    head = nn.Sequential(Draws(), nn.BatchNorm1d(512), nn.Linear(512, 2))
    model = create_vision_model("resnet18", 2, pretrained=False, custom_head=head)
    before, chance = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    require_fitting_head(model, (32, 32))
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(layer.training for layer in model.modules())
    assert not any(layer._forward_pre_hooks for layer in model.modules())


@pytest.mark.filterwarnings("error")
def test_a_network_is_built_for_another_size_without_warnings_about_its_arithmetic() -> None:
    model = create_vision_model("swin_tiny_patch4_window7_224", 2, pretrained=False, image_size=(192, 192))
    assert model.body.input_stats.size == (192, 192)


def test_a_slice_of_a_model_is_a_plain_sequential_of_the_same_layers() -> None:
    model = create_vision_model(architectures.resnet18, 2, pretrained=False)
    assert type(model[:1]) is nn.Sequential
    assert type(model[0][2:5]) is nn.Sequential
    assert model[0][2:5][0] is model[0][2]


class OwnHead(nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.mean((2, 3))


def test_a_custom_head_of_foreign_code_is_named() -> None:
    described = describe_model(create_vision_model("resnet18", 2, pretrained=False, custom_head=OwnHead()))
    assert "OwnHead" in described["custom"]
