"""After this page you know how a feature map becomes a vector, and how a small map becomes a larger one."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from flambeau.nn.init import InitFunction
from flambeau.nn.layers import ActivationClass, Chain, ConvLayer, Flatten, NormType, _by_ndim


class AdaptiveConcatPool1d(nn.Module):
    """Join the maximum and the average over time: `(batch, c, steps)` to `(batch, 2c, size)`, the maxima first."""

    def __init__(self, size: int | None = None) -> None:
        super().__init__()
        self.size = size or 1
        self.ap, self.mp = nn.AdaptiveAvgPool1d(self.size), nn.AdaptiveMaxPool1d(self.size)

    def forward(self, x: Tensor) -> Tensor:
        """Return maxima and averages."""
        return torch.cat([self.mp(x), self.ap(x)], 1)


class AdaptiveConcatPool2d(nn.Module):
    """Join the maximum and the average over pictures: `(batch, c, h, w)` to `(batch, 2c, size, size)`, maxima first."""

    def __init__(self, size: int | None = None) -> None:
        super().__init__()
        self.size = size or 1
        self.ap, self.mp = nn.AdaptiveAvgPool2d(self.size), nn.AdaptiveMaxPool2d(self.size)

    def forward(self, x: Tensor) -> Tensor:
        """Return maxima and averages."""
        return torch.cat([self.mp(x), self.ap(x)], 1)


class PoolType(StrEnum):
    """Name a pooling over the whole picture; `Cat` doubles the channels."""

    Avg = "Avg"
    Max = "Max"
    Cat = "Cat"


def adaptive_pool(pool_type: str) -> type[nn.Module]:
    """Return the pooling layer for a `PoolType`."""
    pools: dict[PoolType, type[nn.Module]] = {
        PoolType.Avg: nn.AdaptiveAvgPool2d,
        PoolType.Max: nn.AdaptiveMaxPool2d,
        PoolType.Cat: AdaptiveConcatPool2d,
    }
    return pools[PoolType(pool_type)]


class PoolFlatten(Chain):
    """Pool a feature map to one pixel and flatten: `(batch, c, h, w)` to `(batch, c)`."""

    def __init__(self, pool_type: str = PoolType.Avg) -> None:
        make: Any = adaptive_pool(pool_type)
        super().__init__(make(1), Flatten())


def AvgPool(
    ks: int = 2, stride: int | None = None, padding: int = 0, ndim: int = 2, ceil_mode: bool = False
) -> nn.Module:
    """Make an average pooling for sequences, pictures or volumes."""
    pool: nn.Module = _by_ndim("AvgPool", ndim)(ks, stride=stride, padding=padding, ceil_mode=ceil_mode)
    return pool


def MaxPool(
    ks: int = 2, stride: int | None = None, padding: int = 0, ndim: int = 2, ceil_mode: bool = False
) -> nn.Module:
    """Make a maximum pooling for sequences, pictures or volumes."""
    pool: nn.Module = _by_ndim("MaxPool", ndim)(ks, stride=stride, padding=padding, ceil_mode=ceil_mode)
    return pool


def icnr_init(x: Tensor, scale: int = 2, init: InitFunction = nn.init.kaiming_normal_) -> Tensor:
    """Draw a weight `(out, in, h, w)` whose `scale**2` neighbours begin alike: no checkerboard shows (Aitken 2017)."""
    n_out, n_in, height, width = x.shape
    kernel = torch.empty(n_out // scale**2, n_in, height, width, dtype=x.dtype, device=x.device)
    init(kernel)
    return kernel.repeat_interleave(scale**2, dim=0)


class PixelShuffle_ICNR(Chain):
    """Enlarge a feature map `scale` times: a 1x1 convolution makes the new pixels, a shuffle lays them out (Shi 2016).

    `(batch, ni, h, w)` to `(batch, nf, scale h, scale w)`; `blur` averages neighbours afterwards (Sugawara 2018).
    """

    def __init__(
        self,
        ni: int,
        nf: int | None = None,
        scale: int = 2,
        blur: bool = False,
        norm_type: NormType | None = NormType.Weight,
        act_cls: ActivationClass | None = nn.ReLU,
    ) -> None:
        nf = ni if nf is None else nf
        enlarge = ConvLayer(ni, nf * scale**2, ks=1, norm_type=norm_type, act_cls=act_cls, bias_std=0)
        conv: Any = enlarge[0]
        with torch.no_grad():
            if parametrize.is_parametrized(conv, "weight"):
                conv.weight = icnr_init(conv.weight, scale)
            else:
                conv.weight.copy_(icnr_init(conv.weight, scale))
        layers: list[nn.Module] = [enlarge, nn.PixelShuffle(scale)]
        if blur:
            layers += [nn.ReplicationPad2d((1, 0, 1, 0)), nn.AvgPool2d(2, stride=1)]
        super().__init__(*layers)
