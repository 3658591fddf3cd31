"""XResNet has the stem, the shortcuts and the quiet beginning of the "bag of tricks", and is built again from JSON."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from flambeau.foundation.errors import ArgumentError
from flambeau.nn.blocks import ResBlock
from flambeau.vision.xresnet import XRESNETS, XResNet, build_xresnet, xresnet18, xresnet34, xresnet50, xse_resnext50


def n_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def conv_bn(n_in: int, n_out: int, side: int) -> int:
    """Count the numbers of a convolution without bias and its batch norm."""
    return n_in * n_out * side**2 + 2 * n_out


def test_the_parameters_of_xresnet18_are_those_of_the_paper() -> None:
    stem = conv_bn(3, 32, 3) + conv_bn(32, 32, 3) + conv_bn(32, 64, 3)
    stages, before = 0, 64
    for width in (64, 128, 256, 512):
        shortcut = conv_bn(before, width, 1) if before != width else 0
        stages += conv_bn(before, width, 3) + 3 * conv_bn(width, width, 3) + shortcut
        before = width
    assert n_parameters(xresnet18()) == stem + stages + 512 * 1000 + 1000 == 11_708_744


def test_the_larger_ones_weigh_what_resnets_weigh() -> None:
    assert n_parameters(xresnet34()) == pytest.approx(21_797_672, rel=0.001)  # ResNet-34
    assert n_parameters(xresnet50()) == pytest.approx(25_557_032, rel=0.001)  # ResNet-50


def test_the_stem_has_three_small_convolutions_of_which_the_first_halves() -> None:
    stem = [layer[0] for layer in xresnet18()[:3]]
    assert [(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride) for conv in stem] == [
        (3, 32, (3, 3), (2, 2)),
        (32, 32, (3, 3), (1, 1)),
        (32, 64, (3, 3), (1, 1)),
    ]


def test_each_block_begins_as_its_shortcut() -> None:
    model = xresnet50(n_out=2)
    blocks = [module for module in model.modules() if isinstance(module, ResBlock)]
    assert len(blocks) == 3 + 4 + 6 + 3
    assert all(not block.convpath[-1][-1].weight.any() for block in blocks)
    features = torch.rand(1, 256, 8, 8)
    assert torch.allclose(blocks[1].eval()(features), features, atol=2e-3)


def test_the_shortcut_averages_before_it_mixes_channels() -> None:
    shrinking = xresnet18()[5][0].idpath
    assert isinstance(shrinking[0], nn.AvgPool2d)
    assert shrinking[1][0].kernel_size == (1, 1)


@pytest.mark.parametrize("name", [name for name in XRESNETS if not name.endswith(("101", "152", "154"))])
def test_every_variant_looks_at_pictures(name: str) -> None:
    assert XRESNETS[name](n_out=3, c_in=1)(torch.randn(2, 1, 32, 32)).shape == (2, 3)


def test_the_settings_build_the_same_network_again() -> None:
    model = xse_resnext50(n_out=3, widen=0.5, sa=True, act_cls=nn.Mish, stem_szs=(8, 8, 16))
    again = build_xresnet(json.loads(json.dumps(model.settings)))
    again.load_state_dict(model.state_dict())
    pictures = torch.randn(2, 3, 32, 32)
    assert torch.equal(model.eval()(pictures), again.eval()(pictures))


def test_an_activation_of_ones_own_cannot_be_written_down() -> None:
    class Square(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * x

    assert xresnet18(act_cls=Square).settings is None


def test_impossible_shapes_are_explained() -> None:
    with pytest.raises(ArgumentError, match="at least 4 stages, got 3"):
        XResNet(ResBlock, 1, [2, 2, 2])
    with pytest.raises(ArgumentError, match=r"stem_szs=\(8, 8, 9\) must divide by the expansion, 4"):
        xresnet50(stem_szs=(8, 8, 9))
