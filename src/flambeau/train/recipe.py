"""From objects to JSON and back: after reading it you know why loading an export runs nobody's code.

A recipe names a class of flambeau and its settings. Reading one imports nothing outside the package, builds nothing but
transforms, kinds, losses and models, and calls nothing but their constructors with plain values.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flambeau.data.dataset import Datasets, Getter, LostGetter
from flambeau.data.kinds import Kind
from flambeau.data.labels import ColReader
from flambeau.data.transform import Transform, as_transform
from flambeau.foundation.errors import ArgumentError, ExportError
from flambeau.foundation.nested import find_tensors
from flambeau.nn.describe import NotDescribable, build_module, describe_module
from flambeau.nn.losses import Loss
from flambeau.train.checkpoint import tied_names
from flambeau.train.lazy_layers import size_by_weights

Recipe = dict[str, Any]

# a model that carries `settings` names its builder by settings["model"]
MODEL_BUILDERS = {
    "vision": "flambeau.vision.models:build_vision_model",
    "xresnet": "flambeau.vision.models:build_vision_model",
    "tabular": "flambeau.tabular.models:build_tabular_model",
    "tabm": "flambeau.tabular.tabm:build_tabm",
    "collab": "flambeau.collab.models:build_collab_model",
    "trees": "flambeau.trees.models:build_tree_model",
    "awd_lstm_lm": "flambeau.text.models:build_language_model",
    "awd_lstm_classifier": "flambeau.text.models:build_text_classifier",
    "transformer": "flambeau.text.transformer_models:build_transformer",
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
PLACE = re.compile(r"flambeau(\.[a-z][a-z_0-9]*)+:[A-Za-z][A-Za-z_0-9]*(\.create)?")
# an export is a stranger's file: these bound what its numbers can make a machine do
MAX_SETTING = 2**15  # the side of a picture, say
MAX_WIDTH = 1024  # of a layer; more only where the file brings weights as wide
MAX_CLASS_WEIGHTS = 4096
MAX_LETTERS = 100  # of a name that is only told
CUT_WITH_TABLES = "was cut from a network that computes tables besides its weights"
ELSEWHERE = ("//", "\\\\", "/\\", "\\/")
MAX_UNSAVED_BYTES = 2**28  # of tables that a network computes for itself; those of a Swin transformer take 2 MB


def describe_part(part: Transform | Kind) -> Recipe:
    """Return the recipe of a transform or a kind; {"custom": name} for code of the user's own."""
    if isinstance(part, Transform):
        opener = part.__dict__.get("encodes")  # `PILImage.create`, as an ImageBlock has it
        owner = getattr(opener, "__self__", None)
        if isinstance(owner, type) and _is_ours(owner) and getattr(opener, "__name__", "") == "create":
            return {"function": f"{owner.__module__}:{owner.__name__}.create"}
    cls = type(part)
    if _is_ours(cls):
        try:
            return {"class": f"{cls.__module__}:{cls.__name__}", "settings": part.settings()}
        except ArgumentError:
            pass  # it wraps a function of the user's
    return {"custom": part.name if isinstance(part, Transform) else cls.__name__}


def _is_ours(cls: Any) -> bool:
    return isinstance(cls, type) and cls.__module__.startswith("flambeau.") and cls.__qualname__ == cls.__name__


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
        own = given[name]
        return own if isinstance(own, Kind) else as_transform(own)
    if "reader" in recipe:
        return _rebuild_getter(recipe)
    if "function" in recipe:
        # a function is called with what the user predicts, so only those that open an item will do
        if not str(recipe["function"]).endswith(".create"):
            raise ExportError(f"The export names the function {recipe['function']!r}, which opens no kind of item.")
        return Transform(_resolve(recipe["function"]))
    found = _resolve(recipe.get("class"))
    if not isinstance(found, type) or not issubclass(found, Transform | Kind) or found.settings is Transform.settings:
        raise ExportError(f"The export names {recipe['class']!r}, which is no transform or kind to build.")
    settings = recipe.get("settings") or {}
    try:
        if issubclass(found, Kind):
            return found(**_kind_settings(found, settings))
        made: Any = found(**settings)
    except ExportError:
        raise
    except Exception as error:  # constructors raise whatever they like at odd settings
        raise ExportError(f"The export's settings of {recipe['class']!r} do not fit: {error}.") from error
    return made


