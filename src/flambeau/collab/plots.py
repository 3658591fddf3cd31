"""Factors on paper: after reading it you know what the two main directions of taste look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.foundation.drawing import Drawing
from flambeau.foundation.tensors import pca

if TYPE_CHECKING:
    from flambeau.collab.learner import CollabLearner


def plot_factors(learn: CollabLearner, n: int, figsize: tuple[float, float]) -> Drawing:
    """Draw the `n` most rated items on the two directions in which the factors of items differ most (PCA).

    A name that would lie over that of an item rated more often is left out; its point stays.
    """
    import matplotlib.pyplot as plt

    n = min(n, len(learn.items) - 1)
    top = (learn.popularity[1:].argsort(descending=True, stable=True) + 1)[:n]
    places = pca(learn.item_factors()[top], 2)
    figure, ax = plt.subplots(figsize=figsize, layout="constrained")
    ax.scatter(places[:, 0], places[:, 1], s=8)
    ax.margins(x=0.12)  # room for the names on the right
    names = [
        ax.annotate(str(learn.items[row]), (x, y), fontsize=8, xytext=(3, 3), textcoords="offset points")
        for row, (x, y) in zip(top.tolist(), places.tolist(), strict=True)
    ]
    ax.set_xlabel("first direction")
    ax.set_ylabel("second direction")
    ax.set_title(f"The {n} most rated, by their factors")
    figure.draw_without_rendering()
    taken: list[Any] = []
    for name in names:
        box = name.get_window_extent()
        if any(box.overlaps(other) for other in taken):
            name.set_visible(False)
        else:
            taken.append(box)
    return Drawing(figure)
