"""Keeping weights: after reading it you know what `save` writes and why `load` is safe.

A checkpoint is one safetensors file: the model's tensors under `model.`, the optimizer's under `optimizer.`, and the
rest (hyper-parameters, versions) as JSON in the file's header. Reading it can run no code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path as AnyPath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from flambeau.foundation.errors import ExportError, nearest
from flambeau.foundation.paths import Path, atomic_write

if TYPE_CHECKING:
    from flambeau.train.learner import Learner

HEADER, CHECKSUM = "flambeau", "checksum"
# settings of a torch optimizer that belong to the machine, not to the training
MACHINE_SETTINGS = {"params", "fused", "foreach", "capturable", "differentiable"}
SUFFIX = ".safetensors"
WHAT_TO_DO = "load reads what learn.save wrote; load_learner reads what learn.export wrote."


def write_tensors(path: str | AnyPath, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> Path:
    """Write tensors and a JSON header to one safetensors file; a failure leaves the old file as it was.

    Raises:
        ExportError: the header holds a value that JSON cannot.
    """
    from safetensors.torch import save

    try:
        words = json.dumps(header, default=_as_json)
    except (TypeError, ValueError) as error:
        raise ExportError(f"{path} cannot be written: {error}. Classes must be words or numbers.") from error
    # safetensors wants each tensor whole and alone in memory
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    payload = save(whole, metadata={HEADER: words, CHECKSUM: _checksum(words, whole)})
    path = make_folder_of(path)
    with atomic_write(path, "wb") as file:
        file.write(payload)
    return path


def make_folder_of(path: str | AnyPath) -> Path:
    """Make the folder that a file shall lie in, and return the file's path.

    Raises:
        ExportError: a file is in the place of the folder, or a folder in the place of the file.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        taken = next(part for part in path.parents if part.is_file())
        raise ExportError(
            f"{path} cannot be written: {taken} is a file, and a folder is needed there. Move it away, or write "
            "elsewhere: Learner(..., path=, model_dir=)."
        ) from error
    if path.is_dir():
        raise ExportError(f"{path} cannot be written: a folder has this name. Move it away, or name another file.")
    return path


def _as_json(value: Any) -> Any:
    if isinstance(value, np.generic):  # labels of a data frame
        return value.item()
    raise TypeError(f"{value!r} of type {type(value).__name__} has no form in JSON")


