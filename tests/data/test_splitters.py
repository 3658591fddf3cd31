"""Each split is disjoint, repeats with its seed, and tells why a half would be empty."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from flambeau.data.splitters import (
    ColSplitter,
    EndSplitter,
    FileSplitter,
    FuncSplitter,
    GrandparentSplitter,
    GroupSplitter,
    IndexSplitter,
    KFoldSplitter,
    MaskSplitter,
    RandomSplitter,
    RandomSubsetSplitter,
    TimeSplitter,
    TrainTestSplitter,
)
from flambeau.foundation.errors import ArgumentError, DataError, TableError
from flambeau.foundation.lists import L
from flambeau.foundation.seeds import no_random, set_seed

FILES = L([f"{part}/{label}/{n}.jpg" for part in ("train", "valid") for label in ("cat", "dog") for n in range(5)])
TABLE = pd.DataFrame(
    {
        "patient": [n // 4 for n in range(20)],
        "is_valid": [n >= 15 for n in range(20)],
        "fold": ["a", "b", "c", "c"] * 5,
        "day": pd.date_range("2024-01-01", periods=20)[::-1],
    }
)
COMPLETE = [
    RandomSplitter(seed=1),
    FuncSplitter(lambda item: "3" in str(item)),
    IndexSplitter([0, -1]),
    MaskSplitter([n % 3 == 0 for n in range(20)]),
    EndSplitter(),
    TrainTestSplitter(0.3, random_state=0),
    GroupSplitter([n // 4 for n in range(20)], seed=2),
    TimeSplitter(list(range(20))),
    KFoldSplitter(4, 1),
    KFoldSplitter(3, 2, stratify=[n % 2 for n in range(20)]),
    KFoldSplitter(3, 0, groups=[n // 4 for n in range(20)]),
]


@pytest.mark.parametrize("splitter", COMPLETE, ids=lambda splitter: type(splitter).__name__)
@pytest.mark.parametrize("items", [FILES, list(FILES), TABLE], ids=["L", "list", "table"])
def test_the_halves_are_disjoint_and_complete(splitter, items):
    train, valid = splitter(items)
    assert sorted(train + valid) == list(range(20))
    assert train
    assert valid
    assert {type(position) for position in train + valid} == {int}
    assert type(train) is type(valid) is L


@pytest.mark.parametrize(
    "splitter", [s for s in COMPLETE if not isinstance(s, FuncSplitter)], ids=lambda splitter: type(splitter).__name__
)
def test_a_splitter_survives_pickling_and_repeats(splitter):
    assert pickle.loads(pickle.dumps(splitter))(TABLE) == splitter(TABLE)


def test_the_random_split_of_a_seed_is_the_same_for_ever():
    train, valid = RandomSplitter(seed=42)(range(10))
    assert valid == [8, 1]  # numpy's RandomState(42).permutation(10) begins so since 2005
    assert train == [5, 0, 7, 2, 9, 4, 3, 6]


def test_the_share_is_rounded_down_and_one_at_least():
    assert [len(half) for half in RandomSplitter(0.25, seed=0)(range(10))] == [8, 2]
    assert [len(half) for half in RandomSplitter(0.1, seed=0)(range(3))] == [2, 1]
    assert RandomSplitter(0)(range(3))[1] == []


def test_without_a_seed_the_split_changes_and_follows_set_seed():
    items = range(1000)
    assert RandomSplitter()(items) != RandomSplitter()(items)
    with no_random():
        set_seed(3)
        first = RandomSplitter()(items)
        set_seed(3)
        assert RandomSplitter()(items) == first


@pytest.mark.parametrize("share", [-0.1, 1, 20])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(ArgumentError, match=r"such as 0.2 for 20 %"):
        RandomSplitter(share)


def test_one_item_cannot_be_split():
    with pytest.raises(DataError, match="at least 2 items, got 1"):
        RandomSplitter()(["a"])


def test_the_folder_above_the_folder_says_the_side():
    train, valid = GrandparentSplitter()(FILES)
    assert train == list(range(10))
    assert valid == list(range(10, 20))
    assert GrandparentSplitter(valid_name=("valid", "test"))(FILES)[1] == valid


def test_a_missing_grandparent_is_explained_with_what_was_found():
    files = ["train/cat/1.jpg", "train/cat/2.jpg", "test/dog/3.jpg"]
    with pytest.raises(DataError, match=r"No folder named 'valid' among .*: found train \(2\), test \(1\)"):
        GrandparentSplitter()(files)


def test_items_of_neither_side_are_left_out_aloud():
    with pytest.warns(UserWarning, match=r"1 items are in neither set and are left out: test \(1\)"):
        train, valid = GrandparentSplitter()([*FILES, "test/cat/1.jpg"])
    assert len(train) + len(valid) == 20


def test_a_function_sees_items_or_rows():
    assert FuncSplitter(lambda path: path.startswith("valid"))(FILES)[1] == list(range(10, 20))
    assert FuncSplitter(lambda row: row.is_valid)(TABLE)[1] == list(range(15, 20))
    with pytest.raises(DataError, match=r"validation set is empty: all 20 items .* Look at what the function returns"):
        FuncSplitter(lambda path: False)(FILES)


def test_positions_outside_are_named_and_none_means_no_validation():
    with pytest.raises(DataError, match="position 20 lies outside the 20 items"):
        IndexSplitter([20])(FILES)
    with pytest.raises(DataError, match=r"takes positions, got 20 of True and False. Use MaskSplitter"):
        IndexSplitter(np.arange(20) > 15)(FILES)
    assert IndexSplitter([])(FILES) == (list(range(20)), [])


def test_a_mask_has_one_entry_an_item():
    with pytest.raises(DataError, match="2 entries for 20 items"):
        MaskSplitter([True, False])(FILES)


def test_a_file_lists_the_names_that_validate(tmp_path):
    listed = tmp_path / "valid.txt"
    listed.write_text("b.jpg\nfolder/d.jpg\n\n")
    assert FileSplitter(listed)(["x/a.jpg", "x/b.jpg", "y/c.jpg", "y/d.jpg"])[1] == [1, 3]
    with pytest.warns(UserWarning, match=r"1 names in .* such as 'd\.jpg'"):
        FileSplitter(listed)(["x/a.jpg", "x/b.jpg"])
    with pytest.raises(DataError, match=r"An item is called 'b', the file begins with 'b\.jpg'"):
        FileSplitter(listed)(["x/b"])


@pytest.mark.parametrize(
    ("splitter", "valid"),
    [
        (ColSplitter(), list(range(15, 20))),
        (ColSplitter("fold", "a"), [0, 4, 8, 12, 16]),
        (ColSplitter("fold", ["a", "b"]), [0, 1, 4, 5, 8, 9, 12, 13, 16, 17]),
        (ColSplitter(1), list(range(15, 20))),
    ],
)
def test_a_column_says_the_side(splitter, valid):
    assert splitter(TABLE)[1] == valid


def test_a_column_that_cannot_say_the_side_is_refused():
    with pytest.raises(TableError, match=r"no column 'valid'\. Did you mean 'is_valid'"):
        ColSplitter("valid")(TABLE)
    with pytest.raises(TableError, match=r"holds .*'True'.*, not true and false"):
        ColSplitter()(TABLE.assign(is_valid="True"))
    with pytest.raises(TableError, match=r"df\['is_valid'\] = df\['is_valid'\] == 'True'.*read it with pandas"):
        ColSplitter()(TABLE.assign(is_valid="True"))
    with pytest.raises(TableError, match="'is_valid' is empty in row 0"):
        ColSplitter()(TABLE.assign(is_valid=None))
    with pytest.raises(TableError, match="L, which is not a table"):
        ColSplitter()(FILES)
    with pytest.raises(DataError, match=r"validation set is empty.* on='z'"):
        ColSplitter("fold", "z")(TABLE)


def test_the_end_or_the_beginning_validates():
    assert EndSplitter()(range(10)) == (list(range(8)), [8, 9])
    assert EndSplitter(valid_last=False)(range(10)) == (list(range(2, 10)), [0, 1])


def test_a_stratified_split_keeps_the_shares():
    classes = [0] * 80 + [1] * 20
    _, valid = TrainTestSplitter(0.2, 0, stratify=classes)(range(100))
    assert Counter(classes[position] for position in valid) == {0: 16, 1: 4}
    with pytest.raises(DataError, match="cannot split 3 items"):
        TrainTestSplitter(stratify=[0, 0, 1])(range(3))


def test_a_subset_leaves_the_rest_out():
    train, valid = RandomSubsetSplitter(0.5, 0.1, seed=0)(range(100))
    assert len(train) == 50
    assert len(valid) == 10
    assert not set(train) & set(valid)
    with pytest.raises(ArgumentError, match="shares cannot exceed 1"):
        RandomSubsetSplitter(0.8, 0.3)
    with pytest.raises(DataError, match="Of 5 items, 2 would train and 0 validate"):
        RandomSubsetSplitter(0.5, 0.1)(range(5))


@pytest.mark.parametrize(
    ("by", "items"),
    [("patient", TABLE), (lambda row: row.patient, TABLE), (list(TABLE.patient), FILES), (TABLE.patient, TABLE)],
    ids=["column", "function", "list", "series"],
)
def test_no_group_is_on_both_sides(by, items):
    train, valid = GroupSplitter(by, seed=0)(items)
    patients = TABLE.patient.to_numpy()
    assert not set(patients[list(train)]) & set(patients[list(valid)])
    assert len(set(patients[list(valid)])) == 1  # a fifth of five patients


def test_the_groups_chosen_do_not_hang_on_the_order_of_the_items():
    groups = list("aabbccddeeffgghhiijj")
    chosen = {groups[position] for position in GroupSplitter(groups, seed=5)(range(20))[1]}
    backwards = groups[::-1]
    assert {backwards[position] for position in GroupSplitter(backwards, seed=5)(range(20))[1]} == chosen
    assert len(chosen) == 2


def test_groups_that_cannot_be_split_are_explained():
    with pytest.raises(DataError, match=r"at least 2 different groups \(by 'patient'\), got 1"):
        GroupSplitter("patient")(TABLE.assign(patient=1))
    with pytest.raises(TableError, match=r"2 of 20 items have no value \(first at position 3, 7\)"):
        GroupSplitter([None if n in (3, 7) else n for n in range(20)])(FILES)
    with pytest.raises(ArgumentError, match="got 3 values for 20 items"):
        GroupSplitter([1, 2, 3])(FILES)


def test_the_latest_validate():
    assert TimeSplitter("day")(TABLE)[1] == [0, 1, 2, 3]
    assert TimeSplitter("day", cutoff="2024-01-20")(TABLE)[1] == [0]
    assert TimeSplitter([3, 1, 2], cutoff=3)("abc")[1] == [0]
    assert TimeSplitter(["2/1/2024", "12/31/2023"], cutoff="2024-01-01")("ab")[1] == [0]


def test_equal_times_stay_together():
    train, valid = TimeSplitter([1, 2, 2, 2, 2], valid_pct=0.2)(range(5))
    assert (train, valid) == ([0], [1, 2, 3, 4])
    with pytest.raises(DataError, match=r"training set is empty.*from 2 to 2"):
        TimeSplitter([2, 2, 2])(range(3))


def test_times_that_cannot_be_compared_are_explained():
    with pytest.raises(DataError, match=r"validation set is empty.*the cutoff is 2030"):
        TimeSplitter("day", cutoff="2030-01-01")(TABLE)
    with pytest.raises(TableError, match="cannot read 'soon'"):
        TimeSplitter(["soon", "later"])("ab")
    with pytest.raises(ArgumentError, match="'2024-01-01' cannot be compared with times such as 1"):
        TimeSplitter([1, 2], cutoff="2024-01-01")("ab")


@pytest.mark.parametrize(
    "options", [{}, {"stratify": [n % 3 for n in range(20)]}, {"groups": [n // 3 for n in range(20)]}]
)
def test_each_item_validates_in_exactly_one_fold(options):
    folds = [KFoldSplitter(4, fold, **options)(range(20))[1] for fold in range(4)]
    assert sorted(L(folds).concat()) == list(range(20))
    assert max(map(len, folds)) - min(map(len, folds)) <= 3


def test_stratified_folds_hold_each_class_alike():
    classes = np.array([0] * 50 + [1] * 10)
    for fold in range(5):
        valid = KFoldSplitter(5, fold, stratify=classes.tolist())(range(60))[1]
        assert Counter(classes[list(valid)].tolist()) == {0: 10, 1: 2}


def test_impossible_folds_are_refused():
    with pytest.raises(ArgumentError, match="from 0 to 4 for 5 folds, got 5"):
        KFoldSplitter(5, 5)
    with pytest.raises(ArgumentError, match="stratify or groups, not both"):
        KFoldSplitter(stratify=[1], groups=[1])
    with pytest.raises(DataError, match="at least as many groups, got 2"):
        KFoldSplitter(3, 0, groups=[1, 1, 2, 2])(range(4))
    with pytest.raises(DataError, match="at least as many items, got 2"):
        KFoldSplitter(3)(range(2))


def test_a_stratified_random_split_takes_a_column_a_function_or_values():
    by = ["fold", lambda row: row["fold"], TABLE["fold"].tolist()]
    splits = [TrainTestSplitter(0.4, random_state=1, stratify=one)(TABLE) for one in by]
    assert splits[0] == splits[1] == splits[2]
    assert Counter(TABLE["fold"].iloc[splits[0][1]]) == {"a": 2, "b": 2, "c": 4}
    with pytest.raises(TableError, match=r"no column 'fodl'. Did you mean 'fold'"):
        TrainTestSplitter(stratify="fodl")(TABLE)


def test_all_folds_at_once_are_those_of_each_fold():
    splitter = KFoldSplitter(3, 1, seed=4, groups="patient")
    together = splitter.splits(TABLE)
    assert together == [KFoldSplitter(3, fold, seed=4, groups="patient")(TABLE) for fold in range(3)]
    assert sorted(place for _, valid in together for place in valid) == list(range(20))


def test_an_empty_cell_is_told_with_its_plain_row() -> None:
    frame = pd.DataFrame({"is_valid": [True, None, False]})
    with pytest.raises(TableError, match=r"Column 'is_valid' is empty in row 1\."):
        ColSplitter()(frame)


@pytest.mark.parametrize("seed", ["a", 1.5, -1])
def test_a_seed_that_is_no_whole_number_is_told(seed: object) -> None:
    with pytest.raises(ArgumentError, match=rf"seed of a split is a whole number .* got {seed!r}"):
        RandomSplitter(seed=seed)([1, 2, 3])  # type: ignore[arg-type]
