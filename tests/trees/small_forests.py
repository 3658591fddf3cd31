"""Small tables and learners of trees that the tests share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from flambeau.tabular.data_loaders import TabularDataLoaders
from flambeau.trees.learner import TreeLearner, tree_learner

CATS, CONTS = ["port"], ["fare", "noise"]

SMALL: dict[str, dict[str, Any]] = {
    **{name: {"n_estimators": 20} for name in ("forest", "extra", "bagging")},
    "boosting": {"max_iter": 20, "learning_rate": 0.3},
    "lightgbm": {"n_estimators": 20, "learning_rate": 0.3, "n_jobs": 1},
}


def voyages(n: int = 400) -> pd.DataFrame:
    """Return voyagers who come home from every port but Hull when they paid more than 50, with 5 % mistakes."""
    chance = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "port": chance.choice(["Cork", "Hull", "Nice"], n),
            "fare": chance.uniform(0, 100, n).round(2),
            "noise": chance.normal(size=n).round(3),
        }
    )
    home = (frame["fare"] > 50) & (frame["port"] != "Hull")
    frame["home"] = np.where(home ^ (chance.random(n) < 0.05), "yes", "no")
    frame["days"] = np.where(home, 30.0, 10.0) + frame["fare"] / 10
    return frame


def loaders(y: Any = "home", frame: pd.DataFrame | None = None, **options: Any) -> TabularDataLoaders:
    """Return loaders of the voyages; the last hundred rows validate."""
    frame = voyages() if frame is None else frame
    n = len(frame)
    settings = {"cat_names": CATS, "cont_names": CONTS, "valid_idx": list(range(n - 100, n)), "seed": 0}
    return TabularDataLoaders.from_df(frame, y_names=y, **{**settings, **options})


def fitted(model: Any = "forest", y: Any = "home", **options: Any) -> TreeLearner:
    """Return a learner fitted to the voyages."""
    learn = tree_learner(loaders(y), model, seed=1, **{**SMALL.get(str(model), {}), **options})
    learn.fit()
    return learn
