"""Tables: an epoch of 32,561 x 14 against a bare loop on tensors, batches, building loaders, one row's prediction."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent))
from timing import compare, has_fastai

from flambeau.nn.metrics import accuracy
from flambeau.tabular.data_loaders import TabularDataLoaders
from flambeau.tabular.learner import tabular_learner
from flambeau.tabular.procs import Categorify, FillMissing, Normalize
from flambeau.tabular.tabular_pandas import TabularPandas
from flambeau.trees.learner import tree_learner

N, N_VALID = 32_561, 6_512
LEVELS = (9, 16, 7, 15, 6, 5, 2, 42)
CATS = [f"c{place}" for place in range(len(LEVELS))]
CONTS = [f"n{place}" for place in range(6)]
PROCS = (Categorify, FillMissing, Normalize)


def made_table() -> pd.DataFrame:
    """Return a table of the shape of UCI Adult: 8 categories of words, 6 numbers, one of them with gaps."""
    chance = np.random.default_rng(0)
    columns: dict[str, Any] = {
        name: np.array([f"level {i}" for i in range(n)], dtype=object)[chance.integers(0, n, N)]
        for name, n in zip(CATS, LEVELS, strict=True)
    }
    columns |= {name: chance.normal(40, 12, N) for name in CONTS}
    columns["n0"][chance.integers(0, N, 400)] = np.nan
    signal = columns["n1"] + columns["n2"] + 20 * (columns["c6"] == "level 1")
    columns["y"] = np.where(signal > np.quantile(signal, 0.75), ">50K", "<=50K")
    return pd.DataFrame(columns)


def bare_tensors(frame: pd.DataFrame, train: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the loaders make, by hand with pandas."""
    conts = frame[CONTS].fillna(frame[CONTS].iloc[train].median())
    known = conts.iloc[train]
    scaled = (conts - known.mean()) / known.std()
    codes = [pd.Categorical(frame[name], frame[name].iloc[train].unique()).codes + 1 for name in CATS]
    cats = np.stack([*codes, frame["n0"].isna().to_numpy() + 1], 1)
    target = (frame["y"] == ">50K").to_numpy()
    return (
        torch.from_numpy(cats.astype(np.int64)),
        torch.from_numpy(scaled.to_numpy(np.float32)),
        torch.from_numpy(target.astype(np.int64)),
    )


def silent(make: Callable[[], Any]) -> Any:
    """Return what a function makes, without its printed lines."""
    with contextlib.redirect_stdout(io.StringIO()):
        return make()


def fastai_loaders(frame: pd.DataFrame, splits: Any, bs: int) -> Any:
    """Return fastai's loaders of the same table."""
    from fastai.tabular.all import Categorify as FastaiCategorify
    from fastai.tabular.all import CategoryBlock as FastaiCategoryBlock
    from fastai.tabular.all import FillMissing as FastaiFillMissing
    from fastai.tabular.all import Normalize as FastaiNormalize
    from fastai.tabular.all import TabularPandas as FastaiPandas

    procs = [FastaiCategorify, FastaiFillMissing, FastaiNormalize]
    table = FastaiPandas(
        frame.copy(), procs, list(CATS), list(CONTS), "y", y_block=FastaiCategoryBlock(), splits=splits
    )
    return table.dataloaders(bs)


def fastai_learner(dls: Any) -> Any:
    """Return fastai's learner with the same metric."""
    from fastai.metrics import accuracy as fastai_accuracy
    from fastai.tabular.all import tabular_learner as fastai_tabular_learner

    return fastai_tabular_learner(dls, metrics=fastai_accuracy)


def fastai_epoch(theirs: Any) -> None:
    """Train for an epoch."""
    with theirs.no_bar(), theirs.no_logging():
        theirs.fit(1, 1e-3)


def fastai_inference(theirs: Any, new: pd.DataFrame) -> None:
    """Answer new rows."""
    with theirs.no_bar(), theirs.no_logging():
        theirs.get_preds(dl=theirs.dls.test_dl(new.copy(), bs=1024))


def fastai_row(theirs: Any, row: Any) -> None:
    """Answer one row."""
    with theirs.no_bar(), theirs.no_logging():
        theirs.predict(row)


