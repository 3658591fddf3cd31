"""After this page you know the building bricks of every network here: convolution, linear, norm, reshape, embedding."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.nn.utils.parametrize import is_parametrized

from flambeau.foundation.errors import ArgumentError
from flambeau.nn.init import InitFunction, init_for_activation

ActivationClass = Callable[[], nn.Module]

Swish = nn.SiLU
Mish = nn.Mish


class Module(nn.Module):
    """Be a `nn.Module` whose subclasses need no `super().__init__()`."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Prepare the module before the subclass's `__init__` assigns layers to it."""
        module = super().__new__(cls)
        nn.Module.__init__(module)
        return module


class Lambda(nn.Module):
    """Call a function as a layer."""

    def __init__(self, func: Callable[..., Any]) -> None:
        super().__init__()
        self.func = func

    def forward(self, x: Tensor) -> Any:
        """Return `func(x)`."""
        return self.func(x)

    def extra_repr(self) -> str:
        """Name the function in the model's printout."""
        return getattr(self.func, "__name__", repr(self.func))


def sequential(*layers: Any) -> nn.Sequential:
    """Chain layers, or the layers of one ordered dictionary; plain functions become layers."""
    named = layers[0] if len(layers) == 1 and isinstance(layers[0], dict) else {str(i): x for i, x in enumerate(layers)}
    return nn.Sequential(
        OrderedDict((name, layer if isinstance(layer, nn.Module) else Lambda(layer)) for name, layer in named.items())
    )


class Flatten(nn.Module):
    """Flatten all dimensions but the first, `(batch, ...)` to `(batch, n)`; with `full` that one too."""

    def __init__(self, full: bool = False) -> None:
        super().__init__()
        self.full = full

    def forward(self, x: Tensor) -> Tensor:
        """Return the flat tensor."""
        return x.reshape(-1) if self.full else x.flatten(1)


