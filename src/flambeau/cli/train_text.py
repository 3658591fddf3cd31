"""`flambeau train text`: after reading it you know how texts with labels become an export and a report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flambeau.cli.picture_folder import TRAIN, VALID
from flambeau.cli.pretrain import WEIGHTS, WORDS
from flambeau.foundation.errors import ArgumentError, EmptyError
from flambeau.foundation.numbers import number_words

if TYPE_CHECKING:
    from flambeau.data.data_loaders import DataLoaders
    from flambeau.train.learner import Learner

ULMFIT = "ulmfit"
FROM_NOTHING = (
    "Without --language-model the network begins from random weights and learns the language from these texts alone: "
    "of a few hundred or thousand, its answers may be hardly better than guessing. Better: --model minilm, which was "
    "trained on much text; or `flambeau pretrain` on texts without labels, and its folder as --language-model."
)
STARTED_FROM = "started_from.json"
ULMFIT_LR = 2e-2
LM_HEAD_LR, LM_LR, LM_LR_FROM_SCRATCH = 2e-2, 2e-3, 5e-3
FALL = 2.6**4  # of the rate from the head to the deepest of five groups (Howard and Ruder 2018)
SMALL = 0.3  # what multiplies the dropouts of a language model that sees few texts


def run_train_text(
    data: Path,
    out: Path,
    *,
    text: list[str],
    label: list[str],
    label_delim: str | None,
    model: str,
    language_model: Path | None,
    lm_epochs: int | None,
    epochs: int,
    lr: float | None,
    bs: int | None,
    valid_pct: float,
    valid_col: str | None,
    group: str | None,
    sep: str | None,
    encoding: str,
    seed: int,
    checkpoint: int | None,
    resume: bool,
) -> None:
    """Train a transformer or an AWD-LSTM on texts with labels and write what came of it to `out`.

    Raises:
        ArgumentError, DataError, DownloadError, ExportError: see the message.
    """
    from flambeau.cli.outputs import require_folder_to_write
    from flambeau.foundation.seeds import set_seed
    from flambeau.interpret.report import write_report

    if model != ULMFIT and (language_model is not None or lm_epochs is not None):
        raise ArgumentError(f"--language-model and --lm-epochs belong to --model {ULMFIT}; the model is {model!r}.")
    require_folder_to_write(out)
    set_seed(seed)
    if data.is_dir():
        of_tables = {"--text": text, "--label": label, "--label-delim": label_delim, "--valid-col": valid_col}
        given = [name for name, value in {**of_tables, "--group": group, "--sep": sep}.items() if value]
        if given:
            raise ArgumentError(f"{', '.join(given)} belong to tables, but {data} is a folder.")
        loaders = _loaders_of_folder(data, valid_pct, seed=seed, bs=bs, encoding=encoding)
    else:
        loaders = _loaders_of_table(
            data, text, label, label_delim, valid_pct, valid_col, group, sep, encoding, seed=seed, bs=bs, path=out
        )
    kept: dict[str, Any] = {"checkpoint": checkpoint or resume, "resume": resume}
    if model == ULMFIT:
        learn = _ulmfit(loaders, out, language_model, 1 if lm_epochs is None else lm_epochs, epochs, lr, kept)
    else:
        from flambeau.text.transformer_learner import transformer_learner

        dls = loaders(transformer=model)
        learn = transformer_learner(dls, model, pairs=len(text) == 2, metrics=_metrics(dls), path=out)
        learn.fine_tune(epochs, lr, **kept)
    export = learn.export("export.safetensors")
    n_train, n_valid = len(learn.dls.train_ds), len(learn.dls.valid_ds)
    about = f"{model} on {data.name}, {n_train} texts to train, {n_valid} to validate, seed {seed}"
    commands = [f"flambeau predict {export} FILES...", f"flambeau evaluate {export} DATA"]
    report = write_report(learn, out, f"{data.stem}: {', '.join(label) or 'label'}", about, commands)
    for metric in learn.metrics:
        print(f"\n{metric.name} on the validation set: {number_words(report.values[metric.name])}", end="")
    print(f"\nWrote {export}, {report.page} and history.csv", "Next:", *commands, sep="\n  ")


# ---- texts


def _loaders_of_folder(folder: Path, valid_pct: float, **options: Any) -> Any:
    """Return what makes loaders of train/<class> and valid/<class>, or of one folder a class split at random."""
    from flambeau.text.data_loaders import TextDataLoaders

    parts = {part.name.lower(): part.name for part in sorted(folder.iterdir()) if part.is_dir()}
    train, valid = (next((parts[name] for name in known if name in parts), None) for known in (TRAIN, VALID))
    if train is not None and valid is not None:
        return partial(TextDataLoaders.from_folder, folder, train, valid, **options)
    if train is not None:
        print(f"There is no folder of texts to validate beside {folder / train}: a share of its texts validates.")
    return partial(
        TextDataLoaders.from_folder, folder if train is None else folder / train, valid_pct=valid_pct, **options
    )


def _loaders_of_table(
    file: Path,
    text: list[str],
    label: list[str],
    label_delim: str | None,
    valid_pct: float,
    valid_col: str | None,
    group: str | None,
    sep: str | None,
    encoding: str,
    seed: int,
    **options: Any,
) -> Any:
    """Return what makes loaders of a table's rows; rows without text or label are left out, which is told."""
    from flambeau.data.splitters import GroupSplitter
    from flambeau.data.tables import allow_no_labels, require_columns
    from flambeau.text.data_loaders import TextDataLoaders
    from flambeau.text.text_csv import with_values

    if group is not None and valid_col is not None:
        raise ArgumentError("--group and --valid-col both say which rows validate; give one of them.")
    frame = read_text_table(file, sep, encoding)
    names = [str(name) for name in frame.columns]
    if len(names) < 2 and not (text and label):
        raise ArgumentError(f"{file} has one column only, {names[0]!r}: a text and a label are needed.")
    text = text or [next(name for name in names if name not in label)]
    label = label or [next(name for name in names if name not in text)]
    require_columns([*text, *label, *filter(None, (valid_col, group))], names, str(file))
    as_written = text if label_delim is None else [*text, *label]
    if label_delim is not None:
        frame = allow_no_labels(frame, label)
    whole = whole_rows(with_values(frame, as_written), [*text, *label], file)
    print(f"Texts: {', '.join(text)}. Labels: {', '.join(label)}.")
    return partial(
        TextDataLoaders.from_df,
        whole,
        text_col=text,
        label_col=label[0] if len(label) == 1 else label,
        label_delim=label_delim,
        valid_pct=valid_pct,
        valid_col=valid_col,
        splitter=None if group is None else GroupSplitter(group, valid_pct, seed),
        seed=seed,
        **options,
    )


