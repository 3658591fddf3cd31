"""Columns that say the same: after reading it you know how correlated ranks are drawn as a family tree.

Two columns are alike when sorting rows by the one sorts them by the other (Spearman's rank correlation). Similar ones
are merged step by step, the most similar first, and each joint of the tree lies where its two sides were merged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import TableError
from flambeau.tabular.tabular_pandas import TabularPandas
from flambeau.train.learner import Learner
from flambeau.trees.features import drawn

if TYPE_CHECKING:
    import pandas as pd

POINTS = 72  # an inch


def cluster_columns(df: Any, figsize: tuple[float, float] | None = None, font_size: int = 12) -> Drawing:
    """Draw the family tree of a table's columns by rank correlation: those joined far to the right are alike.

    `df` is a table of numbers, such as `to.train.xs`, a TabularPandas, or a learner of a table. `figsize` None is as
    high as its labels need.

    Raises:
        TableError: there are fewer than two columns of numbers.
    """
    import matplotlib.pyplot as plt
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import squareform

    correlation = rank_correlations(df)
    distance = np.array(1 - correlation.abs())
    np.fill_diagonal(distance, 0)
    joined = hierarchy.linkage(squareform(distance, checks=False), method="average")
    height = max(3.0, 1.0 + len(correlation) * font_size * 1.25 / POINTS)
    figure, ax = plt.subplots(figsize=figsize or (10, height), layout="constrained")
    hierarchy.dendrogram(
        joined, labels=[drawn(name) for name in correlation.columns], orientation="left", leaf_font_size=font_size,
        ax=ax, color_threshold=0, above_threshold_color="C0",
    )  # fmt: skip
    ax.set_xlim(1, 0)
    ticks = np.linspace(0, 1, 6)
    ax.set_xticks(ticks, [f"{1 - tick:.1f}" for tick in ticks])
    ax.set_xlabel("rank correlation, positive or negative (1: the same order)")
    ax.spines[["top", "right", "left"]].set_visible(False)
    return Drawing(figure)


def redundant_columns(df: Any, threshold: float = 0.9) -> pd.DataFrame:
    """Return the pairs of columns whose ranks correlate at least so much: column, other, correlation.

    Of such a pair, one may be left out; see what that does to the model.
    """
    import pandas as pd

    correlation = rank_correlations(df)
    names, values = list(correlation.columns), correlation.to_numpy()
    pairs = [
        (names[row], names[column], float(values[row, column]))
        for row in range(len(names))
        for column in range(row + 1, len(names))
        if abs(values[row, column]) >= threshold
    ]
    pairs.sort(key=lambda pair: -abs(pair[2]))
    return pd.DataFrame(pairs, columns=["column", "other", "correlation"])


def rank_correlations(df: Any) -> pd.DataFrame:
    """Return Spearman's rank correlation of each pair of columns; a constant column correlates with none."""
    frame = numbers_of(df)
    if frame.shape[1] < 2:
        raise TableError(f"At least two columns of numbers are compared; got {list(map(str, frame.columns))}.")
    # ranks first, in numpy: pandas' own way by pairs takes a hundred times as long
    ranks = frame.rank().to_numpy(dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.nan_to_num(np.corrcoef(ranks, rowvar=False))
    np.fill_diagonal(found, 1.0)
    import pandas as pd

    return pd.DataFrame(found, index=frame.columns, columns=frame.columns)


def numbers_of(table: Any) -> pd.DataFrame:
    """Return the columns of numbers of a table; of a learner or a TabularPandas its encoded training inputs."""
    from flambeau.tabular.table import as_frame

    if isinstance(table, TabularPandas):
        return table.xs
    if isinstance(table, Learner):
        import pandas as pd

        from flambeau.trees.asking import column_names, rows_of

        rows = rows_of(table, 0)
        values = np.concatenate([tensor.numpy() for tensor in rows.tensors[:2]], 1)
        return pd.DataFrame(values, columns=column_names(rows))
    return as_frame(table).select_dtypes(["number", "bool"])
