"""Predicting without training code: after reading it you know the shortest way from a file to an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as AnyPath
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.data.kinds import Category, Kind, MultiCategory
from flambeau.foundation.errors import ArgumentError
from flambeau.nn.losses import activation_of, decode_of
from flambeau.train.export import read_export


@dataclass(frozen=True)
class Prediction:
    """One answer: what it is, how sure, the probability of every class, and the activated numbers of the model."""

    label: Any
    probability: float | None
    probabilities: dict[str, float]
    raw: Tensor = field(repr=False)


class Predictor:
    """An export, ready to answer: the same numbers one at a time and in batches.

    Raises:
        ExportError: see `read_export`.
    """

    def __init__(
        self,
        path: str | AnyPath,
        device: torch.device | str = "cpu",
        *,
        model: nn.Module | None = None,
        transforms: Mapping[str, Any] | None = None,
        loss_func: Any = None,
    ) -> None:
        exported = read_export(path, device, model, transforms, loss_func)
        self.model, self.loader, self.header = exported.model, exported.loader, exported.header
        self.activation, self.decodes = activation_of(exported.loss_func), decode_of(exported.loss_func)
        targets = exported.kinds[exported.n_inp :]
        if len(targets) != 1:
            raise ArgumentError(
                f"A Predictor answers with one target; this export has {len(targets)}. Use load_learner(path).predict."
            )
        self.target: Kind = targets[0]

    @property
    def classes(self) -> list[str]:
        """The names of the classes; empty when numbers are predicted."""
        return [str(label) for label in getattr(self.target, "vocab", ())]

    def predict(self, item: Any) -> Prediction:
        """Return the answer for one item: a path, bytes, an array or an opened picture."""
        return self.predict_batch([item])[0]

    def predict_batch(self, items: Sequence[Any], bs: int | None = None) -> list[Prediction]:
        """Return the answers for many items, in their order."""
        return list(self.stream(items, bs))

    @torch.inference_mode()
    def stream(self, items: Sequence[Any], bs: int | None = None) -> Iterator[Prediction]:
        """Yield the answers for many items, batch by batch, so that memory does not grow with their number."""
        bs = bs or self.loader.bs
        for start in range(0, len(items), bs):
            batch = self.loader.prepare(list(items[start : start + bs]))
            activated = self.activation(self.model(*batch.inputs).float()).cpu()
            for answer, raw in zip(self.decodes(activated), activated, strict=True):
                yield self._named(answer, raw)

    def _named(self, answer: Tensor, raw: Tensor) -> Prediction:
        label = self.target.decoded(answer)
        if not isinstance(self.target, Category | MultiCategory):
            return Prediction(label, None, {}, raw)
        probabilities = dict(zip(self.classes, raw.tolist(), strict=True))
        chosen = label if isinstance(label, list) else [label]
        probability = min((probabilities[str(name)] for name in chosen), default=1 - max(probabilities.values()))
        return Prediction(label, probability, probabilities, raw)
