"""Asking a model about rows as they might be: after reading it you know how a column is changed and its effect scored.

These work with every learner of a table, nets as well as trees.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from flambeau.foundation.errors import ArgumentError, unknown_name
from flambeau.tabular.dataset import TableDataset
from flambeau.train.learner import Learner
from flambeau.train.monitor import smaller_is_better

ROWS_AT_ONCE = 65_536


def rows_of(learn: Learner, ds_idx: int) -> TableDataset:
    """Return the rows of one of a learner's loaders.

    Raises:
        ArgumentError: there is no such loader, it has no rows, or they are none of a table.
    """
    if ds_idx == 1 and len(learn.dls) == 1:
        raise ArgumentError(
            "There are no validation rows: give the loaders a split, or ask the training rows by ds_idx=0, which a "
            "model knows better than others."
        )
    if not -len(learn.dls) <= ds_idx < len(learn.dls):
        raise ArgumentError(f"There are {len(learn.dls)} loaders, numbered from 0; ds_idx={ds_idx} is none of them.")
    dataset = getattr(learn.dls[ds_idx], "dataset", None)
    if not isinstance(dataset, TableDataset):
        raise ArgumentError("The learner is none of a table: make it with tree_learner or tabular_learner.")
    if len(dataset) == 0:
        raise ArgumentError(
            "A loaded learner has no rows of its own. Give it some: learn.dls = the loaders that it was trained with."
        )
    return dataset


def drawn_rows(learn: Learner) -> tuple[Tensor, ...]:
    """Return the training rows as the loader draws them: all of them, or those of its order, such as a bootstrap."""
    tensors, loader = rows_of(learn, 0).tensors, learn.dls.train
    if loader.order is None:
        return tensors
    places = torch.tensor(list(loader.get_idxs()), dtype=torch.long)
    return tuple(tensor[places] for tensor in tensors)


def column_names(dataset: TableDataset) -> list[Any]:
    """Return the columns of a table's inputs: categories, then numbers."""
    return [*dataset.cat_names, *dataset.cont_names]


def place_of(dataset: TableDataset, name: Any) -> tuple[int, int]:
    """Return which tensor holds a column (0 categories, 1 numbers), and its place there.

    Raises:
        UnknownNameError: there is no such column among the inputs; the nearest are proposed.
    """
    for which, names in enumerate((dataset.cat_names, dataset.cont_names)):
        if name in names:
            return which, names.index(name)
    raise unknown_name("column among the inputs", name, map(str, column_names(dataset)))


def with_column(dataset: TableDataset, name: Any, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return a table's categories and numbers with other values in one column."""
    which, place = place_of(dataset, name)
    cats, conts = dataset.tensors[:2]
    changed = (cats, conts)[which].clone()
    changed[:, place] = values.to(changed.dtype)
    return (changed, conts) if which == 0 else (cats, changed)


@torch.no_grad()
def raw_outputs(learn: Learner, model: nn.Module, cats: Tensor, conts: Tensor) -> Tensor:
    """Return what a model answers for rows (rows, outputs), before the activation, on the CPU."""
    was_training = model.training
    model.eval()
    try:
        parts = zip(cats.split(ROWS_AT_ONCE), conts.split(ROWS_AT_ONCE), strict=True)
        return torch.cat([model(*(t.to(learn.device) for t in part)).float().cpu() for part in parts])
    finally:
        model.train(was_training)


def scored(learn: Learner, raw: Tensor, target: Tensor, metric: str | None) -> float:
    """Return the loss of answers, or one of the learner's metrics by name; more is better in neither case."""
    raw, target = raw.to(learn.device), target.to(learn.device)
    if metric is None:
        with torch.no_grad():
            return float(learn.loss_func(raw, target))
    chosen = {one.name: one for one in learn.metrics}.get(metric)
    if chosen is None:
        raise unknown_name("metric of the learner", metric, [one.name for one in learn.metrics])
    chosen.reset()
    chosen.update(raw, target)
    value = float(chosen.compute())
    chosen.reset()
    return value if smaller_is_better(metric) else -value
