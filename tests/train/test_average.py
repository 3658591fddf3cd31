"""Averaged weights: by the formula, in validation and at the end, and the same after a resumed training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from resumed_fits import round_trip, whole_and_resumed
from small_learners import line_learner, sign_learner
from torch import nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.errors import ArgumentError
from flambeau.train.callback import Callback
from flambeau.train.callbacks.average import ModelAverage
from flambeau.train.callbacks.gradients import GradientAccumulation
from flambeau.train.callbacks.tracker import SaveModelCallback
from flambeau.train.learner import Learner


class Steps(Callback):
    """Write down the weight after each step and at each validation."""

    order = 20

    def before_fit(self) -> None:
        self.after_steps: list[float] = []
        self.validated: list[float] = []
        self.began_with: list[float] = []

    def before_train(self) -> None:
        self.began_with.append(self.model.weight.item())

    def after_step(self) -> None:
        self.after_steps.append(self.model.weight.item())

    def after_batch(self) -> None:
        if not self.training:
            self.validated.append(self.model.weight.item())


def averages(values: list[float], decay: float) -> list[float]:
    found = values[:1]
    for value in values[1:]:
        found.append(decay * found[-1] + (1 - decay) * value)
    return found


def fitted(n_epoch: int, *cbs: Callback) -> tuple[Learner, Steps]:
    learn, steps = line_learner(4, 1), Steps()
    with learn.no_logging():
        learn.fit(n_epoch, 0.1, cbs=[*cbs, steps])
    return learn, steps


def test_validation_and_the_end_have_the_average_and_training_the_newest_weights() -> None:
    learn, steps = fitted(2, ModelAverage(0.8))
    plain, plain_steps = fitted(2)
    expected = averages(plain_steps.after_steps, 0.8)
    assert steps.after_steps == plain_steps.after_steps
    assert steps.validated == pytest.approx([expected[3], expected[7]], abs=1e-6)
    assert steps.began_with[1] == plain_steps.after_steps[3]
    assert learn.model.weight.item() == pytest.approx(expected[7], abs=1e-6)
    assert learn.model.weight.item() != plain.model.weight.item()


def test_the_numbers_of_norm_layers_are_averaged_too_and_counts_are_not() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    learn, seen = sign_learner(model=model), []

    class Look(Callback):
        def after_step(self) -> None:
            seen.append(model[1].running_mean.clone())

    with learn.no_logging():
        learn.fit(1, 0.1, cbs=[ModelAverage(0.5), Look()])
    expected = seen[0]
    for value in seen[1:]:
        expected = torch.lerp(expected, value, 0.5)
    assert torch.allclose(model[1].running_mean, expected, atol=1e-6)
    assert int(model[1].num_batches_tracked) == 4


def test_accumulated_batches_are_one_step() -> None:
    learn, steps = fitted(1, ModelAverage(0.5), GradientAccumulation(8))
    assert len(steps.after_steps) == 2
    assert learn.model.weight.item() == pytest.approx(sum(steps.after_steps) / 2, abs=1e-6)


def test_what_was_validated_is_what_is_saved(tmp_path: Path) -> None:
    learn, steps = line_learner(4, 1, path=tmp_path), Steps()
    with learn.no_logging():
        learn.fit(3, 0.1, cbs=[SaveModelCallback(), ModelAverage(0.8), steps])
    best = min(range(3), key=lambda epoch: learn.recorder.values[epoch][1])
    assert learn.model.weight.item() == steps.validated[best]
    assert learn.validate()[0] == pytest.approx(learn.recorder.values[best][1], abs=1e-6)


def test_a_validation_in_the_middle_of_training_gives_the_weights_back() -> None:
    class Validates(Callback):
        def after_step(self) -> None:
            self.learn.validate()

    learn, _ = fitted(2, ModelAverage(0.8), Validates())
    plain, _ = fitted(2, ModelAverage(0.8))
    assert learn.model.weight.item() == pytest.approx(plain.model.weight.item(), abs=1e-6)


def test_an_interrupted_fit_leaves_the_average_and_the_next_begins_anew() -> None:
    class Interrupts(Callback):
        def before_batch(self) -> None:
            if self.learn.train_iter == 6:
                raise KeyboardInterrupt

    learn, steps = line_learner(4, 1), Steps()
    average = ModelAverage(0.8)
    learn.add_cb(average)
    with learn.no_logging(), pytest.raises(KeyboardInterrupt):
        learn.fit(2, 0.1, cbs=[Interrupts(), steps])
    assert learn.model.weight.item() == pytest.approx(averages(steps.after_steps, 0.8)[-1], abs=1e-6)
    with learn.no_logging():
        learn.fit(1, 0.1, cbs=steps)
    assert learn.model.weight.item() == pytest.approx(averages(steps.after_steps, 0.8)[-1], abs=1e-6)


def test_a_resumed_training_has_the_same_average_bit_for_bit() -> None:
    whole, resumed = whole_and_resumed(lambda: (line_learner(4, 1), [ModelAverage(0.8)]))
    assert torch.equal(whole.model.weight, resumed.model.weight)
    assert whole.recorder.values[-1][1] == resumed.recorder.values[-1][1]


def test_a_state_kept_while_the_average_is_in_use_brings_the_newest_weights_back() -> None:
    class KeepState(Callback):
        order = 65  # where a tracker saves: before the newest weights are back

        def after_epoch(self) -> None:
            self.state = round_trip(average.state_dict())
            self.weight = self.model.weight.item()

    average, keep = ModelAverage(0.8), KeepState()
    _, steps = fitted(1, average, keep)
    assert keep.state["in_use"] is True
    learn, fresh = line_learner(4, 1), ModelAverage(0.8)
    learn.add_cb(fresh)
    fresh.before_fit()
    learn.model.weight.data.fill_(keep.weight)
    fresh.load_state_dict(keep.state)
    assert learn.model.weight.item() == steps.after_steps[-1]


def test_the_average_of_a_noisy_training_is_nearer_than_its_newest_weights() -> None:
    torch.manual_seed(0)
    x = torch.randn(256, 1)
    noisy = [(a, 2 * a + 1 + torch.randn_like(a)) for a in x.split(4)]
    losses = []
    for cbs in ([], [ModelAverage(0.95)]):
        torch.manual_seed(0)
        dls = DataLoaders(noisy, [(x, 2 * x + 1)], device="cpu")
        learn = Learner(dls, nn.Linear(1, 1), nn.functional.mse_loss)
        with learn.no_logging():
            learn.fit(3, 0.1, cbs=cbs)
        losses.append(learn.validate()[0])
    assert losses[1] < losses[0] / 2


def test_a_decay_out_of_range_is_refused() -> None:
    with pytest.raises(ArgumentError, match="below 1, got 1"):
        ModelAverage(1)
