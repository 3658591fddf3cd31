"""Questions learnt from people: after reading it you know how past users tell which items are worth asking about.

What a question is worth depends on who can answer it, and on how much the answer says of their other ratings. Both are
known for the users of the training: their training ratings are what they could have answered, their validation ratings
what a guess is measured on. So the questions are chosen greedily, each time the one that would have brought the guesses
for all these users nearest to their validation ratings, given what they answered before (Golbandi 2010 and 2011, who
build a tree of such questions; here everybody is asked the same).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flambeau.foundation.errors import ArgumentError

if TYPE_CHECKING:
    from flambeau.collab.cold_start import ColdStart

N_CANDIDATES = 400  # the most rated items: others are known to too few
MOST_USERS = 1000
Numbers = npt.NDArray[np.float64]


@dataclass
class _Past:
    """A user of the training, as if new: a guess, and what is known but was not asked yet."""

    items: npt.NDArray[np.int64]  # that could be answered
    misses: Numbers  # of these, how far the rating lies from the mean user's, in the unit of factors
    tested: npt.NDArray[np.int64]
    truths: Numbers
    mean: Numbers
    spread: Numbers


def learnt_questions(cold: ColdStart, k: int, seed: int = 0) -> list[int]:
    """Return the rows of at most `k` items, in the order in which they should be asked; fewer where no more helps.

    Raises:
        ArgumentError: the learner has no training ratings (it was loaded) or no validation ratings.
    """
    learn = cold.learn
    if len(learn.dls) < 2 or not len(learn.dls.valid_ds) or not len(learn.data):
        raise ArgumentError(
            "A questionnaire is learnt from training and validation ratings, which this learner does not have (an "
            "export holds none). Make it before the export, or use questions(k), which needs none."
        )
    line = cold.line_of_items()
    x, noise, start = line.x.numpy(), line.noise.numpy(), line.score.numpy()
    candidates = np.zeros(len(x), dtype=bool)
    candidates[learn.popularity[1:].argsort(descending=True, stable=True)[:N_CANDIDATES].numpy()] = True
    people = _past_users(cold, line, candidates, seed)
    origin = cold.users.mean.numpy()
    chosen: list[int] = []
    for _ in range(k):
        gain = np.zeros(len(x))
        for one in people:
            if len(one.items):
                gain[one.items] += _gains(one, x, noise, start, origin, cold)
        at = int(gain.argmax())
        if gain[at] <= 0:
            break
        chosen.append(at + 1)
        for one in people:
            _answer(one, at, x, noise, origin)
    return chosen


def _past_users(cold: ColdStart, line: Any, candidates: npt.NDArray[np.bool_], seed: int) -> list[_Past]:
    learn = cold.learn
    slope, predicted = line.slope.numpy(), line.predicted.numpy()
    halves = []
    for dataset in (learn.data, learn.dls.valid_ds):
        pairs, ratings = dataset.pairs.numpy(), dataset.ratings.numpy().astype(np.float64)
        known = (pairs > 0).all(1)
        order = pairs[known, 0].argsort(kind="stable")
        halves.append((pairs[known][order], ratings[known][order]))
    (asked, answers), (tested, truths) = halves
    users = np.unique(tested[:, 0])
    if len(users) > MOST_USERS:
        users = np.sort(np.random.default_rng(seed).choice(users, MOST_USERS, replace=False))
    spread = (cold.users.spread * cold.widen).numpy()
    people = []
    for user in users:
        own, held = (slice(*half.searchsorted([user, user + 1])) for half in (asked[:, 0], tested[:, 0]))
        items = asked[own, 1] - 1
        could = candidates[items]
        misses = (answers[own][could] - predicted[items[could]]) / slope[items[could]]
        people.append(
            _Past(items[could], misses, tested[held, 1] - 1, truths[held], cold.users.mean.numpy(), spread.copy())
        )
    return people


def _gains(one: _Past, x: Numbers, noise: Numbers, start: Numbers, origin: Numbers, cold: ColdStart) -> Numbers:
    """Return how much the squared error of one user's guesses would fall after each answer (items,)."""
    seen = x[one.items] @ one.spread
    step = seen / (noise[one.items] + (seen * x[one.items]).sum(1))[:, None]  # items, factors
    step *= (one.misses - x[one.items] @ (one.mean - origin))[:, None]
    tested = x[one.tested]
    now = start[one.tested] + tested @ (one.mean - origin)
    before = ((cold.rating_of(now) - one.truths) ** 2).sum()
    after = ((cold.rating_of(now[:, None] + tested @ step.T) - one.truths[:, None]) ** 2).sum(0)
    return np.asarray(before - after)


def _answer(one: _Past, item: int, x: Numbers, noise: Numbers, origin: Numbers) -> None:
    """Let a user answer, where the item is known, and take the question off the list."""
    at = np.flatnonzero(one.items == item)
    if len(at):
        seen = one.spread @ x[item]
        width = noise[item] + x[item] @ seen
        one.mean = one.mean + seen / width * (one.misses[at[0]] - x[item] @ (one.mean - origin))
        one.spread = one.spread - np.outer(seen, seen) / width
        one.items, one.misses = np.delete(one.items, at), np.delete(one.misses, at)
