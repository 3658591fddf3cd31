"""After this page you know the blocks that networks repeat: shortcuts around convolutions, and joins of two paths."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.foundation.errors import ArgumentError
from flambeau.nn.attention import SimpleSelfAttention
from flambeau.nn.layers import ActivationClass, Chain, ConvLayer, NormType
from flambeau.nn.pooling import AvgPool, PoolFlatten


class MergeLayer(nn.Module):
    """Merge a path with its beginning inside `SequentialEx`: add them, or join their channels with `dense`."""

    def __init__(self, dense: bool = False) -> None:
        super().__init__()
        self.dense = dense

    def forward(self, x: Tensor, original: Tensor) -> Tensor:
        """Return both merged."""
        return torch.cat([x, original], dim=1) if self.dense else x + original


class ProdLayer(nn.Module):
    """Multiply a path with its beginning inside `SequentialEx`."""

    def forward(self, x: Tensor, original: Tensor) -> Tensor:
        """Return the product."""
        return x * original


class SequentialEx(nn.Module):
    """Chain layers of which `MergeLayer` and `ProdLayer` also see the input of the whole chain."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the last layer."""
        result = x
        for layer in self.layers:
            result = layer(result, x) if isinstance(layer, (MergeLayer, ProdLayer)) else layer(result)
        return result

    def __getitem__(self, index: int) -> nn.Module:
        return self.layers[index]

    def __len__(self) -> int:
        return len(self.layers)


class Cat(nn.ModuleList):
    """Give the input to all layers and join their outputs on `dim`."""

    def __init__(self, layers: Sequence[nn.Module], dim: int = 1) -> None:
        super().__init__(layers)
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Return the joined outputs."""
        return torch.cat([layer(x) for layer in self], dim=self.dim)


class Residual(nn.Module):
    """Add what `convpath` makes of the input to what `idpath` passes on, then apply `act` (He 2016)."""

    def __init__(self, convpath: nn.Module, idpath: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.convpath, self.idpath, self.act = convpath, idpath, act

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated sum."""
        result: Tensor = self.act(self.convpath(x) + self.idpath(x))
        return result


