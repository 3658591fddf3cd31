"""Resize and augmentation in one sampling: the same pictures as in two stages, for every column."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from flambeau.data.chance import batch_chances, item_chance
from flambeau.data.kinds import Mask, Picture, Points
from flambeau.data.normalize import IntToFloatTensor, Normalize, ToTensor
from flambeau.data.transform import Transform
from flambeau.vision import geometry
from flambeau.vision.augment import aug_transforms
from flambeau.vision.fused import FusedResizeAugment
from flambeau.vision.images import PILImage, PILMask
from flambeau.vision.lighting import Hue, Saturation
from flambeau.vision.picture_augment import draw_parts, finish, move_masks, move_pictures
from flambeau.vision.resize import PlacingAugment, RandomResizedCrop, Resize
from flambeau.vision.tensor_types import TensorPoint

KINDS = (Picture(), Mask(), Points())


def smooth_sample() -> tuple[PILImage, PILMask, TensorPoint]:
    chance = torch.Generator().manual_seed(1)
    pixels = F.interpolate(torch.rand(1, 3, 6, 8, generator=chance), (300, 400), mode="bicubic")[0].clamp(0, 1)
    classes = F.interpolate(torch.rand(1, 1, 6, 8, generator=chance), (300, 400), mode="bicubic")[0, 0].clamp(0, 0.99)
    points = TensorPoint.create([[100.0, 80.0], [250.0, 200.0]], (400, 300))
    return PILImage.create((pixels * 255).byte()), PILMask.create((classes * 4).byte()), points


def in_two_stages(resize: PlacingAugment, fused: FusedResizeAugment, sample, chance: random.Random, training: bool):
    placement = resize.draw(chance, sample, KINDS, training)
    image, mask, points = (resize.apply(value, kind, placement) for value, kind in zip(sample, KINDS, strict=True))
    drawn = draw_parts(fused.parts, [chance], 1, placement.size, training)
    pixels = finish(move_pictures(image.to_tensor()[None], drawn), drawn)
    pixels = pixels if pixels.is_floating_point() else pixels / 255
    masks = move_masks(mask.to_tensor()[None], drawn)
    return pixels[0], masks[0], geometry.map_points(points.to_tensor(), drawn.matrices[0])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("resize", "mean_difference"),
    [
        (Resize(230), 0.003),
        (Resize((200, 250), "squish"), 0.003),
        (Resize(230, "pad"), 0.005),
        (Resize(230, "pad", pad_mode="zeros"), 0.01),  # the black edges fall on slightly different pixels
        (RandomResizedCrop(230, min_scale=0.3), 0.003),
    ],
)
def test_one_sampling_gives_what_two_stages_give(
    resize: PlacingAugment, mean_difference: float, training: bool
) -> None:
    for tfms in (
        aug_transforms(size=112),
        aug_transforms(size=(100, 140), min_scale=0.6, xtra_tfms=[Saturation(), Hue()]),
    ):
        fused, _ = resize.fuse(tfms)  # type: ignore[misc]
        for seed in range(3):
            sample = smooth_sample()
            expected = in_two_stages(resize, fused, sample, random.Random(seed), training)
            got = fused.on_sample(sample, KINDS, random.Random(seed), training)
            assert got[0].shape == expected[0].shape
            assert (got[0] - expected[0]).abs().mean() < mean_difference
            assert (got[1] != expected[1]).float().mean() < 0.03
            assert torch.allclose(got[2], expected[2], atol=1e-4)


def test_values_are_what_a_model_takes() -> None:
    fused, _ = Resize(64).fuse(aug_transforms(size=32))  # type: ignore[misc]
    image, mask, points = fused.on_sample(smooth_sample(), KINDS, random.Random(0), True)
    assert (image.dtype, mask.dtype, points.dtype) == (torch.float32, torch.int64, torch.float32)
    assert type(points) is torch.Tensor
    assert image.min() >= 0
    assert image.max() <= 1


def test_large_jpeg_is_decoded_only_as_large_as_needed(tmp_path: Path) -> None:
    image, _, _ = smooth_sample()
    image.resize((1600, 1200), 2).save(tmp_path / "large.jpg", quality=95)
    fused, _ = Resize(460).fuse(aug_transforms(size=112))  # type: ignore[misc]
    lazy = PILImage.create(tmp_path / "large.jpg")
    got = fused.on_sample((lazy,), (Picture(),), random.Random(0), False)[0]
    assert lazy.size == (200, 150)
    exact = torch.from_numpy(np.array(image.resize((112, 112), 2, box=(50, 0, 350, 300)))).permute(2, 0, 1) / 255
    assert (got - exact).abs().mean() < 0.01


def test_large_png_is_averaged_before_sampling() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    fused, _ = Resize(400).fuse(aug_transforms(size=50))  # type: ignore[misc]
    got = fused.on_sample((PILImage.create(stripes),), (Picture(),), random.Random(0), False)[0]
    assert (got - 0.5).abs().max() < 0.02


def test_only_what_is_understood_is_fused() -> None:
    def own(x: torch.Tensor) -> torch.Tensor:
        return x

    tfms = aug_transforms(size=32)
    assert Resize(64).fuse([ToTensor(), IntToFloatTensor(), *tfms, Normalize()])[1] == 3  # type: ignore[index]
    assert Resize(64).fuse([Transform(own), *tfms]) is None
    assert Resize(64).fuse([IntToFloatTensor(), Normalize()]) is None
    assert Resize(64).fuse([IntToFloatTensor(div_mask=255), *tfms]) is None
    assert Resize(64).fuse(aug_transforms(size=32, batch=True)) is None
    assert Resize(64, resamples=("bicubic", "nearest")).fuse(tfms) is None


def test_tensors_are_sampled_like_pictures() -> None:
    image, _, _ = smooth_sample()
    fused, _ = Resize(230).fuse(aug_transforms(size=112))  # type: ignore[misc]
    pixels = image.to_tensor()
    expected = fused.on_sample((image,), (Picture(),), random.Random(1), True)[0]
    got = fused.on_sample((pixels,), (Picture(),), random.Random(1), True)[0]
    assert (got - expected).abs().max() < 0.01
    floats = fused.on_sample((pixels.float() / 255,), (Picture(),), random.Random(1), True)[0]
    assert (floats - expected).abs().max() < 0.01


def test_name_and_chance_are_those_of_the_parts() -> None:
    fused, _ = Resize(64).fuse(aug_transforms(max_lighting=0, max_warp=0))  # type: ignore[misc]
    assert fused.name == "Resize + Flip + Rotate + Zoom"
    assert fused.is_random(True)
    assert not fused.is_random(False)


def test_an_item_has_the_same_luck_fused_as_in_a_batch_on_the_device() -> None:
    fused, _ = Resize(64).fuse(aug_transforms(size=32))  # type: ignore[misc]
    drawn = fused.draw(item_chance(1, 2, 3), smooth_sample(), KINDS, True).drawn
    in_batch = draw_parts(fused.parts, batch_chances(1, 2, [3]), 1, (64, 64), True)
    assert drawn.matrices == in_batch.matrices
