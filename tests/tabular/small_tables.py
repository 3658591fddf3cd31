"""Small tables that the tests share."""

from __future__ import annotations

from typing import Any

import pandas as pd

from flambeau.tabular.procs import Categorify, FillMissing, Normalize
from flambeau.tabular.tabular_pandas import TabularPandas

PROCS = [Categorify, FillMissing, Normalize]


def people(n: int = 12) -> pd.DataFrame:
    """Return people whose answer is "yes" in the older half (over 30 of twelve people)."""
    ages = [20.0 + 2 * place for place in range(n)]
    return pd.DataFrame(
        {
            "age": [None if place == 3 else age for place, age in enumerate(ages)],
            "height": [150 + place for place in range(n)],
            "city": ["Lyon", "Bern", "Oslo"] * (n // 3),
            "answer": ["yes" if age > 18 + n else "no" for age in ages],
        }
    )


def cleaned(frame: Any = None, y: Any = "answer", **options: Any) -> TabularPandas:
    """Return the people's table, processed; the last three rows validate."""
    frame = people() if frame is None else frame
    settings = {"procs": PROCS, "splits": [list(range(len(frame) - 3)), list(range(len(frame) - 3, len(frame)))]}
    names = {"cat_names": ["city"], "cont_names": ["age", "height"]}
    return TabularPandas(frame, y_names=y, **{**settings, **names, **options})
