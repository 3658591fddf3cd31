from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import BaggingClassifier, BaggingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from small_forests import CATS, CONTS, fitted, loaders, voyages

from flambeau.data.splitters import GroupSplitter
from flambeau.foundation.errors import ArgumentError, ExportError, TableError, TrainingError, UnknownNameError
from flambeau.interpret.interpretation import ClassificationInterpretation
from flambeau.interpret.report import write_report
from flambeau.nn.metrics import accuracy, mae
from flambeau.tabular.learner import tabular_learner
from flambeau.tabular.procs import Categorify, FillMissing
from flambeau.tabular.tabular_pandas import TabularPandas
from flambeau.train.callbacks.loggers import CSVLogger
from flambeau.train.cross_validate import cross_validate
from flambeau.train.ensemble import Ensemble, bag
from flambeau.train.load_learner import load_learner
from flambeau.train.predictor import Predictor
from flambeau.train.tune import tune
from flambeau.trees.estimators import MODELS
from flambeau.trees.learner import TreeLearner, tree_learner
from flambeau.trees.models import LEAST


@pytest.mark.parametrize("model", MODELS)
def test_every_model_learns_classes(model: str) -> None:
    learn = fitted(model)
    expected = 0.6 if model == "oner" else 0.85
    assert learn.validate()[1] > expected
    preds, targets = learn.get_preds()
    assert preds.shape == (100, 2)
    assert torch.allclose(preds.sum(1), torch.ones(100), atol=1e-5)
    assert float((preds.argmax(1) == targets).float().mean()) == pytest.approx(learn.validate()[1])


@pytest.mark.parametrize("model", MODELS)
def test_every_model_learns_numbers(model: str) -> None:
    learn = fitted(model, "days")
    loss, error = learn.validate()
    assert error == pytest.approx(loss**0.5, rel=1e-4)
    assert error < (9.5 if model == "oner" else 3.0)  # the deviation of the days is 10.1


@pytest.mark.parametrize("model", [m for m in MODELS if m != "lightgbm"])
def test_every_model_learns_several_numbers_and_labels(model: str) -> None:
    frame = voyages().assign(rich=lambda f: (f.fare > 80).astype(int), north=lambda f: (f.port == "Hull").astype(int))
    numbers = tree_learner(loaders(["days", "fare"], frame, cont_names=["noise"]), model)
    numbers.fit()
    assert numbers.get_preds()[0].shape == (100, 2)
    labels = tree_learner(loaders(["rich", "north"], frame), model)
    labels.fit()
    preds, targets = labels.get_preds()
    assert preds.shape == targets.shape == (100, 2)
    if model != "oner":
        assert float(((preds > 0.5) == (targets > 0.5)).float().mean()) > 0.93


def test_a_forest_answers_as_its_estimator_does() -> None:
    learn = fitted("forest")
    matrix = learn.matrix(1).to_numpy()
    assert list(learn.matrix().columns) == [*CATS, *CONTS]
    preds = learn.get_preds()[0].numpy()
    np.testing.assert_allclose(preds, learn.estimator.predict_proba(matrix), atol=2 * LEAST)


def test_a_fit_prints_what_the_model_is_worth(capsys: pytest.CaptureFixture[str]) -> None:
    learn = fitted("forest")
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith("RandomForestClassifier on 300 rows x 3 columns: ")
    assert f"accuracy {learn.validate()[1]:.4g}; out of bag: accuracy" in told
    assert learn.recorder.values[-1][1] == pytest.approx(learn.validate()[0])


def test_out_of_bag_answers_are_those_of_trees_that_did_not_see_the_row() -> None:
    learn = fitted("forest", min_samples_leaf=1)
    preds, targets = learn.oob_preds()
    estimator, matrix = learn.estimator, learn.matrix().to_numpy()
    row = 7
    unseen = [
        tree.predict_proba(matrix[[row]])[0]
        for tree, places in zip(estimator.estimators_, estimator.estimators_samples_, strict=True)
        if row not in places
    ]
    assert len(unseen) > 2
    np.testing.assert_allclose(preds[row].numpy(), np.mean(unseen, 0), atol=1e-5)
    assert learn.oob_values()["accuracy"] == pytest.approx(float((preds.argmax(1) == targets).float().mean()))


def test_rows_that_every_tree_saw_are_left_out_of_bag() -> None:
    learn = fitted("forest", "days", n_estimators=2)
    preds, targets = learn.oob_preds()
    assert 0 < len(preds) == len(targets) < 300
    assert float(preds.min()) > 5  # scikit-learn writes 0 where no tree could answer


