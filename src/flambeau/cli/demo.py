"""`flambeau demo`: after reading it you have seen the whole path once, from pictures to an exported model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

EPOCHS, BATCH, RATE = 18, 128, 1e-2


def run_demo(out: Path, epochs: int | None, seed: int) -> None:
    """Train a small network on the shipped Fashion-MNIST pictures and write the export, the history and the report."""
    from flambeau.cli.outputs import require_folder_to_write

    require_folder_to_write(out)
    started = time.perf_counter()
    print("Getting ready (PyTorch takes a few seconds to start) ...", flush=True)
    from flambeau.data.normalize import Normalize
    from flambeau.data.sample_pictures import unpack_fashion
    from flambeau.foundation.seeds import set_seed
    from flambeau.interpret.report import write_report
    from flambeau.nn.losses import LabelSmoothingCrossEntropy
    from flambeau.nn.metrics import accuracy, error_rate
    from flambeau.train.learner import Learner
    from flambeau.vision.augment import aug_transforms
    from flambeau.vision.data_loaders import ImageDataLoaders
    from flambeau.vision.images import PILImageBW

    set_seed(seed)
    pictures = unpack_fashion(out / "fashion")
    # mirrored, and enlarged around a random point without blending pixels: at 28 of them, blending blurs
    augment = aug_transforms(max_rotate=0.0, max_zoom=1.08, max_warp=0.0, max_lighting=0.0, mode="nearest")
    dls = ImageDataLoaders.from_folder(
        pictures, img_cls=PILImageBW, bs=BATCH, val_bs=500, batch_tfms=[*augment, Normalize()]
    )
    print(
        f"{len(dls.train_ds)} pictures to train, {len(dls.valid_ds)} to validate: {', '.join(dls.vocab)}\n", flush=True
    )
    learn = Learner(
        dls,
        small_net(len(dls.vocab)),
        loss_func=LabelSmoothingCrossEntropy(),
        metrics=[error_rate, accuracy],
        path=out,
    )
    learn.fit_one_cycle(epochs or EPOCHS, RATE)
    export = learn.export("export.safetensors")
    example = next((pictures / "valid" / "sneaker").iterdir())
    commands = [
        f"flambeau predict {export} {example}",
        f"flambeau evaluate {export} {pictures / 'valid'}",
        f"flambeau train vision {pictures} --arch xresnet18 --no-pretrained --size 32 --epochs 3",
    ]
    about = f"A small convolutional network on pictures that come with flambeau (Fashion-MNIST), seed {seed}."
    report = write_report(learn, out, "flambeau demo", about, commands)
    print(f"\nAccuracy on {len(dls.valid_ds)} pictures it has not seen: {report.values['accuracy']:.1%}")
    print(f"Look at {report.page} (all in {time.perf_counter() - started:.0f} s). Try next:\n")
    print("\n".join(f"  {command}" for command in commands))


def small_net(n_classes: int) -> Any:
    """Return a network of four convolutions, each halving the sides, for small grey pictures."""
    import torch
    from torch import nn

    from flambeau.nn.layers import ConvLayer

    net = nn.Sequential(
        ConvLayer(1, 32, stride=2), ConvLayer(32, 64, stride=2), ConvLayer(64, 128, stride=2),
        ConvLayer(128, 256, stride=2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(256, n_classes),
    )  # fmt: skip
    return net.to(memory_format=torch.channels_last)
