"""Small learners for the tests: a line to fit, and classes of points, both as plain lists of batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from flambeau.data.block import CategoryBlock, DataBlock, TransformBlock
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.splitters import IndexSplitter
from flambeau.train.learner import Learner


def line_batches(n_batches: int = 4, bs: int = 4, seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return batches of points on y = 2x + 1."""
    generator = torch.Generator().manual_seed(seed)
    xs = [torch.randn(bs, 1, generator=generator) for _ in range(n_batches)]
    return [(x, 2 * x + 1) for x in xs]


def line_learner(n_train: int = 4, n_valid: int = 2, **options: Any) -> Learner:
    """Return a learner of a line, with `n_train` and `n_valid` batches of 4; `n_valid` 0: no validation loader."""
    torch.manual_seed(0)
    loaders = [line_batches(n_train)] + ([line_batches(n_valid, seed=1)] if n_valid else [])
    settings: dict[str, Any] = {"loss_func": nn.functional.mse_loss, **options}
    return Learner(DataLoaders(*loaders, device="cpu"), nn.Linear(1, 1), **settings)


def sign_items(n: int = 24) -> list[tuple[list[float], str]]:
    """Return items of two numbers and the name of the sign of the first."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(n, 2, generator=generator)
    return [(point.tolist(), "plus" if point[0] > 0 else "minus") for point in points]


def sign_loaders(n: int = 24, **options: Any) -> DataLoaders:
    """Return loaders of `sign_items`, made by a block whose label function is a lambda; the last third validates."""
    block = DataBlock(
        blocks=(TransformBlock(type_tfms=torch.tensor), CategoryBlock),
        get_x=lambda item: item[0] if isinstance(item, tuple) else item,
        get_y=lambda item: item[1],
        splitter=IndexSplitter(list(range(2 * n // 3, n))),
    )
    return block.dataloaders(sign_items(n), bs=options.pop("bs", 4), device="cpu", **options)


def sign_learner(n: int = 24, **options: Any) -> Learner:
    """Return a learner of `sign_loaders`, with two layers."""
    torch.manual_seed(0)
    model = options.pop("model", None) or nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
    return Learner(options.pop("dls", None) or sign_loaders(n), model, **options)
