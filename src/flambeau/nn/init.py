"""After this page you know how weights begin: drawn so that signals keep their size through the layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.foundation.errors import ArgumentError, TrainingError
from flambeau.nn.param_groups import is_norm

InitFunction = Callable[[Tensor], Any]


def init_default(module: nn.Module, func: InitFunction | None = nn.init.kaiming_normal_) -> nn.Module:
    """Draw the module's own weight with `func` and set its bias to 0; `func` None leaves it as it is."""
    if func is not None:
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if isinstance(weight, Tensor) and weight.ndim >= 2:
            func(weight)
        if isinstance(bias, Tensor):
            nn.init.zeros_(bias)
    return module


def apply_init(module: nn.Module, func: InitFunction = nn.init.kaiming_normal_) -> None:
    """Initialise every trainable layer in `module` that is no norm layer."""
    for layer in module.modules():
        trainable = any(parameter.requires_grad for parameter in layer.parameters(recurse=False))
        if trainable and not is_norm(layer):
            init_default(layer, func)


def init_weights(module: nn.Module, leaky: float = 0.0) -> None:
    """Draw a convolution's weight by Kaiming's rule for a leaky ReLU: `model.apply(init_weights)` (He 2015)."""
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        nn.init.kaiming_normal_(module.weight, a=leaky)


def init_for_activation(
    layer: nn.Module, act: nn.Module | None = None, init: str | InitFunction | None = "auto", bias_std: float = 0.01
) -> None:
    """Initialise one linear or convolutional layer for the activation that follows it.

    "auto" draws by Kaiming's rule where a rectifier follows and leaves torch's own draw otherwise; None leaves it; a
    function is called with the weight. Biases are drawn with standard deviation `bias_std`, 0 sets them to 0.
    """
    if isinstance(init, str) and init != "auto":
        raise ArgumentError(f"init must be 'auto', None or a function of the weight, got {init!r}.")
    bias, weight = getattr(layer, "bias", None), getattr(layer, "weight", None)
    if isinstance(bias, Tensor):
        if bias_std:
            nn.init.normal_(bias, 0, bias_std)
        else:
            nn.init.zeros_(bias)
    if not isinstance(weight, Tensor) or init is None:
        return
    if callable(init):
        init(weight)
    elif isinstance(act, (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.Mish, GeneralRelu)):
        nn.init.kaiming_uniform_(weight)


class GeneralRelu(nn.Module):
    """Rectify with a leak below 0, then subtract `sub`, so that the mean is near 0, and cap at `maxv`."""

    def __init__(self, leak: float | None = None, sub: float | None = None, maxv: float | None = None) -> None:
        super().__init__()
        self.leak, self.sub, self.maxv = leak, sub, maxv

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations."""
        x = F.relu(x) if self.leak is None else F.leaky_relu(x, self.leak)
        if self.sub is not None:
            x = x - self.sub
        return x if self.maxv is None else x.clamp(max=self.maxv)


def lsuv_init(model: nn.Module, m: nn.Module, m_in: nn.Module, xb: Tensor, max_iterations: int = 50) -> None:
    """Rescale the layer `m_in` until the output of `m` has mean 0 and standard deviation 1 (Mishkin 2016).

    `m` is `m_in` itself or the activation behind it; `xb` is one batch of real inputs. Raise `TrainingError` where
    `max_iterations` passes do not suffice, as behind an activation whose mean cannot be 0.
    """
    if not isinstance(m_in.bias, Tensor) or not isinstance(m_in.weight, Tensor):
        raise ArgumentError(f"lsuv_init moves the bias of {type(m_in).__name__}, which has none; pass bias=True.")
    seen: list[Tensor] = []
    handle = m.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    try:
        with torch.no_grad():
            for _ in range(max_iterations):
                model(xb)
                mean, std = seen[-1].mean(), seen[-1].std()
                seen.clear()
                if abs(float(std) - 1) <= 1e-3 and abs(float(mean)) <= 1e-3:
                    return
                m_in.bias -= mean
                m_in.weight /= std
    finally:
        handle.remove()
    raise TrainingError(
        f"lsuv_init stopped after {max_iterations} passes with mean {float(mean):.3g} and standard deviation "
        f"{float(std):.3g}; the activation may not allow 0 and 1."
    )
