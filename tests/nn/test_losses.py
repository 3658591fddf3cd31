"""After this page you know that each loss equals its formula, reads its predictions, and explains what does not fit."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.foundation.errors import ArgumentError, ShapeError
from flambeau.nn.losses import (
    BCELossFlat,
    BCEWithLogitsLossFlat,
    CrossEntropyLossFlat,
    DiceLoss,
    FocalLoss,
    FocalLossFlat,
    L1LossFlat,
    LabelSmoothingCrossEntropy,
    LabelSmoothingCrossEntropyFlat,
    Loss,
    MSELossFlat,
    activation_of,
    can_unreduce,
    decode_of,
    unreduced,
)

# probabilities of the true class: 3/4 and 1/4
LOGITS = torch.tensor([[0.0, math.log(3.0)], [math.log(3.0), 0.0]])
BOTH_ONE = torch.tensor([1, 1])


def test_cross_entropy_is_minus_the_log_of_the_true_probability() -> None:
    assert CrossEntropyLossFlat()(LOGITS, BOTH_ONE).item() == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)
    assert CrossEntropyLossFlat(reduction="sum")(LOGITS, BOTH_ONE).item() == pytest.approx(math.log(16 / 3))


def test_cross_entropy_weighs_classes_and_leaves_out_ignored_targets() -> None:
    weighted = CrossEntropyLossFlat(weight=[1.0, 3.0])(LOGITS, torch.tensor([0, 1]))
    assert weighted.item() == pytest.approx((math.log(4) + 3 * math.log(4)) / 4)
    ignoring = CrossEntropyLossFlat(ignore_index=9)(LOGITS, torch.tensor([9, 1]))
    assert ignoring.item() == pytest.approx(math.log(4))


def test_cross_entropy_reads_classes_on_any_axis() -> None:
    scores = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    target = torch.randint(0, 5, (2, 3, 4), generator=torch.Generator().manual_seed(1))
    expected = F.cross_entropy(scores, target)
    torch.testing.assert_close(CrossEntropyLossFlat(axis=1)(scores, target), expected)
    torch.testing.assert_close(CrossEntropyLossFlat(axis=-3)(scores, target), expected)
    torch.testing.assert_close(CrossEntropyLossFlat()(scores.movedim(1, -1), target), expected)
    assert CrossEntropyLossFlat(axis=1, reduction="none")(scores, target).shape == (2, 3, 4)
    assert CrossEntropyLossFlat(reduction="none")(scores.movedim(1, -1), target).shape == (2, 3, 4)


def test_cross_entropy_takes_columns_small_integers_and_distributions() -> None:
    expected = CrossEntropyLossFlat()(LOGITS, BOTH_ONE)
    torch.testing.assert_close(CrossEntropyLossFlat()(LOGITS, BOTH_ONE[:, None].to(torch.uint8)), expected)
    torch.testing.assert_close(CrossEntropyLossFlat()(LOGITS, F.one_hot(BOTH_ONE, 2).float()), expected)


@pytest.mark.parametrize("loss", [LabelSmoothingCrossEntropy(), LabelSmoothingCrossEntropyFlat()])
def test_label_smoothing_spreads_a_tenth_over_all_classes(loss: Loss) -> None:
    losses = -LOGITS.log_softmax(1)
    expected = 0.9 * losses[:, 1].mean() + 0.1 * losses.mean()
    torch.testing.assert_close(loss(LOGITS, BOTH_ONE), expected)


@pytest.mark.parametrize("loss", [FocalLoss(), FocalLossFlat()])
def test_focal_loss_counts_easy_items_less(loss: Loss) -> None:
    expected = ((1 / 4) ** 2 * math.log(4 / 3) + (3 / 4) ** 2 * math.log(4)) / 2
    assert loss(LOGITS, BOTH_ONE).item() == pytest.approx(expected)


def test_focal_weight_stands_outside_the_probability() -> None:
    loss = FocalLossFlat(weight=[1.0, 2.0], reduction="none")(LOGITS, BOTH_ONE)
    assert loss.tolist() == pytest.approx([2 * (1 / 4) ** 2 * math.log(4 / 3), 2 * (3 / 4) ** 2 * math.log(4)])


def test_binary_cross_entropy_sums_both_sides() -> None:
    scores, target = torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([[1, 0]])
    assert BCEWithLogitsLossFlat()(scores, target).item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    weighted = BCEWithLogitsLossFlat(pos_weight=[5.0, 7.0])(scores, target)
    assert weighted.item() == pytest.approx((5 * math.log(2) + math.log(4)) / 2)
    assert BCELossFlat()(scores.sigmoid(), target).item() == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_squared_and_absolute_errors_flatten_points() -> None:
    prediction, target = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[[1, 1], [3, 1]]])
    assert MSELossFlat()(prediction, target).item() == pytest.approx((1 + 9) / 4)
    assert L1LossFlat()(prediction, target).item() == pytest.approx((1 + 3) / 4)
    assert MSELossFlat()(torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 4.0])).item() == pytest.approx(2.0)


def test_dice_loss_is_one_minus_the_overlap_per_class() -> None:
    scores = torch.tensor([[[[0.0, math.log(3.0)]], [[math.log(3.0), 0.0]]]])  # class 1 with 3/4, then 1/4
    target = torch.tensor([[[1, 1]]])
    class_0 = 1 - 1e-6 / (1 + 1e-6)
    class_1 = 1 - 2 * 1.0 / (1.0 + 2.0)
    assert DiceLoss()(scores, target).item() == pytest.approx(class_0 + class_1, abs=1e-5)
    assert DiceLoss(reduction="mean")(scores, target).item() == pytest.approx((class_0 + class_1) / 2, abs=1e-5)
    squared = DiceLoss(reduction="none", square_in_union=True)(scores, target)
    assert squared[0, 1].item() == pytest.approx(1 - 2 * 1.0 / (10 / 16 + 2.0), abs=1e-5)


@pytest.mark.parametrize("loss", [CrossEntropyLossFlat(), FocalLossFlat(), LabelSmoothingCrossEntropy()])
def test_class_losses_read_predictions_by_softmax_and_argmax(loss: Loss) -> None:
    torch.testing.assert_close(loss.activation(LOGITS), torch.tensor([[0.25, 0.75], [0.75, 0.25]]))
    assert loss.decodes(loss.activation(LOGITS)).tolist() == [1, 0]
    assert loss.target_kind == "classes"


def test_binary_losses_read_predictions_by_sigmoid_and_threshold() -> None:
    loss = BCEWithLogitsLossFlat(thresh=0.6)
    scores = torch.tensor([[0.0, math.log(3.0)]])
    torch.testing.assert_close(loss.activation(scores), torch.tensor([[0.5, 0.75]]))
    assert loss.decodes(loss.activation(scores)).tolist() == [[False, True]]
    assert MSELossFlat().decodes(scores) is scores


def test_weights_move_with_the_loss() -> None:
    loss = nn.ModuleList([CrossEntropyLossFlat(weight=[1.0, 2.0]), BCEWithLogitsLossFlat(pos_weight=[1.0])])
    assert [buffer.device.type for buffer in loss.to("meta").buffers()] == ["meta", "meta"]


def test_weights_take_the_dtype_of_the_prediction() -> None:
    loss = CrossEntropyLossFlat(weight=[1.0, 3.0])
    assert loss(LOGITS.bfloat16(), BOTH_ONE).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "loss_func",
    [CrossEntropyLossFlat(), F.cross_entropy, nn.CrossEntropyLoss(), partial(F.cross_entropy, label_smoothing=0.0)],
)
def test_unreduced_gives_one_loss_per_item(loss_func: object) -> None:
    with unreduced(loss_func) as per_item:  # type: ignore[arg-type]
        assert per_item(LOGITS, BOTH_ONE).tolist() == pytest.approx([math.log(4 / 3), math.log(4)])
    assert loss_func(LOGITS, BOTH_ONE).ndim == 0  # type: ignore[operator]


def test_unreduced_averages_the_elements_of_an_item() -> None:
    with unreduced(MSELossFlat()) as per_item:
        assert per_item(torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.zeros(2, 2)).tolist() == [2.5, 0.0]


def test_unreduced_gives_the_reduction_back_after_an_error() -> None:
    loss = MSELossFlat(reduction="sum")
    with pytest.raises(ZeroDivisionError), unreduced(loss):
        _ = 1 / 0
    assert loss.reduction == "sum"


def test_a_loss_that_cannot_be_split_by_item_is_refused() -> None:
    def own_loss(prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction - target).abs().mean()

    assert not can_unreduce(own_loss)
    with (
        pytest.raises(ArgumentError, match="own_loss gives one number per batch and takes no 'reduction'"),
        unreduced(own_loss),
    ):
        pass


@pytest.mark.parametrize(
    "loss_func", [F.cross_entropy, nn.CrossEntropyLoss(), partial(F.cross_entropy, reduction="sum")]
)
def test_torchs_cross_entropy_is_read_by_softmax_on_axis_one(loss_func: object) -> None:
    scores = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(activation_of(loss_func)(scores), scores.softmax(1))  # type: ignore[arg-type]
    torch.testing.assert_close(decode_of(loss_func)(scores), scores.argmax(1))  # type: ignore[arg-type]


def test_other_losses_are_read_by_what_is_known_of_them() -> None:
    scores = torch.tensor([-1.0, 2.0])
    torch.testing.assert_close(activation_of(nn.BCEWithLogitsLoss())(scores), scores.sigmoid())
    assert decode_of(F.binary_cross_entropy_with_logits)(scores.sigmoid()).tolist() == [False, True]
    assert activation_of(F.mse_loss)(scores) is scores
    assert decode_of(nn.MSELoss())(scores) is scores
    assert decode_of(CrossEntropyLossFlat())(LOGITS).tolist() == [1, 0]


def test_a_class_beyond_the_outputs_is_named() -> None:
    with pytest.raises(ShapeError, match=r"met class 7, but the model has 2 outputs.*n_out=8"):
        CrossEntropyLossFlat()(LOGITS, torch.tensor([0, 7]))
    with pytest.raises(ShapeError, match="met class 7, but the model has 2 outputs"):
        FocalLossFlat()(LOGITS, torch.tensor([0, 7]))


def test_a_void_label_proposes_ignore_index() -> None:
    with pytest.raises(ShapeError, match="pass ignore_index=255"):
        CrossEntropyLossFlat(axis=1)(torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 255))


def test_one_output_cannot_be_trained_by_cross_entropy() -> None:
    with pytest.raises(ShapeError, match="one output can only ever be class 0"):
        CrossEntropyLossFlat()(torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64))


def test_numbers_as_classes_are_explained() -> None:
    with pytest.raises(ShapeError, match=r"integers.*torch.float32.*MSELossFlat"):
        CrossEntropyLossFlat()(LOGITS, torch.tensor([0.5, 1.5]))


def test_masks_on_the_wrong_axis_are_explained() -> None:
    with pytest.raises(ShapeError, match=r"CrossEntropyLossFlat\(axis=1\)"):
        CrossEntropyLossFlat()(torch.zeros(2, 5, 8, 8), torch.zeros(2, 8, 8, dtype=torch.int64))


def test_one_hot_integers_are_explained() -> None:
    with pytest.raises(ShapeError, match="look one-hot"):
        CrossEntropyLossFlat()(LOGITS, F.one_hot(BOTH_ONE, 2))


def test_a_wrong_number_of_class_weights_is_named() -> None:
    with pytest.raises(ShapeError, match="3 class weights for 2 classes"):
        CrossEntropyLossFlat(weight=[1.0, 2.0, 3.0])(LOGITS, BOTH_ONE)


def test_regression_with_too_few_outputs_names_both_shapes() -> None:
    with pytest.raises(ShapeError, match=r"\(4, 2\) and targets of shape \(4, 3\). Give the model n_out=3"):
        MSELossFlat()(torch.zeros(4, 2), torch.zeros(4, 3))


def test_class_numbers_for_several_labels_are_explained() -> None:
    with pytest.raises(ShapeError, match="look like class numbers: use CrossEntropyLossFlat"):
        BCEWithLogitsLossFlat()(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))


def test_differing_numbers_of_items_are_not_reshaped_away() -> None:
    with pytest.raises(ShapeError, match="numbers of items differ"):
        MSELossFlat()(torch.zeros(2, 3), torch.zeros(3, 2))


def test_raw_predictions_for_plain_bce_are_explained() -> None:
    with pytest.raises(ShapeError, match=r"between 0 and 1, got -1 to 2.*BCEWithLogitsLossFlat"):
        BCELossFlat()(torch.tensor([[-1.0], [2.0]]), torch.ones(2, 1))


def test_dice_loss_wants_pictures() -> None:
    with pytest.raises(ShapeError, match=r"\(batch, classes, height, width\)"):
        DiceLoss()(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64))


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(ArgumentError, match="'mean', 'sum' or 'none', got 'average'"):
        MSELossFlat(reduction="average")  # type: ignore[arg-type]
