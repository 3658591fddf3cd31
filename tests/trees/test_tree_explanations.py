from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightgbm import LGBMRegressor
from sklearn.ensemble import AdaBoostClassifier, GradientBoostingClassifier
from sklearn.tree import DecisionTreeRegressor
from small_forests import fitted, loaders, voyages

from flambeau.data.block import CategoryBlock
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError, EmptyError, TableError, UnknownNameError
from flambeau.foundation.numbers import number_words
from flambeau.nn.metrics import accuracy
from flambeau.tabular.learner import tabular_learner
from flambeau.trees.asking import raw_outputs
from flambeau.trees.compare import compare_models
from flambeau.trees.dependence import partial_dependence
from flambeau.trees.domain import domain_check
from flambeau.trees.drawing import draw_tree
from flambeau.trees.features import Feature
from flambeau.trees.importance import feature_importance
from flambeau.trees.learner import TreeLearner, tree_learner
from flambeau.trees.redundancy import cluster_columns, rank_correlations, redundant_columns


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def texts(drawing: Drawing) -> str:
    return " / ".join(text.get_text() for ax in drawing.axes for text in ax.texts)


# importance


@pytest.mark.parametrize("method", ["permutation", "drop_column", "impurity"])
@pytest.mark.parametrize("model", ["tree", "forest", "bagging"])
def test_noise_matters_least(model: str, method: str) -> None:
    found = fitted(model).feature_importance(method).frame
    assert list(found.index)[-1] == "noise"
    # impurity favours columns of many values, and noise has the most
    times = 2 if method == "impurity" else 5
    assert found["importance"].iloc[0] > times * abs(found["importance"].loc["noise"])


def test_a_shuffled_column_costs_what_the_metric_says() -> None:
    learn = fitted("forest")
    found = learn.feature_importance(metric="accuracy", n_repeats=3, seed=4).frame
    rows = learn.dls.valid_ds
    chance = torch.Generator().manual_seed(4)
    lost = []
    for _ in range(3):  # the first column is the port
        cats = rows.tensors[0][torch.randperm(100, generator=chance)]
        raw = raw_outputs(learn, learn.model, cats, rows.tensors[1])
        lost.append(learn.validate()[1] - float((raw.argmax(1) == rows.tensors[2]).float().mean()))
    assert found["importance"]["port"] == pytest.approx(np.mean(lost), abs=1e-6)
    assert found["std"]["port"] == pytest.approx(np.std(lost, ddof=1), abs=1e-6)


def test_numbers_are_scored_in_their_own_unit() -> None:
    found = fitted("forest", "days").feature_importance()
    assert found.meaning.startswith("rmse")
    assert 1 < found.frame["importance"]["fare"] < 20


def test_nets_have_permutation_importance_only() -> None:
    net = tabular_learner(loaders(), metrics=accuracy, seed=0)
    net.fit_one_cycle(5, 2e-2)
    found = feature_importance(net)
    assert list(found.frame.index)[-1] == "noise"
    with pytest.raises(ArgumentError, match="'impurity' is for trees"):
        feature_importance(net, "impurity")


def test_wrong_questions_are_told() -> None:
    learn = fitted("forest")
    with pytest.raises(UnknownNameError, match="'permutations'"):
        learn.feature_importance("permutations")
    with pytest.raises(UnknownNameError, match="'acuracy'"):
        learn.feature_importance(metric="acuracy")
    with pytest.raises(ArgumentError, match="ds_idx=2"):
        learn.feature_importance(ds_idx=2)
    with pytest.raises(ArgumentError, match="keeps no impurities"):
        fitted("boosting").feature_importance("impurity")


def test_importance_is_drawn_and_shown() -> None:
    found = fitted("forest").feature_importance(n_repeats=2)
    ax = found.plot(2).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == list(found.frame.index[:2])[::-1]
    assert "importance" in repr(found)
    assert "<table" in found._repr_html_()


# one row


@pytest.mark.parametrize("y", ["home", "days"])
@pytest.mark.parametrize("model", ["oner", "tree", "forest", "extra", "bagging"])
def test_contributions_add_up_to_the_prediction(model: str, y: str) -> None:
    learn, row = fitted(model, y), voyages().iloc[333]
    found = learn.explain(row)
    label, place, prediction = learn.predict(row)
    expected = float(prediction[int(place)]) if y == "home" else float(prediction[0])
    assert found.prediction == pytest.approx(expected, abs=1e-4)
    assert found.start + found.frame["contribution"].sum() == pytest.approx(found.prediction)
    assert found.meaning == (f"probability of {label}" if y == "home" else "predicted days")


