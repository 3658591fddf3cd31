"""`flambeau tune`: after reading it you know how the settings of `flambeau train vision` are searched on a folder.

Each trial trains as `flambeau train vision` does with the same options and the same seed, so that the line printed at
the end gives on the same machine what the best trial gave.
"""

from __future__ import annotations

import contextlib
import io
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flambeau.cli.outputs import require_folder_to_write
from flambeau.cli.picture_folder import PictureFolder, read_picture_folder, require_folder
from flambeau.foundation.errors import ArgumentError, unknown_name

if TYPE_CHECKING:
    from flambeau.train.learner import Learner

METRICS = ("error_rate", "accuracy", "valid_loss")
LEAST_SCALE = 0.3  # a crop of less than a third of the area often misses the subject
# around what suits a new head (pretrained) and a whole network that starts from nothing
RATES = {True: (2e-4, 2e-2), False: (5e-4, 5e-2)}


@dataclass(frozen=True)
class FolderTask:
    """What all trials of a search on a folder share."""

    folder: Path
    out: Path
    pretrained: bool
    weights: Path | None
    size: int
    bs: int | None
    valid_pct: float
    seed: int

    @cached_property
    def pictures(self) -> PictureFolder:
        """The pictures, read and verified once for all trials."""
        return read_picture_folder(self.folder, self.out)

    def make_learner(self, arch: str, resize: str, min_scale: float) -> Learner:
        """Return the learner of a trial."""
        from flambeau.cli.train_vision import folder_learner

        pictures = self.pictures  # what they leave out is told when they are read, by the first
        with contextlib.redirect_stdout(io.StringIO()):  # each of them would tell its architecture and batch size
            return folder_learner(
                pictures, self.out, arch=arch, pretrained=self.pretrained, weights=self.weights, size=self.size,
                resize=resize, augment=True, min_scale=min_scale, bs=self.bs, valid_pct=self.valid_pct, seed=self.seed,
            )  # fmt: skip

    def command(self, best: dict[str, Any]) -> str:
        """Return the command that trains with the best settings."""
        words = ["flambeau", "train", "vision", str(self.folder), "--arch", best["arch"], "--resize", best["resize"]]
        words += ["--min-scale", repr(best["min_scale"]), "--lr", repr(best["lr"]), "--epochs", str(best["epochs"])]
        words += ["--size", str(self.size), "--valid-pct", str(self.valid_pct)]
        words += ["--bs", str(self.bs)] if self.bs is not None else []
        words += ["--seed", str(self.seed)] + ([] if self.pretrained else ["--no-pretrained"])
        words += ["--weights", str(self.weights)] if self.weights is not None else []
        return shlex.join(words)


def run_tune(task: FolderTask, *, trials: int, metric: str, archs: list[str], epochs: list[int], resume: bool) -> None:
    """Search the settings of a folder's training, and write the study, a table and plots to `task.out`.

    Raises:
        ArgumentError, DataError, DownloadError, TrainingError: see the message.
    """
    from flambeau.cli.train_vision import fit_folder
    from flambeau.train.search_space import import_optuna
    from flambeau.train.study_storage import JOURNAL
    from flambeau.train.tune import tune
    from flambeau.vision.resize import ResizeMethod

    import_optuna()
    require_folder(task.folder)
    require_folder_to_write(task.out)
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    journal = task.out / JOURNAL
    if journal.exists() and not resume:
        raise ArgumentError(
            f"{journal} holds a search already. Go on with it by --resume, where --trials counts all of its trials, or "
            "name another folder by --out."
        )
    _require_trainable(task, archs)
    low, high = RATES[task.pretrained]
    space: dict[str, Any] = {
        "arch": archs,
        "resize": [str(ResizeMethod.Squish), str(ResizeMethod.Crop), str(ResizeMethod.Pad)],
        "min_scale": (LEAST_SCALE, 1.0),
        "lr": (low, high, "log"),
        "epochs": epochs,
    }
    result = tune(
        task.make_learner, space, trials, train=fit_folder, monitor=metric, storage=journal, seed=task.seed,
        study_name=_study_name(task),
    )  # fmt: skip
    result.frame.to_csv(task.out / "trials.csv", index=False)
    written = ["trials.csv"]
    plots = {"history.png": result.plot_history, "slices.png": result.plot_slices}
    plots["importances.png"] = result.plot_importances
    for name, draw in plots.items():
        try:
            drawing = draw()
        except ArgumentError as error:
            print(f"No {name}: {error}")
            continue
        drawing.save(task.out / name)
        drawing.close()
        written.append(name)
    print(f"\nWrote {', '.join(written)} to {task.out}. Train with the best settings, longer if you like:\n")
    print(f"  {task.command(result.best_params)}")
    if result.interrupted:
        raise KeyboardInterrupt


def _require_trainable(task: FolderTask, archs: list[str]) -> None:
    """Make one learner, so that a mistake in the options is told at once and not by every trial.

    Raises:
        FlambeauError: whatever the first trial would have raised.
    """
    for arch in archs:
        dls = task.make_learner(arch, "crop", 1.0).dls
    print(f"{len(dls.train_ds)} pictures to train, {len(dls.valid_ds)} to validate, in {len(dls.vocab)} classes")


def _study_name(task: FolderTask) -> str:
    """Return a name that holds what makes trials comparable: another size or split is another study."""
    start = "pretrained" if task.pretrained else "random"
    return f"{task.folder.resolve().name} size {task.size} bs {task.bs} {start} split {task.valid_pct}/{task.seed}"
