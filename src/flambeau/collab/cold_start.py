"""Somebody new: after reading it you know four ways to guess factors, and which questions tell most about a taste.

A new user's factors u and bias c are unknown; those of the items, q and b, are known from training. Near the mean user
the model is almost a straight line: rating = predicted + slope * (u q + c - mean), with the sigmoid's slope there. So a
rating gives one noisy linear equation. With a normal prior over (u, c), taken from the trained users, the best guess is
a ridge regression with a closed form (Bishop 2006, 3.3), and its covariance tells which answer would narrow it most
(greedy optimal design, Rashid 2008). The same holds for a new item, the other way round.

The slope is that of the mean user's prediction, not of the rating: undoing the sigmoid on each rating would trust those
in the middle of the range nine times as much as a 5 of 5.5, and so drag every guess to the middle (on users held out of
MovieLens small, the RMSE after all answers was 0.848 that way, and is 0.818 this way).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, SupportsFloat

import torch
from torch import Tensor

from flambeau.collab.implicit import BPRLoss
from flambeau.collab.learner import CollabLearner, dot_model
from flambeau.collab.taste import Taste, item_scores
from flambeau.foundation.errors import ArgumentError, ShapeError

EDGE = 0.03  # the slope of predictions nearer to an end of y_range, as a share of it, counts as the slope there

WIDEN = 3.0  # measured on held-out users of MovieLens small: 1 and 10 give an RMSE 0.002 and 0.02 higher


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


@dataclass(frozen=True)
class Line:
    """What a model says of rows of one side near the mean of the other: `rating = predicted + slope * x @ (u - mean)`.

    `x` (rows, n + 1) holds the factors and a 1, `score` (rows,) what the sigmoid is taken of, `noise` the variance of a
    rating in the unit of scores.
    """

    x: Tensor
    score: Tensor
    predicted: Tensor
    slope: Tensor
    noise: Tensor


class ColdStart:
    """Guesses for users and items that were not in training, by a trained dot product.

    `noise` is the usual error of a rating, in its own unit; None: the model's error on its validation ratings.
    `widen` multiplies the prior's covariance, which trained factors, themselves shrunk, make too narrow.

    Raises:
        ArgumentError: the model is no dot product, its answers are no ratings (`implicit_learner`), or there is no
            validation half to measure its error on.
    """

    def __init__(self, learn: CollabLearner, noise: float | None = None, widen: float = WIDEN) -> None:
        model = dot_model(learn)
        if isinstance(learn.loss_func, BPRLoss):
            raise ArgumentError(
                "The scores of implicit_learner order items and are no ratings, which a cold start is guessed from. "
                "Use collab_learner."
            )
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
        ratings = _as_mapping(ratings)
        rows = [self.learn.item_row(item) for item in ratings]
        return _taste(self._solve(self.users, self.items, rows, list(ratings.values()))[0], tuple(rows))

    def item_from_ratings(self, ratings: Mapping[Any, float]) -> Tensor:
        """Return factors and bias (n + 1,) of a new item that these users rated so."""
        ratings = _as_mapping(ratings)
        rows = [self.learn.user_row(user) for user in ratings]
        return self._solve(self.items, self.users, rows, list(ratings.values()))[0]

    def predict(self, taste: Taste) -> Tensor:
        """Return the rating of every item (items,) that a taste leads to."""
        with torch.no_grad():
            factors = taste.factors[None].to(self.model.i_weight.weight)
            return item_scores(self.model, factors, factors.new_tensor([[taste.bias]]))[0].cpu()

    def predict_item(self, item: Tensor) -> Tensor:
        """Return the rating of every user (users,), "#na#" at 0, for a new item's factors and bias (n + 1,).

        `item` comes from `item_from_ratings` or, of items, `from_attributes`.
        """
        table = torch.cat([self.model.u_weight.weight, self.model.u_bias.weight], 1).detach().cpu().double()
        return torch.as_tensor(self.rating_of(_with_one(table) @ item + table[:, -1])).float()

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
        """Return factors and bias (n + 1,) for attributes (attributes,), by the matrix of `attribute_map`.

        Raises:
            ShapeError: there are not as many attributes as the map was made from.
        """
        if attributes.shape != (len(mapped) - 1,):
            raise ShapeError(
                f"The map was made from {len(mapped) - 1} attributes; got some of shape {tuple(attributes.shape)}."
            )
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

        Each question is the one that narrows the predicted ratings of all items most (A-optimal design), times the
        chance that an item is known at all: the share of users who rated it. What was `answered` before is taken into
        account, and items in `skipped` are not asked again; with `among`, only these are, taken as known for sure.

        Measured on held-out users of MovieLens small (3 seeds, `benchmarks/ratings_quality.py`): asked in this order
        until ten are answered, they bring the RMSE 49 % of the way from the mean user to all answers, those of
        `questionnaire` 55 %. Of what a user has rated, the ten most telling bring 64 %, and ten drawn at random 59 %:
        where somebody can name what they know, ask for that first.

        Raises:
            ArgumentError: `k` is below 1.
            UnknownNameError: an item was not in training.
        """
        _check_k(k)
        popular = self.learn.popularity[1:].double()
        known = popular / len(self.users.table) if among is None else torch.ones_like(popular)
        line = self.line_of_items()
        x, slope = line.x, line.slope
        # All items count alike: counted by popularity, ten answers tell less of what a user rates besides.
        steep = x * slope[:, None]
        weights = steep.T @ steep
        rows = [self.learn.item_row(item) for item in answered or ()]
        spread = self._solve(self.users, self.items, rows, list((answered or {}).values()))[1]
        used = [*rows, *(self.learn.item_row(item) for item in skipped)]
        allowed = torch.ones(len(x), dtype=torch.bool)
        if among is not None:
            allowed[:] = False
            allowed[torch.tensor([self.learn.item_row(item) - 1 for item in among], dtype=torch.int64)] = True
        allowed[torch.tensor(used, dtype=torch.int64) - 1] = False
        places = allowed.nonzero().flatten()
        x, known, noise = x[places], known[places], line.noise[places]
        chosen: list[int] = []
        for _ in range(min(k, len(places))):
            seen = x @ spread
            spread_of_answer = noise + (seen * x).sum(1)
            gain = known * ((seen @ weights) * seen).sum(1) / spread_of_answer
            gain[chosen] = -torch.inf
            at = int(gain.argmax())
            chosen.append(at)
            spread = spread - torch.outer(seen[at], seen[at]) / spread_of_answer[at]
        return [self.learn.items[row] for row in (places[chosen] + 1).tolist()]

    def questionnaire(self, k: int = 60, seed: int = 0) -> list[Any]:
        """Return `k` items to ask everybody about, in this order, learnt from the users of the training.

        Most people know only some of them: ask until ten or so are answered, and give the answers to
        `user_from_ratings`. See `flambeau/collab/questionnaire.py`. Where fewer questions than `k` help, the rest are
        those of `questions`, which needs no ratings and suits a learner that was loaded.

        Raises:
            ArgumentError: `k` is below 1, or the learner has no training and validation ratings.
        """
        from flambeau.collab.questionnaire import learnt_questions

        _check_k(k)
        asked = [self.learn.items[row] for row in learnt_questions(self, k, seed)]
        return asked if len(asked) == k else [*asked, *self.questions(k - len(asked), skipped=asked)]

    # the regression

    def line_of_items(self) -> Line:
        """Return what the model says of each item near the mean user."""
        return self._line(self.users, self.items.table)

    def rating_of(self, score: Any) -> Any:
        """Return the ratings of scores (a tensor or array of any shape): their place in the model's `y_range`."""
        if self.model.y_range is None:
            return score
        low, high = self.model.y_range
        return low + (high - low) * torch.as_tensor(score).sigmoid().numpy()

    def _line(self, own: Side, table: Tensor) -> Line:
        """Return what the model says of rows of the other side near this side's mean."""
        x = _with_one(table)
        score = x @ own.mean + table[:, -1]
        if self.model.y_range is None:
            predicted, slope = score, torch.ones_like(score)
        else:
            low, high = self.model.y_range
            share = score.sigmoid()
            edge = share.clamp(EDGE, 1 - EDGE)
            predicted, slope = low + (high - low) * share, (high - low) * edge * (1 - edge)
        return Line(x, score, predicted, slope, (self.noise / slope) ** 2)

    def _solve(self, own: Side, other: Side, rows: list[int], ratings: list[float]) -> tuple[Tensor, Tensor]:
        """Return the mean and covariance of factors and bias, given ratings of rows of the other side."""
        if not rows:
            return own.mean, own.spread * self.widen
        rated = self._checked(ratings)
        table = other.table[torch.tensor(rows) - 1]
        line, spread = self._line(own, table), own.spread * self.widen
        seen = line.x @ spread
        gain = torch.linalg.solve(seen @ line.x.T + torch.diag(line.noise), seen).T  # Kalman's, (n + 1, ratings)
        return own.mean + gain @ ((rated - line.predicted) / line.slope), spread - gain @ seen

    def _checked(self, ratings: list[float]) -> Tensor:
        low, high = self.model.y_range or (-math.inf, math.inf)
        for rating in ratings:
            if not isinstance(rating, SupportsFloat) or not math.isfinite(rating):
                raise ArgumentError(f"The rating {rating!r} is no finite number.")
            if not low <= float(rating) <= high:
                raise ArgumentError(f"The rating {rating:g} is outside the model's range {low:g} to {high:g}.")
        return torch.tensor([float(rating) for rating in ratings], dtype=torch.float64)


def _as_mapping(ratings: Any) -> Mapping[Any, float]:
    """Return ratings by name: a mapping as it is, a Series by its index."""
    found = ratings.to_dict() if hasattr(ratings, "to_dict") else ratings
    if not isinstance(found, Mapping):
        raise ArgumentError(f"Ratings come by name, such as {{318: 5.0, 296: 2.0}}; got a {type(ratings).__name__}.")
    return found


def _check_k(k: int) -> None:
    if not isinstance(k, int) or k < 1:
        raise ArgumentError(f"A questionnaire has a whole number of questions, at least one; got k={k!r}.")


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
