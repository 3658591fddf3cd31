"""`flambeau train vision`: after reading it you know how a folder of pictures becomes an export and a report."""

from __future__ import annotations

import io
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flambeau.foundation.errors import ArgumentError, EmptyError
from flambeau.foundation.processes import is_first_process, n_processes

if TYPE_CHECKING:
    from flambeau.train.learner import Learner


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
    min_scale: float,
    bs: int | None,
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

    set_seed(seed, deterministic=deterministic)
    learn = folder_learner(
        folder, out, arch=arch, pretrained=pretrained, weights=weights, size=size, resize=resize, augment=augment,
        min_scale=min_scale, bs=bs, valid_pct=valid_pct, seed=seed,
    )  # fmt: skip
    with learn.distributed() if n_processes() > 1 else nullcontext():
        fit_folder(learn, epochs, lr)
    if not is_first_process():
        return
    dls = learn.dls
    export = learn.export("export.safetensors")
    commands = [f"flambeau predict {export} FILES...", f"flambeau evaluate {export} FOLDER"]
    about = f"{arch} on {folder}, {len(dls.train_ds)} pictures to train, {len(dls.valid_ds)} to validate, seed {seed}"
    report = write_report(learn, out, f"{folder.name}: {len(dls.vocab)} classes", about, commands)
    print(f"\nAccuracy on the validation set: {report.values['accuracy']:.2%}")
    print(f"Wrote {export}, {report.page} and history.csv")


def folder_learner(
    folder: Path,
    out: Path,
    *,
    arch: str,
    pretrained: bool,
    weights: Path | None,
    size: int,
    resize: str,
    augment: bool,
    min_scale: float,
    bs: int | None,
    valid_pct: float,
    seed: int,
) -> Learner:
    """Return a learner of the pictures of a folder.

    Raises:
        ArgumentError, DataError, DownloadError: see the message.
    """
    from flambeau.nn.metrics import accuracy, error_rate
    from flambeau.vision.augment import aug_transforms
    from flambeau.vision.learner import vision_learner
    from flambeau.vision.resize import Resize

    require_folder(folder)
    presize = int(size * 1.15) if augment else size
    item_tfms: Any = Resize(presize, method=resize)
    batch_tfms = aug_transforms(size=size, min_scale=min_scale) if augment else None
    metrics = [error_rate, accuracy]
    with nullcontext() if is_first_process() else redirect_stdout(io.StringIO()):
        dls = folder_loaders(folder, valid_pct, seed, item_tfms, batch_tfms, bs)
        return vision_learner(dls, arch, pretrained=pretrained, weights=weights, metrics=metrics, path=out)


def fit_folder(learn: Learner, epochs: int, lr: float) -> None:
    """Train: a pretrained model by fine-tuning, another by one cycle."""
    if getattr(learn.model, "pretrained", False):
        learn.fine_tune(epochs, lr)
    else:
        learn.fit_one_cycle(epochs, lr)


def require_folder(folder: Path) -> None:
    """Raise an ArgumentError when there is no such folder."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ArgumentError(f"A folder of pictures was expected, but {folder} {what}.")


def folder_loaders(folder: Path, valid_pct: float, seed: int, item_tfms: Any, batch_tfms: Any, bs: int | None) -> Any:
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
    if halves:
        return ImageDataLoaders.from_folder(folder, seed=seed, bs=bs, **shared)
    return ImageDataLoaders.from_folder(folder, valid_pct=valid_pct, seed=seed, bs=bs, **shared)
