"""Book, chapter 7: a network from scratch; normalisation, growing pictures, test-time augmentation, mixed pictures."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flambeau.vision.all import *


@pytest.fixture
def path(place_archive: Callable[[str, Path], None], shapes: Callable[..., None], tmp_path: Path) -> Path:
    root = Path(tmp_path) / "imagenette2"
    for folder, n in (("train", 8), ("val", 4)):
        for name, colour in (("n03028079", "red"), ("n03425413", "blue")):
            shapes(root / folder / name, "{}.JPEG", n, colour)
    place_archive(URLs.IMAGENETTE, root)
    return untar_data(URLs.IMAGENETTE)


def get_dls(path: Path, bs: int, size: int) -> DataLoaders:
    dblock = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_items=get_image_files,
        get_y=parent_label,
        item_tfms=Resize(48),
        batch_tfms=[*aug_transforms(size=size, min_scale=0.75), Normalize.from_stats(*imagenet_stats)],
    )
    return dblock.dataloaders(path, bs=bs)


def test_a_network_from_scratch_on_growing_pictures(path: Path) -> None:
    dls = get_dls(path, 6, 32)
    x, _y = dls.one_batch()
    assert x.mean(dim=[0, 2, 3]).abs().max() < 1.5
    assert x.std(dim=[0, 2, 3]).shape == (3,)
    model = xresnet50(n_out=dls.c)
    learn = Learner(dls, model, loss_func=CrossEntropyLossFlat(), metrics=accuracy)
    learn.fit_one_cycle(1, 3e-3)
    learn.dls = get_dls(path, 4, 48)
    learn.fine_tune(1, 1e-3)
    assert learn.dls.one_batch()[0].shape == (4, 3, 48, 48)
    preds, targs = learn.tta(n=2)
    assert 0 <= accuracy(preds, targs).item() <= 1


def test_two_pictures_are_mixed(path: Path) -> None:
    church = PILImage.create(get_image_files_sorted(path / "train" / "n03028079")[0])
    gas = PILImage.create(get_image_files_sorted(path / "train" / "n03425413")[0])
    church = church.resize((40, 40))
    gas = gas.resize((40, 40))
    tchurch = tensor(church).float() / 255.0
    tgas = tensor(gas).float() / 255.0
    _, axs = plt.subplots(1, 3, figsize=(12, 4))
    show_image(tchurch, ax=axs[0])
    show_image(tgas, ax=axs[1])
    show_image((0.3 * tchurch + 0.7 * tgas), ax=axs[2])
    assert axs[2].images[0].get_array().shape == (40, 40, 3)


def test_training_with_smoothed_labels(path: Path) -> None:
    dls = get_dls(path, 6, 32)
    learn = Learner(dls, xresnet18(n_out=dls.c), loss_func=LabelSmoothingCrossEntropy(), metrics=accuracy)
    learn.fit_one_cycle(1, 3e-3)
    assert len(learn.recorder.values) == 1