def _kind_settings(cls: type[Kind], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a kind's settings with lists as tuples, which JSON does not have, after a look at their types."""
    defaults = {field.name: field.default for field in fields(cls)}
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    for name, value in plain.items():
        if name in defaults and type(value) is not type(defaults[name]):
            expected = "list" if isinstance(defaults[name], tuple) else type(defaults[name]).__name__
            raise ExportError(f"The export gives {cls.__name__} {name}={value!r}; a {expected} was expected.")
    return plain


def check_numbers(recipe: Any, largest: float = MAX_SETTING) -> None:
    """Raise an ExportError when the settings of a recipe hold a number beyond `largest`."""
    for number in _numbers(recipe):
        if not abs(number) <= largest:
            raise ExportError(f"The export holds the setting {number}, which is beyond reason. Nothing was run.")


def _numbers(value: Any) -> Iterator[float]:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            waiting.extend(part.values())
        elif isinstance(part, list | tuple):
            waiting.extend(part)
        elif isinstance(part, int | float):
            yield part


def _resolve(place: Any) -> Any:
    if not isinstance(place, str) or not PLACE.fullmatch(place):
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
    # a class may be imported into many modules; it is written under its own
    owner = getattr(found, "__self__", found)
    if getattr(owner, "__module__", None) != module_name:
        raise ExportError(f"The export names {place!r}, which is not defined there; nothing of it was run.")
    if names.endswith(".create") and not isinstance(getattr(owner, "kind", None), Kind):
        raise ExportError(f"The export names {place!r}, which opens no kind of item.")
    return found


def describe_column(transforms: Sequence[Transform]) -> list[Recipe]:
    """Return the recipes of a column's transforms; of a getter, which is needed to read rows of a table, see below."""
    return [
        describe_getter(transform) if isinstance(transform, Getter) else describe_part(transform)
        for transform in transforms
    ]


def describe_getter(getter: Getter) -> Recipe:
    """Return the recipe of what reads a column: of a ColReader its settings, of the user's own code the name alone."""
    reader = getter.encodes
    if type(reader) is ColReader and all(type(name) in (str, int) for name in reader.cols):
        # with forward slashes a folder is one on every system
        settings = {"cols": list(reader.cols), "pref": reader.pref.replace(os.sep, "/"), "suff": reader.suff}
        return {"reader": {**settings, "label_delim": reader.label_delim}, "role": getter.role}
    return {"reader": None, "name": getter.name, "role": getter.role}


def _rebuild_getter(recipe: Mapping[str, Any]) -> Getter:
    role, reader = str(recipe.get("role")), recipe["reader"]
    if reader is None:
        return LostGetter(str(recipe.get("name"))[:MAX_LETTERS], role)
    texts = [reader["pref"], reader["suff"], reader["label_delim"] or ""]
    if not isinstance(reader["cols"], list) or not all(type(name) in (str, int) for name in reader["cols"]):
        raise ExportError(f"The export reads the columns {reader['cols']!r:.100}, which are no names.")
    # two slashes, or a scheme, name another machine: a table's pictures would be fetched from wherever the file says
    if not all(isinstance(text, str) for text in texts) or "://" in texts[0] or texts[0][:2] in ELSEWHERE:
        raise ExportError(f"The export reads pictures from {texts[0]!r:.100}, which is no folder of this machine.")
    return Getter(ColReader(reader["cols"], texts[0], texts[1], reader["label_delim"]), role)


def describe_datasets(datasets: Datasets) -> str | None:
    """Return the place of a class of data sets that makes its batches in its own way, None for the usual one."""
    cls = type(datasets)
    return f"{cls.__module__}:{cls.__name__}" if _is_ours(cls) and cls.travels else None


def datasets_class(place: Any) -> type[Datasets]:
    """Return the class of data sets that an export names.

    Raises:
        ExportError: it names something else.
    """
    found = Datasets if place is None else _resolve(place)
    if not isinstance(found, type) or not issubclass(found, Datasets):
        raise ExportError(f"The export names {place!r}, which is no class of data sets; nothing of it was run.")
    return found


def describe_model(model: nn.Module) -> Recipe:
    """Return the recipe of a model; {"custom": why} when a layer is code of the user's own, or was exchanged."""
    settings = getattr(model, "settings", None)
    if isinstance(settings, dict) and settings.get("model") in MODEL_BUILDERS:
        with torch.device("meta"):  # the layers without memory for their weights
            built = _builder(MODEL_BUILDERS[settings["model"]])(settings)
        if settings.get("cut") is not None and _computes_tables(built):
            return {"custom": f"it {CUT_WITH_TABLES}", "before": settings}
        if _alike(model, built):
            return {"settings": settings}
        return {"custom": "its layers were changed after it was built", "before": settings}
    if getattr(model, "foreign", ""):
        return {"custom": model.foreign}
    described = describe_module(model)
    return {"custom": str(described)} if isinstance(described, NotDescribable) else {"layers": described}


def _alike(model: nn.Module, built: nn.Module) -> bool:
    """Tell whether two models have the same layers: one whose layers were exchanged would predict otherwise."""
    here, there = ({name: tuple(t.shape) for name, t in m.state_dict().items()} for m in (model, built))
    return here == there and tied_names(model) == tied_names(built) and repr(model) == repr(built)


def _builder(place: str) -> Callable[[Mapping[str, Any]], nn.Module]:
    module_name, _, name = place.partition(":")
    build: Callable[[Mapping[str, Any]], nn.Module] = getattr(importlib.import_module(module_name), name)
    return build


def rebuild_model(recipe: Mapping[str, Any], given: nn.Module | None, weights: Mapping[str, Tensor]) -> nn.Module:
    """Build the model of a recipe, ready to load its weights, or take the one given.

    `weights` are those that the export brings: the recipe is built without memory first, and gets memory only when its
    layers are those of the weights, by name and shape. So a small file takes no more than a small model does.

    Raises:
        ExportError: the model has layers of the user's own and none was given, or its recipe does not fit.
    """
    if given is not None:
        size_by_weights(given, weights)
        return given
    build: Callable[[], nn.Module]
    if "settings" in recipe:
        build = partial(_build_from_settings, recipe["settings"], weights)
    elif "layers" in recipe:
        build = partial(build_module, recipe["layers"], sum(weight.numel() for weight in weights.values()))
    else:
        raise ExportError(
            "The export carries the model's weights but not its code: "
            f"{recipe.get('custom')}. {_how_to_give_back(recipe)}"
        )
    with torch.device("meta"):
        sketch = build()
    _require_same_layers(sketch, weights)
    if not _computes_tables(sketch):
        return sketch.to_empty(device="cpu")
    settings = recipe.get("settings")
    if isinstance(settings, Mapping) and settings.get("cut") is not None:
        # to build it again would take the memory of all that was cut off
        raise ExportError(f"The export's model {CUT_WITH_TABLES}. Give it back: load_learner(path, model=...).")
    return build()


def _computes_tables(sketch: nn.Module) -> bool:
    """Return whether a model without memory holds tensors that no weights fill, or one tensor under two names."""
    saved = {id(tensor) for tensor in sketch.state_dict(keep_vars=True).values()}
    held = {id(tensor) for layer in sketch.modules() for tensor in find_tensors(vars(layer))}
    return held != saved or bool(tied_names(sketch))


def _require_same_layers(sketch: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Raise an ExportError where a model without memory has other weights than the file, or much that is not in it."""
    tied, kept = tied_names(sketch), weights
    described = {n: t for n, t in sketch.state_dict().items() if n in kept or tied.get(n) not in kept}
    differing = [name for name in described if name not in kept or described[name].shape != kept[name].shape]
    differing += [name for name in kept if name not in described]
    if differing:
        told = "; ".join(
            f"{name}: {_shape(described.get(name))} by the description, {_shape(kept.get(name))} in the file"
            for name in differing[:3]
        )
        raise ExportError(
            f"The description of the model does not fit the weights beside it ({told}; {len(differing)} of "
            f"{len(described.keys() | kept.keys())} differ), so the model was not built. The file was changed after "
            "the export, or another version of timm or torchvision builds this network otherwise: install the "
            "versions that the export's .run.json names."
        )
    unsaved = sum(buffer.nbytes for name, buffer in sketch.named_buffers() if name not in described)
    if unsaved > MAX_UNSAVED_BYTES:
        raise ExportError(
            f"The described model needs {unsaved / 2**20:,.0f} MiB of tables besides its weights, which is beyond "
            "reason. It was not built."
        )


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else str(tuple(tensor.shape))


def _how_to_give_back(recipe: Mapping[str, Any]) -> str:
    """Return what to write so that a model that an export does not carry comes back."""
    before = recipe.get("before")
    if not isinstance(before, Mapping):
        return "Give the model back: load_learner(path, model=MyNet())."
    known = before.get("architecture")
    if isinstance(known, Mapping):
        usual = {"n_in": 3, "image_size": None, "cut": None}
        options = "".join(f", {k}={before.get(k)!r}" for k, value in usual.items() if before.get(k) != value)
        build = f"create_vision_model({known.get('name')!r}, {before.get('n_out')!r}{options}, pretrained=False)"
    else:
        build = f"{before.get('name')}(n_out={before.get('n_out')!r})"
    return (
        f"Build it as it was, change it as you did then, and give it back: model = {build}; then any change, such as "
        "model[1] = nn.Sequential(...); then load_learner(path, model=model). Its weights come from the export."
    )


def _build_from_settings(settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> nn.Module:
    builder = MODEL_BUILDERS.get(str(settings["model"]))
    if builder is None:
        raise ExportError(f"The export's model {settings['model']!r} is unknown to this version of flambeau.")
    widest = max((side for weight in weights.values() for side in weight.shape), default=0)
    # the range of a sigmoid sizes nothing, and rating in dollars, say, may be large
    sizes = {**settings, "head": {k: v for k, v in (settings.get("head") or {}).items() if k != "y_range"}}
    sizes.pop("custom_head", None)  # build_module bounds it by itself
    if isinstance(sizes.get("config"), Mapping):  # nor does a Mamba's range of time steps, which has no upper end
        sizes["config"] = {k: v for k, v in sizes["config"].items() if k != "time_step_limit"}
    for name in ("seq_len", "max_len"):  # how many words are read at once sizes nothing either
        sizes.pop(name, None)
    sizes.pop("positions", None)  # how far a transformer reads sizes no weights, and build_transformer bounds it
    check_numbers(sizes, max(widest, MAX_WIDTH))
    if sum(1 for _ in _numbers(sizes)) > MAX_WIDTH:
        raise ExportError("The export's settings of the model are longer than those of any model. Nothing was run.")
    try:
        return _builder(builder)(settings)
    except Exception as error:  # constructors raise whatever they like at odd settings
        raise ExportError(f"The export's settings of the model do not fit this version: {error}") from error


def describe_loss(loss_func: Any) -> Recipe:
    """Return the recipe of a loss, which tells how predictions are read; {"custom": name} for the user's own."""
    keywords = loss_func.keywords if isinstance(loss_func, partial) and not loss_func.args else {}
    inner = loss_func.func if keywords else loss_func
    cls = type(inner)
    for name, function in TORCH_LOSSES.items():
        if inner is function and len(_plain_settings(keywords)) == len(keywords):
            return {"function": name, "settings": _plain_settings(keywords)}
    if not keywords and TORCH_LOSS_CLASSES.get(cls.__name__) is cls:
        return {"torch": cls.__name__, "settings": _loss_settings(loss_func)}
    if not keywords and isinstance(loss_func, Loss) and _is_ours(cls):
        return {"class": f"{cls.__module__}:{cls.__name__}", "settings": _loss_settings(loss_func)}
    return {"custom": getattr(inner, "__name__", cls.__name__)}


def _loss_settings(loss_func: nn.Module) -> dict[str, Any]:
    names = inspect.signature(type(loss_func).__init__).parameters
    return _plain_settings({name: getattr(loss_func, name, None) for name in names})


def _plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that JSON can hold, class weights as lists."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Tensor) and value.numel() <= MAX_CLASS_WEIGHTS:
            found[name] = value.tolist()
        elif isinstance(value, str | int | float):
            found[name] = value
    return found


def rebuild_loss(recipe: Mapping[str, Any], given: Any) -> Any:
    """Build the loss of a recipe, or take the one given; a user's own that is not given leaves predictions raw.

    Raises:
        ExportError: the recipe names something that is no loss of flambeau or torch, or settings that do not fit.
    """
    if given is not None:
        return given
    settings = {name: _as_weights(value) for name, value in (recipe.get("settings") or {}).items()}
    try:
        if recipe.get("function") in TORCH_LOSSES:
            function = TORCH_LOSSES[recipe["function"]]
            return partial(function, **settings) if settings else function
        if recipe.get("torch") in TORCH_LOSS_CLASSES:
            return TORCH_LOSS_CLASSES[recipe["torch"]](**settings)
        if "class" in recipe:
            found = _resolve(recipe["class"])
            if isinstance(found, type) and issubclass(found, Loss):
                return found(**settings)
    except ExportError:
        raise
    except Exception as error:  # constructors raise whatever they like at odd settings
        raise ExportError(f"The export's settings of its loss do not fit: {error}.") from error
    if "custom" in recipe:
        return _unknown_loss
    raise ExportError(f"The export names a loss that flambeau does not know: {dict(recipe)}.")


def _as_weights(value: Any) -> Any:
    return torch.tensor(value) if isinstance(value, list) else value


def _unknown_loss(prediction: Any, *targets: Any) -> Any:
    """Stand for a loss of the user's own that an export does not carry."""
    raise ExportError("The loss of this export was code of your own. Give it back: load_learner(path, loss_func=...).")
