"""After this page you know that a metric over batches equals the same metric over the whole set."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.foundation.errors import ArgumentError, ShapeError, UnknownNameError
from flambeau.nn import metric as metric_page
from flambeau.nn.metric import CollectingMetric, MeanMetric, Metric, snake_case
from flambeau.nn.metrics import (
    Perplexity,
    accuracy,
    accuracy_multi,
    as_metric,
    error_rate,
    exp_rmspe,
    foreground_acc,
    mae,
    mse,
    msle,
    rmse,
    top_k_accuracy,
)
from flambeau.nn.sklearn_metrics import F1Score

SCORES = torch.tensor([[3.0, 2.0, 1.0], [1.0, 3.0, 2.0], [3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
CLASSES = torch.tensor([0, 1, 1, 0])
NUMBERS, TRUTHS = torch.tensor([1.0, 2.0, 3.0, 6.0]), torch.tensor([1.0, 3.0, 3.0, 3.0])


def over_batches(metric: Metric, prediction: Tensor, target: Tensor, sizes: tuple[int, ...] = (3, 1)) -> float:
    metric.reset()
    for part, truth in zip(prediction.split(sizes), target.split(sizes), strict=True):
        metric.update(part, truth)
    return float(metric.compute())


@pytest.mark.parametrize(
    "function, prediction, target, expected",
    [
        (accuracy, SCORES, CLASSES, 0.5),
        (error_rate, SCORES, CLASSES, 0.5),
        (partial(top_k_accuracy, k=2), SCORES, CLASSES, 0.75),
        (accuracy_multi, torch.tensor([[1.0, -1.0], [1.0, 1.0]]), torch.tensor([[1, 0], [1, 0]]), 0.75),
        (mse, NUMBERS, TRUTHS, 2.5),
        (mae, NUMBERS, TRUTHS, 1.0),
        (rmse, NUMBERS, TRUTHS, math.sqrt(2.5)),
        (msle, NUMBERS, TRUTHS, (math.log(3 / 4) ** 2 + math.log(7 / 4) ** 2) / 4),
        (exp_rmspe, NUMBERS.log(), TRUTHS.log(), math.sqrt(((1 / 3) ** 2 + 1) / 4)),
    ],
)
def test_a_function_gives_its_value_at_once_and_over_unequal_batches(
    function: Any, prediction: Tensor, target: Tensor, expected: float
) -> None:
    assert float(function(prediction, target)) == pytest.approx(expected, rel=1e-5)
    metric = as_metric(function)
    assert isinstance(metric, MeanMetric)
    sizes = (3, 1) if len(prediction) == 4 else (1, 1)
    assert over_batches(metric, prediction, target, sizes) == pytest.approx(expected, rel=1e-5)


def test_foreground_accuracy_weighs_batches_by_their_foreground() -> None:
    target = torch.tensor([[0, 0, 0, 1], [1, 1, 1, 0], [0, 0, 0, 0]])  # batch, pixel
    right_in_first_only = torch.zeros(3, 2, 4)
    right_in_first_only[0, 1] = 1.0
    assert foreground_acc(right_in_first_only, target).item() == 0.25
    assert over_batches(as_metric(foreground_acc), right_in_first_only, target, (1, 1, 1)) == 0.25
    everything = partial(foreground_acc, bkg_idx=9)
    assert over_batches(as_metric(everything), right_in_first_only, target, (2, 1)) == pytest.approx(6 / 12)


def test_accuracy_reads_classes_on_another_axis_and_columns_of_targets() -> None:
    scores = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])  # batch, class, pixel
    assert accuracy(scores, torch.tensor([[1, 1]]), axis=1).item() == 0.5
    assert accuracy(SCORES, CLASSES[:, None]).item() == 0.5


def test_many_batches_are_folded_without_losing_any() -> None:
    metric = as_metric(accuracy)
    for i in range(1300):
        metric.update(SCORES[i % 4 :][:1], CLASSES[i % 4 :][:1])
    assert metric.compute() == pytest.approx(0.5)


def test_update_keeps_no_graph_and_reads_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: Tensor) -> float:
        raise AssertionError("a number was read in update")

    metrics = [as_metric(f) for f in (accuracy, mse, "f1_score", "dice_multi", "perplexity", lambda p, t: p.sum())]
    with monkeypatch.context() as patch:
        for reader in ("item", "tolist", "__float__", "__bool__", "cpu"):
            patch.setattr(Tensor, reader, forbidden)
        for metric in metrics:
            target = CLASSES.float()[:, None].expand(4, 3) if metric.name == "mse" else CLASSES
            metric.update(SCORES.clone().requires_grad_(), target)
    assert metrics[0].compute() == 0.5
    assert metrics[-1].compute() == pytest.approx(24.0)


def test_perplexity_is_the_exponential_of_the_mean_loss() -> None:
    scores = torch.tensor([[[0.0, math.log(3.0)], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])  # batch, word, vocabulary
    words = torch.tensor([[1, 0], [-100, -100]])
    value = over_batches(Perplexity(), scores, words, (1, 1))
    assert value == pytest.approx(math.exp((math.log(4 / 3) + math.log(2)) / 2))


def test_a_function_of_ones_own_sees_the_whole_set_once() -> None:
    calls: list[tuple[int, int]] = []

    def spread_of_errors(prediction: Tensor, target: Tensor) -> Tensor:
        calls.append((len(prediction), len(target)))
        return (prediction - target).std()

    metric = as_metric(spread_of_errors)
    assert metric.name == "spread_of_errors"
    assert over_batches(metric, NUMBERS, TRUTHS) == pytest.approx((NUMBERS - TRUTHS).std().item())
    assert calls == [(4, 4)]


def test_several_targets_reach_the_function() -> None:
    metric = as_metric(lambda p, a, b: (p - a - b).abs().mean())
    metric.update(torch.tensor([3.0]), torch.tensor([1.0]), torch.tensor([1.0]))
    assert metric.compute() == 1.0


def test_too_much_to_keep_is_averaged_over_parts_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_page, "MEMORY_BYTES", 24)
    with pytest.warns(UserWarning, match="mean is averaged over parts of the set, because the predictions take more"):
        value = over_batches(CollectingMetric(lambda p, t: p.mean(), "mean"), NUMBERS, TRUTHS)
    assert value == pytest.approx(3.0)


def test_batches_of_different_shapes_are_averaged_over_parts_and_said() -> None:
    metric = CollectingMetric(lambda p, t: p.mean(), "mean")
    metric.update(torch.ones(1, 3), torch.ones(1, 3))
    with pytest.warns(UserWarning, match="the batches have different shapes"):
        metric.update(torch.full((1, 1), 5.0), torch.ones(1, 1))
    assert metric.compute() == pytest.approx((3 * 1 + 5) / 4)


def test_names_come_from_functions_partials_and_classes() -> None:
    assert as_metric(partial(accuracy_multi, thresh=0.2)).name == "accuracy_multi"
    assert as_metric(Perplexity).name == "perplexity"
    assert as_metric(lambda p, t: 0.0).name == "lambda"
    assert [snake_case(n) for n in ("F1Score", "DiceMulti", "APScoreBinary")] == [
        "f1_score",
        "dice_multi",
        "ap_score_binary",
    ]


def test_settings_of_a_partial_count() -> None:
    strict = partial(accuracy_multi, thresh=0.9, sigmoid=False)
    assert over_batches(as_metric(strict), torch.tensor([[0.95], [0.8]]), torch.tensor([[1], [1]]), (1, 1)) == 0.5


@pytest.mark.parametrize("source", ["f1_score", F1Score, F1Score(), partial(F1Score, average="macro")])
def test_a_maker_of_metrics_is_taken_with_or_without_brackets(source: Any) -> None:
    value = over_batches(as_metric(source), SCORES, CLASSES)
    assert value == pytest.approx((0.5 + 2 / 3 + 0) / 3)


class OtherLibrary(nn.Module):
    """Count items, as a torchmetrics metric would."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("n", torch.zeros(()))

    def reset(self) -> None:
        self.n = torch.zeros_like(self.n)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        self.n = self.n + len(prediction)

    def compute(self) -> Tensor:
        return self.n


