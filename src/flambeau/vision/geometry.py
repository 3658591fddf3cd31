"""Where each output pixel comes from: after reading it you know how flips, turns, zooms and warps become one matrix.

Every change of coordinates here is a homography: a 3x3 matrix that takes a place in the OUTPUT to the place in the
INPUT whose colour it shows. Places are normalised: -1..1 from edge to edge of a picture in both directions, x to the
right and y down, which is what `grid_sample(align_corners=False)` expects. Changes that happen one after the other
multiply from left to right, `compose(first, second, ...)`; the picture is then sampled once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

Matrix = tuple[float, float, float, float, float, float, float, float, float]
"""A 3x3 matrix, row by row."""

IDENTITY: Matrix = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

NEARLY_WHOLE = 0.15
"""How far below a whole number a shrinkage may lie and still be averaged by it: 1.9 counts as 2."""


class PadMode(StrEnum):
    """What lies outside a picture: black, its edge pixels continued, or its mirror image."""

    Zeros = "zeros"
    Border = "border"
    Reflection = "reflection"


def compose(*matrices: Matrix) -> Matrix:
    """Return the product: the picture is changed by the first matrix, the result by the second, and so on."""
    product = IDENTITY
    for matrix in matrices:
        if product is IDENTITY:
            product = matrix
        elif matrix is not IDENTITY:
            product = _product(product, matrix)
    return product


def _product(left: Matrix, right: Matrix) -> Matrix:
    a, b, c, d, e, f, g, h, i = left
    j, k, m, n, o, p, q, r, s = right
    return (
        a * j + b * n + c * q, a * k + b * o + c * r, a * m + b * p + c * s,
        d * j + e * n + f * q, d * k + e * o + f * r, d * m + e * p + f * s,
        g * j + h * n + i * q, g * k + h * o + i * r, g * m + h * p + i * s,
    )  # fmt: skip


def invert(matrix: Matrix) -> Matrix:
    """Return the inverse: where a place of the input appears in the output."""
    a, b, c, d, e, f, g, h, i = matrix
    first, second, third = e * i - f * h, f * g - d * i, d * h - e * g
    scale = 1 / (a * first + b * second + c * third)
    return (
        first * scale, (c * h - b * i) * scale, (b * f - c * e) * scale,
        second * scale, (a * i - c * g) * scale, (c * d - a * f) * scale,
        third * scale, (b * g - a * h) * scale, (a * e - b * d) * scale,
    )  # fmt: skip


def crop(left: float, top: float, right: float, bottom: float) -> Matrix:
    """Show only a box, given in normalised coordinates (-1, -1, 1, 1 is the whole picture)."""
    return (
        (right - left) / 2, 0.0, (right + left) / 2,
        0.0, (bottom - top) / 2, (bottom + top) / 2,
        0.0, 0.0, 1.0,
    )  # fmt: skip


def pixel_crop(box: Sequence[float], size: Sequence[float]) -> Matrix:
    """Show only a box (left, top, right, bottom), given in the pixels of a picture of `size` (width, height)."""
    width, height = size
    return crop(2 * box[0] / width - 1, 2 * box[1] / height - 1, 2 * box[2] / width - 1, 2 * box[3] / height - 1)


def flip() -> Matrix:
    """Mirror left and right."""
    return (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def dihedral(k: int) -> Matrix:
    """Return one of the eight symmetries of a square: bit 0 mirrors x, bit 1 mirrors y, bit 2 swaps them."""
    x, y = 1.0 - 2 * (k & 1), 1.0 - 2 * (k >> 1 & 1)
    if k & 4:
        return (0.0, x, 0.0, y, 0.0, 0.0, 0.0, 0.0, 1.0)
    return (x, 0.0, 0.0, 0.0, y, 0.0, 0.0, 0.0, 1.0)


def rotate(degrees: float, size: Sequence[float]) -> Matrix:
    """Turn a picture of `size` (width, height) about its centre, counter-clockwise, without shearing it."""
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    # turned in pixels, not in normalised units, or a picture that is not square would be sheared
    aspect = size[0] / size[1]
    return (cosine, -sine / aspect, 0.0, sine * aspect, cosine, 0.0, 0.0, 0.0, 1.0)


def zoom(factor: float, x: float = 0.5, y: float = 0.5) -> Matrix:
    """Enlarge by `factor`; `x`, `y` in 0..1 say which part stays in view (0.5, 0.5: the centre)."""
    part = 1 / factor
    return (part, 0.0, (1 - part) * (2 * x - 1), 0.0, part, (1 - part) * (2 * y - 1), 0.0, 0.0, 1.0)


def warp(x: float, y: float) -> Matrix:
    """Tilt the picture as if seen from the side (`x`) or from above (`y`): its corners move by these magnitudes."""
    if x == 0 and y == 0:
        return IDENTITY
    return _to_corners((-1 - y, -1 - x), (1 + y, -1 + x), (1 - y, 1 - x), (-1 + y, 1 + x))


def _to_corners(
    top_left: tuple[float, float],
    top_right: tuple[float, float],
    bottom_right: tuple[float, float],
    bottom_left: tuple[float, float],
) -> Matrix:
    """Return the matrix that takes the output's corners to four places of the input (Heckbert 1989, section 2.2)."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = top_left, top_right, bottom_right, bottom_left
    dx1, dx2, sx = x1 - x2, x3 - x2, x0 - x1 + x2 - x3
    dy1, dy2, sy = y1 - y2, y3 - y2, y0 - y1 + y2 - y3
    determinant = dx1 * dy2 - dx2 * dy1
    g = (sx * dy2 - dx2 * sy) / determinant
    h = (dx1 * sy - sx * dy1) / determinant
    unit_square: Matrix = (
        x1 - x0 + g * x1, x3 - x0 + h * x3, x0,
        y1 - y0 + g * y1, y3 - y0 + h * y3, y0,
        g, h, 1.0,
    )  # fmt: skip
    # the formula starts at the square 0..1, ours is -1..1
    return _product(unit_square, (0.5, 0.0, 0.5, 0.0, 0.5, 0.5, 0.0, 0.0, 1.0))


