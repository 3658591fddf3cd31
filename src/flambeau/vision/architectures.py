"""After this page you know how a network is called by name: `resnet34`, `"convnext_tiny"`, or a function of your own.

An `Architecture` is a name and the library that knows it. Nothing is imported until it is called, so that
`from flambeau.vision.all import *` stays quick although it brings sixty networks.
"""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from flambeau.foundation.errors import ArgumentError, unknown_name
from flambeau.vision.pretrained import (
    find_packaged,
    is_weights_file,
    load_weights,
    pretrained_timm,
    pretrained_torchvision,
    read_weights,
)
from flambeau.vision.xresnet import XRESNETS, XResNetVariant

Source = Literal["torchvision", "timm", "flambeau", "function"]
# what an architecture may be given as: a name, one of the names below, a torchvision function, a function of one's own
ArchitectureLike = Any


@dataclass(frozen=True)
class InputStats:
    """What pictures a network was trained on: channel statistics of values in [0, 1], size, resampling.

    The defaults are ImageNet's. `fixed_size` networks (most transformers) take pictures of `size` (height, width) only.
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    size: tuple[int, int] = (224, 224)
    interpolation: str = "bilinear"
    fixed_size: bool = False

    @classmethod
    def from_timm(cls, config: Mapping[str, Any]) -> InputStats:
        """Read the facts from a timm model's `pretrained_cfg`."""
        return cls(
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            size=(int(config["input_size"][-2]), int(config["input_size"][-1])),
            interpolation=config["interpolation"],
            fixed_size=bool(config.get("fixed_input_size", False)),
        )


