"""From objects to JSON and back: after reading it you know why loading an export runs nobody's code.

A recipe names a class of flambeau and its settings. Reading one imports nothing outside the package, builds nothing but
transforms, kinds, losses and models, and calls nothing but their constructors with plain values.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn
from torch.nn import functional as F

from flambeau.data.dataset import Getter
from flambeau.data.kinds import Kind
from flambeau.data.transform import Transform
from flambeau.foundation.errors import ArgumentError, ExportError, FlambeauError
from flambeau.nn.describe import NotDescribable, build_module, describe_module
from flambeau.nn.losses import Loss

Recipe = dict[str, Any]

# a model that carries `settings` names its builder by settings["model"]
MODEL_BUILDERS = {
    "vision": "flambeau.vision.models:build_vision_model",
    "xresnet": "flambeau.vision.models:build_vision_model",
}
TORCH_LOSSES: dict[str, Callable[..., Any]] = {
    "cross_entropy": F.cross_entropy,
    "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits,
    "mse_loss": F.mse_loss,
    "l1_loss": F.l1_loss,
}
TORCH_LOSS_CLASSES: dict[str, type[nn.Module]] = {
    "CrossEntropyLoss": nn.CrossEntropyLoss,
    "BCEWithLogitsLoss": nn.BCEWithLogitsLoss,
    "MSELoss": nn.MSELoss,
    "L1Loss": nn.L1Loss,
}
PLACE = re.compile(r"flambeau(\.[a-z_0-9]+)+:[A-Za-z_0-9]+(\.create)?")


def describe_part(part: Transform | Kind) -> Recipe:
    """Return the recipe of a transform or a kind; {"custom": name} for code of the user's own."""
    if isinstance(part, Transform):
        wrapped = part.__dict__.get("encodes")
        owner = getattr(wrapped, "__self__", None)
        if isinstance(owner, type) and owner.__module__.startswith("flambeau.") and wrapped.__name__ == "create":  # type: ignore[union-attr]
            return {"function": f"{owner.__module__}:{owner.__name__}.create"}
    cls = type(part)
    if cls.__module__.startswith("flambeau."):
        try:
            return {"class": f"{cls.__module__}:{cls.__name__}", "settings": part.settings()}
        except ArgumentError:
            pass
    return {"custom": part.name if isinstance(part, Transform) else cls.__name__}


