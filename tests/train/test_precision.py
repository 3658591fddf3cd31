"""Mixed precision: 16 bits in the model, float32 everywhere else, and the way back."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from fashion import fashion_learner
from small_learners import line_learner, sign_learner

from flambeau.foundation.errors import ArgumentError
from flambeau.train.callback import Callback
from flambeau.train.callbacks.precision import MixedPrecision, as_float32


class Types(Callback):
    """Write down the types that a batch goes through."""

    def after_pred(self) -> None:
        with self.learn.autocast():
            self.inside = self.model(*self.xb).dtype
        self.outside = self.pred.dtype

    def after_loss(self) -> None:
        self.loss_type = self.loss.dtype

    def before_step(self) -> None:
        self.gradient = next(self.model.parameters()).grad.dtype


@pytest.mark.parametrize("verb", ["to_bf16", "to_fp16"])
def test_the_model_computes_in_bfloat16_on_the_cpu(verb: str) -> None:
    learn, types = line_learner(16), Types()
    getattr(learn, verb)()
    with learn.no_logging():
        learn.fit(5, 0.1, cbs=types)
    assert types.inside == torch.bfloat16
    assert types.outside == types.loss_type == types.gradient == learn.model.weight.dtype == torch.float32
    assert learn.recorder.losses[-1] < learn.recorder.losses[0] / 4


def test_the_way_back() -> None:
    learn = line_learner().to_bf16().to_fp32()
    assert learn.autocast is nullcontext
    assert not any(isinstance(cb, MixedPrecision) for cb in learn.cbs)


def test_a_second_call_replaces_the_first() -> None:
    learn = line_learner().to_bf16().to_fp16()
    assert [cb.dtype for cb in learn.cbs if isinstance(cb, MixedPrecision)] == ["float16"]


def test_as_a_callback_of_one_fit_it_ends_with_the_fit() -> None:
    learn = line_learner()
    with learn.no_logging():
        learn.fit(1, 0.1, cbs=MixedPrecision("bfloat16"))
    assert learn.autocast is nullcontext
    learn.add_cb(MixedPrecision("bfloat16"))
    learn.remove_cb(MixedPrecision)
    assert learn.autocast is nullcontext


def test_predictions_are_float32_too() -> None:
    learn = sign_learner().to_bf16()
    assert learn.get_preds()[0].dtype == torch.float32
    assert learn.predict([1.0, 0.0])[2].dtype == torch.float32


class ScaledOnCPU(MixedPrecision):
    """Scale the loss as float16 on a GPU does."""

    def after_create(self) -> None:
        super().after_create()
        self.learn.autocast = nullcontext
        self.learn.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)


def test_scaling_the_loss_changes_nothing_but_the_gradients_on_their_way() -> None:
    class Clip(Callback):
        norms: list[float] = []  # noqa: RUF012

        def before_step(self) -> None:
            self.norms.append(float(self.model.weight.grad.norm()))

    plain, scaled = line_learner(), line_learner()
    with plain.no_logging(), scaled.no_logging():
        plain.fit(2, 0.01, cbs=Clip())
        expected, Clip.norms = Clip.norms, []
        scaled.fit(2, 0.01, cbs=[Clip(), ScaledOnCPU()])
    assert Clip.norms == pytest.approx(expected, rel=1e-4)
    assert torch.allclose(plain.model.weight, scaled.model.weight, atol=1e-6)
    assert scaled.recorder.losses == pytest.approx(plain.recorder.losses, rel=1e-4)


def test_a_step_whose_gradients_overflow_is_left_out() -> None:
    class Overflow(Callback):
        order = -20

        def after_backward(self) -> None:
            self.model.weight.grad.fill_(float("inf"))

    learn = line_learner(1, 0, cbs=ScaledOnCPU())
    before = learn.model.weight.clone()
    with learn.no_logging():
        learn.fit(1, 0.1, cbs=Overflow())
    assert torch.equal(learn.model.weight, before)
    assert learn.scaler is not None
    assert learn.scaler.get_scale() == 512


def test_the_rate_finder_puts_the_scale_back() -> None:
    learn = line_learner(cbs=ScaledOnCPU())
    learn.lr_find(end_lr=1e6, show_plot=False, stop_div=False)
    assert learn.scaler is not None
    assert learn.scaler.get_scale() == 1024


def test_real_pictures_are_learned_in_bfloat16() -> None:
    learn = fashion_learner(lr=1e-2).to_bf16()
    with learn.no_logging():
        learn.fit(2)
    assert learn.validate()[1] > 0.7


def test_an_unknown_precision_is_told() -> None:
    with pytest.raises(ArgumentError, match="'int8'"):
        MixedPrecision("int8")


def test_as_float32_goes_into_nested_values() -> None:
    half = torch.ones(1, dtype=torch.float16)
    found = as_float32({"a": (half, [half, torch.ones(1, dtype=torch.int32)]), "b": "word"})
    assert found["a"][0].dtype == found["a"][1][0].dtype == torch.float32
    assert found["a"][1][1].dtype == torch.int32
    assert found["b"] == "word"
