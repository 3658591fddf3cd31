"""What every callback keeps: one that has nothing to do leaves the training as it was, bit for bit."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import flambeau.train.callbacks
from flambeau.data.data_loaders import DataLoaders
from flambeau.nn.losses import CrossEntropyLossFlat
from flambeau.nn.metrics import accuracy
from flambeau.train.callback import Callback
from flambeau.train.callbacks.activations import ActivationStats
from flambeau.train.callbacks.average import ModelAverage
from flambeau.train.callbacks.batch_size import AutoBatchSize
from flambeau.train.callbacks.channels_last import ChannelsLast
from flambeau.train.callbacks.gradients import GradientAccumulation, GradientClip
from flambeau.train.callbacks.loggers import CSVLogger, TensorBoardCallback, Track
from flambeau.train.callbacks.mixup import CutMix, MixUp
from flambeau.train.callbacks.schedule import ParamScheduler
from flambeau.train.callbacks.terminate import TerminateOnNaNCallback
from flambeau.train.callbacks.tracker import (
    EarlyStoppingCallback,
    ReduceLROnPlateau,
    SaveModelCallback,
    TrackerCallback,
)
from flambeau.train.learner import Learner

RATE = 0.05


def never(value: float, best: float) -> bool:
    """Call nothing better."""
    return False


IDLE: list[Callable[[], Callback]] = [
    lambda: ActivationStats(with_hist=True),
    AutoBatchSize,
    lambda: CSVLogger("history.csv"),
    lambda: EarlyStoppingCallback(comp=never, patience=100),
    lambda: GradientClip(1e9),
    lambda: ParamScheduler({"lr": lambda progress: RATE}),
    lambda: ReduceLROnPlateau(comp=never, patience=100),
    lambda: SaveModelCallback(at_end=True),
    *([lambda: TensorBoardCallback("runs")] if find_spec("tensorboard") else []),
    TerminateOnNaNCallback,
    lambda: Track(SimpleNamespace(log=lambda numbers, step: None)),
    TrackerCallback,
]
# they change the numbers whenever they are there; what they do to them is tested beside them
# (`PruningCallback` ends trainings; test_pruning.py holds the numbers of those it lets live)
NEVER_IDLE = {"PruningCallback", "BatchMixer", "CutMix", "MixUp", "MixedPrecision", "RateSweep"}
# these change the weights that are validated, the order in memory or the rounding, and not the losses of training
SAME_LOSSES: list[Callable[[], Callback]] = [lambda: ModelAverage(0.9), ChannelsLast, lambda: GradientAccumulation(1)]
# the learner makes these itself; test_resume.py and test_distributed.py compare trainings with and without them
ALWAYS_THERE = {"Recorder", "Progress", "Checkpointing", "Distributed"}


def picture_learner(path: Path) -> Learner:
    torch.manual_seed(0)
    x, y = torch.randn(48, 2, 6, 6), torch.arange(48) % 3
    dls = DataLoaders.from_dsets(TensorDataset(x, y), TensorDataset(x[:10], y[:10]), bs=8, device="cpu", seed=1)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(0.2), nn.Flatten(), nn.Linear(64, 3)
    )
    return Learner(dls, model, CrossEntropyLossFlat(), metrics=accuracy, path=path)


def trained(path: Path, cbs: list[Callback]) -> tuple[list[float], list[list[float]], list[Tensor]]:
    learn = picture_learner(path)
    torch.manual_seed(7)
    with learn.no_logging():
        learn.fit(3, RATE, cbs=cbs)
    rows = [list(row) for row in learn.recorder.values]
    return learn.recorder.raw_losses, rows, [value.detach().clone() for value in learn.model.state_dict().values()]


def name_of(make: Callable[[], Callback]) -> str:
    return type(make()).__name__


@pytest.mark.parametrize("make", IDLE, ids=name_of)
def test_an_idle_callback_changes_no_number(
    make: Callable[[], Callback], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    losses, rows, weights = trained(tmp_path, [])
    found_losses, found_rows, found_weights = trained(tmp_path, [make()])
    assert found_losses == losses
    assert found_rows == rows
    assert all(torch.equal(*pair) for pair in zip(weights, found_weights, strict=True))


@pytest.mark.parametrize("make", SAME_LOSSES, ids=name_of)
def test_the_training_losses_are_the_same(make: Callable[[], Callback], tmp_path: Path) -> None:
    assert trained(tmp_path, [make()])[0] == pytest.approx(trained(tmp_path, [])[0], abs=1e-5)


@pytest.mark.parametrize("make", [*IDLE, *SAME_LOSSES, MixUp, CutMix], ids=name_of)
def test_a_callback_hears_its_own_state(
    make: Callable[[], Callback], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    states = []

    class Keeps(Callback):
        order = 100

        def after_batch(self) -> None:
            if self.training and self.learn.train_iter == 10:  # in the middle of the second epoch
                states.append(cb.state_dict())
                cb.load_state_dict({k: v.clone() if isinstance(v, Tensor) else v for k, v in states[0].items()})
                states.append(cb.state_dict())

    cb = make()
    trained(tmp_path, [cb, Keeps()])
    before, after = states
    assert before.keys() == after.keys()
    for name, value in before.items():
        if isinstance(value, Tensor):
            assert torch.equal(value.nan_to_num(), after[name].nan_to_num())
        else:
            assert json.loads(json.dumps(value)) == json.loads(json.dumps(after[name]))


def test_every_callback_is_held_to_this() -> None:
    folder = flambeau.train.callbacks
    found = set()
    for module in pkgutil.iter_modules(folder.__path__, folder.__name__ + "."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if inspect.isclass(value) and issubclass(value, Callback) and value.__module__ == module.name:
                found.add(name)
    held = {name_of(make) for make in [*IDLE, *SAME_LOSSES]}
    abstract = {"RunLogger"} | (set() if find_spec("tensorboard") else {"TensorBoardCallback"})
    missing = {n for n in found if not n.startswith("_")} - held - NEVER_IDLE - ALWAYS_THERE - abstract
    assert not missing, f"neither in IDLE, SAME_LOSSES nor NEVER_IDLE of {Path(__file__).name}: {sorted(missing)}"