def test_a_model_without_bootstrap_has_no_out_of_bag_answers() -> None:
    with pytest.raises(ArgumentError, match="DecisionTreeClassifier has no predictions out of bag"):
        fitted("tree").oob_preds()


def test_a_seed_repeats_a_forest() -> None:
    assert torch.equal(fitted("forest").get_preds()[0], fitted("forest").get_preds()[0])


def test_exports_predict_the_same_in_another_process(tmp_path: Path) -> None:
    row = voyages().iloc[390]
    expected = {}
    for model in MODELS:
        learn = fitted(model)
        learn.export(tmp_path / f"{model}.safetensors")
        expected[model] = learn.predict(row)[2].tolist()
    code = (
        "import json, pathlib, sys\nfrom flambeau.train.load_learner import load_learner\n"
        "row, paths = json.loads(sys.argv[2]), pathlib.Path(sys.argv[1]).glob('*.safetensors')\n"
        "print(json.dumps({path.stem: load_learner(path).predict(row)[2].tolist() for path in paths}))"
    )
    given = row[["port", "fare", "noise"]].to_json()
    asked = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), given], capture_output=True, text=True, check=True, timeout=120
    )
    found = json.loads(asked.stdout.splitlines()[-1])
    assert found.keys() == expected.keys()
    for model in MODELS:
        assert found[model] == pytest.approx(expected[model], abs=1e-7)


def test_a_loaded_learner_measures_and_explains(tmp_path: Path) -> None:
    learn = fitted("forest")
    again = load_learner(learn.export(tmp_path / "forest.safetensors"))
    assert isinstance(again, TreeLearner)
    test = again.dls.test_dl(voyages().iloc[300:], with_labels=True)
    assert again.validate(dl=test) == pytest.approx(learn.validate())
    assert again.explain(voyages().iloc[0]).frame["contribution"].notna().all()
    with pytest.raises(ArgumentError, match="no rows to learn from"):
        again.fit()


def test_save_and_load_keep_the_trees(tmp_path: Path) -> None:
    learn, other = fitted("forest"), tree_learner(loaders(), "forest", seed=5, path=tmp_path)
    learn.path = tmp_path
    learn.save("kept")
    other.load("kept")
    assert torch.equal(other.get_preds()[0], learn.get_preds()[0])
    again = fitted("boosting")
    again.path = tmp_path
    assert again.load("kept").estimator.n_estimators == 20
    narrow = tree_learner(loaders(cont_names=["fare"]), "forest", path=tmp_path)
    with pytest.raises(ExportError, match="they look at 3 columns, and the table has 2"):
        narrow.load("kept")
    net = tabular_learner(loaders(), path=tmp_path)
    net.save("net")
    with pytest.raises(ExportError, match="kept is only in the model"):
        other.load("net")


def test_a_predictor_answers_rows(tmp_path: Path) -> None:
    learn = fitted("boosting")
    predictor = Predictor(learn.export(tmp_path / "boosting.safetensors"))
    answers = predictor.predict_batch(voyages().iloc[:5])
    labels = [learn.predict(voyages().iloc[place])[0] for place in range(5)]
    assert [answer.label for answer in answers] == labels
    assert set(answers[0].probabilities) == {"no", "yes"}


def test_new_levels_and_gaps_are_answered() -> None:
    learn = fitted("forest")
    label, _, probabilities = learn.predict({"port": "Rome", "fare": float("nan"), "noise": 0.0})
    assert label in ("yes", "no")
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-5)


def test_a_table_a_frame_and_loaders_give_the_same_forest() -> None:
    frame = voyages()
    splits = (list(range(300)), list(range(300, 400)))
    table = TabularPandas(frame, [Categorify, FillMissing], CATS, CONTS, "home", splits=splits)
    shared: dict[str, Any] = {"seed": 1, "n_estimators": 10}
    columns: dict[str, Any] = {"y_names": "home", "cat_names": CATS, "cont_names": CONTS, "splits": splits}
    learners = [
        tree_learner(table, **shared),
        tree_learner(frame, **columns, **shared),
        tree_learner(table.dataloaders(64), **shared),
    ]
    for learn in learners:
        learn.fit()
    answers = [learn.get_preds()[0] for learn in learners]
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


def test_an_estimator_of_ones_own_is_copied() -> None:
    mine = RandomForestClassifier(7, random_state=0)
    learn = fitted(mine)
    assert len(learn.estimator.estimators_) == 7
    assert not hasattr(mine, "estimators_")
    assert fitted(LogisticRegression(max_iter=1000)).validate()[1] > 0.6