def test_the_start_of_a_tree_is_the_mean_of_its_rows() -> None:
    learn = fitted("tree", "days")
    mean = voyages()["days"].iloc[:300].mean()
    found = learn.explain(voyages().iloc[0])
    assert found.start == pytest.approx(mean, rel=1e-5)
    assert list(found.frame["value"][found.frame["column"] == "port"]) == [voyages()["port"][0]]


@pytest.mark.parametrize("of", ["yes", "no"])
def test_lightgbm_explains_in_log_odds(of: str) -> None:
    learn, row = fitted("lightgbm"), voyages().iloc[10]
    found = learn.explain(row, of=of)
    probabilities = dict(zip(["no", "yes"], learn.predict(row)[2].tolist(), strict=True))
    assert found.meaning == f"probability of {of}, in log odds"
    assert 1 / (1 + np.exp(-found.prediction)) == pytest.approx(probabilities[of], abs=1e-4)


def test_lightgbm_explains_classes_of_which_training_lacks_one() -> None:
    block = CategoryBlock(vocab=["Cork", "Guam", "Hull", "Nice"], sort=False)
    for frame, known in ((voyages(), 3), (voyages().query("port != 'Cork'"), 2)):
        dls = loaders("port", frame, cat_names=["home"], y_block=block)
        learn = tree_learner(dls, "lightgbm", n_estimators=10, seed=1)
        learn.fit()
        row = frame.iloc[0]
        shares = learn.predict(row)[2].numpy()
        found = {of: learn.explain(row, of=of).prediction for of in ("Hull", "Nice")}
        expected = float(np.log(shares[2] / shares[3]))
        assert found["Hull"] - found["Nice"] == pytest.approx(expected * (2 if known == 2 else 1), abs=1e-3)
        with pytest.raises(ArgumentError, match="No training row has this class"):
            learn.explain(row, of="Guam")


def test_an_explanation_must_lead_to_the_answer() -> None:
    with pytest.raises(ArgumentError, match="no mean of its trees"):  # its trees add up in logarithms
        fitted(LGBMRegressor(n_estimators=5, objective="poisson", n_jobs=1, verbose=-1), "days").explain(
            voyages().iloc[0]
        )


def test_without_validation_rows_the_training_rows_are_proposed() -> None:
    learn = tree_learner(loaders(splits=[range(400), []], valid_idx=None), "tree")
    learn.fit()
    with pytest.raises(ArgumentError, match=r"There are no validation rows: .* ds_idx=0"):
        learn.feature_importance()


def test_a_model_that_is_no_mean_of_trees_is_told() -> None:
    with pytest.raises(ArgumentError, match="HistGradientBoostingClassifier is no mean of its trees"):
        fitted("boosting").explain(voyages().iloc[0])
    for weighing in (AdaBoostClassifier(n_estimators=5), GradientBoostingClassifier(n_estimators=5)):
        with pytest.raises(ArgumentError, match="is no mean of its trees"):
            fitted(weighing).explain(voyages().iloc[0])
    with pytest.raises(UnknownNameError, match="'maybe'"):
        fitted("forest").explain(voyages().iloc[0], of="maybe")


def test_a_waterfall_names_columns_and_values() -> None:
    found = fitted("forest", "days").explain(voyages().iloc[0])
    ax = found.plot(n=1).axes[0]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[0] == "mean of the training rows"
    assert labels[2:] == ["2 other columns", "predicted days"]
    assert " = " in labels[1]
    low, high = ax.get_xlim()
    assert low < min(found.start, found.prediction)
    assert high > max(found.start, found.prediction)


# one column


def test_partial_dependence_is_the_mean_of_answers() -> None:
    learn = fitted("forest", "days")
    found = learn.partial_dependence("fare", n_points=5).frame
    assert len(found) == 5
    assert int(found["rows"].sum()) == 100
    rows = learn.dls.valid_ds
    value = (found["value"][2] - learn.features[1].mean) / learn.features[1].std
    conts = rows.tensors[1].clone()
    conts[:, 0] = value
    expected = raw_outputs(learn, learn.model, rows.tensors[0], conts).mean()
    assert found["prediction"][2] == pytest.approx(float(expected), rel=1e-4)
    assert found["prediction"].iloc[-1] > found["prediction"].iloc[0] + 10


def test_values_are_as_they_were_in_the_table() -> None:
    frame = voyages().assign(fare=lambda f: f["fare"].where(f["fare"] > 30, 0.0))
    learn = tree_learner(loaders(frame=frame), "tree")
    learn.fit()
    found = learn.partial_dependence("fare", n_points=5).frame["value"]
    assert found[0] == 0  # and no 1e-06, as 32 bits have it after scaling
    assert found.isin(frame["fare"]).all()