def main() -> None:
    """Print the table of ratios."""
    torch.set_num_threads(1)
    frame = made_table()
    order = np.random.default_rng(1).permutation(N)
    splits = (order[N_VALID:].tolist(), order[:N_VALID].tolist())

    def loaders(bs: int) -> TabularDataLoaders:
        table = TabularPandas(frame, PROCS, CATS, CONTS, "y", splits=splits)
        return table.dataloaders(bs, device="cpu")

    sides: dict[str, Callable[[], object]] = {}
    if has_fastai():
        sides["fastai"] = lambda: fastai_loaders(frame, splits, 64)
    compare(
        "building loaders", "1.5",
        bare=lambda: [tensor[splits[0]] for tensor in bare_tensors(frame, splits[0])],
        flambeau=lambda: silent(lambda: loaders(64)),
        **sides,
    )  # fmt: skip
    cats, conts, target = bare_tensors(frame, splits[0])
    train, valid = torch.tensor(splits[0]), torch.tensor(splits[1])
    for bs in (64, 1024):
        dls = silent(lambda bs=bs: loaders(bs))  # type: ignore[misc]
        learn = silent(lambda dls=dls: tabular_learner(dls, metrics=accuracy))  # type: ignore[misc]
        model: nn.Module = silent(lambda dls=dls: tabular_learner(dls)).model  # type: ignore[misc]

        def bare_epoch(bs: int = bs, model: nn.Module = model) -> float:
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), eps=1e-5, fused=True)
            model.train()
            own = [part[train] for part in (cats, conts, target)]
            for places in torch.randperm(len(train) // bs * bs).split(bs):
                a, b, y = (part[places] for part in own)
                F.cross_entropy(model(a, b), y).backward()
                optimizer.step()
                optimizer.zero_grad()
            model.eval()
            right = torch.zeros(())
            with torch.no_grad():
                for places in valid.split(bs):
                    prediction = model(cats[places], conts[places])
                    F.cross_entropy(prediction, target[places])
                    right += (prediction.argmax(1) == target[places]).sum()
            return float(right)

        def our_epoch(learn: Any = learn) -> None:
            with learn.no_logging():
                learn.fit(1, 1e-3)

        def bare_batches(bs: int = bs) -> None:
            for places in torch.randperm(len(train)).split(bs):
                _ = [part[places] for part in (cats, conts, target)]

        epochs, batches = dict(sides), dict(sides)
        if has_fastai():
            theirs = fastai_learner(fastai_loaders(frame, splits, bs))
            epochs["fastai"] = partial(fastai_epoch, theirs)
            batches["fastai"] = lambda theirs=theirs: [None for _ in theirs.dls.train]  # type: ignore[misc]
        compare(f"epoch, batches of {bs}", "1.15", bare=bare_epoch, flambeau=our_epoch, **epochs)
        compare(
            f"batches alone, of {bs}", "fastai >= 40x",
            bare=bare_batches,
            flambeau=lambda dls=dls: [None for _ in dls.train],  # type: ignore[misc]
            **batches,
        )  # fmt: skip

    new = frame.drop(columns="y")

    @torch.no_grad()
    def bare_inference() -> Tensor:
        a, b, _ = bare_tensors(frame, splits[0])
        return torch.cat([model(*parts).softmax(1) for parts in zip(a.split(1024), b.split(1024), strict=True)])

    def our_inference() -> None:
        with learn.no_bar():
            learn.get_preds(dl=dls.test_dl(new))

    if has_fastai():
        sides["fastai"] = partial(fastai_inference, theirs, new)
    compare("predicting 32,561 new rows", "1.5", bare=bare_inference, flambeau=our_inference, **sides)
    row = new.iloc[5]

    @torch.no_grad()
    def bare_row() -> Tensor:
        return model(cats[5:6], conts[5:6]).softmax(1)

    if has_fastai():
        sides["fastai"] = partial(fastai_row, theirs, row)
    aim = "under 5 ms; fastai >= 5x"
    compare("one row (ours from words)", aim, repeats=50, bare=bare_row, flambeau=lambda: learn.predict(row), **sides)
    forest = silent(lambda: tree_learner(dls, "forest", seed=0))
    silent(forest.fit)
    matrix = forest.matrix(1).to_numpy()
    compare(
        "a forest's answers, 6,512 rows", "1.1",
        bare=lambda: forest.estimator.predict_proba(matrix), flambeau=lambda: silent(forest.get_preds),
    )  # fmt: skip
    compare(
        "one row by a forest of 200", "1.5", repeats=20,
        bare=lambda: forest.estimator.predict_proba(matrix[:1]), flambeau=lambda: forest.predict(row),
    )  # fmt: skip


if __name__ == "__main__":
    main()
