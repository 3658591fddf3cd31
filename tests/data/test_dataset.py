"""Items become samples, halves and new items go the same way, and what is wrong is told with its item."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from flambeau.data.categorize import Categorize, MultiCategorize, OneHotEncode, RegressionSetup
from flambeau.data.dataset import Datasets, Getter, TfmdLists, as_items, checked_splits, show_at
from flambeau.data.kinds import Category, Number, Text
from flambeau.data.labels import ColReader
from flambeau.data.transform import Transform
from flambeau.foundation.errors import ArgumentError, DataError, EmptyError, LabelError, TableError
from flambeau.foundation.lists import L

WORDS = ["ant", "bee", "cat", "auk", "boa", "cod"]
SPLITS = ([0, 1, 2, 3], [4, 5])


def initial(word: str) -> str:
    """Return the first letter."""
    return word[0]


def words_by_initial(splits: Any = ([0, 1, 2], [3, 4, 5])) -> Datasets:
    """Return words with their first letter as class."""
    return Datasets(WORDS, [[str.upper], [initial, Categorize()]], splits=splits)


def test_a_sample_is_one_value_a_column() -> None:
    datasets = words_by_initial()
    assert datasets[1] == ("BEE", 1)
    assert datasets.kinds == [Text(), Category(("a", "b", "c"))]
    assert (datasets.n_inp, datasets.c, datasets.vocab) == (1, 3, ["a", "b", "c"])
    assert datasets.decode(("BEE", 1)) == ("BEE", "b")


def test_halves_see_their_items_only() -> None:
    datasets = words_by_initial()
    assert [x for x, _ in datasets.train] == ["ANT", "BEE", "CAT"]
    assert [x for x, _ in datasets.valid] == ["AUK", "BOA", "COD"]
    assert (datasets.train.split_idx, datasets.valid.split_idx) == (0, 1)
    assert [x for x, _ in datasets.valid.at([2, 0])] == ["COD", "AUK"]
    assert datasets.valid.name(1) == "boa"


def test_the_items_of_a_half_are_its_own_in_its_order() -> None:
    datasets = words_by_initial(splits=([3, 1, 2], [5, 0]))
    assert datasets.items is datasets.source
    assert isinstance(datasets.valid.items, L)
    assert list(datasets.train.items) == ["auk", "bee", "cat"]
    assert list(datasets.valid.items) == ["cod", "ant"] == [datasets.valid.item(place) for place in (0, 1)]
    assert list(datasets.valid.at([1]).items) == ["ant"]
    assert list(TfmdLists(WORDS, str.upper, splits=SPLITS).valid.items) == WORDS[4:]


def test_the_items_of_a_half_of_a_table_are_rows_that_can_be_predicted() -> None:
    frame = pd.DataFrame({"word": WORDS}, index=list("uvwxyz"))
    datasets = Datasets(frame, [[Getter(lambda row: row["word"])], [lambda row: row["word"][0], Categorize()]],
                        splits=([0, 1, 2], [5, 3]))  # fmt: skip
    assert datasets.items is frame
    assert list(datasets.valid.items.index) == ["z", "x"]
    assert [x for (x,) in datasets.with_items(datasets.valid.items, 1)] == ["cod", "auk"]


def test_items_looked_at_do_not_travel_to_worker_processes() -> None:
    valid = words_by_initial().valid
    before = len(pickle.dumps(valid))
    assert len(valid.items) == 3
    assert len(pickle.dumps(valid)) == before
    assert pickle.loads(pickle.dumps(valid)).items == ["auk", "boa", "cod"]


def test_the_training_half_of_a_half_is_that_half() -> None:
    assert [x for x, _ in words_by_initial().valid.train] == ["AUK", "BOA", "COD"]


def test_a_half_that_is_not_there_is_told() -> None:
    with pytest.raises(EmptyError, match="The split has 2 halves, counted from 0; there is no half 2"):
        words_by_initial().subset(2)


@pytest.mark.parametrize(
    ("place", "found"),
    [
        (slice(0, 2), ["ANT", "BEE"]),
        ([2, 0], ["CAT", "ANT"]),
        ([True, False, True, False, False, False], ["ANT", "CAT"]),
        (torch.tensor([1, 2]), ["BEE", "CAT"]),
        (np.array([1]), ["BEE"]),
    ],
)
def test_several_places_give_a_list_of_samples(place: Any, found: list[str]) -> None:
    assert [x for x, _ in words_by_initial()[place]] == found


def test_one_place_may_be_a_number_of_numpy_or_torch() -> None:
    datasets = words_by_initial()
    assert datasets[np.int64(1)] == datasets[torch.tensor(1)] == datasets[-5] == ("BEE", 1)


def test_the_vocabulary_picks_with_a_tensor_of_indices() -> None:
    datasets = Datasets(
        [["a"], ["b", "c"], ["c"]], [[len], [lambda labels: labels, MultiCategorize(), OneHotEncode()]]
    )
    assert datasets.train.vocab[torch.where(datasets[1][1] == 1)[0]] == ["b", "c"]
    assert datasets.c == 3


def test_several_vocabularies_come_as_a_list_in_the_order_of_columns() -> None:
    datasets = Datasets(WORDS, [[initial, Categorize()], [len, Categorize(vocab=[2, 3])]])
    assert datasets.vocab == [["a", "b", "c"], [2, 3]]


def test_classes_are_learnt_from_the_training_half_only_and_others_are_told() -> None:
    words = (
        r"2 items of the validation half with unusable labels: 'c' \(2 items in all, none in training, first cat\)\. "
        r".*among the 2 classes seen in training .*CategoryBlock\(vocab="
    )
    with pytest.raises(LabelError, match=words):
        words_by_initial(([0, 1, 3, 4], [2, 5]))


def test_a_class_with_one_item_is_told_wherever_the_split_puts_it(capsys: pytest.CaptureFixture[str]) -> None:
    labels = {"ant": "x", "bee": "x", "cat": "lonely", "auk": "y", "boa": "x", "cod": "y"}
    columns = [[str.upper], [labels.get, Categorize()]]
    assert Datasets(WORDS, columns, ([1, 2, 3], [0, 4, 5])).c == 3
    assert "1 of 3 classes without any validation item: lonely (1 item, in training)." in capsys.readouterr().out
    with pytest.raises(LabelError, match=r"'lonely' \(1 item in all, none in training, first cat\)"):
        Datasets(WORDS, [[str.upper], [labels.get, Categorize()]], ([0, 1, 3], [2, 4, 5]))
    Datasets(WORDS, [[str.upper], [labels.get, Categorize()]], ([1, 2, 3, 4, 5, 0], []))
    assert capsys.readouterr().out == ""


def test_classes_of_many_labels_that_only_train_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    Datasets(WORDS, [[str.upper], [sorted, MultiCategorize()]], splits=([0, 1, 2, 3, 5], [4]))
    said = capsys.readouterr().out
    assert "7 of 10 classes without any validation item: c (2 items, in training), d (1 item, in training)" in said


def test_a_tuple_is_no_class() -> None:
    with pytest.raises(LabelError, match=r"label of bee is the tuple \('b', 3\), and a class is one value\. .*'b 3'"):
        Datasets(["bee", "ant"], [[str.upper], [lambda word: (word[0], len(word)), Categorize()]])
    with pytest.raises(LabelError, match=r"A class is the tuple \('a', 'b'\)"):
        Categorize(vocab=[("a", "b")])


def test_a_label_outside_a_given_vocabulary_does_not_blame_the_training() -> None:
    with pytest.raises(LabelError, match=r"'d' is not among the 2 classes of the vocabulary \('a', 'b'\)\..*add it to"):
        Datasets(["a", "d"], [[str.upper], [initial, Categorize(vocab=["a", "b"])]], splits=([0], [1]))


def test_numbers_taken_for_classes_are_told_of_regression() -> None:
    with pytest.raises(LabelError, match=r"If the labels are measured numbers and no classes, use RegressionBlock"):
        Datasets([1.5, 2.5, 3.5], [[str], [float, Categorize()]], splits=([0, 1], [2]))


def test_a_column_that_the_table_lacks_is_told_of_the_table() -> None:
    with pytest.raises(TableError, match=r"^The table has no column 'wrod'\. Did you mean 'word'\?$"):
        Datasets(pd.DataFrame({"word": WORDS}), [[ColReader("word")], [ColReader("wrod"), Categorize()]])


def test_one_class_only_is_told() -> None:
    with pytest.raises(DataError, match="All 6 training items have one class, 'z'"):
        Datasets(WORDS, [[str.upper], [lambda word: "z", Categorize()]])


def test_a_label_that_is_none_names_its_item() -> None:
    with pytest.raises(LabelError, match="The label of cat is None"):
        Datasets(WORDS, [[str.upper], [lambda word: None if word == "cat" else word[0], Categorize()]])


def test_a_label_function_that_raises_names_its_item() -> None:
    with pytest.raises(DataError, match=r"Reading cat failed: KeyError: 'cat'"):
        Datasets(WORDS, [[str.upper], [{"ant": 1, "bee": 2}.__getitem__, Categorize()]])


def test_a_number_that_is_nan_is_told_before_training_with_its_item() -> None:
    values = dict(zip(WORDS, [1, 2, 3, 4, float("nan"), 6], strict=True))
    with pytest.raises(LabelError, match=r"1 item of the validation half .*nan \(1 item, first boa\)"):
        Datasets(WORDS, [[str.upper], [values.get, RegressionSetup()]], SPLITS)


def test_an_item_that_fails_later_is_named() -> None:
    def read(word: str) -> str:
        if word == "cod":
            raise OSError("cannot read")
        return word

    datasets = Datasets(WORDS, [[read], [initial]])
    with pytest.raises(DataError, match="Reading cod failed: OSError: cannot read"):
        datasets[5]


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        (([0, 1], [6]), "position 6, but there are 6 items, counted from 0.*reset_index"),
        (([True, False], [False, True]), "among them came True of type bool.*MaskSplitter"),
        ((np.array([True, False]), np.array([False])), "MaskSplitter"),
        (([0.5], [1]), "among them came 0.5 of type float"),
        (([], [0]), "training half of the split is empty"),
    ],
)
def test_a_split_that_is_none_is_told(splits: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        words_by_initial(splits)


def test_splits_of_arrays_and_ranges_become_lists_of_positions() -> None:
    assert checked_splits((np.array([1, 0]), range(2, 4), torch.tensor([4])), 5) == [[1, 0], [2, 3], [4]]


@pytest.mark.parametrize("items", [[], {}.keys(), (), np.zeros((0, 2))])
def test_no_items_are_told(items: Any) -> None:
    with pytest.raises(EmptyError, match="no items"):
        Datasets(items, [[str], [str]])


def test_columns_that_are_no_list_are_told() -> None:
    with pytest.raises(ArgumentError, match=r"tfms is a list of columns.*TfmdLists"):
        Datasets(WORDS, str.upper)  # type: ignore[arg-type]


def test_a_lone_path_is_one_item() -> None:
    assert as_items("a.png") == ["a.png"]
    assert as_items(Path("a.png")) == [Path("a.png")]
    assert list(as_items(word for word in "ab")) == ["a", "b"]


def test_new_items_go_through_the_inputs_as_in_validation() -> None:
    new = words_by_initial().with_items(["dog"], 1)
    assert (new[0], new.split_idx) == (("DOG",), 1)
    with pytest.raises(EmptyError, match="no items to predict"):
        words_by_initial().with_items([])


def test_rows_of_a_table_are_items_and_files_can_be_predicted_without_a_row() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"name": WORDS}, index=[f"r{i}" for i in range(6)])
    name, letter = Getter(lambda row: row["name"]), Getter(lambda row: row["name"][0], "get_y")
    datasets = Datasets(frame, [[name, str.upper], [letter, Categorize()]])
    assert datasets[1] == ("BEE", 1)
    assert datasets.name(1) == "row r1 of the table"
    assert datasets.with_items(["dog"], 1)[0] == ("DOG",)
    assert datasets.with_items(frame[3:4])[0] == ("AUK", 0)


def test_values_read_ahead_need_no_getter_and_keep_the_names_of_their_items() -> None:
    columns = [[Getter(lambda word: word + "!"), str.upper], [Getter(initial, "get_y"), Categorize()]]
    datasets = Datasets(WORDS, columns, ([0, 1, 2], [3, 4, 5])).valid
    read = datasets.with_values_read()
    assert [read[i] for i in range(3)] == [datasets[i] for i in range(3)]
    assert not any(isinstance(transform, Getter) for pipeline in read.pipelines for transform in pipeline)
    assert read.name(1) == "boa"


def test_a_getter_that_raises_names_function_role_and_item() -> None:
    with pytest.raises(LabelError, match=r"'initial' \(given as get_y\) raised TypeError.* on the item 3"):
        Getter(initial, "get_y")(3)


def test_own_code_in_a_column_may_be_random_but_getters_are_not() -> None:
    assert Datasets([1], [[Transform(lambda x: x)]]).is_random(True)
    assert not Datasets([1], [[Getter(lambda x: x)]]).is_random(True)
    assert not Datasets([1, 2], [[lambda x: x]]).is_random(False)


def test_a_pipeline_of_one_column_gives_values_and_tuples_give_samples() -> None:
    single = TfmdLists(WORDS, [str.upper, Categorize()], splits=([0, 1, 2, 3, 4, 5], [1]))
    assert single[0] == 0
    assert single.kinds == [Category(("ANT", "AUK", "BEE", "BOA", "CAT", "COD"))]
    assert single[:2] == [0, 2]
    assert single.decode(0) == "ANT"
    assert single.valid[0] == 2
    assert single.c == 0
    pairs = TfmdLists(WORDS, lambda word: (word, len(word)))
    assert (pairs[1], pairs.n_inp, pairs.kinds, pairs.c) == (("bee", 3), 1, [Text(), Number()], 1)


def test_a_sample_without_a_picture_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    show_at(words_by_initial().valid, 1)
    assert capsys.readouterr().out == "BOA | b\n"


def test_items_without_transforms_are_their_own_samples() -> None:
    assert Datasets(L(["a"]))[0] == ("a",)
