"""After this page you know XResNet: the residual network of 2015 with the repairs of the "bag of tricks" paper.

    pictures ─ 3 small convolutions ─ max pooling ─ stage 1 ─ stage 2 ─ stage 3 ─ stage 4 ─ average ─ dropout ─ linear
    size       1/2                    1/4           1/4       1/8       1/16      1/32      1

Against the ResNet of He et al. 2015 (https://arxiv.org/abs/1512.03385) three things change, all from He et al. 2018
(https://arxiv.org/abs/1812.01187):

- ResNet-C: three 3x3 convolutions look at the picture first, where one 7x7 was; the same view for less work.
- ResNet-D: where the identity path must shrink, it averages 2x2 pixels and then mixes channels, so that no pixel is
  dropped unseen. In the residual path the 3x3 convolution carries the stride.
- The last batch norm of each residual path starts at zero: each block begins as the identity, and depth does no harm.

The variants split the middle convolution into groups (ResNeXt, https://arxiv.org/abs/1611.05431), weigh channels after
a glance at the whole picture (squeeze and excitation, https://arxiv.org/abs/1709.01507), or go on after the fourth
stage with more stages of 256 channels ("deep", "deeper").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import nn

from flambeau.foundation.errors import ArgumentError, unknown_name
from flambeau.nn.blocks import ResBlock, SEBlock, SEResNeXtBlock
from flambeau.nn.init import init_default
from flambeau.nn.layers import Chain, ConvLayer

STAGE_WIDTHS = (64, 128, 256, 512)
FURTHER_STAGE_WIDTH = 256

# what an export may name as act_cls
ACTIVATIONS: tuple[type[nn.Module], ...] = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Identity),
    *(nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Softplus, nn.Softsign, nn.LogSigmoid),
    *(nn.Tanhshrink, nn.Softshrink, nn.Hardshrink),
)


class XResNet(Chain):
    """A residual network: pictures (batch, c_in, height, width) in, (batch, n_out) numbers out.

    `block` builds one residual block, `expansion` 1 gives it two 3x3 convolutions, 4 a bottleneck (1x1, 3x3, 1x1) whose
    ends are four times as wide as its middle. `layers` holds the number of blocks of each stage. `widen` multiplies the
    width of every stage. `sa` ends the fourth stage from last with self-attention. `block_options` go to each block.
    """

    settings: dict[str, Any] | None = None  # the recipe for `build_xresnet`, where the network came from a variant

    def __init__(
        self,
        block: Callable[..., nn.Module],
        expansion: int,
        layers: Sequence[int],
        p: float = 0.0,
        c_in: int = 3,
        n_out: int = 1000,
        stem_szs: Sequence[int] = (32, 32, 64),
        widen: float = 1.0,
        sa: bool = False,
        act_cls: type[nn.Module] = nn.ReLU,
        **block_options: Any,
    ) -> None:
        if len(layers) < 4:
            raise ArgumentError(f"An XResNet has at least 4 stages, got {len(layers)}: layers={list(layers)}.")
        if stem_szs[-1] % expansion:
            raise ArgumentError(f"The last of stem_szs={tuple(stem_szs)} must divide by the expansion, {expansion}.")
        stem_widths = [c_in, *stem_szs]
        stem = [
            ConvLayer(before, after, stride=2 if position == 0 else 1, act_cls=act_cls)
            for position, (before, after) in enumerate(pairwise(stem_widths))
        ]
        widths = [int(width * widen) for width in (*STAGE_WIDTHS, *[FURTHER_STAGE_WIDTH] * (len(layers) - 4))]
        stages = []
        width_before = stem_szs[-1] // expansion  # a block multiplies both its widths by the expansion
        for stage, (n_blocks, width) in enumerate(zip(layers, widths, strict=True)):
            blocks = [
                block(
                    expansion,
                    width_before if position == 0 else width,
                    width,
                    stride=2 if stage > 0 and position == 0 else 1,
                    sa=sa and stage == len(layers) - 4 and position == n_blocks - 1,
                    act_cls=act_cls,
                    **block_options,
                )
                for position in range(n_blocks)
            ]
            stages.append(nn.Sequential(*blocks))
            width_before = width
        super().__init__(
            *stem,
            nn.MaxPool2d(3, stride=2, padding=1),
            *stages,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(p),
            nn.Linear(width_before * expansion, n_out),
        )
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                init_default(layer)


@dataclass(frozen=True)
class XResNetVariant:
    """One named XResNet; call it to build the network with random weights."""

    name: str
    layers: tuple[int, ...]
    expansion: int = 1
    block: Callable[..., nn.Module] = ResBlock
    groups: int = 1
    reduction: int = 0
    p: float = 0.0

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(
        self,
        n_out: int = 1000,
        p: float | None = None,
        c_in: int = 3,
        stem_szs: Sequence[int] = (32, 32, 64),
        widen: float = 1.0,
        sa: bool = False,
        act_cls: type[nn.Module] = nn.ReLU,
        groups: int | None = None,
        reduction: int | None = None,
    ) -> XResNet:
        """Build the network; `groups`, `reduction` and `p` (dropout before the last layer) default to the variant's."""
        options: dict[str, Any] = {
            "n_out": n_out,
            "p": self.p if p is None else p,
            "c_in": c_in,
            "stem_szs": list(stem_szs),
            "widen": widen,
            "sa": sa,
            "groups": self.groups if groups is None else groups,
            "reduction": self.reduction if reduction is None else reduction,
        }
        network = XResNet(self.block, self.expansion, self.layers, act_cls=act_cls, **options)
        if act_cls in ACTIVATIONS:  # an activation of one's own has no name to find it by
            network.settings = {"model": "xresnet", "name": self.name, **options, "act_cls": act_cls.__name__}
        return network


