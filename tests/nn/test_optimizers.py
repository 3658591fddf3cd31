"""After this page you know that each optimizer takes the step its formula says, and that schedules reach every knob."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import nn

from flambeau.foundation.errors import ArgumentError, UnknownNameError
from flambeau.nn.optimizers import SGD, Adam, AdamW, OptimWrapper, RAdam, RMSProp, get_hyper, set_hyper
from flambeau.nn.param_groups import build_param_groups


def _one(value: float, gradient: float) -> nn.Parameter:
    parameter = nn.Parameter(torch.tensor([value]))
    parameter.grad = torch.tensor([gradient])
    return parameter


def _two_groups() -> list[nn.Module]:
    return [nn.Linear(2, 2), nn.Linear(2, 1)]


def test_sgd_steps_by_lr_times_gradient() -> None:
    weight = _one(1.0, 2.0)
    SGD([weight], 0.1).step()
    assert weight.item() == pytest.approx(0.8)


def test_sgd_with_momentum_keeps_moving() -> None:
    weight = _one(1.0, 2.0)
    optimizer = SGD([weight], 0.1, mom=0.9)
    optimizer.step()
    optimizer.step()
    assert weight.item() == pytest.approx(1 - 0.1 * 2 - 0.1 * (0.9 * 2 + 2))


def test_adam_takes_fastais_defaults_and_decays_apart() -> None:
    weight = _one(1.0, 2.0)
    optimizer = Adam([weight], 0.1)
    optimizer.step()
    assert weight.item() == pytest.approx(1 * (1 - 0.1 * 0.01) - 0.1 * 2 / (2 + 1e-5))
    assert [get_hyper(optimizer, name) for name in ("mom", "sqr_mom", "eps", "wd")] == [[0.9], [0.99], [1e-5], [0.01]]
    assert AdamW is Adam


def test_adam_may_add_decay_to_the_gradient() -> None:
    weight = _one(1.0, 0.0)
    Adam([weight], 0.1, wd=0.5, decouple_wd=False).step()
    assert weight.item() == pytest.approx(1 - 0.1 * 0.5 / (0.5 + 1e-5))


def test_rmsprop_divides_by_the_running_size() -> None:
    weight = _one(1.0, 2.0)
    RMSProp([weight], 0.05).step()
    assert weight.item() == pytest.approx(1 - 0.05 * 2 / (math.sqrt(0.01 * 4) + 1e-8))


def test_radam_steps_plainly_while_it_distrusts_its_variance() -> None:
    weight = _one(1.0, 2.0)
    RAdam([weight], 0.1).step()
    assert weight.item() == pytest.approx(1 - 0.1 * 2)


def test_the_step_is_fused_where_torch_can() -> None:
    assert Adam([_one(1.0, 1.0)], 0.1).defaults["fused"] is True
    assert SGD([_one(1.0, 1.0)], 0.1).defaults["fused"] is True
    complex_parameter = nn.Parameter(torch.zeros(1, dtype=torch.complex64))
    assert Adam([complex_parameter], 0.1).defaults["fused"] is False


def test_any_torch_optimizer_is_accepted_through_a_partial() -> None:
    make = partial(OptimWrapper, opt=torch.optim.Adagrad, eps=1e-3)
    optimizer = make(build_param_groups(_two_groups(), [0.1, 0.2]), lr=1.0)
    assert isinstance(optimizer, torch.optim.Adagrad)
    assert get_hyper(optimizer, "lr") == [0.1, 0.2]
    set_hyper(optimizer, "mom", 0.5)  # Adagrad has none: nothing happens
    assert math.isnan(get_hyper(optimizer, "mom")[0])


def test_hypers_are_set_per_layer_group() -> None:
    optimizer = Adam(build_param_groups(_two_groups(), 1e-3, 0.1), lr=1e-3)
    set_hyper(optimizer, "lr", [0.1, 0.2])
    set_hyper(optimizer, "mom", 0.5)
    set_hyper(optimizer, "sqr_mom", 0.8)
    set_hyper(optimizer, "eps", [1e-3, 1e-4])
    assert get_hyper(optimizer, "lr") == [0.1, 0.2]
    assert {group["betas"] for group in optimizer.param_groups} == {(0.5, 0.8)}
    assert get_hyper(optimizer, "eps") == [1e-3, 1e-4]


def test_a_new_weight_decay_spares_biases() -> None:
    optimizer = Adam(build_param_groups(_two_groups(), 1e-3, 0.1), lr=1e-3)
    set_hyper(optimizer, "wd", [0.3, 0.4])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0, 0.4, 0.0]
    assert get_hyper(optimizer, "wd") == [0.3, 0.4]


def test_a_momentum_schedule_gives_none_to_plain_sgd() -> None:
    plain, moving = SGD([_one(1.0, 1.0)], 0.1), SGD([_one(1.0, 1.0)], 0.1, mom=0.9)
    for optimizer in (plain, moving):
        set_hyper(optimizer, "mom", 0.95)
    assert (get_hyper(plain, "mom"), get_hyper(moving, "mom")) == ([0.0], [0.95])


def test_a_learning_rate_on_the_device_is_filled_in_place() -> None:
    rate = torch.tensor(0.1)
    optimizer = torch.optim.Adam([_one(1.0, 1.0)], lr=rate, capturable=False, foreach=False)
    set_hyper(optimizer, "lr", 0.5)
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == 0.5


def test_an_unknown_hyper_proposes_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no hyper-parameter 'moms'. Did you mean 'mom'"):
        set_hyper(SGD([_one(1.0, 1.0)], 0.1), "moms", 0.9)


def test_too_few_values_are_refused() -> None:
    optimizer = SGD(build_param_groups(_two_groups(), 1e-3), 1e-3)
    with pytest.raises(ArgumentError, match="Got 1 values of lr, but the model has a layer group 1"):
        set_hyper(optimizer, "lr", [0.1])


def test_a_module_in_place_of_its_parameters_is_explained() -> None:
    with pytest.raises(ArgumentError, match=r"pass model.parameters\(\)"):
        SGD(nn.Linear(1, 1), 0.1)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="got no parameters"):
        SGD([], 0.1)
