"""What a learner assumes: the loss of each kind of target, and how its answers are read."""

from __future__ import annotations

import pytest
import torch

from flambeau.data.kinds import Category, Kind, Mask, MultiCategory, Number, Points, Text
from flambeau.foundation.errors import ArgumentError
from flambeau.nn.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat, MSELossFlat
from flambeau.train.defaults import decoding_for, loss_for


@pytest.mark.parametrize(
    ("kind", "loss"),
    [
        (Category(("a", "b")), CrossEntropyLossFlat),
        (Mask(("a", "b")), CrossEntropyLossFlat),
        (MultiCategory(("a", "b")), BCEWithLogitsLossFlat),
        (Number(), MSELossFlat),
        (Points(), MSELossFlat),
    ],
)
def test_each_kind_of_target_has_its_loss(kind: Kind, loss: type) -> None:
    assert type(loss_for([kind])) is loss


def test_the_classes_of_a_mask_lie_on_axis_1() -> None:
    assert loss_for([Mask(("a", "b"))]).axis == 1


def test_a_loss_that_cannot_be_guessed_is_asked_for() -> None:
    with pytest.raises(ArgumentError, match="kind Text"):
        loss_for([Text()])
    with pytest.raises(ArgumentError, match="2 target columns"):
        loss_for([Number(), Number()])


def test_the_loss_says_how_answers_are_read() -> None:
    decode = decoding_for(BCEWithLogitsLossFlat(thresh=0.3), [MultiCategory(("a", "b"))])
    assert decode(torch.tensor([[0.2, 0.4]])).tolist() == [[False, True]]


def test_the_kind_says_it_where_the_loss_does_not() -> None:
    def own(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return pred.mean()

    scores = torch.tensor([[0.2, 0.4], [3.0, -1.0]])
    assert decoding_for(own, [Category(("a", "b"))])(scores).tolist() == [1, 0]
    assert decoding_for(own, [Number(2)])(scores) is scores
    pixels = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])  # (item, class, 1, 2)
    assert decoding_for(own, [Mask(("a", "b"))])(pixels).tolist() == [[[0, 1]]]
