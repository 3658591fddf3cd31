"""`flambeau predict` on texts: after reading it you know how rows, lines and documents come back with answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flambeau.foundation.errors import ArgumentError, EmptyError, TableError

if TYPE_CHECKING:
    from flambeau.train.predictor import Predictor

SHOWN = 60  # letters of a text beside its answer
USUAL_COLUMN = "text"
SOME = 10  # texts that are answered one by one: from here on a bar is shown


def is_of_texts(header: dict[str, Any]) -> bool:
    """Whether an export predicts texts."""
    return str(header.get("dataset")).startswith("flambeau.text.")


def run_predict_text(
    predictor: Predictor,
    export: Path,
    files: list[Path],
    csv: Path | None,
    top: int,
    sep: str | None,
    encoding: str | None,
    n_words: int,
    temperature: float,
) -> None:
    """Answer the rows of tables, the lines of text files and the documents of folders; `csv` gets all of it.

    Raises:
        ArgumentError: there is no such file, or the export asks for two texts. TableError, DataError: see the message.
    """
    import pandas as pd

    from flambeau.cli.answers import print_or_write
    from flambeau.text.corpus import TABLES, kind_of_file

    answer = _speaker(predictor, export, n_words, temperature) or partial(_labels, predictor, top)
    names = text_columns(predictor)
    tables = [file for file in files if not file.is_dir() and kind_of_file(file) in TABLES]
    rows = [_of_table(answer, file, names or [USUAL_COLUMN], sep, encoding or "utf-8") for file in tables]
    of_files = encoding or _encoding_of_training(predictor)
    rows += [_of_texts(answer, file, names, csv is None, of_files) for file in files if file not in tables]
    table = pd.concat(rows, ignore_index=True)
    if tables or csv is not None:  # lines of text files have been printed with their answers
        print_or_write(table, csv, SHOWN)


# ---- what is answered


class Answers(NamedTuple):
    """Answers to some texts: columns of a table, and a line of each to print."""

    columns: dict[str, list[Any]]
    lines: list[str]
    repeats: bool
    """Whether a line holds the text itself."""


def _labels(predictor: Predictor, top: int, items: list[Any]) -> Answers:
    from flambeau.cli.answers import answer_words, likeliest

    answers = predictor.predict_batch(items) if items else []
    columns: dict[str, list[Any]] = {"predicted": [answer_words(answer.label) for answer in answers]}
    for name in predictor.classes:
        columns[f"probability of {name}"] = [round(answer.probabilities[name], 6) for answer in answers]
    return Answers(columns, [likeliest(answer, top) for answer in answers], repeats=False)


def _speaker(
    predictor: Predictor, export: Path, n_words: int, temperature: float
) -> Callable[[list[Any]], Answers] | None:
    """Return how an export answers that writes on, fills in or tags words; None where it gives labels."""
    from flambeau.text.token_tags import tag_words
    from flambeau.text.transformer_models import OF_TOKENS
    from flambeau.train.load_learner import load_learner

    task = getattr(predictor.model, "task", None)
    if task not in OF_TOKENS:
        if predictor.header.get("learner") != "language_model":
            return None
        task = "causal_lm"
    learn = load_learner(export)
    if task == "token classification":
        return lambda items: _tagged(_one_by_one(partial(tag_words, learn), items))
    if task == "masked_lm":
        return lambda items: _spoken([found[0] for found in _one_by_one(learn.predict, items)])
    return lambda items: _spoken(_one_by_one(partial(learn.predict, n_words=n_words, temperature=temperature), items))


def _one_by_one(answer: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    """Return the answer to each item; in a terminal a bar shows how many there are."""
    from flambeau.foundation.progress_bar import progress_bar

    found = []
    with progress_bar(len(items), "texts", SOME) as tell:
        for item in items:
            found.append(answer(item))
            tell(len(found))
    return found


def _spoken(texts: list[str]) -> Answers:
    return Answers({"predicted": texts}, texts, repeats=True)


def _tagged(texts: list[list[tuple[str, Any]]]) -> Answers:
    """Return tags, one a word and blanks between; a word of which the tokenizer leaves nothing has the tag "-"."""
    tags = [["-" if tag is None else str(tag) for _, tag in text] for text in texts]
    lines = [
        "  ".join(f"{word}/{tag}" for (word, _), tag in zip(text, of_text, strict=True))
        for text, of_text in zip(texts, tags, strict=True)
    ]
    return Answers({"predicted": [" ".join(of_text) for of_text in tags]}, lines, repeats=True)


# ---- where texts stand


def text_columns(predictor: Any) -> list[str]:
    """Return the columns from which an export reads the text; none where it was trained on files."""
    from flambeau.data.dataset import columns_read

    return [str(name) for name in columns_read(predictor.loader.dataset.pipelines[0])]


def _encoding_of_training(predictor: Any) -> str:
    """Return the encoding of the text files that an export was trained on."""
    return next((step.encoding for step in predictor.loader.dataset.pipelines[0] if hasattr(step, "encoding")), "utf-8")


def _of_table(
    answer: Callable[[list[Any]], Answers], file: Path, names: list[str], sep: str | None, encoding: str
) -> Any:
    """Return a table with answers beside the cells of each row that has text."""
    import pandas as pd

    from flambeau.cli.train_text import read_text_table
    from flambeau.data.tables import require_columns

    frame = read_text_table(file, sep, encoding)
    require_columns(names, [str(name) for name in frame.columns], str(file))
    taken = [name for name in answer([]).columns if name in frame.columns]
    if taken:
        raise TableError(
            f"{file} has a column {taken[0]!r} already, where the answers are to stand. Rename it or leave it out."
        )
    whole = frame.dropna(subset=names)
    _tell_empty(len(frame) - len(whole), len(frame), f"rows of {file}")
    columns = [whole[name].tolist() for name in names]
    items = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    return frame.join(pd.DataFrame(answer(items).columns, whole.index))


def _of_texts(answer: Callable[[list[Any]], Answers], file: Path, names: list[str], shown: bool, encoding: str) -> Any:
    """Return a table of the lines of a text file, or of a folder's documents, with answers."""
    import pandas as pd

    if len(names) > 1:
        raise ArgumentError(
            f"The export reads {len(names)} texts an item, so it answers rows of a table with the columns "
            f"{', '.join(names)}; {file} is none."
        )
    found = _texts_in(file, encoding)
    if not found:
        raise EmptyError(f"There is no text in {file}.")
    texts = pd.DataFrame(found, columns=["place", USUAL_COLUMN])
    answers = answer(texts[USUAL_COLUMN].tolist())
    if shown:
        for (place, text), line in zip(found, answers.lines, strict=True):
            print(line if answers.repeats else f"{place}  {_start_of(text)}  {line}")
    return texts.join(pd.DataFrame(answers.columns, texts.index))


def _start_of(text: str) -> str:
    start = " ".join(text.split())
    return f"{start[: SHOWN - 3]}..." if len(start) > SHOWN else start


def _texts_in(file: Path, encoding: str) -> list[tuple[str, str]]:
    """Return the texts of a file, one a line, or of a folder, one a .txt file, each with words for its place."""
    from flambeau.data.getters import get_text_files
    from flambeau.text.corpus import decoded_lines
    from flambeau.text.tokenizer import known_encoding, read_text

    known_encoding(encoding)
    if file.is_dir():
        texts = [(str(path), read_text(path, encoding)) for path in get_text_files(file)]
    elif file.is_file():
        read = enumerate(decoded_lines(file, encoding=encoding), 1)
        texts = [(f"{file.name}:{number}", line.strip()) for number, line in read]
    else:
        raise ArgumentError(f"There is no file {file}.")
    found = [(place, text) for place, text in texts if text.strip()]
    _tell_empty(len(texts) - len(found), len(texts), f"{'files' if file.is_dir() else 'lines'} of {file}")
    return found


def _tell_empty(n: int, total: int, what: str) -> None:
    if n:
        print(f"{n} of {total} {what} have no text and are not answered.")
