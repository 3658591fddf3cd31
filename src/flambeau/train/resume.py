"""Resuming: after reading it you know what a training run consists of, and how one that was broken off goes on.

A run is more than weights: the optimizer's memory, the streams of chance, the order of the items and the place in it,
what the callbacks have counted, and gradients that wait for a step. With all of it a resumed run ends, on the CPU, with
the very numbers of an unbroken one.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flambeau.data.loaders import DataLoader
from flambeau.foundation.errors import ArgumentError, ExportError
from flambeau.foundation.paths import Path
from flambeau.foundation.show_install import installed_versions
from flambeau.train.callback import Callback
from flambeau.train.checkpoint import (
    distinct_state,
    load_state,
    optimizer_parts,
    read_tensors,
    restore_optimizer,
    write_tensors,
)
from flambeau.train.loaders_chance import LoadersChance

if TYPE_CHECKING:
    from flambeau.train.learner import Learner

FORMAT, FORMAT_VERSION = "flambeau-run", 1


@dataclass(frozen=True)
class Position:
    """Where a run stands: in which fit of its learner (from 1), epoch (from 0) and after how many batches of it."""

    fit: int
    epoch: int
    batch: int

    def __str__(self) -> str:
        return f"fit {self.fit}, epoch {self.epoch}" + (f", batch {self.batch}" if self.batch else "")


@dataclass
class KeptRun:
    """A run as it was read from a file."""

    path: Path
    tensors: dict[str, Tensor]
    header: dict[str, Any]

    @property
    def position(self) -> Position:
        """Where the run stood."""
        return Position(**self.header["position"])

    def chance(self, place: int, moment: str) -> LoadersChance:
        """Return where chance stood in one of the run's processes, `now` or at `epoch_start`."""
        return LoadersChance.of_tensors(self.part(f"chance.{place}.{moment}."))

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors under a prefix, by the rest of their names."""
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}


def save_run(
    learn: Learner,
    path: Path,
    position: Position,
    settings: Mapping[str, Any],
    data: Mapping[str, Any],
    chances: Sequence[Mapping[str, Mapping[str, Tensor]]],
) -> None:
    """Write all of a run to one file, whole or not at all.

    `chances` holds, for each process of the run, where chance stands `now` and, if its loader is a foreign one, where
    it stood at `epoch_start`: from there the loader is replayed.

    Raises:
        ExportError: a callback's state is neither plain values nor tensors.
        OSError: the file cannot be written; the earlier one stays.
    """
    tensors = {f"model.{name}": value for name, value in distinct_state(learn.model).items()}
    memory, optimizer = optimizer_parts(learn.optimizer)
    tensors |= memory
    for name, parameter in learn.model.named_parameters():
        if parameter.grad is not None:  # gradients that are still being accumulated
            tensors[f"gradient.{name}"] = parameter.grad
    for place, moments in enumerate(chances):
        for moment, states in moments.items():
            tensors |= {f"chance.{place}.{moment}.{name}": value for name, value in states.items()}
    callbacks = {name: _packed(cb.state_dict(), f"callback.{name}", tensors) for name, cb in named(learn.cbs)}
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "versions": {"python": platform.python_version(), **installed_versions()},
        "position": asdict(position),
        "train_iter": learn.train_iter,
        "run": learn.recorder.run,
        "settings": settings,
        "data": data,
        "optimizer": optimizer,
        "scaler": learn.scaler.state_dict() if learn.scaler is not None else None,
        "loaders": [_loader_state(loader) for loader in learn.dls.loaders],
        "callbacks": {name: state for name, state in callbacks.items() if state},
    }
    write_tensors(path, tensors, header)


def read_run(path: Path) -> KeptRun:
    """Return the run that a file holds.

    Raises:
        ExportError: the file is damaged, or something else.
    """
    tensors, header = read_tensors(path, FORMAT)
    try:
        return KeptRun(path, tensors, {**header, "position": asdict(Position(**header["position"]))})
    except (KeyError, TypeError) as error:
        raise ExportError(f"{path} holds no position to go on from ({error!r}). Delete it to begin anew.") from error


def require_same(kept: KeptRun, settings: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Check that this is the run which was broken off.

    Raises:
        ArgumentError: its settings or its data are others; each difference is named.
    """
    other = _differences(kept.header["settings"], settings)
    if other:
        raise ArgumentError(
            f"resume=True goes on with the run in {kept.path}, and its settings were others: {other}. Set them back, "
            "or begin anew with resume=False (which replaces the file)."
        )
    other = _differences(kept.header["data"], data)
    if other:
        raise ArgumentError(
            f"resume=True goes on with the run in {kept.path}, and its data were others: {other}. A split without a "
            "seed differs from run to run: pass seed= to the loaders, or call set_seed first. Or begin anew with "
            "resume=False (which replaces the file)."
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    told = []
    for name in now:
        old, new = before.get(name), now[name]
        if old == new or (name == "schedule of lr" and before.get("lr") != now.get("lr")):
            continue  # a schedule follows from its rate
        if isinstance(old, Mapping) and isinstance(new, Mapping) and old.get("n") != new.get("n"):
            told.append(f"{old.get('n')} {name} items then, {new.get('n')} now")
        elif isinstance(old, Mapping) and isinstance(new, Mapping) and "sha256" in new:
            told.append(f"other {name} items, or in another order (as many: {new.get('n')})")
        else:
            told.append(f"{name} {old!r:.80} then, {new!r:.80} now")
    return "; ".join(told)


def restore_run(learn: Learner, kept: KeptRun, place: int = 0) -> None:
    """Put a run back into its learner, and see to it that the loop goes on where it stood.

    `place` is that of this process among those of the run.

    Raises:
        ExportError: the model or the optimizer is another; the layers that differ are named.
    """
    source = str(kept.path)
    load_state(learn.model, kept.part("model."), strict=True, source=source)
    if not restore_optimizer(learn, kept.tensors, kept.header["optimizer"], source):
        raise ExportError(f"The optimizer of {source} was another, or other layers were frozen; make the same one.")
    gradients = kept.part("gradient.")
    for name, parameter in learn.model.named_parameters():
        # laid out as the parameter: torch's fused steps read both in the order they have in memory
        parameter.grad = torch.empty_like(parameter).copy_(gradients[name]) if name in gradients else None
    if learn.scaler is not None and kept.header["scaler"] is not None:
        learn.scaler.load_state_dict(kept.header["scaler"])
    learn.train_iter = kept.header["train_iter"]
    states = dict(kept.header["callbacks"])
    for name, cb in named(learn.cbs):
        if name in states:
            cb.load_state_dict(_unpacked(states.pop(name), kept.tensors))
    if states:
        print(f"The run had callbacks that this one has not: {', '.join(states)}.")
    for loader, state in zip(learn.dls.loaders, kept.header["loaders"], strict=True):
        if isinstance(loader, DataLoader) and state is not None:
            loader.go_to(**state)
    now = kept.chance(place, "now")
    if kept.position.batch == 0:
        now.restore(learn.dls.loaders)
        return
    loader, n_done = learn.dls.train, kept.position.batch
    if isinstance(loader, DataLoader):
        loader.go_to(loader.maker.seed, loader.epoch - 1)  # counted at the epoch's start
        now.restore(learn.dls.loaders)
        learn.rest = n_done, learn.dl.batches(n_done)  # the loader's own, or a process's share of them
    else:
        began = kept.chance(place, "epoch_start")
        learn.rest = n_done, _replayed(learn.dl, learn.dls.loaders, n_done, began, now)


def _replayed(
    loader: Any, loaders: Sequence[Any], n_done: int, began: LoadersChance, now: LoadersChance
) -> Iterator[Any]:
    """Yield what is left of an epoch of a foreign loader: it cannot begin in the middle, so all is made again."""
    began.restore(loaders)
    batches = iter(loader)
    for _ in range(n_done):
        next(batches)
    now.restore(loaders)
    yield from batches


def _loader_state(loader: Any) -> dict[str, int] | None:
    return {"seed": loader.maker.seed, "epoch": loader.epoch} if isinstance(loader, DataLoader) else None


def named(cbs: Sequence[Callback]) -> Iterator[tuple[str, Callback]]:
    """Yield the callbacks with a name of its own for each: the second of a kind is `name-2`."""
    seen: Counter[str] = Counter()
    for cb in cbs:
        seen[cb.name] += 1
        yield (cb.name if seen[cb.name] == 1 else f"{cb.name}-{seen[cb.name]}"), cb


TENSOR = "tensor in this file"


def _packed(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return a state as JSON has it; its tensors go into `tensors` and leave their name."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {TENSOR: name}
    if isinstance(value, Mapping):
        return {str(key): _packed(part, f"{name}.{key}", tensors) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_packed(part, f"{name}.{place}", tensors) for place, part in enumerate(value)]
    return value


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, Mapping):
        if TENSOR in value:
            return tensors[value[TENSOR]]
        return {key: _unpacked(part, tensors) for key, part in value.items()}
    if isinstance(value, list):
        return [_unpacked(part, tensors) for part in value]
    return value
