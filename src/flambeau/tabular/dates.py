"""Dates as columns: after reading it you know what a date tells a model: weekday, month, how long since an event."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.data.tables import require_columns
from flambeau.foundation.errors import TableError
from flambeau.foundation.lists import listify
from flambeau.tabular.table import as_frame, as_numbers

if TYPE_CHECKING:
    import pandas as pd

PARTS = (
    "Year", "Month", "Week", "Day", "Dayofweek", "Dayofyear", "Is_month_end", "Is_month_start", "Is_quarter_end",
    "Is_quarter_start", "Is_year_end", "Is_year_start",
)  # fmt: skip
TIME_PARTS = ("Hour", "Minute", "Second")


def make_date(df: Any, date_field: Any) -> pd.DataFrame:
    """Return the table with a column read as dates.

    Raises:
        TableError: a cell is no date; with its row.
    """
    frame = as_frame(df)
    require_columns([date_field], list(frame.columns))
    return _with(frame, {date_field: _as_dates(frame[date_field], date_field)})


def _with(frame: pd.DataFrame, columns: dict[Any, Any]) -> pd.DataFrame:
    """Return the frame with further columns, or others, of any names: `assign` takes only words."""
    import pandas as pd

    made = pd.DataFrame(columns, index=frame.index)
    rest = frame.drop(columns=[name for name in columns if name in frame.columns])
    order = [*frame.columns, *(name for name in columns if name not in frame.columns)]
    # in one go: a frame that grows column by column is copied each time
    return pd.concat([rest, made], axis=1)[order]


def _as_dates(column: Any, name: Any) -> Any:
    import pandas as pd

    kind = getattr(column.dtype, "kind", "O")
    if kind == "M":
        return column
    if kind in "iufb" and column.notna().any():  # pandas would take them as billionths of seconds since 1970
        first = column.dropna().iloc[0]
        raise TableError(
            f"Column {name!r} holds numbers ({first} ...), which are no dates until it is said what they count: "
            f"pd.to_datetime(df[{name!r}], format='%Y%m%d') for 20201231, or unit='s' for seconds since 1970."
        )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "In a future version of pandas, parsing datetimes with mixed")
            dates = pd.to_datetime(column, errors="coerce")
    except (TypeError, ValueError, FutureWarning) as error:
        several = "mixed time" in str(error).lower()
        cure = f" Bring them to one zone: pd.to_datetime(df[{name!r}], utc=True)." if several else ""
        raise TableError(f"Column {name!r} cannot be read as dates: {str(error).split('.')[0]}.{cure}") from error
    wrong = np.flatnonzero((dates.isna() & column.notna()).to_numpy())
    if len(wrong):
        raise TableError(
            f"Column {name!r} holds {column.iloc[wrong[0]]!r} at row {column.index[wrong[0]]}, which is no date "
            f"({len(wrong)} such cells). Name the form: pd.to_datetime(df[{name!r}], format='%d/%m/%Y')."
        )
    return dates


def add_datepart(
    df: Any, field_name: Any, prefix: str | None = None, drop: bool = True, time: bool = False
) -> pd.DataFrame:
    """Return the table with the parts of a date as columns: Year, Month, Week, ..., Is_year_start, and Elapsed.

    They are named by `prefix` (the column's name without "date" at its end, if None). `Elapsed` counts seconds since
    1970, empty where the date is. `time` adds Hour, Minute and Second; `drop` leaves the date itself out. The frame
    given is not changed: write `df = add_datepart(df, "saledate")`.

    Raises:
        TableError: there is no such column, or a cell is no date; with its row.
    """
    frame = make_date(df, field_name)
    dates = frame[field_name]
    prefix = re.sub("[Dd]ate$", "", str(field_name)) if prefix is None else prefix
    made: dict[str, Any] = {}
    for part in (*PARTS, *(TIME_PARTS if time else ())):
        if part == "Week":
            weeks = dates.dt.isocalendar().week
            made[prefix + part] = weeks.astype("float64") if weeks.isna().any() else weeks.astype(np.int64)
        else:
            made[prefix + part] = getattr(dates.dt, part.lower().replace("dayof", "day_of_"))
    naive = dates.dt.tz_convert(None) if dates.dt.tz is not None else dates
    seconds = naive.to_numpy(dtype="datetime64[s]").astype(np.int64)
    made[prefix + "Elapsed"] = np.where(dates.isna(), np.nan, seconds) if dates.isna().any() else seconds
    frame = _with(frame, made)
    return frame.drop(columns=[field_name]) if drop else frame


def add_elapsed_times(df: Any, field_names: Any, date_field: Any, base_field: Any) -> pd.DataFrame:
    """Return the table with days since and until events, and counts of them in the weeks around.

    `field_names` are columns of truths, events such as a promotion; `base_field` says whose (the store). For each event
    come `After<name>` (days since the last one, 0 before the first), `Before<name>` (days until the next, negative),
    and `<name>_bw`, `<name>_fw`: how many within the 7 rows of this base up to, and from, this one. Rows stay in order.

    Raises:
        TableError: a column or a date is missing, a cell is no date, or an event is no number or truth.
    """
    import pandas as pd

    names = listify(field_names)
    frame = make_date(df, date_field)
    require_columns([*names, base_field], list(frame.columns))
    gaps = np.flatnonzero((frame[date_field].isna() | frame[base_field].isna()).to_numpy())
    if len(gaps):
        raise TableError(
            f"Row {frame.index[gaps[0]]} lacks {date_field!r} or {base_field!r} ({len(gaps)} such rows), so it has no "
            f"place in time. Drop them: df = df.dropna(subset=[{date_field!r}, {base_field!r}])."
        )
    order = np.lexsort((frame[date_field].to_numpy(), np.unique(frame[base_field].to_numpy(), return_inverse=True)[1]))
    ordered = frame.iloc[order]
    groups = ordered[base_field].to_numpy()
    days = ordered[date_field].to_numpy(dtype="datetime64[D]").astype(np.int64)
    made: dict[str, Any] = {}
    for name in names:
        values = np.nan_to_num(as_numbers(ordered[name], name, lambda place: f"row {ordered.index[place]}"))
        events = values != 0
        made[f"After{name}"] = _days_since(days, events, groups)
        made[f"Before{name}"] = -_days_since(-days[::-1], events[::-1], groups[::-1])[::-1]
        counted = pd.Series(values)
        made[f"{name}_bw"] = counted.groupby(groups).transform(_week_sum).to_numpy()
        made[f"{name}_fw"] = counted[::-1].groupby(groups[::-1]).transform(_week_sum)[::-1].to_numpy()
    back = np.argsort(order)
    return _with(frame, {name: values[back] for name, values in made.items()})


def _week_sum(values: Any) -> Any:
    return values.rolling(7, min_periods=1).sum()


def _days_since(days: Any, events: Any, groups: Sequence[Any]) -> Any:
    """Return the days since the last event of each row's group, 0 where there was none; rows come in order of days."""
    places = np.arange(len(days))
    starts = np.concatenate([[True], np.asarray(groups[1:] != groups[:-1])]) if len(days) else np.empty(0, bool)
    last = np.maximum.accumulate(np.where(events, places, -1))
    first = np.maximum.accumulate(np.where(starts, places, 0))
    return np.where(last >= first, days - days[np.maximum(last, 0)], 0)