def read_text_table(file: Path, sep: str | None, encoding: str) -> Any:
    """Return the table of a CSV or TSV file, compressed or not, with each cell as the string that stands there.

    Raises:
        ArgumentError: there is no such file. TableError: it cannot be read.
    """
    from flambeau.text.corpus import separator_of
    from flambeau.text.text_csv import read_cells

    if not file.is_file():
        raise ArgumentError(f"A CSV or TSV file, or a folder of texts, was expected, but there is no {file}.")
    return read_cells(file, sep=sep or separator_of(file), encoding=encoding)


def whole_rows(frame: Any, names: list[Any], file: Path) -> Any:
    """Return a table's rows that have all of their texts and labels, and print how many have not.

    Raises:
        EmptyError: none has.
    """
    whole = frame.dropna(subset=names).reset_index(drop=True)
    if len(whole) < len(frame):
        print(f"{len(frame) - len(whole)} of {len(frame)} rows lack a text or a label and are left out.")
    if not len(whole):
        raise EmptyError(f"{file} has no row with a text and a label.")
    return whole


def _metrics(dls: DataLoaders) -> list[Any]:
    from flambeau.data.kinds import Category, MultiCategory
    from flambeau.nn.metrics import accuracy, accuracy_multi, error_rate, mae, rmse

    kind = dls.kinds[dls.n_inp]
    if isinstance(kind, Category):
        return [error_rate, accuracy]
    return [accuracy_multi] if isinstance(kind, MultiCategory) else [rmse, mae]


