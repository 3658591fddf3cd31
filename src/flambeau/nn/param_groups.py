"""After this page you know how a model's parameters are split: which learning rate, decay and freezing each one gets.

A *layer group* is what a user thinks in: body and head. Each layer group becomes up to two *parameter groups* of the
torch optimizer: the parameters that decay, and the biases and norm layers, which do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from flambeau.foundation.errors import ArgumentError

LearningRate = float | slice | Sequence[float]
LayerGroup = nn.Module | Sequence[nn.Module] | Sequence[nn.Parameter]

NORM_TYPES = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


def params(module: nn.Module) -> list[nn.Parameter]:
    """Return all parameters of `module`."""
    return list(module.parameters())


def is_norm(module: nn.Module) -> bool:
    """Tell whether `module` is a normalisation layer."""
    if isinstance(module, NORM_TYPES):
        return True
    # transformers and timm bring classes of their own, such as LlamaRMSNorm
    own = list(module.parameters(recurse=False))
    return "Norm" in type(module).__name__ and bool(own) and all(parameter.ndim == 1 for parameter in own)


def _is_bias(name: str) -> bool:
    # "bias_ih_l0" of recurrent layers and "in_proj_bias" of attention; a user's own "user_bias" table does decay
    return name in ("bias", "in_proj_bias") or name.startswith("bias_")


def norm_params(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of all norm layers in `module`."""
    return [parameter for layer in module.modules() if is_norm(layer) for parameter in layer.parameters(recurse=False)]


def norm_bias_params(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that weight decay leaves alone: those of norm layers, and all biases."""
    return [
        parameter
        for layer in module.modules()
        for name, parameter in layer.named_parameters(recurse=False)
        if is_norm(layer) or _is_bias(name)
    ]


def _members(group: LayerGroup) -> Iterator[nn.Module | nn.Parameter]:
    if isinstance(group, nn.Module):
        yield group
        return
    for member in group:
        if not isinstance(member, (nn.Module, nn.Parameter)):
            raise ArgumentError(f"A layer group holds modules or parameters, got a {type(member).__name__}.")
        yield member


def group_params(group: LayerGroup) -> list[nn.Parameter]:
    """Return the distinct parameters of one layer group, in order."""
    found: dict[int, nn.Parameter] = {}
    for member in _members(group):
        for parameter in [member] if isinstance(member, nn.Parameter) else member.parameters():
            found.setdefault(id(parameter), parameter)
    return list(found.values())


def _modules(groups: Iterable[LayerGroup], model: nn.Module | None) -> list[nn.Module]:
    if model is not None:
        return [model]
    return [member for group in groups for member in _members(group) if isinstance(member, nn.Module)]


def spread(lr: LearningRate, n_groups: int) -> list[float]:
    """Return one learning rate per layer group, from the first layers to the last.

    A number holds for all; `slice(hi)` gives the last group `hi` and the others a tenth (early layers hold general
    features, Yosinski 2014); `slice(lo, hi)` multiplies evenly from `lo` to `hi`; a list names each.
    """
    if n_groups < 1:
        raise ArgumentError(f"A model needs at least one layer group, got {n_groups}.")
    if isinstance(lr, slice):
        low, high = lr.start, lr.stop
        if high is None or high <= 0 or (low is not None and low <= 0):
            raise ArgumentError(f"A learning-rate slice needs numbers above 0, got {lr}; write slice(1e-5, 1e-3).")
        if low is None:
            return [high / 10] * (n_groups - 1) + [float(high)]
        if n_groups == 1:
            return [float(high)]
        return [float(low * (high / low) ** (i / (n_groups - 1))) for i in range(n_groups)]
    if isinstance(lr, str) or lr is None:
        raise ArgumentError(f"A learning rate is a number, a slice or a list of numbers, got {lr!r}.")
    try:
        rates = [float(rate) for rate in lr]  # type: ignore[union-attr]
    except TypeError:  # a plain number, or a tensor or array of no dimension
        return [float(lr)] * n_groups  # type: ignore[arg-type]
    if len(rates) != n_groups:
        raise ArgumentError(
            f"Got {len(rates)} values for {n_groups} layer groups; give a number, a slice or {n_groups}."
        )
    return rates


def build_param_groups(
    model_groups: Sequence[LayerGroup],
    lrs: LearningRate,
    wd: float | Sequence[float] | None = None,
    wd_bn_bias: bool = False,
    model: nn.Module | None = None,
) -> list[dict[str, Any]]:
    """Turn layer groups into the parameter groups of a torch optimizer.

    Each result carries "params", "lr", "layer_group" (int) and "decayed"; those that do not decay carry
    "weight_decay" 0, the others `wd`, or the optimizer's own default where `wd` is None. A parameter that two layer
    groups share (tied weights) belongs to the first. Where the groups hold bare parameters, `model` tells which of
    them are biases and norm layers; without it those with fewer than two dimensions count as such.
    """
    rates = spread(lrs, len(model_groups))
    decays: list[float | None] = [None] * len(model_groups)
    if wd is not None:
        decays = list(spread(wd, len(model_groups)))
    modules = _modules(model_groups, model)
    spared = {id(parameter) for module in modules for parameter in norm_bias_params(module)}
    named = {id(parameter) for module in modules for parameter in module.parameters()}
    taken: set[int] = set()
    result: list[dict[str, Any]] = []
    for index, (group, rate, decay) in enumerate(zip(model_groups, rates, decays, strict=True)):
        kept: list[nn.Parameter] = []
        free: list[nn.Parameter] = []
        for parameter in group_params(group):
            if id(parameter) in taken:
                continue
            taken.add(id(parameter))
            undecayed = id(parameter) in spared if id(parameter) in named else parameter.ndim < 2
            (free if undecayed and not wd_bn_bias else kept).append(parameter)
        if kept:
            decaying = {"params": kept, "lr": rate, "layer_group": index, "decayed": True}
            result.append(decaying if decay is None else {**decaying, "weight_decay": decay})
        if free:
            result.append({"params": free, "lr": rate, "weight_decay": 0.0, "layer_group": index, "decayed": False})
    if not result:
        raise ArgumentError("The model has no parameters, so there is nothing to train.")
    return result


def freeze_groups(groups: Sequence[LayerGroup], n: int, train_bn: bool = True, model: nn.Module | None = None) -> None:
    """Freeze the layer groups before `n` (which may count from the end, -1 is the head) and unfreeze the others.

    Norm layers of frozen groups keep training while `train_bn`: their statistics belong to the new data. `model` finds
    them where the groups hold bare parameters.
    """
    first = n + len(groups) if n < 0 else n
    if not 0 <= first < len(groups):
        raise ArgumentError(
            f"Cannot freeze up to group {n}: the model has {len(groups)} layer groups, "
            f"so give -{len(groups)} to {len(groups) - 1}."
        )
    norms = {id(parameter) for module in _modules(groups, model) for parameter in norm_params(module)}
    # backwards, so that a parameter shared by a frozen and a free group ends as the first group wants it
    for index, group in reversed(list(enumerate(groups))):
        for parameter in group_params(group):
            if torch.is_floating_point(parameter) or torch.is_complex(parameter):
                parameter.requires_grad_(index >= first or (train_bn and id(parameter) in norms))
                if not parameter.requires_grad:
                    parameter.grad = None  # a gradient left over would still be stepped on
