"""Accumulated small batches take the steps of large ones; clipped gradients keep their direction."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from fashion import fashion_learner
from resumed_fits import round_trip
from torch import nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.errors import ArgumentError
from flambeau.nn.losses import MSELossFlat
from flambeau.nn.optimizers import SGD, Adam
from flambeau.train.callback import Callback, CancelFitException
from flambeau.train.callbacks.gradients import GradientAccumulation, GradientClip
from flambeau.train.callbacks.precision import MixedPrecision
from flambeau.train.learner import Learner

X = torch.randn(22, 3, generator=torch.Generator().manual_seed(1))
Y = X @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.3


def batches(size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(X.split(size), Y.split(size), strict=True))


def learner_of(size: int, cbs: list[Callback], opt_func: object = Adam) -> Learner:
    torch.manual_seed(0)
    dls = DataLoaders(batches(size), batches(size), device="cpu")
    return Learner(dls, nn.Linear(3, 1), loss_func=MSELossFlat(), opt_func=opt_func, lr=0.05, cbs=cbs)  # type: ignore[arg-type]


def weights_after(size: int, *cbs: Callback, n_epoch: int = 2) -> torch.Tensor:
    learn = learner_of(size, list(cbs))
    with learn.no_logging():
        learn.fit(n_epoch)
    return torch.cat([parameter.detach().flatten() for parameter in learn.model.parameters()])


@pytest.mark.parametrize("cb", [GradientAccumulation(8), GradientAccumulation(accumulate=4), GradientAccumulation(7)])
def test_small_batches_take_the_steps_of_a_large_one_the_last_partial_window_too(cb: Callback) -> None:
    # 22 items: windows of 8, 8 and 6
    assert torch.allclose(weights_after(2, cb), weights_after(8), atol=1e-5, rtol=0)


def test_batches_of_unequal_size_weigh_as_much_as_they_have_items() -> None:
    # batches of 4, 4, 4, 4, 4, 2: the last window is 4 + 2 items
    assert torch.allclose(weights_after(4, GradientAccumulation(8)), weights_after(8), atol=1e-5, rtol=0)


def test_a_batch_that_is_large_enough_steps_unchanged() -> None:
    assert torch.allclose(weights_after(11, GradientAccumulation(8)), weights_after(11), atol=1e-6, rtol=0)


def test_the_schedule_goes_on_while_gradients_accumulate() -> None:
    learn = learner_of(2, [GradientAccumulation(8)])
    with learn.no_logging():
        learn.fit_one_cycle(1, 0.1)
    assert len(learn.recorder.lrs) == 11
    assert learn.recorder.lrs[-1] < learn.recorder.lrs[5]
    assert learn.pct_train == pytest.approx(1)


def test_gradients_from_before_the_epoch_are_not_counted() -> None:
    learn = learner_of(2, [GradientAccumulation(1000)])
    learn.model(X).sum().backward()
    with learn.no_logging():
        learn.fit(1)
    weights = torch.cat([parameter.detach().flatten() for parameter in learn.model.parameters()])
    assert torch.allclose(weights, weights_after(22, n_epoch=1), atol=1e-5)


def test_a_scaled_loss_is_accumulated_and_clipped_at_its_true_size() -> None:
    for cbs in ([GradientAccumulation(8)], [GradientAccumulation(8), GradientClip(0.1)]):
        learn = learner_of(2, [*cbs, MixedPrecision()], SGD)
        # as on a GPU, but in full precision, so that the numbers can be compared
        learn.autocast, learn.scaler = nullcontext, torch.amp.GradScaler("cpu")
        with learn.no_logging():
            learn.fit(2)
        weights = torch.cat([parameter.detach().flatten() for parameter in learn.model.parameters()])
        plain = learner_of(8, cbs[1:], SGD)
        with plain.no_logging():
            plain.fit(2)
        assert torch.allclose(weights, torch.cat([p.detach().flatten() for p in plain.model.parameters()]), atol=1e-5)


def test_the_state_goes_round_in_the_middle_of_a_window() -> None:
    class Stops(Callback):
        order = 90

        def after_batch(self) -> None:
            if self.learn.train_iter == 3:  # batches of 2, windows of 8: 6 items are waiting
                self.state = round_trip(accumulation.state_dict())
                raise CancelFitException

    accumulation, stops, after = GradientAccumulation(8), Stops(), GradientAccumulation(8)
    learn = learner_of(2, [accumulation, stops])
    with learn.no_logging():
        learn.fit(1)
    after.load_state_dict(stops.state)
    assert (after.n_items, after.n_batches) == (6, 3)


@pytest.mark.parametrize("cb", [GradientAccumulation(128), GradientAccumulation(accumulate=4)])
def test_real_pictures_in_small_batches_give_the_weights_of_large_ones(cb: Callback) -> None:
    # 500 pictures: windows of 128, 128, 128 and 116; no norm layer, which would see the small batches
    def weights(bs: int, cbs: list[Callback]) -> torch.Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 12 * 12, 10))
        learn = fashion_learner(50, bs, model, cbs=cbs, opt_func=SGD, lr=0.1, drop_last=False)
        with learn.no_logging():
            learn.fit(2)
        return torch.cat([parameter.detach().flatten() for parameter in learn.model.parameters()])

    assert torch.allclose(weights(32, [cb]), weights(128, []), atol=1e-5, rtol=0)


def test_counts_below_one_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"n_acc=.* from 1 on, got 0"):
        GradientAccumulation(0)
    with pytest.raises(ArgumentError, match="accumulate="):
        GradientAccumulation(accumulate=-1)


def test_gradients_above_the_norm_are_scaled_down_together() -> None:
    seen: list[torch.Tensor] = []

    class Look(Callback):
        order = 20

        def before_step(self) -> None:
            seen.append(torch.cat([p.grad.flatten() for p in self.model.parameters() if p.grad is not None]).clone())

    for cbs in ([Look()], [GradientClip(0.25), Look()], [GradientClip(1e6), Look()]):
        learn = learner_of(22, cbs, SGD)
        with learn.no_logging():
            learn.fit(1)
    plain, clipped, untouched = seen
    assert clipped.norm().item() == pytest.approx(0.25, abs=1e-4)
    assert torch.allclose(clipped / clipped.norm(), plain / plain.norm(), atol=1e-5)
    assert torch.equal(untouched, plain)


def test_a_norm_of_zero_is_refused() -> None:
    with pytest.raises(ArgumentError, match="max_norm above 0"):
        GradientClip(0)
