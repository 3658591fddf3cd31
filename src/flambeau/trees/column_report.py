"""Each column by itself: after reading it you know what the best single split of every column is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.data.data_loaders import DataLoaders
from flambeau.data.kinds import Category
from flambeau.foundation.errors import ArgumentError
from flambeau.foundation.numbers import number_words
from flambeau.tabular.dataset import TableDataset
from flambeau.train.learner import Learner
from flambeau.trees.features import features_of

if TYPE_CHECKING:
    import pandas as pd


def column_report(data: DataLoaders | Learner) -> pd.DataFrame:
    """Return for each column of a table its best binary split of the training rows, the most telling column first.

    A row a column: `rule` in words, `gain` (the share of the variance or Gini impurity of the target that it removes,
    0 to 1), `rows` that follow the rule, and the mean target (of classes the most frequent one and its share) of these
    rows (`yes`) and the others (`no`). The first row is what `tree_learner(dls, "oner")` learns.

    Raises:
        ArgumentError: there are no rows, or no target of one column.
    """
    import pandas as pd

    dls = data.dls if isinstance(data, Learner) else data
    dataset = getattr(dls.train, "dataset", None)
    if not isinstance(dataset, TableDataset) or not len(dataset):
        raise ArgumentError("column_report needs loaders, or a learner, of a table with training rows.")
    if len(dataset.tensors) < 3 or (dataset.tensors[2].ndim > 1 and dataset.tensors[2].shape[1] > 1):
        raise ArgumentError("column_report needs one target: y_names='...' when making the loaders.")
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    from flambeau.trees.one_rule import gain_of, stumps_of

    kind, target = dataset.kinds[2], dataset.tensors[2].numpy().reshape(-1)
    stump = (DecisionTreeClassifier if isinstance(kind, Category) else DecisionTreeRegressor)(max_depth=1)
    matrix = np.concatenate([tensor.numpy().astype(np.float32) for tensor in dataset.tensors[:2]], 1)
    rows: list[tuple[Any, ...]] = []
    for feature, own in zip(features_of(dataset.kinds), stumps_of(stump, matrix, target), strict=True):
        tree = own.tree_
        if tree.node_count < 3:
            rows.append((feature.name, "no split", 0.0, 0, "", ""))
            continue
        sides = [int(tree.children_left[0]), int(tree.children_right[0])]
        words = [_side(kind, own, tree.value[side]) for side in sides]
        rule = feature.rule(float(tree.threshold[0]))
        rows.append((feature.name, rule, gain_of(own), int(tree.n_node_samples[sides[0]]), *words))
    frame = pd.DataFrame(rows, columns=["column", "rule", "gain", "rows", "yes", "no"])
    return frame.sort_values("gain", ascending=False, kind="stable", ignore_index=True)


def _side(kind: Any, stump: Any, values: Any) -> str:
    if not isinstance(kind, Category):
        return number_words(float(values[0, 0]))
    shares = values[0] / values[0].sum()
    best = int(shares.argmax())
    return f"{kind.vocab[int(stump.classes_[best])]} {shares[best]:.0%}"
