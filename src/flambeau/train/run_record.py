"""Run records: after reading it you know what to write down so that one can tell, a year on, how a model was made.

Beside each checkpoint and each export lies a `<its name>.run.json`: the code's versions and commit, a fingerprint of
the data, the settings, the machine, and the history of all epochs.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path as AnyPath
from typing import TYPE_CHECKING, Any

import torch

from flambeau.data.fingerprint import fingerprint
from flambeau.foundation.paths import Path, atomic_write
from flambeau.foundation.show_install import installed_versions
from flambeau.nn.optimizers import get_hyper

if TYPE_CHECKING:
    from flambeau.train.learner import Learner

RECORD_SUFFIX = ".run.json"
SECONDS_FOR_GIT = 5


def write_run_record(learn: Learner, beside: str | AnyPath, data: dict[str, Any] | None = None) -> Path:
    """Write the record of a learner's training beside a file, and return its path.

    `data` is the data's fingerprint where it is known already.
    """
    path = Path(beside)
    path = path.with_name(path.stem + RECORD_SUFFIX)
    record = run_record(learn, data)
    with atomic_write(path, "w") as file:
        json.dump(record, file, indent=2, default=str)
        file.write("\n")
    return path


def run_record(learn: Learner, data: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what is known of how a learner was trained, as plain values."""
    return {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": {"command": sys.argv, "commit": commit_of(os.getcwd()), "versions": installed_versions()},
        "data": fingerprint(learn.dls) if data is None else data,
        "settings": settings(learn),
        "environment": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "device": str(learn.device),
            "device name": torch.cuda.get_device_name(learn.device) if learn.device.type == "cuda" else None,
            "cpu cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
        },
        "history": [{name: _finite(value) for name, value in row.items()} for row in learn.recorder.rows],
    }


def fit_settings(learn: Learner, n_epoch: int, rates: Sequence[float], wd: float | None) -> dict[str, Any]:
    """Return the settings of one fit; schedules by their values at its begin, quarters and end."""
    described: dict[str, Any] = {
        "n_epoch": n_epoch,
        "lr": [float(rate) for rate in rates],
        "wd": get_hyper(learn.optimizer, "wd") if wd is None else wd,
        "callbacks": [_described(cb) for cb in learn.cbs],
    }
    for cb in learn.cbs:
        for name, schedule in getattr(cb, "scheds", {}).items():
            described[f"schedule of {name}"] = [str(schedule(quarter / 4)) for quarter in range(5)]
    return described


def _described(cb: Any) -> dict[str, Any]:
    plain = {name: value for name, value in vars(cb).items() if isinstance(value, bool | int | float | str)}
    return {"name": cb.name, **{name: value for name, value in plain.items() if not name.startswith("_")}}


def settings(learn: Learner) -> dict[str, Any]:
    """Return the settings of the learner, its optimizer and its loaders."""
    train = learn.dls.train
    return {
        "model": type(learn.model).__name__,
        "parameters": sum(p.numel() for p in learn.model.parameters()),
        "loss": repr(learn.loss_func) if isinstance(learn.loss_func, torch.nn.Module) else _name(learn.loss_func),
        "metrics": [metric.name for metric in learn.metrics],
        "optimizer": _name(learn.opt_func),
        "bs": learn.dls.bs,
        "seed of order and augmentation": getattr(getattr(train, "maker", None), "seed", None),
        "item_tfms": [repr(transform) for transform in learn.dls.after_item],
        "batch_tfms": [repr(transform) for transform in learn.dls.after_batch],
        "fits": learn.recorder.fits,
    }


@cache
def commit_of(folder: str) -> str | None:
    """Return the git commit of a folder, with a mark where files differ from it; None outside git."""
    try:
        asked = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=folder, capture_output=True, text=True, timeout=SECONDS_FOR_GIT, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip() or None


def _name(function: Any) -> str:
    return str(getattr(getattr(function, "func", function), "__name__", type(function).__name__))


def _finite(value: Any) -> Any:
    """Return a number that JSON has: NaN is no JSON."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
