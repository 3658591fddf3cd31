"""Ratings become batches without work on rows, and what is wrong with a table is told with its row."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from flambeau.collab.data_loaders import CollabDataLoaders
from flambeau.collab.splits import LeaveLastOutSplitter
from flambeau.data.splitters import IndexSplitter, TimeSplitter
from flambeau.foundation.errors import ArgumentError, DataError, EmptyError, TableError, UnknownNameError

pd = pytest.importorskip("pandas")


def table(n_users: int = 6, n_items: int = 5) -> Any:
    """Return a full table of ratings, row by row of users, with times that rise."""
    rows = [(f"u{u}", f"film {i}", float(1 + (u + i) % 5), 10 * i + u) for u in range(n_users) for i in range(n_items)]
    return pd.DataFrame(rows, columns=["user", "title", "rating", "when"])


def loaders(frame: Any, **options: Any) -> CollabDataLoaders:
    """Return loaders of a table on the CPU."""
    return CollabDataLoaders.from_df(frame, **{"bs": 4, "seed": 1, "device": "cpu", **options})


def test_a_batch_holds_the_places_of_users_and_items_and_the_ratings() -> None:
    dls = loaders(table())
    x, y = dls.one_batch()
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((4, 2), torch.int64, (4,), torch.float32)
    assert [len(half) for half in (dls.train_ds, dls.valid_ds)] == [24, 6]


def test_each_training_rating_comes_once_an_epoch() -> None:
    dls = loaders(table())
    pairs = torch.cat([batch[0] for batch in dls.train]).tolist()
    assert sorted(pairs) == sorted(dls.train_ds.pairs.tolist())


def test_the_vocabularies_hold_what_is_in_training_and_na_at_0() -> None:
    frame = table(3, 3)
    frame.loc[len(frame)] = ["new user", "film 0", 3.0, 99]
    dls = loaders(frame, splitter=IndexSplitter([9]))
    assert list(dls.classes) == ["user", "title"]
    assert list(dls.classes["user"]) == ["#na#", "u0", "u1", "u2"]
    assert dls.classes["title"].o2i["film 2"] == 3
    assert dls.valid_ds.pairs.tolist() == [[0, 1]]


def test_columns_may_be_named_and_the_table_is_not_changed() -> None:
    frame = table()[["when", "rating", "title", "user"]]
    before = frame.copy()
    dls = loaders(frame, user_name="user", item_name="title", rating_name="rating")
    shown = dls.show_batch(max_n=3)
    assert list(shown.columns) == ["user", "title", "rating"]
    assert len(shown) == 3
    pd.testing.assert_frame_equal(frame, before)


def test_a_split_by_time_validates_on_the_latest() -> None:
    frame = table()
    dls = loaders(frame, splitter=TimeSplitter("when"))
    assert len(dls.valid_ds) == 6
    assert set(dls.valid_ds.pairs[:, 1].tolist()) == {0}  # film 4 is rated last by all, so it is not in training


def test_the_last_rating_of_each_user_is_left_out() -> None:
    frame = pd.DataFrame({"user": [1, 1, 2, 1, 2, 3], "when": [5, 9, 1, 7, 2, 1]})
    assert LeaveLastOutSplitter("user", "when")(frame) == ([0, 2, 3, 5], [1, 4])
    assert LeaveLastOutSplitter("user")(frame) == ([0, 1, 2, 5], [3, 4])
    with pytest.raises(EmptyError, match="No user has more than 3"):
        LeaveLastOutSplitter("user", n=3)(frame)


@pytest.mark.parametrize(
    ("times", "held"),
    [
        (["2020-02-01", "2020-01-31", "2021-01-15", "2020-01-01", "2020-01-02"], [2, 4]),
        ([9, 10, 2, 1, 2], [1, 4]),
    ],
)
def test_the_last_is_the_last_in_time(times: list[Any], held: list[int]) -> None:
    frame = pd.DataFrame({"user": list("aaabb"), "item": range(5), "rating": 1.0, "when": times})
    assert LeaveLastOutSplitter("user", "when")(frame)[1] == held


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (["9", "10", "2", "1", "2"], "numbers written as words"),
        ([1, float("nan"), 3, 1, 2], "1 of 5 items have no value"),
        ([1, "x", 3, 1, 2], "LeaveLastOutSplitter cannot read"),
    ],
)
def test_times_that_cannot_be_ordered_are_told(times: list[Any], words: str) -> None:
    frame = pd.DataFrame({"user": list("aaabb"), "item": range(5), "rating": 1.0, "when": times})
    with pytest.raises(TableError, match=words):
        LeaveLastOutSplitter("user", "when")(frame)


def test_the_last_of_each_user_is_left_out_wherever_the_users_stand() -> None:
    frame = table()[["title", "user", "rating", "when"]]
    dls = loaders(frame, user_name="user", item_name="title", rating_name="rating", splitter=LeaveLastOutSplitter())
    assert len(dls.valid_ds) == frame["user"].nunique()


def test_a_file_in_the_form_of_movielens_is_read(tmp_path: Path) -> None:
    file = tmp_path / "ratings.dat"
    file.write_text("".join(f"{u}::{i}::{1 + (u + i) % 5}::978300760\n" for u in range(6) for i in range(5)))
    shared: dict[str, Any] = {"bs": 4, "device": "cpu"}
    dls = CollabDataLoaders.from_csv(file, sep="::", header=None, user_name=0, item_name=1, rating_name=2, **shared)
    assert len(dls.train_ds) == 24
    assert list(dls.classes) == ["0", "1"]
    with pytest.raises(TableError, match=r"first line of .* holds numbers \(0, 0\.1, 1\).*header=None"):
        CollabDataLoaders.from_csv(file, sep="::", **shared)


def test_pairs_rated_twice_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.concat([table(), table().iloc[:2]], ignore_index=True)
    loaders(frame)
    assert "2 ratings repeat a pair" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("rating", float("nan"), r"'rating', row 7 of the table, is missing"),
        ("rating", "good", r"row 7 of the table, is 'good', which is no finite number"),
        ("rating", float("inf"), r"row 7 of the table, is inf"),
        ("rating", 1e300, r"row 7 of the table, is 1e\+300, which is no finite number"),
        ("user", None, r"Row 7 of the ratings has no 'user'"),
        ("title", None, r"Row 7 of the ratings has no 'title'"),
        ("title", 3, r"'title' holds names of different types, str \('film .'\) and int \(3\)"),
        ("user", ["u1"], r"'user' holds what is no name"),
    ],
)
def test_a_bad_cell_is_told_with_its_row(column: str, value: Any, words: str) -> None:
    frame = table().astype(object)
    frame.at[7, column] = value
    with pytest.raises(TableError, match=words):
        loaders(frame)


def test_a_bad_table_is_told() -> None:
    with pytest.raises(TableError, match=r"ratings lacks the column 'titel' \(is it 'title'\?\)"):
        loaders(table(), item_name="titel")
    with pytest.raises(EmptyError, match="no row"):
        loaders(table().iloc[:0])
    with pytest.raises(TableError, match="wrong separator"):
        loaders(table()[["user", "rating"]])
    with pytest.raises(DataError, match=r"1 user\(s\)"):
        loaders(table(1, 9))
    with pytest.raises(TableError, match="three columns"):
        loaders(table(), item_name="user")
    with pytest.raises(TableError, match="2 columns named 'rating'"):
        loaders(pd.concat([table(), table().rating], axis=1))
    with pytest.raises(TableError, match=r"must be a number, but the column holds datetime64"):
        loaders(table().assign(rating=pd.Timestamp("2026-01-01")))
    with pytest.raises(TableError, match=r"was expected .* got a list\."):
        loaders([("u1", "film 1", 3)])
    with pytest.raises(DataError, match="at least 2 items, got 1"):
        loaders(table().iloc[:1])


def test_a_split_that_is_none_is_told() -> None:
    mask = torch.ones(30, dtype=torch.bool).numpy()
    with pytest.raises(ArgumentError, match="MaskSplitter"):
        loaders(table(), splitter=lambda frame: (mask, ~mask))
    with pytest.raises(ArgumentError, match="position 99"):
        loaders(table(), splitter=lambda frame: ([0, 1, 99], [2]))


class FromElsewhere:
    """A table of another library, which knows how to become one of pandas: of polars or Arrow, say."""

    def to_pandas(self) -> Any:
        return table()


@pytest.mark.parametrize("kind", ["elsewhere", "nullable", "string", "categorical"])
def test_tables_of_every_kind_give_the_same_pairs(kind: str) -> None:
    frame = table()
    others = {
        "elsewhere": FromElsewhere(),
        "nullable": frame.convert_dtypes(),
        "string": frame.astype({"user": "string", "title": "string"}),
        "categorical": frame.astype({"user": "category", "title": "category"}),
    }
    dls, expected = loaders(others[kind]), loaders(frame)
    assert torch.equal(dls.train_ds.pairs, expected.train_ds.pairs)
    assert torch.equal(dls.valid_ds.ratings, expected.valid_ds.ratings)
    assert list(dls.classes["title"]) == list(expected.classes["title"])


def test_a_categorical_column_keeps_its_order_and_only_what_occurs() -> None:
    frame = table().astype({"user": pd.CategoricalDtype(["u9", "u5", "u4", "u3", "u2", "u1", "u0"])})
    assert list(loaders(frame).classes["user"]) == ["#na#", "u5", "u4", "u3", "u2", "u1", "u0"]


def test_building_goes_through_no_row_in_python() -> None:
    big = pd.concat([table(60, 50)] * 40, ignore_index=True)
    made = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal made
        made += event == "call"

    sys.setprofile(count)
    try:
        loaders(big)
    finally:
        sys.setprofile(None)
    assert made < len(big) / 20


def test_a_file_of_ratings_is_read(tmp_path: Path) -> None:
    file = tmp_path / "ratings.csv"
    table().to_csv(file, index=False)
    dls = CollabDataLoaders.from_csv(file, bs=4, device="cpu")
    assert len(dls.train_ds) == 24
    with pytest.raises(TableError, match="There is no file"):
        CollabDataLoaders.from_csv(tmp_path / "none.csv")
    with pytest.raises(TableError, match=r"separator seems to be: sep=','"):
        CollabDataLoaders.from_csv(file, delimiter=";")
    assert len(CollabDataLoaders.from_csv(file, sep=",", bs=4, device="cpu").train_ds) == 24
    with pytest.raises(TableError, match="is a folder"):
        CollabDataLoaders.from_csv(tmp_path)
    with pytest.raises(TableError, match="no such encoding"):
        CollabDataLoaders.from_csv(file, encoding="latn")
    table().to_csv(file, index=False, sep=";")
    with pytest.raises(TableError, match="separator seems to be"):
        CollabDataLoaders.from_csv(file)
    file.write_text("user,title,rating,rating\n1,a,3,4\n2,b,4,5\n")
    with pytest.raises(TableError, match="several columns of one name: 'rating'"):
        CollabDataLoaders.from_csv(file)
    with pytest.raises(UnknownNameError, match="max_n"):
        dls.show_batch(max=3)
