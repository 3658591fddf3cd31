"""A tree on paper: after reading it you know how splits are laid out so that a person can follow a row downwards.

Leaves stand side by side, each split above the middle of its two sides; yes goes left. Nothing but matplotlib draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.data.kinds import Category
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError
from flambeau.foundation.numbers import number_words
from flambeau.trees.features import Feature, drawn
from flambeau.trees.waterfall import trees_of

if TYPE_CHECKING:
    from flambeau.trees.learner import TreeLearner

WIDTH, HEIGHT = 2.1, 1.15  # inches of a leaf and of a level
WRAPPED = 24  # letters a line


@dataclass
class _Node:
    """A box of the picture: its words, its tint (0 to 1), and the boxes below."""

    words: str
    tint: float
    color: str
    below: list[_Node] = field(default_factory=list)
    x: float = 0.0
    depth: int = 0


def draw_tree(
    t: Any,
    df: Any = None,
    size: float | None = None,
    ratio: float = 0.6,
    precision: int = 3,
    max_depth: int = 3,
    features: Sequence[Feature] | None = None,
    classes: Sequence[Any] | None = None,
) -> Drawing:
    """Draw the first levels of a fitted tree of scikit-learn.

    `df` (a table whose columns the tree was fitted to) or `features` name its columns, `classes` its classes. `size` is
    the picture's width in inches (None: as wide as it needs), `ratio` its height as a share of that.

    Raises:
        ArgumentError: it is no fitted tree of scikit-learn, or has other columns than are named.
    """
    if not hasattr(t, "tree_"):
        raise ArgumentError(f"A fitted tree of scikit-learn is drawn; got a {type(t).__name__}. Call fit first.")
    if max_depth < 0:
        raise ArgumentError(f"max_depth counts the levels below the root, 0 or more; got {max_depth}.")
    if features is None:
        names = list(df.columns) if df is not None else [f"column {place}" for place in range(t.n_features_in_)]
        features = [Feature(str(name)) for name in names]
    if len(features) != t.n_features_in_:
        raise ArgumentError(f"The tree looks at {t.n_features_in_} columns, but {len(features)} are named.")
    names_of_classes = classes if classes is not None else getattr(t, "classes_", None)
    root = _boxes(t.tree_, 0, 0, max_depth, precision, features, names_of_classes)
    n_leaves = _place(root, 0)
    deepest = _depth(root)
    figsize = (size, size * ratio) if size is not None else (max(WIDTH * n_leaves, 4), HEIGHT * (deepest + 1))
    return _picture(root, n_leaves, deepest, figsize)


def draw_learner(
    learn: TreeLearner, number: int = 0, max_depth: int = 3, figsize: tuple[float, float] | None = None
) -> Drawing:
    """Draw the first levels of one of a learner's trees, in the words of its table."""
    trees = list(trees_of(learn.estimator))
    if not 0 <= number < len(trees):
        raise ArgumentError(f"The model has {len(trees)} trees, numbered from 0; there is no tree {number}.")
    tree, places = trees[number]
    features = learn.features if places is None else [learn.features[place] for place in places]
    kind = learn.dls.kinds[learn.dls.n_inp]
    classes = [kind.vocab[int(code)] for code in tree.classes_] if isinstance(kind, Category) else None
    size, ratio = (None, 0.6) if figsize is None else (figsize[0], figsize[1] / figsize[0])
    return draw_tree(tree, None, size, ratio, 3, max_depth, features, classes)


def _boxes(
    tree: Any, node: int, depth: int, most: int, precision: int, features: Sequence[Feature], classes: Any
) -> _Node:
    n = int(tree.n_node_samples[node])
    answer, tint, color = _answer(tree, node, classes, precision)
    if tree.children_left[node] < 0:
        return _Node(f"{answer}\n{n:,} rows", tint, color, depth=depth)
    if depth == most:
        below = _n_below(tree, node)
        more = f"{below:,} more split{'s' if below > 1 else ''}"
        return _Node(f"{answer}\n{n:,} rows, {more}", tint, color, depth=depth)
    rule = features[int(tree.feature[node])].rule(float(tree.threshold[node]), precision)
    box = _Node(f"{_wrapped(rule)}?\n{answer}, {n:,} rows", tint, color, depth=depth)
    for side in (tree.children_left[node], tree.children_right[node]):
        box.below.append(_boxes(tree, int(side), depth + 1, most, precision, features, classes))
    return box


def _n_below(tree: Any, node: int) -> int:
    """Return how many splits there are from a node on."""
    waiting, n = [node], 0
    while waiting:
        own = waiting.pop()
        if tree.children_left[own] >= 0:
            n += 1
            waiting += [int(tree.children_left[own]), int(tree.children_right[own])]
    return n


def _answer(tree: Any, node: int, classes: Any, precision: int) -> tuple[str, float, str]:
    """Return words for a node's answer, and how strongly its box is tinted, in which colour."""
    values = tree.value[node]
    if classes is not None and len(values) == 1:
        shares = values[0] / values[0].sum()
        best = int(shares.argmax())
        even = 1 / len(shares)
        return f"{classes[best]} {shares[best]:.0%}", float((shares[best] - even) / (1 - even)), f"C{best % 10}"
    if classes is not None:
        return ", ".join(f"{own[-1] / own.sum():.0%}" for own in values), 0.2, "C0"
    low, high = tree.value[:, 0, 0].min(), tree.value[:, 0, 0].max()
    words = ", ".join(number_words(float(value), precision) for value in values[:, 0])
    return words, float((values[0, 0] - low) / ((high - low) or 1)), "C0"


def _wrapped(words: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(words, WRAPPED))


def _place(box: _Node, first: int) -> int:
    """Give a box and all below their places from left to right; return how many leaves were placed up to here."""
    if not box.below:
        box.x = first + 0.5
        return first + 1
    for below in box.below:
        first = _place(below, first)
    box.x = float(np.mean([below.x for below in box.below]))
    return first


def _depth(box: _Node) -> int:
    return max([box.depth, *map(_depth, box.below)])


def _picture(root: _Node, n_leaves: int, deepest: int, figsize: tuple[float, float]) -> Drawing:
    import matplotlib.pyplot as plt
    from matplotlib.colors import to_rgb

    figure, ax = plt.subplots(figsize=figsize, layout="constrained")
    smaller = min(1.0, figsize[0] / (WIDTH * n_leaves))  # so that boxes side by side have room
    waiting = [root]
    while waiting:
        box = waiting.pop()
        for place, below in enumerate(box.below):
            ax.plot([box.x, below.x], [-box.depth, -below.depth], color="0.6", linewidth=1, zorder=1)
            middle = (0.5 * (box.x + below.x), -box.depth - 0.5)
            ax.text(*middle, "yes" if place == 0 else "no", fontsize=8 * smaller, color="0.35", ha="center",
                    va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1}, zorder=2)  # fmt: skip
            waiting.append(below)
        strength = 0.08 + 0.42 * box.tint
        face = tuple(1 - strength * (1 - part) for part in to_rgb(box.color))
        ax.text(box.x, -box.depth, drawn(box.words), ha="center", va="center", fontsize=9 * smaller, zorder=3,
                bbox={"boxstyle": "round,pad=0.45", "facecolor": face, "edgecolor": "0.6"})  # fmt: skip
    ax.set_xlim(0, n_leaves)
    ax.set_ylim(-deepest - 0.5, 0.5)
    ax.set_axis_off()
    return Drawing(figure)
