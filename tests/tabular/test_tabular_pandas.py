"""Cleaned tables: halves, decoding, targets by rule, and every wrong table told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_tables import PROCS, cleaned, people

from flambeau.data.block import CategoryBlock, RegressionBlock
from flambeau.data.kinds import Category, MultiCategory, Number
from flambeau.data.tables import read_csv
from flambeau.foundation.errors import ArgumentError, DataError, EmptyError, LabelError, TableError
from flambeau.tabular.data_loaders import TabularDataLoaders
from flambeau.tabular.tabular_pandas import TabularPandas


def test_halves_hold_their_rows() -> None:
    to = cleaned()
    assert (len(to), len(to.train), len(to.valid)) == (12, 9, 3)
    assert to.valid.xs.index.tolist() == [9, 10, 11]
    assert to.train.y.tolist() == [0] * 6 + [1] * 3
    assert to.xs.columns.tolist() == ["city", "age_na", "age", "height"]


def test_the_frame_given_is_never_changed() -> None:
    frame = people()
    before = frame.copy()
    dls = cleaned(frame).dataloaders(4, device="cpu")
    dls.test_dl(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_a_shown_row_reads_as_it_came() -> None:
    row = cleaned().show(2).iloc[1]
    assert (row["city"], round(row["age"], 3), round(row["height"]), row["answer"]) == ("Bern", 22.0, 151, "no")


def test_each_row_comes_once_an_epoch_and_batches_hold_three_tensors() -> None:
    dls = cleaned(people(120)).dataloaders(16, device="cpu")
    found = sorted(index for batch in dls.train for index in batch.indices)
    assert found == list(range(117))
    cats, conts, target = dls.one_batch()
    assert (cats.shape, conts.shape, target.shape) == ((16, 2), (16, 2), (16,))
    assert dls.show_batch(max_n=2).columns.tolist() == ["city", "age_na", "age", "height", "answer"]


@pytest.mark.parametrize(
    ("values", "kind", "line"),
    [
        ([0, 1] * 6, Category((0, 1)), "2 classes (0, 1); for a number pass y_block=RegressionBlock()"),
        ([True, False] * 6, Category((False, True)), "2 classes (False, True)\n"),
        (["a", "b", "c"] * 4, Category(("a", "b", "c")), "3 classes (a, b, c)"),
        (list(range(12)), Number(1), "a number\n"),
        ([0, 1, 2] * 4, Number(1), "a number; for classes pass y_block=CategoryBlock()"),
        ([0.0, 1.0] * 6, Number(1), "a number; for classes pass y_block=CategoryBlock()"),
    ],
)
def test_the_target_is_told_by_its_values(
    values: list[object], kind: object, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    to = cleaned(people().assign(answer=values))
    assert to.dataset.kinds[2] == kind
    assert line in capsys.readouterr().out


def test_a_block_overrides_the_rule() -> None:
    zeros_and_ones = people().assign(answer=[0, 1] * 6)
    assert cleaned(zeros_and_ones, y_block=RegressionBlock()).dataset.kinds[2] == Number(1)
    whole = people().assign(answer=[3, 5, 7] * 4)
    assert cleaned(whole, y_block=CategoryBlock).dataset.kinds[2] == Category((3, 5, 7))


def test_several_targets_are_predicted_together() -> None:
    frame = people().assign(a=np.arange(12.0), b=np.arange(12.0) * 2, c=[0, 1] * 6, d=[1, 0] * 6)
    numbers, labels = cleaned(frame, y=["a", "b"]).dataset, cleaned(frame, y=["c", "d"]).dataset
    assert (numbers.kinds[2], numbers.c, numbers.tensors[2][1].tolist()) == (Number(2), 2, [1.0, 2.0])
    assert (labels.kinds[2], labels.c) == (MultiCategory(("c", "d")), 2)
    truths = cleaned(frame.assign(c=frame["c"] > 0), y=["c", "d"]).dataset
    assert (truths.kinds[2], truths.tensors[2][:2].tolist()) == (MultiCategory(("c", "d")), [[0, 1], [1, 0]])
    with pytest.raises(ArgumentError, match="cannot be predicted together"):
        cleaned(frame, y=["a", "city"], cat_names=[])


def test_a_new_table_needs_no_target_and_is_encoded_by_what_was_learnt() -> None:
    new = cleaned().new(people().drop(columns="answer").head(2))
    new.process()
    assert new.cats["city"].tolist() == [2, 1]
    with pytest.raises(ArgumentError, match="no target"):
        _ = new.ys


def test_setting_up_may_wait() -> None:
    to = cleaned(do_setup=False)
    with pytest.raises(ArgumentError, match="call setup"):
        _ = to.xs
    assert len(to.setup().xs) == 12


@pytest.mark.parametrize("make", ["object", "string", "str", "category"])
def test_words_of_any_type_are_levels(make: str) -> None:
    frame = people().astype({"city": make})
    assert list(cleaned(frame).classes["city"]) == ["#na#", "Bern", "Lyon", "Oslo"]


def test_what_turns_into_a_frame_is_a_table() -> None:
    class Polars:
        def to_pandas(self) -> pd.DataFrame:
            return people()

    assert len(cleaned_rows(Polars())) == 12
    with pytest.raises(TableError, match="A table was expected"):
        cleaned_rows([1, 2])


def cleaned_rows(table: object) -> TabularPandas:
    return TabularPandas(table, PROCS, ["city"], ["age"], "answer")


def with_cell(column: str, value: object) -> pd.DataFrame:
    frame = people().astype({column: object})
    frame.loc[4, column] = value  # type: ignore[call-overload]
    return frame


@pytest.mark.parametrize(
    ("frame", "options", "error", "words"),
    [
        (people().head(0), {}, EmptyError, "no rows"),
        (people(), {"cont_names": ["aeg"]}, TableError, "lacks the column 'aeg' \\(is it 'age'\\?\\)"),
        (people(), {"cont_names": ["age", "answer"]}, TableError, "'answer' is among the inputs"),
        (people(), {"cat_names": ["city", "city"]}, TableError, "named twice"),
        (people(), {"cat_names": [], "cont_names": []}, ArgumentError, "no inputs"),
        (with_cell("age", np.inf), {}, TableError, "'age' holds inf at row 4"),
        (with_cell("age", "old"), {}, TableError, "'age' is among the numbers .* holds 'old' at row 4"),
        (with_cell("answer", None), {}, LabelError, "'answer' is missing in 1 of 12 rows, the first at row 4"),
        (people().assign(age=pd.Timestamp("2020-01-01")), {}, TableError, "dates or times .*add_datepart\\(df, 'age'"),
        (people().assign(city=pd.Timestamp("2020-01-01")), {}, TableError, "add_datepart\\(df, 'city'"),
        (pd.concat([people(), people()[["age"]]], axis=1), {}, TableError, "one name: 'age'"),
        (people().assign(answer="yes"), {}, DataError, "one class of 'answer', 'yes'"),
        (people().rename(columns={"age": 3}), {"cont_names": [3]}, TableError, "named by words, got 3"),
        (people(), {"procs": [PROCS[0]]}, TableError, "'age' has 1 empty cells.*row 3.*FillMissing"),
        (people(), {"procs": []}, ArgumentError, "procs=\\[Categorify"),
    ],
)
def test_a_wrong_table_is_told(frame: pd.DataFrame, options: dict[str, object], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        cleaned(frame, splits=None if len(frame) < 4 else [list(range(12)), []], **options).dataloaders(4)


def test_a_class_that_training_lacks_is_told_with_its_row() -> None:
    frame = people()
    frame.loc[10, "answer"] = "maybe"
    with pytest.raises(LabelError, match=r"holds 'maybe' at row 10 .*no class of the training rows: no, yes"):
        cleaned(frame)


def test_a_column_renamed_at_inference_is_told() -> None:
    dls = cleaned().dataloaders(4, device="cpu")
    with pytest.raises(TableError, match=r"lacks the column 'height' \(is it 'heights'"):
        dls.test_dl(people().rename(columns={"height": "heights"}))


def test_one_row_is_a_table_too() -> None:
    dls = cleaned().dataloaders(4, device="cpu")
    assert dls.test_dl(people().head(1)).one_batch().inputs[0].shape == (1, 2)
    with pytest.raises(EmptyError, match="no rows"):
        dls.test_dl(people().head(0))


def test_batches_of_one_row_are_refused_and_a_lone_last_row_joins_its_neighbours() -> None:
    with pytest.raises(ArgumentError, match="bs=1 is too few"):
        cleaned().dataloaders(1)
    with pytest.raises(ArgumentError, match="one training row"):
        cleaned(y="height", cont_names=["age"], splits=[[0], [1]]).dataloaders()
    train = cleaned(splits=[list(range(9)), [9, 10, 11]]).dataloaders(4, device="cpu").train
    assert [batch.n_items for batch in train] == [4, 5]
    assert len(train) == 2


def test_a_file_is_read_and_its_columns_sorted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people(60).to_csv(tmp_path / "people.csv", index=False)
    dls = TabularDataLoaders.from_csv(tmp_path / "people.csv", y_names="answer", seed=1, device="cpu")
    assert "Categories: city. Numbers: age, height." in capsys.readouterr().out
    assert (len(dls.train_ds), len(dls.valid_ds)) == (48, 12)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a;b\n1;2\n", "sep=';'"),
        (b"a,b\n1,2\nx,\xe9t\xe9\n", r"no UTF-8 \(line 3.*latin-1"),
        (b"a,b\n1,2\n1,2,3,4\n", r"line 3.*Check the separator"),
        (b"", "cannot be read as a table"),
        ("a,b\n1,2\n".encode("utf-16"), "encoding='utf-16'"),
        (b"a,b,a\n1,2,3\n", "several columns of one name: 'a'"),
        (b"a,b\n0,2,5\n1,4,6\n", "have more cells than its first line names columns"),
    ],
)
def test_a_file_that_is_no_table_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "odd.csv").write_bytes(content)
    with pytest.raises(TableError, match=words):
        read_csv(tmp_path / "odd.csv")


def test_odd_files_that_are_tables_are_read(tmp_path: Path) -> None:
    (tmp_path / "sizes.csv").write_text("v,v.1,v.x\n1,2,3\n")
    assert read_csv(tmp_path / "sizes.csv").columns.tolist() == ["v", "v.1", "v.x"]
    (tmp_path / "ends.csv").write_text("a,b\n1,2,\n3,4,\n")  # a separator at the end of each row
    assert read_csv(tmp_path / "ends.csv").to_dict("list") == {"a": [1, 3], "b": [2, 4]}
    with pytest.raises(TableError, match="is a folder"):
        read_csv(tmp_path)


def test_a_file_of_another_form_is_read_as_the_message_says(tmp_path: Path) -> None:
    rows = "".join(f"{n},5;{'é' if n % 3 else 'o'};{'y' if n % 2 else 'n'}\n" for n in range(30))
    (tmp_path / "latin.csv").write_text("size;kind;answer\n" + rows, encoding="latin-1")
    dls = TabularDataLoaders.from_csv(tmp_path / "latin.csv", sep=";", encoding="latin-1", decimal=",", device="cpu")
    assert (dls.cont_names, list(dls.classes["kind"])) == (["size"], ["#na#", "o", "é"])


def test_empty_columns_are_left_out_of_those_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    frame = people(60).assign(gone=np.nan, none=None)[["gone", "none", "age", "city", "answer"]]
    dls = TabularDataLoaders.from_df(frame, seed=1, device="cpu")
    assert (dls.cat_names[:1], dls.cont_names) == (["city"], ["age"])
    assert "Left out, for they are empty: gone, none." in capsys.readouterr().out
    with pytest.raises(EmptyError, match="no rows"):
        TabularDataLoaders.from_df(frame.head(0))


def test_numbers_that_were_scaled_are_shown_as_they_came() -> None:
    frame = people().assign(height=[0.0, *range(150, 161)], age=np.arange(12) / 1e6)
    shown = cleaned(frame, procs=PROCS).show(3)
    assert shown["height"].tolist() == [0, 150, 151]
    assert shown["age"].tolist() == [0, 1e-6, 2e-6]
    plain = cleaned(frame, procs=PROCS[:2]).show(3)
    assert plain["age"].tolist() == pytest.approx([0, 1e-6, 2e-6], rel=1e-6, abs=0)


def test_several_numbers_are_shown_in_a_column_each() -> None:
    frame = people().assign(a=np.arange(12.0), b=np.arange(12.0) * 2)
    shown = cleaned(frame, y=["a", "b"]).dataloaders(4, device="cpu").show_batch(max_n=2)
    assert shown.columns.tolist() == ["city", "age_na", "age", "height", "a", "b"]
    assert (shown["b"].astype(float) == 2 * shown["a"].astype(float)).all()
