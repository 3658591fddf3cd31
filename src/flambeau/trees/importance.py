"""Which columns matter: after reading it you know three answers to that question, and why they differ.

- "permutation": shuffle one column of rows that were not trained on, and see how much worse the answers become (Breiman
  2001). It tells what this model leans on; of two columns that say the same, each looks dispensable. For any learner.
- "drop_column": train anew without the column. It tells what the data lose; slow. For trees.
- "impurity": how much the splits on a column tidied up the training rows. It costs nothing, and favours columns of many
  values, useful or not (Strobl 2007). For trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from flambeau.data.kinds import Number
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError, unknown_name
from flambeau.foundation.numbers import number_words
from flambeau.tabular.dataset import TableDataset
from flambeau.train.learner import Learner
from flambeau.trees.asking import column_names, drawn_rows, place_of, raw_outputs, rows_of, scored, with_column
from flambeau.trees.features import drawn, features_of
from flambeau.trees.models import TreeModel

if TYPE_CHECKING:
    import pandas as pd

METHODS = ("permutation", "drop_column", "impurity")


@dataclass(frozen=True)
class Importance:
    """The importance of each column, largest first: a frame with `importance` and, of repeats, `std`."""

    frame: pd.DataFrame
    meaning: str

    def plot(self, n: int = 20, figsize: tuple[float, float] | None = None) -> Drawing:
        """Draw the `n` most important columns as bars."""
        import matplotlib.pyplot as plt

        shown = self.frame.iloc[:n][::-1]
        figure, ax = plt.subplots(figsize=figsize or (6.4, 0.8 + 0.28 * len(shown)), layout="constrained")
        spread = shown.get("std")
        ax.barh(range(len(shown)), shown["importance"], xerr=spread, color="C0", ecolor="0.35", height=0.7)
        ax.axvline(0, color="0.4", linewidth=0.8)
        ax.set_yticks(range(len(shown)), [drawn(name) for name in shown.index])
        ax.set_xlabel(self.meaning)
        ax.set_ylim(-0.6, len(shown) - 0.4)
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(left=False)
        return Drawing(figure)

    def __repr__(self) -> str:
        return f"{self.meaning}\n{self.frame.to_string(float_format=number_words)}"

    def _repr_html_(self) -> str:
        return f"<p>{self.meaning}</p>{self.frame.to_html(border=0, float_format=number_words)}"


def feature_importance(
    learn: Learner,
    method: str = "permutation",
    ds_idx: int = 1,
    metric: str | None = None,
    n_repeats: int = 5,
    seed: int = 0,
) -> Importance:
    """Return how much each column matters to a learner of a table: its trees, or (by permutation) any net.

    `ds_idx` chooses the rows that are asked (1 validation), `n_repeats` how often each column is shuffled. `metric`
    names the measure, one of the learner's; None: the loss, and where numbers are predicted the first metric, which is
    in their own unit.

    Raises:
        UnknownNameError: there is no such method or metric. ArgumentError: the method does not suit the model.
    """
    if method not in METHODS:
        raise unknown_name("method of importance", method, METHODS)
    if method == "impurity":
        return _by_impurity(learn)
    dataset = rows_of(learn, ds_idx)
    if len(dataset.tensors) < 3:
        raise ArgumentError("These rows have no target to be scored against.")
    if n_repeats < 1:
        raise ArgumentError(f"A column is shuffled at least once; got n_repeats={n_repeats}.")
    if metric is None and isinstance(dataset.kinds[dataset.n_inp], Number) and learn.metrics:
        metric = learn.metrics[0].name
    measure = metric or "loss"
    if method == "drop_column":
        values = _by_dropping(learn, dataset, metric)
        return Importance(_sorted(values), f"{measure}: what is lost when a column is left out of training")
    cats, conts, target = dataset.tensors
    before = scored(learn, raw_outputs(learn, learn.model, cats, conts), target, metric)
    chance = torch.Generator().manual_seed(seed)
    values = {}
    for name in column_names(dataset):
        which, place = place_of(dataset, name)
        column = dataset.tensors[which][:, place]
        after = []
        for _ in range(n_repeats):
            shuffled = column[torch.randperm(len(column), generator=chance)]
            changed = with_column(dataset, name, shuffled)
            after.append(scored(learn, raw_outputs(learn, learn.model, *changed), target, metric) - before)
        values[name] = after
    return Importance(_sorted(values), f"{measure}: what is lost when a column is shuffled")


def _sorted(values: dict[Any, list[float]]) -> pd.DataFrame:
    import pandas as pd

    columns = {"importance": [float(np.mean(own)) for own in values.values()]}
    if any(len(own) > 1 for own in values.values()):
        columns["std"] = [float(np.std(own, ddof=1)) for own in values.values()]
    frame = pd.DataFrame(columns, index=pd.Index(list(values), name="column"))
    return frame.sort_values("importance", ascending=False, kind="stable")


def _tree_model(learn: Learner, method: str) -> TreeModel:
    if not isinstance(learn.model, TreeModel):
        raise ArgumentError(
            f"{method!r} is for trees, and this learner has a {type(learn.model).__name__}. Use method='permutation'."
        )
    return learn.model


def _by_impurity(learn: Learner) -> Importance:
    model = _tree_model(learn, "impurity")
    estimator = model.estimator
    found = getattr(estimator, "feature_importances_", None)
    if found is None and hasattr(estimator, "gains_"):
        found = estimator.gains_
    if found is None and hasattr(estimator, "estimators_features_"):
        found = np.zeros(model.n_features)
        for tree, places in zip(estimator.estimators_, estimator.estimators_features_, strict=True):
            found[places] += tree.feature_importances_ / len(estimator.estimators_)
    if found is None:
        raise ArgumentError(f"A {type(estimator).__name__} keeps no impurities. Use method='permutation'.")
    names = [feature.name for feature in features_of(learn.dls.kinds, model.embedded)]
    found = np.asarray(found, dtype=np.float64)
    values = {name: [float(value)] for name, value in zip(names, found / (found.sum() or 1), strict=True)}
    return Importance(_sorted(values), "share of what the splits tidied up in the training rows (impurity)")


def _by_dropping(learn: Learner, dataset: TableDataset, metric: str | None) -> dict[Any, list[float]]:
    from sklearn.base import clone

    model, train = _tree_model(learn, "drop_column"), drawn_rows(learn)
    cats, conts, target = dataset.tensors
    names = column_names(dataset)
    if len(names) < 2:
        raise ArgumentError("There is one column only, which cannot be left out.")
    before = scored(learn, raw_outputs(learn, model, cats, conts), target, metric)
    found = {}
    for name in names:
        which, place = place_of(dataset, name)
        kept = [[at for at in range(dataset.tensors[side].shape[1]) if (side, at) != (which, place)] for side in (0, 1)]
        vectors = None if model.vectors is None else [model.vectors[at] for at in kept[0]]
        other = TreeModel(clone(model.estimator), model.answers, model.n_out, len(kept[0]), len(kept[1]), vectors)
        other.learn_from(train[0][:, kept[0]], train[1][:, kept[1]], train[2])
        raw = raw_outputs(learn, other, cats[:, kept[0]], conts[:, kept[1]])
        found[name] = [scored(learn, raw, target, metric) - before]
    return found
