"""Mixed precision: after reading it you know what runs in 16 bits, and why float16 needs its loss scaled."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from flambeau.foundation.errors import ArgumentError
from flambeau.foundation.nested import apply
from flambeau.train.callback import Callback


class MixedPrecision(Callback):
    """Run the forward pass in 16 bits under autocast; weights, gradients and losses stay float32.

    float16 has few exponent bits: small gradients vanish, so the loss is scaled up and the gradients down again
    (Micikevicius 2018). bfloat16 does not need that. On the CPU float16 is slow, so bfloat16 is taken instead.
    """

    # before the callbacks that look at predictions or gradients: these shall see float32, unscaled. Only what makes the
    # step wait (accumulation) must come earlier still, because gradients are unscaled once a step.
    order = -10

    def __init__(self, dtype: str = "float16") -> None:
        if dtype not in ("float16", "bfloat16"):
            raise ArgumentError(f"Mixed precision knows 'float16' and 'bfloat16', got {dtype!r}.")
        self.dtype = dtype
        self._unscaled = False

    def after_create(self) -> None:
        """Switch the learner to 16 bits, as its device has them."""
        kind = self.learn.device.type
        dtype = torch.bfloat16 if kind == "cpu" or self.dtype == "bfloat16" else torch.float16
        self.learn.scaler = torch.amp.GradScaler(kind) if dtype is torch.float16 and kind == "cuda" else None
        self.learn.autocast = partial(torch.autocast, kind, dtype=dtype)

    def switch_off(self) -> None:
        """Give the learner back its full precision."""
        self.learn.autocast, self.learn.scaler = nullcontext, None

    def after_pred(self) -> None:
        self.learn.pred = as_float32(self.learn.pred)

    def before_backward(self) -> None:
        if self.learn.scaler is not None:
            self.learn.loss_grad = self.learn.scaler.scale(self.learn.loss_grad)

    def before_step(self) -> None:
        if self.learn.scaler is not None:
            self.learn.scaler.unscale_(self.learn.optimizer)
            self._unscaled = True

    def after_step(self) -> None:
        if self.learn.scaler is not None and self._unscaled:
            self.learn.scaler.update()
            self._unscaled = False


def as_float32(value: Any) -> Any:
    """Return 16-bit tensors as float32, also inside tuples, lists and dictionaries."""

    def widen(leaf: Any) -> Any:
        return leaf.float() if isinstance(leaf, Tensor) and leaf.dtype in (torch.float16, torch.bfloat16) else leaf

    return apply(widen, value)
