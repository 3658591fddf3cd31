"""Other rows than those of training: after reading it you know how a forest tells whether they come from elsewhere.

Train a forest to tell the one from the other. If it can, they differ, and the columns it leans on say in what: an
identifier that grows, a date, a new shop. Where rows are split by time, such columns are worth leaving out, when the
model is as good without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError, EmptyError
from flambeau.foundation.numbers import number_words
from flambeau.tabular.columns import cont_cat_split
from flambeau.tabular.dataset import TableDataset
from flambeau.tabular.procs import Categorify, FillMissing
from flambeau.tabular.table import as_frame
from flambeau.tabular.tabular_pandas import TabularPandas
from flambeau.train.learner import Learner
from flambeau.trees.importance import Importance

ALIKE, DIFFERENT = 0.55, 0.75  # of the area under the curve; 0.5 is a coin's
FEWEST = 10  # rows on a side


@dataclass(frozen=True)
class DomainCheck:
    """How well a forest tells two sets of rows apart: `auc` (0.5: not at all, 1: always), and by which columns."""

    auc: float
    importance: Importance
    n: tuple[int, int]

    @property
    def words(self) -> str:
        """What it means."""
        named = ", ".join(map(str, self.importance.frame.index[:3]))
        told = f"A forest tells the {self.n[1]:,} rows from the {self.n[0]:,} with an area under the curve of "
        if self.auc < ALIKE:
            return f"{told}{self.auc:.3f}: they are alike."
        how = "differ" if self.auc < DIFFERENT else "differ much"
        return f"{told}{self.auc:.3f}: they {how}, most in {named}."

    def plot(self, n: int = 12) -> Drawing:
        """Draw the columns by which the rows differ."""
        drawing = self.importance.plot(n)
        drawing.axes[0].set_title(f"area under the curve {self.auc:.3f} (0.5: alike)", fontsize=10)
        return drawing

    def __repr__(self) -> str:
        return f"{self.words}\n{self.importance.frame.head(10).to_string(float_format=number_words)}"

    def _repr_html_(self) -> str:
        return f"<p>{self.words}</p>{self.importance.frame.head(10).to_html(border=0, float_format=number_words)}"


def domain_check(data: Any, other: Any = None, seed: int = 0) -> DomainCheck:
    """Return whether a forest can tell validation rows from training rows, or `other` rows from those of `data`.

    `data` are loaders, a TabularPandas or a learner of a table; or a table, with `other` rows beside it (test rows,
    say), of which the columns that both have are compared.

    Raises:
        ArgumentError: there is nothing to compare with. EmptyError: a side has fewer than 10 rows.
    """
    if other is None:
        names, sides = _halves(data)
    else:
        names, sides = _tables(data, other)
    n = (len(sides[0]), len(sides[1]))
    if min(n) < FEWEST:
        raise EmptyError(f"To be told apart, both sides need at least {FEWEST} rows; got {n[0]} and {n[1]}.")
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    forest = RandomForestClassifier(
        100, min_samples_leaf=5, oob_score=True, class_weight="balanced_subsample", n_jobs=-1, random_state=seed
    )
    which = np.repeat([0, 1], n)
    forest.fit(np.concatenate(sides), which)
    shares = forest.oob_decision_function_[:, 1]
    known = np.isfinite(shares)
    auc = float(roc_auc_score(which[known], shares[known]))
    import pandas as pd

    frame = pd.DataFrame({"importance": forest.feature_importances_}, index=pd.Index(names, name="column"))
    frame = frame.sort_values("importance", ascending=False, kind="stable")
    return DomainCheck(auc, Importance(frame, "share in telling the rows apart"), n)


def _halves(data: Any) -> tuple[list[str], list[Any]]:
    dls = data.dls if isinstance(data, Learner) else data
    halves: list[Any] = []
    if isinstance(dls, TabularPandas):
        halves = [dls.dataset.train, dls.dataset.valid]
    elif isinstance(dls, DataLoaders) and len(dls) > 1:
        halves = [dls.train_ds, dls.valid_ds]
    found = [half for half in halves if isinstance(half, TableDataset)]
    if len(found) < 2:
        raise ArgumentError(
            "domain_check compares the halves of loaders or of a learner of a table, which need a validation half; or "
            "two tables: domain_check(train, test)."
        )
    names = [*found[0].cat_names, *found[0].cont_names]
    return names, [np.concatenate([t.numpy().astype(np.float32) for t in half.tensors[:2]], 1) for half in found]


def _tables(data: Any, other: Any) -> tuple[list[str], list[Any]]:
    import pandas as pd

    frames = [as_frame(data), as_frame(other)]
    shared = [name for name in frames[0].columns if name in frames[1].columns]
    if not shared:
        raise ArgumentError("The two tables have no column in common.")
    joined = pd.concat([frame[shared] for frame in frames], ignore_index=True)
    conts, cats = cont_cat_split(joined)
    table = TabularPandas(joined, [Categorify, FillMissing], cats, conts)
    whole = np.concatenate([t.numpy().astype(np.float32) for t in table.dataset.tensors[:2]], 1)
    names = [*table.cat_names, *table.cont_names]
    return names, [whole[: len(frames[0])], whole[len(frames[0]) :]]
