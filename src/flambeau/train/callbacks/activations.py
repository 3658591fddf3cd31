"""Activations while training: after reading it you can see a layer die, saturate or explode, and when it began.

A healthy layer keeps a steady mean and deviation and few outputs near zero. Training that rises and falls in waves, as
the colourful picture shows at a glance, forgets each time what it had learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError
from flambeau.foundation.lists import L
from flambeau.nn.hooks import Hooks
from flambeau.train.callback import Callback

# At or below it a ReLU gives (almost) nothing on: outputs below zero count as dead too.
NEAR_ZERO = 0.05
N_BINS, TOP = 40, 10.0
NAMES = ("mean", "std", "near_zero")


class ActivationStats(Callback):
    """Note mean, deviation and share near zero of the outputs of each layer, at each training batch.

    `modules` are the layers to watch (default: all that have parameters and no children), numbered from 0; negative
    numbers count from the end. `with_hist` notes a histogram as well, which `color_dim` draws. `every` looks at each
    n-th batch only. Reached as `learn.activation_stats`.
    """

    run_valid = False

    def __init__(
        self, with_hist: bool = False, modules: Sequence[nn.Module] | None = None, every: int | None = None
    ) -> None:
        if every is not None and every < 1:
            raise ArgumentError(f"ActivationStats(every=...) counts from 1 on, got {every!r}.")
        self.with_hist, self.modules, self.every = with_hist, modules, every
        self._hooks: Hooks | None = None
        self._forget()

    def _forget(self) -> None:
        self._moments: list[list[Tensor]] = []  # a row a batch; nothing is asked of the device until someone looks
        self._histograms: list[list[Tensor]] = []

    def after_create(self) -> None:
        self.learn.activation_stats = self

    def before_fit(self) -> None:
        self._forget()
        if getattr(self.learn.model, "_compiled_call_impl", None) is not None:
            raise ArgumentError(
                "ActivationStats cannot look into a compiled model: its layers are not called one by one. Use it with "
                "a learner that was not compiled."
            )
        layers = [m for m in self.learn.model.modules() if not list(m.children()) and list(m.parameters(recurse=False))]
        self.layers = list(self.modules) if self.modules is not None else layers

    def before_batch(self) -> None:
        if self.every is None or self.learn.train_iter % self.every == 0:
            self._hooks = Hooks(self.layers, self._look)

    def after_batch(self) -> None:
        if self._hooks is None:
            return
        self._hooks.remove()
        # a layer that did not take part in this batch has no numbers
        seen = [answer if answer is not None else self._unseen() for answer in self._hooks.stored]
        self._hooks = None
        self._moments.append([moments for moments, _ in seen])
        self._histograms.append([histogram for _, histogram in seen])

    def after_fit(self) -> None:
        if self._hooks is not None:
            self._hooks.remove()
            self._hooks = None

    def state_dict(self) -> dict[str, Any]:
        """Return the numbers so far, shapes (batch, layer, number)."""
        columns = {"moments": self._moments, "histograms": self._histograms}
        return {name: torch.stack([torch.stack(row) for row in rows]) for name, rows in columns.items() if rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        rows = {name: [list(row.to(self.learn.device)) for row in value] for name, value in state.items()}
        self._moments, self._histograms = rows.get("moments", []), rows.get("histograms", [])

    def _unseen(self) -> tuple[Tensor, Tensor]:
        device = self.learn.device
        n_bins = N_BINS if self.with_hist else 0
        return torch.full((len(NAMES),), torch.nan, device=device), torch.zeros(n_bins, device=device)

    def _look(self, module: nn.Module, inputs: Any, outputs: Any) -> tuple[Tensor, Tensor]:
        while not isinstance(outputs, Tensor):  # a recurrent layer gives its output and its state
            outputs = outputs[0]
        values = outputs.float()
        moments = torch.stack([values.mean(), values.std(), (values <= NEAR_ZERO).float().mean()])
        return moments, torch.histc(values, N_BINS, 0, TOP) if self.with_hist else values.new_zeros(0)

    def layer_stats(self, idx: int) -> L[L[float]]:
        """Return mean, deviation and share near zero of a layer's outputs, each a list with a number a batch."""
        number = self._number(idx)
        rows = torch.stack([row[number] for row in self._moments])
        return L(L(column) for column in rows.T.tolist())

    def hist(self, idx: int) -> Tensor:
        """Return the logarithm (of 1 more) of a layer's counts of outputs in 40 bins from 0 to 10, a column a batch.

        Raises:
            ArgumentError: no histograms were asked for.
        """
        number = self._number(idx)
        if not self.with_hist:
            raise ArgumentError("No histograms were kept: pass cbs=ActivationStats(with_hist=True) to the learner.")
        return torch.stack([row[number] for row in self._histograms]).T.log1p().cpu()

    def _number(self, idx: int) -> int:
        if not self._moments:
            raise ArgumentError("No activation has been seen yet: call fit or fit_one_cycle first.")
        if not -len(self.layers) <= idx < len(self.layers):
            raise ArgumentError(f"{len(self.layers)} layers are watched, numbered from 0; {idx} is none of them.")
        return idx % len(self.layers)

    def plot_layer_stats(self, idx: int) -> Drawing:
        """Draw mean, deviation and share near zero of a layer's outputs over the training batches."""
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(1, 3, figsize=(12, 3), layout="constrained")
        titles = {"near_zero": f"share at or below {NEAR_ZERO}"}
        for name, values, ax in zip(NAMES, self.layer_stats(idx), axes, strict=True):
            ax.plot(values)
            ax.set(title=titles.get(name, name), xlabel="batch")
        figure.suptitle(f"layer {idx}: {type(self.layers[self._number(idx)]).__name__}", fontsize=10)
        return Drawing(figure)

    def color_dim(self, idx: int, figsize: tuple[float, float] = (10, 5), ax: Any = None) -> Drawing:
        """Draw a layer's histograms side by side, a column a batch: yellow where many outputs are, purple where few."""
        import matplotlib.pyplot as plt

        counts = self.hist(idx)
        ax = ax if ax is not None else plt.subplots(figsize=figsize, layout="constrained")[1]
        ax.imshow(counts.numpy(), origin="lower", aspect="auto", interpolation="nearest")
        ax.set_axis_off()
        return Drawing(ax.figure)
