"""One row explained: after reading it you know how the way of a row through a forest adds up to its prediction.

At the root a tree would answer with the mean of all training rows; at each split it goes on to the mean of the rows on
that side. The difference is what the column of that split adds (Saabas 2014). Over all splits, and averaged over the
trees, the additions sum exactly from the mean of all rows to the prediction. LightGBM gives Shapley values instead
(TreeSHAP, Lundberg 2018), which add up in log odds; of more than two classes in scores before the softmax.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flambeau.data.kinds import Category
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError
from flambeau.foundation.numbers import number_words
from flambeau.trees.dependence import output_of
from flambeau.trees.features import drawn

if TYPE_CHECKING:
    import pandas as pd

    from flambeau.trees.learner import TreeLearner

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Explanation:
    """What each column adds: a frame `column, value, contribution`, the largest first.

    `start` plus all contributions is `prediction`.
    """

    frame: pd.DataFrame
    start: float
    prediction: float
    meaning: str

    def plot(self, n: int = 10, figsize: tuple[float, float] | None = None) -> Drawing:
        """Draw a waterfall: from the mean of all training rows, step by step, to the prediction of this row."""
        import matplotlib.pyplot as plt

        shown, rest = self.frame.iloc[:n], self.frame["contribution"].iloc[n:].sum()
        steps = [
            (drawn(f"{name} = {value}"), step)
            for name, value, step in shown[["column", "value", "contribution"]].itertuples(index=False)
        ]
        if len(self.frame) > n:
            n_rest = len(self.frame) - n
            steps.append((f"{n_rest} other column{'s' if n_rest > 1 else ''}", float(rest)))
        figure, ax = plt.subplots(figsize=figsize or (7.5, 1.3 + 0.33 * len(steps)), layout="constrained")
        at, labels = self.start, ["mean of the training rows", *(words for words, _ in steps), drawn(self.meaning)]
        reach = [self.start, *(self.start + np.cumsum([step for _, step in steps]))]
        span = (max(reach) - min(reach)) or 1.0
        for place, (_, step) in enumerate(steps, 1):
            ax.barh(place, step, left=at, color="C2" if step >= 0 else "C3", height=0.65)
            ax.plot([at, at], [place - 1, place + 0.32], color="0.6", linewidth=0.8)
            end = max(at, at + step) if step >= 0 else min(at, at + step)
            ax.text(end + (0.01 if step >= 0 else -0.01) * span, place, number_words(step, 3, sign=True), va="center",
                    ha="left" if step >= 0 else "right", fontsize=9)  # fmt: skip
            at += step
        ax.plot([at, at], [len(steps), len(steps) + 1], color="0.6", linewidth=0.8)
        for place, value in ((0, self.start), (len(steps) + 1, self.prediction)):
            ax.plot(value, place, "D", color="C0")
            ax.text(value + 0.02 * span, place, number_words(value), va="center", fontsize=9, fontweight="bold")
        ax.set_yticks(range(len(labels)), labels)
        ax.xaxis.set_major_formatter(lambda value, _: number_words(value))
        ax.set_ylim(len(labels) - 0.4, -0.6)
        ax.set_xlim(min(reach) - 0.14 * span, max(reach) + 0.14 * span)  # bars leave no margin of themselves
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(left=False)
        return Drawing(figure)

    def __repr__(self) -> str:
        return f"{self._head}\n{self.frame.to_string(index=False, float_format=_signed)}"

    def _repr_html_(self) -> str:
        return f"<p>{self._head}</p>{self.frame.to_html(index=False, border=0, float_format=_signed)}"

    @property
    def _head(self) -> str:
        start, end = number_words(self.start), number_words(self.prediction)
        return f"{self.meaning}: {end}, from {start} for the mean of the training rows"


def _signed(number: float) -> str:
    return number_words(number, 4, sign=True)


def explain(learn: TreeLearner, row: Any, of: Any = None) -> Explanation:
    """Return what each column adds to the prediction of one row (a Series or dictionary).

    `of` names the class whose probability is explained; None: the class that is predicted.

    Raises:
        ArgumentError: the estimator does not tell its ways (boosting in histograms). UnknownNameError: no such class.
    """
    import pandas as pd

    model = learn.model
    loader = learn.dls[1] if len(learn.dls) > 1 else learn.dls[0]
    inputs = loader.prepare([row]).inputs
    matrix = model.matrix(*inputs)
    kind = learn.dls.kinds[learn.dls.n_inp]
    if of is None and isinstance(kind, Category):
        of = kind.vocab[int(model(*inputs)[0].argmax())]
    output, meaning = output_of(learn, of)
    start, parts, unit = _contributions(model.estimator, matrix, model.answers, output)
    if not unit:
        _require_sum(model.estimator, start + float(parts.sum()), float(learn.activation(model(*inputs))[0, output]))
    features = learn.features
    frame = pd.DataFrame(
        {
            "column": [feature.name for feature in features],
            "value": [feature.shown(float(cell)) for feature, cell in zip(features, matrix[0], strict=True)],
            "contribution": parts,
        }
    )
    order = frame["contribution"].abs().sort_values(ascending=False, kind="stable").index
    frame = frame.loc[order].reset_index(drop=True)
    return Explanation(frame, start, start + float(parts.sum()), f"{meaning}{unit}")


def _require_sum(estimator: Any, found: float, answer: float) -> None:
    """Raise an ArgumentError where additions do not lead to a model's answer: it weighs its trees, say."""
    if abs(found - answer) > 1e-3 * max(1.0, abs(answer)):
        raise _no_mean(estimator)


