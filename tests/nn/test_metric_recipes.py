"""Metrics in an export: flambeau's own measure the same again, others leave their name."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
import torch

from flambeau.foundation.errors import ExportError
from flambeau.nn.metric import Metric
from flambeau.nn.metric_recipes import describe_metric, rebuild_metrics
from flambeau.nn.metrics import (
    Perplexity,
    accuracy,
    accuracy_multi,
    as_metric,
    error_rate,
    foreground_acc,
    rmse,
    top_k_accuracy,
)
from flambeau.nn.overlap_metrics import Dice, DiceMulti
from flambeau.nn.sklearn_metrics import (
    AccumMetric,
    F1Score,
    FBeta,
    MatthewsCorrCoefMulti,
    PearsonCorrCoef,
    RocAuc,
    skm_to_fastai,
)

CHANCE = torch.Generator().manual_seed(0)
SCORES = torch.randn(40, 3, generator=CHANCE)
CLASSES = torch.randint(3, (40,), generator=CHANCE)
NUMBERS = torch.randn(40, 3, generator=CHANCE)
LABELS = (torch.rand(40, 3, generator=CHANCE) > 0.5).float()


def measured(metric: Metric, target: torch.Tensor) -> float:
    metric.reset()
    metric.update(SCORES[:25], target[:25])
    metric.update(SCORES[25:], target[25:])
    return float(metric.compute())


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (accuracy, CLASSES),
        ("error_rate", CLASSES),
        (partial(error_rate, axis=1), CLASSES),
        (partial(top_k_accuracy, k=2), CLASSES),
        (partial(foreground_acc, bkg_idx=2), CLASSES),
        (partial(accuracy_multi, thresh=0.2), LABELS),
        (rmse, NUMBERS),
        (Perplexity(), CLASSES),
        (DiceMulti(axis=-1), CLASSES),
        (F1Score(average="macro"), CLASSES),
        (FBeta(2.0, average="micro"), CLASSES),
        (RocAuc(), CLASSES),
        (MatthewsCorrCoefMulti(thresh=0.3), LABELS),
        (PearsonCorrCoef(), NUMBERS),
        (skm_to_fastai("f1_score", average="weighted"), CLASSES),
    ],
)
def test_a_metric_measures_the_same_after_a_trip_through_json(source: Any, target: torch.Tensor) -> None:
    metric = as_metric(source)
    (again,), lost = rebuild_metrics(json.loads(json.dumps([describe_metric(metric)])))
    assert lost == []
    assert type(again) is type(metric)
    assert again.name == metric.name
    assert measured(again, target) == measured(metric, target)


def mine(pred: torch.Tensor, targ: torch.Tensor) -> torch.Tensor:
    return (pred - targ).mean()


class HalfDice(Dice):
    """A measure of one's own that looks like Dice."""

    def compute(self) -> float:
        return super().compute() / 2


def test_a_metric_of_ones_own_leaves_its_name() -> None:
    def accuracy(pred: torch.Tensor, targ: torch.Tensor) -> torch.Tensor:  # named as another
        return mine(pred, targ)

    own = [as_metric(mine), as_metric(accuracy), HalfDice(), AccumMetric(mine), F1Score(labels=torch.tensor([0]))]
    recipes = [describe_metric(metric) for metric in own]
    assert recipes == [{"custom": name} for name in ("mine", "accuracy", "half_dice", "mine", "f1_score")]
    assert rebuild_metrics(recipes) == ([], ["mine", "accuracy", "half_dice", "mine", "f1_score"])


def test_names_alone_are_read_as_older_exports_wrote_them() -> None:
    made, lost = rebuild_metrics(["accuracy", "mine"])
    assert [metric.name for metric in made] == ["accuracy"]
    assert lost == ["mine"]


@pytest.mark.parametrize(
    "recipes",
    [
        "accuracy",
        [3],
        [{}],
        [{"name": "system"}],
        [{"name": ["accuracy"]}],
        [{"name": "accuracy", "settings": {"axes": 1}}],
        [{"name": "accuracy", "settings": [1]}],
        [{"name": "perplexity", "settings": {"depth": 1}}],
        [{"score": "make_scorer", "reading": {}, "settings": {}, "name": "x"}],
        [{**describe_metric(F1Score()), "reading": {}}],
        [{**describe_metric(F1Score()), "settings": {"func": "system"}}],
        [{"name": "accuracy"}] * 1000,
    ],
)
def test_recipes_that_are_none_are_refused(recipes: Any) -> None:
    with pytest.raises(ExportError, match=r"^The export"):
        rebuild_metrics(recipes)
