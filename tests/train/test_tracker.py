"""Trackers: which epoch is the best, what is saved and loaded, when the fit ends, when the rate falls."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resumed_fits import round_trip
from small_learners import line_learner, sign_learner
from torch import Tensor

from flambeau.foundation.errors import ArgumentError, UnknownNameError
from flambeau.train.callback import Callback, CancelFitException
from flambeau.train.callbacks.tracker import (
    EarlyStoppingCallback,
    ReduceLROnPlateau,
    SaveModelCallback,
    TrackerCallback,
)
from flambeau.train.learner import Learner


class Score:
    """A metric that gives the numbers it was made of, one a validation."""

    name = "score"

    def __init__(self, *values: float) -> None:
        self.values, self.at = values, -1

    def reset(self) -> None:
        self.at += 1

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Look at nothing."""

    def compute(self) -> float:
        return self.values[self.at]


class Seen(Callback):
    """Write down weight and rate after each epoch."""

    order = 90

    def before_fit(self) -> None:
        self.weights: list[float] = []
        self.rates: list[float] = []

    def after_epoch(self) -> None:
        self.weights.append(self.model.weight.item())
        self.rates.append(self.opt.param_groups[-1]["lr"])


def scored(*values: float, **options: Any) -> Learner:
    return line_learner(metrics=Score(*values), **options)


def quiet_fit(learn: Learner, n_epoch: int, *cbs: Callback, lr: float = 0.01) -> None:
    with learn.no_logging():
        learn.fit(n_epoch, lr, cbs=list(cbs))


@pytest.mark.parametrize(
    ("monitor", "falls"), [("valid_loss", True), ("train_loss", True), ("error_rate", True), ("accuracy", False)]
)
def test_losses_and_errors_are_better_when_lower_and_all_else_when_higher(monitor: str, falls: bool) -> None:
    cb = TrackerCallback(monitor)
    assert cb.comp is (np.less if falls else np.greater)
    assert cb.lower_is_better is falls


@pytest.mark.parametrize(
    ("comp", "min_delta", "best"),
    [
        (None, 0.0, [True, True, False, True]),
        (None, 0.15, [True, True, False, False]),
        (np.less, 0.0, [True, False, True, False]),
        (operator.lt, 0.25, [True, False, True, False]),
    ],
)
def test_the_best_is_judged_by_comp_and_min_delta(comp: Any, min_delta: float, best: list[bool]) -> None:
    found: list[bool] = []

    class Tracks(TrackerCallback):
        def judged(self) -> None:
            found.append(self.new_best)

    quiet_fit(scored(0.5, 0.7, 0.2, 0.8), 4, Tracks("score", comp, min_delta))
    assert found == best


def test_nan_is_never_the_best() -> None:
    cb = TrackerCallback("score")
    quiet_fit(scored(float("nan"), 0.1, float("nan")), 3, cb)
    assert (cb.best, cb.wait) == (0.1, 1)


def test_a_second_fit_begins_anew_or_has_to_beat_the_first() -> None:
    for reset, best in ((True, 0.3), (False, 0.9)):
        cb = TrackerCallback("score", reset_on_fit=reset)
        learn = scored(0.9, 0.3)
        quiet_fit(learn, 1, cb)
        quiet_fit(learn, 1, cb)
        assert cb.best == best


def test_an_unknown_column_is_told_before_the_training_with_those_that_there_are() -> None:
    learn = scored(0.5)
    with pytest.raises(UnknownNameError, match=r"accuracy.*record: train_loss, valid_loss, score"):
        quiet_fit(learn, 1, TrackerCallback("accuracy"))
    assert not learn.recorder.rows


def test_without_validation_there_is_no_valid_loss_to_watch() -> None:
    with pytest.raises(UnknownNameError, match=r"valid_loss.*record: train_loss;"):
        quiet_fit(line_learner(n_valid=0), 1, SaveModelCallback())


def test_the_best_epochs_weights_are_there_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learn, seen = scored(0.1, 0.9, 0.3, path=tmp_path), Seen()
    learn.fit(3, 0.1, cbs=[SaveModelCallback("score"), seen])
    assert learn.model.weight.item() == seen.weights[1] != seen.weights[2]
    assert (tmp_path / "models" / "model.safetensors").exists()
    printed = capsys.readouterr().out
    assert "Epoch 1 is the best so far (score 0.9); saved." in printed
    assert "Epoch 2 is" not in printed


def test_every_epoch_and_at_end_save_and_load_nothing(tmp_path: Path) -> None:
    learn, seen = line_learner(n_valid=0, path=tmp_path), Seen()
    some, last = SaveModelCallback(fname="all", every_epoch=2), SaveModelCallback(fname="last", at_end=True)
    quiet_fit(learn, 3, some, last, seen)
    assert sorted(path.stem for path in (tmp_path / "models").iterdir()) == ["all_0", "all_2", "last"]
    assert learn.model.weight.item() == seen.weights[-1]
    learn.model.weight.data.zero_()
    assert learn.load("last").model.weight.item() == seen.weights[-1]


