"""Whether answers can be read: after reading it you know how a model's outputs are held against the classes.

A model gives one number a class. Where its last layer tells how many it gives, that is compared before anything is
predicted; a number that is NaN is found when the answer comes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.data.dataset import in_few_words
from flambeau.data.kinds import Category, Kind, Mask, MultiCategory
from flambeau.foundation.errors import TrainingError
from flambeau.foundation.nested import find_tensors
from flambeau.nn.losses import activation_of

# layers that leave the number of outputs as it is
KEEPING = (
    *(nn.Identity, nn.Dropout, nn.Dropout2d, nn.Softmax, nn.LogSoftmax, nn.Sigmoid, nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU),
    *(nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d),
)
NAMED = 3  # weights
PROBE = torch.tensor([[-1.0, 0.0, 3.0]])  # numbers that sum to 1 after a softmax alone


def n_outputs_of(model: nn.Module) -> int | None:
    """Return how many numbers an item (or pixel) the last layer of a sequence gives; None where that cannot be told."""
    if isinstance(model, nn.Sequential):
        for layer in reversed(model):
            if not isinstance(layer, KEEPING):
                return n_outputs_of(layer)
        return None
    if isinstance(model, nn.Linear):
        return model.out_features
    if isinstance(model, nn.Conv2d):
        return model.out_channels
    return model.num_features if isinstance(model, nn.BatchNorm1d | nn.BatchNorm2d) else None


def n_classes_of(kinds: Sequence[Kind], loss_func: Any) -> int | None:
    """Return how many numbers an item the targets' classes ask for, read by this loss; None where it cannot be told.

    Two classes may be told apart by one number, with a loss of its own; so only a softmax says that each has its own.
    """
    if len(kinds) != 1:
        return None
    if isinstance(kinds[0], MultiCategory):
        return len(kinds[0].vocab)
    names = getattr(kinds[0], "vocab", None) or getattr(kinds[0], "codes", None)
    if not isinstance(kinds[0], Category | Mask) or not names:
        return None
    try:
        answered = activation_of(loss_func)(PROBE)
    except Exception:  # an activation of the user's own, or over an axis that three numbers do not have
        return None
    sums_to_one = isinstance(answered, Tensor) and torch.equal(answered.argsort(), PROBE.argsort())
    return len(names) if sums_to_one and abs(float(answered.sum()) - 1) < 1e-4 else None


def odd_outputs(model: nn.Module, kinds: Sequence[Kind], loss_func: Any) -> int:
    """Return how many more outputs than classes a model has (fewer: below 0); 0 too where that cannot be told."""
    n_outputs, n_classes = n_outputs_of(model), n_classes_of(kinds, loss_func)
    return 0 if n_outputs is None or n_classes is None else n_outputs - n_classes


def require_numbers(
    answers: Any, inputs: Sequence[Any], model: nn.Module | Sequence[nn.Module], name: Callable[[int], str]
) -> None:
    """Raise a TrainingError where the answer for an item of a batch is NaN, which any class would be as good as.

    `answers` are activated predictions, `name(place)` tells which item stands at a place of the batch.
    """
    place = _first_nan(answers)
    if place is None:
        return
    models = [model] if isinstance(model, nn.Module) else model
    spoilt = [weight for one in models for weight in spoilt_weights(one)]
    if spoilt:
        why = (
            f"The weights themselves are no finite numbers ({in_part(spoilt)}): the training diverged. "
            "Train anew with a lower learning rate (learn.lr_find() suggests one), or load weights from before."
        )
    elif any(_is_float(t) and not torch.isfinite(t[place : place + 1]).all() for t in find_tensors(tuple(inputs))):
        why = "The item itself holds NaN or infinite numbers: mend it, or leave it out."
    else:
        why = (
            "Weights and item are finite, so numbers grew too large on their way through the layers. Prepare the item "
            "as in training (Normalize), or train with a lower learning rate."
        )
    raise TrainingError(f"The model's answer for {name(place)} is NaN, which is no number, so it has no label. {why}")


def _is_float(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.ndim > 0


def _first_nan(answers: Any) -> int | None:
    places = [
        int(spoilt.nonzero()[0])
        for tensor in find_tensors(answers)
        if _is_float(tensor) and (spoilt := tensor.isnan().reshape(len(tensor), -1).any(1)).any()
    ]
    return min(places, default=None)


def item_words(item: Any) -> str:
    """Return words that tell a person which item this is: a row of a table by its name, else in few words."""
    return f"row {item.name!r} of the table" if hasattr(item, "iloc") else in_few_words(item)


def spoilt_weights(model: nn.Module) -> list[str]:
    """Return the names of parameters that are NaN or infinite, and of buffers that are NaN."""
    parameters = [name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()]
    # an attention mask holds -infinity on purpose
    return parameters + [name for name, table in model.named_buffers() if table.isnan().any()]


def in_part(names: Sequence[Any]) -> str:
    """Return the first few of many names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(str, names[:NAMED])) + more
