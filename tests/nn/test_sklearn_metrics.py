"""After this page you know that the wrappers give what scikit-learn gives on the whole set."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn import metrics as skm
from torch import Tensor

from flambeau.foundation.errors import ArgumentError, ShapeError
from flambeau.nn import sklearn_metrics as wrapped
from flambeau.nn.sklearn_metrics import AccumMetric, skm_to_fastai

_CHANCE = torch.Generator().manual_seed(3)
TWO = torch.randn(40, 2, generator=_CHANCE)
FOUR = torch.randn(40, 4, generator=_CHANCE)
IS_ONE = torch.randint(0, 2, (40,), generator=_CHANCE)
OF_FOUR = torch.randint(0, 4, (40,), generator=_CHANCE)
LABELS = torch.randint(0, 2, (40, 4), generator=_CHANCE)
X = torch.randn(40, 1, generator=_CHANCE)
Y = X[:, 0] + torch.randn(40, generator=_CHANCE)

SAID_TWO, SAID_FOUR = TWO.argmax(1).numpy(), FOUR.argmax(1).numpy()
P_ONE, P_FOUR = TWO.softmax(1)[:, 1].numpy(), FOUR.softmax(1).numpy()
GIVEN, P_LABELS = (FOUR.sigmoid() > 0.5).numpy(), FOUR.sigmoid().numpy()
ONE, OF, LAB = IS_ONE.numpy(), OF_FOUR.numpy(), LABELS.numpy()


def over_batches(metric: AccumMetric, prediction: Tensor, target: Tensor) -> float:
    for part, truth in zip(prediction.split(7), target.split(7), strict=True):
        metric.update(part, truth)
    return metric.compute()


Expected = Callable[[], float]


@pytest.mark.parametrize(
    "metric, expected",
    [
        (wrapped.F1Score(), lambda: skm.f1_score(ONE, SAID_TWO)),
        (wrapped.FBeta(2), lambda: skm.fbeta_score(ONE, SAID_TWO, beta=2)),
        (wrapped.Precision(), lambda: skm.precision_score(ONE, SAID_TWO)),
        (wrapped.Recall(pos_label=0), lambda: skm.recall_score(ONE, SAID_TWO, pos_label=0)),
        (wrapped.Jaccard(), lambda: skm.jaccard_score(ONE, SAID_TWO)),
        (wrapped.BrierScore(), lambda: skm.brier_score_loss(ONE, P_ONE)),
        (wrapped.RocAuc(), lambda: skm.roc_auc_score(ONE, P_ONE)),
        (wrapped.RocAucBinary(), lambda: skm.roc_auc_score(ONE, P_ONE)),
        (wrapped.APScoreBinary(), lambda: skm.average_precision_score(ONE, P_ONE)),
        (wrapped.MatthewsCorrCoef(), lambda: skm.matthews_corrcoef(ONE, SAID_TWO)),
    ],
    ids=lambda value: value.name if isinstance(value, AccumMetric) else "",
)
def test_two_classes_are_measured_as_binary(metric: AccumMetric, expected: Expected) -> None:
    assert over_batches(metric, TWO, IS_ONE) == pytest.approx(expected(), rel=1e-5)


@pytest.mark.parametrize(
    "metric, expected",
    [
        (wrapped.F1Score(), lambda: skm.f1_score(OF, SAID_FOUR, average="macro")),
        (wrapped.F1Score(average="micro"), lambda: skm.f1_score(OF, SAID_FOUR, average="micro")),
        (wrapped.FBeta(0.5), lambda: skm.fbeta_score(OF, SAID_FOUR, beta=0.5, average="macro")),
        (wrapped.Precision(), lambda: skm.precision_score(OF, SAID_FOUR, average="macro")),
        (wrapped.Recall(), lambda: skm.recall_score(OF, SAID_FOUR, average="macro")),
        (wrapped.Jaccard(), lambda: skm.jaccard_score(OF, SAID_FOUR, average="macro")),
        (wrapped.BalancedAccuracy(), lambda: skm.balanced_accuracy_score(OF, SAID_FOUR)),
        (wrapped.CohenKappa(weights="quadratic"), lambda: skm.cohen_kappa_score(OF, SAID_FOUR, weights="quadratic")),
        (wrapped.HammingLoss(), lambda: skm.hamming_loss(OF, SAID_FOUR)),
        (wrapped.RocAuc(), lambda: skm.roc_auc_score(OF, P_FOUR, multi_class="ovr")),
    ],
    ids=lambda value: value.name if isinstance(value, AccumMetric) else "",
)
def test_more_classes_are_averaged_as_macro(metric: AccumMetric, expected: Expected) -> None:
    assert over_batches(metric, FOUR, OF_FOUR) == pytest.approx(expected(), rel=1e-5)


@pytest.mark.parametrize(
    "metric, expected",
    [
        (wrapped.F1ScoreMulti(), lambda: skm.f1_score(LAB, GIVEN, average="macro")),
        (wrapped.FBetaMulti(2), lambda: skm.fbeta_score(LAB, GIVEN, beta=2, average="macro")),
        (wrapped.PrecisionMulti(average="micro"), lambda: skm.precision_score(LAB, GIVEN, average="micro")),
        (wrapped.RecallMulti(), lambda: skm.recall_score(LAB, GIVEN, average="macro")),
        (wrapped.JaccardMulti(), lambda: skm.jaccard_score(LAB, GIVEN, average="macro")),
        (wrapped.HammingLossMulti(), lambda: skm.hamming_loss(LAB, GIVEN)),
        (wrapped.RocAucMulti(), lambda: skm.roc_auc_score(LAB, P_LABELS)),
        (wrapped.APScoreMulti(), lambda: skm.average_precision_score(LAB, P_LABELS)),
        (wrapped.MatthewsCorrCoefMulti(), lambda: skm.matthews_corrcoef(LAB.ravel(), GIVEN.ravel())),
        (wrapped.BrierScoreMulti(), lambda: skm.brier_score_loss(LAB.ravel(), P_LABELS.ravel())),
    ],
    ids=lambda value: value.name if isinstance(value, AccumMetric) else "",
)
def test_labels_are_measured_through_a_sigmoid(metric: AccumMetric, expected: Expected) -> None:
    with np.errstate(all="ignore"):
        assert over_batches(metric, FOUR, LABELS) == pytest.approx(expected(), rel=1e-5)


@pytest.mark.parametrize(
    "metric, expected",
    [
        (wrapped.ExplainedVariance(), lambda: skm.explained_variance_score(Y.numpy(), X[:, 0].numpy())),
        (wrapped.R2Score(), lambda: skm.r2_score(Y.numpy(), X[:, 0].numpy())),
        (wrapped.PearsonCorrCoef(), lambda: np.corrcoef(X[:, 0], Y)[0, 1]),
        (
            wrapped.SpearmanCorrCoef(),
            lambda: np.corrcoef(X[:, 0].argsort().argsort(), Y.argsort().argsort())[0, 1],
        ),
    ],
    ids=lambda value: value.name if isinstance(value, AccumMetric) else "",
)
def test_numbers_are_measured_as_they_are(metric: AccumMetric, expected: Expected) -> None:
    assert over_batches(metric, X, Y) == pytest.approx(expected(), rel=1e-5)


def test_names_are_those_of_scikit_learn() -> None:
    assert [m.name for m in (wrapped.Precision(), wrapped.RocAuc(), wrapped.PearsonCorrCoef())] == [
        "precision_score",
        "roc_auc_score",
        "pearsonr",
    ]


def test_any_scikit_learn_function_becomes_a_metric() -> None:
    metric = skm_to_fastai(skm.zero_one_loss, normalize=False)
    assert over_batches(metric, TWO, IS_ONE) == (SAID_TWO != ONE).sum()
    thresholded = skm_to_fastai(skm.accuracy_score, thresh=0.5, activation="no")
    assert over_batches(thresholded, torch.tensor([0.6, 0.4]), torch.tensor([1, 1])) == 0.5


def test_a_class_without_items_makes_the_roc_curve_undefined() -> None:
    metric = wrapped.RocAuc()
    metric.update(FOUR, OF_FOUR.clamp(max=2))
    with pytest.warns(UserWarning, match="1 of 4 classes have no item"):
        assert math.isnan(metric.compute())


def test_half_precision_predictions_are_read() -> None:
    assert over_batches(wrapped.RocAucBinary(), TWO.bfloat16(), IS_ONE) == pytest.approx(
        skm.roc_auc_score(ONE, P_ONE), abs=0.01
    )


def test_labels_in_place_of_one_class_are_explained() -> None:
    with pytest.raises(ShapeError, match=r"40 predictions for 160 targets.*Multi metric"):
        wrapped.F1Score().update(FOUR, LABELS)


def test_an_odd_axis_for_the_roc_curve_is_refused() -> None:
    with pytest.raises(ArgumentError, match="axis must be 1 or -1, got 2"):
        wrapped.RocAuc(axis=2)