class View(nn.Module):
    """Reshape to `size`, the batch included."""

    def __init__(self, *size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Return the reshaped tensor."""
        return x.view(self.size)

    def extra_repr(self) -> str:
        """Show the size in the model's printout."""
        return str(self.size)


class ResizeBatch(nn.Module):
    """Reshape each item to `size`: `(batch, ...)` to `(batch, *size)`."""

    def __init__(self, *size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Return the reshaped tensor."""
        return x.view((x.shape[0], *self.size))

    def extra_repr(self) -> str:
        """Show the size in the model's printout."""
        return str(self.size)


def sigmoid_range(x: Tensor, low: float, high: float) -> Tensor:
    """Squeeze numbers into the range from `low` to `high`, both out of reach."""
    return x.sigmoid() * (high - low) + low


class SigmoidRange(nn.Module):
    """Squeeze outputs into the range from `low` to `high`: ratings, prices, coordinates."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        """Return the squeezed outputs."""
        return sigmoid_range(x, self.low, self.high)

    def extra_repr(self) -> str:
        """Show the range in the model's printout."""
        return f"{self.low}, {self.high}"


class TargetScale(nn.Module):
    """Bring outputs to the scale of the target: times its deviation, plus its mean, both of the training rows.

    A net whose outputs begin near 0 would need thousands of steps to reach prices of 200,000.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())

    @classmethod
    def of(cls, targets: Tensor) -> TargetScale:
        """Return the scale of targets `(rows, columns)`; a constant one has deviation 1."""
        deviation = targets.std(0, correction=0)
        # rounding of the mean leaves a constant column such as 0.1 a deviation of some 1e-8
        varies = targets.amax(0) > targets.amin(0)
        return cls(targets.mean(0), torch.where(varies, deviation, torch.ones_like(deviation)))

    @classmethod
    def blank(cls, n_columns: int) -> TargetScale:
        """Return the scale that changes nothing."""
        return cls(torch.zeros(n_columns), torch.ones(n_columns))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs in the target's scale."""
        return x * self.std + self.mean


class Embedding(nn.Embedding):
    """Look up one vector of `nf` numbers for each of `ni` things, drawn from a normal cut at two deviations."""

    def __init__(self, ni: int, nf: int, std: float = 0.01) -> None:
        super().__init__(ni, nf)
        nn.init.trunc_normal_(self.weight, std=std, a=-2 * std, b=2 * std)


def emb_sz_rule(n_cat: int) -> int:
    """Return how many numbers the vector of one of `n_cat` things has: 1.6 * n ** 0.56, at most 600 (fastai's rule)."""
    return min(600, round(1.6 * n_cat**0.56))


class NormType(Enum):
    """Name the normalisation of a layer; the Zero forms begin with weight 0, so that a residual path adds nothing."""

    Batch = 1
    BatchZero = 2
    Weight = 3
    Spectral = 4
    Instance = 5
    InstanceZero = 6


_BATCH = (NormType.Batch, NormType.BatchZero)
_INSTANCE = (NormType.Instance, NormType.InstanceZero)


def _by_ndim(kind: str, ndim: int) -> Any:
    if ndim not in (1, 2, 3):
        raise ArgumentError(f"ndim must be 1 (sequences), 2 (pictures) or 3 (volumes), got {ndim}.")
    return getattr(nn, f"{kind}{ndim}d")


def _set_norm(layer: Any, zero: bool) -> nn.Module:
    if layer.affine:
        # a little above 0 keeps the rectifier behind it alive
        nn.init.constant_(layer.bias, 1e-3)
        nn.init.constant_(layer.weight, 0.0 if zero else 1.0)
    return layer


def BatchNorm(nf: int, ndim: int = 2, norm_type: NormType = NormType.Batch, **settings: Any) -> nn.Module:
    """Make batch norm for `nf` channels with bias 1e-3 and weight 1 (or 0); `settings` are torch's own."""
    return _set_norm(_by_ndim("BatchNorm", ndim)(nf, **settings), norm_type == NormType.BatchZero)


def InstanceNorm(
    nf: int, ndim: int = 2, norm_type: NormType = NormType.Instance, affine: bool = True, **settings: Any
) -> nn.Module:
    """Make instance norm for `nf` channels with bias 1e-3 and weight 1 (or 0); `settings` are torch's own."""
    return _set_norm(_by_ndim("InstanceNorm", ndim)(nf, affine=affine, **settings), norm_type == NormType.InstanceZero)


class Chain(nn.Sequential):
    """Be a Sequential whose subclasses have constructors of their own: a slice of one is a plain Sequential."""

    def __getitem__(self, index: int | slice) -> Any:
        """Return one layer, or a plain Sequential of several, which are the same layers."""
        # torch calls the subclass's constructor with the layers, where it expects numbers
        layers = list(self)
        return nn.Sequential(*layers[index]) if isinstance(index, slice) else layers[index]


class ConvLayer(Chain):
    """Chain a convolution, a norm layer and an activation.

    `padding` None keeps the size at stride 1; `bias` None leaves the bias out where a norm layer follows. `bn_1st` puts
    the norm before the activation. `xtra` is appended; `settings` (groups, dilation) go to torch's convolution.
    """

    def __init__(
        self,
        ni: int,
        nf: int,
        ks: int = 3,
        stride: int = 1,
        padding: int | None = None,
        bias: bool | None = None,
        ndim: int = 2,
        norm_type: NormType | None = NormType.Batch,
        bn_1st: bool = True,
        act_cls: ActivationClass | None = nn.ReLU,
        transpose: bool = False,
        init: str | InitFunction | None = "auto",
        xtra: nn.Module | None = None,
        bias_std: float = 0.01,
        **settings: Any,
    ) -> None:
        if padding is None:
            padding = 0 if transpose else (ks - 1) // 2
        if bias is None:
            bias = norm_type not in (*_BATCH, *_INSTANCE)
        make = _by_ndim("ConvTranspose" if transpose else "Conv", ndim)
        conv = make(ni, nf, kernel_size=ks, stride=stride, padding=padding, bias=bias, **settings)
        act = None if act_cls is None else act_cls()
        init_for_activation(conv, act, init, bias_std)
        if norm_type == NormType.Weight:
            conv = weight_norm(conv)
        elif norm_type == NormType.Spectral:
            conv = spectral_norm(conv)
        behind: list[nn.Module] = []
        if norm_type in _BATCH:
            behind.append(BatchNorm(nf, ndim, norm_type))
        elif norm_type in _INSTANCE:
            behind.append(InstanceNorm(nf, ndim, norm_type))
        if act is not None:
            behind.insert(len(behind) if bn_1st else 0, act)
        super().__init__(conv, *behind, *([] if xtra is None else [xtra]))


class LinBnDrop(Chain):
    """Chain batch norm, dropout and a linear layer; with `lin_first` the linear layer and `act` come before them."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        bn: bool = True,
        p: float = 0.0,
        act: nn.Module | None = None,
        lin_first: bool = False,
    ) -> None:
        norm: list[nn.Module] = [BatchNorm(n_out if lin_first else n_in, ndim=1)] if bn else []
        if p:
            norm.append(nn.Dropout(p))
        linear: list[nn.Module] = [nn.Linear(n_in, n_out, bias=not bn)]
        if act is not None:
            linear.append(act)
        super().__init__(*(linear + norm if lin_first else norm + linear))


class BatchNorm1dFlat(nn.BatchNorm1d):
    """Normalise the last dimension of `(..., features)`, all others taken as items."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised tensor, shape unchanged."""
        return super().forward(input.reshape(-1, input.shape[-1])).view(input.shape)


class TimeDistributed(nn.Module):
    """Apply `module` to every step of the axis `tdim`: `(batch, steps, ...)`; `low_mem` takes the steps one by one."""

    def __init__(self, module: nn.Module, low_mem: bool = False, tdim: int = 1) -> None:
        super().__init__()
        self.module, self.low_mem, self.tdim = module, low_mem, tdim

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of all steps, stacked on `tdim`."""
        if self.low_mem:
            return torch.stack([self.module(step) for step in x.unbind(self.tdim)], self.tdim)
        steps = x.movedim(self.tdim, 1)  # (batch, steps, ...)
        output = self.module(steps.flatten(0, 1))
        return output.unflatten(0, steps.shape[:2]).movedim(1, self.tdim)


def flatten_model(model: nn.Module) -> list[nn.Module]:
    """Return the layers of `model` that hold no further layers, in order of definition.

    A layer whose weight is computed (weight norm, spectral norm) counts as one.
    """
    if is_parametrized(model) or next(model.children(), None) is None:
        return [model]
    return [layer for child in model.children() for layer in flatten_model(child)]


def in_channels(model: nn.Module) -> int:
    """Return how many channels the first convolution of `model` reads."""
    for layer in model.modules():
        if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            return layer.in_channels
    raise ArgumentError(f"{type(model).__name__} has no convolution, so the number of input channels is unknown.")
