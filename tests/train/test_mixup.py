"""Mixed items: what becomes of pictures, targets and losses, with which luck, and what cannot be mixed."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from fashion import fashion_learner
from resumed_fits import round_trip, whole_and_resumed
from torch import Tensor, nn
from torch.nn import functional as F

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.errors import ArgumentError
from flambeau.nn.losses import (
    BCEWithLogitsLossFlat,
    CrossEntropyLossFlat,
    FocalLossFlat,
    LabelSmoothingCrossEntropy,
    MSELossFlat,
)
from flambeau.train.callback import Callback
from flambeau.train.callbacks.mixup import CutMix, MixUp, box, mixed_loss
from flambeau.train.learner import Learner

GENERATOR = torch.Generator().manual_seed(0)
PICTURES = torch.rand(24, 2, 4, 6, generator=GENERATOR)
CLASSES = torch.arange(24) % 3
WEIGHTS = [1.0, 2.0, 5.0]


class Look(Callback):
    """Keep what the model and the loss get, batch by batch."""

    order = 30

    def before_fit(self) -> None:
        self.seen: dict[bool, list[Any]] = {True: [], False: []}

    def after_loss(self) -> None:
        learn = self.learn
        self.seen[self.training].append((learn.xb[0], learn.yb[0], learn.pred.detach(), float(learn.loss.detach())))


def mixing_learner(x: Any = PICTURES, y: Any = CLASSES, loss_func: Any = None, bs: int = 8, **options: Any) -> Learner:
    torch.manual_seed(0)
    n_out = 3 if not y.is_floating_point() or y.ndim > 1 else 1
    model = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), n_out))
    dls = DataLoaders.from_dsets(
        torch.utils.data.TensorDataset(x, y), torch.utils.data.TensorDataset(x[:8], y[:8]), bs=bs, device="cpu", seed=4
    )
    return Learner(dls, model, loss_func=loss_func or CrossEntropyLossFlat(), **options)


def looked_at(cb: Callback, n_epoch: int = 1, **options: Any) -> Look:
    learn, look = mixing_learner(**options), Look()
    with learn.no_logging():
        learn.fit(n_epoch, 0.01, cbs=[cb, look])
    return look


def test_each_picture_is_blended_with_another_and_keeps_at_least_half() -> None:
    plain, mixed = looked_at(Callback()).seen[True][0][0], looked_at(MixUp(seed=1)).seen[True][0][0]
    chance = np.random.default_rng((1, 1, 0))  # seed, the loader's epoch (counted when it begins), batch
    order = torch.from_numpy(chance.permutation(8))
    draws = chance.beta(0.4, 0.4, 8)
    share = torch.tensor(np.maximum(draws, 1 - draws), dtype=torch.float32).reshape(8, 1, 1, 1)
    assert torch.allclose(mixed, share * plain + (1 - share) * plain[order], atol=1e-6)
    assert share.min() >= 0.5
    assert not torch.equal(mixed, plain)


def test_two_that_mix_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"MixUp and CutMix would mix each batch twice.* Choose one"):
        mixing_learner(cbs=MixUp()).fit(1, 0.01, cbs=CutMix())


def test_a_box_of_another_picture_is_pasted_and_the_rest_stays() -> None:
    cb = CutMix(seed=5)
    plain, cut = looked_at(Callback()).seen[True][0][0], looked_at(cb).seen[True][0][0]
    changed = (plain != cut).any(0).any(0)
    rows, columns = changed.any(1).nonzero().flatten(), changed.any(0).nonzero().flatten()
    assert changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    chance = np.random.default_rng((5, 1, 0))
    chance.permutation(8)
    top, bottom, left, right = box(4, 6, chance.beta(1.0, 1.0), chance)
    assert [top, bottom - 1, left, right - 1] == [rows[0], rows[-1], columns[0], columns[-1]]


def test_a_box_has_the_area_that_is_not_kept() -> None:
    class Middle:
        def integers(self, n: int) -> int:
            return n // 2

    assert box(8, 8, 0.75, Middle()) == (2, 6, 2, 6)  # type: ignore[arg-type]
    assert box(8, 8, 0.0, Middle()) == (0, 8, 0, 8)  # type: ignore[arg-type]
    assert box(8, 8, 1.0, Middle()) == (4, 4, 4, 4)  # type: ignore[arg-type]


def soft_cross_entropy(pred: Tensor, y: Tensor, other: Tensor, share: Tensor, smoothing: float = 0.0) -> Tensor:
    """Minus the soft target times the log probabilities: one loss an item, by the definition."""
    target = share[:, None] * F.one_hot(y, 3) + (1 - share[:, None]) * F.one_hot(other, 3)
    target = (1 - smoothing) * target + smoothing / 3
    return -(target * pred.log_softmax(1)).sum(1)


PRED = torch.randn(8, 3, generator=GENERATOR)
OTHERS = CLASSES[:8].roll(3)
SHARE = torch.rand(8, generator=GENERATOR)


@pytest.mark.parametrize("loss_func", [CrossEntropyLossFlat(), nn.CrossEntropyLoss(), F.cross_entropy])
def test_the_loss_is_the_cross_entropy_of_the_soft_target(loss_func: Any) -> None:
    y = CLASSES[:8]
    found = mixed_loss(loss_func, loss_func(PRED, y), PRED, (y,), (OTHERS,), SHARE)
    assert torch.allclose(found, soft_cross_entropy(PRED, y, OTHERS, SHARE).mean(), atol=1e-6)
    soft = torch.lerp(F.one_hot(OTHERS, 3).float(), F.one_hot(y, 3).float(), SHARE[:, None])
    assert torch.allclose(found, F.cross_entropy(PRED, soft), atol=1e-6)


def test_label_smoothing_smooths_the_soft_target() -> None:
    loss_func, y = LabelSmoothingCrossEntropy(0.1), CLASSES[:8]
    found = mixed_loss(loss_func, loss_func(PRED, y), PRED, (y,), (OTHERS,), SHARE)
    assert torch.allclose(found, soft_cross_entropy(PRED, y, OTHERS, SHARE, 0.1).mean(), atol=1e-6)


@pytest.mark.parametrize("make", [CrossEntropyLossFlat, nn.CrossEntropyLoss])
def test_class_weights_weigh_both_targets_and_divide_by_their_sum(make: Any) -> None:
    y, weight = CLASSES[:8], torch.tensor(WEIGHTS)
    loss_func = make(weight=weight)
    logs = PRED.log_softmax(1)
    own, other = -logs[torch.arange(8), y] * weight[y], -logs[torch.arange(8), OTHERS] * weight[OTHERS]
    expected = (SHARE * own + (1 - SHARE) * other).sum() / weight[y].sum()
    found = mixed_loss(loss_func, loss_func(PRED, y), PRED, (y,), (OTHERS,), SHARE)
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    "loss_func",
    [
        CrossEntropyLossFlat(weight=WEIGHTS, label_smoothing=0.1),
        CrossEntropyLossFlat(ignore_index=1),
        CrossEntropyLossFlat(reduction="sum"),
        FocalLossFlat(weight=WEIGHTS),
        partial(F.cross_entropy, weight=torch.tensor(WEIGHTS)),
    ],
)
def test_a_whole_share_is_the_plain_loss_and_its_gradient(loss_func: Any) -> None:
    y, pred = CLASSES[:8], PRED.clone().requires_grad_()
    plain = loss_func(pred, y)
    mixed = mixed_loss(loss_func, loss_func(pred, y), pred, (y,), (OTHERS,), torch.ones(8))
    assert torch.allclose(mixed, plain, atol=1e-6)
    gradients = [torch.autograd.grad(loss, pred)[0] for loss in (plain, mixed)]
    assert torch.allclose(*gradients, atol=1e-6)


def test_a_loss_of_zero_stays_finite() -> None:
    pred, y = torch.tensor([[200.0, -200.0]] * 2), torch.tensor([0, 0])
    assert mixed_loss(F.cross_entropy, F.cross_entropy(pred, y), pred, (y,), (y,), torch.ones(2)) == 0


@pytest.mark.parametrize("cb", [MixUp(seed=2), CutMix(seed=2)])
def test_the_recorded_training_loss_is_the_mixed_one_and_validation_is_untouched(cb: Callback) -> None:
    look, plain = looked_at(cb), looked_at(Callback())
    assert look.seen[True][0][3] != plain.seen[True][0][3]
    assert torch.equal(look.seen[True][0][1], plain.seen[True][0][1])
    assert torch.equal(look.seen[False][0][0], plain.seen[False][0][0])
    _, y, pred, loss = look.seen[False][0]
    assert loss == pytest.approx(float(F.cross_entropy(pred, y)), abs=1e-6)


@pytest.mark.parametrize("loss_func", [BCEWithLogitsLossFlat(), MSELossFlat()])
def test_targets_of_real_numbers_are_mixed_themselves(loss_func: Any) -> None:
    targets = F.one_hot(CLASSES, 3).float()
    plain = looked_at(Callback(), y=targets, loss_func=loss_func).seen[True][0][1]
    _, y, pred, loss = looked_at(MixUp(seed=1), y=targets, loss_func=loss_func).seen[True][0]
    chance = np.random.default_rng((1, 1, 0))
    order = torch.from_numpy(chance.permutation(8))
    draws = chance.beta(0.4, 0.4, 8)
    share = torch.tensor(np.maximum(draws, 1 - draws), dtype=torch.float32)[:, None]
    assert torch.allclose(y, share * plain + (1 - share) * plain[order], atol=1e-6)
    assert loss == pytest.approx(float(loss_func(pred, y)), abs=1e-6)


def test_masks_of_classes_mix_their_losses_pixel_by_pixel() -> None:
    pred, y = torch.randn(4, 3, 2, 2, generator=GENERATOR), torch.arange(16).reshape(4, 2, 2) % 3
    loss_func, share = CrossEntropyLossFlat(axis=1), torch.tensor([0.5, 0.6, 0.7, 0.8])
    found = mixed_loss(loss_func, loss_func(pred, y), pred, (y,), (y.flip(0),), share)
    expected = torch.stack([s * loss_func(p[None], a[None]) + (1 - s) * loss_func(p[None], b[None])
                            for s, p, a, b in zip(share, pred, y, y.flip(0), strict=True)])  # fmt: skip
    assert torch.allclose(found, expected.mean(), atol=1e-6)


def test_the_luck_follows_from_the_seed_the_epoch_and_the_batch() -> None:
    first, again, other = (looked_at(MixUp(seed=seed), 2) for seed in (3, 3, 4))
    pictures = [torch.stack([x for x, *_ in look.seen[True]]) for look in (first, again, other)]
    assert torch.equal(pictures[0], pictures[1])
    assert not torch.equal(pictures[0], pictures[2])


@pytest.mark.parametrize("cls", [MixUp, CutMix])
def test_a_resumed_training_mixes_the_same_bit_for_bit(cls: type[MixUp | CutMix]) -> None:
    seeds = iter([7, 7, 99])  # the third learner has another seed until it is given the state of the second
    whole, resumed = whole_and_resumed(lambda: (mixing_learner(), [cls(seed=next(seeds))]))
    assert torch.equal(whole.model[1].weight, resumed.model[1].weight)


def test_the_state_goes_round() -> None:
    cb = MixUp()
    cb.load_state_dict(round_trip(CutMix(seed=12).state_dict()))
    assert cb.seed == 12


@pytest.mark.parametrize("mixer", [CutMix, MixUp])
def test_the_loaders_own_batch_is_not_painted_over(mixer: Any) -> None:
    batches = [(PICTURES[:8].clone(), CLASSES[:8])]
    learn = Learner(DataLoaders(batches, device="cpu"), nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), F.cross_entropy)
    with learn.no_logging():
        learn.fit(2, 0.01, cbs=mixer())
    assert torch.equal(batches[0][0], PICTURES[:8])


def test_a_lone_item_is_left_as_it_is() -> None:
    look = looked_at(MixUp(), bs=1)
    assert look.seen[True][0][3] == pytest.approx(float(F.cross_entropy(look.seen[True][0][2], look.seen[True][0][1])))


def first_words(cb: Callback, **options: Any) -> str:
    with pytest.raises(ArgumentError) as caught:
        looked_at(cb, **options)
    return str(caught.value)


def test_what_cannot_be_mixed_is_told() -> None:
    assert "input 0 holds torch.int64" in first_words(MixUp(), x=torch.ones(24, 4, dtype=torch.int64))
    assert "got (8, 4)" in first_words(CutMix(), x=torch.rand(24, 4))
    assert "CutMix gives each picture one share" in first_words(CutMix(), y=torch.zeros(24, 4, 6, dtype=torch.int64))
    assert "own_loss gives one number a batch" in first_words(MixUp(), loss_func=own_loss)
    with pytest.raises(ArgumentError, match="above 0, got 0"):
        MixUp(0)


def own_loss(prediction: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(prediction, target)


def test_dictionaries_and_missing_targets_are_told() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    for batch, words in ((({"x": PICTURES}, CLASSES), "input 0 is a dict"), ((PICTURES,), "the batch has none")):
        learn = Learner(DataLoaders([batch], device="cpu", n_inp=1), model, F.cross_entropy)
        with learn.no_logging(), pytest.raises(ArgumentError, match=words):
            learn.fit(1, 0.01, cbs=MixUp())


@pytest.mark.parametrize("cls", [MixUp, CutMix])
def test_real_pictures_are_learned_mixed(cls: type[MixUp | CutMix]) -> None:
    learn = fashion_learner(lr=1e-2)
    with learn.no_logging():
        learn.fit(2, cbs=cls(seed=0))
    assert learn.validate()[1] > 0.6
