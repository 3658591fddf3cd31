"""Loggers: what stands in the file, in TensorBoard's events, and what a tracker is told."""

from __future__ import annotations

import builtins
import csv
import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from resumed_fits import round_trip, whole_and_resumed
from small_learners import line_learner

from flambeau.foundation.errors import ArgumentError, EmptyError, MissingDependencyError
from flambeau.nn.metrics import mae
from flambeau.train.callback import Callback
from flambeau.train.callbacks.loggers import CSVLogger, TensorBoardCallback, Track
from flambeau.train.learner import Learner

HEAD = ["epoch", "train_loss", "valid_loss", "mae", "time"]


def quiet_fit(learn: Learner, n_epoch: int, cb: Callback) -> None:
    with learn.no_logging():
        learn.fit(n_epoch, 0.1, cbs=cb)


def lines(path: Path) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_the_file_holds_the_table_of_epochs(tmp_path: Path) -> None:
    learn = line_learner(path=tmp_path, metrics=mae)
    quiet_fit(learn, 2, CSVLogger())
    written = lines(tmp_path / "history.csv")
    assert written[0] == HEAD
    assert [line[0] for line in written[1:]] == ["0", "1"]
    assert [float(value) for value in written[2][1:4]] == learn.recorder.values[1]


def test_it_is_there_line_by_line(tmp_path: Path) -> None:
    class Breaks(Callback):
        def before_epoch(self) -> None:
            if self.epoch == 1:
                raise KeyboardInterrupt

    learn = line_learner(path=tmp_path)
    with pytest.raises(KeyboardInterrupt), learn.no_logging():
        learn.fit(2, 0.1, cbs=[CSVLogger("deep/log.csv"), Breaks()])
    assert len(lines(tmp_path / "deep" / "log.csv")) == 2


def test_a_new_callback_begins_the_file_anew_unless_it_appends(tmp_path: Path) -> None:
    learn = line_learner(path=tmp_path, metrics=mae)
    for append, n_lines in ((False, 3), (False, 3), (True, 5)):
        quiet_fit(learn, 2, CSVLogger(append=append))
        written = lines(tmp_path / "history.csv")
        assert len(written) == n_lines
        assert written.count(HEAD) == 1


def test_both_fits_of_fine_tune_are_kept(tmp_path: Path) -> None:
    learn, cb = line_learner(path=tmp_path), CSVLogger()
    with learn.no_logging():
        learn.fine_tune(2, 0.1, cbs=cb)
    assert [line[0] for line in lines(tmp_path / "history.csv")] == ["epoch", "0", "0", "1"]


def test_other_columns_get_a_head_of_their_own(tmp_path: Path) -> None:
    learn, cb = line_learner(path=tmp_path), CSVLogger()
    quiet_fit(learn, 1, cb)
    learn.metrics = mae
    quiet_fit(learn, 1, cb)
    assert [line for line in lines(tmp_path / "history.csv") if line[0] == "epoch"] == [HEAD[:3] + HEAD[4:], HEAD]


def test_the_learner_reaches_it_as_users_of_fastai_expect(tmp_path: Path) -> None:
    learn = line_learner(path=tmp_path, cbs=CSVLogger())
    with learn.no_logging():
        learn.fit(2, 0.1)
    assert len(learn.csv_logger.read_log()) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "history.csv").symlink_to("/dev/full")
    logger = CSVLogger()
    line_learner(path=tmp_path, cbs=logger)
    with pytest.raises(OSError, match=r"No space left on device: .*history.csv"):
        logger._write([["epoch"]])


def test_the_file_is_read_as_a_frame(tmp_path: Path) -> None:
    learn, cb = line_learner(path=tmp_path), CSVLogger()
    learn.add_cb(cb)
    with pytest.raises(EmptyError, match=r"history\.csv yet"):
        cb.read_log()
    quiet_fit(learn, 3, Callback())
    assert cb.read_log()["valid_loss"].tolist() == pytest.approx([row[1] for row in learn.recorder.values])


@pytest.mark.parametrize("append", [False, True])
def test_a_resumed_training_has_one_whole_file(append: bool, tmp_path: Path) -> None:
    for name in ("whole", "resumed"):
        quiet_fit(line_learner(path=tmp_path / name), 1, CSVLogger())  # an earlier one, for `append`
    folders = iter(["whole", "resumed", "resumed"])  # the third goes on in the folder of the second
    whole_and_resumed(lambda: (line_learner(path=tmp_path / next(folders)), [CSVLogger(append=append)]))
    whole, resumed = lines(tmp_path / "whole" / "history.csv"), lines(tmp_path / "resumed" / "history.csv")
    assert [line[:3:2] for line in resumed] == [line[:3:2] for line in whole]
    assert len(whole) == (6 if append else 5)


