"""Lesson 7: how random forests really work: one split, a tree, and a forest, on the Titanic."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier

from flambeau.tabular.all import *


@pytest.fixture
def df(shared_data: Path) -> pd.DataFrame:
    df = pd.read_csv(shared_data / "tabular" / "titanic.csv")
    modes = df.mode().iloc[0]
    df["Fare"] = df.Fare.fillna(0)
    df.fillna(modes, inplace=True)
    df["LogFare"] = np.log1p(df["Fare"])
    df["Embarked"] = pd.Categorical(df.Embarked)
    df["Sex"] = pd.Categorical(df.Sex)
    return df


CATS, CONTS, DEP = ["Sex", "Embarked"], ["Age", "SibSp", "Parch", "LogFare", "Pclass"], "Survived"


def _side_score(side, y):
    tot = side.sum()
    if tot <= 1:
        return 0
    return y[side].std() * tot


def score(col, y, split):
    lhs = col <= split
    return (_side_score(lhs, y) + _side_score(~lhs, y)) / len(y)


def xs_y(df):
    xs = df[CATS + CONTS].copy()
    return xs, df.get(DEP)


def test_binary_splits(df: pd.DataFrame) -> None:
    trn_df, _ = train_test_split(df, test_size=0.25, random_state=42)
    trn_df = trn_df.copy()
    trn_df[CATS] = trn_df[CATS].apply(lambda x: x.cat.codes)

    def min_col(df, nm):
        col, y = df[nm], df[DEP]
        unq = col.dropna().unique()
        scores = np.array([score(col, y, o) for o in unq if not np.isnan(o)])
        idx = scores.argmin()
        return unq[idx], scores[idx]

    by_hand = {o: min_col(trn_df, o) for o in CATS + CONTS}
    assert min(by_hand, key=lambda o: by_hand[o][1]) == "Sex"
    # the same question in one call
    dls = TabularDataLoaders.from_df(
        trn_df, procs=[], cat_names=[], cont_names=CATS + CONTS, y_names=DEP, splits=(range(len(trn_df)), [])
    )
    report = column_report(dls)
    assert report["column"][0] == "Sex"
    assert report["rule"][0] == "Sex <= 0.5"
    assert set(report["column"]) == set(by_hand)


def test_a_tree_and_a_forest(df: pd.DataFrame) -> None:
    trn_df, val_df = train_test_split(df, test_size=0.25, random_state=42)
    trn_df, val_df = trn_df.copy(), val_df.copy()
    trn_df[CATS] = trn_df[CATS].apply(lambda x: x.cat.codes)
    val_df[CATS] = val_df[CATS].apply(lambda x: x.cat.codes)
    trn_xs, trn_y = xs_y(trn_df)
    val_xs, val_y = xs_y(val_df)
    m = DecisionTreeClassifier(max_leaf_nodes=4).fit(trn_xs, trn_y)
    draw_tree(m, trn_xs, size=10)
    assert 0.2 < mean_absolute_error(val_y, m.predict(val_xs)) < 0.25
    m = DecisionTreeClassifier(min_samples_leaf=50)
    m.fit(trn_xs, trn_y)
    draw_tree(m, trn_xs, size=12)
    assert mean_absolute_error(val_y, m.predict(val_xs)) < 0.21

    def get_tree(prop=0.75):
        n = len(trn_y)
        idxs = np.random.choice(n, int(n * prop))
        return DecisionTreeClassifier(min_samples_leaf=5).fit(trn_xs.iloc[idxs], trn_y.iloc[idxs])

    np.random.seed(0)
    trees = [get_tree() for t in range(100)]
    all_probs = [t.predict(val_xs) for t in trees]
    avg_probs = np.stack(all_probs).mean(0)
    assert mean_absolute_error(val_y, avg_probs) < 0.26
    rf = RandomForestClassifier(100, min_samples_leaf=5)
    rf.fit(trn_xs, trn_y)
    assert mean_absolute_error(val_y, rf.predict(val_xs)) < 0.23
    pd.DataFrame({"cols": trn_xs.columns, "imp": m.feature_importances_}).plot("cols", "imp", "barh")


def test_the_same_by_the_verbs_of_flambeau(df: pd.DataFrame) -> None:
    splits = RandomSplitter(0.25, seed=42)(df)
    to = TabularPandas(df, [Categorify, FillMissing], CATS, CONTS, DEP, y_block=CategoryBlock(), splits=splits)
    errors = {}
    for model in ("oner", "tree", "forest"):
        learn = tree_learner(to, model, metrics=error_rate, seed=0)
        learn.fit()
        errors[model] = learn.validate()[1]
    assert errors["forest"] <= errors["oner"]
    assert errors["oner"] < 0.26
    assert learn.feature_importance().frame.index[0] == "Sex"