def build_xresnet(settings: Mapping[str, Any]) -> XResNet:
    """Build again the network that `settings` (of an XResNet) describe, with random weights."""
    options = {key: value for key, value in settings.items() if key not in ("model", "name", "act_cls")}
    name, wanted = settings["name"], settings["act_cls"]
    activation = next((known for known in ACTIVATIONS if known.__name__ == wanted), None)
    if name not in XRESNETS:
        raise unknown_name("xresnet", name, XRESNETS)
    if activation is None:
        raise unknown_name("activation of torch.nn", wanted, [known.__name__ for known in ACTIVATIONS])
    return XRESNETS[name](act_cls=activation, **options)


# blocks per stage
R18, R34, R101, R152 = (2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)
R18_DEEP, R34_DEEP = (*R18, 1, 1), (*R34, 1, 1)
R18_DEEPER, R34_DEEPER = (2, 2, 1, 1, 1, 1, 1, 1), (3, 4, 6, 3, 1, 1, 1, 1)

xresnet18 = XResNetVariant("xresnet18", R18)
xresnet34 = XResNetVariant("xresnet34", R34)
xresnet50 = XResNetVariant("xresnet50", R34, 4)
xresnet101 = XResNetVariant("xresnet101", R101, 4)
xresnet152 = XResNetVariant("xresnet152", R152, 4)
xresnet18_deep = XResNetVariant("xresnet18_deep", R18_DEEP)
xresnet34_deep = XResNetVariant("xresnet34_deep", R34_DEEP)
xresnet50_deep = XResNetVariant("xresnet50_deep", R34_DEEP, 4)
xresnet18_deeper = XResNetVariant("xresnet18_deeper", R18_DEEPER)
xresnet34_deeper = XResNetVariant("xresnet34_deeper", R34_DEEPER)
xresnet50_deeper = XResNetVariant("xresnet50_deeper", R34_DEEPER, 4)
xresnext18 = XResNetVariant("xresnext18", R18, block=SEResNeXtBlock, groups=32)
xresnext34 = XResNetVariant("xresnext34", R34, block=SEResNeXtBlock, groups=32)
xresnext50 = XResNetVariant("xresnext50", R34, 4, block=SEResNeXtBlock, groups=32)
xresnext101 = XResNetVariant("xresnext101", R101, 4, block=SEResNeXtBlock, groups=32)
xse_resnet18 = XResNetVariant("xse_resnet18", R18, block=SEBlock, reduction=16)
xse_resnet34 = XResNetVariant("xse_resnet34", R34, block=SEBlock, reduction=16)
xse_resnet50 = XResNetVariant("xse_resnet50", R34, 4, block=SEBlock, reduction=16)
xse_resnet101 = XResNetVariant("xse_resnet101", R101, 4, block=SEBlock, reduction=16)
xse_resnet152 = XResNetVariant("xse_resnet152", R152, 4, block=SEBlock, reduction=16)
xse_resnext18 = XResNetVariant("xse_resnext18", R18, block=SEResNeXtBlock, groups=32, reduction=16)
xse_resnext34 = XResNetVariant("xse_resnext34", R34, block=SEResNeXtBlock, groups=32, reduction=16)
xse_resnext50 = XResNetVariant("xse_resnext50", R34, 4, block=SEResNeXtBlock, groups=32, reduction=16)
xse_resnext101 = XResNetVariant("xse_resnext101", R101, 4, block=SEResNeXtBlock, groups=32, reduction=16)
xsenet154 = XResNetVariant("xsenet154", R152, 4, block=SEBlock, groups=64, reduction=16, p=0.2)
xse_resnext18_deep = XResNetVariant("xse_resnext18_deep", R18_DEEP, block=SEResNeXtBlock, groups=32, reduction=16)
xse_resnext34_deep = XResNetVariant("xse_resnext34_deep", R34_DEEP, block=SEResNeXtBlock, groups=32, reduction=16)
xse_resnext50_deep = XResNetVariant("xse_resnext50_deep", R34_DEEP, 4, block=SEResNeXtBlock, groups=32, reduction=16)
xse_resnext18_deeper = XResNetVariant("xse_resnext18_deeper", R18_DEEPER, block=SEResNeXtBlock, groups=32, reduction=16)
xse_resnext34_deeper = XResNetVariant("xse_resnext34_deeper", R34_DEEPER, block=SEResNeXtBlock, groups=32, reduction=16)
xse_resnext50_deeper = XResNetVariant(
    "xse_resnext50_deeper", R34_DEEPER, 4, block=SEResNeXtBlock, groups=32, reduction=16
)

XRESNETS = {value.name: value for value in tuple(globals().values()) if isinstance(value, XResNetVariant)}
