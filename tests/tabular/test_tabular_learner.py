"""Learners of tables: the net's sizes, training, prediction, exports in a fresh process, and TabM's members."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_tables import PROCS, cleaned, people
from torch import nn

from flambeau.foundation.errors import ArgumentError, ExportError, TableError, UnknownNameError
from flambeau.interpret.interpretation import ClassificationInterpretation
from flambeau.nn.layers import emb_sz_rule
from flambeau.nn.metrics import accuracy
from flambeau.tabular.learner import TabularLearner, embeddings, tabular_learner
from flambeau.tabular.models import TabularModel, get_emb_sz, tabular_config
from flambeau.tabular.procs import Dummies, TabularProc
from flambeau.tabular.tabm import PiecewiseLinear, TabM, quantile_edges
from flambeau.train.load_learner import load_learner
from flambeau.train.predictor import Predictor

SOURCE = str(Path(__file__).resolve().parents[2] / "src")


def learner(frame: pd.DataFrame | None = None, y: object = "answer", path: Path | None = None, **options: object):  # type: ignore[no-untyped-def]
    frame = people(60) if frame is None else frame
    dls = cleaned(frame, y).dataloaders(16, device="cpu", seed=0)
    return tabular_learner(dls, path=path, seed=0, **options)  # type: ignore[arg-type]


def fitted(n_epoch: int = 8, **options: object) -> TabularLearner:
    learn = learner(**options)  # type: ignore[arg-type]
    with learn.no_logging():
        learn.fit_one_cycle(n_epoch, 1e-2)
    return learn


def test_vector_sizes_follow_the_rule() -> None:
    assert [emb_sz_rule(n) for n in (2, 3, 10, 1000, 10**6)] == [2, 3, 6, 77, 600]
    assert get_emb_sz(cleaned(), {"city": 7}) == [(4, 7), (3, 3)]
    with pytest.raises(UnknownNameError, match=r"'citty'. Did you mean 'city'"):
        get_emb_sz(cleaned(), {"citty": 7})


def test_the_plain_net_is_linear_relu_norm_in_turn() -> None:
    model = TabularModel([(4, 3)], 2, 1, [8], ps=0.5, y_range=(0, 5))
    names = [type(layer).__name__ for layer in model.layers.modules() if not list(layer.children())]
    assert names == ["Linear", "ReLU", "BatchNorm1d", "Dropout", "Linear", "SigmoidRange"]
    assert model.layers[0][0].in_features == 5
    with pytest.raises(ArgumentError, match="2 dropouts for 1 layers"):
        TabularModel([], 2, 1, [8], ps=[0.1, 0.2])


@pytest.mark.parametrize("model", ["plain", "tabm"])
def test_large_numbers_are_learnt_in_their_own_scale(model: str, tmp_path: Path) -> None:
    frame = people(60).assign(price=lambda f: 200_000 + 1000 * f["height"])
    learn = fitted(10, frame=frame, y="price", model=model, path=tmp_path)
    prices = learn.dls.train_ds.tensors[2]
    preds = learn.get_preds(ds_idx=0)[0]
    assert ((preds - prices) ** 2).mean() < 0.2 * prices.var()
    back = load_learner(learn.export("price.safetensors"))
    assert back.predict(frame.iloc[3])[0] == pytest.approx(learn.predict(frame.iloc[3])[0], rel=1e-5)


@pytest.mark.parametrize("model", ["plain", "tabm"])
def test_a_learner_learns_predicts_and_shows(model: str) -> None:
    learn = fitted(12, frame=people(120), model=model, metrics=accuracy)
    assert learn.validate()[1] == 1.0
    label, index, probabilities = learn.predict(people(120).iloc[0])
    assert (label, int(index)) == ("no", 0)
    assert float(probabilities.sum()) == pytest.approx(1)
    assert learn.predict({"age": 250, "height": 265, "city": "Rome"})[0] == "yes"
    table = learn.show_results(max_n=2)
    assert table.columns.tolist() == ["city", "age_na", "age", "height", "actual", "predicted"]
    interpretation = ClassificationInterpretation.from_learner(learn)
    assert interpretation.confusion_matrix().sum() == 3
    top = interpretation.plot_top_losses(2)
    losses, places = interpretation.top_losses(2)[:2]
    assert top.index.tolist() == [f"row {117 + place} of the table" for place in places.tolist()]
    assert [note.split(",")[0] for note in top["note"]] == [f"loss {loss:.2f}" for loss in losses.tolist()]


@pytest.mark.parametrize("options", [{"model": "plain"}, {"model": "tabm"}, {"config": tabular_config(ps=0.1)}])
def test_an_export_predicts_the_same_in_a_fresh_process(options: dict[str, object], tmp_path: Path) -> None:
    learn = fitted(1, path=tmp_path, **options)
    new = people(60).drop(columns="answer").assign(height=lambda f: f["height"].where(f.index % 2 == 0))
    new.loc[0, "city"] = "Rome"
    here = learn.get_preds(dl=learn.dls.test_dl(new))[0]
    learn.export("table.safetensors")
    new.to_csv(tmp_path / "new.csv", index=False)
    code = (
        "import pandas, torch; from flambeau.train.load_learner import load_learner;"
        "learn = load_learner('table.safetensors'); new = pandas.read_csv('new.csv');"
        "learn.show_progress = False;"
        "print(*learn.get_preds(dl=learn.dls.test_dl(new))[0][:, 1].tolist());"
        "print(learn.predict(new.iloc[1])[2][1].item())"
    )
    env = {**os.environ, "PYTHONPATH": SOURCE}
    command = [sys.executable, "-c", code]
    lines = subprocess.check_output(command, cwd=tmp_path, env=env, text=True).strip().splitlines()
    assert np.allclose([float(value) for value in lines[-2].split()], here[:, 1].numpy(), atol=1e-5)
    assert float(lines[-1]) == pytest.approx(float(here[1, 1]), abs=1e-5)


def test_dummy_columns_and_several_targets_are_exported(tmp_path: Path) -> None:
    frame = people(60).assign(a=np.arange(60.0), b=np.arange(60.0) * 2)
    dls = cleaned(frame, ["a", "b"], procs=[*PROCS, Dummies]).dataloaders(16, device="cpu")
    learn = tabular_learner(dls, path=tmp_path, y_range=(0, 1e6))
    back = load_learner(learn.export("two.safetensors"))
    assert np.allclose(back.predict(frame.iloc[0])[2], learn.predict(frame.iloc[0])[2], atol=1e-5)
    assert len(back.predict(frame.iloc[0])[0]) == 2
    assert learn.show_results().columns[-4:].tolist() == ["actual a", "actual b", "predicted a", "predicted b"]
    assert back.dls.train_ds.cat_names == []


def test_a_predictor_answers_rows_one_by_one_and_together(tmp_path: Path) -> None:
    learn = fitted(1, path=tmp_path)
    predictor = Predictor(learn.export("table.safetensors"))
    frame = people(60)
    one, all_of_them = predictor.predict(frame.iloc[2]), predictor.predict_batch(frame)
    assert one.label == all_of_them[2].label
    assert one.probability == pytest.approx(all_of_them[2].probability, abs=1e-6)
    arrow = pytest.importorskip("pyarrow").Table.from_pandas(frame)
    assert [answer.label for answer in predictor.predict_batch(arrow)] == [answer.label for answer in all_of_them]


def test_a_prediction_takes_one_row_of_any_sort(tmp_path: Path) -> None:
    learn, frame = fitted(1, path=tmp_path), people(60)
    arrow = pytest.importorskip("pyarrow").Table.from_pandas(frame)
    answers = [learn.predict(row)[2].tolist() for row in (frame.iloc[0], frame.iloc[:1], arrow.slice(0, 1))]
    assert answers[0] == answers[1] == answers[2]
    assert learn.predict({"age": pd.NA, "height": 160, "city": pd.NA})[0] in ("no", "yes")
    with pytest.raises(TableError, match=r"One row was expected, got a table of 2.*test_dl"):
        learn.predict(frame.iloc[:2])
    with pytest.raises(TableError, match=r"A row is a Series .* got a Tensor"):
        learn.predict(torch.zeros(3))


def test_a_loaded_learner_takes_labelled_tables_and_tells_missing_columns(tmp_path: Path) -> None:
    learn = fitted(1, path=tmp_path)
    back = load_learner(learn.export("table.safetensors"))
    targets = back.get_preds(dl=back.dls.test_dl(people(60), with_labels=True))[1]
    assert targets.tolist() == [0] * 30 + [1] * 30
    with pytest.raises(TableError, match=r"Row 0 lacks the column 'city'"):
        back.predict({"age": 3, "height": 4})
    with pytest.raises(TableError, match=r"'age' holds inf"):
        back.predict({"age": np.inf, "height": 4, "city": "Oslo"})


def test_a_process_of_the_users_own_is_given_back(tmp_path: Path) -> None:
    dls = cleaned(people(60), procs=[*PROCS, Taller]).dataloaders(16, device="cpu")
    learn = tabular_learner(dls, path=tmp_path)
    path = learn.export("own.safetensors")
    with pytest.raises(ExportError, match="Taller"):
        load_learner(path)
    back = load_learner(path, transforms={"Taller": Taller()})
    assert torch.allclose(back.predict(people().iloc[0])[2], learn.predict(people().iloc[0])[2])


class Taller(TabularProc):
    def encodes(self, x):  # type: ignore[no-untyped-def]
        x.columns["height"] = x.numbers("height") + 10
        return x


def test_embeddings_have_a_row_a_level_and_feed_other_models(tmp_path: Path) -> None:
    learn = fitted(1, path=tmp_path)
    vectors = learn.embeddings()["city"]
    assert vectors.index.tolist() == ["#na#", "Bern", "Lyon", "Oslo"]
    rows = learn.embed(people(3))
    assert rows.shape == (3, 3 + 3 + 2)
    of_rows, of_levels = rows[["city_0", "city_1", "city_2"]], vectors.loc[["Lyon", "Bern", "Oslo"]]
    assert of_rows.to_numpy() == pytest.approx(of_levels.to_numpy())
    back = load_learner(learn.export("table.safetensors"))
    assert embeddings(back)["city"].equals(vectors)


def test_a_member_of_tabm_learns_by_its_own_loss() -> None:
    learn = learner(model="tabm", config={"k": 4, "n_bins": 3})
    learn.model.train()
    batch = learn.dls.one_batch()
    assert learn.model(*batch.inputs).shape == (16, 4, 2)
    learn.model.eval()
    assert learn.model(*batch.inputs).exp().sum(1).tolist() == pytest.approx([1] * 16, abs=1e-5)


@pytest.mark.parametrize(("average", "answer"), [("numbers", 1.0), ("labels", 0.5)])
def test_tabm_averages_probabilities_not_their_logarithms(average: str, answer: float) -> None:
    model = TabM([], 1, 1, [4], k=2, average=average)
    averaged = model._averaged(torch.tensor([[[-20.0], [22.0]]]))
    assert float(averaged if average == "numbers" else averaged.sigmoid()) == pytest.approx(answer, abs=1e-3)


def test_bins_tell_how_far_a_number_has_come() -> None:
    edges = quantile_edges(torch.tensor([[4.0], [0.0], [1.0], [2.0], [3.0]]), 2)
    assert edges.tolist() == [[0, 2, 4]]
    bins = PiecewiseLinear(1, 2, 1, edges)
    nn.init.zeros_(bins.linear), nn.init.zeros_(bins.bias)
    bins.bends.data = torch.tensor([[[1.0], [10.0]]])
    assert bins(torch.tensor([[-1.0], [1.0], [3.0], [9.0]])).flatten().tolist() == [0, 0.5, 6, 11]


def test_wrong_calls_are_told() -> None:
    with pytest.raises(UnknownNameError, match=r"'tabn'. Did you mean 'tabm'"):
        learner(model="tabn")
    with pytest.raises(UnknownNameError, match="'embedp'"):
        learner(config={"embedp": 0.1})
    dls = cleaned(y=None).dataloaders(4, device="cpu")
    with pytest.raises(ArgumentError, match="no target"):
        tabular_learner(dls)
