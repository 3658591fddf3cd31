"""Accuracy on real pictures: bars that a broken loader, schedule or normalisation does not reach."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from flambeau.cli.demo import small_net
from flambeau.data.getters import get_image_files
from flambeau.data.normalize import Normalize
from flambeau.data.sample_pictures import unpack_fashion
from flambeau.foundation.seeds import set_seed
from flambeau.nn.metrics import accuracy, error_rate
from flambeau.train.learner import Learner
from flambeau.vision.data_loaders import ImageDataLoaders
from flambeau.vision.images import PILImageBW
from flambeau.vision.learner import vision_learner
from flambeau.vision.resize import Resize

Unpack = Callable[[str], Path]


def test_the_shipped_pictures_are_learned_to_three_quarters_in_two_epochs(tmp_path: Path) -> None:
    set_seed(1)
    dls = ImageDataLoaders.from_folder(
        unpack_fashion(tmp_path / "fashion"), img_cls=PILImageBW, bs=64, val_bs=500, batch_tfms=Normalize()
    )
    learn = Learner(dls, small_net(10), metrics=accuracy)
    with learn.no_logging():
        learn.fit_one_cycle(2, 1e-2)
    assert learn.recorder.values[-1][2] > 0.78


def test_threes_and_sevens_are_told_apart_after_one_epoch(unpacked: Unpack) -> None:
    set_seed(1)
    dls = ImageDataLoaders.from_folder(unpacked("mnist/mnist_sample.tgz"), img_cls=PILImageBW, bs=128, val_bs=500)
    learn = Learner(dls, small_net(2), metrics=accuracy)
    with learn.no_logging():
        learn.fit_one_cycle(1, 1e-2)
    assert learn.recorder.values[-1][2] > 0.98


@pytest.mark.slow
def test_cats_are_told_from_dogs(unpacked: Unpack) -> None:
    set_seed(42)
    path = unpacked("pets_mini/pets_mini.tgz") / "images"
    dls = ImageDataLoaders.from_name_func(
        path,
        get_image_files(path),
        valid_pct=0.2,
        seed=42,
        label_func=lambda name: name[0].isupper(),
        item_tfms=Resize(224),
        bs=32,
    )
    learn = vision_learner(dls, "tf_efficientnet_lite0", metrics=error_rate)
    learn.fine_tune(3)
    assert learn.validate()[1] <= 0.02


@pytest.mark.slow
def test_breeds_are_told_apart(unpacked: Unpack) -> None:
    set_seed(42)
    path = unpacked("pets_mini/pets_mini.tgz") / "images"
    dls = ImageDataLoaders.from_name_re(
        path, get_image_files(path), r"^(.*)_\d+.jpg$", valid_pct=0.2, seed=42, item_tfms=Resize(224), bs=32
    )
    learn = vision_learner(dls, "tf_efficientnet_lite0", metrics=error_rate)
    learn.fine_tune(3)
    assert learn.validate()[1] <= 0.05


@pytest.mark.slow
def test_weather_is_told_from_the_sky(unpacked: Unpack) -> None:
    set_seed(42)
    dls = ImageDataLoaders.from_folder(unpacked("weather/weather.tgz"), item_tfms=Resize(224), bs=32)
    learn = vision_learner(dls, "tf_efficientnet_lite0", metrics=error_rate)
    learn.fine_tune(3)
    assert learn.validate()[1] <= 0.08


def test_eight_pictures_are_learned_by_heart(tmp_path: Path) -> None:
    set_seed(3)
    fashion = unpack_fashion(tmp_path / "fashion")
    files = [path for folder in sorted((fashion / "train").iterdir())[:4] for path in sorted(folder.iterdir())[:2]]
    dls = ImageDataLoaders.from_path_func(
        fashion, files, lambda path: path.parent.name, valid_pct=0, img_cls=PILImageBW, bs=8
    )
    learn = Learner(dls, small_net(4))
    with learn.no_logging():
        learn.fit(60, 3e-3)
    assert learn.recorder.raw_losses[-1] < 0.1


def test_a_seeded_run_gives_the_same_losses_twice(tmp_path: Path) -> None:
    fashion = unpack_fashion(tmp_path / "fashion")
    runs = []
    for _ in range(2):
        set_seed(5)
        dls = ImageDataLoaders.from_folder(fashion, img_cls=PILImageBW, bs=256, val_bs=500)
        learn = Learner(dls, small_net(10))
        with learn.no_logging():
            learn.fit_one_cycle(1, 1e-2)
        runs.append(torch.tensor([*learn.recorder.raw_losses, *learn.recorder.values[-1]]))
    assert torch.equal(runs[0], runs[1])
