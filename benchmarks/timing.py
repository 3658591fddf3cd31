"""Timing two ways of doing the same work in one run: after reading it you know how the ratios come about.

Both sides run alternately in one process, each several times; the medians are compared, so that a busy moment of the
machine falls on both.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Row:
    """One workload: seconds of each side, and the ratio to the hand-written one that is aimed at."""

    name: str
    seconds: dict[str, float]
    spread: dict[str, tuple[float, float]]
    aim: str

    def ratio(self, side: str) -> float:
        """Return how many times as long as the bare side this one took."""
        return self.seconds[side] / self.seconds["bare"]


def compare(name: str, aim: str, repeats: int = 5, **sides: Callable[[], object]) -> Row:
    """Run each side once to warm up and `repeats` times in turn; return the medians."""
    taken: dict[str, list[float]] = {side: [] for side in sides}
    for side in sides.values():
        side()
    for _ in range(repeats):
        for label, side in sides.items():
            gc.collect()
            start = time.perf_counter()
            side()
            taken[label].append(time.perf_counter() - start)
    row = Row(
        name,
        {label: statistics.median(times) for label, times in taken.items()},
        {label: (min(times), max(times)) for label, times in taken.items()},
        aim,
    )
    print(line(row), flush=True)
    return row


def line(row: Row) -> str:
    """Return a row of the table: seconds, ratio to bare, ratio of fastai to flambeau where it was measured."""
    cells = [f"{row.name:32}", *(f"{label} {seconds * 1e3:9.2f} ms" for label, seconds in row.seconds.items())]
    cells.append(f"flambeau/bare {row.ratio('flambeau'):.2f} (aim {row.aim})")
    if "fastai" in row.seconds:
        cells.append(f"fastai/flambeau {row.seconds['fastai'] / row.seconds['flambeau']:.1f}")
    return "  ".join(cells)


def has_fastai() -> bool:
    """Return whether fastai is installed beside flambeau; it is measured only then."""
    import importlib.util

    return importlib.util.find_spec("fastai") is not None
