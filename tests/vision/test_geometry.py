"""Homographies: corners, fixed points and pixels worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from flambeau.vision import geometry
from flambeau.vision.geometry import IDENTITY, as_matrices, compose, invert, map_boxes, map_points, sample


def moved(matrix: geometry.Matrix, x: float, y: float) -> list[float]:
    """Return where an output place lies in the input."""
    return map_points(torch.tensor([[x, y]], dtype=torch.float64), invert(matrix))[0].tolist()


def test_crop_shows_its_box() -> None:
    matrix = geometry.pixel_crop((10, 0, 30, 10), (40, 20))
    assert moved(matrix, -1, -1) == pytest.approx([-0.5, -1])
    assert moved(matrix, 1, 1) == pytest.approx([0.5, 0])


def test_rotation_by_a_quarter_keeps_pixels_square() -> None:
    # in a 40 x 20 picture, 10 pixels to the right of the centre come from 10 pixels below it
    assert moved(geometry.rotate(90, (40, 20)), 0.5, 0) == pytest.approx([0, 1], abs=1e-6)


def test_rotation_keeps_lengths_in_pixels() -> None:
    x, y = moved(geometry.rotate(30, (300, 100)), 0.2, 0)
    assert math.hypot(x * 150, y * 50) == pytest.approx(30)


def test_zoom_keeps_the_chosen_part_in_view() -> None:
    assert moved(geometry.zoom(2, 0, 0), -1, -1) == pytest.approx([-1, -1])
    assert moved(geometry.zoom(2, 0, 0), 1, 1) == pytest.approx([0, 0])
    assert moved(geometry.zoom(2), 1, 1) == pytest.approx([0.5, 0.5])


def test_warp_moves_the_corners_by_its_magnitudes() -> None:
    matrix = geometry.warp(0.1, 0.2)
    assert moved(matrix, -1, -1) == pytest.approx([-1.2, -1.1])
    assert moved(matrix, 1, -1) == pytest.approx([1.2, -0.9])
    assert moved(matrix, 1, 1) == pytest.approx([0.8, 0.9])
    assert moved(matrix, -1, 1) == pytest.approx([-0.8, 1.1])


def test_inverse_undoes_any_chain() -> None:
    matrix = compose(
        geometry.flip(), geometry.warp(0.1, -0.2), geometry.rotate(7, (40, 30)), geometry.zoom(1.1, 0.2, 0.9)
    )
    product = compose(matrix, invert(matrix))
    assert [value / product[8] for value in product] == pytest.approx(IDENTITY, abs=1e-9)


def test_compose_is_the_order_of_changes() -> None:
    # the left half, then mirrored: the output's left edge is the input's middle
    assert moved(compose(geometry.crop(-1, -1, 0, 1), geometry.flip()), -1, 0) == pytest.approx([0, 0])


@pytest.mark.parametrize("k", range(8))
def test_dihedral_moves_whole_pixels(k: int) -> None:
    pixels = torch.arange(9.0).view(1, 3, 3)
    expected = pixels.flip(-1) if k & 1 else pixels
    expected = expected.flip(-2) if k & 2 else expected
    expected = expected.transpose(-1, -2) if k & 4 else expected
    got = sample(pixels, as_matrices([geometry.dihedral(k)]), (3, 3))
    assert torch.allclose(got, expected, atol=1e-4)


def test_identity_returns_the_pixels() -> None:
    pixels = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    assert torch.allclose(sample(pixels, as_matrices([IDENTITY] * 2), (5, 7)), pixels.float(), atol=1e-3)


@pytest.mark.parametrize(
    ("pad_mode", "expected"), [("zeros", [0, 0, 1, 2]), ("border", [1, 1, 1, 2]), ("reflection", [2, 1, 1, 2])]
)
def test_outside_is_black_continued_or_mirrored(pad_mode: str, expected: list[int]) -> None:
    pixels = torch.tensor([[[1.0, 2.0]]])
    shown = sample(pixels, as_matrices([geometry.crop(-3, -1, 1, 1)]), (1, 4), pad_mode=pad_mode)
    assert shown[0, 0].tolist() == pytest.approx(expected, abs=1e-5)


def test_points_follow_the_pixels() -> None:
    pixels = torch.zeros(1, 64, 64)
    pixels[0, 20, 40] = 1.0
    point = torch.tensor([[(40.5 / 64) * 2 - 1, (20.5 / 64) * 2 - 1]])
    matrix = compose(geometry.warp(0.2, -0.1), geometry.rotate(25, (64, 64)), geometry.zoom(1.2, 0.7, 0.3))
    x, y = ((map_points(point, matrix)[0] + 1) / 2 * 64).tolist()
    brightest = sample(pixels, as_matrices([matrix]), (64, 64)).flatten().argmax().item()
    assert abs(brightest % 64 + 0.5 - x) < 1
    assert abs(brightest // 64 + 0.5 - y) < 1


def test_a_batch_of_points_uses_its_own_matrices() -> None:
    points = torch.tensor([[[0.5, 0.0]], [[0.5, 0.0]]])
    got = map_points(points, [IDENTITY, geometry.flip()])
    assert got.flatten().tolist() == pytest.approx([0.5, 0, -0.5, 0])


def test_boxes_are_cut_and_vanish_outside() -> None:
    boxes = torch.tensor([[-1.0, -1.0, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]])
    got = map_boxes(boxes, geometry.crop(-1, -1, 0, 0))
    assert got.tolist() == [[-1, -1, 1, 1], [0, 0, 0, 0]]
    assert map_boxes(boxes[:1], geometry.flip())[0].tolist() == pytest.approx([-0.5, -1, 1, 0.5])


def test_shrinkage_counts_input_pixels_a_step() -> None:
    assert geometry.shrinkage(IDENTITY, (400, 300), (100, 100)) == pytest.approx(3)
    assert geometry.shrinkage(geometry.zoom(2), (400, 400), (100, 100)) == pytest.approx(2)
    assert geometry.shrinkage(geometry.rotate(45, (400, 400)), (400, 400), (200, 200)) == pytest.approx(2)


def test_factor_is_the_whole_part_with_a_little_grace() -> None:
    assert [geometry.whole_factor(shrink) for shrink in (0.5, 1.8, 1.9, 2.5, 3.9)] == [1, 1, 2, 2, 4]


def test_reduce_averages_and_accounts_for_the_rest() -> None:
    pixels = torch.tensor([[[1.0, 3.0, 5.0]]]).expand(1, 2, 3)
    reduced, matrix = geometry.reduce(pixels, 2)
    assert reduced.tolist() == [[[2.0, 5.0]]]
    # the right edge of 3 pixels is three quarters through two blocks
    assert moved(matrix, 1, 1) == pytest.approx([0.5, 1])