def map_points(points: Tensor, matrices: Matrix | list[Matrix]) -> Tensor:
    """Return where points (n, 2) of the input appear in the output; for points (batch, n, 2) a list of matrices."""
    if isinstance(matrices, list):
        inverse = as_matrices([invert(matrix) for matrix in matrices], points.device)
    else:
        inverse = as_matrices([invert(matrices)], points.device)[0]
    moved = torch.cat([points, torch.ones_like(points[..., :1])], -1) @ inverse.transpose(-1, -2).to(points.dtype)
    return moved[..., :2] / moved[..., 2:]


def map_boxes(boxes: Tensor, matrices: Matrix | list[Matrix]) -> Tensor:
    """Return the upright boxes (..., n, 4 = left, top, right, bottom) around the moved corners, cut at the edges.

    A box of which nothing is left becomes all zeros, the same as padding.
    """
    corners = boxes[..., [0, 1, 2, 1, 2, 3, 0, 3]].reshape(*boxes.shape[:-2], -1, 2)
    moved = map_points(corners, matrices).reshape(*boxes.shape[:-1], 4, 2)
    around = torch.cat([moved.amin(-2), moved.amax(-2)], -1).clamp(-1, 1)
    empty = (around[..., 2] <= around[..., 0]) | (around[..., 3] <= around[..., 1])
    return around.masked_fill(empty[..., None], 0)


def map_places(places: Tensor, matrices: Matrix | list[Matrix]) -> Tensor:
    """Return where points (..., n, 2) or boxes (..., n, 4) of the input appear in the output."""
    return map_boxes(places, matrices) if places.shape[-1] == 4 else map_points(places, matrices)


def shrinkage(matrix: Matrix, source: Sequence[float], target: Sequence[float]) -> float:
    """Return how many input pixels one output pixel steps over at the centre, in the direction where they are fewer.

    `source` and `target` are sizes (width, height).
    """
    a, b, c, d, e, f, g, h, i = matrix
    x, y = c / i, f / i
    across = math.hypot((a - x * g) / i * source[0], (d - y * g) / i * source[1]) / target[0]
    down = math.hypot((b - x * h) / i * source[0], (e - y * h) / i * source[1]) / target[1]
    return min(across, down)


def whole_factor(shrink: float) -> int:
    """Return the whole number of pixels to average in each direction before sampling, so that nothing aliases."""
    return max(1, math.floor(shrink + NEARLY_WHOLE))


def as_matrices(matrices: Sequence[Matrix], device: torch.device | str = "cpu") -> Tensor:
    """Return matrices as one tensor (n, 3, 3)."""
    return torch.tensor(matrices, dtype=torch.float32).view(-1, 3, 3).to(device, non_blocking=True)


@lru_cache(maxsize=16)
def _centres(n_pixels: int, device: torch.device) -> Tensor:
    return (torch.arange(n_pixels, device=device, dtype=torch.float32) * 2 + 1) / n_pixels - 1


def sampling_grid(matrices: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the input places (batch, height, width, 2) of all output pixels; `size` is (height, width)."""
    height, width = size
    x, y = _centres(width, matrices.device), _centres(height, matrices.device)
    # each row of the matrix is a*x + b*y + c: two vectors added across, far cheaper than a product for every pixel
    in_x = matrices[:, :, :1] * x  # batch 3 width
    in_y = matrices[:, :, 1:2] * y + matrices[:, :, 2:]  # batch 3 height
    grid = matrices.new_empty(len(matrices), height, width, 2)
    below = in_x[:, 2, None, :] + in_y[:, 2, :, None]
    for axis in (0, 1):
        torch.div(in_x[:, axis, None, :] + in_y[:, axis, :, None], below, out=grid[..., axis])
    return grid


def sample(
    pixels: Tensor,
    matrices: Tensor,
    size: tuple[int, int],
    mode: str = "bilinear",
    pad_mode: str = PadMode.Reflection,
) -> Tensor:
    """Return pictures (batch, channel, height, width) of `size` (height, width), each seen through its matrix.

    `pixels` may be (channel, height, width) when there is one matrix. Bytes come back as floats in 0..255. Where the
    pictures shrink to about half or less, `reduce` them first.
    """
    if pixels.ndim == 3:
        return sample(pixels[None], matrices, size, mode, pad_mode)[0]
    if not pixels.is_floating_point():
        pixels = pixels.float()
    grid = sampling_grid(matrices.to(pixels.device), size).to(pixels.dtype)
    return F.grid_sample(pixels, grid, mode=mode, padding_mode=str(pad_mode), align_corners=False)


def reduce(pixels: Tensor, factor: int) -> tuple[Tensor, Matrix]:
    """Average blocks of factor x factor pixels; returns the smaller pictures and the matrix to sample them through."""
    if factor <= 1:
        return pixels, IDENTITY
    if not pixels.is_floating_point():
        pixels = pixels.float()
    matrix = reduction((pixels.shape[-1], pixels.shape[-2]), factor)
    return F.avg_pool2d(pixels, factor, ceil_mode=True), matrix


def reduction(size: Sequence[int], factor: int) -> Matrix:
    """Return the matrix to sample averaged blocks through: the last ones may reach over the edge of `size`."""
    width, height = size
    return pixel_crop((0, 0, width, height), (-(-width // factor) * factor, -(-height // factor) * factor))
