"""Does a cold start help: after reading it you know how guesses for new users are measured on users held out whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from flambeau.collab.cold_start import ColdStart
from flambeau.collab.ratings import require_column
from flambeau.foundation.errors import ArgumentError, EmptyError

if TYPE_CHECKING:
    import pandas as pd

MOST_ASKED = 200  # somebody who cannot answer so many questions is asked no more
FEWEST = 20  # ratings of a held-out user, so that both halves say something


def cold_start_table(
    cold: ColdStart,
    ratings: pd.DataFrame,
    n_questions: Sequence[int] = (5, 10, 20),
    fewest: int = FEWEST,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the errors on users not in training: RMSE of half of their ratings, and NDCG at 10 of their order.

    "RMSE" is taken over all ratings, of which a few users give most; in "RMSE of a user" each user counts alike.

    The other half is what may be asked; each half is tested once, and all ways are tested on the same. Rows: the mean
    user; the first answers to `questions`, and to `questionnaire`, where a user who has not rated an item skips it, up
    to 200 of them; as many answers to the most telling questions among what the user rated; as many drawn from it at
    random; and all.

    Raises:
        EmptyError: no user in `ratings` has `fewest` ratings of items in training.
        ArgumentError: a user was in training.
    """
    import pandas as pd

    encode, value = cold.learn.data.encode, cold.learn.data.value
    for name in (encode.user_name, encode.item_name, value.rating_name):
        require_column(ratings, name)
    if fewest < 2:
        raise ArgumentError(f"A user's ratings are halved, so fewest must be at least 2; got {fewest}.")
    trained = ratings[encode.user_name].isin(set(encode.users.o2i))
    if trained.any():
        known_users = ratings[encode.user_name][trained]
        raise ArgumentError(
            f"{known_users.nunique()} of these users were in training, such as {known_users.iloc[0]!r}: they are not "
            "new. Hold users out whole, and train without them."
        )
    chance = np.random.default_rng(seed)
    known = ratings[ratings[encode.item_name].isin(set(encode.items.o2i))]
    squares: dict[str, list[float]] = {}
    of_users: dict[str, list[float]] = {}
    orders: dict[str, list[float]] = {}
    counts: dict[str, list[int]] = {}
    n_users = 0
    lists = {"questions": cold.questions(MOST_ASKED), "of the questionnaire": cold.questionnaire(MOST_ASKED)}
    for _, own in known.groupby(encode.user_name, sort=True):
        own = own.drop_duplicates(encode.item_name)
        if len(own) < fewest:
            continue
        n_users += 1
        order = chance.permutation(len(own))
        halves = own.iloc[order[: len(own) // 2]], own.iloc[order[len(own) // 2 :]]
        for asked, tested in (halves, halves[::-1]):
            could = dict(zip(asked[encode.item_name], asked[value.rating_name].astype(float), strict=True))
            rows = torch.tensor([cold.learn.item_row(item) for item in tested[encode.item_name]])
            truth = torch.tensor(tested[value.rating_name].to_numpy(dtype=np.float64))
            for name, answers in _ways(cold, could, lists, n_questions, chance).items():
                guess = cold.predict(cold.user_from_ratings(answers))[rows].double()
                misses = (guess - truth) ** 2
                squares.setdefault(name, []).extend(misses.tolist())
                of_users.setdefault(name, []).append(float(misses.mean()))
                orders.setdefault(name, []).append(ordered(guess, truth))
                counts.setdefault(name, []).append(len(answers))
    if not n_users:
        raise EmptyError(f"No held-out user has {fewest} ratings of items in training.")
    found = {
        name: {
            "answers": float(np.mean(counts[name])),
            "RMSE": float(np.sqrt(np.mean(squares[name]))),
            "RMSE of a user": float(np.sqrt(np.mean(of_users[name]))),
            "NDCG at 10": float(np.mean(orders[name])),
        }
        for name in squares
    }
    table = pd.DataFrame(found).T
    table["users"] = n_users
    return table


def _ways(
    cold: ColdStart,
    could: dict[Any, float],
    lists: dict[str, list[Any]],
    n_questions: Sequence[int],
    chance: np.random.Generator,
) -> dict[str, dict[Any, float]]:
    ways: dict[str, dict[Any, float]] = {"mean user": {}}
    items = list(could)
    answered = {name: [item for item in listed if item in could] for name, listed in lists.items()}
    telling = cold.questions(max(n_questions, default=1), among=items)
    for n in n_questions:
        drawn = [items[int(place)] for place in chance.permutation(len(items))[:n]]
        for name, asked in (*answered.items(), ("of those rated", telling), ("at random", drawn)):
            ways[f"{n} {name}"] = {item: could[item] for item in asked[:n]}
    ways["all answers"] = could
    return ways


def ordered(guess: Tensor, truth: Tensor, k: int = 10) -> float:
    """Return NDCG at `k` of the order that guesses give to things of known worth, with gains 2 ** worth - 1."""
    gains = 2**truth - 1
    discount = 1 / torch.log2(torch.arange(2, min(k, len(truth)) + 2, dtype=torch.float64))
    got = gains[guess.argsort(descending=True, stable=True)][:k]
    return float((got * discount).sum() / (gains.sort(descending=True).values[:k] * discount).sum())
