"""After this page you know which weights an initialisation draws anew and which it leaves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flambeau.foundation.errors import ArgumentError, TrainingError
from flambeau.nn.init import GeneralRelu, apply_init, init_default, init_weights, lsuv_init


def test_apply_init_draws_weights_and_leaves_norm_and_frozen_layers() -> None:
    model = nn.Sequential(nn.Linear(50, 100), nn.BatchNorm1d(100), nn.Linear(100, 2).requires_grad_(False))
    frozen = model[2].weight.clone()
    apply_init(model)
    assert model[0].bias.eq(0).all()
    assert model[0].weight.std().item() == pytest.approx((2 / 50) ** 0.5, rel=0.05)
    assert model[1].weight.eq(1).all()
    assert model[2].weight.equal(frozen)


def test_init_default_can_take_any_rule_or_none() -> None:
    layer = init_default(nn.Linear(2, 2), nn.init.ones_)
    assert layer.weight.eq(1).all()  # type: ignore[union-attr, operator]
    before = layer.weight.clone()  # type: ignore[union-attr, operator]
    assert init_default(layer, None).weight.equal(before)  # type: ignore[union-attr, operator]


def test_init_weights_touches_convolutions_alone() -> None:
    model = nn.Sequential(nn.Conv2d(64, 128, 3), nn.Linear(3, 3))
    linear = model[1].weight.clone()
    model.apply(lambda m: init_weights(m, leaky=1.0))
    assert model[0].weight.std().item() == pytest.approx((1 / (64 * 9)) ** 0.5, rel=0.05)
    assert model[1].weight.equal(linear)


def test_general_relu_leaks_shifts_and_caps() -> None:
    x = torch.tensor([-1.0, 1.0, 9.0])
    assert GeneralRelu(leak=0.1, sub=0.4, maxv=6.0)(x).tolist() == pytest.approx([-0.5, 0.6, 6.0])
    assert GeneralRelu()(x).tolist() == [0.0, 1.0, 9.0]


def test_lsuv_gives_outputs_mean_zero_and_deviation_one() -> None:
    model = nn.Sequential(nn.Linear(10, 20), GeneralRelu(leak=0.1, sub=0.4))
    batch = 5 + 3 * torch.randn(200, 10, generator=torch.Generator().manual_seed(0))
    lsuv_init(model, model[1], model[0], batch)
    output = model(batch)
    assert output.mean().item() == pytest.approx(0, abs=2e-3)
    assert output.std().item() == pytest.approx(1, abs=2e-3)
    assert not model[1]._forward_hooks


def test_lsuv_says_when_the_mean_cannot_be_zero() -> None:
    model = nn.Sequential(nn.Linear(10, 20), nn.Sigmoid())
    with pytest.raises(TrainingError, match="stopped after 5 passes"):
        lsuv_init(model, model[1], model[0], torch.randn(20, 10), max_iterations=5)
    assert not model[1]._forward_hooks


def test_lsuv_needs_a_bias() -> None:
    layer = nn.Linear(2, 2, bias=False)
    with pytest.raises(ArgumentError, match="pass bias=True"):
        lsuv_init(layer, layer, layer, torch.zeros(1, 2))
