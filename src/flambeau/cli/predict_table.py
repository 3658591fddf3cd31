"""`flambeau predict` on CSV files: after reading it you know how a table of rows comes back with answers beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flambeau.foundation.errors import ArgumentError

if TYPE_CHECKING:
    from flambeau.train.predictor import Predictor


def is_of_tables(predictor: Predictor) -> bool:
    """Whether an export predicts rows of tables."""
    return str(predictor.header.get("dataset")).startswith("flambeau.tabular.")


def run_predict_table(
    predictor: Predictor, files: list[Path], csv: Path | None, sep: str, encoding: str | None
) -> None:
    """Answer each row of CSV files: written to `csv` beside the row's own cells, or the first ones printed.

    Raises:
        ArgumentError: there is no such file. TableError: a file cannot be read, or lacks a column.
    """
    import pandas as pd

    from flambeau.cli.answers import print_or_write
    from flambeau.data.tables import read_csv

    answered = []
    for file in files:
        if not file.is_file():
            raise ArgumentError(f"A CSV file was expected, but there is no file {file}.")
        frame = read_csv(file, sep=sep, skipinitialspace=True, encoding=encoding)
        answers = predictor.predict_batch(frame, bs=4096)
        answered.append(pd.concat([frame, _columns(predictor, answers, frame.index)], axis=1))
    table = pd.concat(answered, ignore_index=True)
    print_or_write(table, csv)


def _columns(predictor: Predictor, answers: list[Any], index: Any) -> Any:
    import pandas as pd

    names = predictor.loader.dataset.reader.y_names
    labels = [answer.label for answer in answers]
    several = len(names) > 1 and labels and len(labels[0]) == len(names) and not predictor.classes
    if several:
        return pd.DataFrame(labels, index, [f"predicted {name}" for name in names])
    joined = [";".join(map(str, label)) if isinstance(label, list) else label for label in labels]
    found = pd.DataFrame({f"predicted {', '.join(names)}": joined}, index)
    for name in predictor.classes:
        found[f"probability of {name}"] = [round(answer.probabilities[name], 6) for answer in answers]
    return found
