"""Channels last: after reading it you know what order the numbers of a picture lie in, and why convolutions care.

A batch (batch, channels, height, width) may lie in memory with the channels innermost. Convolutions then read what they
need in one piece: 1.2 to 2 times as fast with 16 bits on a GPU and on the CPU. Shapes and results stay the same.
"""

from __future__ import annotations

import torch

from flambeau.nn.optimizers import match_layouts
from flambeau.train.callback import Callback


class ChannelsLast(Callback):
    """Keep the model's weights with the channels innermost; torch lets the pictures follow them."""

    order = -1

    def after_create(self) -> None:
        self._lay_out(torch.channels_last)

    def before_fit(self) -> None:
        self._lay_out(torch.channels_last)  # layers may have been put in since

    def switch_off(self) -> None:
        """Give the weights back their usual order."""
        self._lay_out(torch.contiguous_format)

    def _lay_out(self, order: torch.memory_format) -> None:
        self.learn.model.to(memory_format=order)
        if self.learn._optimizer is not None:
            match_layouts(self.learn._optimizer)
