"""`flambeau predict` on texts: after reading it you know how rows, lines and documents come back with answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flambeau.foundation.errors import ArgumentError, EmptyError

if TYPE_CHECKING:
    from flambeau.train.predictor import Predictor

SHOWN = 60  # letters of a text beside its answer
USUAL_COLUMN = "text"


def is_of_texts(header: dict[str, Any]) -> bool:
    """Whether an export predicts texts."""
    return str(header.get("dataset")).startswith("flambeau.text.")


def run_write_on(export: Path, files: list[Path], n_words: int, temperature: float, encoding: str) -> None:
    """Print each line of text files as a language model goes on with it.

    Raises:
        EmptyError: there is no text in them.
    """
    from flambeau.train.load_learner import load_learner

    learn = load_learner(export)
    lines = [text for file in files for _, text in _texts_in(file, encoding)]
    if not lines:
        raise EmptyError(f"There is no text in {', '.join(map(str, files))}: each line is the beginning of one.")
    for text in lines:
        print(learn.predict(text, n_words, temperature=temperature))


def run_predict_text(
    predictor: Predictor, files: list[Path], csv: Path | None, top: int, sep: str | None, encoding: str | None
) -> None:
    """Answer the rows of tables, the lines of text files and the documents of folders; `csv` gets all of it.

    Raises:
        ArgumentError: there is no such file, or the export asks for two texts. TableError, DataError: see the message.
    """
    import pandas as pd

    from flambeau.cli.predict_table import print_or_write
    from flambeau.text.corpus import TABLES, kind_of_file
    from flambeau.text.dataset import SelfTaughtDatasets

    is_masked = getattr(predictor.model, "task", None) == "masked_lm"
    if is_masked or isinstance(predictor.loader.dataset, SelfTaughtDatasets):
        raise ArgumentError(
            "This export is of a transformer that learnt to guess hidden words, and has no labels to answer with. In "
            "Python load_learner(export).predict(text) fills in the masks of a text."
        )
    names = text_columns(predictor)
    tables = [file for file in files if not file.is_dir() and kind_of_file(file) in TABLES]
    rows = [_of_table(predictor, file, names or [USUAL_COLUMN], sep, encoding or "utf-8") for file in tables]
    of_files = encoding or _encoding_of_training(predictor)
    rows += [
        _of_texts(predictor, file, len(names), top, csv is None, of_files) for file in files if file not in tables
    ]
    table = pd.concat(rows, ignore_index=True)
    if tables or csv is not None:  # lines of text files have been printed with their answers
        print_or_write(table, csv, SHOWN)


def text_columns(predictor: Any) -> list[str]:
    """Return the columns from which an export reads the text; none where it was trained on files."""
    steps = list(predictor.loader.dataset.pipelines[0])
    reader = getattr(steps[0], "code", None) if steps else None
    return [str(name) for name in getattr(reader, "cols", ())]


def _encoding_of_training(predictor: Any) -> str:
    """Return the encoding of the text files that an export was trained on."""
    return next((step.encoding for step in predictor.loader.dataset.pipelines[0] if hasattr(step, "encoding")), "utf-8")


def _of_table(predictor: Predictor, file: Path, names: list[str], sep: str | None, encoding: str) -> Any:
    """Return a table with answers beside the cells of each row that has text."""
    from flambeau.cli.train_text import read_text_table
    from flambeau.data.tables import require_columns

    frame = read_text_table(file, sep, encoding)
    require_columns(names, [str(name) for name in frame.columns], str(file))
    whole = frame.dropna(subset=names)
    _tell_empty(len(frame) - len(whole), len(frame), f"rows of {file}")
    columns = [whole[name].tolist() for name in names]
    items = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    return frame.join(_answers(predictor, items, whole.index))


def _of_texts(predictor: Predictor, file: Path, n_columns: int, top: int, shown: bool, encoding: str) -> Any:
    """Return a table of the lines of a text file, or of a folder's documents, with answers."""
    import pandas as pd

    from flambeau.cli.predict import likeliest

    if n_columns > 1:
        raise ArgumentError(
            f"The export reads {n_columns} texts an item, so it answers rows of a table with the columns "
            f"{', '.join(text_columns(predictor))}; {file} is none."
        )
    found = _texts_in(file, encoding)
    if not found:
        raise EmptyError(f"There is no text in {file}.")
    texts = pd.DataFrame(found, columns=["place", USUAL_COLUMN])
    answers = predictor.predict_batch(texts[USUAL_COLUMN].tolist())
    if shown:
        for (place, text), answer in zip(found, answers, strict=True):
            start = " ".join(text.split())
            print(f"{place}  {start[: SHOWN - 3] + '...' if len(start) > SHOWN else start}  {likeliest(answer, top)}")
    return texts.join(_columns(predictor, answers, texts.index))


def _texts_in(file: Path, encoding: str) -> list[tuple[str, str]]:
    """Return the texts of a file, one a line, or of a folder, one a .txt file, each with words for its place."""
    from flambeau.data.getters import get_text_files
    from flambeau.text.corpus import decoded_lines
    from flambeau.text.tokenizer import known_encoding, read_text

    known_encoding(encoding)
    if file.is_dir():
        return [(str(path), read_text(path, encoding)) for path in get_text_files(file)]
    if not file.is_file():
        raise ArgumentError(f"There is no file {file}.")
    read = enumerate(decoded_lines(file, encoding=encoding), 1)
    lines = [(f"{file.name}:{number}", line.strip()) for number, line in read]
    found = [(place, line) for place, line in lines if line]
    _tell_empty(len(lines) - len(found), len(lines), f"lines of {file}")
    return found


def _tell_empty(n: int, total: int, what: str) -> None:
    if n:
        print(f"{n} of {total} {what} have no text and are not answered.")


def _answers(predictor: Predictor, items: list[Any], index: Any) -> Any:
    return _columns(predictor, predictor.predict_batch(items) if items else [], index)


def _columns(predictor: Predictor, answers: list[Any], index: Any) -> Any:
    import pandas as pd

    from flambeau.cli.predict import answer_words

    found = pd.DataFrame({"predicted": [answer_words(answer.label) for answer in answers]}, index)
    for name in predictor.classes:
        found[f"probability of {name}"] = [round(answer.probabilities[name], 6) for answer in answers]
    return found
