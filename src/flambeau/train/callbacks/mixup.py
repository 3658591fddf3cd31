"""Mixed pictures: after reading it you know how two items become one, and what loss their mixture is given.

An item is mixed with another of its batch, `share` of the one and `1 - share` of the other, and the loss is mixed the
same way: `share * loss(prediction, own target) + (1 - share) * loss(prediction, other target)`. Cross entropy, with or
without label smoothing and class weights, is linear in its target, so that this is its loss for the soft target.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.data.kinds import Points
from flambeau.foundation.errors import ArgumentError
from flambeau.nn.losses import LossFunction, can_unreduce, unreduced
from flambeau.train.callback import Callback


class BatchMixer(Callback):
    """Mix the items of each training batch, and their loss; validation sees neither.

    Whole-number targets (classes, masks of classes) mix their losses; targets of real numbers are mixed themselves. The
    luck of a batch follows from `seed`, the loader's epoch and the batch's place alone, so that a resumed training has
    the same. Without `seed` one is drawn from Python's generator, which `set_seed` governs.
    """

    order = -8  # before the callbacks that look at the loss
    run_valid = False

    def __init__(self, alpha: float, seed: int | None = None) -> None:
        if alpha <= 0:
            raise ArgumentError(f"{type(self).__name__}(alpha) shapes a beta distribution: above 0, got {alpha!r}.")
        self.alpha = alpha
        self.seed = random.getrandbits(32) if seed is None else seed
        self._others: tuple[Tensor, ...] | None = None

    @abstractmethod
    def mixed(
        self, inputs: tuple[Tensor, ...], order: Tensor, chance: np.random.Generator
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the inputs mixed with those at `order`, and each item's own share, shape `(batch,)`."""

    def before_fit(self) -> None:
        mixers = [type(cb).__name__ for cb in self.learn.cbs if isinstance(cb, BatchMixer)]
        if len(mixers) > 1:
            raise ArgumentError(
                f"{' and '.join(mixers)} would mix each batch twice, and its loss would fit one mixture only. Choose "
                "one of them, or train first with the one and then with the other."
            )

    def before_batch(self) -> None:
        learn, self._others = self.learn, None
        n_items = learn.batch.n_items
        if n_items < 2:  # there is nobody to mix with
            return
        self._require_tensors()
        epoch = getattr(learn.dl, "epoch", learn.epoch)
        chance = np.random.default_rng((self.seed, epoch, learn.iter))
        order = torch.from_numpy(chance.permutation(n_items)).to(learn.xb[0].device)
        learn.xb, self._share = self.mixed(learn.xb, order, chance)
        if all(target.is_floating_point() for target in learn.yb):
            learn.yb = tuple(blend(target, target[order], self._share) for target in learn.yb)
            return
        if not can_unreduce(learn.loss_func):
            raise ArgumentError(
                f"{self._name} mixes the losses of single items, and {_named(learn.loss_func)} gives one number a "
                "batch and takes no 'reduction'. Add an argument reduction='mean' that 'none' turns off, or use a loss "
                "of torch or flambeau."
            )
        self._others = tuple(target[order] for target in learn.yb)

    def after_loss(self) -> None:
        if self._others is not None:
            learn = self.learn
            mixed = mixed_loss(learn.loss_func, learn.loss, learn.pred, learn.yb, self._others, self._share)
            learn.loss = learn.loss_grad = mixed

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self.seed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seed = state["seed"]

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _require_tensors(self) -> None:
        learn = self.learn
        for what, columns in (("input", learn.xb), ("target", learn.yb)):
            for place, value in enumerate(columns):
                if not isinstance(value, Tensor):
                    raise ArgumentError(
                        f"{self._name} mixes tensors, and {what} {place} is a {type(value).__name__}. "
                        "Take it out of cbs for this model."
                    )
        if not learn.yb:
            raise ArgumentError(f"{self._name} needs targets to mix, and the batch has none.")
        if any(isinstance(kind, Points) for kind in learn.batch.target_kinds):
            raise ArgumentError(
                f"{self._name} cannot mix points or boxes: between the corners of two pictures' objects there is "
                "nothing. Take it out of cbs for this model."
            )


