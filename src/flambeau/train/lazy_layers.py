"""Lazy layers: after reading it you know how `nn.LazyLinear` and its like learn their size before any training.

Such a layer has no weights until it has seen an input, so that no optimizer can hold them. One batch is run through
the model when its learner is made; weights of an export tell the sizes by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.errors import FlambeauError, ShapeError
from flambeau.nn.hooks import evaluating


def lazy_layers(model: nn.Module) -> list[str]:
    """Return the names of the layers that do not know their size yet."""
    return [
        name or "the model itself"
        for name, layer in model.named_modules()
        if any(map(is_lazy, (*layer.parameters(recurse=False), *layer.buffers(recurse=False))))
    ]


def size_lazy_layers(model: nn.Module, dls: DataLoaders) -> None:
    """Let lazy layers see one training batch, without gradients; other chance than their first weights stays as it is.

    Raises:
        ShapeError: the model cannot take the batch, or leaves lazy layers out.
    """
    names = lazy_layers(model)
    if not names:
        return
    state = torch.random.get_rng_state()
    batch = dls.one_batch()
    torch.random.set_rng_state(state)  # a plain loader has shuffled; what follows is to see the same chance
    try:
        with evaluating(model):
            model(*batch.to(dls.device).inputs)
    except FlambeauError:
        raise
    except Exception as error:  # layers raise whatever they like
        shapes = ", ".join(str(tuple(x.shape)) if isinstance(x, Tensor) else type(x).__name__ for x in batch.inputs)
        raise ShapeError(
            f"The model has lazy layers ({', '.join(names)}), which learn their size from a first batch, but it cannot "
            f"take one of shape {shapes}: {type(error).__name__}: {error}"
        ) from error
    left = lazy_layers(model)
    if left:
        raise ShapeError(
            f"The lazy layers {', '.join(left)} got no input from a batch, so that their size is not known. Give them "
            "their size (nn.Linear instead of nn.LazyLinear), or take them out."
        )


def size_by_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Let lazy layers take the sizes of the weights that are to be loaded."""
    for name, layer in model.named_modules():
        own = (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False))
        for part, value in own:
            kept = weights.get(f"{name}.{part}" if name else part)
            if is_lazy(value) and kept is not None:
                value.materialize(kept.shape)