# ---- ULMFiT


def _ulmfit(
    loaders: Any,
    out: Path,
    language_model: Path | None,
    lm_epochs: int,
    epochs: int,
    lr: float | None,
    kept: dict[str, Any],
) -> Learner:
    """Train a language model on the texts, and on its encoder a classifier, unfrozen from the head down."""
    from flambeau.nn.metrics import Perplexity
    from flambeau.text.awd_lstm import AWD_LSTM
    from flambeau.text.learner import language_model_learner, text_classifier_learner
    from flambeau.text.pretrained import encoder_sizes

    files, config = None, None
    if language_model is not None:
        files = _files_of(language_model)
        config = encoder_sizes(files[0])
    _require_same_start(out, files or (), resume=kept["resume"])
    if files is None:
        print(FROM_NOTHING)
    dls_lm = loaders(is_lm=True)
    dls = loaders(text_vocab=list(dls_lm.vocab))
    learn = text_classifier_learner(
        dls, AWD_LSTM, config=config, pretrained=False, pretrained_fnames=None if lm_epochs else files,
        metrics=_metrics(dls), path=out,
    )  # fmt: skip
    if lm_epochs:
        print("A language model of the texts:")
        learn_lm = language_model_learner(
            dls_lm, AWD_LSTM, config, SMALL, pretrained=False, pretrained_fnames=files, metrics=[Perplexity()],
            path=out, model_dir="language_model",
        )  # fmt: skip
        if files is not None:
            learn_lm.fit_one_cycle(1, LM_HEAD_LR, **kept)
            learn_lm.unfreeze()
        learn_lm.fit_one_cycle(lm_epochs, LM_LR if files is not None else LM_LR_FROM_SCRATCH, **kept)
        learn.load_encoder(learn_lm.save_encoder("encoder").absolute())
    rate = ULMFIT_LR if lr is None else lr
    if not lm_epochs and files is None:
        learn.fit_one_cycle(epochs, rate, **kept)
        return learn
    print("The labels, by the head alone:")
    learn.fit_one_cycle(1, rate, **kept)
    for n_groups, part in ((2, 2), (3, 4)):
        print(f"By the last {n_groups} groups of layers:")
        learn.freeze_to(-n_groups)
        learn.fit_one_cycle(1, slice(rate / part / FALL, rate / part), **kept)
    print("By all layers:")
    learn.unfreeze()
    learn.fit_one_cycle(epochs, slice(rate / 10 / FALL, rate / 10), **kept)
    return learn


def _require_same_start(out: Path, files: Sequence[Path], resume: bool) -> None:
    """Keep which language model a run begins with, and raise where one that goes on began with another.

    Raises:
        ArgumentError: it is another one.
    """
    from flambeau.foundation.paths import atomic_write

    note, begun = out / STARTED_FROM, {}
    for file in files:
        with file.open("rb") as opened:
            begun[file.name] = hashlib.file_digest(opened, "sha256").hexdigest()
    if resume and note.is_file() and json.loads(note.read_text()) != begun:
        raise ArgumentError(
            f"--resume goes on with the run in {out}, which began with another language model. Name that one by "
            "--language-model, or train into another folder: --out."
        )
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(note, "w") as kept:
        json.dump(begun, kept)


def _files_of(folder: Path) -> Sequence[Path]:
    """Return the files of a language model that `flambeau pretrain` wrote."""
    files = [(folder / name).absolute() for name in (WEIGHTS, WORDS)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ArgumentError(
            f"--language-model names a folder that `flambeau pretrain` wrote, but {folder} has no "
            f"{' and no '.join(missing)}."
        )
    return files
