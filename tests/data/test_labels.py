"""Labels come from paths, attributes and rows; what cannot be read is named with file, row and column."""

from __future__ import annotations

import pathlib
import pickle
import re

import numpy as np
import pandas as pd
import pytest
import torch

from flambeau.data.labels import CategoryMap, ColReader, RegexLabeller, parent_label, using_attr
from flambeau.foundation.errors import ArgumentError, LabelError, TableError
from flambeau.foundation.paths import Path

TABLE = pd.DataFrame({"fname": ["a", "b"], "labels": ["x y", ""], "n": [1, 2]}, index=[10, 20])


def test_the_folder_is_the_label():
    assert parent_label(Path("train/cat/1.jpg")) == "cat"
    assert parent_label("train/dog/1.jpg") == "dog"
    with pytest.raises(LabelError, match=r"'1\.jpg' lies in no folder"):
        parent_label("1.jpg")


def test_the_first_group_of_a_pattern_is_the_label():
    assert RegexLabeller(r"(.+)_\d+.jpg$")("great_pyrenees_173.jpg") == "great_pyrenees"
    assert using_attr(RegexLabeller(r"(.+)_\d+.jpg$"), "name")(Path("x_1/bombay_3.jpg")) == "bombay"
    assert RegexLabeller(r"([^/]+)/\d")(pathlib.PureWindowsPath("train\\cat\\1.jpg")) == "cat"
    assert RegexLabeller(re.compile("(b)"))("abc") == "b"


def test_a_pattern_that_does_not_fit_is_named_with_the_file():
    with pytest.raises(LabelError, match=r"'\(x\)' does not match 'a/b\.jpg'"):
        RegexLabeller("(x)")(Path("a/b.jpg"))
    with pytest.raises(LabelError, match="does not match the beginning of 'ab'"):
        RegexLabeller("(b)", match=True)("ab")


def test_a_pattern_without_a_group_is_refused_at_once():
    with pytest.raises(ArgumentError, match=r"'cat' has no group: put the label in parentheses"):
        RegexLabeller("cat")
    with pytest.raises(ArgumentError, match="is not a regular expression"):
        RegexLabeller("(")


@pytest.mark.parametrize(
    "row",
    [TABLE.iloc[0], next(TABLE.itertuples()), {"fname": "a", "labels": "x y", "n": 1}],
    ids=["series", "namedtuple", "dictionary"],
)
def test_columns_are_read_from_rows_of_any_class(row):
    assert ColReader("fname")(row) == "a"
    assert ColReader("fname", pref="images/", suff=".jpg")(row) == "images/a.jpg"
    assert ColReader("labels", label_delim=" ")(row) == ["x", "y"]
    assert ColReader(["fname", "n"])(row) == ["a", 1]


def test_a_path_before_and_a_position_instead_of_a_name_are_taken():
    assert pathlib.Path(ColReader(0, pref=Path("images"), suff=".jpg")(TABLE.iloc[1])) == pathlib.Path("images/b.jpg")
    assert ColReader(1)(["a", "b"]) == "b"
    assert type(ColReader(np.int64(1)).cols[0]) is int  # an export writes it down
    assert ColReader("labels", label_delim=" ")(TABLE.iloc[1]) == []
    for cell, labels in (("a;b;", ["a", "b"]), ("a;;b", ["a", "b"]), (" ", []), ("New York;b", ["New York", "b"])):
        assert ColReader("labels", label_delim=";")({"labels": cell}) == labels


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT, np.float64("nan")])
def test_an_empty_cell_is_named_with_row_and_column(missing):
    row = pd.Series({"label": missing}, name=7, dtype=object)
    with pytest.raises(LabelError, match="Column 'label' is empty in row 7"):
        ColReader("label")(row)


def test_a_missing_column_proposes_the_nearest():
    with pytest.raises(TableError, match=r"^The table has no column 'label'\. Did you mean 'labels'"):
        ColReader("label")(TABLE.iloc[0])
    with pytest.raises(TableError, match=r"no column 'zzz'\. Its columns: 'Index', 'fname'"):
        ColReader("zzz")(next(TABLE.itertuples()))


@pytest.mark.parametrize(
    "labels",
    [["b", "a", "b"], pd.Series(["b", "a", None]), np.array(["b", "a"]), ["b", "a", float("nan")]],
)
def test_classes_are_sorted_unique_and_never_missing(labels):
    classes = CategoryMap(labels)
    assert list(classes) == ["a", "b"]
    assert classes.o2i == {"a": 0, "b": 1}
    assert classes == ["a", "b"]
    assert classes.map_objs(["b", "a"]) == [1, 0]
    assert classes.map_ids(torch.tensor([1, 0])) == ["b", "a"]


def test_numbers_as_classes_are_plain_python_numbers():
    assert [type(value) for value in CategoryMap(np.array([3, 1]))] == [int, int]


def test_the_order_may_be_that_of_appearance():
    assert list(CategoryMap(["b", "a"], sort=False)) == ["b", "a"]


def test_with_add_na_the_unknown_is_zero():
    classes = pickle.loads(pickle.dumps(CategoryMap(["b", "a"], add_na=True)))
    assert list(classes) == ["#na#", "a", "b"]
    assert classes.o2i["never seen"] == 0
    assert classes.map_objs(["a", "never seen"]) == [1, 0]


def test_a_categorical_column_gives_its_categories_or_those_that_occur():
    column = pd.Series(pd.Categorical(["b"], categories=["c", "b"], ordered=True))
    assert list(CategoryMap(column)) == ["c", "b"]
    assert list(CategoryMap(column, strict=True)) == ["b"]


def test_an_unknown_label_proposes_the_nearest():
    with pytest.raises(LabelError, match=r"'catt' is not one of the 2 classes .* Did you mean 'cat'"):
        CategoryMap(["cat", "dog"]).map_objs(["catt"])


def test_labels_that_cannot_be_sorted_or_are_lists_are_explained():
    with pytest.raises(LabelError, match=r"different types cannot be sorted: str \('a'\), int \(1\)"):
        CategoryMap(["a", 1])
    with pytest.raises(LabelError, match="use MultiCategoryBlock"):
        CategoryMap([["a"], ["b"]])