@pytest.mark.parametrize("y", ["home", "days"])
def test_a_bag_of_scikit_learn_is_explained_and_kept(y: str, tmp_path: Path) -> None:
    tree = DecisionTreeClassifier(min_samples_leaf=3) if y == "home" else DecisionTreeRegressor(min_samples_leaf=3)
    bag = (BaggingClassifier if y == "home" else BaggingRegressor)(tree, 12, max_features=2, oob_score=True)
    learn, row = fitted(bag, y), voyages().iloc[0]
    assert learn.oob_preds()[0].isfinite().all()
    found = learn.explain(row)
    assert found.start + found.frame["contribution"].sum() == pytest.approx(found.prediction)
    assert learn.feature_importance("impurity").frame["importance"].sum() == pytest.approx(1)
    again = load_learner(learn.export(tmp_path / "bag.safetensors"))
    assert torch.allclose(again.predict(row)[2], learn.predict(row)[2])


def test_what_cannot_be_kept_is_told(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"LogisticRegression cannot be kept in a file: sklearn\.linear_model"):
        fitted(LogisticRegression(max_iter=1000)).export(tmp_path / "no.safetensors")


def test_a_net_and_a_forest_are_averaged(tmp_path: Path) -> None:
    dls = loaders()
    net = tabular_learner(dls, metrics=accuracy, seed=0)
    net.fit_one_cycle(3, 1e-2)
    forest = tree_learner(dls, "forest", n_estimators=20, seed=0)
    forest.fit()
    team = Ensemble([forest, net])
    expected = (forest.get_preds()[0] + net.get_preds()[0]) / 2
    assert torch.allclose(team.get_preds()[0], expected, atol=1e-6)
    assert list(team.report(n_resamples=5).index) == ["0 RandomForestClassifier", "1 TabularModel", "ensemble"]
    again = load_learner(team.export(tmp_path / "team.safetensors"))
    row = voyages().iloc[1]
    assert torch.allclose(again.predict(row)[2], team.predict(row)[2], atol=1e-6)


def test_vectors_of_a_net_stand_for_categories(tmp_path: Path) -> None:
    dls = loaders()
    net = tabular_learner(dls, emb_szs={"port": 3}, metrics=accuracy, seed=0)
    net.fit_one_cycle(2, 1e-2)
    learn = tree_learner(dls, "forest", embeddings=net, n_estimators=20, seed=0)
    learn.fit()
    assert [feature.name for feature in learn.features] == ["port_0", "port_1", "port_2", "fare", "noise"]
    row = voyages().iloc[0]
    vector = net.embeddings()["port"].loc[row["port"]]
    batch = dls.valid.prepare([row])
    np.testing.assert_allclose(learn.model.matrix(*batch.inputs)[0, :3], vector, rtol=1e-6)
    again = load_learner(learn.export(tmp_path / "embedded.safetensors"))
    assert torch.equal(again.predict(row)[2], learn.predict(row)[2])


def test_vectors_of_another_table_are_refused() -> None:
    other = tabular_learner(loaders(frame=voyages().replace("Nice", "Oban")))
    with pytest.raises(ArgumentError, match="other categories or levels"):
        tree_learner(loaders(), embeddings=other)


def test_interpretation_and_report_work_as_with_nets(tmp_path: Path) -> None:
    learn = fitted("forest")
    interpretation = ClassificationInterpretation.from_learner(learn)
    assert interpretation.confusion_matrix().sum() == 100
    assert interpretation.confusion_matrix().trace() / 100 == pytest.approx(learn.validate()[1])
    report = write_report(learn, tmp_path, "Voyages")
    assert report.values["accuracy"] == pytest.approx(learn.validate()[1])
    assert "Epoch by epoch" in report.page.read_text()


def test_cross_validation_takes_forests() -> None:
    def make(fold: Any) -> TreeLearner:
        return tree_learner(
            voyages(), y_names="home", cat_names=CATS, cont_names=CONTS, splits=fold(voyages()), n_estimators=10
        )

    found = cross_validate(make, voyages(), folds=4, train=lambda learn: learn.fit(), verbose=False)
    assert bool(found.validated.all())
    assert found.mean("accuracy") > 0.85