class Run:
    """A run as W&B and trackio have it: `log`, and a `config` with `update`."""

    def __init__(self) -> None:
        self.logged: list[tuple[dict[str, float], int]] = []
        self.config: dict[str, Any] = {}

    def log(self, data: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        self.logged.append((data, step))


def mlflow_like() -> SimpleNamespace:
    """Return a module as mlflow is: functions `log_metrics` and `log_params`."""
    told = SimpleNamespace(logged=[], params=[])
    told.log_metrics = lambda metrics, step=None: told.logged.append((metrics, step))
    told.log_params = told.params.append
    return told


@pytest.mark.parametrize("run", [Run(), mlflow_like()], ids=["wandb", "mlflow"])
def test_a_tracker_is_told_batches_and_epochs_by_their_steps(run: Any) -> None:
    learn = line_learner(5, metrics=mae)
    cb = Track(run, every=2)
    quiet_fit(learn, 2, cb)
    assert [step for _, step in run.logged] == [2, 4, 5, 6, 8, 10, 10]
    assert run.logged[0][0] == {"batch_loss": learn.recorder.raw_losses[1], "lr": 0.1}
    epoch = run.logged[-1][0]
    assert list(epoch) == ["epoch", "train_loss", "valid_loss", "mae", "time"]
    assert [epoch["train_loss"], epoch["valid_loss"], epoch["mae"]] == learn.recorder.values[1]
    assert all(isinstance(value, float) for value in epoch.values())


def test_the_settings_are_told_once() -> None:
    wandb, mlflow = Run(), mlflow_like()
    for run in (wandb, mlflow):
        learn, cb = line_learner(), Track(run)
        quiet_fit(learn, 2, cb)
        quiet_fit(learn, 1, cb)
    assert len(mlflow.params) == 1
    expected = {"model": "Linear", "n_parameters": 2, "loss": "mse_loss", "optimizer": "AdamW", "lr": 0.1, "n_epoch": 2}
    assert expected.items() <= wandb.config.items()
    assert mlflow.params[0] == wandb.config


def test_a_second_fit_counts_on() -> None:
    run = Run()
    learn, cb = line_learner(2), Track(run, every=1)
    quiet_fit(learn, 1, cb)
    quiet_fit(learn, 1, cb)
    assert [step for _, step in run.logged] == [1, 2, 2, 3, 4, 4]


def test_something_that_cannot_log_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"a str has neither.*wandb\.init"):
        Track("runs")
    with pytest.raises(ArgumentError, match="from 1 on"):
        Track(Run(), every=0)


def test_the_state_of_a_tracker_goes_round() -> None:
    cb, other = Track(Run()), Track(Run())
    quiet_fit(line_learner(3), 2, cb)
    cb.after_batch()  # as in the middle of an epoch
    other.load_state_dict(round_trip(cb.state_dict()))
    assert other.step == 7


needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed"
)


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@needs_tensorboard
def test_tensorboard_reads_back_what_was_trained(tmp_path: Path) -> None:
    learn = line_learner(3, metrics=mae)
    cb = TensorBoardCallback(tmp_path)
    quiet_fit(learn, 2, cb)
    found = curves(tmp_path)
    assert [step for step, _ in found["batch_loss"]] == [1, 2, 3, 4, 5, 6]
    assert [value for _, value in found["batch_loss"]] == pytest.approx(learn.recorder.raw_losses)
    assert [value for _, value in found["lr"]] == pytest.approx([0.1] * 6)
    assert [step for step, _ in found["mae"]] == [3, 6]
    assert [value for _, value in found["mae"]] == pytest.approx([row[2] for row in learn.recorder.values])
    assert cb.writer is None


@needs_tensorboard
def test_a_second_fit_goes_on_in_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    learn, cb = line_learner(2), TensorBoardCallback()
    quiet_fit(learn, 1, cb)
    quiet_fit(learn, 1, cb)
    (folder,) = (tmp_path / "runs").iterdir()
    assert [step for step, _ in curves(folder)["valid_loss"]] == [2, 4]


@needs_tensorboard
def test_a_resumed_training_writes_no_step_twice(tmp_path: Path) -> None:
    folders = iter(["whole", "resumed", "resumed"])
    whole_and_resumed(lambda: (line_learner(2), [TensorBoardCallback(tmp_path / next(folders))]))
    whole, resumed = curves(tmp_path / "whole"), curves(tmp_path / "resumed")
    assert [resumed["valid_loss"], resumed["batch_loss"]] == [whole["valid_loss"], whole["batch_loss"]]


def test_without_tensorboard_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("torch.utils.tensorboard"):
            raise ModuleNotFoundError("No module named 'tensorboard'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingDependencyError, match=r'Run: pip install "flambeau\[track\]"'):
        quiet_fit(line_learner(), 1, TensorBoardCallback())
