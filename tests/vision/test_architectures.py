"""An architecture is found by name, by its object or by a function; nothing heavy is imported before it is called."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import timm
import torch
import torchvision
from torch import nn

from flambeau.foundation.errors import ArgumentError, UnknownNameError
from flambeau.vision import architectures
from flambeau.vision.architectures import (
    Architecture,
    InputStats,
    available_architectures,
    find_architecture,
    resnet18,
    squeezenet1_1,
    vit_b_16,
)
from flambeau.vision.xresnet import xresnet34

NAMED = [value for value in vars(architectures).values() if isinstance(value, Architecture)]


def tiny_network(pretrained: bool = False) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4 if pretrained else 2, 3))


def test_importing_the_names_imports_neither_torchvision_nor_timm() -> None:
    code = "import sys, flambeau.vision.models; print([n for n in ('torchvision', 'timm') if n in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == "[]"


def test_every_named_architecture_is_known_to_torchvision_under_its_own_name() -> None:
    assert {arch.name for arch in NAMED} <= set(torchvision.models.list_models(module=torchvision.models))
    assert all(getattr(architectures, arch.name) is arch for arch in NAMED)
    assert resnet18.__name__ == "resnet18"


def test_calling_an_architecture_builds_the_network_with_its_classifier() -> None:
    assert squeezenet1_1(num_classes=7)(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


@pytest.mark.parametrize(
    ("given", "name", "source"),
    [
        (resnet18, "resnet18", "torchvision"),
        (torchvision.models.resnet50, "resnet50", "torchvision"),
        ("resnet18", "resnet18", "timm"),
        ("resnet26d", "resnet26d", "timm"),
        ("convnext_atto.d2_in1k", "convnext_atto.d2_in1k", "timm"),
        ("mobilenet_v2", "mobilenet_v2", "torchvision"),
        (timm.models.resnet26d, "resnet26d", "timm"),
        (xresnet34, "xresnet34", "flambeau"),
        ("xresnet50_deep", "xresnet50_deep", "flambeau"),
        (tiny_network, "tiny_network", "function"),
    ],
)
def test_an_architecture_is_found(given: object, name: str, source: str) -> None:
    found = find_architecture(given)
    assert (found.name, found.source) == (name, source)


@pytest.mark.parametrize(
    ("old", "current"),
    [
        ("convnext_small_in22k", "convnext_small.fb_in22k"),
        ("convnext_large_in22k", "convnext_large.fb_in22k"),
        ("vit_large_patch16_224", "vit_large_patch16_224"),
        ("swinv2_large_window12_192_22k", "swinv2_large_window12_192.ms_in22k"),
        ("swin_large_patch4_window7_224", "swin_large_patch4_window7_224"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_the_names_of_the_course_still_work_without_a_warning(old: str, current: str) -> None:
    found = find_architecture(old)
    assert found == Architecture(current, "timm")
    assert found.has_weights


def test_an_unknown_name_proposes_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no architecture 'resnte34'.*'resnet34'"):
        find_architecture("resnte34")
    with pytest.raises(UnknownNameError, match=r"no set of weights 'convnext_atto\.d3_in1k'.*'convnext_atto\.d2_in1k'"):
        find_architecture("convnext_atto.d3_in1k")


def test_a_built_network_is_no_architecture() -> None:
    with pytest.raises(ArgumentError, match=r"got a Linear.*Learner\(dls, model\)"):
        find_architecture(nn.Linear(2, 2))


def test_available_architectures_match_a_pattern_across_libraries() -> None:
    assert available_architectures("*lite0") == ["efficientnet_lite0", "tf_efficientnet_lite0"]
    assert available_architectures("squeezenet*") == ["squeezenet1_0", "squeezenet1_1"]
    assert available_architectures("xresnet18*") == ["xresnet18", "xresnet18_deep", "xresnet18_deeper"]


def test_input_stats_come_from_the_library_that_trained_the_network() -> None:
    half = (0.5, 0.5, 0.5)
    assert find_architecture("tf_efficientnet_lite0").input_stats() == InputStats(half, half, (224, 224), "bicubic")
    assert find_architecture("swinv2_tiny_window8_256").input_stats().size == (256, 256)
    assert vit_b_16.input_stats() == InputStats(fixed_size=True)
    assert resnet18.input_stats() == InputStats((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (224, 224), "bilinear")
    assert find_architecture(tiny_network).input_stats() == InputStats()


def test_a_function_is_asked_for_pretrained_weights_if_it_can_be() -> None:
    arch = find_architecture(tiny_network)
    assert arch.has_weights
    assert arch(pretrained=True)[0].out_channels == 4
    with pytest.raises(ArgumentError, match=r"xresnet34 has no published weights; pass weights=FILE"):
        find_architecture(xresnet34)(pretrained=True)