def test_metrics_of_other_libraries_are_driven() -> None:
    metric = as_metric(OtherLibrary())
    assert metric.name == "other_library"
    assert over_batches(metric, SCORES, CLASSES) == 4


def test_an_empty_set_has_no_value() -> None:
    assert all(math.isnan(float(as_metric(m).compute())) for m in (accuracy, "rmse", "perplexity", "dice", "f1_score"))


def test_an_unknown_name_proposes_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no metric 'acuracy'. Did you mean 'accuracy'"):
        as_metric("acuracy")


def test_what_is_no_metric_is_refused() -> None:
    with pytest.raises(ArgumentError, match="a name such as 'accuracy', or a Metric; got 3"):
        as_metric(3)
    with pytest.raises(ArgumentError, match=r"make one: OtherLibrary\(\)"):
        as_metric(OtherLibrary)


def test_shapes_that_do_not_fit_are_explained() -> None:
    with pytest.raises(ShapeError, match=r"answers of shape \(2, 5, 8\) with targets of shape \(2, 8, 8\).*need axis="):
        accuracy(torch.zeros(2, 5, 8, 8), torch.zeros(2, 8, 8))
    with pytest.raises(ArgumentError, match="k=5 needs more than 3 classes"):
        top_k_accuracy(SCORES, CLASSES)


