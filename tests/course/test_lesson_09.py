"""Lesson 7, road to the top 2: smaller pictures, other ways of resizing, test-time augmentation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flambeau.vision.all import *


@pytest.fixture
def trn_path(shapes: Callable[..., None], tmp_path: Path) -> Path:
    for disease, colour in (("blast", "red"), ("normal", "green")):
        shapes(tmp_path / "paddy" / "train_images" / disease, "{}.jpg", 8, colour, size=72)
    shapes(tmp_path / "paddy" / "test_images", "{}.jpg", 3, "green", size=72)
    return Path(tmp_path / "paddy" / "train_images")


def train(trn_path: Path, arch: Any, item: Any, batch: Any, epochs: int = 1) -> Learner:
    dls = ImageDataLoaders.from_folder(trn_path, seed=42, valid_pct=0.2, item_tfms=item, batch_tfms=batch, bs=4)
    learn = vision_learner(dls, arch, metrics=error_rate, pretrained=False).to_fp16()
    learn.fine_tune(epochs, 0.01)
    return learn


def test_small_pictures_are_made_once(trn_path: Path) -> None:
    small = Path("sml")
    resize_images(trn_path, dest=small, max_size=40, recurse=True)
    assert max(Image.open(get_image_files(small)[0]).size) == 40
    batch = aug_transforms(size=32, min_scale=0.75)
    learn = train(small, "convnext_atto", item=Resize(32, method="squish"), batch=batch)
    assert len(learn.recorder.values[-1]) == 3


def test_rectangles_padding_and_test_time_augmentation(trn_path: Path) -> None:
    learn = train(
        trn_path,
        "resnet26d",
        item=Resize((64, 48), method=ResizeMethod.Pad, pad_mode=PadMode.Zeros),
        batch=aug_transforms(size=(64, 48), min_scale=0.75),
    )
    dls = learn.dls
    dls.train.show_batch(max_n=4, unique=True)
    valid = dls.valid
    preds, targs = learn.get_preds(dl=valid)
    assert 0 <= error_rate(preds, targs) <= 1
    tta_preds, targs2 = learn.tta(dl=valid)
    assert targs2.tolist() == targs.tolist()
    assert tta_preds.shape == preds.shape
    assert not torch.equal(tta_preds, preds)
    tst_files = get_image_files(trn_path.parent / "test_images").sorted()
    test_preds = learn.tta(dl=dls.test_dl(tst_files))[0]
    assert test_preds.argmax(dim=1).shape == (3,)


def test_the_name_of_the_lessons_network_is_still_known() -> None:
    from flambeau.vision.architectures import find_architecture

    assert find_architecture("convnext_small_in22k").name == "convnext_small.fb_in22k"
