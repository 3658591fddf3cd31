"""After this page you know Dice and Jaccard on pictures small enough to count by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from flambeau.foundation.errors import ShapeError
from flambeau.nn.metric import Metric
from flambeau.nn.overlap_metrics import Dice, DiceMulti, JaccardCoeff, JaccardCoeffMulti, count_pairs


def _scores(classes: Tensor, n: int) -> Tensor:
    return one_hot(classes, n).movedim(-1, 1).float()


SAID = torch.tensor([[[1, 1, 0, 0]], [[1, 0, 0, 0]]])
TRUE = torch.tensor([[[1, 0, 0, 0]], [[1, 1, 1, 0]]])
# class 1: said 3, true 4, both 2; class 0: said 5, true 4, both 3


@pytest.mark.parametrize(
    "metric, expected",
    [
        (Dice(), 2 * 2 / 7),
        (JaccardCoeff(), 2 / 5),
        (DiceMulti(), (2 * 2 / 7 + 2 * 3 / 9) / 2),
        (JaccardCoeffMulti(), (2 / 5 + 3 / 6) / 2),
    ],
)
def test_overlap_is_counted_over_the_whole_set(metric: Metric, expected: float) -> None:
    for said, true in zip(_scores(SAID, 2).split(1), TRUE.split(1), strict=True):
        metric.update(said, true)
    assert metric.compute() == pytest.approx(expected)
    metric.reset()
    assert math.isnan(float(metric.compute()))


def test_classes_that_never_occur_do_not_count() -> None:
    metric = DiceMulti()
    metric.update(_scores(SAID, 5), TRUE)
    assert metric.compute() == pytest.approx((2 * 2 / 7 + 2 * 3 / 9) / 2)


def test_void_pixels_do_not_count() -> None:
    metric = JaccardCoeffMulti()
    metric.update(_scores(torch.tensor([[[0, 1, 1]]]), 2), torch.tensor([[[0, 1, 255]]]))
    assert metric.compute() == 1.0


def test_one_channel_is_read_by_its_sign() -> None:
    metric = Dice()
    metric.update(torch.tensor([[[[2.0, -2.0, 2.0]]]]), torch.tensor([[[1, 0, 0]]]))
    assert metric.compute() == pytest.approx(2 / 3)


def test_pairs_are_counted_with_the_truth_in_rows() -> None:
    table = count_pairs(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 2)
    assert table.tolist() == [[1, 1], [0, 1]]


def test_one_object_measures_refuse_many_classes() -> None:
    metric = Dice()
    metric.update(_scores(SAID, 3), TRUE)
    with pytest.raises(ShapeError, match="there are 3 classes; use DiceMulti"):
        metric.compute()


def test_targets_of_another_size_are_explained() -> None:
    with pytest.raises(ShapeError, match=r"targets of shape \(2, 1, 4\) were expected, got \(2, 1, 3\)"):
        DiceMulti().update(_scores(SAID, 2), TRUE[..., :3])
