"""Two models of ratings: after reading it you know what a dot product of factors is, and its neural rival.

Shapes: x is (batch, 2), the places of a user and an item; with more columns, of one user and several items.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.foundation.errors import ArgumentError, UnknownNameError, unknown_name
from flambeau.nn.layers import Embedding, LinBnDrop, emb_sz_rule, sigmoid_range


class EmbeddingDotBias(nn.Module):
    """Rate by the dot product of a user's and an item's factors, plus what each gets whoever meets it (Koren 2009).

    `classes` holds the vocabularies by column name once a learner is made, for `bias` and `weight` by name.
    """

    def __init__(
        self, n_factors: int, n_users: int, n_items: int, y_range: tuple[float, float] | None = None
    ) -> None:
        super().__init__()
        self.y_range = None if y_range is None else (float(y_range[0]), float(y_range[1]))
        self.u_weight, self.i_weight = Embedding(n_users, n_factors), Embedding(n_items, n_factors)
        self.u_bias, self.i_bias = Embedding(n_users, 1), Embedding(n_items, 1)
        self.classes: dict[str, Any] = {}
        self.user, self.item = "user", "item"
        self.settings: dict[str, Any] = {
            "model": "collab", "name": "dot", "n_factors": n_factors, "n_users": n_users, "n_items": n_items,
            "head": {"y_range": self.y_range},
        }  # fmt: skip

    @classmethod
    def from_classes(
        cls,
        n_factors: int,
        classes: Mapping[str, Any],
        user: str | None = None,
        item: str | None = None,
        y_range: tuple[float, float] | None = None,
    ) -> EmbeddingDotBias:
        """Return a model for vocabularies, the users' first unless `user` and `item` name them."""
        names = list(classes)
        user, item = user or names[0], item or names[1]
        made = cls(n_factors, len(classes[user]), len(classes[item]), y_range)
        made.name_rows(classes, user, item)
        return made

    def name_rows(self, classes: Mapping[str, Any], user: str, item: str) -> None:
        """Let the rows of the tables be known by the names in vocabularies."""
        self.classes, self.user, self.item = dict(classes), user, item

    def forward(self, x: Tensor) -> Tensor:
        """Return a rating for each row (batch,), or one for each item of a row (batch, items)."""
        users, items = x[:, 0], x[:, 1:]
        if items.shape[1] == 1:
            items = items[:, 0]
            rated = (self.u_weight(users) * self.i_weight(items)).sum(1)
            rated = rated + (self.u_bias(users) + self.i_bias(items)).squeeze(1)
        else:
            rated = torch.einsum("bf,bif->bi", self.u_weight(users), self.i_weight(items))
            rated = rated + self.u_bias(users) + self.i_bias(items).squeeze(-1)
        return rated if self.y_range is None else sigmoid_range(rated, *self.y_range)

    def bias(self, arr: Iterable[Any], is_item: bool = True) -> Tensor:
        """Return the biases of items (or users) by name (n,).

        Raises:
            UnknownNameError: there is no such item or user; the nearest are proposed.
        """
        table = self.i_bias if is_item else self.u_bias
        return table.weight.detach().cpu()[self._rows(arr, is_item)].squeeze(1)

    def weight(self, arr: Iterable[Any], is_item: bool = True) -> Tensor:
        """Return the factors of items (or users) by name (n, factors).

        Raises:
            UnknownNameError: there is no such item or user; the nearest are proposed.
        """
        table = self.i_weight if is_item else self.u_weight
        return table.weight.detach().cpu()[self._rows(arr, is_item)]

    def _rows(self, arr: Iterable[Any], is_item: bool) -> Tensor:
        column = self.item if is_item else self.user
        if column not in self.classes:
            raise ArgumentError("This model knows no names: make it with collab_learner or from_classes.")
        names = [arr] if isinstance(arr, str | int) else list(arr)
        return torch.tensor([row_of(name, self.classes[column], column) for name in names], dtype=torch.int64)

    def extra_repr(self) -> str:
        """Show the range in the model's printout."""
        return f"y_range={self.y_range}"


