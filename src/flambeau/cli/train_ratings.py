"""`flambeau train ratings`: after reading it you know how a table of ratings becomes an export and recommendations."""

from __future__ import annotations

from pathlib import Path


def run_train_ratings(
    file: Path,
    out: Path,
    *,
    user: str | None,
    item: str | None,
    rating: str | None,
    time: str | None,
    factors: int,
    epochs: int,
    lr: float,
    wd: float,
    bs: int,
    valid_pct: float,
    sep: str | None,
    encoding: str,
    seed: int,
    top: int,
) -> None:
    """Train on the ratings of a CSV file, and write an export and everybody's recommendations to `out`.

    Raises:
        ArgumentError, DataError: see the message.
    """
    from flambeau.collab.data_loaders import CollabDataLoaders
    from flambeau.collab.learner import collab_learner
    from flambeau.data.splitters import TimeSplitter
    from flambeau.foundation.paths import atomic_write
    from flambeau.foundation.seeds import set_seed
    from flambeau.nn.metrics import rmse

    set_seed(seed)
    splitter = TimeSplitter(time, valid_pct) if time is not None else None
    dls = CollabDataLoaders.from_csv(
        file, valid_pct, user, item, rating, seed=seed, path=out, bs=bs, delimiter=sep, splitter=splitter,
        encoding=encoding,
    )  # fmt: skip
    both = [loader.dataset.ratings for loader in dls.loaders]
    low, high = min(float(half.min()) for half in both), max(float(half.max()) for half in both)
    margin = 0.1 * (high - low) or 1.0
    y_range = (low - margin, high + margin)
    print(f"{len(dls.train_ds)} ratings to train, {len(dls.valid_ds)} to validate, from {low:g} to {high:g}.")
    learn = collab_learner(dls, factors, y_range=y_range, metrics=rmse, path=out)
    learn.fit_one_cycle(epochs, lr, wd=wd)
    print(f"\nRanking of the validation ratings, over all items:\n{learn.ranking().round(3).to_string()}")
    export = learn.export("export.safetensors")
    table = out / "recommendations.csv"
    with atomic_write(table, "w") as text:
        learn.recommend_all(n=top).to_csv(text, index=False)
    print(f"Wrote {export} and {table} (the top {top} of each user)")


def run_predict_ratings(export: Path, file: Path, csv: Path | None, sep: str, encoding: str | None) -> None:
    """Predict the rows of a CSV file of users and items, and print them or write them to `csv`.

    Raises:
        ArgumentError, DataError, ExportError: see the message.
    """
    from flambeau.collab.learner import CollabLearner
    from flambeau.data.tables import read_csv
    from flambeau.foundation.errors import ArgumentError
    from flambeau.foundation.paths import atomic_write
    from flambeau.train.load_learner import load_learner

    learn = load_learner(export)
    if not isinstance(learn, CollabLearner):
        raise ArgumentError(f"{export} is no export of ratings, so it cannot answer the rows of {file}.")
    frame = read_csv(file, sep=sep, encoding=encoding)
    frame["prediction"] = learn.get_preds(dl=learn.dls.test_dl(frame, bs=1024))[0].numpy()
    if csv is None:
        print(frame.to_string(index=False))
        return
    with atomic_write(csv, "w") as text:
        frame.to_csv(text, index=False)
    print(f"Wrote {csv} ({len(frame)} rows)")
