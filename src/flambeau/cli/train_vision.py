"""`flambeau train vision`: after reading it you know how a folder of pictures becomes an export and a report."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flambeau.cli.picture_folder import PictureFolder, read_picture_folder, require_folder
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
    checkpoint: int | None,
    resume: bool,
) -> None:
    """Train a classifier on the pictures of a folder and write what came of it to `out`.

    Started in several processes (`--processes`, torchrun), they train together, and the first speaks and writes.

    Raises:
        ArgumentError, DataError, DownloadError: see the message.
    """
    from flambeau.cli.outputs import require_folder_to_write
    from flambeau.foundation.seeds import set_seed
    from flambeau.interpret.report import write_report

    require_folder(folder)
    require_folder_to_write(out)
    set_seed(seed, deterministic=deterministic)
    with spoken_once():
        pictures = read_picture_folder(folder, out)
    learn = folder_learner(
        pictures, out, arch=arch, pretrained=pretrained, weights=weights, size=size, resize=resize, augment=augment,
        min_scale=min_scale, bs=bs, valid_pct=valid_pct, seed=seed,
    )  # fmt: skip
    with learn.distributed() if n_processes() > 1 else nullcontext():
        fit_folder(learn, epochs, lr, checkpoint=checkpoint or resume, resume=resume)
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
    pictures: PictureFolder,
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

    presize = int(size * 1.15) if augment else size
    item_tfms: Any = Resize(presize, method=resize)
    batch_tfms = aug_transforms(size=size, min_scale=min_scale) if augment else None
    metrics = [error_rate, accuracy]
    with spoken_once():
        dls = folder_loaders(pictures, valid_pct, seed, item_tfms, batch_tfms, bs)
        return vision_learner(dls, arch, pretrained=pretrained, weights=weights, metrics=metrics, path=out)


def spoken_once() -> AbstractContextManager[object]:
    """Return a context in which only the first of several processes prints."""
    return nullcontext() if is_first_process() else redirect_stdout(io.StringIO())


def fit_folder(learn: Learner, epochs: int, lr: float, **kept: Any) -> None:
    """Train: a pretrained model by fine-tuning, another by one cycle; `kept` is `checkpoint` and `resume`."""
    if getattr(learn.model, "pretrained", False):
        learn.fine_tune(epochs, lr, **kept)
    else:
        learn.fit_one_cycle(epochs, lr, **kept)


def folder_loaders(
    pictures: PictureFolder, valid_pct: float, seed: int, item_tfms: Any, batch_tfms: Any, bs: int | None
) -> Any:
    """Return loaders of a folder's pictures: by its halves where it has them, else split at random."""
    from flambeau.data.block import CategoryBlock, DataBlock
    from flambeau.data.labels import parent_label
    from flambeau.data.splitters import IndexSplitter, RandomSplitter
    from flambeau.vision.blocks import ImageBlock

    n_training, held_out = len(pictures.training), pictures.validation or []
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_y=parent_label,
        splitter=IndexSplitter(range(n_training, n_training + len(held_out)))
        if held_out
        else RandomSplitter(valid_pct, seed),
        item_tfms=item_tfms,
        batch_tfms=batch_tfms,
    )
    return block.dataloaders([*pictures.training, *held_out], path=pictures.folder, seed=seed, bs=bs)
