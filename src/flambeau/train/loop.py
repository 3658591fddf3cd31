"""The training loop: after reading it you know everything that happens between `fit` and a trained model.

    fit
      epoch
        train:     for each batch: predict, loss, backward, step
        validate:  for each batch: predict, loss
Around each of these a before- and an after-event call the callbacks that wait for it. A Cancel exception raised in an
event ends exactly the stage it names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from flambeau.data.batch import Batch, as_batch
from flambeau.data.data_loaders import DataLoaders
from flambeau.train.callback import (
    EVENTS,
    Callback,
    CancelBackwardException,
    CancelBatchException,
    CancelEpochException,
    CancelFitException,
    CancelStepException,
    CancelTrainException,
    CancelValidException,
)

CANCEL: dict[str, type[Exception]] = {
    "fit": CancelFitException,
    "epoch": CancelEpochException,
    "train": CancelTrainException,
    "validate": CancelValidException,
    "batch": CancelBatchException,
    "backward": CancelBackwardException,
    "step": CancelStepException,
}
Events = dict[str, list[Callable[[], None]]]

# the events of a single batch, which a callback with run_train or run_valid False is spared
BATCH_EVENTS = frozenset(
    {"before_batch", "after_pred", "after_loss", "before_backward", "after_backward", "before_step", "after_step"}
    | {"after_batch"}
)
# where the loop stands and what it last saw
POSITION = (
    *("training", "dl", "n_iter", "iter", "train_iter", "pct_train", "_plans"),
    *("batch", "xb", "yb", "pred", "loss", "loss_grad"),
)


class Loop:
    """The loop and the state that callbacks see while it runs."""

    model: nn.Module
    dls: DataLoaders
    loss_func: Any
    optimizer: Optimizer

    dl: Any = None  # the loader in use
    batch: Any = None  # the `Batch`; this and what follows is None where there is none (yet)
    xb: tuple[Any, ...] = ()
    yb: tuple[Any, ...] = ()
    pred: Any = None
    loss: Any = None
    loss_grad: Any = None  # what is differentiated: the loss, unless a callback scales it
    training: bool = False
    epoch: int = 0
    n_epoch: int = 1
    iter: int = 0
    n_iter: int = 0
    train_iter: int = 0
    pct_train: float = 0.0
    completed: bool = False  # whether the last fit came to an end of its own, or by a Cancel exception

    def __init__(self, cbs: Sequence[Callback]) -> None:
        self.cbs: list[Callback] = list(cbs)
        # mixed precision sets these two: see callbacks/precision.py
        self.autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
        self.scaler: torch.amp.GradScaler | None = None
        # several processes that train together set this one: see callbacks/distributed.py
        self.is_first_process = True
        self._plans: dict[bool, Events] = {}
        # of a training pass that is taken up in its middle: how many batches are done, and those to come
        self.rest: tuple[int, Iterable[Any]] | None = None

    def fit_epochs(self, n_epoch: int, start_epoch: int = 0) -> None:
        """Train for `n_epoch` epochs in all, beginning with `start_epoch`."""
        self.n_epoch, self.epoch = n_epoch, start_epoch
        self.train_iter, self.pct_train, self.rest = 0, start_epoch / max(n_epoch, 1), None
        self.plan_events()
        self.completed = False
        try:
            self.stage("fit", lambda: self._epochs(start_epoch), after=False)
            self.completed = True
        finally:
            self._end_fit()

    def _end_fit(self) -> None:
        """Call every callback that waits for the end, even if one of them fails, and let go of the last batch."""
        with suppress(CancelFitException), ExitStack() as last_first:
            last_first.callback(self._forget_batch)
            for method in reversed(self._plans[self.training].get("after_fit", [])):
                last_first.callback(method)

    def _forget_batch(self) -> None:
        self.batch = self.pred = self.loss = self.loss_grad = None
        self.xb = self.yb = ()

    def _epochs(self, start_epoch: int) -> None:
        for epoch in range(start_epoch, self.n_epoch):
            self.epoch = epoch
            self.stage("epoch", self._one_epoch)

    def _one_epoch(self) -> None:
        self._enter(training=True, dl=self.dls.train)
        self.stage("train", self._all_batches)
        if len(self.dls.loaders) > 1:
            self.run_validation(self.dls.valid)

    def run_validation(self, dl: Iterable[Any]) -> None:
        """Run the model over a loader without learning."""
        self._enter(training=False, dl=dl)
        with torch.no_grad():
            self.stage("validate", self._all_batches)

    def _enter(self, training: bool, dl: Any) -> None:
        self.training, self.dl, self.n_iter = training, dl, len(dl)
        self.model.train(training)

    def _all_batches(self) -> None:
        n_inp, device = self.dls._n_inp or getattr(self.dls.train, "n_inp", None), self.device
        n_done, batches = self.rest or (0, self.dl)
        self.rest = None
        for place, raw in enumerate(batches, n_done):
            self.iter = place
            if self.training:
                self.pct_train = (self.epoch + min(place / self.n_iter, 1)) / self.n_epoch
            self.batch = raw if isinstance(raw, Batch) else as_batch(raw, n_inp).to(device)
            self.xb, self.yb = self.batch.inputs, self.batch.targets
            self.pred = self.loss = self.loss_grad = None
            self.stage("batch", self._one_batch)

    def _one_batch(self) -> None:
        try:
            with self.autocast():
                self.pred = self.model(*self.xb)
            self.event("after_pred")
            if not self.yb and not self.training:
                return
            self.loss = self.loss_grad = self.loss_func(self.pred, *self.yb)
            self.event("after_loss")
            if self.training:
                self.stage("backward", self._backward)
                self.stage("step", self._step)
                self.optimizer.zero_grad()
        finally:
            if self.training:
                self.train_iter += 1
                self.pct_train += 1 / (self.n_iter * self.n_epoch)

    def _backward(self) -> None:
        self.loss_grad.backward()

    def _step(self) -> None:
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)  # no step where a scaled gradient overflowed

    # stages and events

    def stage(self, name: str, body: Callable[[], None], after: bool = True) -> None:
        """Run a stage between its before- and after-event; its own Cancel exception, raised anywhere in it, ends it."""
        try:
            self.event("before_" + name)
            body()
        except CANCEL[name]:
            pass
        if after:
            try:
                self.event("after_" + name)
            except CANCEL[name]:
                pass  # the stage is over already

    def event(self, name: str) -> None:
        """Call the callbacks that wait for an event, in their order."""
        for method in self._plans[self.training].get(name, ()):
            method()

    def plan_events(self) -> None:
        """Note for each event whom to call, so that an event nobody waits for costs nothing."""
        called = [cb for cb in self.cbs if self.is_first_process or not cb.first_process_only]
        cbs = sorted(called, key=lambda cb: cb.order)
        self._plans = {
            training: {
                event: [
                    getattr(cb, event)
                    for cb in cbs
                    if getattr(type(cb), event, None) is not getattr(Callback, event)
                    and (event not in BATCH_EVENTS or (cb.run_train if training else cb.run_valid))
                ]
                for event in EVENTS
            }
            for training in (True, False)
        }

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Put everything back afterwards where it stood, so that a callback may validate in the middle of a fit."""
        before = {name: getattr(self, name) for name in POSITION}
        was_training = self.model.training
        try:
            yield
        finally:
            self.__dict__.update(before)
            self.model.train(was_training)

    @property
    def device(self) -> torch.device:
        """Where the model and the batches are."""
        return self.dls.device

    @property
    def x(self) -> Any:
        """The batch's only input, or all of them."""
        return self.xb[0] if len(self.xb) == 1 else self.xb

    @property
    def y(self) -> Any:
        """The batch's only target, or all of them."""
        return self.yb[0] if len(self.yb) == 1 else self.yb
