"""Partial dependence: after reading it you know what a model makes of one column, with all others as they are.

Set a column to the same value in all rows, ask the model, and average its answers; then the next value (Friedman 2001).
The thin lines are single rows. Where columns go together, some of these rows are none that could be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from flambeau.data.kinds import Category, MultiCategory
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError, unknown_name
from flambeau.foundation.lists import listify
from flambeau.tabular.dataset import TableDataset
from flambeau.train.learner import Learner
from flambeau.trees.asking import place_of, raw_outputs, rows_of, with_column
from flambeau.trees.features import drawn, features_of

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 1000  # asked for each value; the mean of more hardly differs
MOST_LEVELS = 25
N_LINES = 40  # single rows that are drawn


@dataclass(frozen=True)
class Dependence:
    """The mean answer for each value of some columns: a frame `column, value, prediction, rows`.

    `rows` tells how many of the rows have that level, or a number nearer to this value than to the others.
    """

    frame: pd.DataFrame
    meaning: str
    single: dict[Any, Any]
    """Of each column the answers of a few rows (rows, values)."""

    def plot(self, ncols: int = 3, figsize: tuple[float, float] | None = None) -> Drawing:
        """Draw a panel a column: the mean answer, single rows, and below how many rows there are."""
        import matplotlib.pyplot as plt

        names = list(dict.fromkeys(self.frame["column"]))
        ncols = min(ncols, len(names))
        nrows = -(-len(names) // ncols)
        size = figsize or (4.2 * ncols, 3.2 * nrows)
        figure, axes = plt.subplots(nrows, ncols, figsize=size, squeeze=False, layout="constrained", sharey=True)
        for ax, name in zip(axes.flat, names, strict=False):
            own = self.frame[self.frame["column"] == name]
            if all(isinstance(value, str) for value in own["value"]):
                _draw_levels(ax, own)
            else:
                _draw_numbers(ax, own, self.single[name])
            ax.set_xlabel(drawn(name))
            ax.spines[["top", "right"]].set_visible(False)
        for ax in axes[:, 0]:
            ax.set_ylabel(drawn(self.meaning))
        for ax in axes.flat[len(names) :]:
            ax.set_axis_off()
        return Drawing(figure)

    def __repr__(self) -> str:
        return f"{self.meaning}\n{self.frame.to_string(index=False)}"

    def _repr_html_(self) -> str:
        return f"<p>{self.meaning}</p>{self.frame.to_html(index=False, border=0)}"


def _draw_numbers(ax: Any, own: Any, single: Any) -> None:
    values = own["value"].to_numpy(dtype=float)
    for line in single:
        ax.plot(values, line, color="0.8", linewidth=0.6, zorder=1)
    ax.plot(values, own["prediction"], color="C0", linewidth=2.2, zorder=3)
    # where there are many rows, the line says something
    ax.plot(values, np.zeros(len(values)), "|", color="C1", transform=ax.get_xaxis_transform(), markersize=9, zorder=4)


def _draw_levels(ax: Any, own: Any) -> None:
    places = np.arange(len(own))
    ax.plot(places, own["prediction"], "o", color="C0", zorder=3)
    ax.vlines(places, own["prediction"].min(), own["prediction"], color="C0", linewidth=1, alpha=0.4)
    longest = max(len(str(value)) for value in own["value"])
    ax.set_xticks(places, [drawn(value) for value in own["value"]], rotation=90 if longest > 3 and len(own) > 2 else 0)


def partial_dependence(
    learn: Learner, columns: Any, ds_idx: int = 1, n_points: int = 30, of: Any = None
) -> Dependence:
    """Return how a learner's predictions move with one column or several; of a net as well as of trees.

    Numbers are asked at `n_points` quantiles, categories at their levels in these rows: the 25 most frequent, in the
    order of their frequency, or of their size where levels are numbers. `of`
    names the class (or label, or target) whose probability is meant; of two classes it is the second.

    Raises:
        UnknownNameError: there is no such column or class. ArgumentError: of which class must be told.
    """
    dataset = rows_of(learn, ds_idx)
    if n_points < 2:
        raise ArgumentError(f"A line needs at least two points; got n_points={n_points}.")
    output, meaning = output_of(learn, of)
    names = listify(columns)
    if not names:
        raise ArgumentError("Name a column, or several, to see how the predictions move with it.")
    n = len(dataset)
    chosen = torch.arange(n) if n <= MOST_ROWS else torch.randperm(n, generator=torch.Generator().manual_seed(0))
    rows = dataset.at(chosen[:MOST_ROWS].tolist())
    assert isinstance(rows, TableDataset)
    import pandas as pd

    features = {feature.name: feature for feature in features_of(learn.dls.kinds)}
    parts, single = [], {}
    for name in names:
        which, place = place_of(dataset, name)
        levels = features[str(name)].levels[1:]
        by_size = bool(levels) and all(isinstance(level, int | float) for level in levels)
        values, counts = _grid(dataset.tensors[which][:, place], which == 0, n_points, by_size)
        answers = np.stack([_asked(learn, rows, name, value)[:, output] for value in values], 1)  # rows, values
        feature = features[str(name)]
        shown: Sequence[Any] = [
            feature.shown(float(value)) if which == 0 else feature.number(float(value)) for value in values
        ]
        parts.append(
            pd.DataFrame({"column": name, "value": shown, "prediction": answers.mean(0), "rows": counts.tolist()})
        )
        single[name] = answers[:N_LINES]
    return Dependence(pd.concat(parts, ignore_index=True), meaning, single)


def _grid(column: Tensor, is_category: bool, n_points: int, by_size: bool) -> tuple[Tensor, Tensor]:
    if is_category:
        levels, counts = column.unique(return_counts=True)
        order = counts.argsort(descending=True, stable=True)[:MOST_LEVELS]
        order = order.sort().values if by_size else order
        return levels[order], counts[order]
    # the outermost hundredths hold what is rare, and would stretch the picture
    shares = torch.linspace(0.01, 0.99, n_points, dtype=torch.float64)
    values = column.double().quantile(shares, interpolation="nearest").unique() if len(column) < 10**7 else column
    middles = (values[1:] + values[:-1]) / 2
    return values, torch.bincount(torch.bucketize(column.double(), middles), minlength=len(values))


def _asked(learn: Learner, rows: TableDataset, name: Any, value: Tensor) -> Any:
    raw = raw_outputs(learn, learn.model, *with_column(rows, name, value))
    return learn.activation(raw).numpy()


def output_of(learn: Learner, of: Any) -> tuple[int, str]:
    """Return which output of a learner is meant by a class's name, and what it means.

    Raises:
        UnknownNameError: there is no such class. ArgumentError: there are several, and none is named.
    """
    kind = learn.dls.kinds[learn.dls.n_inp]
    if isinstance(kind, Category | MultiCategory):
        names = list(kind.vocab)
        if of is None and len(names) == 2 and isinstance(kind, Category):
            of = names[1]
        if of is None:
            raise ArgumentError(f"Say of which class: of={names[0]!r}, or another of {', '.join(map(str, names[:8]))}.")
        if of not in names:
            raise unknown_name("class", of, map(str, names))
        return names.index(of), f"probability of {of}"
    targets = [str(name) for name in getattr(rows_reader(learn), "y_names", [])] or ["prediction"]
    if of is None and len(targets) > 1:
        raise ArgumentError(f"Say of which target: of={targets[0]!r}, or another of {', '.join(targets)}.")
    if of is not None and str(of) not in targets:
        raise unknown_name("target", of, targets)
    name = targets[0] if of is None else str(of)
    return targets.index(name), f"predicted {name}"


def rows_reader(learn: Learner) -> Any:
    """Return what reads the rows of a learner's table."""
    return getattr(getattr(learn.dls.train, "dataset", None), "reader", None)
