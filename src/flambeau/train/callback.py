"""Callbacks: after reading it you know every moment at which code of yours can step into the training.

A callback is a class with methods named after events. It reads and writes the learner through `self.learn`; the names
that course code reads bare (`self.pred`, `self.loss`, `self.model`, ...) are read-only properties. Raising one of the
Cancel exceptions ends the stage it names, and only that stage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from flambeau.data.data_loaders import DataLoaders
    from flambeau.train.callbacks.recorder import Recorder
    from flambeau.train.learner import Learner


class CancelFitException(Exception):
    """End the whole training now."""


class CancelEpochException(Exception):
    """Go on with the next epoch."""


class CancelTrainException(Exception):
    """End the training half of this epoch and go on with its validation."""


class CancelValidException(Exception):
    """End the validation of this epoch."""


class CancelBatchException(Exception):
    """Go on with the next batch."""


class CancelBackwardException(Exception):
    """Skip the backward pass (a callback did it), go on with the step."""


class CancelStepException(Exception):
    """Skip the optimizer step (a callback did it); the gradients are cleared. To keep them, cancel the batch."""


EVENTS = (
    "after_create", "before_fit", "before_epoch", "before_train", "before_batch", "after_pred", "after_loss",
    "before_backward", "after_backward", "before_step", "after_step", "after_batch", "after_train",
    "before_validate", "after_validate", "after_epoch", "after_fit",
)  # fmt: skip


class Callback:
    """Code that runs at the training's events; override the ones you need.

    `order` sorts callbacks within an event (default 0; mixed precision -10, schedules 10, the recorder 50, the progress
    display 60, loggers 62, trackers 65, averaged weights 70, early stopping 80). With `run_train` or `run_valid` False
    a callback sees no batches of training or of validation; the events around them reach it. With `run_lr_find` False
    it takes no part in the search for a learning rate. An event nobody overrides costs nothing.

    Where several processes train together, each has its callbacks. One with `first_process_only`, which shows or writes
    something, is called in the first alone; it must not call what all take part in (`validate`, `save`).
    """

    order: int = 0
    run_train: bool = True
    run_valid: bool = True
    run_lr_find: bool = True
    first_process_only: bool = False
    learn: Learner

    def after_create(self) -> None:
        """The learner has been made, or this callback added to it."""

    def before_fit(self) -> None:
        """The training begins: model and optimizer are ready."""

    def before_epoch(self) -> None:
        """An epoch begins."""

    def before_train(self) -> None:
        """The training half of an epoch begins."""

    def before_batch(self) -> None:
        """A batch has arrived (`learn.xb`, `learn.yb` may be replaced)."""

    def after_pred(self) -> None:
        """The model has answered (`learn.pred` may be replaced)."""

    def after_loss(self) -> None:
        """The loss is known (`learn.loss_grad`, which is differentiated, may be replaced)."""

    def before_backward(self) -> None:
        """The gradients are about to be computed (training only)."""

    def after_backward(self) -> None:
        """The gradients are there."""

    def before_step(self) -> None:
        """The optimizer is about to step: the place to clip or scale gradients."""

    def after_step(self) -> None:
        """The weights have changed; the gradients are still there."""

    def after_batch(self) -> None:
        """A batch is done, in training and in validation, also when it was cancelled."""

    def after_train(self) -> None:
        """The training half of an epoch is done."""

    def before_validate(self) -> None:
        """A validation begins."""

    def after_validate(self) -> None:
        """A validation is done."""

    def after_epoch(self) -> None:
        """An epoch is done, validation included."""

    def after_fit(self) -> None:
        """The training is over; runs also when it was interrupted or broke."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training must get back: plain values, as JSON has them, and tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned.

        That is after `before_fit` where the resumed run begins an epoch, after `before_train` in the middle of one.
        """

    @property
    def name(self) -> str:
        """The callback's name: its class in snake case, without "Callback"."""
        words = "".join("_" + c.lower() if c.isupper() else c for c in type(self).__name__).strip("_")
        return words.removesuffix("_callback")

    # what course code reads bare

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.learn.model

    @property
    def dls(self) -> DataLoaders:
        """The loaders."""
        return self.learn.dls

    @property
    def dl(self) -> Any:
        """The loader in use."""
        return self.learn.dl

    @property
    def opt(self) -> Optimizer:
        """The optimizer."""
        return self.learn.optimizer

    @property
    def loss_func(self) -> Any:
        """The loss function."""
        return self.learn.loss_func

    @property
    def xb(self) -> tuple[Any, ...]:
        """The batch's inputs."""
        return self.learn.xb

    @property
    def yb(self) -> tuple[Any, ...]:
        """The batch's targets."""
        return self.learn.yb

    @property
    def x(self) -> Any:
        """The batch's only input, or all of them."""
        return self.learn.x

    @property
    def y(self) -> Any:
        """The batch's only target, or all of them."""
        return self.learn.y

    @property
    def pred(self) -> Any:
        """What the model answered (None before it did)."""
        return self.learn.pred

    @property
    def loss(self) -> Tensor:
        """The batch's loss (None before it is known)."""
        loss: Tensor = self.learn.loss
        return loss

    @property
    def training(self) -> bool:
        """Whether this is training rather than validation."""
        return self.learn.training

    @property
    def epoch(self) -> int:
        """The current epoch, counted from 0."""
        return self.learn.epoch

    @property
    def n_epoch(self) -> int:
        """How many epochs this training has."""
        return self.learn.n_epoch

    @property
    def iter(self) -> int:
        """The current batch of this pass, counted from 0."""
        return self.learn.iter

    @property
    def n_iter(self) -> int:
        """How many batches this pass has."""
        return self.learn.n_iter

    @property
    def train_iter(self) -> int:
        """How many training batches have been done in this fit."""
        return self.learn.train_iter

    @property
    def pct_train(self) -> float:
        """How much of this fit's training is done, 0 to 1."""
        return self.learn.pct_train

    @property
    def recorder(self) -> Recorder:
        """The recorder of the history."""
        return self.learn.recorder
