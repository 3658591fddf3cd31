"""Training recurrent networks: after reading it you know what they need besides the loop, and why it keeps them stable.

They carry a state from batch to batch, which must be forgotten where other texts begin. And their activations are kept
small and slow: activation regularisation (AR) and temporal activation regularisation (TAR), Merity 2017.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from flambeau.foundation.errors import ArgumentError
from flambeau.foundation.nested import apply
from flambeau.train.callback import Callback


class ModelResetter(Callback):
    """Call the model's `reset` before each training and validation pass, and after the fit.

    A validation in the middle of a training pass leaves the state of that pass as it was. The state belongs to a run:
    with it one that is broken off in the middle of an epoch goes on with the same numbers.
    """

    def __init__(self) -> None:
        self._aside: dict[str, Any] = {}

    def before_train(self) -> None:
        self._reset()

    def before_validate(self) -> None:
        self._aside = self.state_dict()
        self._reset()

    def after_validate(self) -> None:
        self._reset()
        self.load_state_dict(self._aside)
        self._aside = {}

    def after_fit(self) -> None:
        self._reset()

    def _reset(self) -> None:
        reset = getattr(self.model, "reset", None)
        if reset is None:
            raise ArgumentError(
                f"ModelResetter calls the model's reset, and {type(self.model).__name__} has none. Give it a method "
                "reset(self) that forgets the state, or leave ModelResetter out."
            )
        reset()

    def state_dict(self) -> dict[str, Any]:
        """Return what each layer carries, by its name."""
        found = {name: _carried(layer) for name, layer in self.model.named_modules()}
        return {name: apply(_copy, state) for name, state in found.items() if state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Give each layer back what it carried."""
        layers = dict(self.model.named_modules())
        for name, attributes in state.items():
            for attribute, value in attributes.items():
                setattr(layers[name], attribute, apply(lambda tensor: tensor.to(self.learn.device), value))


def _carried(layer: nn.Module) -> dict[str, Any]:
    """Return the plain attributes of a layer that are tensors, or lists of them, and no weights."""
    return {name: value for name, value in vars(layer).items() if name[0] != "_" and _is_state(value)}


def _is_state(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return bool(value) and all(_is_state(part) for part in value)
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter)


def _copy(state: Tensor) -> Tensor:
    return state.detach().clone()  # a model's reset may fill its tensors with zeros


class RNNCallback(Callback):
    """Take the prediction out of what a recurrent model answers: (prediction, features, features after dropout).

    A model that answers with the prediction alone is left alone.
    """

    raw_out: Any = None
    out: Any = None

    def after_pred(self) -> None:
        pred = self.learn.pred
        if isinstance(pred, tuple | list) and len(pred) == 3:
            # a list holds the features of each layer; the last layer's count
            self.learn.pred, self.raw_out, self.out = (p[-1] if isinstance(p, tuple | list) else p for p in pred)

    def after_batch(self) -> None:
        self.raw_out = self.out = None  # else the batch's graph would stay


class RNNRegularizer(RNNCallback):
    """Add to the loss `alpha` times the mean square of the dropped features, and `beta` times that of their changes.

    The features are those of a model's last recurrent layer, `(batch, time, features)`: taken from what it answers, if
    that is (prediction, features, features after dropout), else watched while it answers.
    """

    order = RNNCallback.order - 1  # before an RNNCallback, which would leave it the prediction only

    def __init__(self, alpha: float = 0.0, beta: float = 0.0) -> None:
        self.alpha, self.beta = alpha, beta
        self._watching: RemovableHandle | None = None

    def before_fit(self) -> None:
        watch = getattr(self.model, "watch", None)
        if watch is not None:
            self._watching = watch(self._keep)

    def _keep(self, raw: Tensor, dropped: Tensor) -> None:
        if self.learn.training:
            self.raw_out, self.out = raw, dropped

    def after_loss(self) -> None:
        if not self.learn.training:
            return
        if self.out is None:
            raise ArgumentError(
                f"RNNRegularizer needs the last recurrent layer's features, and {type(self.model).__name__} gave a "
                "prediction only. Let it return (prediction, features, features after dropout), or leave this out."
            )
        if self.alpha:
            self.learn.loss_grad = self.learn.loss_grad + self.alpha * self.out.float().pow(2).mean()
        if self.beta and self.raw_out.shape[1] > 1:
            changes = self.raw_out[:, 1:] - self.raw_out[:, :-1]
            self.learn.loss_grad = self.learn.loss_grad + self.beta * changes.float().pow(2).mean()

    def after_fit(self) -> None:
        if self._watching is not None:
            self._watching.remove()
            self._watching = None


def rnn_cbs(alpha: float = 2.0, beta: float = 1.0) -> list[Callback]:
    """Return the callbacks that a recurrent model is trained with, regularised where `alpha` or `beta` is not 0."""
    return [ModelResetter(), RNNRegularizer(alpha, beta) if alpha or beta else RNNCallback()]
