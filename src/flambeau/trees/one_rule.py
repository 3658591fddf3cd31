"""One rule: after reading it you know how far a single split of a single column goes, the first thing to beat.

OneR (Holte 1993) tries for each column the best rule that looks at it alone and keeps the best of these. Here a rule is
one binary split, as in a tree of depth 1. These are estimators of scikit-learn; `tree_learner(dls, "oner")` makes a
learner of them, and `column_report` tells the best rule of every column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

Matrix = npt.NDArray[Any]


def stumps_of(stump: Any, x: Matrix, y: Matrix) -> list[Any]:
    """Return a tree of depth 1, such as `stump`, fitted to each column alone."""
    from sklearn.base import clone

    return [clone(stump).fit(x[:, [column]], y) for column in range(x.shape[1])]


def gain_of(stump: Any) -> float:
    """Return which share of the impurity (Gini, or variance) a fitted tree of depth 1 removes: 0 none, 1 all."""
    tree = stump.tree_
    if tree.node_count < 3 or tree.impurity[0] <= 0:
        return 0.0
    left, right = tree.children_left[0], tree.children_right[0]
    weights = tree.weighted_n_node_samples
    after = (weights[left] * tree.impurity[left] + weights[right] * tree.impurity[right]) / weights[0]
    return float(1 - after / tree.impurity[0])


class OneRClassifier(ClassifierMixin, BaseEstimator):
    """Tell classes apart by the one column, split once, that removes the most Gini impurity.

    `min_samples_leaf` rows must be on each side. Fitted: `column_` (its place), `threshold_` (rows at most that go
    left; None where no column tells anything), `gains_` (the share of impurity removed, a column each), `classes_`.
    """

    def __init__(self, min_samples_leaf: int = 1) -> None:
        self.min_samples_leaf = min_samples_leaf

    def fit(self, X: Any, y: Any) -> OneRClassifier:
        """Find the rule."""
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        stump = DecisionTreeClassifier(max_depth=1, min_samples_leaf=self.min_samples_leaf, random_state=0)
        _keep_best(self, stumps_of(stump, X, y))
        return self

    def predict_proba(self, X: Any) -> Matrix:
        """Return the share of each class among the training rows on the row's side (rows, classes)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return np.asarray(self.stump_.predict_proba(X[:, [self.column_]]))

    def predict(self, X: Any) -> Matrix:
        """Return the most frequent class on the row's side (rows,)."""
        best = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[best])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # one split cannot tell three classes apart
        return tags


class OneRRegressor(RegressorMixin, BaseEstimator):
    """Predict numbers by the one column, split once, that removes the most variance; see `OneRClassifier`."""

    def __init__(self, min_samples_leaf: int = 1) -> None:
        self.min_samples_leaf = min_samples_leaf

    def fit(self, X: Any, y: Any) -> OneRRegressor:
        """Find the rule."""
        X, y = validate_data(self, X, y, y_numeric=True)
        stump = DecisionTreeRegressor(max_depth=1, min_samples_leaf=self.min_samples_leaf, random_state=0)
        _keep_best(self, stumps_of(stump, X, y))
        return self

    def predict(self, X: Any) -> Matrix:
        """Return the mean of the training rows on the row's side (rows,)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return np.asarray(self.stump_.predict(X[:, [self.column_]]))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


def _keep_best(estimator: Any, stumps: list[Any]) -> None:
    gains = np.array([gain_of(stump) for stump in stumps])
    estimator.gains_, estimator.column_ = gains, int(gains.argmax())
    estimator.stump_ = stumps[estimator.column_]
    tree = estimator.stump_.tree_
    estimator.threshold_ = float(tree.threshold[0]) if tree.node_count > 1 else None
