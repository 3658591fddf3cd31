"""Checkpoints of a run: after reading it you know when a training is kept, and when a resumed one takes it up.

`fit(..., checkpoint=True)` keeps the run after each epoch, `checkpoint=100` also after each hundred batches, in one
file a fit that always holds a whole run. `resume=True` goes on from it; of a fit that is done it brings back the end,
so that a script with several fits finds after each what it found there before. What a run consists of is told in
train/resume.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flambeau.data.fingerprint import fingerprint
from flambeau.data.loaders import DataLoader
from flambeau.data.transform import is_own_code
from flambeau.foundation.errors import ArgumentError
from flambeau.foundation.paths import Path
from flambeau.foundation.processes import process_place
from flambeau.nn.optimizers import get_hyper
from flambeau.train.callback import Callback
from flambeau.train.callbacks.distributed import of_all, once, settle_buffers
from flambeau.train.callbacks.schedule import ParamScheduler
from flambeau.train.checkpoint import checkpoint_path, make_folder_of
from flambeau.train.loaders_chance import LoadersChance
from flambeau.train.resume import KeptRun, Position, read_run, require_same, restore_run, save_run
from flambeau.train.run_record import write_run_record

if TYPE_CHECKING:
    from flambeau.train.learner import Learner

FILE = "checkpoint-{fit}"
LOOKED_AT = 8  # points at which schedules are compared


class Checkpointing(Callback):
    """Keep the whole run after each epoch, and after each `every` training batches where that is given.

    Made by `fit` and its siblings; the file of the learner's first fit is `path/model_dir/checkpoint-1.safetensors`.

    Raises:
        ArgumentError: `every` counts no batches.
    """

    order = 100  # behind all others, so that what is kept is what they leave

    def __init__(self, every: int | None = None, resume: bool = False) -> None:
        if every is not None and (not isinstance(every, int) or every < 1):
            raise ArgumentError(
                f"checkpoint is True (after each epoch) or a number of training batches, 1 or more; got {every!r}."
            )
        self.every, self.resume = every, resume
        self.kept: KeptRun | None = None

    def begin(
        self, learn: Learner, n_epoch: int, rates: Sequence[float], wd: float | None, cbs: Sequence[Callback]
    ) -> int:
        """Look for a run to go on with, and return the epoch to begin with.

        Raises:
            ExportError: the checkpoint is damaged, or cannot be written.
            ArgumentError: it belongs to a run with other settings or other data.
        """
        recorder = learn.recorder
        self.fit = recorder.n_completed + 1
        self.path: Path = checkpoint_path(learn, FILE.format(fit=self.fit))
        once(learn, lambda: make_folder_of(self.path))
        self.settings = _settings(learn, n_epoch, rates, wd, cbs)
        self.data = fingerprint(learn.dls)
        kept = self._earlier_run(learn) if self.resume else None
        if kept is None:
            if recorder.run is None or self.fit == 1:
                recorder.run = once(learn, lambda: uuid.uuid4().hex)
            return 0
        require_same(kept, self.settings, self.data)
        self.kept = kept
        what = "Resuming" if kept.position.epoch < n_epoch else "Nothing is left to train"
        _say(learn, f"{what}: {self.path} stands at {kept.position} of {n_epoch} epochs.")
        return kept.position.epoch

    def _earlier_run(self, learn: Learner) -> KeptRun | None:
        if not once(learn, self.path.exists):
            _say(learn, f"There is no checkpoint {self.path} yet: training begins anew.")
            return None
        kept = read_run(self.path)
        if self.fit > 1 and learn.recorder.run not in (None, kept.header["run"]):
            _say(learn, f"{self.path} is of an earlier run, whose first fits are not those of this one: not resumed.")
            return None
        return kept

    def before_fit(self) -> None:
        if self.kept is not None and self.kept.position.batch == 0:
            self._take_up(self.kept)

    def before_train(self) -> None:
        self.epoch_start = LoadersChance.now(self.learn.dls.loaders) if self._is_foreign() else None
        if self.kept is not None:
            self._take_up(self.kept)

    def _is_foreign(self) -> bool:
        return not isinstance(self.learn.dls.train, DataLoader)

    def _take_up(self, kept: KeptRun) -> None:
        self.kept = None
        restore_run(self.learn, kept, process_place())
        if kept.position.batch and self._is_foreign():
            self.epoch_start = kept.chance(process_place(), "epoch_start")

    def after_batch(self) -> None:
        learn = self.learn
        if learn.training and self.every is not None and (learn.iter + 1) % self.every == 0:
            self._keep(Position(self.fit, learn.epoch, learn.iter + 1))

    def after_epoch(self) -> None:
        self._keep(Position(self.fit, self.learn.epoch + 1, 0))

    def _keep(self, position: Position) -> None:
        learn = self.learn
        settle_buffers(learn)
        moments = {"now": LoadersChance.now(learn.dls.loaders).as_tensors()}
        if self.epoch_start is not None:
            moments["epoch_start"] = self.epoch_start.as_tensors()
        chances = of_all(learn, moments)

        def write() -> None:
            save_run(learn, self.path, position, self.settings, self.data, chances)
            write_run_record(learn, self.path, self.data)

        once(learn, write)


def _say(learn: Learner, words: str) -> None:
    if learn.keep_logging and learn.is_first_process:
        print(words)


def _settings(learn: Learner, n_epoch: int, rates: Sequence[float], wd: Any, cbs: Sequence[Callback]) -> dict[str, Any]:
    """Return what must be the same in a resumed run, as plain values."""
    schedules = {
        f"schedule of {name}": [_plain(schedule(place / LOOKED_AT)) for place in range(LOOKED_AT + 1)]
        for cb in cbs
        if isinstance(cb, ParamScheduler)
        for name, schedule in cb.scheds.items()
    }
    own = [cb for cb in [*learn.cbs, *cbs] if is_own_code(type(cb)) and not cb.first_process_only]
    trained = sum(p.numel() for p in learn.model.parameters() if p.requires_grad)
    return {
        "n_epoch": n_epoch,
        "lr": [float(rate) for rate in rates],
        "wd": get_hyper(learn.optimizer, "wd") if wd is None else wd,
        "bs": learn.dls.bs,
        "batches an epoch": len(learn.dls.train),
        "processes": len(of_all(learn, None)),
        "parameters that learn": trained,
        "loss": type(learn.loss_func).__name__,
        "optimizer": type(learn.optimizer).__name__,
        "item transforms": [transform.name for transform in learn.dls.after_item],
        "batch transforms": [transform.name for transform in learn.dls.after_batch],
        "callbacks": sorted({cb.name for cb in own}),
        **schedules,
    }


def _plain(value: Any) -> Any:
    return [float(part) for part in value] if hasattr(value, "__iter__") else float(value)