class ArithmeticOnCPU(TorchFunctionMode):
    """Give `torch.arange` and `torch.tensor` their numbers although all else is made on the device "meta".

    torchvision's RegNets work out with them how wide their layers are, which takes numbers.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if func in (torch.arange, torch.tensor):
            options = {"device": "cpu", **options}
        return func(*args, **options)


@dataclass(frozen=True)
class Architecture:
    """A network that is known by name; call it to build the network with its original classifier.

    `source` is the library that knows the name; a "function" is one of the caller's own, which no export can name.
    """

    name: str
    source: Source = "torchvision"
    function: Callable[..., nn.Module] | None = field(default=None, repr=False)

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, pretrained: bool = False, weights: object = None, **options: Any) -> nn.Module:
        """Build the network, with the weights of a file, with published `weights` by name, or with random ones.

        `options` go to the library's own builder. Raises DownloadError where published weights cannot be had.
        """
        if is_weights_file(weights):
            path = Path(str(weights))
            model = self._build(options)
            load_weights(model, read_weights(path), path.name)
            return model
        published = None if weights is None else str(getattr(weights, "name", weights))
        if published is None and not pretrained:
            return self._build(options)
        if self.source == "torchvision":
            return pretrained_torchvision(self.name, published or "DEFAULT", **options)
        if self.source == "timm":
            name = self.name if published is None else f"{self.name.partition('.')[0]}.{published}"
            return pretrained_timm(find_architecture(name).name, **options)
        if published is not None or not self.has_weights:
            raise ArgumentError(f"{self.name} has no published weights; pass weights=FILE or pretrained=False.")
        wish = {"pretrained": True} if "pretrained" in self._parameters() else {"weights": "DEFAULT"}
        return self._build({**wish, **options})

    @property
    def is_listed(self) -> bool:
        """Tell whether its library lists exactly this name, so that building it reads no file and asks no server.

        timm also takes addresses for names ("hf-hub:owner/model", "local-dir:/folder"); these are not listed.
        """
        if self.source == "timm":
            import timm

            base = self.name.partition(".")[0]
            return timm.models.is_model(base) and (
                self.name == base or self.name in timm.list_models(f"{base}.*", include_tags=True)
            )
        if self.source == "torchvision":
            return self.name in _torchvision_names()
        return self.source == "flambeau" and self.name in XRESNETS

    @property
    def has_weights(self) -> bool:
        """Tell whether pretrained weights are published for this network."""
        if self.source == "torchvision":
            import torchvision.models

            return len(torchvision.models.get_model_weights(self.name).__members__) > 0
        if self.source == "timm":
            import timm

            config = timm.get_pretrained_cfg(self.name, allow_unregistered=True)
            return bool(config and config.has_weights) or find_packaged(self.name) is not None
        return self.source == "function" and bool({"pretrained", "weights"} & self._parameters())

    def input_stats(self) -> InputStats:
        """Return what the network's default weights were trained on; ImageNet's facts where nobody says."""
        if self.source == "timm":
            import timm

            config = timm.get_pretrained_cfg(self.name, allow_unregistered=True)
            return InputStats() if config is None else InputStats.from_timm(config.to_dict())
        if self.source == "torchvision" and self.has_weights:
            import torchvision.models

            preset = torchvision.models.get_model_weights(self.name)["DEFAULT"].transforms()
            return InputStats(
                mean=tuple(preset.mean),
                std=tuple(preset.std),
                size=(preset.crop_size[0], preset.crop_size[0]),
                interpolation=preset.interpolation.value,
                fixed_size=self.name.startswith("vit_"),
            )
        return InputStats()

    def _build(self, options: dict[str, Any]) -> nn.Module:
        if self.source == "torchvision":
            import torchvision.models

            with ArithmeticOnCPU() if self.name.startswith("regnet_") else nullcontext():
                model: nn.Module = torchvision.models.get_model(self.name, weights=None, **options)
            return model
        if self.source == "timm":
            import timm

            return timm.create_model(self.name, pretrained=False, **options)
        if self.source == "flambeau":
            return XRESNETS[self.name](**options)
        if self.function is None:
            raise ArgumentError(f"The function behind {self.name!r} is not known here; pass the function itself.")
        return self.function(**options)

    def _parameters(self) -> set[str]:
        return set(inspect.signature(self.function).parameters) if self.function else set()


def find_architecture(arch: ArchitectureLike) -> Architecture:
    """Return the Architecture for a name, an Architecture, a torchvision, timm or xresnet function, or a callable.

    A name is looked up in timm first (so that "resnet26d" and the course's older names work), then in torchvision and
    among the xresnets. A callable of one's own returns a network, and may take `pretrained`.

    Raises:
        UnknownNameError: nobody knows the name; the nearest ones are proposed.
    """
    if isinstance(arch, Architecture):
        return arch
    if isinstance(arch, XResNetVariant):
        return Architecture(arch.name, "flambeau")
    if isinstance(arch, str):
        return _find_by_name(arch)
    if isinstance(arch, nn.Module) or not callable(arch):
        raise ArgumentError(
            f"An architecture is a name such as 'resnet34' or a function that builds a network, got a "
            f"{type(arch).__name__}. For a network that is already built use Learner(dls, model)."
        )
    name = getattr(arch, "__name__", type(arch).__name__)
    module = getattr(arch, "__module__", None) or ""
    if module.startswith("timm.models."):
        return _find_by_name(name)
    if module.startswith("torchvision.models.") and name in _torchvision_names():
        return Architecture(name, "torchvision")
    return Architecture(name, "function", arch)


def available_architectures(pattern: str = "*") -> list[str]:
    """Return the names of all architectures that match `pattern` (`*` and `?` stand for anything), sorted."""
    return sorted(fnmatch.filter(_known_names(), pattern))


def _find_by_name(name: str) -> Architecture:
    import timm.models

    base = name.partition(".")[0]
    old_names = timm.models.get_deprecated_models()
    if base in old_names:
        current = old_names[base]
        if current is None:
            raise ArgumentError(f"timm has removed the architecture {name!r} without a successor; choose another.")
        return Architecture(current, "timm")
    if timm.models.is_model(base):
        tagged = timm.list_models(f"{base}.*", include_tags=True)
        if name != base and name not in tagged:
            raise unknown_name("set of weights", name, tagged)
        return Architecture(name, "timm")
    if name in XRESNETS:
        return Architecture(name, "flambeau")
    if name in _torchvision_names():
        return Architecture(name, "torchvision")
    raise unknown_name("architecture", name, _known_names(), "available_architectures('*resnet*') lists the names.")


def _torchvision_names() -> list[str]:
    import torchvision.models

    return torchvision.models.list_models(module=torchvision.models)


def _known_names() -> set[str]:
    import timm

    return {*timm.list_models(), *_torchvision_names(), *XRESNETS}


alexnet = Architecture("alexnet")
convnext_tiny = Architecture("convnext_tiny")
convnext_small = Architecture("convnext_small")
convnext_base = Architecture("convnext_base")
convnext_large = Architecture("convnext_large")
densenet121 = Architecture("densenet121")
densenet161 = Architecture("densenet161")
densenet169 = Architecture("densenet169")
densenet201 = Architecture("densenet201")
efficientnet_b0 = Architecture("efficientnet_b0")
efficientnet_b1 = Architecture("efficientnet_b1")
efficientnet_b2 = Architecture("efficientnet_b2")
efficientnet_b3 = Architecture("efficientnet_b3")
efficientnet_b4 = Architecture("efficientnet_b4")
efficientnet_b5 = Architecture("efficientnet_b5")
efficientnet_b6 = Architecture("efficientnet_b6")
efficientnet_b7 = Architecture("efficientnet_b7")
efficientnet_v2_s = Architecture("efficientnet_v2_s")
efficientnet_v2_m = Architecture("efficientnet_v2_m")
efficientnet_v2_l = Architecture("efficientnet_v2_l")
mobilenet_v2 = Architecture("mobilenet_v2")
mobilenet_v3_small = Architecture("mobilenet_v3_small")
mobilenet_v3_large = Architecture("mobilenet_v3_large")
regnet_x_400mf = Architecture("regnet_x_400mf")
regnet_x_800mf = Architecture("regnet_x_800mf")
regnet_x_1_6gf = Architecture("regnet_x_1_6gf")
regnet_x_3_2gf = Architecture("regnet_x_3_2gf")
regnet_x_8gf = Architecture("regnet_x_8gf")
regnet_y_400mf = Architecture("regnet_y_400mf")
regnet_y_800mf = Architecture("regnet_y_800mf")
regnet_y_1_6gf = Architecture("regnet_y_1_6gf")
regnet_y_3_2gf = Architecture("regnet_y_3_2gf")
regnet_y_8gf = Architecture("regnet_y_8gf")
resnet18 = Architecture("resnet18")
resnet34 = Architecture("resnet34")
resnet50 = Architecture("resnet50")
resnet101 = Architecture("resnet101")
resnet152 = Architecture("resnet152")
resnext50_32x4d = Architecture("resnext50_32x4d")
resnext101_32x8d = Architecture("resnext101_32x8d")
shufflenet_v2_x1_0 = Architecture("shufflenet_v2_x1_0")
squeezenet1_0 = Architecture("squeezenet1_0")
squeezenet1_1 = Architecture("squeezenet1_1")
swin_t = Architecture("swin_t")
swin_s = Architecture("swin_s")
swin_b = Architecture("swin_b")
swin_v2_t = Architecture("swin_v2_t")
swin_v2_s = Architecture("swin_v2_s")
swin_v2_b = Architecture("swin_v2_b")
vgg11_bn = Architecture("vgg11_bn")
vgg13_bn = Architecture("vgg13_bn")
vgg16_bn = Architecture("vgg16_bn")
vgg19_bn = Architecture("vgg19_bn")
vit_b_16 = Architecture("vit_b_16")
vit_b_32 = Architecture("vit_b_32")
vit_l_16 = Architecture("vit_l_16")
wide_resnet50_2 = Architecture("wide_resnet50_2")
wide_resnet101_2 = Architecture("wide_resnet101_2")