class EmbeddingNN(nn.Module):
    """Rate by a network over the user's and the item's factors side by side (He 2017)."""

    def __init__(
        self,
        emb_szs: Sequence[tuple[int, int]],
        layers: Sequence[int] = (50,),
        y_range: tuple[float, float] | None = None,
        ps: float = 0.0,
        embed_p: float = 0.0,
    ) -> None:
        super().__init__()
        if len(emb_szs) != 2:
            raise ArgumentError(f"emb_szs holds (rows, factors) of the users and of the items; got {list(emb_szs)!r}.")
        self.y_range = None if y_range is None else (float(y_range[0]), float(y_range[1]))
        self.embeds = nn.ModuleList([Embedding(n, factors) for n, factors in emb_szs])
        self.emb_drop = nn.Dropout(embed_p)
        widths = [sum(factors for _, factors in emb_szs), *layers]
        deep = [
            LinBnDrop(before, after, p=ps, act=nn.ReLU(), lin_first=True)
            for before, after in pairwise(widths)
        ]
        self.layers = nn.Sequential(*deep, nn.Linear(widths[-1], 1))
        self.settings: dict[str, Any] = {
            "model": "collab", "name": "nn", "emb_szs": [list(size) for size in emb_szs], "layers": list(layers),
            "ps": ps, "embed_p": embed_p, "head": {"y_range": self.y_range},
        }  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return a rating for each row (batch,), or one for each item of a row (batch, items)."""
        users, items = x[:, :1].expand(-1, x.shape[1] - 1), x[:, 1:]
        factors = torch.cat([self.embeds[0](users), self.embeds[1](items)], -1).flatten(0, 1)
        rated = self.layers(self.emb_drop(factors)).view(items.shape).squeeze(1)  # (batch,) for a single item
        return rated if self.y_range is None else sigmoid_range(rated, *self.y_range)

    def extra_repr(self) -> str:
        """Show the range in the model's printout."""
        return f"y_range={self.y_range}"


def row_of(name: Any, vocab: Any, column: str) -> int:
    """Return the place of a name in a vocabulary.

    Raises:
        UnknownNameError: it is not there; the nearest are proposed.
    """
    row = vocab.o2i.get(name, 0) if isinstance(name, Hashable) else 0
    if row == 0:
        known = next((other for other in vocab if str(other) == str(name) and other != vocab[0]), None)
        if known is not None:
            raise UnknownNameError(
                f"The {column} {name!r} ({type(name).__name__}) was {known!r} ({type(known).__name__}) in the training "
                f"ratings: pass {known!r}."
            )
        raise unknown_name(f"{column} in the training ratings", name, map(str, list(vocab)[1:]))
    return int(row)


def get_emb_sz(dls: Any, sz_dict: Mapping[str, int] | None = None) -> list[tuple[int, int]]:
    """Return (rows, factors) of the users and of the items, by rule or as `sz_dict` says for a column."""
    given = sz_dict or {}
    for name in given:
        if name not in dls.classes:
            raise unknown_name("column of users or items", name, map(str, dls.classes))
    return [(len(vocab), given.get(name, emb_sz_rule(len(vocab)))) for name, vocab in dls.classes.items()]


def build_collab_model(settings: Mapping[str, Any]) -> nn.Module:
    """Build the model that `settings` describe, with random weights.

    Raises:
        ArgumentError: there is no model of this name.
    """
    y_range = settings["head"]["y_range"]
    bounds = (float(y_range[0]), float(y_range[1])) if y_range is not None else None
    if settings["name"] == "dot":
        return EmbeddingDotBias(settings["n_factors"], settings["n_users"], settings["n_items"], bounds)
    if settings["name"] == "nn":
        sizes = [(int(n), int(factors)) for n, factors in settings["emb_szs"]]
        return EmbeddingNN(sizes, settings["layers"], bounds, settings["ps"], settings["embed_p"])
    raise unknown_name("model of ratings", settings["name"], ["dot", "nn"])
