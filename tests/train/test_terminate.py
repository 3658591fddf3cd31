"""A training loss that is no number ends the fit and names what was in the batch."""

from __future__ import annotations

import math

import pytest
import torch
from small_learners import line_learner, sign_items, sign_loaders
from torch import nn

from flambeau.foundation.errors import ArgumentError
from flambeau.nn.optimizers import SGD
from flambeau.train.callback import Callback
from flambeau.train.callbacks.terminate import TerminateOnNaNCallback
from flambeau.train.learner import Learner


class Spoil(Callback):
    """Make the loss of one batch something else."""

    order = -50

    def __init__(self, batch: int, value: float) -> None:
        self.at, self.value = batch, value

    def after_loss(self) -> None:
        if self.training and self.learn.iter == self.at:
            self.learn.loss = self.learn.loss_grad = self.loss * self.value


def spoilt_fit(value: float, every: int | None = None) -> tuple[Learner, TerminateOnNaNCallback]:
    torch.manual_seed(0)
    learn = Learner(sign_loaders(seed=3), nn.Linear(2, 2), opt_func=SGD)
    cb = TerminateOnNaNCallback(every)
    with learn.no_logging():
        learn.fit(2, 0.1, cbs=[cb, Spoil(2, value)])
    return learn, cb


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_batch_and_its_items_are_named_and_the_weights_stay_sound(value: float) -> None:
    learn, cb = spoilt_fit(value)
    assert cb.found is not None
    assert cb.found.startswith(
        f"Epoch 0, batch 2: the loss is {value}, and the training ends. The items of the batch: "
    )
    loader = learn.dls.train.new()  # which begins with epoch 0
    indices = list(loader.index_batches())[2]
    assert ", ".join(loader.maker.name(index) for index in indices) in cb.found
    assert all(torch.isfinite(parameter).all() for parameter in learn.model.parameters())
    assert len(learn.recorder.losses) == 2


def test_looked_at_later_it_still_names_the_first_batch_and_says_how_late() -> None:
    _, cb = spoilt_fit(math.nan, every=4)
    assert cb.found is not None
    assert cb.found.startswith("Epoch 0, batch 2: the loss is nan")
    assert cb.found.endswith("1 more steps were taken before it was seen.")


def test_what_is_left_at_the_end_of_an_epoch_is_looked_at() -> None:
    learn, cb = spoilt_fit(math.nan, every=100)
    assert cb.found is not None
    assert not learn.recorder.values


def test_items_that_are_not_finite_themselves_are_picked_out() -> None:
    items = sign_items()
    items[5] = ([math.inf, 0.0], "plus")
    dls = sign_loaders()
    dls.train.dataset.source[5] = items[5]
    learn, cb = Learner(dls, nn.Linear(2, 2)), TerminateOnNaNCallback()
    with learn.no_logging():
        learn.fit(1, 0.1, cbs=cb)
    assert cb.found is not None
    assert f"Not finite are the inputs of: {dls.train.maker.name(5)}." in cb.found


def test_a_plain_loader_knows_no_items() -> None:
    learn, cb = line_learner(), TerminateOnNaNCallback()
    with learn.no_logging():
        learn.fit(1, 0.1, cbs=[cb, Spoil(0, math.nan)])
    assert cb.found is not None
    assert "does not say which items" in cb.found


def test_a_sound_training_goes_on_and_validation_is_not_watched() -> None:
    class SpoilValidation(Spoil):
        def after_loss(self) -> None:
            if not self.training:
                self.learn.loss = self.loss * math.nan

    learn, cb = line_learner(), TerminateOnNaNCallback()
    with learn.no_logging():
        learn.fit(2, 0.1, cbs=[cb, SpoilValidation(0, math.nan)])
    assert cb.found is None
    assert len(learn.recorder.values) == 2


def test_every_counts_from_one() -> None:
    with pytest.raises(ArgumentError, match="from 1 on, got 0"):
        TerminateOnNaNCallback(0)
