"""Dates: their parts, and days since and until events."""

from __future__ import annotations

import pandas as pd
import pytest

from flambeau.foundation.errors import TableError
from flambeau.tabular.columns import cont_cat_split, df_shrink
from flambeau.tabular.dates import add_datepart, add_elapsed_times, make_date


def test_a_date_has_thirteen_parts() -> None:
    frame = pd.DataFrame({"saledate": ["2020-12-31", "2021-02-03"], "n": [1, 2]})
    parts = add_datepart(frame, "saledate")
    assert parts.iloc[0].to_dict() == {
        "n": 1, "saleYear": 2020, "saleMonth": 12, "saleWeek": 53, "saleDay": 31, "saleDayofweek": 3,
        "saleDayofyear": 366, "saleIs_month_end": True, "saleIs_month_start": False, "saleIs_quarter_end": True,
        "saleIs_quarter_start": False, "saleIs_year_end": True, "saleIs_year_start": False, "saleElapsed": 1609372800,
    }  # fmt: skip
    assert frame.columns.tolist() == ["saledate", "n"]


def test_a_missing_date_leaves_its_parts_empty_and_times_can_be_asked_for() -> None:
    frame = pd.DataFrame({"when": pd.to_datetime(["2020-01-01 10:20:30", None])})
    parts = add_datepart(frame, "when", prefix="", drop=False, time=True)
    assert parts[["Hour", "Minute", "Second"]].iloc[0].tolist() == [10, 20, 30]
    assert parts[["Year", "Week", "Elapsed"]].iloc[1].isna().all()


def test_a_cell_that_is_no_date_is_told_with_its_row() -> None:
    with pytest.raises(TableError, match=r"'d' holds 'soon' at row 1, which is no date"):
        make_date({"d": ["2020-01-01", "soon"]}, "d")
    with pytest.raises(TableError, match="lacks the column 'dat'"):
        add_datepart({"date": ["2020-01-01"]}, "dat")


def test_days_since_and_until_an_event_stay_within_a_store() -> None:
    days = pd.to_datetime(["2020-01-03", "2020-01-01", "2020-01-02", "2020-01-01", "2020-01-05"])
    frame = pd.DataFrame({"day": days, "store": [1, 1, 1, 2, 2], "promo": [0, 1, 0, 0, 1]})
    found = add_elapsed_times(frame, ["promo"], "day", "store")
    assert found["Afterpromo"].tolist() == [2, 0, 1, 0, 0]
    assert found["Beforepromo"].tolist() == [0, 0, 0, -4, 0]
    assert found["promo_bw"].tolist() == [1, 1, 1, 0, 1]
    assert found["promo_fw"].tolist() == [0, 1, 0, 1, 1]


def test_columns_are_numbers_or_categories() -> None:
    frame = pd.DataFrame(
        {"f": [0.5, 1.5, 2.5], "many": [1, 2, 3], "few": [1, 1, 2], "word": list("abc"), "y": [0, 1, 0]}
    )
    assert cont_cat_split(frame, max_card=2, dep_var="y") == (["f", "many"], ["few", "word"])


def test_a_frame_shrinks_without_losing_a_value() -> None:
    frame = pd.DataFrame({"a": [1, 200], "b": [-1, 40000], "c": [0.5, 1.5], "w": ["x", "y"]})
    small = df_shrink(frame, int2uint=True)
    assert [str(dtype) for dtype in small.dtypes] == ["uint8", "int32", "float32", "category"]
    assert small["b"].tolist() == [-1, 40000]
    assert [str(dtype) for dtype in df_shrink(frame, skip="a", obj2cat=False).dtypes[:1]] == ["int64"]


@pytest.mark.parametrize(
    ("days", "words"),
    [
        ([20200101, 20200102], r"holds numbers \(20200101 ...\).*format='%Y%m%d'"),
        (["2020-01-01T00:00:00+01:00", "2020-07-01T00:00:00+02:00"], "one zone: .*utc=True"),
    ],
)
def test_numbers_and_several_zones_are_no_dates(days: list[object], words: str) -> None:
    with pytest.raises(TableError, match=words):
        add_datepart({"d": days}, "d")


def test_a_column_of_dates_may_have_a_number_as_its_name() -> None:
    assert add_datepart(pd.DataFrame({3: ["2020-01-02"]}), 3)["3Day"].tolist() == [2]


@pytest.mark.parametrize(
    ("event", "day", "words"),
    [("0", "2020-01-01", "'promo' .* holds '0' at row 0"), (0, None, "Row 0 lacks 'day' or 'store' .1 such rows")],
)
def test_events_are_numbers_and_have_a_day(event: object, day: object, words: str) -> None:
    frame = pd.DataFrame({"day": pd.to_datetime([day, "2020-01-02"]), "store": [1, 1], "promo": [event, 1]})
    with pytest.raises(TableError, match=words):
        add_elapsed_times(frame, ["promo"], "day", "store")
