"""Tables: how good answers are on real data, the mean of several seeds: Adult, Titanic, California, Ames, bicycles.

    python benchmarks/tables_quality.py adult titanic --seeds 3 --models forest boosting tabm boosting+tabm

Nothing is chosen by the rows that are answered: models see no validation rows at all.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from flambeau.foundation.seeds import set_seed
from flambeau.tabular.columns import cont_cat_split
from flambeau.tabular.data_loaders import TabularDataLoaders
from flambeau.tabular.dates import add_datepart
from flambeau.tabular.learner import tabular_learner
from flambeau.tabular.procs import Categorify, FillMissing, Normalize
from flambeau.tabular.tabular_pandas import TabularPandas
from flambeau.train.ensemble import Ensemble
from flambeau.train.learner import Learner
from flambeau.trees.learner import tree_learner

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "tabular"
Answers = npt.NDArray[Any]
Split = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass
class Task:
    """A table, its target, how its rows are split for a seed, and what is measured of answers and truths."""

    frame: pd.DataFrame
    target: str
    splits: Callable[[int], list[Split]]
    measures: dict[str, Callable[[Answers, Answers], float]]
    epochs: int
    lr: float = 1e-2
    bs: int = 256
    cats: list[str] = field(default_factory=list)
    conts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.cats:
            self.conts, self.cats = cont_cat_split(self.frame, dep_var=self.target)


NETS, TREES = {"plain", "tabm"}, {"oner", "tree", "bagging", "forest", "extra", "boosting", "lightgbm"}
USUAL = ("oner", "tree", "forest", "boosting", "plain", "tabm", "boosting+tabm")


def answered(task: Task, split: Split, seed: int, model: str) -> Answers:
    """Return the answers of a model: classes as they are in the table, or numbers; "a+b" averages two models."""
    set_seed(seed)
    rows = task.frame.iloc[split[0]]
    procs = [Categorify, FillMissing, Normalize]
    table = TabularPandas(rows, procs, task.cats, task.conts, task.target, splits=(range(len(rows)), []))
    dls = table.dataloaders(task.bs, device="cpu", seed=seed)
    team = Ensemble([trained(task, dls, name, seed) for name in model.split("+")])
    inputs = task.frame.iloc[split[1]].drop(columns=task.target)
    with contextlib.ExitStack() as silent:
        for learn in team.members:
            silent.enter_context(learn.no_logging())
            silent.enter_context(learn.no_bar())
        answers = team.get_preds(dl=dls.test_dl(inputs, bs=4096))[0].numpy()
    return np.array(dls.vocab)[answers.argmax(1)] if dls.c > 1 else answers[:, 0]


def trained(task: Task, dls: TabularDataLoaders, name: str, seed: int) -> Learner:
    """Return a trained learner: a net by the task's epochs and rate, or trees by their usual settings."""
    if name in TREES:
        learn: Learner = tree_learner(dls, name, seed=seed)
        learn.fit(1)
        return learn
    learn = tabular_learner(dls, model=name, wd=0.01, seed=seed)
    with learn.no_logging(), learn.no_bar():
        learn.fit_one_cycle(task.epochs, task.lr)
    return learn


def share_right(answers: Answers, truths: Answers) -> float:
    """Return the accuracy in percent."""
    return 100 * float((answers == truths).mean())


def rmse(answers: Answers, truths: Answers) -> float:
    """Return the root of the mean squared error."""
    return float(np.sqrt(((answers - truths) ** 2).mean()))


def r2(answers: Answers, truths: Answers) -> float:
    """Return which share of the truths' variance the answers explain."""
    return 1 - float(((answers - truths) ** 2).sum() / ((truths - truths.mean()) ** 2).sum())


def of_counts(measure: Callable[[Answers, Answers], float]) -> Callable[[Answers, Answers], float]:
    """Return a measure of counts whose logarithms log(1 + n) are answered."""
    return lambda answers, truths: measure(np.expm1(answers), np.expm1(truths))


def at_random(n: int, seed: int, share: float = 0.2) -> list[Split]:
    """Return one split in which a share of the rows, drawn by the seed, is answered."""
    order = np.random.default_rng(seed).permutation(n)
    return [(order[int(n * share) :], order[: int(n * share)])]


def in_folds(n: int, seed: int, n_folds: int = 5) -> list[Split]:
    """Return splits in which each row is answered once."""
    folds = np.array_split(np.random.default_rng(seed).permutation(n), n_folds)
    return [(np.concatenate(folds[:k] + folds[k + 1 :]), folds[k]) for k in range(n_folds)]


def adult() -> Task:
    """Who earns more than 50,000 dollars: the official test file is answered."""
    train, test = (pd.read_csv(DATA / f"adult_{half}.csv.gz", skipinitialspace=True) for half in ("train", "test"))
    frame, n = pd.concat([train, test], ignore_index=True), len(train)
    split = (np.arange(n), np.arange(n, len(frame)))
    return Task(frame, "salary", lambda seed: [split], {"accuracy %": share_right}, epochs=10)


