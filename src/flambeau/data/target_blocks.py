"""What labels are: after reading it you know how a table's label columns become classes, many labels or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.data.block import CategoryBlock, MultiCategoryBlock, RegressionBlock, TransformBlock
from flambeau.data.labels import is_missing
from flambeau.data.tables import table_column
from flambeau.foundation.errors import ArgumentError


def target_block(df: Any, label_cols: Sequence[Any], label_delim: str | None, y_block: Any) -> Any:
    """Return the block of a table's labels: `y_block` where one is given, else what the cells tell.

    Text and whole numbers are classes and floats a regression; several columns are one class each where they hold 0 and
    1, else a regression; with `label_delim` a cell holds many labels.

    Raises:
        TableError: a column is missing. ArgumentError: several columns hold text.
    """
    if y_block is not None:
        return y_block
    if label_delim is not None:
        return MultiCategoryBlock()
    if len(label_cols) > 1:
        return _block_for_columns([table_column(df, name) for name in label_cols])
    return block_for_values(table_column(df, label_cols[0]).tolist())


def _block_for_columns(columns: Sequence[Any]) -> TransformBlock:
    """Return the block of several label columns: one a class where they hold 0 and 1, else numbers to predict.

    Raises:
        ArgumentError: they hold text.
    """
    names = [str(column.name) for column in columns]
    cells = [value for column in columns for value in column.dropna().tolist()]
    if all(isinstance(cell, int | float) and cell in (0, 1) for cell in cells):
        print(f"The columns {', '.join(names)} hold 0 and 1: each is a class that an item has or has not.")
        return MultiCategoryBlock(encoded=True, vocab=names)
    if all(isinstance(cell, int | float) for cell in cells):
        print(f"The columns {', '.join(names)} hold numbers: they are what is to be predicted (RegressionBlock).")
        return RegressionBlock(len(names))
    example = next(cell for cell in cells if not isinstance(cell, int | float))
    raise ArgumentError(
        f"The label columns {', '.join(map(repr, names))} hold text, such as {example!r}, and several columns are "
        "classes only as 0 and 1. For one class an item name one column, or join them: df['label'] = "
        f"df[{names[0]!r}] + '_' + df[{names[1]!r}]. For a class of each column write the recipe out: DataBlock("
        f"blocks=(...{', CategoryBlock' * len(names)}), n_inp=1, get_x=..., get_y=[ColReader({names[0]!r}), "
        "...])."
    )


def block_for_values(values: list[Any]) -> TransformBlock:
    """Return the block of labels in a list: lists are many labels an item, floats a regression, all else classes."""
    first = next((value for value in values if not is_missing(value)), None)
    if isinstance(first, list | tuple | set):
        return MultiCategoryBlock()
    if isinstance(first, float | np.floating):
        print(f"The labels are measured numbers, such as {first:g}: RegressionBlock (for classes: CategoryBlock).")
        return RegressionBlock()
    return CategoryBlock()
