"""Plots that only course notebooks draw: after reading it you know how the book sketches a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def plot_function(
    f: Callable[[Tensor], Any],
    tx: str | None = None,
    ty: str | None = None,
    title: str | None = None,
    min: float = -2,
    max: float = 2,
    figsize: tuple[float, float] = (6, 4),
) -> None:
    """Draw `f` between `min` and `max`, with names for the axes."""
    import matplotlib.pyplot as plt

    x = torch.linspace(min, max, 100)
    _, ax = plt.subplots(figsize=figsize)
    ax.plot(x, f(x))
    ax.set(xlabel=tx or "", ylabel=ty or "", title=title or "")