def titanic() -> Task:
    """Who survived, in five folds, with the columns that lesson 6 makes; groups by ticket count the whole list."""
    frame = pd.read_csv(DATA / "titanic.csv")
    decks = {"A": "ABC", "B": "ABC", "C": "ABC", "D": "DE", "E": "DE", "F": "FG", "G": "FG"}
    titles = frame["Name"].str.split(", ", expand=True)[1].str.split(".", expand=True)[0]
    frame = frame.assign(
        LogFare=np.log1p(frame["Fare"]),
        Deck=frame["Cabin"].str[0].map(decks),
        Family=frame["SibSp"] + frame["Parch"],
        Alone=(frame["SibSp"] + frame["Parch"]) == 0,
        TicketFreq=frame.groupby("Ticket")["Ticket"].transform("count"),
        Title=titles.where(titles.isin(["Mr", "Miss", "Mrs", "Master"])),
    )
    cats = ["Sex", "Pclass", "Embarked", "Deck", "Title"]
    conts = ["Age", "SibSp", "Parch", "LogFare", "Alone", "TicketFreq", "Family"]
    n = len(frame)
    return Task(
        frame, "Survived", partial(in_folds, n), {"accuracy %": share_right}, epochs=16, bs=64, cats=cats, conts=conts
    )


def california() -> Task:
    """What houses cost in the blocks of California, a random fifth of them."""
    frame = pd.read_csv(DATA / "california_housing.csv.gz").astype({"median_house_value": float})
    return Task(frame, "median_house_value", partial(at_random, len(frame)), {"RMSE": rmse}, epochs=20)


def ames() -> Task:
    """The logarithm of what houses in Ames cost, a random fifth of them.

    The rate is that of 1e-2, 3e-3 and 1e-3 with which the plain net erred least on a fifth of the training rows.
    """
    frame = pd.read_csv(DATA / "ames_housing.csv.gz").drop(columns=["Order", "PID"])
    frame["SalePrice"] = np.log(frame["SalePrice"])
    return Task(frame, "SalePrice", partial(at_random, len(frame)), {"RMSE of log": rmse}, epochs=30, lr=3e-3, bs=64)


def bikes() -> Task:
    """How many bicycles are hired in an hour: learnt from the first 80 % of the hours, answered for the rest."""
    frame = pd.read_csv(DATA / "bike_sharing_hour.csv.gz")
    frame = add_datepart(frame.drop(columns=["instant", "casual", "registered"]), "dteday")
    conts = ["temp", "atemp", "hum", "windspeed", "dtedayElapsed"]
    cats = ["season", "mnth", "hr", "holiday", "weekday", "workingday", "weathersit"]
    frame = frame[[*cats, *conts, "cnt"]].assign(cnt=np.log1p(frame["cnt"]))
    n = int(0.8 * len(frame))
    split = (np.arange(n), np.arange(n, len(frame)))
    measures = {"R2": of_counts(r2), "RMSLE": rmse}
    return Task(frame, "cnt", lambda seed: [split], measures, epochs=15, cats=cats, conts=conts)


TASKS = {"adult": adult, "titanic": titanic, "california": california, "ames": ames, "bikes": bikes}


def measured(task: Task, model: str, n_seeds: int) -> Iterator[dict[str, float]]:
    """Yield what each seed measures, answers of all its splits together."""
    truths = task.frame[task.target].to_numpy()
    for seed in range(n_seeds):
        splits = task.splits(seed)
        with contextlib.redirect_stdout(io.StringIO()):
            answers = np.concatenate([answered(task, split, seed, model) for split in splits])
        right = truths[np.concatenate([answered for _, answered in splits])]
        yield {name: measure(answers, right) for name, measure in task.measures.items()}


def main() -> None:
    """Print a line for each task and model: mean and deviation of each measure over the seeds, seconds a seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", choices=[*TASKS, []], help="all, if none is named")
    parser.add_argument("--models", nargs="*", default=USUAL, help=f"{', '.join(sorted(NETS | TREES))}, or a+b")
    parser.add_argument("--seeds", type=int, default=3)
    wanted = parser.parse_args()
    wrong = [name for model in wanted.models for name in model.split("+") if name not in NETS | TREES]
    if wrong:
        parser.error(f"there is no model {wrong[0]!r}")
    torch.set_num_threads(1)
    for name in wanted.tasks or TASKS:
        task = TASKS[name]()
        for model in wanted.models:
            start = time.perf_counter()
            found = pd.DataFrame(measured(task, model, wanted.seeds))
            cells = [f"{m} {v.mean():10.4g} (deviation {v.std(ddof=0):.2g})" for m, v in found.items()]
            seconds = (time.perf_counter() - start) / wanted.seeds
            print(f"{name:12}{model:15}" + "  ".join(cells) + f"  {seconds:6.1f} s a seed", flush=True)


if __name__ == "__main__":
    main()
