"""Somebody new: after reading it you know four ways to guess factors, and which questions tell most about a taste.

A new user's factors u and bias c are unknown; those of the items, q and b, are known from training. A rating r of an
item gives one noisy linear equation, after the sigmoid is undone: z = logit(r) - b = u q + c. With a normal prior over
(u, c), taken from the trained users, the best guess is a ridge regression with a closed form (Bishop 2006, 3.3), and
its covariance tells which answer would narrow it most (greedy optimal design, Rashid 2008). The same holds for a new
item, the other way round.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from flambeau.collab.learner import CollabLearner, dot_model
from flambeau.collab.taste import Taste, item_scores
from flambeau.foundation.errors import ArgumentError, ShapeError

EDGE = 0.02  # ratings this near to an end of y_range, as a share of it, count as lying there: a logit has no end

WIDEN = 3.0  # measured on held-out users of MovieLens small: 1 gives an RMSE 0.006 higher at ten answers


@dataclass(frozen=True)
class Side:
    """One side's table: factors with the bias in the last column (rows, n + 1), float64, without "#na#"."""

    table: Tensor
    mean: Tensor
    spread: Tensor

    @classmethod
    def of(cls, factors: Tensor, bias: Tensor) -> Side:
        """Return the side, with the mean and covariance of its rows as the prior for a new one."""
        table = torch.cat([factors, bias], 1).detach().cpu().double()[1:]
        tiny = 1e-6 * torch.eye(table.shape[1], dtype=torch.float64)  # fewer rows than columns leave it singular
        return cls(table, table.mean(0), torch.cov(table.T) + tiny)