def test_levels_come_with_how_often_they_occur() -> None:
    found = fitted("forest").partial_dependence("port").frame.set_index("value")
    counts = voyages()["port"].iloc[300:].value_counts()
    assert found["rows"].to_dict() == counts.to_dict()
    assert found["prediction"]["Hull"] < 0.2 < found["prediction"]["Cork"]


def test_levels_that_are_numbers_come_by_size() -> None:
    frame = voyages().assign(deck=lambda f: np.where(f.index % 7 > 2, 10, 2 + f.index % 7))
    learn = tree_learner(loaders(frame=frame, cat_names=["deck"]), "tree")
    learn.fit()
    assert learn.partial_dependence("deck").frame["value"].tolist() == ["2", "3", "4", "10"]


def test_partial_dependence_takes_nets_and_draws() -> None:
    net = tabular_learner(loaders(), metrics=accuracy, seed=0)
    net.fit_one_cycle(3, 2e-2)
    drawing = partial_dependence(net, ["fare", "port"], n_points=6).plot()
    assert [ax.get_xlabel() for ax in drawing.axes] == ["fare", "port"]
    assert drawing.axes[0].get_ylabel() == "probability of yes"


def test_wrong_columns_are_told() -> None:
    with pytest.raises(UnknownNameError, match=r"'fair'\. Did you mean 'fare'"):
        fitted("tree").partial_dependence("fair")


# all columns


def test_columns_that_say_the_same_are_found() -> None:
    frame = voyages().assign(pence=lambda f: -100 * f.fare**3)
    found = redundant_columns(frame[["fare", "noise", "pence"]])
    assert found.values.tolist() == [["fare", "pence", pytest.approx(-1)]]
    ours = rank_correlations(frame[["fare", "noise", "days"]])
    pd.testing.assert_frame_equal(ours, frame[["fare", "noise", "days"]].corr("spearman"))


def test_many_columns_are_clustered_on_a_high_picture() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 80))).rename(columns="column {}".format)
    drawing = cluster_columns(frame)
    drawing.figure.canvas.draw()
    edges = sorted((box.y0, box.y1) for box in (t.get_window_extent() for t in drawing.axes[0].get_yticklabels()))
    assert all(upper[0] > lower[1] - 1 for lower, upper in pairwise(edges))  # no label lies upon another


def test_columns_are_clustered() -> None:
    drawing = cluster_columns(fitted("forest"))
    labels = [label.get_text() for label in drawing.axes[0].get_yticklabels()]
    assert sorted(labels) == ["fare", "noise", "port"]
    with pytest.raises(TableError, match="At least two columns"):
        cluster_columns(voyages()[["port", "fare"]])


def test_constant_columns_correlate_with_none() -> None:
    frame = voyages()[["fare", "noise"]].assign(same=1.0)
    assert rank_correlations(frame)["same"].tolist() == [0, 0, 1]


# other rows


def test_rows_of_the_same_kind_are_alike() -> None:
    found = domain_check(voyages().iloc[:200], voyages().iloc[200:])
    assert 0.35 < found.auc < 0.62


def test_a_split_by_time_shows() -> None:
    frame = voyages().assign(row=range(400))
    found = domain_check(loaders(frame=frame, cont_names=["fare", "row"]))
    assert found.auc > 0.98
    assert found.importance.frame.index[0] == "row"
    assert "differ much, most in row" in found.words
    assert found.plot().axes[0].get_title().startswith(f"area under the curve {found.auc:.3f}")


def test_a_domain_check_needs_two_sides() -> None:
    with pytest.raises(EmptyError, match="at least 10 rows"):
        domain_check(voyages(), voyages().iloc[:3])
    with pytest.raises(ArgumentError, match="no column in common"):
        domain_check(voyages(), voyages().rename(columns=str.upper))
    with pytest.raises(ArgumentError, match="two tables"):
        domain_check(voyages())


# pictures of trees


def test_a_tree_is_drawn_in_the_words_of_the_table() -> None:
    drawing = fitted("tree", max_depth=2, min_samples_leaf=10).draw_tree()
    told = texts(drawing)
    assert "fare <= 5" in told
    assert "300 rows" in told
    assert "yes" in told


