"""Ratings: how good the guesses are on MovieLens small, as means over seeds: `python benchmarks/ratings_quality.py`.

The first argument is the folder of MovieLens (ratings.csv or ratings.csv.gz), the second the number of seeds (3).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from flambeau.collab.cold_measure import cold_start_table
from flambeau.collab.cold_start import ColdStart
from flambeau.collab.data_loaders import CollabDataLoaders
from flambeau.collab.implicit import implicit_learner
from flambeau.collab.learner import CollabLearner, collab_learner
from flambeau.foundation.seeds import set_seed

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "movielens_latest_small"
RANGE = (0.0, 5.5)
HELD = 0.2  # the share of users whom the cold start meets for the first time


def trained(learn: CollabLearner, n_epoch: int, lr: float, wd: float) -> CollabLearner:
    """Return the learner after training, without its table of losses."""
    with learn.no_logging():
        learn.fit_one_cycle(n_epoch, lr, wd=wd)
    return learn


def dot(ratings: pd.DataFrame, seed: int, valid_pct: float = 0.2) -> CollabLearner:
    """Return a dot product trained as `flambeau train ratings` does."""
    dls = CollabDataLoaders.from_df(ratings, valid_pct, bs=64, seed=seed, device="cpu")
    return trained(collab_learner(dls, 50, y_range=RANGE), 5, 5e-3, 0.1)


def network(ratings: pd.DataFrame, seed: int) -> CollabLearner:
    """Return the best network of a few that were tried: few factors, and much dropout."""
    dls = CollabDataLoaders.from_df(ratings, bs=512, seed=seed, device="cpu")
    sizes = dict.fromkeys(dls.classes, 24)
    learn = collab_learner(dls, use_nn=True, y_range=RANGE, layers=[64], emb_szs=sizes, ps=0.1, embed_p=0.4)
    return trained(learn, 4, 5e-3, 0.3)


def one_seed(ratings: pd.DataFrame, seed: int) -> tuple[pd.Series, pd.DataFrame]:
    """Return the figures of one seed, and its table of the cold start."""
    figures = {}
    for name, make in (("RMSE, dot product", dot), ("RMSE, network", network)):
        set_seed(seed)
        figures[name] = float(make(ratings, seed).validate()[0]) ** 0.5
    set_seed(seed)
    dls = CollabDataLoaders.from_df(ratings, bs=512, seed=seed, device="cpu")
    ranked = trained(implicit_learner(dls, 64), 15, 5e-3, 0.1).ranking(10)
    figures["recall at 10, BPR"] = ranked.loc["model", "recall at 10"]
    figures["recall at 10, most popular"] = ranked.loc["most popular", "recall at 10"]
    users = np.random.default_rng(seed).permutation(ratings.iloc[:, 0].unique())
    held = ratings.iloc[:, 0].isin(users[: int(HELD * len(users))])
    set_seed(seed)
    cold = ColdStart(dot(ratings[~held], seed, 0.1))
    print(f"seed {seed}: " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items()), flush=True)
    return pd.Series(figures), cold_start_table(cold, ratings[held], seed=seed)


def main() -> None:
    """Print the means over seeds."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    n_seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    ratings = pd.read_csv(next(folder.glob("ratings.csv*")))
    figures, tables = zip(*(one_seed(ratings, seed) for seed in range(n_seeds)), strict=True)
    print(pd.DataFrame(figures).agg(["mean", "min", "max"]).T.round(4).to_string())
    names = list(tables[0].index)
    table = sum(tables[1:], tables[0]).loc[names] / n_seeds
    for column in ("RMSE", "RMSE of a user"):
        all_rows = [each[column] for each in tables]
        gaps = pd.DataFrame([(row.iloc[0] - row) / (row.iloc[0] - row.iloc[-1]) for row in all_rows])
        table[f"gap closed, {column}"] = (100 * gaps.mean()).round().astype(int)
    print(f"\nUsers held out:\n{table.round(4).to_string()}")


if __name__ == "__main__":
    main()
