"""Channels last: another order in memory, the same numbers; and the way back."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from fashion import fashion_learner
from torch import Tensor, nn

from flambeau.foundation.errors import UnknownNameError
from flambeau.nn.optimizers import SGD, Adam, match_layouts
from flambeau.train.callbacks.channels_last import ChannelsLast
from flambeau.train.callbacks.precision import MixedPrecision
from flambeau.train.learner import Learner


def two_convolutions() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 8, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    )


def is_channels_last(weight: Tensor) -> bool:
    return weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


def losses_of(learn: Learner) -> list[float]:
    with learn.no_logging():
        learn.fit(1, 1e-2)
    return learn.recorder.losses


def test_weights_and_activations_lie_channels_last_and_the_losses_are_the_same() -> None:
    learn, plain = fashion_learner(16, model=two_convolutions()), fashion_learner(16, model=two_convolutions())
    learn.to_channelslast(use_amp=False)
    assert losses_of(learn) == pytest.approx(losses_of(plain), abs=1e-5)
    assert is_channels_last(learn.model[2].weight)
    assert is_channels_last(learn.model[:3](learn.dls.one_batch().inputs[0]))
    assert not is_channels_last(plain.model[2].weight)


def test_it_comes_with_sixteen_bits_unless_told_otherwise() -> None:
    learn = fashion_learner(8)
    assert [type(cb) for cb in learn.to_channelslast().cbs[2:]] == [MixedPrecision, ChannelsLast]
    learn.to_channelslast(amp_mode="bf16")
    assert [getattr(cb, "dtype", None) for cb in learn.cbs[2:]] == ["bfloat16", None]
    with pytest.raises(UnknownNameError, match=r"amp_mode 'fp61'.*'fp16'"):
        learn.to_channelslast(amp_mode="fp61")


def test_the_way_back() -> None:
    learn = fashion_learner(8, model=two_convolutions()).to_channelslast().to_contiguous(to_fp32=True)
    assert learn.model[2].weight.is_contiguous()
    assert len(learn.cbs) == 2


def test_a_change_in_the_middle_of_a_training_changes_no_number() -> None:
    learn, plain = fashion_learner(16, model=two_convolutions()), fashion_learner(16, model=two_convolutions())
    assert losses_of(learn) == losses_of(plain)
    learn.add_cb(ChannelsLast())
    assert losses_of(learn) == pytest.approx(losses_of(plain), abs=1e-5)
    learn.to_contiguous()
    assert losses_of(learn) == pytest.approx(losses_of(plain), abs=1e-5)


@pytest.mark.parametrize("opt_func", [Adam, partial(SGD, mom=0.9)])
def test_a_saved_optimizer_goes_on_with_the_same_steps(opt_func: object, tmp_path: Path) -> None:
    learn, other = (
        fashion_learner(16, model=two_convolutions(), path=tmp_path, opt_func=opt_func).to_channelslast(use_amp=False)
        for _ in range(2)
    )
    losses_of(learn)
    learn.save("here")
    other.load("here")
    other.dls.train.epoch = learn.dls.train.epoch
    assert losses_of(other) == losses_of(learn)
    assert torch.equal(other.model[2].weight, learn.model[2].weight)


def test_a_state_that_lies_otherwise_than_its_parameter_is_laid_out_anew() -> None:
    def stepped() -> Tensor:
        torch.manual_seed(0)
        weight = nn.Parameter(torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last))
        optimizer = Adam([weight], lr=0.1)
        for _ in range(2):
            weight.grad = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
            optimizer.step()
            state = optimizer.state[weight]
            state["exp_avg"] = state["exp_avg"].contiguous()  # as a file gives it back
            match_layouts(optimizer)
        return weight.detach()

    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(4, 3, 2, 2))
    reference = torch.optim.AdamW([weight], lr=0.1, betas=(0.9, 0.99), eps=1e-5, weight_decay=0.01, fused=False)
    for _ in range(2):
        weight.grad = torch.randn(4, 3, 2, 2)
        reference.step()
    assert torch.allclose(stepped(), weight.detach(), atol=1e-6)
