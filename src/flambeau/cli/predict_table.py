"""`flambeau predict` on CSV files: after reading it you know how a table of rows comes back with answers beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flambeau.foundation.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd

    from flambeau.train.predictor import Predictor

FEW_ROWS = 10


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


def print_or_write(table: pd.DataFrame, csv: Path | None, most_letters: int | None = None) -> None:
    """Write answered rows to `csv`, or print the first ones where there is none."""
    from flambeau.foundation.paths import atomic_write

    if csv is None:
        print(table.head(FEW_ROWS).to_string(index=False, max_colwidth=most_letters))
        if len(table) > FEW_ROWS:
            print(f"... and {len(table) - FEW_ROWS} more rows; --csv ANSWERS.csv writes all of them")
        return
    with atomic_write(csv, "w") as file_of_answers:
        table.to_csv(file_of_answers, index=False)
    print(f"Wrote {csv} ({len(table)} rows)")


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
