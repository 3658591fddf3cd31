"""How good a ranking is: after reading it you know hit rate, recall and NDCG, counted over all items, not a sample.

Counting among a sample of items, as is often done, can put models in another order (Krichene and Rendle 2020).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from flambeau.collab.taste import best, scores
from flambeau.foundation.errors import EmptyError

if TYPE_CHECKING:
    import pandas as pd

    from flambeau.collab.learner import CollabLearner

USERS_AT_ONCE = 256


def ranked_values(
    top: Tensor, there: Tensor, wanted: tuple[Tensor, Tensor], n_wanted: Tensor, k: int
) -> dict[str, float]:
    """Return hit rate, recall and NDCG at `k`, means over users.

    `top` (users, k) holds the recommended items, `there` (users, k) whether a place holds one (a user may have seen
    nearly all), `wanted` (rows, items) what each user really took, and `n_wanted`
    (users,) how many, those counted that no model can know. A hit at place p (from 1) gains 1 / log2(p + 1)
    (Jarvelin 2002); recall is the share of what was wanted that is among the `k`.
    """
    n_items = int(max(top.max(), wanted[1].max())) + 1
    rows = torch.arange(len(top))[:, None]
    found = torch.isin(rows * n_items + top, wanted[0] * n_items + wanted[1]) & there  # (users, k)
    gains = 1 / torch.log2(torch.arange(2, k + 2, dtype=torch.float64))
    ideal = gains.cumsum(0)[n_wanted.clamp(max=k) - 1]
    return {
        f"hit rate at {k}": float(found.any(1).double().mean()),
        f"recall at {k}": float((found.sum(1) / n_wanted).double().mean()),
        f"NDCG at {k}": float(((found * gains[: found.shape[1]]).sum(1) / ideal).mean()),
    }


def ranking(learn: CollabLearner, k: int = 10, min_rating: float = -math.inf) -> pd.DataFrame:
    """Return how well the model ranks for each validation user, and the most popular items beside it.

    Wanted are a user's validation items rated `min_rating` or higher, each once however often it was rated. What the
    user rated in training is never recommended, so that a pair in both halves counts as missed; so do items that occur
    in validation only.

    Raises:
        EmptyError: no known user has such a validation rating, or the learner was loaded and has none.
    """
    import pandas as pd

    valid = learn.dls.valid_ds
    keep = (valid.pairs[:, 0] > 0) & (valid.ratings >= min_rating)
    pairs = valid.pairs[keep]
    if len(valid.pairs) == 0:
        raise EmptyError("An export holds no validation ratings to rank by: measure the ranking before the export.")
    # a known item counts once a user; unknown ones are all "#na#", and each is another
    known = pairs[:, 1] > 0
    pairs = torch.cat([pairs[known].unique(dim=0), pairs[~known]])
    if len(pairs) == 0:
        raise EmptyError(f"No user of the training ratings has a validation rating of {min_rating} or more.")
    users, rows = pairs[:, 0].unique(return_inverse=True)
    n_wanted = torch.bincount(rows)
    tops: dict[str, list[tuple[Tensor, Tensor]]] = {"model": [], "most popular": []}
    popular = learn.popularity.float()[None]
    for start in range(0, len(users), USERS_AT_ONCE):
        some = users[start : start + USERS_AT_ONCE]
        seen = learn.seen.of_all(some)
        for name, scored in (("model", scores(learn, some)), ("most popular", popular.expand(len(some), -1))):
            tops[name].append(best(scored, k, seen))
    values = {}
    for name, parts in tops.items():
        worth, top = (torch.cat(part) for part in zip(*parts, strict=True))
        values[name] = ranked_values(top, worth > -math.inf, (rows, pairs[:, 1]), n_wanted, k)
    table = pd.DataFrame(values).T
    table["users"] = len(users)
    return table
