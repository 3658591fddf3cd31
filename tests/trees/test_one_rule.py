from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks
from small_forests import fitted, loaders

from flambeau.foundation.errors import ArgumentError
from flambeau.trees.column_report import column_report
from flambeau.trees.one_rule import OneRClassifier, OneRRegressor


@parametrize_with_checks([OneRClassifier(), OneRRegressor()])
def test_scikit_learn_takes_them_for_its_own(estimator: Any, check: Any) -> None:
    check(estimator)


def test_the_column_that_tells_most_is_split() -> None:
    x = np.array([[0, 5], [1, 1], [0, 6], [1, 2], [0, 7], [1, 8]], dtype=float)
    y = np.array([0, 0, 0, 0, 1, 1])  # the second column splits at 6.5 without a mistake
    rule = OneRClassifier().fit(x, y)
    assert (rule.column_, rule.threshold_) == (1, 6.5)
    assert rule.gains_[1] == 1.0
    assert rule.predict([[0, 6.4], [0, 6.6]]).tolist() == [0, 1]


def test_a_number_is_predicted_by_the_mean_of_its_side() -> None:
    x = np.array([[1.0], [2.0], [3.0], [4.0]])
    rule = OneRRegressor().fit(x, np.array([1.0, 3.0, 18.0, 20.0]))
    assert rule.predict([[1.0], [9.0]]).tolist() == [2.0, 19.0]
    # the variance is 73.25, and 1 within each half
    assert rule.gains_[0] == pytest.approx(1 - 1 / 73.25)


def test_constant_columns_give_no_rule() -> None:
    rule = OneRClassifier().fit(np.ones((4, 2)), [0, 1, 1, 1])
    assert rule.threshold_ is None
    assert rule.predict([[1, 1]]).tolist() == [1]


def test_the_report_tells_the_rule_of_each_column() -> None:
    report = column_report(loaders())
    assert list(report["column"]) == ["fare", "port", "noise"]
    assert report["rule"][0].startswith("fare <= 5")
    assert report["yes"][0].startswith("no ")
    assert report["gain"].is_monotonic_decreasing
    learn = fitted("oner")
    assert learn.features[learn.estimator.column_].name == "fare"
    assert learn.estimator.gains_.max() == pytest.approx(report["gain"][0])


def test_the_report_of_numbers_gives_means() -> None:
    report = column_report(loaders("days"))
    first = report.iloc[0]
    assert (first["column"], float(first["yes"]) < float(first["no"])) == ("fare", True)


def test_several_targets_are_refused() -> None:
    with pytest.raises(ArgumentError, match="one target"):
        column_report(loaders(["days", "fare"], cont_names=["noise"]))
