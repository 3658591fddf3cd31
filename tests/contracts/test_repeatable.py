"""One seed repeats a training: split, weights, order, augmentation and dropout, whoever makes the batches."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.data.labels import parent_label
from flambeau.foundation.seeds import set_seed
from flambeau.train.learner import Learner
from flambeau.vision.augment import aug_transforms
from flambeau.vision.data_loaders import ImageDataLoaders
from flambeau.vision.images import PILImage
from flambeau.vision.learner import vision_learner

SOURCE = Path(__file__).resolve().parents[2] / "src"


def pictures(folder: Path) -> list[Path]:
    """Write 40 pictures of noise in two classes."""
    chance = np.random.default_rng(0)
    files = [folder / label / f"{i}.png" for label in ("a", "b") for i in range(20)]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(file)
    return files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return pictures(tmp_path_factory.mktemp("noise"))


def flip(picture: PILImage) -> PILImage:
    """Turn a picture upside down or not: a transform of a user's own, which draws from all global streams."""
    drawn = random.random() + np.random.rand() + float(torch.rand(()))
    return PILImage.create(np.asarray(picture)[::-1].copy()) if drawn > 1.5 else picture


def loaders(files: list[Path], seed: int | None = None, **options: Any) -> DataLoaders:
    settings: dict[str, Any] = {"batch_tfms": aug_transforms(), "bs": 8, "device": "cpu", **options}
    return ImageDataLoaders.from_path_func(".", files, parent_label, seed=seed, **settings)


def losses(files: list[Path], **options: Any) -> list[float]:
    """Return the losses of two epochs with augmentation, shuffling and dropout, after a seed."""
    torch.set_num_threads(1)
    set_seed(3)
    dls = loaders(files, **options)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 2))
    learn = Learner(dls, net)
    with learn.no_logging():
        learn.fit(2, 1e-3)
    return learn.recorder.raw_losses


@pytest.mark.parametrize("item_tfms", [None, flip], ids=["own transforms", "a foreign transform"])
def test_the_number_of_workers_does_not_change_the_training(files: list[Path], item_tfms: Any) -> None:
    if "fork" not in torch.multiprocessing.get_all_start_methods():
        pytest.skip("worker processes are forked here, to be quick")
    shared: dict[str, Any] = {"item_tfms": item_tfms, "cache": "none", "start_method": "fork"}
    without = losses(files, num_workers=0, **shared)
    assert len(without) == 8
    assert losses(files, num_workers=2, **shared) == without


def test_a_foreign_transform_draws_anew_for_each_item_and_epoch(files: list[Path]) -> None:
    train = loaders(files, seed=1, item_tfms=flip, batch_tfms=None, shuffle=False).train
    first, second = (torch.cat([batch.inputs[0] for batch in train]) for _ in range(2))
    changed = (first != second).flatten(1).any(1)
    assert 0 < int(changed.sum()) < len(changed)


def test_batches_leave_the_global_streams_alone(files: list[Path]) -> None:
    train = loaders(files, seed=1, item_tfms=flip).train
    set_seed(5)
    expected = random.random(), np.random.rand(), float(torch.rand(()))
    set_seed(5)
    list(train)
    assert (random.random(), np.random.rand(), float(torch.rand(()))) == expected


def test_the_seed_of_a_split_governs_order_and_augmentation_too(files: list[Path]) -> None:
    first, second, other = (loaders(files, seed=seed).train for seed in (7, 7, 8))
    for one, two in zip(first, second, strict=True):
        assert torch.equal(one.inputs[0], two.inputs[0])
    assert not torch.equal(second.one_batch().inputs[0], other.one_batch().inputs[0])


def test_a_seed_makes_the_same_new_weights_and_leaves_chance_alone(files: list[Path]) -> None:
    dls = loaders(files, seed=7)
    state = torch.get_rng_state()
    heads = [vision_learner(dls, "xresnet18", pretrained=False, seed=4).model.state_dict() for _ in range(2)]
    assert all(torch.equal(value, heads[1][name]) for name, value in heads[0].items())
    assert torch.equal(torch.get_rng_state(), state)


def test_two_fresh_processes_train_to_the_same_losses(files: list[Path]) -> None:
    here = str(Path(__file__).parent)
    code = (
        f"import sys; sys.path.insert(0, {here!r}); from pathlib import Path; import test_repeatable as t; "
        "print(t.losses([Path(name) for name in sys.argv[1:]], item_tfms=t.flip, num_workers=0))"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, *map(str, files)],
            env={**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "2")
    ]
    first, second = (process.communicate(timeout=120)[0].strip() for process in running)
    assert first == second
    assert first.endswith("]")
    assert len(first.split(",")) == 8
