"""Where a transformer looks: after reading it you know how its attention weights are read out and drawn.

A row of the map is a token that is being rewritten, a column one that it takes from; each row adds up to 1. Weights
tell what flows where in one layer, not what the answer hangs on (Jain and Wallace 2019): for that see attribution.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError
from flambeau.text.as_read import TextAsRead, as_read
from flambeau.text.transformer_models import TransformerModel

if TYPE_CHECKING:
    from flambeau.train.learner import Learner

GREY = "#8b949e"
SMALLEST, LARGEST = 3.6, 14.0  # sides of a map in inches


@dataclass(frozen=True, repr=False)
class AttentionMap:
    """The attention of a transformer over one text.

    Args:
        tokens: as a person reads them; markers: which of them are no part of the text.
        weights: (layer, head, time, time), each row (the token that looks) adding up to 1.
        layer, head: what `matrix` and `plot` show; head None is the mean of all heads.
    """

    tokens: list[str]
    markers: list[bool]
    weights: Tensor
    layer: int
    head: int | None

    @property
    def matrix(self) -> Tensor:
        """The weights that are shown (time, time)."""
        heads = self.weights[self.layer]
        return heads.mean(0) if self.head is None else heads[self.head]

    def plot(self) -> Drawing:
        """Draw the weights: a row a token that looks, a column one that is looked at.

        Markers take in most of the attention; the scale ends at the largest weight between other tokens.
        """
        import matplotlib.pyplot as plt

        n, shown = len(self.tokens), self.matrix
        side = min(max(SMALLEST, 1.5 + 0.26 * n), LARGEST)
        size = min(9.0, max(3.0, 0.7 * 72 * (side - 1.5) / n))  # in points
        figure, ax = plt.subplots(figsize=(side + 0.8, side), layout="constrained")
        inner = ~torch.tensor(self.markers)
        largest = float(shown[inner][:, inner].max()) if inner.any() else float(shown.max())
        picture = ax.imshow(shown.numpy(), cmap="Blues", vmin=0, vmax=largest, interpolation="nearest")
        ax.set_xticks(range(n), self.tokens, rotation=90, fontsize=size, parse_math=False)
        ax.set_yticks(range(n), self.tokens, fontsize=size, parse_math=False)
        for axis in (ax.xaxis, ax.yaxis):
            for label, is_marker in zip(axis.get_ticklabels(), self.markers, strict=True):
                label.set_color(GREY if is_marker else "black")
        ax.tick_params(length=0)
        ax.set(title=self._headline(), xlabel="looked at", ylabel="looking")
        beyond = float(shown.max()) > largest
        figure.colorbar(picture, ax=ax, shrink=0.7, extend="max" if beyond else "neither")
        return Drawing(figure)

    def _headline(self) -> str:
        heads = f"mean of {self.weights.shape[1]} heads" if self.head is None else f"head {self.head}"
        return f"attention, layer {self.layer} (of 0 to {len(self.weights) - 1}), {heads}"

    def __repr__(self) -> str:
        return f"{self._headline()}: {len(self.tokens)} tokens"


def attention(learn: Learner, text: str | tuple[str, str], layer: int = -1, head: int | None = None) -> AttentionMap:
    """Return where a transformer looks when it reads a text (or a pair): weights of all layers, one of them to plot.

    `layer` and `head` count from 0, -1 is the last; without a head the mean of all is shown.

    Raises:
        ArgumentError: the model has no attention, the text is longer than its window, or there is no such layer.
    """
    model = learn.model
    if not isinstance(model, TransformerModel):
        raise ArgumentError(
            f"A {type(model).__name__} has no attention to look at: transformers have (see transformer_learner), an "
            "AWD-LSTM reads word by word. attribute(learn, text) shows which words counted."
        )
    if model.task == "similarity":
        raise ArgumentError(
            "This model reads the two texts apart, so no attention goes from one to the other. A learner of "
            "task='regression' reads them together."
        )
    read = as_read(learn.dls, text)
    if len(read.ids) > model.window:
        raise ArgumentError(
            f"The text is {len(read.ids)} tokens long, and the model looks at {model.window} at once. Pass a part."
        )
    weights = _weights(model, read)
    n_layers, n_heads = weights.shape[:2]
    for what, number, n in (("layer", layer, n_layers), ("head", head, n_heads)):
        if number is not None and not -n <= number < n:
            raise ArgumentError(f"There is no {what} {number}: the model has {n}, numbered from 0 to {n - 1}.")
    places = {place for word in read.words if word.is_marker for place in word.places}
    markers = [place in places for place in range(len(read.tokens))]
    return AttentionMap(read.tokens, markers, weights, layer % n_layers, None if head is None else head % n_heads)


@torch.no_grad()
def _weights(model: TransformerModel, read: TextAsRead) -> Tensor:
    """Return the attention of a text (layer, head, time, time), on the CPU."""
    kept: list[Any] = []
    was_training = model.training
    model.eval()
    handle = model.body.register_forward_hook(lambda _, inputs, output: kept.append(output.get("attentions")))
    try:
        with _written_out(model.net):
            model(read.ids[None].to(next(model.parameters()).device))
    finally:
        handle.remove()
        model.train(was_training)
    found = [part[0].float().cpu() for part in kept[0] or () if part is not None]
    if not found:
        raise ArgumentError(f"A {type(model.net).__name__} gives no attention weights out.")
    return torch.stack(found)


@contextmanager
def _written_out(net: Any) -> Iterator[None]:
    """Let a network compute attention by the formula: the fused function gives no weights out."""
    config = net.config
    before, told = config._attn_implementation, config.output_attentions
    net.set_attn_implementation("eager")
    config.output_attentions = True
    try:
        yield
    finally:
        config.output_attentions = told
        net.set_attn_implementation(before)
