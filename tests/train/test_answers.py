"""Answers: NaN is never a label, and outputs that do not fit the classes are told."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small_learners import line_learner, sign_learner, sign_loaders
from torch import nn

from flambeau.data.kinds import Category, Mask, MultiCategory, Number
from flambeau.foundation.errors import ShapeError, TrainingError
from flambeau.nn.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat, MSELossFlat
from flambeau.train.answers import n_classes_of, n_outputs_of, odd_outputs, spoilt_weights
from flambeau.train.ensemble import Ensemble
from flambeau.train.learner import Learner
from flambeau.train.load_learner import load_learner
from flambeau.train.predictor import Predictor


class Blown(nn.Module):
    """Overflow, as 16 bits soon do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.abs() + 1) * 1e38 * 1e38


TENSOR = {"tensor": torch.tensor}


def diverged(**options: Any) -> Learner:
    """Return a learner whose one step was 10^30 times too long."""
    learn = sign_learner(**options)
    with learn.no_logging():
        learn.fit(1, 1e38)
    assert math.isnan(learn.recorder.losses[-1])
    return learn


def test_a_diverged_model_has_no_label_for_an_item() -> None:
    with pytest.raises(TrainingError, match=r"answer for \[0\.5, 1\.0\] is NaN.*\(0\.weight.*training diverged.*lower"):
        diverged().predict([0.5, 1.0])


def test_raw_predictions_stay_nan_but_are_not_decoded() -> None:
    learn = diverged()
    assert learn.get_preds()[0].isnan().all()
    with pytest.raises(TrainingError, match=r"is NaN, which is no number"):
        learn.get_preds(with_decoded=True)
    with pytest.raises(TrainingError, match="item 0 of those to draw is NaN"):
        learn.show_results()


def test_an_export_of_nan_says_so_and_its_predictor_names_the_item(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = diverged(path=tmp_path).export()
    assert "exported weights are no finite numbers (0.weight, 0.bias, 2.weight and 1 more)" in capsys.readouterr().out
    with pytest.raises(TrainingError, match=r"answer for \[0\.5, 1\.0\] is NaN"):
        Predictor(path, transforms=TENSOR).predict([0.5, 1.0])
    with pytest.raises(TrainingError, match="is NaN"):
        load_learner(path, transforms=TENSOR).predict([0.5, 1.0])


def test_one_diverged_member_spoils_an_ensemble(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ensemble = Ensemble([sign_learner(path=tmp_path), diverged()])
    with pytest.raises(TrainingError, match="is NaN"):
        ensemble.predict([0.5, 1.0])
    with pytest.raises(TrainingError, match="answer for item 0 is NaN"):
        ensemble.get_preds(with_decoded=True)
    path = ensemble.export()
    assert "no finite numbers" in capsys.readouterr().out
    with pytest.raises(TrainingError, match=r"answer for \[0\.5, 1\.0\] is NaN"):
        Predictor(path, transforms=TENSOR).predict([0.5, 1.0])


def test_nan_in_the_item_or_on_the_way_is_told_apart() -> None:
    with pytest.raises(TrainingError, match="The item itself holds NaN"):
        sign_learner().predict([math.nan, 1.0])
    with pytest.raises(TrainingError, match="grew too large on their way"):
        sign_learner(model=nn.Sequential(nn.Linear(2, 2), Blown())).predict([1.0, 2.0])


def test_infinite_buffers_are_masks_but_infinite_parameters_are_spoilt() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("mask", torch.tensor([-math.inf, 0.0]))
    assert spoilt_weights(model) == []
    with torch.no_grad():
        model.bias[0] = math.inf
    assert spoilt_weights(model) == ["bias"]


def test_the_table_of_epochs_tells_once_that_the_loss_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    line_learner().fit(3, 1e38)
    said = capsys.readouterr().out
    assert said.count("The training loss of epoch 0 is") == 1
    assert "weights too (weight, bias)" in said
    assert "lr_find" in said
    assert "TerminateOnNaNCallback" in said


def test_a_finite_loss_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    line_learner().fit(2, 0.01)
    assert "training loss of" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (nn.Sequential(nn.Linear(2, 8), nn.Sequential(nn.ReLU(), nn.Linear(8, 3), nn.Dropout())), 3),
        (nn.Sequential(nn.Conv2d(3, 5, 1), nn.Softmax(1)), 5),
        (nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4)), 4),
        (nn.Sequential(nn.Linear(2, 8), nn.Unflatten(1, (2, 4))), None),
        (nn.LSTM(2, 3), None),
    ],
)
def test_the_last_layer_of_a_sequence_tells_the_outputs(model: nn.Module, expected: int | None) -> None:
    assert n_outputs_of(model) == expected


@pytest.mark.parametrize(
    ("kind", "loss", "expected"),
    [
        (Category(("a", "b", "c")), CrossEntropyLossFlat(), 3),
        (Category(("a", "b", "c")), nn.CrossEntropyLoss(), 3),
        (Category(("a", "b")), BCEWithLogitsLossFlat(), None),  # one number may tell two classes apart
        (Category(("a", "b")), MSELossFlat(), None),
        (Mask(("sky", "road")), CrossEntropyLossFlat(axis=1), 2),
        (MultiCategory(("a", "b")), BCEWithLogitsLossFlat(), 2),
        (Number(1), MSELossFlat(), None),
    ],
)
def test_a_softmax_needs_an_output_for_each_class(kind: Any, loss: Any, expected: int | None) -> None:
    assert n_classes_of([kind], loss) == expected


def test_spare_outputs_are_told_at_export_and_a_spare_class_at_the_prediction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = Learner(sign_loaders(), nn.Sequential(nn.Linear(2, 5)), path=tmp_path)
    assert odd_outputs(learn.model, learn.dls.kinds[1:], learn.loss_func) == 3
    with torch.no_grad():
        learn.model[0].weight.zero_()
        learn.model[0].bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0]))
    path = learn.export()
    assert "gives 3 more numbers than there are classes" in capsys.readouterr().out
    with pytest.raises(ShapeError, match="class number 4, but there are only 2 classes"):
        load_learner(path, transforms=TENSOR).predict([0.5, 1.0])
