"""`flambeau train table`: after reading it you know how a CSV file becomes an export and a report."""

from __future__ import annotations

from pathlib import Path

from flambeau.foundation.errors import ArgumentError, unknown_name
from flambeau.foundation.numbers import number_words

USUAL_EPOCHS, USUAL_LR, USUAL_BS = 5, 1e-2, 64


def run_train_table(
    file: Path,
    out: Path,
    *,
    target: list[str],
    ignore: list[str],
    model: str,
    epochs: int | None,
    bs: int | None,
    lr: float | None,
    valid_pct: float,
    sep: str,
    encoding: str,
    seed: int,
) -> None:
    """Train a net or trees on the rows of a CSV file and write what came of it to `out`.

    Raises:
        ArgumentError, DataError: see the message.
    """
    from flambeau.data.kinds import Category, MultiCategory
    from flambeau.data.tables import read_csv, require_columns
    from flambeau.foundation.seeds import set_seed
    from flambeau.interpret.report import write_report
    from flambeau.nn.metrics import accuracy, accuracy_multi, mae, rmse
    from flambeau.tabular.data_loaders import TabularDataLoaders
    from flambeau.tabular.learner import MODELS as NETS
    from flambeau.tabular.learner import tabular_learner
    from flambeau.train.learner import Learner
    from flambeau.trees.estimators import MODELS as TREES
    from flambeau.trees.importance import feature_importance
    from flambeau.trees.learner import tree_learner

    if model not in (*NETS, *TREES):
        raise unknown_name("model of tables", model, [*NETS, *TREES])
    of_nets = [name for name, value in (("--epochs", epochs), ("--lr", lr), ("--bs", bs)) if value is not None]
    if model in TREES and of_nets:
        raise ArgumentError(f"{', '.join(of_nets)} belong to nets: {model!r} learns from all rows at once.")
    if not file.is_file():
        raise ArgumentError(f"A CSV file was expected, but there is no file {file}.")
    set_seed(seed)
    frame = read_csv(file, sep=sep, skipinitialspace=True, encoding=encoding)
    require_columns([*target, *ignore], list(frame.columns), str(file))
    dls = TabularDataLoaders.from_df(
        frame.drop(columns=ignore), y_names=target, bs=bs or USUAL_BS, valid_pct=valid_pct, seed=seed, path=out
    )
    kind = dls.kinds[dls.n_inp]
    numbers = [rmse, mae]
    metrics = (
        [accuracy] if isinstance(kind, Category) else [accuracy_multi] if isinstance(kind, MultiCategory) else numbers
    )
    learn: Learner
    if model in TREES:
        learn = tree_learner(dls, model, metrics=metrics, path=out, seed=seed)
        learn.fit(1)
    else:
        learn = tabular_learner(dls, model=model, metrics=metrics, path=out, seed=seed)
        learn.fit_one_cycle(epochs or USUAL_EPOCHS, USUAL_LR if lr is None else lr)
    export = learn.export("export.safetensors")
    about = f"{file.name}, {len(dls.train_ds)} rows to train, {len(dls.valid_ds)} to validate, seed {seed}"
    commands = [f"flambeau predict {export} FILE.csv --csv ANSWERS.csv"]
    matters = feature_importance(learn, n_repeats=3).plot()
    more = [("importance", "Which columns matter: what is lost when one is shuffled", matters)]
    report = write_report(learn, out, f"{file.stem}: {', '.join(target)}", about, commands, more)
    for metric in learn.metrics:
        print(f"\n{metric.name} on the validation set: {number_words(report.values[metric.name])}", end="")
    print(f"\nWrote {export}, {report.page} and history.csv")
