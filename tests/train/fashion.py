"""The real pictures that come with flambeau, as tensors, and a small learner of them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from flambeau.data.data_loaders import DataLoaders
from flambeau.data.sample_pictures import FASHION_CLASSES, SIDE
from flambeau.nn.losses import CrossEntropyLossFlat
from flambeau.train.learner import Learner


@cache
def fashion(split: str, n_a_class: int) -> tuple[Tensor, Tensor]:
    """Return the first pictures of each class, (items, 1, 28, 28) between 0 and 1, and their classes."""
    pictures = []
    for name in FASHION_CLASSES:
        with Image.open(files("flambeau.data") / "fashion_pictures" / split / f"{name}.webp") as sheet:
            grey = torch.from_numpy(np.array(sheet.getchannel(0)))
        cells = grey.unfold(0, SIDE, SIDE).unfold(1, SIDE, SIDE).reshape(-1, 1, SIDE, SIDE)
        pictures.append(cells[:n_a_class].float() / 255)
    return torch.cat(pictures), torch.arange(len(FASHION_CLASSES)).repeat_interleave(n_a_class)


def fashion_learner(n_a_class: int = 64, bs: int = 32, model: nn.Module | None = None, **options: Any) -> Learner:
    """Return a learner of some pictures a class, with one convolution unless a model is given."""
    torch.manual_seed(0)
    sets = [TensorDataset(*fashion("train", n_a_class)), TensorDataset(*fashion("valid", 20))]
    dls = DataLoaders.from_dsets(*sets, bs=bs, device="cpu", seed=1, drop_last=options.pop("drop_last", True))
    model = model or nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 12 * 12, 10)
    )
    return Learner(dls, model, CrossEntropyLossFlat(), **{"metrics": "accuracy", **options})
