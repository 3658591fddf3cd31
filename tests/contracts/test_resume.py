"""A run that was broken off and resumed equals the unbroken one, bit for bit, wherever and how often it was broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import TensorDataset

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.seeds import set_seed
from flambeau.nn.losses import CrossEntropyLossFlat
from flambeau.nn.metrics import accuracy
from flambeau.train.callback import Callback
from flambeau.train.callbacks.gradients import GradientAccumulation
from flambeau.train.learner import Learner
from flambeau.vision.augment import aug_transforms
from flambeau.vision.data_loaders import ImageDataLoaders
from flambeau.vision.resize import Resize

Moment = tuple[int, int, int]  # fit, epoch, batch


class PowerCut(Callback):
    """End the run after a training batch."""

    order = 200

    def __init__(self, at: Moment) -> None:
        self.at = at

    def after_batch(self) -> None:
        if self.training and (self.learn.recorder.n_fits, self.epoch, self.iter) == self.at:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for place in range(40):
        noise = torch.randint(256, (20, 20, 3), generator=torch.Generator().manual_seed(place), dtype=torch.uint8)
        Image.fromarray(noise.numpy()).save(folder / f"{'ab'[place % 2]}_{place}.png")
    return folder


def picture_loaders(pictures: Path, workers: int, seed: int | None) -> DataLoaders:
    options: dict[str, Any] = {"start_method": "fork"} if workers else {}
    return ImageDataLoaders.from_name_func(
        pictures, sorted(pictures.glob("*.png")), lambda name: name[0], seed=1, bs=8, num_workers=workers,
        item_tfms=Resize(20), batch_tfms=aug_transforms(size=16), device="cpu", **options,
    )  # fmt: skip


def torch_loaders(pictures: Path, workers: int, seed: int | None) -> DataLoaders:
    xs = torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(xs, torch.arange(40) % 2)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    train = torch.utils.data.DataLoader(data, 8, shuffle=True, num_workers=workers, generator=generator)
    return DataLoaders(train, torch.utils.data.DataLoader(data, 8), device="cpu")


def learner(loaders: Any, pictures: Path, path: Path, workers: int, seed: int, own_generator: bool = False) -> Learner:
    """Return a learner with dropout and batch norm; shuffling and augmentation come from its loaders."""
    set_seed(seed)
    dls = loaders(pictures, workers, seed if own_generator else None)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(8, 2))
    halves = lambda model: [model[:3], model[3:]]  # noqa: E731
    return Learner(dls, model, CrossEntropyLossFlat(), metrics=accuracy, path=path, splitter=halves)


def train(learn: Learner, verb: str, **options: Any) -> None:
    with learn.no_logging():
        getattr(learn, verb)(2, 1e-2, **options)


def outcome(learn: Learner) -> tuple[Any, ...]:
    """Return all that a training leaves: weights, norm statistics, optimizer, history (but not how long it took)."""
    weights = {name: value.tolist() for name, value in learn.model.state_dict().items()}
    memory = {
        n: {k: v.tolist() if isinstance(v, torch.Tensor) else v for k, v in values.items()}
        for n, values in learn.opt.state_dict()["state"].items()
    }
    rows = [{name: value for name, value in row.items() if name != "time"} for row in learn.recorder.rows]
    return weights, memory, rows, learn.recorder.losses, learn.recorder.hps, torch.rand(3).tolist()


def broken_and_resumed(
    loaders: Any, pictures: Path, path: Path, workers: int, verb: str, moments: list[Moment], every: int | bool,
    own_generator: bool = False, cbs: Any = None,
) -> Learner:  # fmt: skip
    """Return the learner of a run that ended at each of the moments, each time resumed by another program."""
    for seed, moment in enumerate(moments):
        learn = learner(loaders, pictures, path, workers, seed, own_generator)
        own = [PowerCut(moment), *[make() for make in cbs or []]]
        with pytest.raises(KeyboardInterrupt):
            train(learn, verb, checkpoint=every, resume=seed > 0, cbs=own)
    learn = learner(loaders, pictures, path, workers, len(moments), own_generator)
    train(learn, verb, checkpoint=every, resume=True, cbs=[make() for make in cbs or []])
    return learn


WHEN: dict[str, list[Moment]] = {
    "end of an epoch": [(1, 1, 0)],
    "within an epoch": [(1, 1, 2)],
    "twice": [(1, 0, 3), (1, 1, 0)],
    "twice within one epoch": [(1, 1, 1), (1, 1, 3)],
    "at an epoch's last batch": [(1, 0, 3)],
}


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("verb", ["fit_one_cycle", "fit_flat_cos"])
def test_a_resumed_run_equals_the_unbroken_one(verb: str, when: str, pictures: Path, tmp_path: Path) -> None:
    train(whole := learner(picture_loaders, pictures, tmp_path, 0, seed=0), verb)
    expected = outcome(whole)
    resumed = broken_and_resumed(picture_loaders, pictures, tmp_path, 0, verb, WHEN[when], every=1)
    assert outcome(resumed) == expected


def test_with_worker_processes_too(pictures: Path, tmp_path: Path) -> None:
    train(whole := learner(picture_loaders, pictures, tmp_path, 0, seed=0), "fit_one_cycle")
    expected = outcome(whole)
    moments = WHEN["twice within one epoch"]
    resumed = broken_and_resumed(picture_loaders, pictures, tmp_path, 2, "fit_one_cycle", moments, every=1)
    assert outcome(resumed) == expected


@pytest.mark.parametrize("moments", [[(1, 0, 2)], [(2, 0, 1), (2, 1, 2)], [(1, 0, 1), (2, 1, 1)]])
def test_fine_tuning_goes_on_in_the_part_it_was_in(moments: list[Moment], pictures: Path, tmp_path: Path) -> None:
    train(whole := learner(picture_loaders, pictures, tmp_path, 0, seed=0), "fine_tune")
    expected = outcome(whole)
    resumed = broken_and_resumed(picture_loaders, pictures, tmp_path, 0, "fine_tune", moments, every=1)
    assert outcome(resumed) == expected


@pytest.mark.parametrize(("workers", "own_generator"), [(0, False), (0, True), (2, False)])
def test_plain_torch_loaders_go_on_where_they_stood(
    workers: int, own_generator: bool, pictures: Path, tmp_path: Path
) -> None:
    train(whole := learner(torch_loaders, pictures, tmp_path, workers, 0, own_generator), "fit_one_cycle")
    expected = outcome(whole)
    moments = WHEN["twice within one epoch"]
    resumed = broken_and_resumed(
        torch_loaders, pictures, tmp_path, workers, "fit_one_cycle", moments, 1, own_generator
    )
    assert outcome(resumed) == expected


def test_gradients_that_wait_for_their_step_are_kept(pictures: Path, tmp_path: Path) -> None:
    def accumulate() -> Callback:
        return GradientAccumulation(accumulate=3)

    train(whole := learner(picture_loaders, pictures, tmp_path, 0, seed=0), "fit_one_cycle", cbs=accumulate())
    expected = outcome(whole)
    moments = [(1, 0, 1), (1, 1, 0)]
    resumed = broken_and_resumed(
        picture_loaders, pictures, tmp_path, 0, "fit_one_cycle", moments, 1, cbs=[accumulate]
    )
    assert outcome(resumed) == expected


def test_between_checkpoints_the_batches_are_done_again(pictures: Path, tmp_path: Path) -> None:
    train(whole := learner(picture_loaders, pictures, tmp_path, 0, seed=0), "fit_one_cycle")
    expected = outcome(whole)
    for every in (3, True):
        folder = tmp_path / str(every)
        resumed = broken_and_resumed(picture_loaders, pictures, folder, 0, "fit_one_cycle", [(1, 1, 0)], every)
        assert outcome(resumed) == expected


def test_a_complete_run_is_taken_up_without_training(pictures: Path, tmp_path: Path) -> None:
    train(whole := learner(picture_loaders, pictures, tmp_path, 0, seed=0), "fine_tune", checkpoint=True)
    expected = outcome(whole)
    train(again := learner(picture_loaders, pictures, tmp_path, 0, seed=9), "fine_tune", resume=True)
    assert outcome(again) == expected
