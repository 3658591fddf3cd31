"""Lazy layers know their size once a learner is made, and nothing else has changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_learners import line_learner, sign_loaders
from torch import nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.errors import ShapeError
from flambeau.train.learner import Learner
from flambeau.train.load_learner import load_learner


def lazy_net() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(2))


def test_lazy_layers_are_sized_trained_and_exported(tmp_path: Path) -> None:
    learn = Learner(sign_loaders(), lazy_net(), path=tmp_path)
    assert [type(layer).__name__ for layer in learn.model] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert learn.model[1].running_mean.tolist() == [0.0] * 8  # the trial is no training
    assert learn.model.training
    before = learn.model[0].weight.clone()
    with learn.no_logging():
        learn.fit(1, 0.1)
    assert not torch.equal(learn.model[0].weight, before)
    again = load_learner(learn.export(), transforms={"tensor": torch.tensor})
    assert torch.equal(again.predict([1.0, 2.0])[2], learn.predict([1.0, 2.0])[2])


def test_lazy_layers_get_the_weights_that_a_plain_layer_would() -> None:
    torch.manual_seed(3)
    plain = nn.Linear(1, 1)
    batches = torch.utils.data.DataLoader([(torch.ones(1), torch.ones(1))] * 8, 4, shuffle=True)
    torch.manual_seed(3)
    lazy = Learner(DataLoaders(batches, batches, device="cpu"), nn.LazyLinear(1), loss_func=nn.functional.mse_loss)
    assert torch.equal(lazy.model.weight, plain.weight)


class Own(nn.Module):
    """A network of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = lazy_net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def test_a_lazy_network_given_back_takes_its_sizes_from_the_export(tmp_path: Path) -> None:
    learn = Learner(sign_loaders(), Own(), path=tmp_path)
    again = load_learner(learn.export(), model=Own(), transforms={"tensor": torch.tensor})
    assert torch.equal(again.predict([1.0, 2.0])[2], learn.predict([1.0, 2.0])[2])


def test_a_batch_that_does_not_fit_is_told_with_its_shape() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.LazyLinear(1))
    with pytest.raises(ShapeError, match=r"lazy layers \(1\).*cannot take one of shape \(4, 1\): RuntimeError"):
        Learner(line_learner().dls, model, loss_func=nn.functional.mse_loss)


def test_a_lazy_layer_that_is_never_reached_is_named() -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(1, 1), nn.LazyLinear(1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    with pytest.raises(ShapeError, match="lazy layers spare got no input"):
        Learner(line_learner().dls, Spare(), loss_func=nn.functional.mse_loss)
