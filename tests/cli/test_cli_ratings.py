"""The command line on ratings: a CSV file in, an export and recommendations out; pairs in, ratings out."""

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
    """Return the folder with ratings.csv from which `train ratings` wrote out/, and what it said."""
    root = tmp_path_factory.mktemp("ratings")
    rows = [
        (u, f"film {i}", 5 if (u + i) % 2 == 0 else 1)
        for u in range(30)
        for i in range(16)
        if (u // 2 + i) % 7
    ]
    pd.DataFrame(rows, columns=["user", "title", "stars"]).to_csv(root / "ratings.csv", index=False)
    arguments = ("train", "ratings", root / "ratings.csv", "--out", root / "out", "--factors", 5, "--top", 2)
    return root, said_by(*arguments, "--epochs", 8, "--bs", 16, "--lr", 0.1, "--wd", 0.01)


def test_ratings_are_trained_and_everybody_is_recommended_something(trained: tuple[Path, Result]) -> None:
    root, result = trained
    assert result.exit_code == 0, result.output
    assert "from 1 to 5." in result.output
    assert "most popular" in result.output
    table = pd.read_csv(root / "out" / "recommendations.csv")
    assert table.columns.tolist() == ["user", "rank", "title", "prediction"]
    assert set(table.user) == set(range(30))
    assert table.groupby("user").size().max() == 2
    liked = table[table["rank"] == 1]
    assert ((liked.user + liked.title.str.split().str[1].astype(int)) % 2 == 0).mean() > 0.9


def test_pairs_are_rated_beside_their_cells(trained: tuple[Path, Result]) -> None:
    root, _ = trained
    new = pd.DataFrame({"note": ["a", "b", "c"], "title": ["film 2", "film 3", "film 99"], "user": [4, 4, 5]})
    new.to_csv(root / "new.csv", index=False)
    result = said_by("predict", root / "out" / "export.safetensors", root / "new.csv", "--csv", root / "answers.csv")
    assert result.exit_code == 0, result.output
    assert "('film 99'): predicted as the mean title" in result.output
    answers = pd.read_csv(root / "answers.csv")
    assert answers.columns.tolist() == ["note", "title", "user", "prediction"]
    assert answers.prediction[0] > 4 > 2 > answers.prediction[1]


def test_pairs_may_have_another_separator(trained: tuple[Path, Result]) -> None:
    root, _ = trained
    pd.DataFrame({"user": [4, 4], "title": ["film 2", "film 3"]}).to_csv(root / "other.csv", index=False, sep=";")
    result = said_by("predict", root / "out" / "export.safetensors", root / "other.csv", "--sep", ";")
    assert result.exit_code == 0, result.output
    assert "film 3" in result.output


def test_a_column_that_is_missing_is_told_with_the_nearest(trained: tuple[Path, Result]) -> None:
    root, _ = trained
    result = said_by("train", "ratings", root / "ratings.csv", "--item", "titel", "--out", root / "none")
    assert (result.exit_code, "is it 'title'" in result.output) == (2, True)
    pd.DataFrame({"user": [1], "titles": ["film 1"]}).to_csv(root / "odd.csv", index=False)
    result = said_by("predict", root / "out" / "export.safetensors", root / "odd.csv")
    assert (result.exit_code, "lacks the column 'title' (is it 'titles'?)" in result.output) == (2, True)


def test_a_file_that_cannot_be_read_is_told(trained: tuple[Path, Result]) -> None:
    root, _ = trained
    result = said_by("train", "ratings", root / "none.csv")
    assert (result.exit_code, "There is no file" in result.output) == (2, True)
    pd.read_csv(root / "ratings.csv").to_csv(root / "semicolons.csv", index=False, sep=";")
    result = said_by("train", "ratings", root / "semicolons.csv", "--out", root / "none")
    assert (result.exit_code, "Its separator seems to be" in result.output) == (2, True)
    result = said_by("train", "ratings", root / "semicolons.csv", "--out", root / "other", "--sep", ";", "--epochs", 1)
    assert result.exit_code == 0, result.output


def test_no_rows_to_predict_are_told(trained: tuple[Path, Result]) -> None:
    root, _ = trained
    (root / "empty.csv").write_text("user,title\n")
    result = said_by("predict", root / "out" / "export.safetensors", root / "empty.csv")
    assert (result.exit_code, "no rows to predict" in result.output) == (2, True)
