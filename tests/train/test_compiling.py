"""Compiled models: the same names and losses; a missing compiler is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from fashion import fashion_learner
from small_learners import sign_learner, sign_loaders
from torch import nn

from flambeau.foundation.errors import ArgumentError, MissingDependencyError
from flambeau.nn.optimizers import SGD
from flambeau.train.callbacks.activations import ActivationStats
from flambeau.train.learner import Learner


def trained(learn: Learner) -> Learner:
    with learn.no_logging():
        learn.fit(2, 1e-2)
    return learn


def test_in_place_so_that_names_copies_and_files_stay_the_same(tmp_path: Path) -> None:
    plain, learn = (sign_learner(dls=sign_loaders(seed=1), path=tmp_path) for _ in range(2))
    model = learn.model
    assert learn.compile(backend="eager") is learn
    trained(plain), trained(learn)
    assert learn.model is model
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert torch.equal(model[0].weight, plain.model[0].weight)
    learn.save("compiled")
    assert torch.equal(plain.load("compiled").model[2].weight, model[2].weight)


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(MissingDependencyError, match=r"none of g\+\+.*apt install g\+\+"):
        sign_learner().compile()
    monkeypatch.setenv("CXX", "nowhere++")
    with pytest.raises(MissingDependencyError, match=r"CXX=nowhere\+\+ is none"):
        sign_learner().compile()
    sign_learner().compile(backend="eager")  # which writes no C++


def test_statistics_of_layers_are_refused() -> None:
    learn = sign_learner(cbs=ActivationStats()).compile(backend="eager")
    with learn.no_logging(), pytest.raises(ArgumentError, match="cannot look into a compiled model"):
        learn.fit(1, 1e-2)


@pytest.mark.slow
def test_a_compiled_network_trains_to_the_same_losses() -> None:
    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 12 * 12, 10)
        )

    # Adam would divide a gradient that is all but zero by its own size, and so show each last bit
    plain, learn = (fashion_learner(16, model=network(), opt_func=SGD) for _ in range(2))
    learn.compile()
    assert trained(learn).recorder.raw_losses == pytest.approx(trained(plain).recorder.raw_losses, abs=1e-4)
    assert learn.recorder.values[-1] == pytest.approx(plain.recorder.values[-1], abs=1e-4)
