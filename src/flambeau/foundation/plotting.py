"""Pictures on axes: after reading it you can lay out a grid and show tensors, arrays and photographs in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from flambeau.foundation.errors import ShapeError
from flambeau.foundation.tensors import to_np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def subplots(
    nrows: int = 1,
    ncols: int = 1,
    figsize: tuple[float, float] | None = None,
    imsize: float = 3,
    suptitle: str | None = None,
    **options: Any,
) -> tuple[Figure, npt.NDArray[Any]]:
    """Return a figure and its axes, always as an array; each gets `imsize` inches. `options` go to matplotlib."""
    import matplotlib.pyplot as plt

    if figsize is None:
        title_height = 0.6 if suptitle else 0
        figsize = (ncols * imsize, nrows * imsize + title_height)
    figure, axes = plt.subplots(nrows, ncols, figsize=figsize, **options)
    if suptitle:
        figure.suptitle(suptitle)
    return figure, axes if isinstance(axes, np.ndarray) else np.array([axes])


def get_grid(
    n: int,
    nrows: int | None = None,
    ncols: int | None = None,
    figsize: tuple[float, float] | None = None,
    double: bool = False,
    title: str | None = None,
    imsize: float = 3,
) -> list[Axes]:
    """Return `n` axes laid out near a square (twice as many, in pairs, with `double`); the rest stays blank."""
    if nrows is None and ncols is None:
        nrows = max(1, math.isqrt(n))
    if nrows is None:
        assert ncols is not None
        nrows = math.ceil(n / ncols)
    ncols = math.ceil(n / nrows) if ncols is None else ncols
    if double:
        ncols, n = ncols * 2, n * 2
    _, axes = subplots(nrows, ncols, figsize=figsize, imsize=imsize, suptitle=title)
    flat = list(axes.flatten())
    for blank in flat[n:]:
        blank.set_axis_off()
    return flat[:n]


def _channels_last(im: Any) -> npt.NDArray[Any]:
    """Return a picture of any class as an array (height, width) or (height, width, 3 or 4)."""
    pixels = np.asarray(to_np(im) if isinstance(im, Tensor) else im)
    if pixels.ndim == 3 and pixels.shape[-1] not in (1, 3, 4) and pixels.shape[0] in (1, 3, 4):
        pixels = pixels.transpose(1, 2, 0)
    elif isinstance(im, Tensor) and pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4):
        pixels = pixels.transpose(1, 2, 0)  # a tensor of 3 x 4 x 3, say: channels come first in torch
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[-1] in (3, 4)):
        raise ShapeError(f"A picture has 1, 3 or 4 channels, first or last; got shape {pixels.shape}.")
    if pixels.ndim == 3 and pixels.dtype.kind == "f":
        pixels = pixels.astype(np.float32).clip(0, 1)  # matplotlib knows no float16 and clips with a warning
    return pixels.astype(np.float32) if pixels.dtype == np.float16 else pixels


def show_image(
    im: Any,
    ax: Axes | None = None,
    figsize: tuple[float, float] | None = None,
    title: str | None = None,
    ctx: Axes | None = None,
    cmap: str | None = None,
    **options: Any,
) -> Axes:
    """Show a picture (tensor, array or PIL, channels first or last) and return its axes; grey ones are shown in grey.

    `ctx` is another name for `ax`. `options` go to matplotlib's `imshow`.
    """
    pixels = _channels_last(im)
    ax = ax if ax is not None else ctx
    if ax is None:
        import matplotlib.pyplot as plt

        # 32 pixels an inch, so that small pictures stay small, between 1 and 5 inches
        width, height = (min(5, max(1, side // 32)) for side in (pixels.shape[1], pixels.shape[0]))
        _, ax = plt.subplots(figsize=figsize or (width, height))
    ax.imshow(pixels, cmap=("gray" if pixels.ndim == 2 else None) if cmap is None else cmap, **options)
    if title is not None:
        ax.set_title(str(title))
    ax.axis("off")
    return ax


def show_titled_image(o: Sequence[Any], **options: Any) -> Axes:
    """Show the pair of a picture and its title."""
    return show_image(o[0], title=str(o[1]), **options)


def show_images(
    ims: Iterable[Any],
    nrows: int = 1,
    ncols: int | None = None,
    titles: Iterable[Any] | None = None,
    figsize: tuple[float, float] | None = None,
    imsize: float = 3,
    suptitle: str | None = None,
    **options: Any,
) -> list[Axes]:
    """Show several pictures in a grid, with titles where given; `options` go to `show_image`."""
    pictures = list(ims)
    names = [None] * len(pictures) if titles is None else list(titles)
    grid = get_grid(len(pictures), nrows, ncols, figsize=figsize, title=suptitle, imsize=imsize)
    for picture, name, ax in zip(pictures, names, grid, strict=True):
        show_image(picture, ax=ax, title=name, **options)
    return grid
