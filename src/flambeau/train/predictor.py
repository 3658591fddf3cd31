"""Predicting without training code: after reading it you know the shortest way from a file to an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as AnyPath
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.data.kinds import Category, Kind, MultiCategory, Places
from flambeau.foundation.errors import ArgumentError, ShapeError
from flambeau.nn.losses import activation_of
from flambeau.train.answers import item_words, require_numbers
from flambeau.train.defaults import decoding_for
from flambeau.train.export import read_exports

ROUNDING = 1e-2  # how far probabilities in 16 bits may sum from 1


@dataclass(frozen=True)
class Prediction:
    """One answer: what it is, how sure, the probability of every class, and the activated numbers of the model.

    For several labels `probability` is that of the least sure one (with no label: that none applies). Where the numbers
    are no probabilities (a regression, an unknown loss) it is None and `probabilities` is empty. The label of points is
    a list of [x, y] in pixels of the picture that the model sees, after Resize; `raw` has -1..1 from edge to edge.
    """

    label: Any
    probability: float | None
    probabilities: dict[str, float]
    raw: Tensor = field(repr=False)


class Predictor:
    """An export, ready to answer: the same numbers one at a time and in batches. An ensemble's members are averaged.

    Raises:
        ExportError: see `read_export`.
    """

    def __init__(
        self,
        path: str | AnyPath,
        device: torch.device | str = "cpu",
        *,
        model: nn.Module | Sequence[nn.Module | None] | None = None,
        transforms: Mapping[str, Any] | None = None,
        loss_func: Any = None,
    ) -> None:
        self.members, self.weights = read_exports(path, device, model, transforms, loss_func)
        exported = self.members[0]
        self.model, self.loader, self.header = exported.model, exported.loader, exported.header
        targets = exported.kinds[exported.n_inp :]
        if len(targets) != 1:
            raise ArgumentError(
                f"A Predictor answers with one target; this export has {len(targets)}. Use load_learner(path).predict."
            )
        self.target: Kind = targets[0]
        self.decodes = decoding_for(exported.loss_func, targets)

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
        """Yield the answers for many items, batch by batch, so that memory does not grow with their number.

        Raises:
            ArgumentError: `items` is a single item, or the model answers with several tensors, or token by token.
            TrainingError: the answer for an item is NaN.
        """
        if isinstance(items, str | bytes) or not hasattr(items, "__len__"):
            raise ArgumentError(f"A list of items was expected, got {items!r}. For one item use predict(item).")
        # a model that fills in hidden words may have come by texts with labels, and answers with none of these
        fills_in = any(hasattr(member.loss_func, "by_item") for member in self.members)
        if self.target.ragged or fills_in:
            raise ArgumentError(
                "A Predictor answers with one label an item, or numbers; this export answers with "
                f"{'what was hidden' if fills_in else type(self.target).__name__}, as language models and taggers do. "
                "Use load_learner(path).predict."
            )
        if hasattr(items, "to_pandas") and not hasattr(items, "iloc"):
            items = items.to_pandas()  # a slice of a datasets.Dataset would be a dictionary of columns
        bs = bs or self.loader.bs
        for start in range(0, len(items), bs):
            part = items[start : start + bs]
            is_table = hasattr(part, "iloc") or hasattr(part, "to_pandas")
            activated, size = self._activated(part if is_table else list(part))
            for answer, raw in zip(self.decodes(activated), activated, strict=True):
                yield self._named(self.target.to_pixels(answer, size), raw)

    def _activated(self, items: Any) -> tuple[Tensor, tuple[int, int] | None]:
        """Return the activated numbers for some items, and the size of the pictures that the (last) model sees.

        Of an ensemble the numbers are the weighted average of its members'.
        """
        total: Any = None
        rows = items.iloc if hasattr(items, "iloc") else items
        for member, weight in zip(self.members, self.weights, strict=True):
            batch = member.loader.prepare(items)
            answered = member.model(*batch.inputs)
            if not isinstance(answered, Tensor):
                raise ArgumentError(
                    f"A Predictor needs a model that gives one tensor, this one gave a {type(answered).__name__}. "
                    "Use load_learner(path).predict."
                )
            activated = activation_of(member.loss_func)(answered.float()).cpu()
            require_numbers(activated, batch.inputs, member.model, lambda place: item_words(rows[place]))
            share = activated if len(self.members) == 1 else weight * activated
            if total is not None and total.shape != share.shape:
                raise ShapeError(
                    f"The members of this ensemble give predictions of different shapes, {tuple(total.shape)} and "
                    f"{tuple(share.shape)}, which cannot be averaged."
                )
            total = share if total is None else total + share
        return total, batch.picture_size

    def _named(self, answer: Tensor, raw: Tensor) -> Prediction:
        label = self.target.decoded(answer)
        if isinstance(self.target, Places):
            label = label.tolist()
        if not self._are_probabilities(raw):
            return Prediction(label, None, {}, raw)
        probabilities = dict(zip(self.classes, raw.tolist(), strict=True))
        chosen = label if isinstance(label, list) else [label]
        probability = min((probabilities[str(name)] for name in chosen), default=1 - max(probabilities.values()))
        return Prediction(label, probability, probabilities, raw)

    def _are_probabilities(self, raw: Tensor) -> bool:
        if not isinstance(self.target, Category | MultiCategory) or raw.shape != (len(self.classes),):
            return False
        sums_to_one = isinstance(self.target, MultiCategory) or abs(float(raw.sum()) - 1) < ROUNDING
        return sums_to_one and bool(((raw >= 0) & (raw <= 1)).all())
