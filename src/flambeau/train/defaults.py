"""What a learner assumes when it is not told: after reading it you know which loss each kind of target gets."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from flambeau.data.kinds import Category, Kind, Mask, MultiCategory, Number, Points
from flambeau.foundation.errors import ArgumentError
from flambeau.nn.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat, MSELossFlat


def loss_for(kinds: Sequence[Kind]) -> nn.Module:
    """Return the loss for targets of these kinds: cross entropy for classes and masks, BCE for many labels, else MSE.

    Raises:
        ArgumentError: there are no targets, or several, or their meaning is not known.
    """
    if len(kinds) != 1:
        raise ArgumentError(
            f"The data have {len(kinds)} target columns, so the loss cannot be guessed. Pass loss_func=..., a function of "
            "the prediction and all targets."
        )
    kind = kinds[0]
    if isinstance(kind, Category):
        return CrossEntropyLossFlat()
    if isinstance(kind, Mask):
        return CrossEntropyLossFlat(axis=1)
    if isinstance(kind, MultiCategory):
        return BCEWithLogitsLossFlat()
    if isinstance(kind, Number | Points):
        return MSELossFlat()
    raise ArgumentError(
        f"The targets are of kind {type(kind).__name__}, from which the loss cannot be guessed. Pass loss_func=..., for "
        "example loss_func=F.cross_entropy for classes or MSELossFlat() for numbers."
    )
