"""What a row's inputs are: after reading it you know how numbers in a tensor are shown as the cells they came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from flambeau.data.kinds import Kind


@dataclass(frozen=True)
class Levels(Kind):
    """The categories of a row: an integer tensor (columns,), each the number of a level of its column."""

    names: tuple[Any, ...] = ()
    vocabs: tuple[Any, ...] = ()

    def decoded(self, value: Any) -> Any:
        """Return the row's levels by column."""
        codes = torch.as_tensor(value).tolist()
        return {name: vocab[code] for name, vocab, code in zip(self.names, self.vocabs, codes, strict=True)}

    def cells(self, value: Any) -> dict[str, str] | None:
        return {str(name): str(level) for name, level in self.decoded(value).items()}

    def text(self, value: Any) -> str:
        return ", ".join(f"{name}={level}" for name, level in self.decoded(value).items())


@dataclass(frozen=True)
class Numbers(Kind):
    """The numbers of a row: a float tensor (columns,); `means` and `stds` undo their scaling."""

    names: tuple[Any, ...] = ()
    means: tuple[Any, ...] = ()
    stds: tuple[Any, ...] = ()

    def decoded(self, value: Any) -> Any:
        """Return the row's numbers by column, as they were before Normalize."""
        columns = zip(self.names, self.means, self.stds, torch.as_tensor(value).tolist(), strict=True)
        return {name: number * std + mean for name, mean, std, number in columns}

    def cells(self, value: Any) -> dict[str, str] | None:
        return {str(name): f"{number:.6g}" for name, number in self.decoded(value).items()}

    def text(self, value: Any) -> str:
        return ", ".join(f"{name}={number:.6g}" for name, number in self.decoded(value).items())
