"""After this page you know which parameters decay, which rate each layer group gets, and what freezing leaves free."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flambeau.foundation.errors import ArgumentError
from flambeau.nn.param_groups import build_param_groups, freeze_groups, norm_bias_params, params, spread


def _model() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def test_spread_gives_one_rate_per_group() -> None:
    assert spread(0.1, 3) == [0.1, 0.1, 0.1]
    assert spread(slice(1.0), 3) == pytest.approx([0.1, 0.1, 1.0])
    assert spread(slice(1e-4, 1e-2), 3) == pytest.approx([1e-4, 1e-3, 1e-2])
    assert spread(slice(1e-4, 1e-2), 1) == [1e-2]
    assert spread([1, 2], 2) == [1.0, 2.0]
    assert spread(torch.tensor(0.5), 2) == [0.5, 0.5]  # type: ignore[arg-type]


def test_spread_refuses_what_does_not_fit() -> None:
    with pytest.raises(ArgumentError, match="Got 2 values for 3 layer groups"):
        spread([1.0, 2.0], 3)
    with pytest.raises(ArgumentError, match="numbers above 0"):
        spread(slice(0.0, 1.0), 2)
    with pytest.raises(ArgumentError, match="got '1e-3'"):
        spread("1e-3", 2)  # type: ignore[arg-type]


def test_biases_and_norm_layers_do_not_decay() -> None:
    model = _model()
    body, head = build_param_groups([model[:2], model[2]], slice(1e-3, 1e-1), 0.1)[::2]
    body_free, head_free = build_param_groups([model[:2], model[2]], 1e-3, 0.1)[1::2]
    assert [p is q for p, q in zip(body["params"], [model[0].weight], strict=True)] == [True]
    assert [id(p) for p in body_free["params"]] == [id(p) for p in (model[0].bias, model[1].weight, model[1].bias)]
    assert (body["weight_decay"], body_free["weight_decay"], head_free["weight_decay"]) == (0.1, 0.0, 0.0)
    assert (body["lr"], head["lr"]) == pytest.approx((1e-3, 1e-1))
    assert (body["layer_group"], body_free["layer_group"], head["layer_group"]) == (0, 0, 1)


def test_with_wd_bn_bias_everything_decays() -> None:
    groups = build_param_groups([_model()], 1e-3, 0.1, wd_bn_bias=True)
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(6, 0.1)]


def test_groups_of_bare_parameters_are_read_through_the_model() -> None:
    model = nn.Sequential(nn.PReLU(4), nn.LayerNorm(4))  # a PReLU slope has one dimension, but is no bias
    free = build_param_groups([params(model)], 1e-3, 0.1, model=model)[1]["params"]
    assert [id(p) for p in free] == [id(model[1].weight), id(model[1].bias)]
    guessed = build_param_groups([params(model)], 1e-3, 0.1)
    assert [len(g["params"]) for g in guessed] == [3]


def test_biases_of_recurrent_and_attention_layers_count_as_biases() -> None:
    model = nn.ModuleList([nn.LSTM(2, 2), nn.MultiheadAttention(2, 1)])
    assert len(norm_bias_params(model)) == 4 - 2 + 2  # bias_ih, bias_hh; in_proj_bias, out_proj.bias


def test_norm_layers_of_other_libraries_are_known_by_name() -> None:
    class OddRMSNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(3))

    assert len(norm_bias_params(OddRMSNorm())) == 1


def test_a_shared_parameter_belongs_to_the_first_group() -> None:
    first, second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    second.weight = first.weight
    groups = build_param_groups([first, second], [1.0, 2.0])
    assert [(len(g["params"]), g["lr"]) for g in groups] == [(1, 1.0)]


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(ArgumentError, match="no parameters"):
        build_param_groups([nn.ReLU()], 1e-3)


def test_freezing_leaves_norm_layers_and_the_head_free() -> None:
    model = _model()
    freeze_groups([model[:2], model[2]], -1)
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True, True, True]
    freeze_groups([model[:2], model[2]], -1, train_bn=False)
    assert [p.requires_grad for p in model.parameters()] == [False, False, False, False, True, True]
    freeze_groups([model[:2], model[2]], 0)
    assert all(p.requires_grad for p in model.parameters())


def test_freezing_bare_parameters_finds_norm_layers_through_the_model() -> None:
    model = _model()
    freeze_groups([params(model[:2]), params(model[2])], 1, model=model)
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True, True, True]


def test_freezing_drops_old_gradients() -> None:
    model = _model()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    freeze_groups([model[:2], model[2]], 1)
    assert model[0].weight.grad is None
    assert model[2].weight.grad is not None


def test_freezing_beyond_the_last_group_is_refused() -> None:
    with pytest.raises(ArgumentError, match="2 layer groups, so give -2 to 1"):
        freeze_groups([nn.Linear(1, 1), nn.Linear(1, 1)], 2)
