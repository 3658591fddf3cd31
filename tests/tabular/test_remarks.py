"""What is told of columns from which nothing can be learnt, or only by heart."""

from __future__ import annotations

import pytest
from small_tables import cleaned, people

from flambeau.tabular.data_loaders import TabularDataLoaders

IDS = [f"id {place}" for place in range(60)]
PRICES = [f"{place}.5" for place in range(59)]


@pytest.mark.parametrize(
    ("city", "words"),
    [
        (IDS, "Column 'city' has 57 levels in 57 rows, nearly one a row"),
        ([None] * 30 + IDS[:30], "Column 'city' has 27 levels in 27 rows, nearly one a row"),
        (["?", *PRICES], "Column 'city' holds numbers written as words ('0.5', but also '?')"),
        ([1, "x", 2.5] * 20, "Column 'city' mixes words and numbers ('x', 1)"),
        (["Bern"] * 60, "city is the same in all training rows"),
    ],
)
def test_an_odd_category_is_told(city: list[object], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    cleaned(people(60).assign(city=city))
    assert words in capsys.readouterr().out


def test_columns_as_they_should_be_are_not_remarked_upon(capsys: pytest.CaptureFixture[str]) -> None:
    codes = [f"{place % 25:05}" for place in range(60)]  # postal codes are words on purpose
    cleaned(people(60).assign(city=codes))
    assert capsys.readouterr().out == "Target answer: 2 classes (no, yes)\n"


def test_a_constant_number_and_rows_in_both_halves_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    cleaned(people().assign(height=170), splits=[list(range(12)), [10, 11]])
    said = capsys.readouterr().out
    assert "height is the same in all training rows" in said
    assert "2 rows both train and validate" in said


def test_a_column_that_counts_the_rows_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    TabularDataLoaders.from_df(people(60).assign(height=range(100, 160)), y_names="answer", seed=1, device="cpu")
    assert "height only counts the rows. Is it an id?" in capsys.readouterr().out
