"""What trust costs: keeping a run after each epoch, and making a large batch of small ones.

A save is timed by itself and set against an epoch of as many pictures as pets_mini has: their difference would drown
in the machine's noise.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import TensorDataset

sys.path.insert(0, str(Path(__file__).parent))
from timing import compare

from flambeau.data.data_loaders import DataLoaders
from flambeau.nn.losses import CrossEntropyLossFlat
from flambeau.train.callbacks.checkpointing import Checkpointing
from flambeau.train.callbacks.gradients import GradientAccumulation
from flambeau.train.learner import Learner

N_PICTURES, SIZE, SAVES = 480, 224, 7


def resnet_learner(n_pictures: int, size: int, bs: int, path: Path) -> Learner:
    """Return a learner of a resnet18 on noise that lies ready in memory."""
    from torchvision.models import resnet18

    data = TensorDataset(torch.randn(n_pictures, 3, size, size), torch.arange(n_pictures) % 10)
    dls = DataLoaders.from_dsets(data, bs=bs, device="cpu", cache="none")
    return Learner(dls, resnet18(num_classes=10), CrossEntropyLossFlat(), path=path)


def cost_of_a_checkpoint(folder: Path) -> None:
    """Print how long a save takes, and its share of an epoch."""
    learn = resnet_learner(N_PICTURES, SIZE, 32, folder)
    saves: list[float] = []

    class Timed(Checkpointing):
        def after_epoch(self) -> None:
            for _ in range(SAVES):
                start = time.perf_counter()
                super().after_epoch()
                saves.append(time.perf_counter() - start)

    keeping = Timed()
    keeping.begin(learn, 1, [1e-3], None, [])
    with learn.no_logging():
        start = time.perf_counter()
        learn.fit(1, 1e-3, cbs=keeping)
        epoch = time.perf_counter() - start - sum(saves)
    save = statistics.median(saves)
    megabytes = keeping.path.stat().st_size / 1e6
    spread = f"{min(saves):.2f} to {max(saves):.2f}"
    print(f"checkpoint of resnet18 and its Adam, {megabytes:.0f} MB: {save:.2f} s ({spread})")
    print(f"epoch of {N_PICTURES} pictures of {SIZE}x{SIZE}: {epoch:.1f} s; the save adds {save / epoch:.1%} (aim 3 %)")


def cost_of_accumulation(folder: Path) -> None:
    """Print what accumulating batches costs beside training on the same batches."""
    model_and_data = resnet_learner(64, 64, 8, folder)
    loss = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model_and_data.model.parameters(), lr=1e-4, fused=True)

    def bare() -> None:
        model_and_data.model.train()
        for place, batch in enumerate(model_and_data.dls.train):
            (loss(model_and_data.model(*batch.inputs), *batch.targets) / 4).backward()
            if place % 4 == 3:
                optimizer.step()
                optimizer.zero_grad()

    def ours() -> None:
        with model_and_data.no_logging():
            model_and_data.fit(1, 1e-4, cbs=GradientAccumulation(accumulate=4))

    compare("accumulation over 4 batches", "<= 1.02", repeats=15, bare=bare, flambeau=ours)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        cost_of_accumulation(Path(place))
        cost_of_a_checkpoint(Path(place))
