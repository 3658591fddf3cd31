"""Learning from what people took, not how they rated it: after reading it you know Bayesian personalised ranking.

What a user has not taken is not disliked, only less likely to be liked than what was taken. So each item that was taken
is shown beside others, drawn at random from those that its user has not taken, and the model learns to score it above
them (Rendle 2009).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flambeau.collab.data_loaders import CollabDataLoaders
from flambeau.collab.learner import CollabLearner, collab_learner
from flambeau.collab.ratings import Ratings
from flambeau.data.batch import Batch
from flambeau.foundation.errors import ArgumentError
from flambeau.foundation.tensors import as_places
from flambeau.nn.losses import Loss

REDRAWS = 8
ODD = 0x9E3779B97F4A7C15  # spreads neighbouring numbers far apart (Steele 2014)


class BPRLoss(Loss):
    """Score a ranking: minus the log of the chance that what was taken (first column) beats each of the others.

    The prediction is (batch, 1 + others); the target, a rating, is not looked at.
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss.

        Raises:
            ArgumentError: the prediction has no other items to beat.
        """
        if prediction.ndim != 2 or prediction.shape[1] < 2:
            raise ArgumentError(
                "BPRLoss compares an item with others and needs scores (batch, 1 + others); got "
                f"{tuple(prediction.shape)}. Make the learner with implicit_learner."
            )
        return self._reduce(-F.logsigmoid(prediction[:, :1] - prediction[:, 1:]).mean(1))

    def activation(self, prediction: Tensor) -> Tensor:
        """Return the scores as they are: they order items, and mean nothing by themselves."""
        return prediction

    def decodes(self, prediction: Tensor) -> Tensor:
        """Return the scores."""
        return prediction


class TakenItems(Ratings):
    """Ratings whose batches show each user's item beside `n_others` that the user has not taken: (batch, 2 + others).

    What is drawn follows from `seed` and from which ratings a batch holds. In training these change with the loader's
    seed and epoch, in validation they stay, so that losses of epochs compare.
    """

    def __init__(self, half: Ratings, taken: Tensor, n_others: int, seed: int) -> None:
        super().__init__(half.pairs, half.ratings, half.encode, half.value)
        self.split_idx, self.taken, self.n_others, self.seed = half.split_idx, taken, n_others, seed
        self.n_items = len(half.encode.items)

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the batch of these ratings."""
        rows = as_places(indices)
        places = rows.numpy().astype(np.uint64)
        odds = np.arange(1, len(places) * 2, 2).astype(np.uint64)
        mixed = int(((places + np.uint64(1)) * np.uint64(ODD) * odds).sum())
        generator = torch.Generator().manual_seed((mixed + self.seed) % (1 << 63))
        pairs = self.pairs.index_select(0, rows)
        columns = torch.cat([pairs, self.others(pairs[:, 0], generator)], 1)
        return Batch((columns,), (self.ratings.index_select(0, rows),), self._batch_kinds)

    def others(self, users: Tensor, generator: torch.Generator) -> Tensor:
        """Return items (batch, others) that these users have not taken in training.

        Of a user who has taken nearly all, some may be left after a few redraws.
        """
        shape = (len(users), self.n_others)
        drawn = torch.randint(1, self.n_items, shape, generator=generator)
        for _ in range(REDRAWS):
            keys = users[:, None] * self.n_items + drawn
            at = torch.searchsorted(self.taken, keys).clamp(max=len(self.taken) - 1)
            clash = self.taken[at] == keys
            if not bool(clash.any()):
                break
            drawn = torch.where(clash, torch.randint(1, self.n_items, shape, generator=generator), drawn)
        return drawn


def implicit_learner(
    dls: CollabDataLoaders, n_factors: int = 50, n_others: int = 8, loss_func: Any = None, **options: Any
) -> CollabLearner:
    """Return a learner that ranks what users took above what they did not; the ratings' size is not looked at.

    `n_others` items are drawn beside each one taken. Leave out low ratings beforehand where they mean dislike.
    `options` are those of `collab_learner`. Its predictions are scores that order items, no ratings.

    Raises:
        ArgumentError: `n_others` is below 1, `y_range` is given, or the loaders hold no ratings.
    """
    if not isinstance(n_others, int) or n_others < 1:
        raise ArgumentError(f"Each item is compared with at least one other; got n_others={n_others!r}.")
    if options.get("y_range") is not None:
        raise ArgumentError("Scores of a ranking have no range: leave y_range out.")
    if not isinstance(dls, CollabDataLoaders):
        raise ArgumentError(f"implicit_learner needs CollabDataLoaders, got a {type(dls).__name__}.")
    train = dls.ratings
    taken = (train.pairs[:, 0] * len(train.encode.items) + train.pairs[:, 1]).unique()
    ranked = copy(dls)
    seed = dls.train.maker.seed
    ranked.loaders = [loader.new(TakenItems(loader.dataset, taken, n_others, seed)) for loader in dls.loaders]
    return collab_learner(ranked, n_factors, loss_func=BPRLoss() if loss_func is None else loss_func, **options)
