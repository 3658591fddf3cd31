"""After this page you know that hooks see what layers give, and are gone afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flambeau.foundation.errors import ShapeError
from flambeau.nn.hooks import (
    Hook,
    HookedModel,
    Hooks,
    dummy_eval,
    evaluating,
    hook_output,
    hook_outputs,
    model_sizes,
    num_features_model,
)


def _model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))


def _body() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 3, stride=2))


def test_a_hook_keeps_the_output_and_leaves_no_trace() -> None:
    model, x = _model(), torch.randn(4, 2)
    with hook_output(model[0]) as hook:
        model(x)
    assert hook.stored.equal(model[0](x))
    assert not hook.stored.requires_grad
    assert not model[0]._forward_hooks


def test_hooks_are_removed_after_an_error() -> None:
    model = _model()
    with pytest.raises(RuntimeError), hook_outputs(list(model)):
        model(torch.zeros(4, 5))
    assert not any(layer._forward_hooks for layer in model)


def test_hooks_keep_one_value_per_module() -> None:
    model = _model()
    with Hooks(list(model), lambda m, i, o: tuple(o.shape)) as hooks:
        model(torch.zeros(4, 2))
        assert hooks.stored == [(4, 3), (4, 3), (4, 1)]
    assert len(hooks) == 3
    assert hooks[0].stored == (4, 3)
    assert [hook.stored for hook in hooks] == hooks.stored


def test_a_hook_sees_gradients_on_the_way_back() -> None:
    model = _model()
    with hook_output(model[0], grad=True) as hook:
        model(torch.ones(4, 2, requires_grad=True)).sum().backward()
    assert hook.stored.shape == (4, 3)
    assert not model[0]._backward_hooks


def test_a_hook_can_keep_the_graph() -> None:
    model = _model()
    with Hook(model[0], lambda m, i, o: o, detach=False) as hook:
        model(torch.ones(4, 2))
    assert hook.stored.requires_grad


def test_tuples_and_dictionaries_of_outputs_are_detached() -> None:
    rnn = nn.LSTM(2, 3)
    with hook_output(rnn, cpu=True) as hook:
        rnn(torch.zeros(5, 1, 2))
    output, (hidden, _) = hook.stored
    assert (output.shape, hidden.shape) == ((5, 1, 3), (1, 1, 3))
    assert not output.requires_grad


def test_a_hooked_model_gives_its_inner_outputs() -> None:
    model, x = _model(), torch.randn(4, 2)
    with HookedModel(model, [model[1]]) as run:
        output, (inner,) = run(x)
    assert output.equal(model(x))
    assert inner.equal(model[:2](x))
    assert not model[1]._forward_hooks


def test_evaluating_gives_each_layer_its_mode_back() -> None:
    body = _body().train()
    body[1].eval()
    with evaluating(body):
        assert not body.training
        assert not torch.is_grad_enabled()
    assert [body.training, body[0].training, body[1].training] == [True, True, False]


def test_a_body_is_measured_without_changing_it() -> None:
    body = _body()
    statistics = body[1].running_mean.clone()
    assert num_features_model(body) == 16
    assert model_sizes(body, (32, 16)) == [(1, 8, 16, 8), (1, 8, 16, 8), (1, 16, 7, 3)]
    assert dummy_eval(body, (32, 32)).shape == (1, 16, 7, 7)
    assert body.training
    assert body[1].running_mean.equal(statistics)


def test_a_body_for_large_pictures_is_measured_on_larger_ones() -> None:
    assert num_features_model(nn.Sequential(nn.Conv2d(1, 5, 100))) == 5


def test_a_body_that_gives_several_outputs_is_explained() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, x

    with pytest.raises(ShapeError, match="must give one tensor"):
        num_features_model(Two())