def test_boxes_of_a_small_picture_lie_side_by_side() -> None:
    drawing = fitted("tree", min_samples_leaf=5).draw_tree(figsize=(6, 4))
    drawing.figure.canvas.draw()
    boxes = [text.get_bbox_patch().get_window_extent() for text in drawing.axes[0].texts if "rows" in text.get_text()]
    assert len(boxes) > 8
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_names_with_dollars_are_no_formulas(tmp_path: Path) -> None:
    frame = voyages().rename(columns={"fare": r"US$ \frac AU$"})
    learn = tree_learner(loaders(frame=frame, cont_names=[r"US$ \frac AU$", "noise"]), "tree")
    learn.fit()
    drawings = [learn.draw_tree(), learn.explain(frame.iloc[0]).plot(), learn.feature_importance().plot(),
                learn.partial_dependence(r"US$ \frac AU$").plot(), cluster_columns(learn)]  # fmt: skip
    for place, drawing in enumerate(drawings):
        assert drawing.save(tmp_path / f"{place}.png").stat().st_size > 3000


def test_deeper_levels_are_counted() -> None:
    learn = fitted("forest", min_samples_leaf=1)
    told = texts(learn.draw_tree(number=3, max_depth=1))
    assert "more splits" in told
    with pytest.raises(ArgumentError, match="there is no tree 20"):
        learn.draw_tree(number=20)


def test_a_plain_tree_of_scikit_learn_is_drawn(tmp_path: Path) -> None:
    frame = voyages()[["fare", "noise"]]
    tree = DecisionTreeRegressor(max_leaf_nodes=4).fit(frame, voyages()["days"])
    drawing = draw_tree(tree, frame, size=10, precision=2)
    assert drawing.figure.get_figwidth() == 10
    assert "more split" not in texts(drawing)
    thousands = DecisionTreeRegressor(max_depth=1).fit(frame[["fare"]] * 100, voyages()["days"])
    assert "e+0" not in texts(draw_tree(thousands, frame[["fare"]]))
    assert "fare <= " in texts(drawing)
    assert drawing.save(tmp_path / "tree.png").stat().st_size > 5000
    with pytest.raises(ArgumentError, match="looks at 2 columns, but 1 are named"):
        draw_tree(tree, frame[["fare"]])
    with pytest.raises(ArgumentError, match="fitted tree"):
        draw_tree(DecisionTreeRegressor())


def test_rules_are_told_in_words() -> None:
    port = Feature("port", ("#na#", "Cork", "Hull", "Nice", "Oban", "Rome"))
    assert port.rule(0.5) == "port is #na#"
    assert port.rule(1.5) == "port is Cork"
    assert port.rule(3.5) == "port is one of Cork, Hull, Nice"
    assert port.rule(4.5) == "port is up to Oban (4 of 5 levels)"
    assert Feature("fare", (), 10.0, 2.0).rule(1.25) == "fare <= 12.5"
    assert [number_words(x) for x in (0.12345, 12345.6, -3.0)] == ["0.1235", "12,346", "-3"]
    assert number_words(2.5, sign=True) == "+2.5"


# models side by side


def test_models_are_compared_on_the_same_rows() -> None:
    found = compare_models(
        loaders(), ["oner", "tree", "net", "tree with embeddings", "tree+net"], epochs=2, verbose=False
    )
    assert set(found.frame.index) == {"oner", "tree", "net", "tree with embeddings", "tree+net"}
    assert list(found.frame.columns) == ["valid_loss", "accuracy", "fit seconds", "answer seconds"]
    assert found.frame["accuracy"].is_monotonic_decreasing
    for name in ("tree", "net", "tree+net"):
        assert found.learners[name].validate()[1] == pytest.approx(found.frame["accuracy"][name])
    assert found.learners["tree+net"].members == [found.learners["tree"], found.learners["net"]]
    labels = [label.get_text() for label in found.plot().axes[0].get_yticklabels()]
    assert labels[-1] == found.frame.index[0]


def test_models_of_ones_own_are_compared() -> None:
    def deep(dls: object) -> TreeLearner:
        learn = tree_learner(dls, "tree", min_samples_leaf=1)
        learn.fit()
        return learn

    ready = fitted("forest")
    found = compare_models(ready.dls, {"deep": deep, "mine": ready, "plain": "tree"}, verbose=False)
    assert found.learners["mine"] is ready
    assert found.frame["fit seconds"]["mine"] == 0


def test_one_name_is_one_model() -> None:
    assert list(compare_models(loaders(), "tree", verbose=False).frame.index) == ["tree"]


def test_wrong_comparisons_are_told() -> None:
    with pytest.raises(UnknownNameError, match="'forest2'"):
        compare_models(loaders(), ["tree", "forest2"])
    with pytest.raises(UnknownNameError, match="'net with embeddings'"):
        compare_models(loaders(), ["net with embeddings"])
    with pytest.raises(ArgumentError, match="validation half"):
        compare_models(loaders(splits=[range(400), []], valid_idx=None), ["tree"])
    with pytest.raises(ArgumentError, match="No model is named"):
        compare_models(loaders(), [])
