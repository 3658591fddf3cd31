"""The command line: after reading it you know which commands there are; each lives in a file of its own.

Nothing here imports torch: `flambeau --help` answers at once.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from flambeau import __version__
from flambeau.cli.processes import INTERRUPTED, run_in_processes, tell_parent
from flambeau.foundation.errors import FlambeauError
from flambeau.foundation.processes import n_processes

P = ParamSpec("P")
BAD_INPUT = 2
ENCODING = "How letters are stored in the files, such as latin-1 [utf-8]."
AS_ARGUMENT = re.compile(r"\b(encoding|sep)=('[^']*')")  # of a function, as messages of the library name them

app = typer.Typer(
    help="Practical deep learning: from a pile of data to a trained, explained, exported model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
train = typer.Typer(help="Train a model on your own data.", no_args_is_help=True)
app.add_typer(train, name="train")


def told_plainly(command: Callable[P, None]) -> Callable[P, None]:
    """Show the errors that a user can mend as one paragraph instead of a traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (FlambeauError, OSError) as error:  # OSError: a folder that may not be written, a full disk
            if not tell_parent(error):
                print("Error:", AS_ARGUMENT.sub(r"--\1 \2", str(error)), file=sys.stderr)
            raise typer.Exit(BAD_INPUT) from error
        except KeyboardInterrupt:
            print("\nInterrupted.", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None

    return run


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"flambeau {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Practical deep learning: from a pile of data to a trained, explained, exported model."""


@app.command()
@told_plainly
def demo(
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("flambeau-demo"),
    epochs: Annotated[int | None, typer.Option(min=1, help="How often to go through the pictures.")] = None,
    seed: Annotated[int, typer.Option(help="The seed of every chance.")] = 42,
) -> None:
    """Train on pictures that come with flambeau, and look at what the model learned: under a minute, no network."""
    from flambeau.cli.demo import run_demo

    run_demo(out, epochs, seed)


@train.command("vision")
@told_plainly
def train_vision(
    folder: Annotated[Path, typer.Argument(help="One folder a class, or train/<class> and valid/<class>.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("flambeau-vision"),
    arch: Annotated[str, typer.Option(help="Any torchvision or timm architecture.")] = "resnet34",
    pretrained: Annotated[bool, typer.Option(help="Start from pretrained weights.")] = True,
    weights: Annotated[Path | None, typer.Option(help="A file of pretrained weights, instead of a download.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs, after one for the new head alone.")] = 3,
    size: Annotated[int, typer.Option(min=8, help="The side of the pictures that the model sees.")] = 224,
    resize: Annotated[str, typer.Option(help="How pictures become square: crop, squish or pad.")] = "crop",
    augment: Annotated[bool, typer.Option(help="Flip, rotate, zoom, warp and relight pictures in training.")] = True,
    min_scale: Annotated[
        float, typer.Option(min=0.05, max=1, help="The least share of a picture's area shown in training.")
    ] = 0.75,
    bs: Annotated[int | None, typer.Option(min=1, help="Pictures a batch: 64, or all where there are fewer.")] = None,
    lr: Annotated[float, typer.Option(help="The learning rate.")] = 2e-3,
    valid_pct: Annotated[float, typer.Option(min=0.01, max=0.9, help="Share to validate, if no valid folder.")] = 0.2,
    seed: Annotated[int, typer.Option(help="The seed of every chance.")] = 42,
    deterministic: Annotated[bool, typer.Option(help="Use only operations that repeat exactly; slower.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the run after each epoch, and go on where an earlier call ended.")
    ] = False,
    checkpoint: Annotated[
        int | None, typer.Option(min=1, help="Keep the run also after so many batches, for --resume.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Train in so many processes: one a GPU, or sharing cores.")] = 1,
) -> None:
    """Train a picture classifier on a folder, and write an export, a report and the history."""
    if processes > 1 and n_processes() == 1:
        return run_in_processes(processes)
    from flambeau.cli.train_vision import run_train_vision

    run_train_vision(
        folder, out, arch=arch, pretrained=pretrained, weights=weights, epochs=epochs, size=size, resize=resize,
        augment=augment, min_scale=min_scale, bs=bs, lr=lr, valid_pct=valid_pct, seed=seed, deterministic=deterministic,
        checkpoint=checkpoint, resume=resume,
    )  # fmt: skip


TABLE_MODELS = (
    "A net: plain, or tabm (an ensemble in one, stronger and slower). Trees: oner, tree, bagging, forest, extra, "
    "boosting, lightgbm."
)


@train.command("table")
@told_plainly
def train_table(
    file: Annotated[Path, typer.Argument(help="A CSV file with a line of column names.")],
    target: Annotated[list[str], typer.Option(help="The column to predict; may be given several times.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("flambeau-table"),
    ignore: Annotated[list[str] | None, typer.Option(help="A column to leave out, such as a number of rows.")] = None,
    model: Annotated[str, typer.Option(help=TABLE_MODELS)] = "plain",
    epochs: Annotated[int | None, typer.Option(min=1, help="Of a net: passes through the rows [5].")] = None,
    bs: Annotated[int | None, typer.Option(min=2, help="Of a net: rows a batch [64].")] = None,
    lr: Annotated[float | None, typer.Option(help="Of a net: the learning rate [0.01].")] = None,
    valid_pct: Annotated[float, typer.Option(min=0.01, max=0.9, help="The share of rows that validate.")] = 0.2,
    sep: Annotated[str, typer.Option(help="What separates the columns.")] = ",",
    encoding: Annotated[str, typer.Option(help=ENCODING)] = "utf-8",
    seed: Annotated[int, typer.Option(help="The seed of every chance.")] = 42,
) -> None:
    """Train on the rows of a CSV file, and write an export, a report and the history."""
    from flambeau.cli.train_table import run_train_table

    run_train_table(
        file, out, target=target, ignore=ignore or [], model=model, epochs=epochs, bs=bs, lr=lr, valid_pct=valid_pct,
        sep=sep, encoding=encoding, seed=seed,
    )  # fmt: skip


@train.command("ratings")
@told_plainly
def train_ratings(
    file: Annotated[Path, typer.Argument(help="A CSV file: user, item, rating, or the columns named below.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("flambeau-ratings"),
    user: Annotated[str | None, typer.Option(help="The users' column.")] = None,
    item: Annotated[str | None, typer.Option(help="The items' column.")] = None,
    rating: Annotated[str | None, typer.Option(help="The ratings' column.")] = None,
    time: Annotated[str | None, typer.Option(help="Validate on the latest ratings by this column.")] = None,
    factors: Annotated[int, typer.Option(min=1, help="Factors of each user and item.")] = 50,
    epochs: Annotated[int, typer.Option(min=1, help="How often to go through the ratings.")] = 5,
    lr: Annotated[float, typer.Option(help="The learning rate.")] = 5e-3,
    wd: Annotated[float, typer.Option(help="The weight decay.")] = 0.1,
    bs: Annotated[int, typer.Option(min=1, help="Ratings a batch.")] = 64,
    valid_pct: Annotated[float, typer.Option(min=0.01, max=0.9, help="The share to validate.")] = 0.2,
    sep: Annotated[str | None, typer.Option(help="What separates the columns (a comma).")] = None,
    encoding: Annotated[str, typer.Option(help=ENCODING)] = "utf-8",
    seed: Annotated[int, typer.Option(help="The seed of every chance.")] = 42,
    top: Annotated[int, typer.Option(min=1, help="How many items to recommend to each user.")] = 10,
) -> None:
    """Train on ratings, and write an export and recommendations for every user."""
    from flambeau.cli.train_ratings import run_train_ratings

    run_train_ratings(
        file, out, user=user, item=item, rating=rating, time=time, factors=factors, epochs=epochs, lr=lr, wd=wd, bs=bs,
        valid_pct=valid_pct, sep=sep, encoding=encoding, seed=seed, top=top,
    )  # fmt: skip


TEXT_MODELS = "minilm, a name of the Hugging Face hub, a folder of a transformer, or ulmfit."


@train.command("text")
@told_plainly
def train_text(
    data: Annotated[
        Path, typer.Argument(help="A CSV or TSV file (.gz, .xz), or train/<class>/*.txt and valid/<class>.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("flambeau-text"),
    text: Annotated[list[str] | None, typer.Option(help="A column of text [the first]; two are a pair.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="A column of labels or numbers [the second].")] = None,
    label_delim: Annotated[str | None, typer.Option(help="What separates several labels in a cell.")] = None,
    model: Annotated[str, typer.Option(help=TEXT_MODELS)] = "minilm",
    language_model: Annotated[Path | None, typer.Option(help="Of ulmfit: a folder of `flambeau pretrain`.")] = None,
    lm_epochs: Annotated[int | None, typer.Option(min=0, help="Of ulmfit: language model on these texts [1].")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes through the texts; of ulmfit, after the unfreezing.")] = 2,
    lr: Annotated[float | None, typer.Option(help="The learning rate [minilm 2e-4; ulmfit 2e-2].")] = None,
    bs: Annotated[int | None, typer.Option(min=1, help="Texts a batch: 64, or all where there are fewer.")] = None,
    valid_pct: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share to validate, if nothing says which.")
    ] = 0.2,
    valid_col: Annotated[str | None, typer.Option(help="The column that is true in rows that validate.")] = None,
    group: Annotated[str | None, typer.Option(help="Keep rows that agree in this column in one half.")] = None,
    sep: Annotated[str | None, typer.Option(help="What separates the columns [by the file's name].")] = None,
    encoding: Annotated[str, typer.Option(help=ENCODING)] = "utf-8",
    seed: Annotated[int, typer.Option(help="The seed of every chance.")] = 42,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the run after each epoch, and go on where an earlier call ended.")
    ] = False,
    checkpoint: Annotated[
        int | None, typer.Option(min=1, help="Keep the run also after so many batches, for --resume.")
    ] = None,
) -> None:
    """Train on texts with labels, and write an export, a report and the history."""
    from flambeau.cli.train_text import run_train_text

    run_train_text(
        data, out, text=text or [], label=label or [], label_delim=label_delim, model=model,
        language_model=language_model, lm_epochs=lm_epochs, epochs=epochs, lr=lr, bs=bs, valid_pct=valid_pct,
        valid_col=valid_col, group=group, sep=sep, encoding=encoding, seed=seed, checkpoint=checkpoint, resume=resume,
    )  # fmt: skip


@app.command()
@told_plainly
def pretrain(
    corpus: Annotated[Path, typer.Argument(help="A folder of .txt files, a file of one text a line, or a CSV file.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("flambeau-language-model"),
    text: Annotated[list[str] | None, typer.Option(help="Of a CSV file: a column of text.")] = None,
    paragraphs: Annotated[
        bool, typer.Option("--paragraphs", help="Empty lines separate texts, not each line.")
    ] = False,
    sep: Annotated[str | None, typer.Option(help="What separates the columns [by the file's name].")] = None,
    encoding: Annotated[str, typer.Option(help=ENCODING)] = "utf-8",
    epochs: Annotated[int, typer.Option(min=1, help="How often to go through the texts.")] = 1,
    max_vocab: Annotated[int, typer.Option(min=16, help="How many words have a number of their own, at most.")] = 30000,
    emb_sz: Annotated[int, typer.Option(min=1, help="Numbers a word.")] = 400,
    n_hid: Annotated[int, typer.Option(min=1, help="Numbers that the network remembers of a text.")] = 1152,
    layers: Annotated[int, typer.Option(min=1, help="Layers of the network.")] = 3,
    bs: Annotated[int, typer.Option(min=1, help="Rows a batch.")] = 64,
    seq_len: Annotated[int, typer.Option(min=1, help="Words a row.")] = 72,
    lr: Annotated[float, typer.Option(help="The learning rate.")] = 5e-3,
    drop_mult: Annotated[float, typer.Option(min=0, help="What multiplies the dropouts.")] = 0.3,
    valid_pct: Annotated[float, typer.Option(min=0.0001, max=0.9, help="The share of texts that validate.")] = 0.02,
    backwards: Annotated[bool, typer.Option("--backwards", help="Read each text from its end.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the run after each epoch, and go on where an earlier call ended.")
    ] = False,
    seed: Annotated[int, typer.Option(help="The seed of every chance.")] = 42,
) -> None:
    """Train a language model on text without labels, from scratch; the text may be larger than memory."""
    from flambeau.cli.pretrain import run_pretrain

    run_pretrain(
        corpus, out, text=text or [], paragraphs=paragraphs, sep=sep, encoding=encoding, epochs=epochs,
        max_vocab=max_vocab, emb_sz=emb_sz, n_hid=n_hid, layers=layers, bs=bs, seq_len=seq_len, lr=lr,
        drop_mult=drop_mult, valid_pct=valid_pct, backwards=backwards, resume=resume, seed=seed,
    )  # fmt: skip


@app.command()
@told_plainly
def tune(
    folder: Annotated[Path, typer.Argument(help="One folder a class, or train/<class> and valid/<class>.")],
    trials: Annotated[int, typer.Option(min=1, help="How many trainings, those of an earlier call counted.")] = 20,
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("flambeau-tune"),
    metric: Annotated[str, typer.Option(help="What counts: error_rate, accuracy or valid_loss.")] = "error_rate",
    arch: Annotated[list[str] | None, typer.Option(help="An architecture to try; may be given several times.")] = None,
    epochs: Annotated[list[int] | None, typer.Option(min=1, help="Epochs to try; may be given several times.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the search in the folder.")] = False,
    pretrained: Annotated[bool, typer.Option(help="Start from pretrained weights.")] = True,
    weights: Annotated[Path | None, typer.Option(help="A file of pretrained weights, instead of a download.")] = None,
    size: Annotated[int, typer.Option(min=8, help="The side of the pictures that the model sees.")] = 224,
    bs: Annotated[int | None, typer.Option(min=1, help="Pictures a batch: 64, or all where there are fewer.")] = None,
    valid_pct: Annotated[float, typer.Option(min=0.01, max=0.9, help="Share to validate, if no valid folder.")] = 0.2,
    seed: Annotated[int, typer.Option(help="The seed of every chance.")] = 42,
) -> None:
    """Search the learning rate, resize method, crops, epochs and architecture that suit a folder of pictures."""
    from flambeau.cli.tune import FolderTask, run_tune

    run_tune(
        FolderTask(folder, out, pretrained, weights, size, bs, valid_pct, seed),
        trials=trials, metric=metric, archs=arch or ["resnet34"], epochs=epochs or [2, 4], resume=resume,
    )  # fmt: skip


@app.command()
@told_plainly
def predict(
    export: Annotated[Path, typer.Argument(help="A file written by learn.export or by flambeau train.")],
    files: Annotated[list[Path], typer.Argument(help="Files, or folders of files; CSV files for tables.")],
    csv: Annotated[Path | None, typer.Option(help="Write the answers to this table, too.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 3,
    sep: Annotated[str | None, typer.Option(help="What separates the columns of a table [by the file's name].")] = None,
    encoding: Annotated[str | None, typer.Option(help=ENCODING)] = None,
    n_words: Annotated[int, typer.Option(min=1, help="Of a language model: how many words to write.")] = 50,
    temperature: Annotated[float, typer.Option(min=0, help="Of a language model: below 1 safer, above wilder.")] = 0.75,
) -> None:
    """Predict files with an export.

    Of tables the rows of CSV files, of ratings their pairs of user and item, of texts rows, lines of a file, or the
    .txt files of a folder. A language model writes on from each text, or what stands before it if it reads backwards;
    one of hidden words fills in the masks of a text, and one of tags gives each word its tag.
    """
    from flambeau.cli.predict import run_predict

    run_predict(export, files, csv, top, sep, n_words, temperature, encoding)


@app.command()
@told_plainly
def evaluate(
    export: Annotated[Path, typer.Argument(help="A file written by learn.export or by flambeau train.")],
    folder: Annotated[Path, typer.Argument(help="One folder a class of pictures or texts, or a table of texts.")],
    out: Annotated[Path | None, typer.Option(help="Write pictures here, such as the confusion matrix.")] = None,
    sep: Annotated[str | None, typer.Option(help="What separates the columns of a table [by the file's name].")] = None,
    encoding: Annotated[str | None, typer.Option(help=ENCODING)] = None,
) -> None:
    """Measure an export on labelled pictures or texts it has not seen."""
    from flambeau.cli.evaluate import run_evaluate

    run_evaluate(export, folder, out, sep, encoding)


@app.command()
@told_plainly
def doctor() -> None:
    """Print versions and devices, for bug reports."""
    from flambeau.foundation.show_install import show_install

    print(f"{'flambeau':<15} {__version__}")
    show_install()


if __name__ == "__main__":
    app()