def rebuild_part(recipe: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """Build the transform or kind that a recipe describes; `given` holds the user's own, by name.

    Raises:
        ExportError: the recipe names something that is no part of flambeau, or a part of the user's that was not given.
    """
    if "custom" in recipe:
        name = recipe["custom"]
        if name not in given:
            raise ExportError(
                f"The export was made with a transform of your own, {name!r}, which it does not carry. "
                f"Give it back: load_learner(path, transforms={{{name!r}: ...}})."
            )
        return given[name]
    found = _resolve(recipe.get("function") or recipe.get("class") or "")
    if "function" in recipe:
        return Transform(found)
    if not (isinstance(found, type) and issubclass(found, Transform | Kind)):
        raise ExportError(f"The export names {recipe['class']!r}, which is no transform or kind of flambeau.")
    settings = {str(k): tuple(v) if issubclass(found, Kind) and isinstance(v, list) else v
                for k, v in dict(recipe.get("settings") or {}).items()}  # fmt: skip
    try:
        return found(**settings)
    except (TypeError, ValueError, FlambeauError) as error:
        raise ExportError(f"The export's settings of {recipe['class']!r} do not fit: {error}.") from error


def _resolve(place: str) -> Any:
    if not PLACE.fullmatch(place):
        raise ExportError(f"The export names {place!r}, which is no part of flambeau; nothing of it was run.")
    module_name, _, names = place.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for name in names.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise ExportError(
            f"The export names {place!r}, which this version of flambeau does not have ({error}). Install the version "
            "that the export's header names."
        ) from error
    if names.endswith(".create") and not isinstance(getattr(getattr(found, "__self__", None), "kind", None), Kind):
        raise ExportError(f"The export names {place!r}, which opens no kind of item.")
    return found


def describe_column(transforms: Sequence[Transform]) -> list[Recipe]:
    """Return the recipes of a column's transforms, without the getters that only training items need."""
    return [describe_part(transform) for transform in transforms if not isinstance(transform, Getter)]


def describe_model(model: nn.Module) -> Recipe:
    """Return the recipe of a model; {"custom": why} when a layer is code of the user's own."""
    settings = getattr(model, "settings", None)
    if isinstance(settings, dict) and settings.get("model") in MODEL_BUILDERS:
        return {"settings": settings}
    described = describe_module(model)
    return {"custom": str(described)} if isinstance(described, NotDescribable) else {"layers": described}


def rebuild_model(recipe: Mapping[str, Any], given: nn.Module | None) -> nn.Module:
    """Build the model of a recipe with random weights, or take the one given.

    Raises:
        ExportError: the model has layers of the user's own and none was given.
    """
    if given is not None:
        return given
    if "settings" in recipe:
        settings = recipe["settings"]
        builder = MODEL_BUILDERS.get(str(settings.get("model")))
        if builder is None:
            raise ExportError(f"The export's model {settings.get('model')!r} is unknown to this version of flambeau.")
        module_name, _, name = builder.partition(":")
        try:
            built = getattr(importlib.import_module(module_name), name)(settings)
        except (KeyError, TypeError) as error:
            raise ExportError(f"The export's settings of the model do not fit this version: {error!r}.") from error
        assert isinstance(built, nn.Module)
        return built
    if "layers" in recipe:
        return build_module(recipe["layers"])
    raise ExportError(
        f"The export carries the model's weights but not its code: {recipe.get('custom')}. "
        "Give the model back: load_learner(path, model=MyNet())."
    )


def describe_loss(loss_func: Any) -> Recipe:
    """Return the recipe of a loss, which tells how predictions are read; {"custom": name} for the user's own."""
    for name, function in TORCH_LOSSES.items():
        if loss_func is function:
            return {"function": name}
    for name, cls in TORCH_LOSS_CLASSES.items():
        if type(loss_func) is cls:
            return {"torch": name}
    if isinstance(loss_func, Loss) and type(loss_func).__module__.startswith("flambeau."):
        settings = {}
        for name in inspect.signature(type(loss_func).__init__).parameters:
            value = getattr(loss_func, name, None)
            if isinstance(value, str | int | float | bool):
                settings[name] = value
        return {"class": f"{type(loss_func).__module__}:{type(loss_func).__name__}", "settings": settings}
    return {"custom": getattr(loss_func, "__name__", type(loss_func).__name__)}


def rebuild_loss(recipe: Mapping[str, Any], given: Any) -> Any:
    """Build the loss of a recipe, or take the one given; a user's own that is not given leaves predictions raw."""
    if given is not None:
        return given
    if "function" in recipe and recipe["function"] in TORCH_LOSSES:
        return TORCH_LOSSES[recipe["function"]]
    if "torch" in recipe and recipe["torch"] in TORCH_LOSS_CLASSES:
        return TORCH_LOSS_CLASSES[recipe["torch"]]()
    if "class" in recipe:
        found = _resolve(recipe["class"])
        if isinstance(found, type) and issubclass(found, Loss):
            return found(**recipe.get("settings", {}))
    if "custom" in recipe:
        return _unknown_loss
    raise ExportError(f"The export names a loss that flambeau does not know: {dict(recipe)}.")


def _unknown_loss(prediction: Any, *targets: Any) -> Any:
    """Stand for a loss of the user's own that an export does not carry."""
    raise ExportError("The loss of this export was code of your own. Give it back: load_learner(path, loss_func=...).")
