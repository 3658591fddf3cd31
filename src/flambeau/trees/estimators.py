"""The models by name: after reading it you know which estimator each name means, and where its settings come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flambeau.foundation.errors import ArgumentError, missing_dependency, unknown_name

MODELS = ("oner", "tree", "bagging", "forest", "extra", "boosting", "lightgbm")
ANSWERS = ("classes", "labels", "numbers")


def make_estimator(model: Any, answers: str, params: Mapping[str, Any], seed: int | None) -> Any:
    """Return an estimator that was not fitted yet: of a name, or a copy of one of scikit-learn's own.

    `answers` is "classes" (one of several), "labels" (any of several) or "numbers"; `params` are settings of the
    estimator, `seed` its `random_state`.

    Raises:
        UnknownNameError: there is no such model or setting. ArgumentError: the estimator does not fit the target.
        MissingDependencyError: lightgbm is not installed.
    """
    from sklearn.base import clone

    if isinstance(model, str):
        made = _by_name(model, answers != "numbers")
    elif hasattr(model, "get_params") and hasattr(model, "fit") and not isinstance(model, type):
        made = clone(model)
        _check_sort(made, answers)
    else:
        raise ArgumentError(
            f"model is a name ({', '.join(MODELS)}) or an estimator of scikit-learn, such as "
            f"RandomForestClassifier(); got {model!r}."
        )
    known = made.get_params()
    for name in params:
        if name not in known:
            raise unknown_name(f"setting of {type(made).__name__}", name, known)
    made.set_params(**params)
    if seed is not None and "random_state" in known:
        made.set_params(random_state=seed)
    return made


def _by_name(name: str, of_classes: bool) -> Any:
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        ExtraTreesRegressor,
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if name == "oner":
        from flambeau.trees.one_rule import OneRClassifier, OneRRegressor

        return OneRClassifier() if of_classes else OneRRegressor()
    if name == "tree":
        # a tree grown to its end knows its training rows by heart
        return (DecisionTreeClassifier if of_classes else DecisionTreeRegressor)(min_samples_leaf=25)
    if name == "bagging":
        # A forest whose splits may choose among all columns is bagging (Breiman 1996). scikit-learn's class of that
        # name grows its trees in processes, each of which first imports the library.
        kind = RandomForestClassifier if of_classes else RandomForestRegressor
        return kind(100, max_features=None, min_samples_leaf=2, oob_score=True, n_jobs=-1)
    if name == "forest":
        if of_classes:
            return RandomForestClassifier(200, min_samples_leaf=2, oob_score=True, n_jobs=-1)
        return RandomForestRegressor(200, max_features=0.4, oob_score=True, n_jobs=-1)
    if name == "extra":
        if of_classes:
            return ExtraTreesClassifier(200, min_samples_leaf=2, n_jobs=-1)
        return ExtraTreesRegressor(200, n_jobs=-1)
    if name == "boosting":
        # Splits choose among half of the columns, which Ames and California housing gain by. Stopping early would set
        # aside a tenth of the rows from training.
        settings: dict[str, Any] = {"max_iter": 500, "learning_rate": 0.05, "max_features": 0.5}
        settings["early_stopping"] = False
        return HistGradientBoostingClassifier(**settings) if of_classes else HistGradientBoostingRegressor(**settings)
    if name == "lightgbm":
        try:
            from lightgbm import LGBMClassifier, LGBMRegressor
        except ImportError as error:
            raise missing_dependency("lightgbm", "boost", "model='lightgbm'") from error
        # n_jobs=0 leaves it to OMP_NUM_THREADS, as boosting by scikit-learn does
        settings = {"n_estimators": 500, "learning_rate": 0.05, "colsample_bytree": 0.5, "verbose": -1, "n_jobs": 0}
        return LGBMClassifier(**settings) if of_classes else LGBMRegressor(**settings)
    raise unknown_name("model of trees", name, MODELS)


def _check_sort(estimator: Any, answers: str) -> None:
    from sklearn.base import is_classifier, is_regressor

    if answers == "numbers" and not is_regressor(estimator):
        raise ArgumentError(f"The target is a number, and {type(estimator).__name__} is no regressor.")
    if answers != "numbers" and not (is_classifier(estimator) and hasattr(estimator, "predict_proba")):
        raise ArgumentError(
            f"The target has classes, and {type(estimator).__name__} is no classifier that gives probabilities."
        )
