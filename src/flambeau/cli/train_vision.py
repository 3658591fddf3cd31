"""`flambeau train vision`: after reading it you know how a folder of pictures becomes an export and a report."""

from __future__ import annotations

import io
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from flambeau.foundation.errors import ArgumentError, EmptyError
from flambeau.foundation.processes import is_first_process, n_processes


def run_train_vision(
    folder: Path,
    out: Path,
    *,
    arch: str,
    pretrained: bool,
    weights: Path | None,
    epochs: int,
    size: int,
    resize: str,
    augment: bool,
    bs: int,
    lr: float,
    valid_pct: float,
    seed: int,
    deterministic: bool,
) -> None:
    """Train a classifier on the pictures of a folder and write what came of it to `out`.

    Started in several processes (`--processes`, torchrun), they train together, and the first speaks and writes.

    Raises:
        ArgumentError, DataError, DownloadError: see the message.
    """
    from flambeau.foundation.seeds import set_seed
    from flambeau.interpret.report import write_report
    from flambeau.nn.metrics import accuracy, error_rate
    from flambeau.vision.augment import aug_transforms
    from flambeau.vision.learner import vision_learner
    from flambeau.vision.resize import Resize

    require_folder(folder)
    set_seed(seed, deterministic=deterministic)
    presize = int(size * 1.15) if augment else size
    item_tfms: Any = Resize(presize, method=resize)
    batch_tfms = aug_transforms(size=size, min_scale=0.75) if augment else None
    dls = folder_loaders(folder, valid_pct, seed, item_tfms, batch_tfms, bs)
    with nullcontext() if is_first_process() else redirect_stdout(io.StringIO()):
        learn = vision_learner(
            dls, arch, pretrained=pretrained, weights=weights, metrics=[error_rate, accuracy], path=out
        )  # fmt: skip
    with learn.distributed() if n_processes() > 1 else nullcontext():
        if learn.model.pretrained:
            learn.fine_tune(epochs, lr)
        else:
            learn.fit_one_cycle(epochs, lr)
    if not is_first_process():
        return
    export = learn.export("export.safetensors")
    commands = [f"flambeau predict {export} FILES...", f"flambeau evaluate {export} FOLDER"]
    about = f"{arch} on {folder}, {len(dls.train_ds)} pictures to train, {len(dls.valid_ds)} to validate, seed {seed}"
    report = write_report(learn, out, f"{folder.name}: {len(dls.vocab)} classes", about, commands)
    print(f"\nAccuracy on the validation set: {report.values['accuracy']:.2%}")
    print(f"Wrote {export}, {report.page} and history.csv")


def require_folder(folder: Path) -> None:
    """Raise an ArgumentError when there is no such folder."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ArgumentError(f"A folder of pictures was expected, but {folder} {what}.")


def folder_loaders(folder: Path, valid_pct: float, seed: int, item_tfms: Any, batch_tfms: Any, bs: int) -> Any:
    """Return loaders of a folder: by its train and valid folders where it has both, else split at random."""
    from flambeau.data.getters import get_image_files
    from flambeau.vision.data_loaders import ImageDataLoaders

    names = sorted(part.name for part in folder.iterdir() if part.is_dir())
    shared: dict[str, Any] = {"item_tfms": item_tfms, "batch_tfms": batch_tfms}
    halves = "train" in names and "valid" in names
    n = len(get_image_files(folder / "train" if halves else folder))
    n_train = n if halves else n - int(n * valid_pct)
    if n_train < 2:
        raise EmptyError(f"{folder} holds {n} picture(s) to train on and to validate; that is too few.")
    if bs * n_processes() > n_train:
        lowered = max(n_train // (4 * n_processes()), 1)
        if is_first_process():
            print(f"Only {n_train} training pictures: the batch is lowered from {bs} to {lowered}.")
        bs = lowered
    if halves:
        return ImageDataLoaders.from_folder(folder, seed=seed, bs=bs, **shared)
    return ImageDataLoaders.from_folder(folder, valid_pct=valid_pct, seed=seed, bs=bs, **shared)
