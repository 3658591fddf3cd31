"""What a look at the columns tells: after reading it you know from which columns a model learns nothing, or by heart.

None of it is an error, so it is printed where a table is set up; the rules look at the training rows alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from flambeau.tabular.procs import Categorify

if TYPE_CHECKING:
    from flambeau.tabular.dataset import TableDataset

MANY_LEVELS = 20  # what cont_cat_split takes as many, too
MOSTLY = 0.9


def remarks(dataset: TableDataset) -> list[str]:
    """Return a line for each thing about a table that its owner would want to know before training."""
    train = torch.as_tensor(np.asarray(dataset.splits[0], dtype=np.int64))
    said = [_on_overlap(dataset.splits)]
    for names, tensor in zip((dataset.cat_names, dataset.cont_names), dataset.tensors[:2], strict=True):
        columns = [tensor[:, place][train] for place in range(tensor.shape[1])]
        constant = [str(name) for name, column in zip(names, columns, strict=True) if column.min() == column.max()]
        if constant:
            is_are = "is" if len(constant) == 1 else "are"
            said.append(f"{', '.join(constant)} {is_are} the same in all training rows: nothing to learn from.")
    levels = next((proc.levels for proc in dataset.procs if isinstance(proc, Categorify)), {})
    for place, name in enumerate(dataset.cat_names):
        n_filled = int((dataset.tensors[0][:, place][train] > 0).sum()) if len(levels.get(name, ())) else 0
        said.append(_on_levels(name, levels.get(name, ()), n_filled))
    return [line for line in said if line]


def _on_overlap(splits: Sequence[Any]) -> str:
    both = len(np.intersect1d(np.asarray(splits[0]), np.asarray(splits[1]))) if len(splits) > 1 else 0
    return f"{both} rows both train and validate: what is learnt by heart will look as if understood." if both else ""


def _on_levels(name: Any, levels: Sequence[Any], n_filled: int) -> str:
    n_words = sum(isinstance(level, str) for level in levels)
    if 0 < n_words < len(levels):
        word = next(level for level in levels if isinstance(level, str))
        other = next(level for level in levels if not isinstance(level, str))
        return f"Column {name!r} mixes words and numbers ({word!r}, {other!r}), which are levels of their own."
    if len(levels) <= MANY_LEVELS:
        return ""
    as_numbers = f"pd.to_numeric(df[{name!r}], errors='coerce')"
    share = sum(_is_written_number(level) for level in levels) / len(levels)
    one_a_row = len(levels) > n_filled / 2
    if share >= MOSTLY and n_words and (one_a_row or share < 1):
        odd = next((f", but also {level!r}" for level in levels if not _is_written_number(level)), "")
        number = next(level for level in levels if _is_written_number(level))
        told = f"Column {name!r} holds numbers written as words ({number!r}{odd})."
        return f"{told} To use them as numbers: {as_numbers}."
    if one_a_row:
        return (
            f"Column {name!r} has {len(levels)} levels in {n_filled} rows, nearly one a row: a net can only learn them "
            "by heart. Leave it out, or make columns of what it says."
        )
    return ""


def _is_written_number(level: Any) -> bool:
    try:
        float(level)
    except ValueError:
        return False
    return True
