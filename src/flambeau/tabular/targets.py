"""What is to be predicted: after reading it you know when a column of numbers is a set of classes.

The rule, told in a printed line and overridden by `y_block`: words, truths and categories are classes; whole numbers
that are 0 and 1 only are classes; other numbers are numbers. Several columns of zeros and ones, or truths, are labels
of which any may apply; several columns of numbers are predicted together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.data.block import TransformBlock
from flambeau.data.categorize import Categorize, EncodedMultiCategorize, MultiCategorize, RegressionSetup
from flambeau.data.kinds import Kind
from flambeau.data.transform import Transform
from flambeau.foundation.errors import ArgumentError, LabelError
from flambeau.tabular.table import as_numbers, is_empty_cell, plain

FEW_VALUES = 10


@dataclass
class Target:
    """How the target columns are encoded, and the line that tells so."""

    transform: Transform
    line: str

    @property
    def kind(self) -> Kind:
        """The kind of an encoded target."""
        kind = self.transform.kind
        assert kind is not None
        return kind


def choose_target(frame: Any, names: Sequence[Any], y_block: Any, train: Any) -> Target:
    """Return how the columns `names` are predicted: as `y_block` says, else by the rule above.

    Raises:
        LabelError: a target is missing. ArgumentError: the columns do not go together.
    """
    for name in names:
        _require_all(frame[name], name)
    block = y_block() if callable(y_block) and not isinstance(y_block, TransformBlock) else y_block
    asked = None if block is None else type(block.type_tfms[0]) if block.type_tfms else None
    shown = ", ".join(map(str, names))
    if asked is None:
        asked = _by_rule(frame, names)
    if asked is RegressionSetup:
        hint = "; for classes pass y_block=CategoryBlock()" if block is None and _may_be_classes(frame, names) else ""
        what = "a number" if len(names) == 1 else "numbers"
        return Target(RegressionSetup(len(names)), f"Target {shown}: {what}{hint}")
    if asked in (EncodedMultiCategorize, MultiCategorize):
        if len(names) < 2:
            raise ArgumentError("Many labels a row come as several columns of 0 and 1: y_names=[...].")
        return Target(EncodedMultiCategorize(list(names)), f"Target {shown}: labels, any number of them")
    if asked is not Categorize or len(names) > 1:
        raise ArgumentError(
            f"The targets {shown} cannot be predicted together: give columns of numbers, or columns of 0 and 1, or one "
            "column of classes."
        )
    given = None if block is None else block.type_tfms[0].vocab
    vocab = list(given) if given is not None else _classes(frame[names[0]].iloc[train])
    made = Categorize(vocab, sort=False)
    if len(vocab) < 2:
        raise LabelError(
            f"All {len(train)} training rows have one class of {names[0]!r}, {vocab[0]!r}; a classifier needs at least "
            "two. Look at the target, and at the split."
        )
    few = ", ".join(map(str, vocab[:5])) + (", ..." if len(vocab) > 5 else "")
    numeric = all(isinstance(level, int | float) and not isinstance(level, bool) for level in vocab)
    hint = "; for a number pass y_block=RegressionBlock()" if numeric and block is None else ""
    return Target(made, f"Target {shown}: {len(vocab)} classes ({few}){hint}")


def _by_rule(frame: Any, names: Sequence[Any]) -> type[Transform]:
    numeric = [_is_number(frame[name]) for name in names]
    binary = [_is_binary(frame[name]) for name in names]
    if len(names) == 1:
        return Categorize if not numeric[0] or binary[0] else RegressionSetup
    return EncodedMultiCategorize if all(binary) else RegressionSetup if all(numeric) else Categorize


def _is_number(column: Any) -> bool:
    return getattr(column.dtype, "kind", "O") in "fiu"


def _is_binary(column: Any) -> bool:
    """Whether a column holds truths, or whole numbers that are 0 and 1 only."""
    kind = getattr(column.dtype, "kind", "O")
    return kind == "b" or (kind in "iu" and set(np.unique(column.to_numpy()).tolist()) <= {0, 1})


def _may_be_classes(frame: Any, names: Sequence[Any]) -> bool:
    """Whether a target of numbers has so few values, all whole, that they may be the numbers of classes."""
    values = frame[names[0]].unique()
    return len(names) == 1 and len(values) <= FEW_VALUES and all(float(value).is_integer() for value in values)


def _require_all(column: Any, name: Any) -> None:
    gaps = np.flatnonzero(column.isna().to_numpy())
    if len(gaps):
        raise LabelError(
            f"The target {name!r} is missing in {len(gaps)} of {len(column)} rows, the first at row "
            f"{column.index[gaps[0]]}. Drop them: df = df.dropna(subset=[{name!r}])."
        )


def _classes(column: Any) -> list[Any]:
    if hasattr(column, "cat"):
        present = set(column.unique())
        return [plain(level) for level in column.cat.categories if level in present]
    found = {plain(value) for value in column.unique() if not is_empty_cell(value)}
    try:
        return sorted(found)
    except TypeError:
        return sorted(found, key=str)


def encode_target(frame: Any, names: Sequence[Any], transform: Transform, splits: Sequence[Sequence[int]]) -> Tensor:
    """Return the target of every row: classes int64 (n,), numbers float32 (n, columns), labels float32 (n, columns).

    Raises:
        LabelError: a class that training does not have, or a number that is missing or infinite; with its row.
    """
    if isinstance(transform, Categorize):
        assert transform.vocab is not None
        places = {plain(level): place for place, level in enumerate(transform.vocab)}
        import pandas as pd

        codes, values = pd.factorize(frame[names[0]])
        numbers = np.array([-1 if is_empty_cell(v) else places.get(plain(v), -1) for v in values] + [-1])[codes]
        wrong = np.flatnonzero(numbers < 0)
        if len(wrong):
            value = frame[names[0]].iloc[wrong[0]]
            raise LabelError(
                f"The target {names[0]!r} holds {value!r} at row {frame.index[wrong[0]]} ({len(wrong)} such rows), "
                f"which is no class of the training rows: {', '.join(map(str, list(places)[:10]))}."
            )
        return torch.from_numpy(numbers.astype(np.int64))
    columns = []
    for name in names:
        values = as_numbers(frame[name], name, lambda place: f"row {frame.index[place]}")
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise LabelError(
                f"The target {name!r} holds {values[wrong[0]]} at row {frame.index[wrong[0]]} ({len(wrong)} such "
                "rows). Drop such rows."
            )
        columns.append(values.astype(np.float32))
    return torch.from_numpy(np.stack(columns, 1))
