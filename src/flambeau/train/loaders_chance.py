"""Chance in a training: after reading it you know which streams decide on the coming batches and on dropout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from flambeau.foundation.seeds import ChanceState


@dataclass(frozen=True)
class LoadersChance:
    """The streams of chance, with those that plain torch loaders and their samplers have of their own."""

    chance: ChanceState
    generators: tuple[Tensor, ...]

    @classmethod
    def now(cls, loaders: Sequence[Any]) -> LoadersChance:
        """Return the states of this moment."""
        return cls(ChanceState.now(), tuple(generator.get_state() for generator in generators_of(loaders)))

    def restore(self, loaders: Sequence[Any]) -> None:
        """Put all streams back to where they stood."""
        self.chance.restore()
        for generator, state in zip(generators_of(loaders), self.generators, strict=False):
            generator.set_state(state)

    def as_tensors(self) -> dict[str, Tensor]:
        """Return the states as tensors, to be kept in a file."""
        return self.chance.as_tensors() | {f"generators.{n}": state for n, state in enumerate(self.generators)}

    @classmethod
    def of_tensors(cls, kept: Mapping[str, Tensor]) -> LoadersChance:
        """Return the states that `as_tensors` wrote down."""
        n = sum(name.startswith("generators.") for name in kept)
        return cls(ChanceState.of_tensors(kept), tuple(kept[f"generators.{place}"] for place in range(n)))


def generators_of(loaders: Sequence[Any]) -> list[torch.Generator]:
    """Return the generators that plain torch loaders and their samplers draw from, each once."""
    owners = [owner for loader in loaders for owner in (loader, getattr(loader, "sampler", None))]
    found = [getattr(owner, "generator", None) for owner in owners]
    return list(dict.fromkeys(each for each in found if isinstance(each, torch.Generator)))
