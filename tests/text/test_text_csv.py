"""CSV files of texts: what stands in a cell is what is read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from flambeau.data.kinds import Category, MultiCategory, Number
from flambeau.foundation.errors import DataError, LabelError, TableError
from flambeau.text.data_loaders import TextDataLoaders
from flambeau.text.text_csv import read_cells, with_values

ODD = ["NA", "null", "None", "nan", "007", "1.50", "true", "N/A"]


def written(folder: Path, **columns: list[str]) -> Path:
    """Write a table of strings to texts.csv in a folder; return the folder."""
    pd.DataFrame(columns).to_csv(folder / "texts.csv", index=False)
    return folder


def test_words_that_pandas_takes_for_a_gap_are_texts(tmp_path: Path) -> None:
    folder = written(tmp_path, text=ODD * 2, label=["a", "b"] * 8)
    dls = TextDataLoaders.from_csv(folder, "texts.csv", bs=4, valid_pct=0.25, seed=1)
    assert sorted(dls.train_ds.items["text"].tolist() + dls.valid_ds.items["text"].tolist()) == sorted(ODD * 2)


def test_a_column_of_digits_is_texts_as_it_stands(tmp_path: Path) -> None:
    folder = written(tmp_path, text=["007", "12", "3"] * 4, label=["a", "b", "a"] * 4)
    dls = TextDataLoaders.from_csv(folder, "texts.csv", bs=4, seed=1)
    assert set(dls.train_ds.items["text"]) == {"007", "12", "3"}
    of_words = TextDataLoaders.from_csv(folder, "texts.csv", bs=2, seed=1, is_lm=True, seq_len=4)
    assert "007" in of_words.vocab


def test_an_empty_cell_alone_is_missing(tmp_path: Path) -> None:
    written(tmp_path, text=["NA", "", "good"] * 2, label=["a"] * 6)
    cells = read_cells(tmp_path / "texts.csv")
    assert cells["text"].isna().tolist() == [False, True, False] * 2
    with pytest.raises(DataError, match="text"):
        TextDataLoaders.from_csv(tmp_path, "texts.csv", bs=2)


def test_class_names_stay_as_they_are_written(tmp_path: Path) -> None:
    folder = written(tmp_path, text=["good film", "bad film"] * 6, label=["007", "12"] * 6, other=["NA", "DE"] * 6)
    dls = TextDataLoaders.from_csv(folder, "texts.csv", bs=4, seed=1)
    assert (type(dls.kinds[1]), list(dls.kinds[1].vocab)) == (Category, ["007", "12"])
    dls = TextDataLoaders.from_csv(folder, "texts.csv", label_col="other", bs=4, seed=1)
    assert list(dls.kinds[1].vocab) == ["DE", "NA"]


def test_labels_in_one_cell_stay_as_they_are_written(tmp_path: Path) -> None:
    folder = written(tmp_path, text=["good film", "bad film"] * 6, label=["1.50", "2"] * 6)
    dls = TextDataLoaders.from_csv(folder, "texts.csv", label_delim=";", bs=4, seed=1)
    assert (type(dls.kinds[1]), list(dls.kinds[1].vocab)) == (MultiCategory, ["1.50", "2"])


def test_an_empty_cell_of_labels_has_none_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path, text=["good film", "bad film", "no film"] * 4, label=["a;b", "", "a"] * 4)
    dls = TextDataLoaders.from_csv(folder, "texts.csv", label_delim=";", bs=4, seed=1)
    assert "4 of 12 rows have an empty cell in 'label': they have none of the labels." in capsys.readouterr().out
    held = dls.train_ds.items["label"].tolist()
    assert [dls.train_ds[place][1].sum() for place in range(len(held))] == [{"a;b": 2, "": 0, "a": 1}[c] for c in held]
    with pytest.raises(LabelError, match="Column 'label' is empty"):
        TextDataLoaders.from_csv(folder, "texts.csv", bs=4)


def test_cells_without_a_label_are_told_where_columns_have_no_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.csv").write_text("good film,a;b\nbad film,\nno film,a\n" * 4)
    dls = TextDataLoaders.from_csv(tmp_path, "texts.csv", header=None, label_delim=";", bs=4, seed=1)
    assert "4 of 12 rows have an empty cell in 1: " in capsys.readouterr().out
    assert list(dls.kinds[1].vocab) == ["a", "b"]


def test_columns_may_be_named_by_those_of_a_table() -> None:
    frame = pd.DataFrame({"text": ["good film", "bad film"] * 4, "a": [0, 1] * 4, "b": [1, 0] * 4})
    dls = TextDataLoaders.from_df(frame, label_col=frame.columns[1:], bs=4, seed=1)
    assert list(dls.kinds[1].vocab) == ["a", "b"]


def test_columns_of_one_name_are_told() -> None:
    frame = pd.DataFrame([["good", "bad", 1]], columns=["text", "text", "label"])
    with pytest.raises(TableError, match="2 columns of the name 'text'"):
        TextDataLoaders.from_df(frame, text_col="text", label_col="label")


def test_measured_targets_are_numbers(tmp_path: Path) -> None:
    folder = written(tmp_path, text=["good film", "bad film"] * 6, score=["4.50", "-2"] * 6, held=["0", "1"] * 6)
    dls = TextDataLoaders.from_csv(folder, "texts.csv", label_col="score", valid_col="held", bs=6)
    assert isinstance(dls.kinds[1], Number)
    assert dls.one_batch().targets[0].unique().tolist() == [4.5]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "-2", "30"], [1, -2, 30]),
        (["1", "", "30"], [1, None, 30]),
        (["1.5", "NA", "2e3"], [1.5, None, 2000.0]),
        (["True", "false", "TRUE"], [True, False, True]),
        (["007", "1", "2"], ["007", "1", "2"]),
        (["07.5", "1.0", "2"], ["07.5", "1.0", "2"]),
        (["1234567890123456789012", "1", "2"], ["1234567890123456789012", "1", "2"]),
        (["inf", "inf", "inf"], ["inf", "inf", "inf"]),
        (["NA", "NA", "nan"], ["NA", "NA", "nan"]),
        (["1", "2", "three"], ["1", "2", "three"]),
        (["\u0663", "1", "2"], ["\u0663", "1", "2"]),
    ],
)
def test_a_column_becomes_numbers_where_all_of_it_is(cells: list[str], values: list[object], tmp_path: Path) -> None:
    written(tmp_path, text=["a", "b", "c"], other=cells)
    found = with_values(read_cells(tmp_path / "texts.csv"), ["text"])["other"]
    assert [None if pd.isna(value) else value for value in found] == values
    assert [type(value) for value in found.dropna().tolist()] == [type(v) for v in values if v is not None]


def test_a_column_of_numbers_given_for_texts_is_told() -> None:
    frame = pd.DataFrame({"id": range(8), "review": ["good", "bad"] * 4, "label": ["a", "b"] * 4})
    with pytest.raises(DataError, match=r"'id' holds no texts but numbers \(int64\).*'review', 'label'.*astype\(str\)"):
        TextDataLoaders.from_df(frame, label_col="label")
    mixed = frame.assign(review=["good", 7] * 4)
    with pytest.raises(DataError, match=r"got 7 of type int. Make strings .*astype\(str\)"):
        TextDataLoaders.from_df(mixed, text_col="review", label_col="label")


def test_a_column_of_row_numbers_in_the_place_of_the_texts_is_told(tmp_path: Path) -> None:
    columns = {"id": [str(n) for n in range(12)], "text": ["good film", "bad film"] * 6, "label": ["a", "b"] * 6}
    folder = written(tmp_path, **columns)
    with pytest.raises(DataError, match=r"'id' holds no texts but numbers.*text_col=.*'text', 'label'"):
        TextDataLoaders.from_csv(folder, "texts.csv", label_col="label")
    named = TextDataLoaders.from_csv(folder, "texts.csv", text_col="id", label_col="label", bs=4, seed=1)
    assert set(named.train_ds.items["id"]) < set(columns["id"])


def test_a_file_in_another_encoding_is_read_as_the_error_advises(tmp_path: Path) -> None:
    rows = "na\u00efve film,a\ngood film,b\n" * 6
    (tmp_path / "texts.csv").write_bytes(f"text,label\n{rows}".encode("latin-1"))
    with pytest.raises(TableError, match="Pass encoding='latin-1'"):
        TextDataLoaders.from_csv(tmp_path, "texts.csv")
    dls = TextDataLoaders.from_csv(tmp_path, "texts.csv", encoding="latin-1", bs=4, seed=1)
    assert "na\u00efve" in dls.vocab[0]