class ColdStart:
    """Guesses for users and items that were not in training, by a trained dot product.

    `noise` is the usual error of a rating, in its own unit; None: the model's error on its validation ratings.
    `widen` multiplies the prior's covariance, which trained factors, themselves shrunk, make too narrow.

    Raises:
        ArgumentError: the model is no dot product, or there is no validation half to measure its error on.
    """

    def __init__(self, learn: CollabLearner, noise: float | None = None, widen: float = WIDEN) -> None:
        model = dot_model(learn)
        self.learn, self.model = learn, model
        self.users = Side.of(model.u_weight.weight, model.u_bias.weight)
        self.items = Side.of(model.i_weight.weight, model.i_bias.weight)
        self.widen = widen
        self.noise = noise if noise is not None else _error(learn)
        if not self.noise > 0 or not widen > 0:
            raise ArgumentError(f"noise and widen must be above 0; got {self.noise} and {widen}.")

    # users

    def mean_user(self) -> Taste:
        """Return the taste of the mean user: the baseline that knows nothing."""
        return _taste(self.users.mean, ())

    def user_from_ratings(self, ratings: Mapping[Any, float]) -> Taste:
        """Return the taste of somebody who gave these ratings, by item; of nobody's ratings it is the mean.

        Raises:
            UnknownNameError: an item was not in training; the nearest are proposed.
            ArgumentError: a rating lies outside the model's `y_range`.
        """
        rows = [self.learn.item_row(item) for item in ratings]
        return _taste(self._solve(self.users, self.items, rows, list(ratings.values()))[0], tuple(rows))

    def item_from_ratings(self, ratings: Mapping[Any, float]) -> Tensor:
        """Return factors and bias (n + 1,) of a new item that these users rated so."""
        rows = [self.learn.user_row(user) for user in ratings]
        return self._solve(self.items, self.users, rows, list(ratings.values()))[0]

    def predict(self, taste: Taste) -> Tensor:
        """Return the rating of every item (items,) that a taste leads to."""
        with torch.no_grad():
            factors = taste.factors[None].to(self.model.i_weight.weight)
            return item_scores(self.model, factors, factors.new_tensor([[taste.bias]]))[0].cpu()

    # by attributes

    def attribute_map(self, attributes: Tensor, of_items: bool = True, ridge: float = 10.0) -> Tensor:
        """Return the matrix (attributes + 1, n + 1) that turns attributes into factors and bias, by ridge regression.

        `attributes` (rows, attributes) belong to the items (or users) in training, in the order of `learn.items`
        without its "#na#": ones and zeros for genres, say. Give a new one's to `from_attributes`.

        Raises:
            ShapeError: there are not as many rows as items.
        """
        side = self.items if of_items else self.users
        if attributes.ndim != 2 or len(attributes) != len(side.table):
            raise ShapeError(
                f"attributes needs a row for each of the {len(side.table)} {'items' if of_items else 'users'} in "
                f"training; got {tuple(attributes.shape)}."
            )
        x = torch.cat([attributes.double(), torch.ones(len(attributes), 1, dtype=torch.float64)], 1)
        counts = torch.bincount(self.learn._training_pairs[:, 1 if of_items else 0], minlength=len(side.table) + 1)[1:]
        # what is known of a row grows with its ratings; a row with few is near the mean whatever its attributes
        weighted = x * counts.double().sqrt().clamp(max=10)[:, None]
        penalty = ridge * torch.eye(x.shape[1], dtype=torch.float64)
        penalty[-1, -1] = 0  # the mean itself is not shrunk
        return torch.linalg.lstsq(x.T @ weighted + penalty, weighted.T @ side.table).solution

    def from_attributes(self, mapped: Tensor, attributes: Tensor) -> Tensor:
        """Return factors and bias (n + 1,) for attributes, by the matrix of `attribute_map`."""
        return torch.cat([attributes.double(), attributes.new_ones(1).double()]) @ mapped

    # by asking

    def questions(
        self,
        k: int = 10,
        answered: Mapping[Any, float] | None = None,
        skipped: Collection[Any] = (),
        among: Collection[Any] | None = None,
    ) -> list[Any]:
        """Return the `k` items whose ratings would tell most about somebody, the most telling first.

        Each question is the one that narrows the predictions of all items most, those weighted by popularity, times the
        chance that an item is known at all: the share of users who rated it. What was `answered` before is taken into
        account, and items in `skipped` are not asked again; with `among`, only these are, taken as known for sure.

        Measured on held-out users of MovieLens small, ten such answers bring the RMSE about a third of the way from the
        mean user to all answers, and ten drawn at random from what the user rated about half of it: ask for those
        first where somebody can name what they know.

        Raises:
            ArgumentError: `k` is below 1.
            UnknownNameError: an item was not in training.
        """
        if k < 1:
            raise ArgumentError(f"A questionnaire has at least one question; got k={k}.")
        popular = self.learn.popularity[1:].double()
        known = popular / len(self.users.table) if among is None else torch.ones_like(popular)
        x = _with_one(self.items.table)
        weights = (x * (popular / popular.sum())[:, None]).T @ x  # what an uncertainty costs, over all items
        rows = [self.learn.item_row(item) for item in answered or ()]
        spread = self._solve(self.users, self.items, rows, list((answered or {}).values()))[1]
        used = [*rows, *(self.learn.item_row(item) for item in skipped)]
        allowed = torch.ones(len(x), dtype=torch.bool)
        if among is not None:
            allowed[:] = False
            allowed[torch.tensor([self.learn.item_row(item) - 1 for item in among], dtype=torch.int64)] = True
        allowed[torch.tensor(used, dtype=torch.int64) - 1] = False
        noise = self._noise_of_logits(self._middle(x))
        chosen: list[int] = []
        for _ in range(min(k, int(allowed.sum()))):
            seen = x @ spread
            gain = known * ((seen @ weights) * seen).sum(1) / (noise + (seen * x).sum(1))
            at = int(torch.where(allowed, gain, -torch.inf).argmax())
            chosen.append(at + 1)
            allowed[at] = False
            spread = spread - torch.outer(seen[at], seen[at]) / (noise[at] + seen[at] @ x[at])
        return [self.learn.items[row] for row in chosen]

    # the regression

    def _middle(self, x: Tensor) -> Tensor:
        """Return what the mean user would rate, as a share of the range (0.5 without one)."""
        return torch.sigmoid(x @ self.users.mean + self.items.table[:, -1])

    def _noise_of_logits(self, share: Tensor) -> Tensor:
        """Return the variance of a logit whose rating is this share of the range: the noise through its slope."""
        if self.model.y_range is None:
            return torch.full_like(share, self.noise**2)
        low, high = self.model.y_range
        share = share.clamp(EDGE, 1 - EDGE)
        return (self.noise / ((high - low) * share * (1 - share))) ** 2

    def _solve(self, own: Side, other: Side, rows: list[int], ratings: list[float]) -> tuple[Tensor, Tensor]:
        """Return the mean and covariance of factors and bias, given ratings of rows of the other side."""
        if not rows:
            return own.mean, own.spread * self.widen
        rated = torch.tensor(ratings, dtype=torch.float64)
        if not bool(rated.isfinite().all()):
            raise ArgumentError("A rating is no finite number.")
        table = other.table[torch.tensor(rows) - 1]
        if self.model.y_range is None:
            logits, variance = rated, self._noise_of_logits(rated)
        else:
            low, high = self.model.y_range
            outside = rated[(rated < low) | (rated > high)]
            if len(outside):
                odd = float(outside[0])
                raise ArgumentError(f"The rating {odd:g} is outside the model's range {low:g} to {high:g}.")
            share = ((rated - low) / (high - low)).clamp(EDGE, 1 - EDGE)
            logits, variance = share.logit(), self._noise_of_logits(share)
        x, z = _with_one(table), logits - table[:, -1]
        spread = own.spread * self.widen
        seen = x @ spread
        gain = torch.linalg.solve(seen @ x.T + torch.diag(variance), seen).T  # Kalman's, (n + 1, ratings)
        return own.mean + gain @ (z - x @ own.mean), spread - gain @ seen


def _with_one(table: Tensor) -> Tensor:
    """Return factors with a 1 in the place of their bias, which the other side's bias is multiplied by."""
    return torch.cat([table[:, :-1], torch.ones_like(table[:, -1:])], 1)


def _taste(row: Tensor, rated: tuple[int, ...]) -> Taste:
    return Taste(row[:-1].float(), float(row[-1]), rated)


def _error(learn: CollabLearner) -> float:
    if len(learn.dls) < 2 or len(learn.dls.valid_ds) == 0:
        raise ArgumentError("Without validation ratings the model's usual error is not known; pass noise=0.9, say.")
    predictions, targets = learn.get_preds()
    return float((predictions - targets).pow(2).mean().sqrt())