def SEModule(ch: int, reduction: int, act_cls: ActivationClass = nn.ReLU) -> SequentialEx:
    """Make squeeze-and-excitation: weigh each channel by what the whole picture says (Hu 2018)."""
    n_hidden = max(8, math.ceil(ch // reduction / 8) * 8)
    return SequentialEx(
        nn.AdaptiveAvgPool2d(1),
        ConvLayer(ch, n_hidden, ks=1, norm_type=None, act_cls=act_cls),
        ConvLayer(n_hidden, ch, ks=1, norm_type=None, act_cls=nn.Sigmoid),
        ProdLayer(),
    )


class ResBlock(Residual):
    """Build the residual block of a ResNet from `expansion * ni` to `expansion * nf` channels.

    Two convolutions where `expansion` is 1, a 1-3-1 bottleneck otherwise. The shortcut pools before (or after) its 1x1
    convolution (He 2019, "bag of tricks"), and the last norm begins at 0. `reduction` adds squeeze-and-excitation, `sa`
    self-attention, `dw` makes the spatial convolution depth-wise, `groups` and `g2` split convolutions in groups.
    """

    def __init__(
        self,
        expansion: int,
        ni: int,
        nf: int,
        stride: int = 1,
        groups: int = 1,
        reduction: int | None = None,
        nh1: int | None = None,
        nh2: int | None = None,
        dw: bool = False,
        g2: int = 1,
        sa: bool = False,
        sym: bool = False,
        norm_type: NormType | None = NormType.Batch,
        act_cls: ActivationClass = nn.ReLU,
        ndim: int = 2,
        ks: int = 3,
        pool: Callable[..., nn.Module] = AvgPool,
        pool_first: bool = True,
        **settings: Any,
    ) -> None:
        nh2 = nf if nh2 is None else nh2
        nh1 = nh2 if nh1 is None else nh1
        nf, ni = nf * expansion, ni * expansion
        zeroed = {NormType.Batch: NormType.BatchZero, NormType.Instance: NormType.InstanceZero}
        last_norm = None if norm_type is None else zeroed.get(norm_type, norm_type)
        conv: Callable[..., ConvLayer] = partial(ConvLayer, norm_type=norm_type, act_cls=act_cls, ndim=ndim, **settings)
        last: Callable[..., ConvLayer] = partial(
            ConvLayer, norm_type=last_norm, act_cls=None, ndim=ndim, groups=g2, **settings
        )
        path: list[nn.Module]
        if expansion == 1:
            path = [conv(ni, nh2, ks, stride=stride, groups=ni if dw else groups), last(nh2, nf, ks)]
        else:
            path = [
                conv(ni, nh1, 1),
                conv(nh1, nh2, ks, stride=stride, groups=nh1 if dw else groups),
                last(nh2, nf, 1),
            ]
        if reduction:
            path.append(SEModule(nf, reduction, act_cls))
        if sa:
            path.append(SimpleSelfAttention(nf, ks=1, sym=sym))
        shortcut: list[nn.Module] = []
        if ni != nf:
            shortcut.append(ConvLayer(ni, nf, 1, act_cls=None, ndim=ndim, **settings))
        if stride != 1:
            shortcut.insert(0 if pool_first else len(shortcut), pool(stride, ndim=ndim, ceil_mode=True))
        act = nn.ReLU(inplace=True) if act_cls is nn.ReLU else act_cls()
        super().__init__(nn.Sequential(*path), nn.Sequential(*shortcut), act)


def SEBlock(
    expansion: int, ni: int, nf: int, groups: int = 1, reduction: int = 16, stride: int = 1, **settings: Any
) -> ResBlock:
    """Make a residual block with squeeze-and-excitation (Hu 2018); `settings` are those of `ResBlock`."""
    return ResBlock(
        expansion, ni, nf, stride=stride, groups=groups, reduction=reduction, nh1=nf * 2, nh2=nf * expansion, **settings
    )


def SEResNeXtBlock(
    expansion: int,
    ni: int,
    nf: int,
    groups: int = 32,
    reduction: int = 16,
    stride: int = 1,
    base_width: int = 4,
    **settings: Any,
) -> ResBlock:
    """Make a grouped residual block (Xie 2017) with squeeze-and-excitation; `settings` are those of `ResBlock`."""
    width = math.floor(nf * (base_width / 64)) * groups
    return ResBlock(expansion, ni, nf, stride=stride, groups=groups, reduction=reduction, nh2=width, **settings)


def SeparableBlock(
    expansion: int,
    ni: int,
    nf: int,
    reduction: int = 16,
    stride: int = 1,
    base_width: int = 4,
    **settings: Any,
) -> ResBlock:
    """Make a residual block whose spatial convolution is depth-wise; `settings` are those of `ResBlock`."""
    return ResBlock(expansion, ni, nf, stride=stride, reduction=reduction, nh2=nf * 2, dw=True, **settings)


class SimpleCNN(Chain):
    """Chain one convolution per step of `filters`, each halving the picture, then pool and flatten."""

    def __init__(
        self,
        filters: Sequence[int],
        kernel_szs: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        bn: bool = True,
    ) -> None:
        n_layers = len(filters) - 1
        kernels = [3] * n_layers if kernel_szs is None else list(kernel_szs)
        steps = [2] * n_layers if strides is None else list(strides)
        if n_layers < 1 or len(kernels) != n_layers or len(steps) != n_layers:
            raise ArgumentError(
                f"SimpleCNN needs two or more filters and one kernel size and stride less, got {len(filters)} filters, "
                f"{len(kernels)} kernel sizes, {len(steps)} strides."
            )
        layers = [
            ConvLayer(
                filters[i],
                filters[i + 1],
                kernels[i],
                stride=steps[i],
                norm_type=NormType.Batch if bn and i < n_layers - 1 else None,
            )
            for i in range(n_layers)
        ]
        super().__init__(*layers, PoolFlatten())
