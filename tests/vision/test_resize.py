"""Resizes and crops of single pictures: boxes worked out by hand, columns that stay together."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from flambeau.data.kinds import Mask, Picture, Points
from flambeau.foundation.errors import ArgumentError, DataError, UnknownNameError
from flambeau.vision.geometry import PadMode
from flambeau.vision.images import PILImage, PILImageBW, PILMask
from flambeau.vision.placement import Placement, as_size, place
from flambeau.vision.resize import (
    CropPad,
    DihedralItem,
    FlipItem,
    RandomCrop,
    RandomResizedCrop,
    RatioResize,
    Resize,
    ResizeMethod,
)
from flambeau.vision.tensor_types import TensorPoint

RAMP = np.tile(np.arange(0, 200, 2, dtype=np.uint8), (60, 1))  # 100 wide, 60 high, value = 2 x column
VALID, TRAIN = 1, 0


def test_centre_crop_is_resized_in_validation() -> None:
    got = Resize(30)(PILImageBW.create(RAMP), split_idx=VALID)
    assert got.size == (30, 30)
    # the box is columns 20..80, two a pixel: the first mean is (40 + 42) / 2
    assert got.to_tensor()[0, 0, 0].item() == pytest.approx(41, abs=3)
    assert got.to_tensor()[0, 0, -1].item() == pytest.approx(157, abs=3)


def test_training_crop_moves_and_repeats_with_its_chance() -> None:
    resize, kinds = Resize(30), (Picture(),)
    image = (PILImageBW.create(RAMP),)
    lefts = {resize.draw(random.Random(seed), image, kinds, True).box[0] for seed in range(20)}
    assert len(lefts) > 5
    assert min(lefts) >= 0
    assert max(lefts) <= 40
    assert resize.draw(random.Random(3), image, kinds, True) == resize.draw(random.Random(3), image, kinds, True)


def test_squish_shows_all_of_the_picture() -> None:
    got = Resize((20, 10), method="squish")(PILImageBW.create(RAMP))
    assert got.size == (10, 20)
    assert got.to_tensor()[0, 5].float().mean().item() == pytest.approx(99, abs=1)


def test_pad_fills_with_black_or_the_mirror_image() -> None:
    black = Resize(50, method=ResizeMethod.Pad, pad_mode=PadMode.Zeros)(PILImageBW.create(RAMP + 1)).to_tensor()[0]
    assert black.shape == (50, 50)
    assert (black == 0).all(1).tolist() == [True] * 10 + [False] * 30 + [True] * 10
    mirror = Resize(50, "pad")(PILImageBW.create(RAMP.T.copy())).to_tensor()[0]
    assert mirror[:, 9].tolist() == mirror[:, 10].tolist()
    assert mirror[:, 0].tolist() == mirror[:, 19].tolist()


def test_sizes_are_height_and_width() -> None:
    assert Resize((30, 20))(PILImage.create(RAMP)).size == (20, 30)
    assert as_size((30, 20)) == (20, 30)


@pytest.mark.parametrize("size", [0, (3,), (2, 3, 4), (2.5, 3)])
def test_bad_sizes_are_refused(size: object) -> None:
    with pytest.raises(ArgumentError, match=r"positive whole number or \(height, width\)"):
        Resize(size)  # type: ignore[arg-type]


def test_unknown_method_proposes_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no resize method 'squash'.*'squish'"):
        Resize(10, method="squash")


def test_sample_without_picture_says_what_it_has() -> None:
    with pytest.raises(DataError, match="needs a picture or a mask in the sample, but its columns are Text"):
        Resize(10)("a word")


@pytest.mark.parametrize(
    "tfm", [Resize(24), Resize(24, "squish"), Resize(24, "pad"), RandomResizedCrop(24), CropPad(24)]
)
def test_picture_mask_and_point_stay_together(tfm) -> None:
    # a bright square of class 7 around the point
    pixels = np.zeros((80, 120), np.uint8)
    pixels[30:44, 50:64] = 255
    sample = (PILImageBW.create(pixels), PILMask.create(pixels // 255 * 7), TensorPoint.create([[57.0, 37.0]]))
    kinds = (Picture(), Mask(), Points())
    for seed in range(5):
        image, mask, point = tfm.on_sample(sample, kinds, random.Random(seed), True)
        assert image.size == mask.size == point.img_size == (24, 24)
        assert set(mask.to_tensor().unique().tolist()) <= {0, 7}
        bright = image.to_tensor()[0] > 127
        assert (bright != (mask.to_tensor() == 7)).float().mean() < 0.1
        x, y = ((point.to_tensor()[0] + 1) * 12).tolist()
        if 1 < x < 23 and 1 < y < 23 and bright.any():
            rows, columns = torch.nonzero(bright, as_tuple=True)
            assert columns.min() - 1 <= x <= columns.max() + 2
            assert rows.min() - 1 <= y <= rows.max() + 2


def test_tuples_of_pictures_share_one_draw() -> None:
    image = PILImageBW.create(RAMP)
    first, second, label = Resize(30)((image, image, "same"))
    assert torch.equal(first.to_tensor(), second.to_tensor())
    assert label == "same"


def test_large_jpeg_is_decoded_small(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.tile(np.linspace(0, 255, 803).astype(np.uint8), (601, 1))).convert("RGB").save(
        tmp_path / "a.jpg"
    )
    image = PILImage.create(tmp_path / "a.jpg")
    got = Resize(64)(image, split_idx=VALID)
    assert image.size == (101, 76)
    exact = np.asarray(PIL.Image.open(tmp_path / "a.jpg").resize((64, 64), 2, box=(101, 0, 702, 601))).astype(float)
    assert np.abs(np.asarray(got).astype(float) - exact).mean() < 1.5


def test_random_resized_crop_keeps_its_promises() -> None:
    tfm, image = RandomResizedCrop(20, min_scale=0.25), (PILImageBW.create(RAMP),)
    for seed in range(30):
        left, top, right, bottom = tfm.draw(random.Random(seed), image, (Picture(),), True).box
        assert 0 <= left < right <= 100
        assert 0 <= top < bottom <= 60
        assert (right - left) * (bottom - top) >= 0.24 * 6000
        assert 0.7 < (right - left) / (bottom - top) < 1.4


def test_random_resized_crop_validates_on_the_centre() -> None:
    placement = RandomResizedCrop(224).placement((512, 256), random.Random(0), False)
    # 14 % of 224, up to a multiple of 8, are 32 more: 224 / 256 of each side is shown
    assert placement.box == (32.0, 16.0, 480.0, 240.0)


def test_random_crop_and_crop_pad_do_not_resize() -> None:
    got = CropPad((60, 40))(PILImageBW.create(RAMP)).to_tensor()[0]
    assert got[0, 0].item() == 60
    padded = CropPad(104)(PILImageBW.create(RAMP + 1)).to_tensor()[0]
    assert (padded[:, :2] == 0).all()
    assert padded[22, 2].item() == 1
    assert RandomCrop(10)(PILImageBW.create(RAMP)).to_tensor()[0, 0].diff().tolist() == [2] * 9


def test_ratio_resize_bounds_the_longer_side() -> None:
    assert RatioResize(50)(PILImageBW.create(RAMP)).size == (50, 30)


def test_flip_item_flips_all_columns_or_none() -> None:
    image, point = FlipItem(p=1.0)((PILImageBW.create(RAMP), TensorPoint.create([[10.0, 5.0]], (100, 60))))
    assert image.to_tensor()[0, 0, :3].tolist() == [198, 196, 194]
    assert point[0].tolist() == pytest.approx([90, 5], abs=1e-4)
    assert FlipItem(p=1.0)(image, split_idx=VALID) is image


def test_dihedral_item_knows_eight_results() -> None:
    image = PILImageBW.create(np.arange(6, dtype=np.uint8).reshape(2, 3))
    seen = set()
    for seed in range(60):
        got, point = DihedralItem().on_sample(
            (image, TensorPoint.create([[2.5, 0.5]], (3, 2))), (Picture(), Points()), random.Random(seed), True
        )
        x, y = point[0].tolist()
        assert got.to_tensor()[0, int(y), int(x)] == 2
        seen.add(str(np.asarray(got).tolist()))
    assert len(seen) == 8


def test_tensors_are_placed_like_pictures() -> None:
    pixels = torch.from_numpy(RAMP)[None].float()
    placement = Placement((20, 0, 80, 60), (100, 60), (30, 30))
    assert place(pixels, placement, "bilinear")[0, 0, 1].item() == pytest.approx(45, abs=1)
    assert place(torch.from_numpy(RAMP), placement, "nearest").dtype == torch.uint8


@pytest.mark.parametrize(
    "tfm",
    [
        Resize((3, 4), "pad", "zeros"),
        RandomResizedCrop(8),
        CropPad(5),
        RandomCrop(5),
        RatioResize(9),
        FlipItem(0.2),
        DihedralItem(),
    ],
)
def test_settings_build_the_same_transform(tfm) -> None:
    again = type(tfm)(**tfm.settings())
    assert again.settings() == tfm.settings()
    assert again.name == type(tfm).__name__


def test_a_misspelt_method_is_answered_with_the_word_to_write() -> None:
    with pytest.raises(UnknownNameError, match=r"no resize method 'sqish'\. Did you mean 'squish'"):
        Resize(32, method="sqish")
