"""Keeping the numbers: after reading it you know how a training writes its table to a file, TensorBoard or a tracker.

    CSVLogger            a line an epoch, in a file
    TensorBoardCallback  curves, for `tensorboard --logdir`
    Track(run)           any tracker that has log(numbers, step=...) or log_metrics(numbers, step=...)
"""

from __future__ import annotations

import csv
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path as AnyPath
from typing import TYPE_CHECKING, Any

from flambeau.foundation.errors import ArgumentError, EmptyError, missing_dependency
from flambeau.foundation.paths import Path
from flambeau.nn.optimizers import get_hyper
from flambeau.train.callback import Callback

if TYPE_CHECKING:
    import pandas as pd

    from flambeau.train.learner import Learner


class CSVLogger(Callback):
    """Write the table of epochs to `fname` under the learner's path, line by line, as it comes.

    The file is begun anew by this callback's first fit, unless `append` is set; its later fits (`fine_tune` has two)
    append. Where the columns change, a new head is written. Reached as `learn.csv_logger`.

    Raises:
        OSError: the file cannot be written; the message names it.
    """

    order = 62  # after the table is shown
    run_lr_find = False
    first_process_only = True

    def __init__(self, fname: str | AnyPath = "history.csv", append: bool = False) -> None:
        self.fname, self.append = fname, append
        self._lines: list[list[Any]] = []  # written by this callback
        self._columns: list[str] | None = None
        self._offset = 0  # where they begin in the file

    @property
    def path(self) -> Path:
        """Where the file is."""
        return Path(self.learn.path) / self.fname

    def after_create(self) -> None:
        self.learn.csv_logger = self

    def before_fit(self) -> None:
        columns = list(self.learn.recorder.metric_names)
        if self._columns is None:
            self._offset = self.path.stat().st_size if self.append and self.path.is_file() else 0
            self._cut()
        if columns != self._columns and not (self._columns is None and self.append and self._head() == columns):
            self._add(columns)
        self._columns = columns

    def after_epoch(self) -> None:
        assert self._columns is not None
        row = self.learn.recorder.rows[-1]
        self._add([row.get(column, "") for column in self._columns])

    def _cut(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._naming_the_file(), open(self.path, "ab") as file:
            file.truncate(self._offset)

    def _add(self, line: list[Any]) -> None:
        self._lines.append(line)
        self._write([line])

    def _write(self, lines: list[list[Any]]) -> None:
        # opened for each line: what was written survives whatever ends the program
        with self._naming_the_file(), open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(lines)

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # a full disk is told without the file that was being written
            error.filename = error.filename or str(self.path)
            raise

    def _head(self) -> list[str]:
        if not self.path.is_file():
            return []
        with open(self.path, newline="", encoding="utf-8") as file:
            return next(csv.reader(file), [])

    def read_log(self) -> pd.DataFrame:
        """Return the file as a data frame.

        Raises:
            EmptyError: no fit has written it yet.
        """
        import pandas as pd

        if not self.path.is_file():
            raise EmptyError(f"There is no file {self.path} yet: train with cbs=CSVLogger() first.")
        return pd.read_csv(self.path)

    def state_dict(self) -> dict[str, Any]:
        return {"lines": [list(line) for line in self._lines], "columns": self._columns, "offset": self._offset}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._lines, self._columns = [list(line) for line in state["lines"]], state["columns"]
        self._offset = state["offset"]
        self._cut()  # what was written after this state was kept
        self._write(self._lines)


class RunLogger(Callback):
    """Hand the numbers of each epoch, and of each `every`-th training batch, to `log`, counted in training batches.

    They are handed over when an epoch's half is done, so that no batch waits for the device. A second fit counts on.
    """

    order = 62
    run_valid = False
    run_lr_find = False
    first_process_only = True

    def __init__(self, every: int) -> None:
        if not isinstance(every, int) or every < 1:
            raise ArgumentError(f"{type(self).__name__}(every=...) counts batches from 1 on, got {every!r}.")
        self.every = every
        self.step = 0  # training batches done, in all fits
        self._pending: list[tuple[int, Any, float]] = []  # step, loss, rate

    @abstractmethod
    def log(self, numbers: dict[str, float], step: int) -> None:
        """Write some numbers down."""

    def after_batch(self) -> None:
        self.step += 1
        if self.step % self.every == 0 and self.learn.loss is not None:
            rate = float(self.learn.optimizer.param_groups[-1]["lr"])
            self._pending.append((self.step, self.learn.loss.detach(), rate))

    def after_train(self) -> None:
        for step, loss, rate in self._pending:
            self.log({"batch_loss": float(loss), "lr": rate}, step)
        self._pending = []

    def after_epoch(self) -> None:
        row = self.learn.recorder.rows[-1]
        self.log({name: float(value) for name, value in row.items() if name != "fit"}, self.step)

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "pending": [[step, float(loss), rate] for step, loss, rate in self._pending]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self._pending = state["step"], [(step, loss, rate) for step, loss, rate in state["pending"]]


class TensorBoardCallback(RunLogger):
    """Write losses, rates and metrics for TensorBoard: `tensorboard --logdir runs`.

    `log_dir` None: a folder of its own under runs/, named by time and machine.

    Raises:
        MissingDependencyError: when the fit begins: tensorboard is not installed.
    """

    def __init__(self, log_dir: str | AnyPath | None = None, every: int = 1) -> None:
        super().__init__(every)
        self.log_dir = log_dir
        self.writer: Any = None

    def before_fit(self) -> None:
        self._open(None)
        settings = "\n".join(f"    {name}: {value}" for name, value in settings_of(self.learn).items())
        self.writer.add_text("settings", settings, self.step)

    def _open(self, purge_step: int | None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise missing_dependency("tensorboard", "track", "TensorBoardCallback") from error
        self.writer = SummaryWriter(None if self.log_dir is None else str(self.log_dir), purge_step=purge_step)
        self.log_dir = self.writer.log_dir  # a second fit goes on in the same folder

    def log(self, numbers: dict[str, float], step: int) -> None:
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)

    def after_epoch(self) -> None:
        super().after_epoch()
        self.writer.flush()

    def after_fit(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "log_dir": None if self.log_dir is None else str(self.log_dir)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if self.writer is not None:
            self.writer.close()
        self.log_dir = state["log_dir"]
        self._open(purge_step=self.step + 1)  # what was written after the checkpoint is shown no more


class Track(RunLogger):
    """Hand the numbers to an experiment tracker that you have started: `learn.fit(5, cbs=Track(wandb.init()))`.

    `run` is a run of Weights & Biases or of trackio (or these modules), the module mlflow, or anything else with
    `log(numbers, step=...)` or `log_metrics(numbers, step=...)`. The settings of the first fit go to its `log_params`,
    or to its `config`, where it has one. `run` is not ended: it is yours.

    Raises:
        ArgumentError: `run` has neither of these methods.
    """

    def __init__(self, run: Any, every: int = 10) -> None:
        super().__init__(every)
        # mlflow has `log_metrics`; the others have `log`
        method = getattr(run, "log_metrics", None) or getattr(run, "log", None)
        if not callable(method):
            raise ArgumentError(
                f"Track needs a started run with a method log(numbers, step=...) or log_metrics(numbers, step=...); a "
                f"{type(run).__name__} has neither. For example Track(wandb.init()), Track(trackio.init('name')), "
                "Track(mlflow)."
            )
        self.run, self._method = run, method
        self._told_settings = False

    def before_fit(self) -> None:
        if self._told_settings:
            return
        self._told_settings = True  # once: trackers refuse other values later
        settings = settings_of(self.learn)
        if callable(getattr(self.run, "log_params", None)):
            self.run.log_params(settings)
        elif callable(getattr(getattr(self.run, "config", None), "update", None)):
            self.run.config.update(settings)

    def log(self, numbers: dict[str, float], step: int) -> None:
        self._method(numbers, step=step)


def settings_of(learn: Learner) -> Mapping[str, Any]:
    """Return what a training was asked for, as plain values."""
    loss_func = learn.loss_func
    return {
        "model": type(learn.model).__name__,
        "n_parameters": sum(parameter.numel() for parameter in learn.model.parameters()),
        "loss": getattr(loss_func, "__name__", type(loss_func).__name__),
        "optimizer": type(learn.optimizer).__name__,
        "lr": get_hyper(learn.optimizer, "lr")[-1],
        "wd": get_hyper(learn.optimizer, "wd")[-1],
        "bs": learn.dls.bs,
        "n_epoch": learn.n_epoch,
        "device": str(learn.device),
    }