class MixUp(BatchMixer):
    """Blend each item with another of its batch (Zhang 2018).

    Each item draws its share from Beta(alpha, alpha) and keeps at least half of itself.
    """

    def __init__(self, alpha: float = 0.4, seed: int | None = None) -> None:
        super().__init__(alpha, seed)

    def mixed(
        self, inputs: tuple[Tensor, ...], order: Tensor, chance: np.random.Generator
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        for place, value in enumerate(inputs):
            if not value.is_floating_point():
                raise ArgumentError(
                    f"MixUp blends real numbers, and input {place} holds {value.dtype}: between two classes, words or "
                    "codes there is none. Turn pictures into floats first (IntToFloatTensor), or leave MixUp out."
                )
        draws = chance.beta(self.alpha, self.alpha, len(order))
        share = torch.from_numpy(np.maximum(draws, 1 - draws)).to(inputs[0])
        return tuple(blend(value, value[order], share) for value in inputs), share


class CutMix(BatchMixer):
    """Paste a box of one picture onto another (Yun 2019); the share is what is left of the area.

    One box a batch: its area is drawn from Beta(alpha, alpha), its centre evenly; what lies outside is cut off.
    """

    def __init__(self, alpha: float = 1.0, seed: int | None = None) -> None:
        super().__init__(alpha, seed)

    def mixed(
        self, inputs: tuple[Tensor, ...], order: Tensor, chance: np.random.Generator
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        if any(value.ndim != 4 or value.shape[2:] != inputs[0].shape[2:] for value in inputs):
            shapes = ", ".join(str(tuple(value.shape)) for value in inputs)
            raise ArgumentError(
                f"CutMix cuts pictures, inputs of shape (batch, channels, height, width), and got {shapes}."
            )
        if any(target.ndim > 2 for target in self.learn.yb):
            shapes = ", ".join(str(tuple(target.shape)) for target in self.learn.yb)
            raise ArgumentError(
                f"CutMix gives each picture one share of two targets, and these targets have a place in the picture: "
                f"{shapes}. Use MixUp for masks."
            )
        height, width = inputs[0].shape[2:]
        top, bottom, left, right = box(height, width, float(chance.beta(self.alpha, self.alpha)), chance)
        pasted = []
        for value in inputs:
            cut = value.clone()  # the batch may be the loader's, which serves it again
            cut[..., top:bottom, left:right] = value[order][..., top:bottom, left:right]
            pasted.append(cut)
        share = 1 - (bottom - top) * (right - left) / (height * width)
        return tuple(pasted), torch.full((len(order),), share, device=inputs[0].device)


def box(height: int, width: int, share: float, chance: np.random.Generator) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right) of a box of `1 - share` of the area, as much of it as is inside."""
    side = (1 - share) ** 0.5
    tall, wide = round(height * side), round(width * side)
    middle_y, middle_x = int(chance.integers(height)), int(chance.integers(width))
    top, left = middle_y - tall // 2, middle_x - wide // 2
    return max(top, 0), min(top + tall, height), max(left, 0), min(left + wide, width)


def blend(own: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Return `share * own + (1 - share) * other`, with a share for each item."""
    return torch.lerp(other, own, share.to(own.dtype).reshape(-1, *[1] * (own.ndim - 1)))


def mixed_loss(
    loss_func: LossFunction,
    loss: Tensor,
    prediction: Tensor,
    targets: tuple[Tensor, ...],
    others: tuple[Tensor, ...],
    share: Tensor,
) -> Tensor:
    """Return the loss of mixed items; `loss` is `loss_func(prediction, *targets)`.

    A mean divides by the number of items, or by the sum of their classes' weights, or leaves out what is to be ignored.
    What it was is read off `loss`; it is the same for `others`, which are the targets in another order.
    """
    with unreduced(loss_func) as per_item:
        own, other = per_item(prediction, *targets), per_item(prediction, *others)
    total = own.detach().sum()
    scale = torch.where(total == 0, 1 / len(own), loss.detach() / total)
    return torch.lerp(other, own, share.to(own.dtype)).sum() * scale


def _named(loss_func: Any) -> str:
    return str(getattr(loss_func, "__name__", type(loss_func).__name__))
