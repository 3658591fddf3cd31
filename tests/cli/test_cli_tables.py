"""The command line on tables: a CSV file in, an export and a report out; rows in, answers out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from flambeau.cli.main import app


def said_by(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Return the folder with rows.csv in which `train table` wrote out/, and what it said."""
    root = tmp_path_factory.mktemp("table")
    rows = [{"id": n, "size": n % 20, "colour": "red" if n % 3 else "blue", "big": n % 20 > 9} for n in range(200)]
    pd.DataFrame(rows).to_csv(root / "rows.csv", index=False)
    arguments = ("train", "table", root / "rows.csv", "--target", "big", "--ignore", "id", "--out", root / "out")
    return root, said_by(*arguments, "--epochs", 8, "--bs", 16, "--lr", 0.02)


def test_a_table_is_trained_and_reported(trained: tuple[Path, Result]) -> None:
    root, result = trained
    assert result.exit_code == 0, result.output
    assert "Target big: 2 classes (False, True)" in result.output
    assert "accuracy on the validation set: " in result.output
    assert {path.name for path in (root / "out").iterdir()} >= {"export.safetensors", "report.html", "history.csv"}


def test_rows_are_answered_beside_their_cells(trained: tuple[Path, Result]) -> None:
    root, _ = trained
    new = pd.DataFrame({"colour": ["red", "green"], "size": [2, 18], "note": ["a", "b"]})
    new.to_csv(root / "new.csv", index=False)
    result = said_by("predict", root / "out" / "export.safetensors", root / "new.csv", "--csv", root / "answers.csv")
    assert result.exit_code == 0, result.output
    answers = pd.read_csv(root / "answers.csv")
    assert answers["predicted big"].tolist() == [False, True]
    names = ["colour", "size", "note", "predicted big", "probability of False", "probability of True"]
    assert answers.columns.tolist() == names


def test_a_missing_column_or_file_is_told_in_one_paragraph(trained: tuple[Path, Result]) -> None:
    root, _ = trained
    pd.DataFrame({"color": ["red"], "size": [2]}).to_csv(root / "odd.csv", index=False)
    result = said_by("predict", root / "out" / "export.safetensors", root / "odd.csv")
    assert result.exit_code == 2
    assert "lacks the column 'colour' (is it 'color'?)" in result.output
    result = said_by("train", "table", root / "rows.csv", "--target", "bigg")
    assert (result.exit_code, "is it 'big'" in result.output) == (2, True)


def test_a_file_with_semicolons_is_told_and_read(trained: tuple[Path, Result]) -> None:
    root, _ = trained
    pd.DataFrame({"colour": ["red"], "size": [18]}).to_csv(root / "semicolons.csv", index=False, sep=";")
    arguments = ("predict", root / "out" / "export.safetensors", root / "semicolons.csv")
    assert "separator seems to be: --sep ';'" in " ".join(said_by(*arguments).output.split())
    assert said_by(*arguments, "--sep", ";").output.split()[-4:-2] == ["18", "True"]
