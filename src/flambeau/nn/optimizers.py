"""After this page you know which torch optimizer stands behind each name, and how a schedule turns its knobs.

The knobs have the course's names: `lr`, `mom`, `sqr_mom`, `eps`, `wd`. The optimizers are torch's own, with the fused
step (all parameters in one kernel) where the device has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from flambeau.foundation.errors import ArgumentError, unknown_name

Parameters = Iterable[nn.Parameter] | Iterable[dict[str, Any]]

HYPERS = ("lr", "mom", "sqr_mom", "eps", "wd")

# where torch.optim has tested fused kernels for Adam, AdamW and SGD
_FUSED_DEVICES = ("cpu", "cuda")


def _as_groups(parameters: Any) -> list[dict[str, Any]]:
    if isinstance(parameters, nn.Module):
        raise ArgumentError("An optimizer takes parameters, not a module: pass model.parameters().")
    members: list[Any] = list(parameters)
    if members and isinstance(members[0], dict):
        groups: list[dict[str, Any]] = [dict(member) for member in members]
    else:
        groups = [{"params": members, "layer_group": 0}]
    for group in groups:
        group["params"] = list(group["params"])
    if not any(group["params"] for group in groups):
        raise ArgumentError("The optimizer got no parameters, so there is nothing to train.")
    return groups


def _fused(groups: list[dict[str, Any]]) -> bool:
    return all(
        parameter.device.type in _FUSED_DEVICES and torch.is_floating_point(parameter)
        for group in groups
        for parameter in group["params"]
    )


def _keeping_layouts(optimizer: Optimizer) -> Optimizer:
    """Let the optimizer lay out a state that it loads as its parameters are."""
    optimizer.register_load_state_dict_post_hook(match_layouts)
    return optimizer


def Adam(
    params: Parameters,
    lr: float,
    mom: float = 0.9,
    sqr_mom: float = 0.99,
    eps: float = 1e-5,
    wd: float = 0.01,
    decouple_wd: bool = True,
) -> Optimizer:
    """Make Adam (Kingma and Ba 2015); with `decouple_wd` AdamW, which shrinks weights directly (Loshchilov 2019)."""
    groups = _as_groups(params)
    fused = _fused(groups)
    make = torch.optim.AdamW if decouple_wd else torch.optim.Adam
    foreach = None if fused else True
    return _keeping_layouts(
        make(groups, lr=lr, betas=(mom, sqr_mom), eps=eps, weight_decay=wd, fused=fused, foreach=foreach)
    )


AdamW = Adam


def SGD(params: Parameters, lr: float, mom: float = 0.0, wd: float = 0.0) -> Optimizer:
    """Make stochastic gradient descent, with momentum `mom`; `wd` adds `wd * weight` to the gradient."""
    groups = _as_groups(params)
    fused = _fused(groups)
    foreach = None if fused else True
    return _keeping_layouts(
        torch.optim.SGD(groups, lr=lr, momentum=mom, weight_decay=wd, fused=fused, foreach=foreach)
    )


def RMSProp(
    params: Parameters, lr: float, mom: float = 0.0, sqr_mom: float = 0.99, eps: float = 1e-8, wd: float = 0.0
) -> Optimizer:
    """Make RMSProp (Hinton 2012): each step is divided by the running size of its gradient."""
    return torch.optim.RMSprop(
        _as_groups(params), lr=lr, momentum=mom, alpha=sqr_mom, eps=eps, weight_decay=wd, foreach=True
    )


def RAdam(
    params: Parameters,
    lr: float,
    mom: float = 0.9,
    sqr_mom: float = 0.99,
    eps: float = 1e-5,
    wd: float = 0.0,
    decouple_wd: bool = True,
) -> Optimizer:
    """Make rectified Adam (Liu 2020), which needs no warm-up: it distrusts its variance in the first steps."""
    return torch.optim.RAdam(
        _as_groups(params),
        lr=lr,
        betas=(mom, sqr_mom),
        eps=eps,
        weight_decay=wd,
        decoupled_weight_decay=decouple_wd,
        foreach=True,
    )


def OptimWrapper(params: Parameters, opt: type[Optimizer], lr: float | None = None, **settings: Any) -> Optimizer:
    """Make any torch optimizer: `opt_func=partial(OptimWrapper, opt=torch.optim.Adagrad)`; `settings` are its own."""
    if not (isinstance(opt, type) and issubclass(opt, Optimizer)):
        raise ArgumentError(f"opt must be an optimizer class such as torch.optim.Adagrad, got {opt!r}.")
    if lr is not None:
        settings["lr"] = lr
    return _keeping_layouts(opt(_as_groups(params), **settings))


def _write(optimizer: Optimizer, group: dict[str, Any], name: str, value: float) -> None:
    if name == "lr":
        if isinstance(group["lr"], Tensor):  # capturable and compiled steps hold the rate on the device
            group["lr"].fill_(value)
        else:
            group["lr"] = value
    elif name == "mom":
        if "betas" in group:
            group["betas"] = (value, *group["betas"][1:])
        # a momentum schedule must not give momentum to an optimizer that was asked to have none
        elif optimizer.defaults.get("momentum"):
            group["momentum"] = value
    elif name == "sqr_mom":
        if "betas" in group:
            group["betas"] = (group["betas"][0], value, *group["betas"][2:])
        elif "alpha" in group:
            group["alpha"] = value
    elif name == "eps":
        if "eps" in group:
            group["eps"] = value
    elif group.get("decayed", True) and "weight_decay" in group:
        group["weight_decay"] = value


def set_hyper(optimizer: Optimizer, name: str, values: float | Sequence[float]) -> None:
    """Set `lr`, `mom`, `sqr_mom`, `eps` or `wd` to one value, or to one value per layer group.

    A knob that this optimizer does not have is left alone; parameters spared from weight decay stay spared.
    """
    if name not in HYPERS:
        raise unknown_name("hyper-parameter", name, HYPERS)
    if isinstance(values, (int, float)):
        for group in optimizer.param_groups:
            _write(optimizer, group, name, values)
        return
    for index, group in enumerate(optimizer.param_groups):
        layer_group = group.get("layer_group", index)
        if layer_group >= len(values):
            raise ArgumentError(f"Got {len(values)} values of {name}, but the model has a layer group {layer_group}.")
        _write(optimizer, group, name, float(values[layer_group]))


def _read(group: dict[str, Any], name: str) -> float:
    betas = group.get("betas")
    values: dict[str, Any] = {
        "lr": group.get("lr"),
        "mom": betas[0] if betas else group.get("momentum"),
        "sqr_mom": betas[1] if betas else group.get("alpha"),
        "eps": group.get("eps"),
        "wd": group.get("weight_decay"),
    }
    return float("nan") if values[name] is None else float(values[name])


def get_hyper(optimizer: Optimizer, name: str) -> list[float]:
    """Return `lr`, `mom`, `sqr_mom`, `eps` or `wd`, one value per layer group; nan where there is no such knob."""
    if name not in HYPERS:
        raise unknown_name("hyper-parameter", name, HYPERS)
    found: dict[int, float] = {}
    for index, group in enumerate(optimizer.param_groups):
        layer_group = group.get("layer_group", index)
        if layer_group not in found or (name == "wd" and group.get("decayed", True)):
            found[layer_group] = _read(group, name)
    return [found[layer_group] for layer_group in sorted(found)]


@torch.no_grad()
def match_layouts(optimizer: Optimizer) -> None:
    """Lay each state of the optimizer out in memory as its parameter is.

    torch's fused steps walk through parameter, gradient and state in the order of memory. Where a parameter is channels
    last and its state is not, they mix up the numbers without a word (seen with torch 2.15 on the CPU).
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
