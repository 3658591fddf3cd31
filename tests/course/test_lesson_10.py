"""Lesson 7, road to the top 3: gradient accumulation, large families of networks, an ensemble."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from flambeau.vision.all import *


@pytest.fixture
def path(shapes: Callable[..., None], tmp_path: Path) -> Path:
    for disease, colour in (("blast", "red"), ("normal", "green")):
        shapes(tmp_path / "paddy" / "train_images" / disease, "{}.jpg", 8, colour)
    shapes(tmp_path / "paddy" / "test_images", "{}.jpg", 3, "green")
    return Path(tmp_path / "paddy")


# small relatives of the lesson's four families; the transformers are rebuilt for small pictures
FAMILIES = {
    "convnext_atto": {(Resize(40), 32)},
    "vit_tiny_patch16_224": {(Resize(80, method="squish"), 64)},
    "swinv2_tiny_window8_256": {(Resize(80, method="squish"), 64)},
    "swin_tiny_patch4_window7_224": {(Resize((80, 70)), 64)},
}


def train(path, arch, size, item, accum=1, finetune=True, epochs=1):
    dls = ImageDataLoaders.from_folder(
        path / "train_images", valid_pct=0.2, seed=42, item_tfms=item,
        batch_tfms=aug_transforms(size=size, min_scale=0.75), bs=8 // accum,
    )  # fmt: skip
    cbs = GradientAccumulation(8) if accum > 1 else []
    learn = vision_learner(dls, arch, metrics=error_rate, cbs=cbs, pretrained=False).to_fp16()
    if finetune:
        learn.fine_tune(epochs, 0.01)
        return learn.tta(dl=dls.test_dl(get_image_files(path / "test_images").sorted()), n=1)
    learn.unfreeze()
    learn.fit_one_cycle(epochs, 0.01)
    return learn


def test_accumulation_without_fine_tuning(path: Path) -> None:
    learn = train(path, "convnext_atto", 32, accum=2, item=Resize(40, method="squish"), finetune=False)
    assert len(learn.recorder.losses) == 3  # batches of 4 of the 13 pictures, the last one left out
    gc.collect()
    torch.cuda.empty_cache()
    assert not torch.cuda.is_available() or torch.cuda.list_gpu_processes()


def test_an_ensemble_of_families(path: Path) -> None:
    tta_res = []
    for arch, details in FAMILIES.items():
        for item, size in details:
            print("---", arch, size, item.name)
            tta_res.append(train(path, arch, size, item=item, accum=2))
            gc.collect()
    save_pickle("tta_res.pkl", tta_res)
    tta_prs = first(zip(*load_pickle("tta_res.pkl"), strict=True))
    tta_prs += tta_prs[1:]
    avg_pr = torch.stack(tta_prs).mean(0)
    assert avg_pr.shape == (3, 2)
    assert avg_pr.sum(1).tolist() == pytest.approx([1, 1, 1], abs=1e-3)


@pytest.mark.parametrize(
    "old, name",
    [
        ("convnext_large_in22k", "convnext_large.fb_in22k"),
        ("vit_large_patch16_224", "vit_large_patch16_224"),
        ("swinv2_large_window12_192_22k", "swinv2_large_window12_192.ms_in22k"),
        ("swin_large_patch4_window7_224", "swin_large_patch4_window7_224"),
    ],
)
def test_the_lessons_networks_are_still_known(old: str, name: str) -> None:
    from flambeau.vision.architectures import find_architecture

    assert find_architecture(old).name == name
