"""Activation statistics: the numbers of each layer at each batch, and their pictures."""

from __future__ import annotations

import math

import pytest
import torch
from resumed_fits import round_trip
from torch import nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.errors import ArgumentError
from flambeau.nn.losses import MSELossFlat
from flambeau.train.callbacks.activations import ActivationStats
from flambeau.train.learner import Learner

X = torch.tensor([[1.0], [3.0]])


def learner_with(*cbs: ActivationStats) -> Learner:
    batch = (X, torch.zeros(2, 1))
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].bias.fill_(-1.0)
    return Learner(DataLoaders([batch] * 3, [batch], device="cpu"), model, MSELossFlat(), lr=0.0, wd=0.0, cbs=list(cbs))


def fitted(*cbs: ActivationStats) -> Learner:
    learn = learner_with(*cbs)
    with learn.no_logging():
        learn.fit(1)
    return learn


def test_the_numbers_are_those_of_the_layers_outputs() -> None:
    learn = fitted(ActivationStats())
    mean, std, near_zero = learn.activation_stats.layer_stats(0)
    # outputs 0 and 2 at each of the three training batches
    assert mean == [1.0] * 3
    assert std == pytest.approx([math.sqrt(2)] * 3)
    assert near_zero == [0.5] * 3


def test_layers_are_those_with_parameters_and_counted_from_the_end_too() -> None:
    stats = fitted(ActivationStats()).activation_stats
    assert [type(layer) for layer in stats.layers] == [nn.Linear, nn.Linear]
    assert stats.layer_stats(-2) == stats.layer_stats(0)
    with pytest.raises(ArgumentError, match="2 layers are watched, numbered from 0; 2 is none"):
        stats.layer_stats(2)


def test_a_histogram_has_a_column_a_batch() -> None:
    counts = fitted(ActivationStats(with_hist=True)).activation_stats.hist(0)
    assert counts.shape == (40, 3)
    # bins of a quarter: 0 falls into the first, 2 into the ninth
    assert counts[:, 0].nonzero().flatten().tolist() == [0, 8]
    assert counts[0, 0].item() == pytest.approx(math.log(2))


def test_every_looks_at_each_nth_batch() -> None:
    assert len(fitted(ActivationStats(every=2)).activation_stats.layer_stats(0)[0]) == 2


def test_nothing_stays_hooked_and_the_weights_are_those_without() -> None:
    learn, plain = fitted(ActivationStats(with_hist=True)), learner_with()
    assert not any(layer._forward_hooks for layer in learn.model.modules())
    assert torch.equal(learn.model[0].weight, plain.model[0].weight)  # type: ignore[index]


def test_a_layer_that_takes_no_part_has_no_numbers() -> None:
    unused = nn.Linear(1, 1)
    stats = fitted(ActivationStats(modules=[unused])).activation_stats
    assert all(math.isnan(value) for value in stats.layer_stats(0)[0])


def test_pictures_are_drawn() -> None:
    stats = fitted(ActivationStats(with_hist=True)).activation_stats
    assert len(stats.plot_layer_stats(-1).axes) == 3
    assert len(stats.color_dim(0).axes) == 1


def test_what_cannot_be_shown_is_said() -> None:
    with pytest.raises(ArgumentError, match="call fit"):
        learner_with(ActivationStats()).activation_stats.layer_stats(0)
    with pytest.raises(ArgumentError, match="with_hist=True"):
        fitted(ActivationStats()).activation_stats.hist(0)
    with pytest.raises(ArgumentError, match="every="):
        ActivationStats(every=0)


def test_the_state_goes_round() -> None:
    before, after = fitted(ActivationStats(with_hist=True)), learner_with(ActivationStats(with_hist=True))
    after.activation_stats.before_fit()
    after.activation_stats.load_state_dict(round_trip(before.activation_stats.state_dict()))
    assert after.activation_stats.layer_stats(1) == before.activation_stats.layer_stats(1)
    assert torch.equal(after.activation_stats.hist(0), before.activation_stats.hist(0))
    after.activation_stats.load_state_dict({})  # of a training that had no batch yet
    with pytest.raises(ArgumentError, match="No activation has been seen"):
        after.activation_stats.hist(0)
