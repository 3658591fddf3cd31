"""How answers are told: after reading it you know what a label looks like in a terminal, and where rows are written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from flambeau.train.predictor import Prediction

FEW_ROWS = 10


def answer_words(label: Any) -> str:
    """Return an answer as text: many labels joined by semicolons, numbers to four digits."""
    if isinstance(label, list):
        return ";".join(answer_words(part) for part in label)
    return f"{label:.4g}" if isinstance(label, float) else str(label)


def likeliest(answer: Prediction, top: int) -> str:
    """Return an answer's `top` classes with their probabilities as text, or the answer itself where it has none."""
    best = sorted(answer.probabilities.items(), key=lambda pair: -pair[1])[:top]
    return "  ".join(f"{name} {probability:.1%}" for name, probability in best) or answer_words(answer.label)


def print_or_write(table: pd.DataFrame, csv: Path | None, most_letters: int | None = None) -> None:
    """Write answered rows to `csv`, or print the first ones where there is none."""
    from flambeau.foundation.paths import atomic_write

    if csv is None:
        print(table.head(FEW_ROWS).to_string(index=False, max_colwidth=most_letters))
        if len(table) > FEW_ROWS:
            print(f"... and {len(table) - FEW_ROWS} more rows; --csv ANSWERS.csv writes all of them")
        return
    with atomic_write(csv, "w") as file_of_answers:
        table.to_csv(file_of_answers, index=False)
    print(f"Wrote {csv} ({len(table)} rows)")
