"""After this page you know how a feature map attends to itself: every pixel gathers from the pixels like it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from flambeau.nn.layers import ConvLayer, NormType


class SelfAttention(nn.Module):
    """Let each pixel gather from all others (Zhang 2019, SAGAN); the share `gamma` begins at 0.

    Shapes stay: `(batch, n_channels, ...)`.
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        n_narrow = max(1, n_channels // 8)
        self.query, self.key, self.value = (
            self._projection(n_channels, n_out) for n_out in (n_narrow, n_narrow, n_channels)
        )
        self.gamma = nn.Parameter(torch.zeros(1))

    def _projection(self, n_in: int, n_out: int) -> nn.Module:
        return ConvLayer(n_in, n_out, ks=1, ndim=1, norm_type=NormType.Spectral, act_cls=None, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with what each pixel gathered added."""
        pixels = x.flatten(2)  # (batch, channel, pixel)
        query, key, value = self.query(pixels), self.key(pixels), self.value(pixels)
        share = torch.bmm(query.transpose(1, 2), key).softmax(dim=1)  # (batch, from pixel, to pixel)
        return (self.gamma * torch.bmm(value, share) + pixels).view(x.shape)


class SimpleSelfAttention(nn.Module):
    """Let each pixel gather from all others with one convolution instead of three; `sym` keeps its weight symmetric."""

    def __init__(self, n_in: int, ks: int = 1, sym: bool = False) -> None:
        super().__init__()
        self.n_in, self.ks, self.sym = n_in, ks, sym
        self.conv = spectral_norm(nn.Conv1d(n_in, n_in, ks, padding=ks // 2, bias=False))
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with what each pixel gathered added."""
        pixels = x.flatten(2)  # (batch, channel, pixel)
        if self.sym:
            weight: Any = self.conv.weight
            symmetric = (weight + weight.transpose(0, 1)) / 2
            convolved = nn.functional.conv1d(pixels, symmetric, padding=self.ks // 2)
        else:
            convolved = self.conv(pixels)
        similarity = torch.bmm(pixels, pixels.transpose(1, 2))  # (batch, channel, channel)
        return (self.gamma * torch.bmm(similarity, convolved) + pixels).view(x.shape)
