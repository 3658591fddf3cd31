"""Columns at a glance: after reading it you know which are categories, and how a table takes less memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.data.tables import require_columns
from flambeau.foundation.lists import listify
from flambeau.tabular.table import as_frame

if TYPE_CHECKING:
    import pandas as pd


def cont_cat_split(df: Any, max_card: int = 20, dep_var: Any = None) -> tuple[list[Any], list[Any]]:
    """Return the columns that are numbers and those that are categories, without the target `dep_var`.

    Floats are numbers; so are whole numbers with more than `max_card` different values; all else is a category.

    Raises:
        TableError: `dep_var` is no column.
    """
    frame = as_frame(df)
    targets = listify(dep_var)
    require_columns(targets, list(frame.columns))
    conts: list[Any] = []
    cats: list[Any] = []
    for name in frame.columns:
        if name in targets:
            continue
        kind = getattr(frame[name].dtype, "kind", "O")
        is_number = kind == "f" or (kind in "iu" and frame[name].nunique() > max_card)
        (conts if is_number else cats).append(name)
    return conts, cats


def df_shrink(
    df: Any, skip: Any = (), obj2cat: bool = True, int2uint: bool = False, *, float2float32: bool = True
) -> pd.DataFrame:
    """Return a frame that takes less memory: the smallest whole numbers that hold the values, 32-bit floats.

    `obj2cat` makes categories of columns of words, `int2uint` uses unsigned numbers where none is below 0; columns in
    `skip` stay. The frame given is not changed.
    """
    frame = as_frame(df)
    return frame.astype(df_shrink_dtypes(frame, skip, obj2cat, int2uint, float2float32=float2float32))


def df_shrink_dtypes(
    df: Any, skip: Any = (), obj2cat: bool = True, int2uint: bool = False, *, float2float32: bool = True
) -> dict[Any, Any]:
    """Return the types by column that `df_shrink` gives; columns that stay are not among them."""
    frame = as_frame(df)
    kept = set(listify(skip))
    found: dict[Any, Any] = {}
    for name in frame.columns:
        dtype = frame[name].dtype
        if name in kept:
            continue
        if isinstance(dtype, np.dtype) and dtype.kind in "iu" and len(frame):
            low, high = frame[name].min(), frame[name].max()
            kinds: tuple[type[np.integer[Any]], ...] = (np.int8, np.int16, np.int32, np.int64)
            if low >= 0 and (int2uint or dtype.kind == "u"):
                kinds = (np.uint8, np.uint16, np.uint32, np.uint64)
            fitting = (k for k in kinds if np.iinfo(k).min <= low and high <= np.iinfo(k).max)
            found[name] = np.dtype(next(fitting, dtype))
        elif isinstance(dtype, np.dtype) and dtype.kind == "f" and float2float32 and dtype.itemsize > 4:
            found[name] = np.dtype(np.float32)
        elif obj2cat and (str(dtype) in ("object", "str", "string")):
            found[name] = "category"
    return found
