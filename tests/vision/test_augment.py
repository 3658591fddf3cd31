"""Augmentation of batches: the drawn values, their statistics, light worked out by hand, columns that stay together."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from flambeau.data.batch import Batch
from flambeau.data.kinds import Category, Mask, Picture, Points
from flambeau.data.pipeline import Pipeline
from flambeau.foundation.errors import ArgumentError, UnknownNameError
from flambeau.vision.augment import ComposedAugment, aug_transforms, setup_aug_tfms
from flambeau.vision.boxes import Boxes
from flambeau.vision.coordinates import AffineCoord, Dihedral, Flip, RandomResizedCropGPU, Rotate, Warp, Zoom
from flambeau.vision.erasing import RandomErasing
from flambeau.vision.geometry import IDENTITY, rotate
from flambeau.vision.lighting import Brightness, Contrast, Hue, Saturation
from flambeau.vision.picture_augment import draw_parts, light_table
from flambeau.vision.tensor_types import TensorImage


def smooth(n: int = 1, height: int = 64, width: int = 64) -> torch.Tensor:
    """Return floats in 0..1 without sharp edges."""
    coarse = torch.rand(n, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)


def chances(n: int, seed: int = 0) -> list[random.Random]:
    return [random.Random(1000 * seed + place) for place in range(n)]


def batch_of(pixels: torch.Tensor) -> Batch:
    return Batch((pixels,), (torch.zeros(len(pixels)),), (Picture(), Category(("a", "b"))))


def test_defaults_are_one_composed_transform_of_six() -> None:
    (composed,) = aug_transforms()
    assert composed.name == "Flip + Warp + Rotate + Zoom + Brightness + Contrast"
    assert [part.p for part in composed.parts] == [0.5, 0.75, 0.75, 0.75, 0.75, 0.75]


def test_arguments_reach_the_parts() -> None:
    (composed,) = aug_transforms(mult=2, flip_vert=True, max_zoom=1.0, size=(20, 30), min_scale=0.75)
    names = [part.name for part in composed.parts]
    assert names == ["Dihedral", "Warp", "Rotate", "Brightness", "Contrast", "RandomResizedCropGPU"]
    warp, turn, crop = composed.parts[1], composed.parts[2], composed.parts[-1]
    assert (warp.magnitude, turn.max_deg, turn.size) == (0.4, 20, None)
    assert (crop.size, crop.min_scale, crop.ratio) == ((20, 30), 0.75, (1, 1))


def test_nothing_but_a_size_still_resizes() -> None:
    (only,) = aug_transforms(do_flip=False, max_rotate=0, max_zoom=1, max_lighting=0, max_warp=0, size=16)
    assert isinstance(only, AffineCoord)
    assert only.on_batch(batch_of(smooth(2)), None, True)[0].shape == (2, 3, 16, 16)
    assert not only.is_random(True)


def test_an_unknown_pad_mode_proposes_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no pad mode 'zeross'\. Did you mean 'zeros'"):
        aug_transforms(pad_mode="zeross")


def test_min_scale_without_size_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"min_scale=0.75 .* give size=224"):
        aug_transforms(min_scale=0.75)


def test_pictures_draw_independently_at_the_given_rate() -> None:
    flips = draw_parts([Flip(p=0.5)], chances(2000), 2000, (8, 8), True).matrices
    assert sum(matrix is not IDENTITY for matrix in flips) / 2000 == pytest.approx(0.5, abs=0.04)
    lines = draw_parts([Brightness(p=0.75)], chances(2000), 2000, (8, 8), True).lines
    assert sum(line is not None for line in lines) / 2000 == pytest.approx(0.75, abs=0.04)


def test_warp_draws_its_two_tilts_apart() -> None:
    matrices = draw_parts([Warp(p=0.5)], chances(2000), 2000, (8, 8), True).matrices
    assert sum(matrix is IDENTITY for matrix in matrices) / 2000 == pytest.approx(0.25, abs=0.03)


def test_rotation_is_uniform_up_to_its_limit() -> None:
    matrices = draw_parts([Rotate(10, p=1.0)], chances(2000), 2000, (8, 8), True).matrices
    angles = [math.degrees(math.atan2(matrix[3], matrix[0])) for matrix in matrices]
    assert max(angles) == pytest.approx(10, abs=0.1)
    assert np.std(angles) == pytest.approx(20 / math.sqrt(12), abs=0.2)


def test_contrast_is_uniform_in_its_logarithm() -> None:
    lines = draw_parts([Contrast(0.2, p=1.0)], chances(2000), 2000, (8, 8), True).lines
    logs = [math.log(line[0]) for line in lines]
    assert min(logs) == pytest.approx(math.log(0.8), abs=0.01)
    assert max(logs) == pytest.approx(-math.log(0.8), abs=0.01)
    assert np.mean(logs) == pytest.approx(0, abs=0.01)


def test_batch_gives_all_pictures_one_draw() -> None:
    drawn = draw_parts([Rotate(p=1.0, batch=True), Brightness(p=1.0, batch=True)], chances(4), 4, (8, 8), True)
    assert len(set(drawn.matrices)) == 1
    assert len(set(drawn.lines)) == 1
    assert len(set(draw_parts([Rotate(p=1.0)], chances(4), 4, (8, 8), True).matrices)) == 4


def test_draw_overrides_chance() -> None:
    assert draw_parts([Rotate(draw=30, p=1.0)], chances(1), 1, (9, 9), True).matrices == [rotate(30, (9, 9))]
    assert draw_parts([Rotate(draw=lambda chance: 30, p=1.0)], chances(1), 1, (9, 9), True).matrices == [
        rotate(30, (9, 9))
    ]


def test_same_chance_gives_the_same_pictures_in_any_batch() -> None:
    (composed,) = aug_transforms(size=32)
    pixels = smooth(4)
    whole = composed.on_batch(batch_of(pixels), chances(4), True)[0]
    alone = composed.on_batch(batch_of(pixels[2:3]), chances(4)[2:3], True)[0]
    assert torch.allclose(whole[2:3], alone, atol=1e-6)


def test_bytes_and_floats_give_the_same_pictures() -> None:
    (composed,) = aug_transforms(size=32, xtra_tfms=[Saturation(), Hue()])
    pixels = (smooth(4) * 255).byte()
    from_bytes = composed.on_batch(batch_of(pixels), chances(4), True)[0]
    from_floats = composed.on_batch(batch_of(pixels.float() / 255), chances(4), True)[0]
    assert from_bytes.dtype == torch.float32
    assert torch.allclose(from_bytes, from_floats, atol=1e-4)
    assert from_bytes.min() >= 0
    assert from_bytes.max() <= 1


def test_validation_only_resizes() -> None:
    pixels = smooth(2, 64, 48)
    (composed,) = aug_transforms(size=32)
    got = composed.on_batch(batch_of(pixels), None, False)[0]
    assert torch.allclose(got, F.interpolate(pixels, (32, 32), mode="bilinear"), atol=0.02)
    (unsized,) = aug_transforms()
    assert unsized.on_batch(batch_of(pixels), None, False)[0] is pixels
    assert not composed.is_random(False)


def test_validation_of_a_random_crop_shows_its_centre() -> None:
    pixels = smooth(1, 64, 64)
    got = RandomResizedCropGPU(32, valid_scale=0.25).on_batch(batch_of(pixels), None, False)[0]
    assert torch.allclose(got, pixels[..., 16:48, 16:48], atol=1e-5)


def test_brightness_moves_middle_grey_to_the_drawn_value() -> None:
    table = light_table(Brightness(draw=0.6, p=1.0).line(random.Random()))
    assert table[[0, 255]].tolist() == pytest.approx([0, 1], abs=1e-4)
    # logit(128/255) + logit(0.6)
    odds = 128 / 127 * 1.5
    assert table[128] == pytest.approx(odds / (1 + odds), abs=1e-6)


def test_light_on_a_batch_equals_the_table() -> None:
    pixels = torch.arange(192, dtype=torch.uint8).view(1, 3, 8, 8)
    part = Contrast(draw=1.25, p=1.0)
    got = part.on_batch(batch_of(pixels), chances(1), True)[0]
    assert torch.allclose(got.flatten(), torch.from_numpy(light_table((1.25, 0.0))[:192]), atol=1e-5)


def test_brightness_then_contrast_is_one_line() -> None:
    first, second = Brightness(draw=0.6, p=1.0), Contrast(draw=1.25, p=1.0)
    (line,) = draw_parts([first, second], chances(1), 1, (8, 8), True).lines
    assert line == pytest.approx((1.25, 1.25 * math.log(1.5)))


def test_no_saturation_is_grey_and_a_third_of_a_turn_makes_red_green() -> None:
    red = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    grey = Saturation(draw=0.0, p=1.0).on_batch(batch_of(red), chances(1), True)[0]
    assert grey[0, :, 0, 0].tolist() == pytest.approx([0.299] * 3)
    green = Hue(draw=1 / 3, p=1.0).on_batch(batch_of(red), chances(1), True)[0]
    assert green[0, :, 0, 0].tolist() == pytest.approx([0, 1, 0], abs=1e-5)


def test_whole_turn_of_hue_changes_nothing() -> None:
    pixels = smooth(2)
    assert torch.allclose(Hue(draw=1.0, p=1.0).on_batch(batch_of(pixels), chances(2), True)[0], pixels, atol=1e-5)


def test_all_columns_follow_their_picture() -> None:
    pixels, masks = torch.zeros(3, 3, 64, 64), torch.zeros(3, 64, 64, dtype=torch.int64)
    for place, (row, column) in enumerate(((20, 40), (31, 15), (45, 45))):
        pixels[place, :, row - 4 : row + 4, column - 4 : column + 4] = 1.0
        masks[place, row - 4 : row + 4, column - 4 : column + 4] = 5
    points = torch.tensor([[[40.0, 20.0]], [[15.0, 31.0]], [[45.0, 45.0]]]) / 32 - 1
    boxes = torch.cat([points - 0.125, points + 0.125], -1)
    batch = Batch((pixels,), (masks, points, boxes), (Picture(), Mask(), Points(), Boxes()))
    (composed,) = aug_transforms(p_affine=1.0, max_lighting=0, size=48, max_zoom=1.2)
    x, mask, point, box = composed.on_batch(batch, chances(3), True)
    assert mask.dtype == torch.int64
    assert set(mask.unique().tolist()) == {0, 5}
    assert ((x[:, 0] > 0.5) != (mask == 5)).float().mean() < 0.02
    for place in range(3):
        rows, columns = torch.nonzero(mask[place] == 5, as_tuple=True)
        centre = torch.stack([columns.float().mean() + 0.5, rows.float().mean() + 0.5]) / 24 - 1
        assert torch.allclose(point[place, 0], centre, atol=0.06)
        edges = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 24 - 1
        assert torch.allclose(box[place, 0], edges.float(), atol=0.08)


def test_half_the_size_is_averaged_not_aliased() -> None:
    checks = torch.zeros(1, 3, 64, 64)
    checks[..., ::2] = 1.0
    got = AffineCoord(31).on_batch(batch_of(checks), None, False)[0]
    assert got.sub(0.5).abs().max() < 0.01


def test_split_idx_limits_to_training() -> None:
    flip = Flip(p=1.0, draw=1)
    flip.split_idx = 0
    pixels = smooth(1)
    assert flip.on_batch(batch_of(pixels), chances(1), False)[0] is pixels


def test_batch_without_pictures_passes() -> None:
    batch = Batch((torch.ones(2, 3),), kinds=(Category(("a",)),))
    assert Rotate().on_batch(batch, chances(2), True) is batch


def test_neighbours_compose_and_strangers_stay() -> None:
    def stranger(x: torch.Tensor) -> torch.Tensor:
        return x

    tfms = setup_aug_tfms([Rotate(), Zoom(), RandomErasing(), stranger])
    assert [tfm.name for tfm in tfms] == ["stranger", "Rotate + Zoom", "RandomErasing"]


def test_methods_of_tensor_image_match_the_pipeline() -> None:
    pixels = smooth(1, 96, 96)
    steps = TensorImage(pixels).affine_coord(sz=48).rotate(draw=30, p=1.0).zoom(draw=1.2, p=1.0, draw_x=0.5, draw_y=0.5)
    steps = steps.warp(draw_x=-0.2, draw_y=0.2, p=1.0)
    tfms = setup_aug_tfms(
        [
            Rotate(draw=30, p=1, size=48),
            Zoom(draw=1.2, draw_x=0.5, draw_y=0.5, p=1.0, size=48),
            Warp(draw_x=-0.2, draw_y=0.2, p=1.0, size=48),
        ]
    )
    once = Pipeline(tfms)(pixels)
    assert steps.shape == once.shape == (1, 3, 48, 48)
    # away from the edges, where reflecting three times differs from reflecting once
    assert (steps[..., 12:36, 12:36] - once[..., 12:36, 12:36]).abs().mean() < 0.01


def test_settings_survive_json() -> None:
    (composed,) = aug_transforms(size=(20, 30), xtra_tfms=[Hue(), Saturation()], min_scale=0.5)
    again = ComposedAugment(**json.loads(json.dumps(composed.settings())))
    assert again.settings() == json.loads(json.dumps(composed.settings()))
    pixels = smooth(2)
    assert torch.equal(
        again.on_batch(batch_of(pixels), None, False)[0], composed.on_batch(batch_of(pixels), None, False)[0]
    )
    with pytest.raises(UnknownNameError, match=r"no augmentation 'Rotat'.*'Rotate'"):
        ComposedAugment([("Rotat", {})])


def test_bad_probability_and_lighting_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"Flip: p is a probability in 0..1, got 1.5"):
        Flip(p=1.5)
    with pytest.raises(ArgumentError, match=r"Contrast: max_lighting must be in 0..1, 1 excluded; got 1"):
        Contrast(1)


def test_dihedral_draws_all_eight() -> None:
    matrices = draw_parts([Dihedral(p=1.0)], chances(200), 200, (8, 8), True).matrices
    assert len(set(matrices)) == 8


def test_erasing_fills_boxes_of_the_promised_area_with_noise() -> None:
    pixels = torch.zeros(200, 3, 32, 32)
    got = RandomErasing(p=0.5, sl=0.1, sh=0.3).on_batch(batch_of(pixels), chances(200), True)[0]
    share = (got[:, 0] != 0).float().mean((1, 2))
    erased = share[share > 0]
    assert len(erased) / 200 == pytest.approx(0.5, abs=0.12)
    assert erased.max() < 0.33
    assert erased.mean() == pytest.approx(0.19, abs=0.04)
    assert got[got != 0].std() == pytest.approx(1.0, abs=0.05)
    assert pixels.abs().max() == 0


def test_erasing_repeats_with_its_chance_and_rests_in_validation() -> None:
    batch = batch_of(torch.zeros(8, 3, 16, 16))
    tfm = RandomErasing(p=1.0, max_count=3)
    assert torch.equal(tfm.on_batch(batch, chances(8), True)[0], tfm.on_batch(batch, chances(8), True)[0])
    assert tfm.on_batch(batch, None, False) is batch


def test_an_argument_that_aug_transforms_lacks_proposes_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no argument of aug_transforms 'do_flp'\. Did you mean 'do_flip'"):
        aug_transforms(do_flp=True)
