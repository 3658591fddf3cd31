"""What a learner assumes when it is not told: after reading it you know the loss of each kind of target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from flambeau.data.kinds import Category, Kind, Mask, MultiCategory, Number, Points, Tokens
from flambeau.foundation.errors import ArgumentError
from flambeau.nn.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat, MSELossFlat, decode_of


def loss_for(kinds: Sequence[Kind]) -> nn.Module:
    """Return the loss for targets of these kinds: cross entropy for classes (masks, words), BCE for several, else MSE.

    Raises:
        ArgumentError: there are no targets, or several, or their meaning is not known.
    """
    if len(kinds) != 1:
        raise ArgumentError(
            f"The data have {len(kinds)} target columns, so the loss cannot be guessed. Pass loss_func=..., a function "
            "of the prediction and all targets."
        )
    kind = kinds[0]
    if isinstance(kind, Category | Tokens):
        return CrossEntropyLossFlat()
    if isinstance(kind, Mask):
        return CrossEntropyLossFlat(axis=1)
    if isinstance(kind, MultiCategory):
        return BCEWithLogitsLossFlat()
    if isinstance(kind, Number | Points):
        return MSELossFlat()
    raise ArgumentError(
        f"The targets are of kind {type(kind).__name__}, from which the loss cannot be guessed. Pass loss_func=..., "
        "for example loss_func=F.cross_entropy for classes or MSELossFlat() for numbers."
    )


def decoding_for(loss_func: Any, kinds: Sequence[Kind]) -> Callable[[Tensor], Tensor]:
    """Return what turns activated predictions into answers: as the loss says, else as the kind of the target tells.

    A loss of the user's own says nothing of answers; where the target is one class (an item or a pixel), the answer is
    the class with the largest number, on axis 1 as in torch's own losses.
    """
    decodes = decode_of(loss_func)
    one_class = len(kinds) == 1 and isinstance(kinds[0], Category | Mask)

    def decode(activated: Tensor) -> Tensor:
        answer = decodes(activated)
        untouched = answer is activated and answer.is_floating_point() and answer.ndim > 1
        return answer.argmax(1) if one_class and untouched else answer

    return decode
