"""Searches for the tests, at the top level of a module, where other processes find them."""

from __future__ import annotations

from typing import Any

import torch
from small_learners import sign_learner
from torch import nn

from flambeau.train.learner import Learner


def make_learner(hidden: int = 4) -> Learner:
    """Return a learner of points, with so many hidden units."""
    model = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, 2))
    learn = sign_learner(model=model, metrics=["accuracy"])
    learn.to("cpu")
    return learn


def train(learn: Learner, lr: float) -> None:
    """Train for two epochs."""
    learn.fit(2, lr)


def parabola(trial: Any) -> float:
    """Return (x - 2) squared, an objective as Optuna's users write it."""
    return (trial.suggest_float("x", -5, 5) - 2) ** 2


def out_of_memory(learn: Learner, lr: float) -> None:
    """Train, or raise what a full device raises where the rate is above 0.1."""
    if lr > 0.1:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
    learn.fit(1, lr)


SPACE: dict[str, Any] = {"hidden": [2, 4, 8], "lr": (1e-3, 1.0, "log")}
