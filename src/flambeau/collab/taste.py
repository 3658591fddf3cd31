"""What a model says of everything at once: after reading it you know how all items are scored for many users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flambeau.collab.models import EmbeddingDotBias
from flambeau.nn.layers import sigmoid_range

if TYPE_CHECKING:
    from flambeau.collab.learner import CollabLearner

PAIRS_AT_ONCE = 2**20


@dataclass(frozen=True)
class Taste:
    """The factors (n,) and bias of a user who was not in training, and the items already rated (places)."""

    factors: Tensor
    bias: float
    rated: tuple[int, ...] = field(default=())


@torch.no_grad()
def scores(learn: CollabLearner, users: Sequence[int] | Tensor) -> Tensor:
    """Return the rating that the model gives every item for some users (users, items), on the CPU."""
    model = learn.model
    was_training = model.training
    model.eval()
    places = torch.as_tensor(users, dtype=torch.int64)
    try:
        if type(model) is EmbeddingDotBias:
            rows = places.to(model.u_weight.weight.device)
            return item_scores(model, model.u_weight(rows), model.u_bias(rows)).cpu()
        n_items = len(learn.items)
        items = torch.arange(n_items)
        at_once = max(PAIRS_AT_ONCE // n_items, 1)
        parts = []
        for start in range(0, len(places), at_once):
            some = places[start : start + at_once]
            pairs = torch.stack([some.repeat_interleave(n_items), items.repeat(len(some))], 1)
            parts.append(model(pairs.to(learn.device)).float().reshape(len(some), n_items).cpu())
        return torch.cat(parts)
    finally:
        model.train(was_training)


def item_scores(model: EmbeddingDotBias, factors: Tensor, bias: Tensor) -> Tensor:
    """Return the rating of every item (users, items) for factors (users, n) and biases (users, 1)."""
    rated = torch.addmm(model.i_bias.weight.detach().T, factors, model.i_weight.weight.detach().T) + bias
    return rated if model.y_range is None else sigmoid_range(rated, *model.y_range)


def best(scored: Tensor, n: int, seen: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """Return the `n` highest scores of each row and the places of their items; never "#na#", nor the pairs in `seen`.

    `seen` holds (rows, items). Where fewer items are left, the rest of a row's scores are -inf.
    """
    scored = scored.clone()
    scored[:, 0] = -torch.inf
    if seen is not None:
        scored[seen] = -torch.inf
    found = scored.topk(min(n, scored.shape[1] - 1), dim=1)
    return found.values, found.indices


class Seen:
    """Which user has rated which items, as a table of places: `pairs` (n, 2), sorted by user."""

    def __init__(self, pairs: Tensor, n_users: int) -> None:
        order = pairs[:, 0].argsort(stable=True)
        self.items = pairs[order, 1]
        counts = torch.bincount(pairs[:, 0], minlength=n_users)
        self.starts = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])

    def of(self, user: int) -> Tensor:
        """Return the items of one user."""
        return self.items[int(self.starts[user]) : int(self.starts[user + 1])]

    def of_all(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Return (rows, items): the row of `users` and the item of each rating they gave."""
        lengths = self.starts[users + 1] - self.starts[users]
        rows = torch.arange(len(users)).repeat_interleave(lengths)
        first = self.starts[users] - (lengths.cumsum(0) - lengths)
        return rows, self.items[torch.arange(len(rows)) + first[rows]]


def unknown_as_mean(model: Any, seen_users: Tensor, seen_items: Tensor) -> None:
    """Set row 0 of the tables, "#na#", to the mean of the rows that were in training."""
    with torch.no_grad():
        if isinstance(model, EmbeddingDotBias):
            tables = [(model.u_weight, seen_users), (model.u_bias, seen_users)]
            tables += [(model.i_weight, seen_items), (model.i_bias, seen_items)]
        else:
            tables = list(zip(model.embeds, (seen_users, seen_items), strict=True))
        for table, seen in tables:
            table.weight[0] = table.weight[seen.to(table.weight.device)].mean(0)
