"""After this page you know how a network is written down as plain JSON and built again without running foreign code.

Only layers of `torch.nn` and of flambeau that stand in the lists below can be written and read. A description holds
class names from those lists, numbers, and the layers inside; the weights travel separately, as tensors.
"""

from __future__ import annotations

import inspect
import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from flambeau.foundation.errors import ExportError
from flambeau.nn import blocks, init, layers, losses, pooling

_TORCH_LEAVES = (
    *("Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"),
    *("Linear", "Bilinear", "Identity", "Embedding", "EmbeddingBag", "Flatten", "Unflatten"),
    *("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"),
    *("LayerNorm", "GroupNorm", "RMSNorm", "LocalResponseNorm"),
    *("ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "CELU", "SELU", "GELU", "SiLU", "Mish", "GLU", "Tanh", "Sigmoid"),
    *("Hardtanh", "Hardswish", "Hardsigmoid", "Softplus", "Softsign", "LogSigmoid", "Threshold", "Tanhshrink"),
    *("Softmax", "LogSoftmax", "Softmin", "Softmax2d", "Softshrink", "Hardshrink"),
    *("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"),
    *("MaxPool1d", "MaxPool2d", "MaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "LPPool1d", "LPPool2d"),
    *("AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d"),
    *("AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d"),
    *("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d", "PixelShuffle", "PixelUnshuffle", "ChannelShuffle"),
    *("ZeroPad1d", "ZeroPad2d", "ConstantPad1d", "ConstantPad2d", "ReflectionPad1d", "ReflectionPad2d"),
    *("ReplicationPad1d", "ReplicationPad2d"),
    *("CrossEntropyLoss", "BCEWithLogitsLoss", "BCELoss", "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "NLLLoss"),
)

_OWN_LEAVES: tuple[type[nn.Module], ...] = (
    *(layers.Flatten, layers.View, layers.ResizeBatch, layers.SigmoidRange, layers.BatchNorm1dFlat),
    *(layers.TimeDistributed, init.GeneralRelu, blocks.MergeLayer, blocks.ProdLayer, blocks.Residual),
    *(pooling.AdaptiveConcatPool1d, pooling.AdaptiveConcatPool2d),
    *(losses.CrossEntropyLossFlat, losses.BCEWithLogitsLossFlat, losses.BCELossFlat, losses.MSELossFlat),
    *(losses.L1LossFlat, losses.FocalLossFlat, losses.DiceLoss),
)

_CONTAINERS: tuple[type[nn.Module], ...] = (nn.Sequential, nn.ModuleList, blocks.SequentialEx, blocks.Cat)

_LEAVES: dict[str, type[nn.Module]] = {
    **{f"torch.nn.{name}": getattr(nn, name) for name in _TORCH_LEAVES},
    **{f"flambeau.nn.{kind.__name__}": kind for kind in _OWN_LEAVES},
}
_NAMES: dict[type[nn.Module], str] = {
    **{kind: name for name, kind in _LEAVES.items()},
    nn.Sequential: "torch.nn.Sequential",
    nn.ModuleList: "torch.nn.ModuleList",
    blocks.SequentialEx: "flambeau.nn.SequentialEx",
    blocks.Cat: "flambeau.nn.Cat",
}
_KINDS: dict[str, type[nn.Module]] = {name: kind for kind, name in _NAMES.items()}

# a description is data from a file: these bound what it can make a machine do
MAX_DEPTH = 64
MAX_LAYERS = 20_000
MAX_PARAMETERS = 1_000_000_000
_MAX_NUMBER = 2**31
_MAX_STRING = 32
_MAX_LIST = 4096
# arguments that size the tensors of a forward pass, where no parameter count speaks up
_MAX_GROWTH = {"scale_factor": 64, "upscale_factor": 64, "size": 2**14, "output_size": 2**14, "padding": 2**14}


@dataclass(frozen=True)
class NotDescribable:
    """Say which layer only its author's code can build (`path`), and why (`reason`); prints as half a sentence."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{f'layer {self.path}' if self.path else 'the model'} {self.reason}"


class _Stop(Exception):
    """Leave the walk through the layers at the first that cannot be written down."""

    def __init__(self, path: str, reason: str) -> None:
        self.found = NotDescribable(path, reason)


def describe_module(module: nn.Module) -> dict[str, Any] | NotDescribable:
    """Write down how to build `module`, without its weights, or say which layer holds foreign code."""
    try:
        description = _describe(module, "")
    except _Stop as stop:
        return stop.found
    with torch.device("meta"):
        copy = _build(description, 0)
    here, there = ({name: tuple(t.shape) for name, t in m.state_dict().items()} for m in (module, copy))
    if here != there:
        odd = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
        return NotDescribable("", f"was changed after it was built: {odd[0]!r} would have another shape")
    return description


def describable_kind(kind: type[nn.Module]) -> type[nn.Module] | None:
    """Return the listed class whose forward pass `kind` runs unchanged, such as Sequential for ConvLayer, or None."""
    for base in kind.__mro__:
        if base in _NAMES:
            return base if kind.forward is base.forward else None
    return None


def _describe(module: nn.Module, path: str) -> dict[str, Any]:
    kind = describable_kind(type(module))
    name = type(module).__name__
    if is_parametrized(module):
        raise _Stop(path, f"({name}) computes its weight (weight or spectral norm), which cannot be kept")
    if isinstance(module, layers.Lambda):
        raise _Stop(path, f"(Lambda) calls the function {module.extra_repr()!r}, which is code")
    if kind is None:
        raise _Stop(path, f"({name}) {_origin(type(module))}")
    hooks = (module._forward_hooks, module._forward_pre_hooks)
    if "forward" in vars(module) or any(hooks):
        raise _Stop(path, f"({name}) had its forward pass changed by a hook or an assignment")
    if type(module) is not kind and not _plainly_derived(module):
        raise _Stop(path, f"({name}) {_origin(type(module))}")
    description: dict[str, Any] = {"class": _NAMES[kind]}
    if kind in _CONTAINERS:
        held = module.layers if isinstance(module, blocks.SequentialEx) else module
        description["children"] = [
            [child_name, _describe(child, _join(path, child_name))]
            for child_name, child in held._modules.items()
            if child is not None
        ]
        if isinstance(module, blocks.Cat):
            description["arguments"] = {"dim": module.dim}
        return description
    description["arguments"] = {
        argument: _plain(value, _join(path, argument)) for argument, value in _arguments(module, kind)
    }
    return description


def _origin(kind: type[nn.Module]) -> str:
    package = kind.__module__.partition(".")[0]
    if package in ("torch", "flambeau", "timm", "torchvision", "transformers"):
        return f"is a class of {package} that is not on the list of layers to build from a file"
    return "is your own class"


def _plainly_derived(module: nn.Module) -> bool:
    """Tell whether a subclass only builds: our own, or a Sequential with nothing but an `__init__`."""
    kind = type(module)
    if kind.__module__.startswith("flambeau."):
        return True
    return isinstance(module, nn.Sequential) and not {"__call__", "__getattr__", "_call_impl"} & {
        name for base in kind.__mro__ if base not in nn.Sequential.__mro__ for name in vars(base)
    }


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _parameters_of(kind: type[nn.Module]) -> list[inspect.Parameter]:
    hidden = {"self", "device", "dtype"}
    signature = inspect.signature(kind.__init__)
    return [p for p in signature.parameters.values() if p.name not in hidden and not p.name.startswith("_")]


def _arguments(module: nn.Module, kind: type[nn.Module]) -> Iterator[tuple[str, Any]]:
    for parameter in _parameters_of(kind):
        name = parameter.name
        if parameter.kind is inspect.Parameter.VAR_KEYWORD or not hasattr(module, name):
            continue  # torch's deprecated spellings leave no attribute
        value = getattr(module, name)
        # a layer keeps its bias itself where the constructor asked whether to have one
        if name == "bias" and not isinstance(value, bool):
            value = value is not None
        yield name, value


def _plain(value: Any, path: str) -> Any:
    if isinstance(value, nn.Module):
        return _describe(value, path)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Tensor) and value.numel() <= _MAX_LIST:
        return _plain(value.tolist(), path)
    if isinstance(value, (tuple, list)):
        return [_plain(item, path) for item in value]
    raise _Stop(path, f"holds a {type(value).__name__}, which is not written down")


def build_module(description: Any, max_parameters: int = MAX_PARAMETERS) -> nn.Module:
    """Build the network of a description made by `describe_module`, with fresh weights.

    Raise `ExportError` for a class that is not listed, arguments that do not fit, or more than `max_parameters`
    weights; nothing is imported and no memory is taken before that is known. Pass as `max_parameters` the number of
    weights at hand.
    """
    _check_size(description)
    with torch.device("meta"):  # shapes without memory
        n_parameters = sum(t.numel() for t in _build(description, 0).state_dict().values())
    if n_parameters > max_parameters:
        raise ExportError(f"The description asks for {n_parameters:,} weights; at most {max_parameters:,} are allowed.")
    return _build(description, 0)


def _check_size(description: Any) -> None:
    waiting, n_layers = [description], 0
    while waiting:
        part = waiting.pop()
        n_layers += isinstance(part, dict) and "class" in part
        if n_layers > MAX_LAYERS:
            raise ExportError(f"The description of the model has more than {MAX_LAYERS} layers.")
        if isinstance(part, (dict, list)):
            waiting.extend(part.values() if isinstance(part, dict) else part)


def _build(description: Any, depth: int) -> nn.Module:
    if depth > MAX_DEPTH:
        raise ExportError(f"The description of the model is nested more than {MAX_DEPTH} deep.")
    if not isinstance(description, dict) or not isinstance(description.get("class"), str):
        raise ExportError('A layer\'s description must be a table with "class".')
    name = description["class"]
    kind = _KINDS.get(name)
    if kind is None:
        raise ExportError(f"The description names the layer {name[:80]!r}, which is not on the list of layers.")
    arguments = description.get("arguments", {})
    if not isinstance(arguments, dict):
        raise ExportError(f"The arguments of {name} must be a table.")
    try:
        if kind in _CONTAINERS:
            return _build_container(kind, description.get("children"), arguments, depth)
        return _build_leaf(kind, arguments, depth)
    except ExportError:
        raise
    except Exception as error:  # constructors raise whatever they like at odd arguments
        raise ExportError(f"The description of a {name} does not fit: {error}") from error


def _build_container(kind: type[nn.Module], children: Any, arguments: dict[str, Any], depth: int) -> nn.Module:
    if not isinstance(children, list) or any(
        not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)) for pair in children
    ):
        raise ExportError(f"The children of a {kind.__name__} must be pairs of a name and a description.")
    built = OrderedDict((child_name, _build(child, depth + 1)) for child_name, child in children)
    if len(built) != len(children):
        raise ExportError(f"A {kind.__name__} has two children of one name.")
    if kind is nn.Sequential:
        if any(child_name.startswith("_") for child_name in built):
            raise ExportError("The name of a layer must not begin with an underscore.")
        return nn.Sequential(built)
    held = list(built.values())
    if kind is blocks.Cat:
        return blocks.Cat(held, dim=_checked("dim", arguments.get("dim", 1), depth))
    return blocks.SequentialEx(*held) if kind is blocks.SequentialEx else nn.ModuleList(held)


def _build_leaf(kind: type[nn.Module], arguments: dict[str, Any], depth: int) -> nn.Module:
    allowed = {parameter.name: parameter for parameter in _parameters_of(kind)}
    positional: tuple[Any, ...] = ()
    settings: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in allowed or allowed[name].kind is inspect.Parameter.VAR_KEYWORD:
            raise ExportError(f"{kind.__name__} has no argument {name!r}.")
        starred = allowed[name].kind is inspect.Parameter.VAR_POSITIONAL
        # View(*size) only reshapes, so its "size" makes nothing grow
        checked = _checked("" if starred else name, value, depth)
        if starred:
            positional = checked if isinstance(checked, tuple) else (checked,)
        elif name in ("weight", "pos_weight") and isinstance(checked, tuple):
            settings[name] = torch.tensor(checked)
        else:
            settings[name] = checked
    return kind(*positional, **settings)


def _checked(name: str, value: Any, depth: int) -> Any:
    """Return an argument as the constructor wants it; refuse what is no number, short word, list or layer."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        if abs(value) > _MAX_GROWTH.get(name, _MAX_NUMBER):
            raise ExportError(f"The description gives {name} = {value:g}, which is beyond reason.")
        return value
    if isinstance(value, str) and len(value) <= _MAX_STRING:
        return float(value) if value in ("inf", "-inf", "nan") else value
    if isinstance(value, list) and len(value) <= _MAX_LIST:
        return tuple(_checked(name, item, depth) for item in value)
    if isinstance(value, dict):
        return _build(value, depth + 1)
    raise ExportError(f"The description gives {name} a value that no layer takes.")
