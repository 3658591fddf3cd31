"""Ratings: an epoch of 100,000 against the bare tensor loop, the loaders' cost, and the top 10 of every user."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from timing import compare, has_fastai

from flambeau.collab.data_loaders import CollabDataLoaders
from flambeau.collab.learner import collab_learner
from flambeau.collab.models import EmbeddingDotBias

N_USERS, N_ITEMS, N_RATINGS = 943, 1_682, 100_000


def fastai_loaders(frame: pd.DataFrame, bs: int) -> Any:
    """Return fastai's loaders of the same ratings."""
    from fastai.collab import CollabDataLoaders as FastaiCollab

    return FastaiCollab.from_df(frame.copy(), valid_pct=0.01, bs=bs, seed=1)


def fastai_epoch(dls: Any) -> None:
    """Train fastai's dot product for an epoch."""
    from fastai.collab import collab_learner as fastai_collab_learner

    learn = fastai_collab_learner(dls, n_factors=50, y_range=(0, 5.5))
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 5e-3, wd=0.1)


def main() -> None:
    """Print the table of ratios."""
    chance = np.random.default_rng(0)
    columns = {"user": N_USERS, "item": N_ITEMS}
    frame = pd.DataFrame({name: chance.integers(0, n, N_RATINGS) for name, n in columns.items()})
    frame["rating"] = chance.integers(1, 6, N_RATINGS)

    def build() -> CollabDataLoaders:
        return CollabDataLoaders.from_df(frame, bs=64, seed=1, device="cpu")

    def bare_build() -> Tensor:
        codes = [frame[name].astype("category").cat.codes.to_numpy() for name in columns]
        pairs = torch.from_numpy(np.stack(codes, 1).astype(np.int64)) + 1
        kept = torch.randperm(N_RATINGS)
        return pairs[kept[: N_RATINGS // 5]], pairs[kept[N_RATINGS // 5 :]], torch.tensor(frame["rating"].to_numpy())

    compare("build loaders", "1.5", bare=bare_build, flambeau=build)
    for bs in (64, 1024):
        dls = CollabDataLoaders.from_df(frame, valid_pct=0.01, bs=bs, seed=1, device="cpu")
        pairs, stars = dls.train_ds.pairs, dls.train_ds.ratings
        valid_pairs, valid_stars = dls.valid_ds.pairs, dls.valid_ds.ratings
        sizes = (50, len(dls.classes["user"]), len(dls.classes["item"]), (0, 5.5))

        def bare_epoch(bs: int = bs) -> None:
            model = EmbeddingDotBias(*sizes)  # noqa: B023
            optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, eps=1e-5, weight_decay=0.1, fused=True)
            order = torch.randperm(len(pairs))  # noqa: B023
            for start in range(0, len(order) - bs + 1, bs):
                places = order[start : start + bs]
                nn.functional.mse_loss(model(pairs[places]), stars[places]).backward()  # noqa: B023
                optimizer.step()
                optimizer.zero_grad()
            with torch.no_grad():
                nn.functional.mse_loss(model(valid_pairs), valid_stars)  # noqa: B023

        def our_epoch(dls: CollabDataLoaders = dls) -> None:
            learn = collab_learner(dls, 50, y_range=(0, 5.5))
            with learn.no_logging():
                learn.fit(1, 5e-3, wd=0.1)

        def bare_batches(bs: int = bs) -> None:
            order = torch.randperm(len(pairs))  # noqa: B023
            for start in range(0, len(order) - bs + 1, bs):
                places = order[start : start + bs]
                _ = pairs[places], stars[places]  # noqa: B023

        def our_batches(dls: CollabDataLoaders = dls) -> None:
            for _ in dls.train:
                pass

        batches, epochs = {}, {}
        if has_fastai():
            theirs = fastai_loaders(frame, bs)
            batches["fastai"] = lambda theirs=theirs: [None for _ in theirs.train]
            epochs["fastai"] = partial(fastai_epoch, theirs)
        compare(f"batches, bs {bs}", "-", bare=bare_batches, flambeau=our_batches, **batches)
        compare(f"epoch, bs {bs}", "1.15", bare=bare_epoch, flambeau=our_epoch, **epochs)

    learn = collab_learner(build(), 50, y_range=(0, 5.5))
    learn.seen  # noqa: B018 (made once, before the clock runs)

    @torch.no_grad()
    def bare_top() -> Tensor:
        model = learn.model
        scored = model.u_weight.weight @ model.i_weight.weight.T + model.u_bias.weight + model.i_bias.weight.T
        pairs = learn.data.pairs
        scored[pairs[:, 0], pairs[:, 1]] = -torch.inf
        return scored.topk(10).indices

    compare("top 10 of every user", "1 s", bare=bare_top, flambeau=learn.recommend_all)


if __name__ == "__main__":
    main()
