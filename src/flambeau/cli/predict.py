"""`flambeau predict`: after reading it you know how many files are answered, and what an unreadable one does."""

from __future__ import annotations

import csv as csv_files
import sys
from pathlib import Path

import typer

from flambeau.foundation.errors import ArgumentError, FlambeauError

SOME_FAILED = 1


def run_predict(
    export: Path,
    files: list[Path],
    csv: Path | None,
    top: int,
    sep: str | None = None,
    n_words: int = 50,
    temperature: float = 0.75,
    encoding: str | None = None,
) -> None:
    """Print the answer for each file; unreadable files are told at the end and make the exit status 1."""
    from flambeau.cli.answers import answer_words, likeliest
    from flambeau.cli.outputs import require_file_to_write
    from flambeau.cli.predict_table import is_of_tables, run_predict_table
    from flambeau.cli.predict_text import is_of_texts, run_predict_text
    from flambeau.data.getters import get_image_files
    from flambeau.foundation.paths import atomic_write
    from flambeau.train.predictor import Predictor

    if csv is not None:
        require_file_to_write(csv, "--csv")
    predictor = Predictor(export)
    if not any(file.exists() for file in files):
        raise ArgumentError(f"There is no file {files[0]}.")
    if predictor.header.get("learner") == "collab":
        from flambeau.cli.train_ratings import run_predict_ratings

        if len(files) > 1:
            raise ArgumentError("An export of ratings answers one CSV file of users and items at a time.")
        return run_predict_ratings(export, files[0], csv, sep or ",", encoding)
    if is_of_tables(predictor):
        return run_predict_table(predictor, files, csv, sep or ",", encoding)
    if is_of_texts(predictor.header):
        return run_predict_text(predictor, export, files, csv, top, sep, encoding, n_words, temperature)
    wanted: list[Path] = []
    for file in files:
        wanted += [Path(found) for found in get_image_files(file)] if file.is_dir() else [file]
    rows, failed = [], []
    width = min(max(len(str(file)) for file in wanted), 60)
    for file in wanted:
        try:
            answer = predictor.predict(file)
        except FlambeauError as error:
            failed.append(str(error) if str(file) in str(error) else f"{file}: {error}")
            continue
        label = answer_words(answer.label)
        print(f"{file!s:{width}}  {likeliest(answer, top)}")
        rows.append({"file": str(file), "label": label, **{k: f"{v:.6f}" for k, v in answer.probabilities.items()}})
    if csv is not None and rows:
        with atomic_write(csv, "w") as table:
            writer = csv_files.DictWriter(table, fieldnames=list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        print(f"Wrote {csv} ({len(rows)} rows)")
    if failed:
        print(f"\n{len(failed)} of {len(wanted)} files could not be predicted:", *failed, sep="\n  ", file=sys.stderr)
        raise typer.Exit(SOME_FAILED)
