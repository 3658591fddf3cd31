"""`flambeau train table`: after reading it you know how a CSV file becomes an export and a report."""

from __future__ import annotations

from pathlib import Path

from flambeau.foundation.errors import ArgumentError


def run_train_table(
    file: Path,
    out: Path,
    *,
    target: list[str],
    ignore: list[str],
    model: str,
    epochs: int,
    bs: int,
    lr: float,
    valid_pct: float,
    sep: str,
    seed: int,
) -> None:
    """Train on the rows of a CSV file and write what came of it to `out`.

    Raises:
        ArgumentError, DataError: see the message.
    """
    from flambeau.data.kinds import Category, MultiCategory
    from flambeau.data.tables import read_csv, require_columns
    from flambeau.foundation.seeds import set_seed
    from flambeau.interpret.report import write_report
    from flambeau.nn.metrics import accuracy, accuracy_multi, mae, rmse
    from flambeau.tabular.data_loaders import TabularDataLoaders
    from flambeau.tabular.learner import tabular_learner

    if not file.is_file():
        raise ArgumentError(f"A CSV file was expected, but there is no file {file}.")
    set_seed(seed)
    frame = read_csv(file, sep=sep, skipinitialspace=True)
    require_columns([*target, *ignore], list(frame.columns), str(file))
    dls = TabularDataLoaders.from_df(
        frame.drop(columns=ignore), y_names=target, bs=bs, valid_pct=valid_pct, seed=seed, path=out
    )
    kind = dls.kinds[dls.n_inp]
    numbers = [rmse, mae]
    metrics = (
        [accuracy] if isinstance(kind, Category) else [accuracy_multi] if isinstance(kind, MultiCategory) else numbers
    )
    learn = tabular_learner(dls, model=model, metrics=metrics, path=out, seed=seed)
    learn.fit_one_cycle(epochs, lr)
    export = learn.export("export.safetensors")
    about = f"{file.name}, {len(dls.train_ds)} rows to train, {len(dls.valid_ds)} to validate, seed {seed}"
    commands = [f"flambeau predict {export} FILE.csv --csv ANSWERS.csv"]
    report = write_report(learn, out, f"{file.stem}: {', '.join(target)}", about, commands)
    for metric in learn.metrics:
        print(f"\n{metric.name} on the validation set: {report.values[metric.name]:.4g}", end="")
    print(f"\nWrote {export}, {report.page} and history.csv")
