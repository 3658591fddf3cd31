"""A snapshot: after reading it you know everything that a training changes, and so what to put back to undo one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from flambeau.foundation.nested import apply
from flambeau.train.loaders_chance import LoadersChance

if TYPE_CHECKING:
    from flambeau.train.learner import Learner


class Snapshot:
    """Everything that a training disturbs, kept in the computer's own memory, where it takes none of the device's."""

    def __init__(self, learn: Learner) -> None:
        self.learn, self.was_training = learn, learn.model.training
        self.weights = copied(dict(learn.model.state_dict()))
        self.optimizer = copied(learn.optimizer.state_dict())
        self.scaler = copied(learn.scaler.state_dict()) if learn.scaler is not None else None
        self.chance = LoadersChance.now(learn.dls.loaders)
        self.epochs = [getattr(loader, "epoch", None) for loader in learn.dls.loaders]
        self.recorder = {k: list(v) if type(v) is list else v for k, v in learn.recorder.__dict__.items()}

    def restore(self) -> None:
        """Put everything back as it was; may be called more than once."""
        learn = self.learn
        learn.model.load_state_dict(self.weights)
        learn.model.train(self.was_training)
        learn.optimizer.load_state_dict(copied(self.optimizer))  # a copy: the optimizer goes on in what it is given
        if learn.scaler is not None and self.scaler is not None:
            learn.scaler.load_state_dict(self.scaler)
        self.chance.restore(learn.dls.loaders)
        for loader, epoch in zip(learn.dls.loaders, self.epochs, strict=True):
            if epoch is not None:
                loader.epoch = epoch
        kept = {k: list(v) if type(v) is list else v for k, v in self.recorder.items()}
        learn.recorder.__dict__ = {**kept, "learn": learn}


def copied(state: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a state; its tensors are copied into the computer's own memory."""

    def copy(leaf: Any) -> Any:
        return leaf.detach().to("cpu", copy=True) if isinstance(leaf, Tensor) else leaf

    made: dict[str, Any] = apply(copy, state)
    return made