def _checksum(words: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the header and of each tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(words.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_tensors(path: str | AnyPath, expected_format: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the header of a file that flambeau wrote. Nothing in it is executed.

    Raises:
        ExportError: there is no such file, or it is something else (a pickle, say), damaged or of another format.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*") if p.is_file()] if path.parent.is_dir() else []
        close = nearest(path.name, beside, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        where = "" if path.is_absolute() else " A learner writes under its own path: pass what learn.export returned."
        raise ExportError(f"There is no file {path}.{hint}{where} {WHAT_TO_DO}")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            header = json.loads(metadata.get(HEADER, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ExportError(
            f"{path} is no flambeau file or is damaged ({error}). It was not executed. A file pickled by fastai or "
            f"torch cannot be read: write it anew with learn.export. {WHAT_TO_DO}"
        ) from error
    found = header.get("format") if isinstance(header, dict) else None
    if found is not None and metadata.get(CHECKSUM) != _checksum(metadata[HEADER], tensors):
        raise ExportError(f"{path} is damaged: its contents are not those that were written. Copy or download it anew.")
    if found != expected_format:
        what = f"a flambeau file of format {found!r}" if found else "a safetensors file of another program"
        raise ExportError(f"{path} is {what}, but {expected_format!r} was expected. {WHAT_TO_DO}")
    return tensors, header


def checkpoint_path(learn: Learner, file: str | AnyPath) -> Path:
    """Return where a checkpoint of this name lives: under `path/model_dir`, with a suffix if it has none."""
    path = Path(file)
    path = path if path.is_absolute() else learn.path / learn.model_dir / path
    return path if path.suffix else path.with_name(path.name + SUFFIX)


def save_weights(learn: Learner, file: str | AnyPath, with_opt: bool) -> Path:
    """Write the model and, when wanted, the optimizer."""
    tensors = {f"model.{name}": value for name, value in distinct_state(learn.model).items()}
    header: dict[str, Any] = {"format": "flambeau-checkpoint", "format_version": 1, "torch": torch.__version__}
    if with_opt and learn._optimizer is not None:
        memory, header["optimizer"] = optimizer_parts(learn._optimizer)
        tensors |= memory
    return write_tensors(checkpoint_path(learn, file), tensors, header)


def optimizer_parts(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what an optimizer remembers: its tensors, named `optimizer.<parameter>.<what>`, and plain values."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
            else:
                plain.setdefault(str(index), {})[name] = value
    groups = [{k: v for k, v in group.items() if _is_plain(v)} for group in state["param_groups"]]
    return tensors, {"class": type(optimizer).__name__, "groups": groups, "state": plain}


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def load_weights(learn: Learner, file: str | AnyPath, with_opt: bool, strict: bool) -> None:
    """Read weights into the learner's model, and the optimizer's state where both sides have one.

    Raises:
        ExportError: the file is not a checkpoint, or its layers are not the model's (the first that differ are named).
    """
    tensors, header = read_tensors(checkpoint_path(learn, file), "flambeau-checkpoint")
    weights = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    load_state(learn.model, weights, strict, str(file))
    kept = header.get("optimizer")
    if not with_opt or kept is None:
        return
    if not restore_optimizer(learn, tensors, kept, str(file)):
        print(f"{file}: the optimizer's state was made by another optimizer or split, and is left out.")


def restore_optimizer(learn: Learner, tensors: Mapping[str, Tensor], kept: Mapping[str, Any], source: str) -> bool:
    """Give the learner a new optimizer that remembers what was kept; return whether it could take it.

    Raises:
        ExportError: what was kept is misshapen.
    """
    learn.create_opt()
    optimizer = learn.optimizer
    own = optimizer.state_dict()["param_groups"]
    try:
        state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in kept["state"].items()}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".", 2)
                state.setdefault(int(index), {})[key] = value
        sizes = [len(group["params"]) for group in kept["groups"]]
        if kept["class"] != type(optimizer).__name__ or sizes != [len(group["params"]) for group in own]:
            return False
        groups = [_as_torch(before, group) for before, group in zip(own, kept["groups"], strict=True)]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ExportError(f"The optimizer's state in {source} is misshapen: {error!r}. Try with_opt=False.") from error
    return True


def _as_torch(before: dict[str, Any], kept: dict[str, Any]) -> dict[str, Any]:
    """Return a group with what was kept in JSON, as torch's own types: betas are a tuple again."""
    read = {name: value for name, value in kept.items() if name not in MACHINE_SETTINGS}
    return {**before, **{k: tuple(v) if isinstance(before.get(k), tuple) else v for k, v in read.items()}}


def tied_names(model: torch.nn.Module) -> dict[str, str]:
    """Return the further names of each tensor that a model holds under several, with the first of them."""
    first: dict[int, str] = {}
    names = {name: first.setdefault(id(t), name) for name, t in model.state_dict(keep_vars=True).items()}
    return {name: known for name, known in names.items() if name != known}


def distinct_state(model: torch.nn.Module) -> dict[str, Tensor]:
    """Return a model's weights and buffers, each once: tied ones under the first of their names."""
    tied = tied_names(model)
    return {name: value for name, value in model.state_dict().items() if name not in tied}


def _cause(model: torch.nn.Module, shapes: list[str], missing: list[str], extra: list[str]) -> str:
    """Return why weights do not fit: as a model knows of itself (`cause_of_misfit`), else what is most often so."""
    own = getattr(model, "cause_of_misfit", None)
    told: str | None = None if own is None or shapes else own(missing, extra)
    return told or "They belong to another architecture or number of classes."


def load_state(model: torch.nn.Module, weights: Mapping[str, Tensor], strict: bool, source: str) -> None:
    """Load weights into a model, or say which layers differ.

    Raises:
        ExportError: names or shapes differ (`strict=False` allows names to differ, never shapes).
    """
    own, tied = model.state_dict(), tied_names(model)
    shapes = [n for n in own if n in weights and own[n].shape != weights[n].shape]
    missing = [n for n in own if n not in weights and tied.get(n) not in weights]
    extra = [n for n in weights if n not in own]
    if shapes or (strict and (missing or extra)):
        told = [f"{n}: {tuple(weights[n].shape)} in the file, {tuple(own[n].shape)} in the model" for n in shapes[:3]]
        told += [f"{n} is only in the model" for n in missing[:3]] + [f"{n} is only in the file" for n in extra[:3]]
        n_more = len(shapes) + len(missing) + len(extra) - len(told)
        raise ExportError(
            f"The weights of {source} do not fit this model: {'; '.join(told)}"
            f"{f'; and {n_more} more' if n_more > 0 else ''}. {_cause(model, shapes, missing, extra)}"
        )
    model.load_state_dict(dict(weights), strict=False)
