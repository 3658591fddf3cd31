"""A snapshot: after reading it you know everything that a training changes, and so what to put back to undo one."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from flambeau.foundation.nested import apply

if TYPE_CHECKING:
    from flambeau.train.learner import Learner


class Snapshot:
    """Everything that a training disturbs, kept in the computer's own memory, where it takes none of the device's."""

    def __init__(self, learn: Learner) -> None:
        self.learn, self.was_training = learn, learn.model.training
        self.weights = copied(dict(learn.model.state_dict()))
        self.optimizer = copied(learn.optimizer.state_dict())
        self.scaler = copied(learn.scaler.state_dict()) if learn.scaler is not None else None
        self.chance = (random.getstate(), np.random.get_state(), torch.get_rng_state())
        self.cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
        self.epochs = [getattr(loader, "epoch", None) for loader in learn.dls.loaders]
        generators = [getattr(loader, "generator", None) for loader in learn.dls.loaders]
        self.generators = [(each, each.get_state()) for each in generators if isinstance(each, torch.Generator)]
        self.recorder = {k: list(v) if type(v) is list else v for k, v in learn.recorder.__dict__.items()}

    def restore(self) -> None:
        """Put everything back as it was; may be called more than once."""
        learn = self.learn
        learn.model.load_state_dict(self.weights)
        learn.model.train(self.was_training)
        learn.optimizer.load_state_dict(copied(self.optimizer))  # a copy: the optimizer goes on in what it is given
        if learn.scaler is not None and self.scaler is not None:
            learn.scaler.load_state_dict(self.scaler)
        random.setstate(self.chance[0])
        np.random.set_state(self.chance[1])
        torch.set_rng_state(self.chance[2])
        if self.cuda is not None:
            torch.cuda.set_rng_state_all(self.cuda)
        for loader, epoch in zip(learn.dls.loaders, self.epochs, strict=True):
            if epoch is not None:
                loader.epoch = epoch
        for generator, state in self.generators:
            generator.set_state(state)
        kept = {k: list(v) if type(v) is list else v for k, v in self.recorder.items()}
        learn.recorder.__dict__ = {**kept, "learn": learn}


def copied(state: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a state; its tensors are copied into the computer's own memory."""

    def copy(leaf: Any) -> Any:
        return leaf.detach().to("cpu", copy=True) if isinstance(leaf, Tensor) else leaf

    made: dict[str, Any] = apply(copy, state)
    return made
