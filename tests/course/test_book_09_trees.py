"""Book, chapter 9: trees and forests. The houses of Ames stand in for the bulldozers."""

from __future__ import annotations

import warnings

import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from flambeau.tabular.all import *


@pytest.fixture
def to(shared_data: Path) -> TabularPandas:
    df = pd.read_csv(shared_data / "tabular" / "ames_housing.csv.gz").drop(columns=["PID"])
    dep_var = "SalePrice"
    df[dep_var] = np.log(df[dep_var])
    cond = df["Yr Sold"] < 2010
    splits = (list(np.where(cond)[0]), list(np.where(~cond)[0]))
    cont, cat = cont_cat_split(df, 1, dep_var=dep_var)
    return TabularPandas(df, [Categorify, FillMissing], cat, cont, y_names=dep_var, splits=splits)


def r_mse(pred, y):
    return round(math.sqrt(((pred - y) ** 2).mean()), 6)


def m_rmse(m, xs, y):
    return r_mse(m.predict(xs), y)


def rf(xs, y, n_estimators=40, max_samples=1500, max_features=0.5, min_samples_leaf=5, **kwargs):
    return RandomForestRegressor(
        n_jobs=-1,
        n_estimators=n_estimators,
        max_samples=max_samples,
        max_features=max_features,
        min_samples_leaf=min_samples_leaf,
        oob_score=True,
        random_state=0,
    ).fit(xs, y)


def test_a_decision_tree(to: TabularPandas) -> None:
    xs, y = to.train.xs, to.train.y
    valid_xs, valid_y = to.valid.xs, to.valid.y
    m = DecisionTreeRegressor(max_leaf_nodes=4)
    m.fit(xs, y)
    drawing = draw_tree(m, xs, size=10, precision=2)
    assert "Overall Qual <= " in " ".join(text.get_text() for text in drawing.axes[0].texts)
    m = DecisionTreeRegressor()
    m.fit(xs, y)
    assert m_rmse(m, xs, y) < 1e-6  # it knows all its rows by heart
    assert m_rmse(m, valid_xs, valid_y) > 0.15
    m = DecisionTreeRegressor(min_samples_leaf=25)
    m.fit(to.train.xs, to.train.y)
    assert m_rmse(m, xs, y) < m_rmse(m, valid_xs, valid_y) < 0.25


def test_a_forest_and_its_interpretation(to: TabularPandas) -> None:
    xs, y = to.train.xs, to.train.y
    valid_xs, valid_y = to.valid.xs, to.valid.y
    m = rf(xs, y)
    assert m_rmse(m, valid_xs, valid_y) < 0.19  # a few odd sales of 2010 make it more than out of bag
    preds = np.stack([t.predict(valid_xs.values) for t in m.estimators_])
    assert r_mse(preds.mean(0), valid_y) == pytest.approx(m_rmse(m, valid_xs, valid_y), abs=1e-5)
    assert r_mse(m.oob_prediction_, y) < 0.16
    preds_std = preds.std(0)
    assert preds_std.shape == valid_y.shape

    fi = pd.DataFrame({"cols": xs.columns, "imp": m.feature_importances_}).sort_values("imp", ascending=False)
    to_keep = fi[fi.imp > 0.005].cols
    xs_imp, valid_xs_imp = xs[to_keep], valid_xs[to_keep]
    m = rf(xs_imp, y)
    assert m_rmse(m, valid_xs_imp, valid_y) < 0.2
    cluster_columns(xs_imp)

    from sklearn.inspection import PartialDependenceDisplay

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn, about whole numbers
        PartialDependenceDisplay.from_estimator(m, valid_xs_imp.astype(float), ["Gr Liv Area", "Year Built"])

    df_dom = pd.concat([xs_imp, valid_xs_imp])
    is_valid = np.array([0] * len(xs_imp) + [1] * len(valid_xs_imp))
    m = rf(df_dom, is_valid)
    assert m.oob_score_ < 0.5  # but for chance, houses of 2010 are as those before


def test_the_same_by_the_verbs_of_flambeau(to: TabularPandas) -> None:
    learn = tree_learner(to, "forest", n_estimators=40, max_features=0.5, min_samples_leaf=5, seed=0)
    learn.fit()
    valid_rmse = learn.validate()[1]
    assert valid_rmse < 0.19
    assert learn.oob_values()["rmse"] < 0.16
    importance = learn.feature_importance("impurity").frame
    assert importance.index[0] == "Overall Qual"
    assert {"Year Built"} <= set(redundant_columns(learn, 0.5)["column"]) | set(redundant_columns(learn, 0.5)["other"])
    found = domain_check(learn)
    assert found.importance.frame.index[0] == "Order"  # the houses are numbered by the year they were sold
    assert found.auc > 0.99
    dependence = learn.partial_dependence(["Gr Liv Area", "Year Built"], n_points=8)
    assert dependence.frame["prediction"].between(11, 13).all()
    dependence.plot()
    row = to.dataset.source.frame.iloc[0]
    explanation = learn.explain(row)
    assert explanation.prediction == pytest.approx(float(learn.predict(row)[2][0]), abs=1e-4)
    explanation.plot()


def test_nets_forests_and_both_side_by_side(to: TabularPandas) -> None:
    to_keep = ["Overall Qual", "Gr Liv Area", "Year Built", "Neighborhood", "Exter Qual", "Garage Area", "SalePrice"]
    df = to.dataset.source.frame[to_keep]
    cont, cat = cont_cat_split(df, 30, dep_var="SalePrice")
    procs = [Categorify, FillMissing, Normalize]
    dls = TabularPandas(df, procs, cat, cont, y_names="SalePrice", splits=to.splits).dataloaders(64)
    comparison = compare_models(
        dls, ["tree", "forest", "net", "forest with embeddings", "forest+net"], epochs=8, lr=3e-3, verbose=False
    )
    assert len(comparison.frame) == 5
    errors = comparison.frame["rmse"]
    assert errors["forest"] < errors["tree"]
    assert errors["forest+net"] < max(errors["forest"], errors["net"])
    comparison.plot()