def test_the_optimizer_is_kept_when_asked_for(tmp_path: Path) -> None:
    learn = scored(0.9, 0.3, path=tmp_path)
    quiet_fit(learn, 2, SaveModelCallback("score", with_opt=True))
    assert float(next(iter(learn.optimizer.state.values()))["step"]) == 4  # one epoch of 4 batches


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_broken_fit_keeps_its_newest_weights_and_says_where_the_best_are(
    error: type[BaseException], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Breaks(Callback):
        order = 95

        def after_epoch(self) -> None:
            if self.epoch == 1:
                raise error

    learn, seen = scored(0.9, 0.3, path=tmp_path), Seen()
    with pytest.raises(error):
        learn.fit(3, 0.1, cbs=[SaveModelCallback("score"), seen, Breaks()])
    assert learn.model.weight.item() == seen.weights[1]
    assert "learn.load('model')" in capsys.readouterr().out
    assert learn.load("model").model.weight.item() == seen.weights[0]


def test_a_cancelled_fit_still_loads_the_best(tmp_path: Path) -> None:
    class Cancels(Callback):
        def before_batch(self) -> None:
            if self.epoch == 2:
                raise CancelFitException

    learn, seen = scored(0.9, 0.3, 0.5, path=tmp_path), Seen()
    quiet_fit(learn, 3, SaveModelCallback("score"), seen, Cancels())
    assert learn.model.weight.item() == seen.weights[0]


def test_the_rate_finder_neither_saves_nor_stops(tmp_path: Path) -> None:
    learn = line_learner(path=tmp_path, cbs=[SaveModelCallback("train_loss"), EarlyStoppingCallback("train_loss")])
    assert len(learn.lr_find(num_it=12, show_plot=False, stop_div=False).losses) == 12
    assert not (tmp_path / "models").exists()
    assert len(learn.cbs) == 4


def test_the_fit_ends_when_patience_is_at_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    learn = scored(0.5, 0.9, 0.8, 0.9, 1.0)
    learn.fit(5, 0.01, cbs=EarlyStoppingCallback("score", patience=2))
    printed = capsys.readouterr().out
    assert len(learn.recorder.values) == 4
    assert "score has not improved since epoch 1: stopping early." in printed
    assert "\n        3" in printed  # the last epoch's row is shown before


def test_a_fit_that_never_had_a_number_names_no_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    scored(np.nan, np.nan, np.nan).fit(3, 0.01, cbs=EarlyStoppingCallback("score", patience=2))
    printed = capsys.readouterr().out
    assert "score has been no number (nan) in 2 epoch(s): stopping early." in printed
    assert "since epoch" not in printed


def test_saved_is_printed_after_saving(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Learner, *args: Any, **options: Any) -> Path:
        raise OSError("No space left on device")

    monkeypatch.setattr(Learner, "save", full)
    with pytest.raises(OSError, match="No space"):
        scored(0.5, path=tmp_path).fit(1, 0.01, cbs=SaveModelCallback("score"))
    assert "saved." not in capsys.readouterr().out


def test_the_rate_falls_on_a_plateau_down_to_its_floor() -> None:
    seen = Seen()
    cb = ReduceLROnPlateau("score", patience=2, factor=10, min_lr=0.003)
    quiet_fit(scored(0.5, 0.4, 0.4, 0.4, 0.4, 0.9), 6, cb, seen, lr=0.1)
    assert seen.rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.003, 0.003])


def test_each_layer_group_keeps_its_share_of_the_rate() -> None:
    learn = sign_learner(splitter=lambda m: [list(m[0].parameters()), list(m[2].parameters())])
    with learn.no_logging():
        learn.fit(2, slice(1e-3, 1e-2), cbs=ReduceLROnPlateau(comp=lambda value, best: False))
    assert learn.recorder.rates() == pytest.approx([1e-4, 1e-3])


def test_a_schedule_and_a_plateau_do_not_go_together() -> None:
    learn = line_learner()
    with learn.no_logging(), pytest.raises(ArgumentError, match=r"constant, learn.fit\(n, lr\)"):
        learn.fit_one_cycle(1, 0.1, cbs=ReduceLROnPlateau())


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ArgumentError, match="min_delta"):
        TrackerCallback(min_delta=-1)
    with pytest.raises(ArgumentError, match=r"patience.*got 0"):
        EarlyStoppingCallback(patience=0)
    with pytest.raises(ArgumentError, match=r"above 1; got 0\.1"):
        ReduceLROnPlateau(factor=0.1)
    with pytest.raises(ArgumentError, match="choose one"):
        SaveModelCallback(every_epoch=True, at_end=True)


@pytest.mark.parametrize("cls", [SaveModelCallback, EarlyStoppingCallback, ReduceLROnPlateau])
def test_the_state_goes_round(cls: type[TrackerCallback], tmp_path: Path) -> None:
    options = {} if cls is SaveModelCallback else {"patience": 3}
    before, after = cls("score", **options), cls("score", **options)
    quiet_fit(scored(0.9, 0.3, path=tmp_path), 2, before)
    after.load_state_dict(round_trip(before.state_dict()))
    assert (after.best, after.wait) == (0.9, 1)
    if isinstance(before, SaveModelCallback) and isinstance(after, SaveModelCallback):
        assert after.last_saved_path == before.last_saved_path == tmp_path / "models" / "model.safetensors"


def test_a_fresh_trackers_state_goes_round_too() -> None:
    cb = TrackerCallback()
    cb.load_state_dict(round_trip(cb.state_dict()))
    assert (cb.best, cb.wait) == (None, 0)
