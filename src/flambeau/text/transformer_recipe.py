"""How a transformer is built again from plain values: after reading it you know what no export can ask for.

transformers describes an architecture by a configuration. Of that an export keeps the numbers, words and switches that
its class declares or its code asks for, and nothing that names code, another repository, a kernel or a file: building
reads this description, and takes only architectures that transformers itself ships.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from flambeau.foundation.errors import ArgumentError, unknown_name
from flambeau.text.transformer_files import import_transformers, quiet_transformers

TASKS = {
    "classification": "AutoModelForSequenceClassification",
    "regression": "AutoModelForSequenceClassification",
    "similarity": "AutoModel",
    "token classification": "AutoModelForTokenClassification",
    "masked_lm": "AutoModelForMaskedLM",
    "causal_lm": "AutoModelForCausalLM",
}
# what a configuration holds besides the architecture: whence it came, its labels, how it runs, and code
NOT_KEPT = {
    *(
        "transformers_version",
        "architectures",
        "dtype",
        "torch_dtype",
        "name_or_path",
        "problem_type",
        "per_layer_config",
    ),
    *("id2label", "label2id", "num_labels", "return_dict", "output_hidden_states", "output_attentions", "use_cache"),
    *("attn_implementation", "experts_implementation", "gradient_checkpointing", "torchscript"),
    *("auto_map", "quantization_config"),
}
# how far positions reach sizes no weights where positions are rotations of the queries and keys
ROTARY = re.compile("rope|position|window|context|chunk")
ASKED_FOR = re.compile(r"""getattr\(\s*(?:self\.)?config\s*,\s*["'](\w+)["']""")
MAX_POSITIONS = 2**24
MAX_DEPTH = 4  # of dictionaries and lists in a configuration
MAX_CALLS = 20_000  # of torch, to build a network; one of 80 layers takes 5,000
ATTENTION = ("sdpa", "eager")  # torch's fused attention, else the formula written out


def plain_config(config: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the architecture that a configuration of transformers describes, as JSON values, and its rotary positions.

    Raises:
        ArgumentError: it is one of several models in one, or of a class that transformers does not ship.
    """
    model_type = str(config.model_type)
    known = _declared(model_type)
    if type(config) is not type(known) or any(getattr(config, name, None) is not None for name in known.sub_configs):
        raise ArgumentError(
            f"A model of type {model_type!r} ({type(config).__name__}) is no single text model that transformers "
            "ships. Choose one that is, such as 'distilbert/distilroberta-base'."
        )
    values = config.to_dict()
    kept = {name: _plain(values[name]) for name in sorted(_kept_names(known)) if name in values}
    # the usual markers of a type of model, where this one has a smaller vocabulary of its own
    for name in [name for name in kept if name.endswith("_token_id")]:
        if isinstance(kept[name], int) and kept[name] >= values.get("vocab_size", 0):
            del kept[name]
    rotary = {name: kept.pop(name) for name in _rotary_names(known) if name in kept}
    return {"model_type": model_type, **kept}, rotary


def read_config(plain: Mapping[str, Any], rotary: Mapping[str, Any]) -> Any:
    """Return the configuration of transformers that `plain_config` wrote down.

    Raises:
        ArgumentError: the description names something that is no part of an architecture, or numbers beyond reason.
    """
    known = _declared(plain.get("model_type"))
    names, own = _kept_names(known), _rotary_names(known)
    for name, value in plain.items():
        if name != "model_type" and (name not in names or name in own):
            raise ArgumentError(f"{name!r} is no setting of a {plain['model_type']}; nothing was built.")
        _require_plain(name, value)
    for name, value in rotary.items():
        if name not in own:
            raise ArgumentError(f"{name!r} is no position of a {plain['model_type']}; nothing was built.")
        _require_plain(name, value)
        if any(not abs(number) <= MAX_POSITIONS for number in _numbers(value)):
            raise ArgumentError(f"The positions {name}={value!r:.100} are beyond reason; nothing was built.")
    settings = {name: value for name, value in {**plain, **rotary}.items() if name != "model_type"}
    with quiet_transformers():
        return type(known)(**settings)


def make_net(config: Any, task: str, n_out: int) -> torch.nn.Module:
    """Return the network of a configuration with a head for a task, its weights random and in float32.

    Raises:
        ArgumentError: transformers has no such head for this architecture.
    """
    auto = auto_class(task, config)
    if task in ("classification", "regression", "token classification"):
        config.num_labels = n_out
    with quiet_transformers():
        net: torch.nn.Module = auto.from_config(
            config, trust_remote_code=False, dtype=torch.float32, attn_implementation=attention_of(auto, config)
        )
    if task == "similarity":
        leave_out_pooler(net)
    return net


def leave_out_pooler(net: Any) -> None:
    """Drop the layer that BERT and its kin put on the first marker's vector: the average of all tokens needs none."""
    if isinstance(getattr(net, "pooler", None), torch.nn.Module):
        net.pooler = None


class FewCalls(TorchFunctionMode):
    """Let torch be called no more often than building a real network takes: a stranger's may have a million layers."""

    def __init__(self) -> None:
        super().__init__()
        self.n_left = MAX_CALLS

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.n_left -= 1
        if self.n_left < 0:
            raise ArgumentError("The described network has more layers than any, so it was not built.")
        return func(*args, **(kwargs or {}))


def auto_class(task: str, config: Any) -> Any:
    """Return the class of transformers that makes heads for a task.

    Raises:
        UnknownNameError: there is no such task. ArgumentError: this architecture has no such head.
    """
    if task not in TASKS:
        raise unknown_name("task of a transformer", task, TASKS)
    auto = getattr(import_transformers("A transformer"), TASKS[task])
    if type(config) not in auto._model_mapping.keys():  # noqa: SIM118 (its `in` asks for a lazy import)
        raise ArgumentError(f"transformers has no {task} head for a model of type {config.model_type!r}.")
    return auto


def attention_of(auto: Any, config: Any) -> str:
    """Return how attention is computed: by torch's fused function where the architecture has it."""
    made = auto._model_mapping[type(config)]
    cls = made[0] if isinstance(made, tuple | list) else made
    return ATTENTION[0] if getattr(cls, "_supports_sdpa", False) else ATTENTION[1]


def _declared(model_type: Any) -> Any:
    """Return the usual configuration of a type of model that transformers ships."""
    transformers = import_transformers("A transformer")
    names = transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES
    if not isinstance(model_type, str) or model_type not in names:
        raise unknown_name("type of transformer", model_type, names)
    cls = transformers.CONFIG_MAPPING[model_type]
    if not cls.__module__.startswith("transformers.models."):
        raise ArgumentError(f"The type {model_type!r} is a class of somebody else's here; nothing was built.")
    with quiet_transformers():
        return cls()


def _kept_names(known: Any) -> set[str]:
    left_out = {"model_type", *NOT_KEPT, *known.sub_configs}
    names = {*known.to_dict(), *_undeclared_names(type(known).__module__)}
    return {name for name in names if name not in left_out and not name.startswith("_")}


@cache
def _undeclared_names(module: str) -> frozenset[str]:
    """Return the settings that an architecture's code asks a configuration for, whether its class declares them or not.

    DeBERTa-v3 is published with some that only its code knows: without `share_att_key` it is another network.
    """
    folder = Path(str(import_module(module).__file__)).parent
    code = "".join(file.read_text(encoding="utf-8") for file in sorted(folder.glob("modeling_*.py")))
    return frozenset(name for name in ASKED_FOR.findall(code) if not name.endswith("_config"))


def _rotary_names(known: Any) -> set[str]:
    names = _kept_names(known)
    return {name for name in names if ROTARY.search(name)} if any("rope" in name for name in names) else set()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ArgumentError(f"The configuration holds {value!r:.100} of type {type(value).__name__}, no plain value.")


def _require_plain(name: str, value: Any, depth: int = 0) -> None:
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for part in parts:
        _require_plain(name, part, depth + 1)
    if depth > MAX_DEPTH or not (value is None or isinstance(value, str | bool | int | float | list | Mapping)):
        raise ArgumentError(f"The setting {name}={value!r:.100} is no plain value; nothing was built.")


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _numbers(part)
    elif isinstance(value, int | float):
        yield value
