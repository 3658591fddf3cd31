"""What a look at the columns tells: after reading it you know from which columns a model learns nothing, or by heart.

None of it is an error, so it is printed where a table is set up; the rules look at the training rows alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from flambeau.tabular.procs import Categorify

if TYPE_CHECKING:
    from flambeau.tabular.dataset import TableDataset

MANY_LEVELS = 20  # what cont_cat_split takes as many, too
MOSTLY = 0.9


def remarks(dataset: TableDataset) -> list[str]:
    """Return a line for each thing about a table that its owner would want to know before training."""
    train, valid = (torch.as_tensor(np.asarray(half, dtype=np.int64)) for half in dataset.splits[:2])
    cats, conts = (tensor.index_select(0, train) for tensor in dataset.tensors[:2])
    said = [_on_overlap(train, valid, len(dataset.tensors[0]))]
    for names, rows in ((dataset.cat_names, cats), (dataset.cont_names, conts)):
        same = (rows == rows[0]).all(0).tolist()
        constant = [str(name) for name, is_same in zip(names, same, strict=True) if is_same]
        if constant:
            is_are = "is" if len(constant) == 1 else "are"
            said.append(f"{', '.join(constant)} {is_are} the same in all training rows: nothing to learn from.")
    levels = next((proc.levels for proc in dataset.procs if isinstance(proc, Categorify)), {})
    for place, name in enumerate(dataset.cat_names):
        known = levels.get(name, ())
        # few levels cannot be nearly one a row
        n_filled = int((cats[:, place] > 0).sum()) if len(known) > MANY_LEVELS else 0
        said.append(_on_levels(name, known, n_filled))
    return [line for line in said if line]


def _on_overlap(train: Tensor, valid: Tensor, n: int) -> str:
    trains = torch.zeros(n, dtype=torch.bool)
    trains[train] = True
    both = int(trains[valid].sum())
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
            f"Column {name!r} has {len(levels)} levels in {n_filled} rows, nearly one a row: a model can only learn "
            "them by heart. Leave it out, or make columns of what it says."
        )
    return ""


def _is_written_number(level: Any) -> bool:
    try:
        float(level)
    except ValueError:
        return False
    return True