def test_a_splitter_splits_the_table() -> None:
    frame = voyages().assign(crew=lambda f: f.index // 10)
    learn = tree_learner(frame, y_names="home", splits=GroupSplitter("crew", 0.3, seed=0), n_estimators=5)
    halves = [set(frame["crew"].iloc[list(half)]) for half in learn.dls.table.splits]
    assert halves[0]
    assert halves[1]
    assert not halves[0] & halves[1]


def test_a_loaded_learner_has_nothing_out_of_bag(tmp_path: Path) -> None:
    learn = fitted("forest")
    again = load_learner(learn.export(tmp_path / "one.safetensors"))
    with pytest.raises(ArgumentError, match=r"learnt from are not here \(0 are\)"):
        again.oob_values()
    again.dls = learn.dls
    assert again.oob_values() == learn.oob_values()


def test_bags_of_trees_differ() -> None:
    team = bag(loaders(), lambda dls: tree_learner(dls, "tree", seed=0), lambda learn: learn.fit(), n=2)
    first, second = (member.get_preds()[0] for member in team.members)
    assert not torch.equal(first, second)
    member = team.members[0]
    drawn = member.dls.train.order.drawn(300)
    alone = DecisionTreeClassifier(min_samples_leaf=25, random_state=0)
    rows = member.matrix().to_numpy()[drawn]
    alone.fit(rows, member.rows.tensors[2].numpy()[drawn])
    np.testing.assert_allclose(alone.predict_proba(rows), member.estimator.predict_proba(rows))
    with pytest.raises(ArgumentError, match="loaders that draw each row once"):
        bag(loaders(), lambda dls: tree_learner(dls, n_estimators=5), lambda learn: learn.fit(), n=1).members[
            0
        ].oob_values()


def test_settings_of_trees_are_tuned() -> None:
    dls = loaders()

    def make(min_samples_leaf: int) -> TreeLearner:
        return tree_learner(dls, "tree", min_samples_leaf=min_samples_leaf, seed=0)

    found = tune(make, {"min_samples_leaf": (1, 250)}, 4, train=lambda learn: learn.fit(), seed=0, verbose=False)
    assert 0 < found.best_value < 0.6
    best = make(**found.best_params)
    best.fit()
    assert best.validate()[0] == pytest.approx(found.best_value)


def test_callbacks_see_one_epoch(tmp_path: Path) -> None:
    learn = tree_learner(loaders(), "tree", path=tmp_path)
    learn.add_cb(CSVLogger("history.csv"))
    learn.fit()
    history = pd.read_csv(tmp_path / "history.csv")
    assert history["accuracy"].tolist() == pytest.approx([learn.validate()[1]], abs=1e-4)


def test_trees_are_not_compiled() -> None:
    with pytest.raises(ArgumentError, match="compiled code of scikit-learn already"):
        fitted("tree").compile()


@pytest.mark.parametrize(
    "call", [lambda learn: learn.fine_tune(1), lambda learn: learn.fit_one_cycle(2), lambda learn: learn.fit(5)]
)
def test_epochs_are_refused(call: Any) -> None:
    with pytest.raises(ArgumentError, match=r"call learn\.fit\(\)"):
        call(tree_learner(loaders()))


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(UnknownNameError, match=r"'forrest'\. Did you mean 'forest'"):
        tree_learner(loaders(), "forrest")
    with pytest.raises(UnknownNameError, match=r"'n_estimator'\. Did you mean 'n_estimators'"):
        tree_learner(loaders(), n_estimator=3)
    with pytest.raises(ArgumentError, match="Ridge is no classifier"):
        tree_learner(loaders(), Ridge())
    with pytest.raises(ArgumentError, match="RandomForestClassifier is no regressor"):
        tree_learner(loaders("days"), RandomForestClassifier())
    with pytest.raises(ArgumentError, match="belong to the loaders"):
        tree_learner(loaders(), y_names="home")
    with pytest.raises(TableError, match="lacks the column 'hom'"):
        tree_learner(voyages(), y_names="hom")
    with pytest.raises(TrainingError, match=r"call learn\.fit\(\) first"):
        tree_learner(loaders()).get_preds()


def test_a_tree_that_is_sure_and_wrong_has_a_finite_loss() -> None:
    learn = fitted("tree", min_samples_leaf=1)
    loss = learn.validate()[0]
    assert 0 < loss < -np.log(LEAST)


def test_own_metrics_are_used() -> None:
    learn = fitted("forest", "days", metrics=mae)
    preds, targets = learn.get_preds()
    assert learn.validate()[1] == pytest.approx(float((preds - targets).abs().mean()), rel=1e-5)


def test_the_table_given_stays_as_it_is() -> None:
    frame = voyages()
    before = frame.copy()
    tree_learner(frame, y_names="home", n_estimators=5).fit()
    pd.testing.assert_frame_equal(frame, before)