def test_a_function_that_gives_no_single_number_is_explained() -> None:
    metric = as_metric(lambda p, t: p == t)
    metric.update(NUMBERS, TRUTHS)
    with pytest.raises(ShapeError, match=r"gave a tensor of shape \(4,\).*mean\(\)"):
        metric.compute()


def test_a_numpy_number_is_taken() -> None:
    assert over_batches(as_metric(lambda p, t: np.float32(0.5)), NUMBERS, TRUTHS) == 0.5


def test_a_function_gets_a_models_tuple_as_the_loss_does() -> None:
    def agreement(prediction: tuple[Tensor, dict[str, Tensor]], target: Tensor) -> Tensor:
        first, rest = prediction
        assert len(first) == len(rest["second"]) == len(target) == 4
        return (first + rest["second"] - target).abs().mean()

    metric = as_metric(agreement)
    for part, truth in zip(NUMBERS.split((3, 1)), TRUTHS.split((3, 1)), strict=True):
        metric.update((part, {"second": part * 0}), truth)
    assert metric.compute() == 1.0


@pytest.mark.parametrize("name", ["accuracy", "f1_score", "dice"])
def test_a_metric_of_one_tensor_tells_how_to_name_the_part_of_a_tuple(name: str) -> None:
    metric = as_metric(name)
    words = rf"metric {name} reads one tensor, but the model gives a tuple of 2.*{name}\(prediction\[0\], target\)"
    with pytest.raises(ShapeError, match=words):
        metric.update((SCORES, SCORES), CLASSES)


def test_a_number_for_a_whole_batch_cannot_be_joined() -> None:
    metric = as_metric(lambda prediction, target: 0.0)
    with pytest.raises(ShapeError, match="a single number for the whole batch"):
        metric.update((NUMBERS, torch.tensor(1.0)), TRUTHS)


def test_perplexity_takes_the_loss_of_a_learner_and_weighs_it_by_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "cross_entropy", None)  # not computed a second time
    metric, words = Perplexity(), torch.tensor([[1, 0, -100], [-100, 1, -100]])
    metric.update_with_loss(torch.tensor(1.0), None, words[:1])
    metric.update_with_loss(torch.tensor(4.0), None, words[1:])
    assert metric.compute() == pytest.approx(math.exp((2 * 1.0 + 1 * 4.0) / 3))
    metric.update_with_loss(torch.tensor(9000.0), None, words)
    assert metric.compute() == math.inf


def test_what_was_not_asked_for_does_not_count():
    pred = torch.eye(3)[torch.tensor([[0, 1, 2], [2, 2, 2]])]
    target = torch.tensor([[0, 1, -100], [-100, 0, -100]])
    for metric, right in ((accuracy, 2 / 3), (error_rate, 1 / 3), (partial(top_k_accuracy, k=1), 2 / 3)):
        assert metric(pred, target) == pytest.approx(right)
        assert over_batches(as_metric(metric), pred, target, (1, 1)) == pytest.approx(right)
    assert over_batches(as_metric("f1_score"), pred[..., :2], target, (1, 1)) == pytest.approx(1.0)
    asked = target != -100
    # a masked language model answers for these alone
    assert accuracy(pred[asked], target) == pytest.approx(2 / 3)
    metric = as_metric("f1_score")
    metric.update(pred[asked][:, :2], target)
    assert metric.compute() == pytest.approx(1.0)
