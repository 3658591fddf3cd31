"""Test-time augmentation of pictures: averaged where views can be laid upon each other, refused where they cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from flambeau.data.block import CategoryBlock, DataBlock
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.splitters import IndexSplitter
from flambeau.foundation.errors import ArgumentError
from flambeau.train.ensemble import Ensemble
from flambeau.train.learner import Learner
from flambeau.train.load_learner import load_learner
from flambeau.vision.augment import aug_transforms
from flambeau.vision.blocks import ImageBlock, MaskBlock, PointBlock
from flambeau.vision.coordinates import Flip
from flambeau.vision.erasing import RandomErasing
from flambeau.vision.lighting import Brightness
from flambeau.vision.resize import Resize


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, chance = tmp_path_factory.mktemp("views"), np.random.default_rng(0)
    for place in range(8):
        Image.fromarray(chance.integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(folder / f"{place}.png")
    return sorted(folder.iterdir())


def loaders(files: list[Path], target: Any, get_y: Any, tfms: Any, side: int = 16) -> DataLoaders:
    block = DataBlock(
        blocks=(ImageBlock, target), splitter=IndexSplitter([4, 5, 6, 7]), get_y=get_y,
        item_tfms=Resize(side, "squish"), batch_tfms=tfms,
    )  # fmt: skip
    return block.dataloaders(files, bs=4, device="cpu", num_workers=0)


def class_learner(files: list[Path], tfms: Any, side: int = 16, seed: int = 0) -> Learner:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 2, side), nn.Flatten())
    return Learner(loaders(files, CategoryBlock, lambda f: int(f.stem) % 2, tfms, side), net)


def mask_learner(files: list[Path], tfms: Any) -> Learner:
    dls = loaders(files, MaskBlock(codes=["no", "yes"]), lambda f: np.zeros((20, 20), np.uint8), tfms)
    return Learner(dls, nn.Conv2d(3, 2, 1))


def test_views_of_classes_are_averaged(files: list[Path]) -> None:
    learn = class_learner(files, Flip(p=0.5))
    preds = learn.get_preds()[0]
    assert not torch.allclose(learn.tta()[0], preds)
    assert torch.allclose(learn.tta(beta=1.0)[0], preds)


def test_without_augmentation_there_is_nothing_to_average(files: list[Path]) -> None:
    with pytest.raises(ArgumentError, match=r"augments nothing.*batch_tfms=aug_transforms\(\)"):
        class_learner(files, None).tta()


def test_masks_that_would_be_moved_are_refused(files: list[Path]) -> None:
    with pytest.raises(ArgumentError, match="tta cannot average Mask answers over views that Flip"):
        mask_learner(files, aug_transforms()).tta()
    with pytest.raises(ArgumentError, match="over views that Flip moved"):
        mask_learner(files, [Flip(), Brightness()]).tta()


def test_masks_are_averaged_over_changes_of_light(files: list[Path]) -> None:
    learn = mask_learner(files, [Brightness(0.5, p=1.0), RandomErasing(p=1.0)])
    averaged, targets = learn.tta()
    assert averaged.shape == (4, 2, 16, 16)
    assert torch.equal(targets, learn.get_preds()[1])
    assert not torch.allclose(averaged, learn.get_preds()[0])


def test_points_that_would_be_moved_are_refused(files: list[Path]) -> None:
    dls = loaders(files, PointBlock, lambda f: [[3.0, 4.0]], Flip())
    learn = Learner(dls, nn.Sequential(nn.Flatten(), nn.Linear(768, 2)))
    with pytest.raises(ArgumentError, match="tta cannot average Points answers"):
        learn.tta()


def test_members_of_different_sizes_are_averaged_kept_and_augmented(files: list[Path], tmp_path: Path) -> None:
    members = [class_learner(files, Flip(p=0.5)), class_learner(files, Flip(p=0.5), side=12, seed=1)]
    ensemble = Ensemble(members)
    preds = ensemble.get_preds()[0]
    assert torch.allclose(preds, (members[0].get_preds()[0] + members[1].get_preds()[0]) / 2)
    views = [member.tta()[0] for member in members]
    assert torch.allclose(ensemble.tta()[0], (views[0] + views[1]) / 2)
    augmented, plain = ensemble.tta(beta=None)[0]
    assert torch.allclose(plain, preds)
    assert not torch.allclose(augmented, preds)
    again = load_learner(ensemble.export(tmp_path / "two.safetensors"))
    assert torch.allclose(again.get_preds(dl=again.dls.test_dl(files[4:]))[0], preds, atol=1e-5)
    assert torch.allclose(again.tta(dl=again.dls.test_dl(files[4:]), beta=1.0)[0], preds, atol=1e-5)


def test_members_that_validate_on_other_files_are_told(files: list[Path]) -> None:
    other = DataBlock(
        blocks=(ImageBlock, CategoryBlock), splitter=IndexSplitter([0, 1, 2, 3]), get_y=lambda f: int(f.stem) % 2,
        item_tfms=Resize(16),
    ).dataloaders(files, bs=4, device="cpu", num_workers=0)  # fmt: skip
    strange = Learner(other, class_learner(files, None).model)
    with pytest.raises(ArgumentError, match=r"hold different items .*\(4 and 4; 4.png is only in the first\)"):
        Ensemble([class_learner(files, None), strange]).get_preds()
    both = Ensemble([class_learner(files, None), strange])
    assert len(both.get_preds(dl=both.dls.test_dl(files))[0]) == 8
