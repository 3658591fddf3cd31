"""Bagging: after reading it you know how models that differ are trained on one data set, and what each has not seen.

A bootstrap sample draws as many items as there are, with replacement: about 63 % of the items come, some several times,
and the others are out of the bag (Breiman 1996). Models trained on different samples err differently, so that their
average errs less, and each may be judged by the items it has not seen.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from copy import copy

from flambeau.data.data_loaders import DataLoaders
from flambeau.data.loaders import DataLoader
from flambeau.foundation.errors import ArgumentError


class Bootstrap:
    """Serve one bootstrap sample of the items, in a new order each epoch: `DataLoader(..., order=Bootstrap(seed))`.

    The sample depends on the seed and the number of items alone, so every epoch trains on the same items.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, n: int, chance: random.Random) -> Iterable[int]:
        """Return the indices of an epoch."""
        indices = self.drawn(n)
        chance.shuffle(indices)
        return indices

    def drawn(self, n: int) -> list[int]:
        """Return the sample: `n` draws of the indices 0 to n-1, with replacement."""
        return random.Random(self.seed).choices(range(n), k=n)

    def out_of_bag(self, n: int) -> list[int]:
        """Return the indices of 0 to n-1 that are not in the sample, in order."""
        seen = set(self.drawn(n))
        return [index for index in range(n) if index not in seen]

    def __repr__(self) -> str:
        return f"Bootstrap(seed={self.seed})"


def bagging(dls: DataLoaders, seed: int) -> DataLoaders:
    """Return loaders like these that train on a bootstrap sample of the training items; the others stay as they are.

    The sample is `dls.train.order`; its `out_of_bag(len(dls.train_ds))` are the places of the items left out.

    Raises:
        ArgumentError: the training loader is none of flambeau's, or has an order of its own.
    """
    train = dls.train
    if not isinstance(train, DataLoader):
        raise ArgumentError(
            f"bagging needs one of flambeau's loaders, which take an order; the training loader is a "
            f"{type(train).__name__}."
        )
    if train.order is not None and not isinstance(train.order, Bootstrap):
        raise ArgumentError(
            f"The training loader serves its items in an order of its own ({train.order!r}), which a bootstrap sample "
            "would replace. Make the loaders without order=."
        )
    other = copy(dls)
    # all of them anew: a transform that a learner adds must not reach the loaders of the other bags
    rest = [loader.new() if isinstance(loader, DataLoader) else loader for loader in dls.loaders[1:]]
    other.loaders = [train.new(shuffle=False, order=Bootstrap(seed)), *rest]
    return other