def _no_mean(estimator: Any) -> ArgumentError:
    return ArgumentError(
        f"The answer of a {type(estimator).__name__} is no mean of its trees, which this needs. Use a tree, "
        "bagging or a forest; for one row also model='lightgbm'. feature_importance and partial_dependence work "
        "with any model."
    )


def _contributions(estimator: Any, matrix: Any, answers: str, output: int) -> tuple[float, Numbers, str]:
    """Return the start, what each column adds (features,), and words for a unit that is not the target's own."""
    if hasattr(estimator, "booster_"):
        shares = np.asarray(estimator.booster_.predict(matrix, pred_contrib=True))[0]
        if answers == "numbers":
            return float(shares[-1]), shares[:-1], ""
        known = list(estimator.classes_)
        if output not in known:
            raise ArgumentError("No training row has this class, so nothing can be said of it.")
        place = known.index(output)
        if len(known) == 2:  # one number tells, that of the second class
            own = shares if place == 1 else -shares
            return float(own[-1]), own[:-1], ", in log odds"
        own = shares.reshape(len(known), -1)[place]
        return float(own[-1]), own[:-1], ", as a score before the softmax"
    start, parts, n_trees = 0.0, np.zeros(matrix.shape[1]), 0
    for tree, places in trees_of(estimator):
        values = node_values(tree, answers, output)
        row = matrix if places is None else matrix[:, places]
        way = tree.decision_path(row).indices  # nodes are numbered downwards
        columns = tree.tree_.feature[way[:-1]]
        steps = np.diff(values[way])
        np.add.at(parts, columns if places is None else np.asarray(places)[columns], steps)
        start, n_trees = start + values[0], n_trees + 1
    return start / n_trees, parts / n_trees, ""


def trees_of(estimator: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the trees of an estimator, each with the columns that it looks at (None: all, in their order).

    Raises:
        ArgumentError: its answer is no mean of the answers of its trees.
    """
    if hasattr(estimator, "tree_"):
        yield estimator, None
    elif hasattr(estimator, "stump_"):
        yield estimator.stump_, [estimator.column_]
    elif hasattr(estimator, "estimators_features_"):
        yield from zip(estimator.estimators_, estimator.estimators_features_, strict=True)
    elif hasattr(estimator, "estimators_") and all(hasattr(tree, "tree_") for tree in estimator.estimators_):
        yield from ((tree, None) for tree in estimator.estimators_)
    else:
        raise _no_mean(estimator)


def node_values(tree: Any, answers: str, output: int) -> Numbers:
    """Return the answer at each node of a tree (nodes,): of a class its share, of a label that of those with it."""
    values = tree.tree_.value  # nodes, outputs, classes
    if answers == "numbers":
        return np.asarray(values[:, output, 0])
    if answers == "labels":
        own = values[:, output]
        known = tree.classes_[output] if isinstance(tree.classes_, list) else tree.classes_
        at = list(known).index(1) if 1 in known else None
        return np.zeros(len(own)) if at is None else own[:, at] / own.sum(1)
    shares = values[:, 0] / values[:, 0].sum(1, keepdims=True)
    known = [int(one) for one in tree.classes_]
    return np.asarray(shares[:, known.index(output)]) if output in known else np.zeros(len(shares))
