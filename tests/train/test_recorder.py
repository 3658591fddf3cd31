"""The recorder: every number of the table, worked out by hand."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import pytest
import torch
from small_learners import line_learner, sign_learner
from torch import nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError
from flambeau.nn.metrics import accuracy, mae, top_k_accuracy
from flambeau.train.callback import Callback, CancelBatchException, CancelEpochException, CancelValidException
from flambeau.train.learner import Learner


def test_the_training_loss_is_an_unbiased_exponential_average() -> None:
    learn = line_learner(3, 0)
    with learn.no_logging():
        learn.fit(1, 0.1)
    a, b, c = learn.recorder.raw_losses
    assert learn.recorder.losses[0] == pytest.approx(a)
    assert learn.recorder.losses[1] == pytest.approx((0.98 * a + b) / (0.98 + 1))
    assert learn.recorder.losses[2] == pytest.approx((0.98**2 * a + 0.98 * b + c) / (0.98**2 + 0.98 + 1))
    assert learn.recorder.values[0] == [pytest.approx(learn.recorder.losses[2])]


def test_validation_weighs_batches_by_their_size() -> None:
    class Zero(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 0

    batches = [(torch.ones(3, 1), torch.ones(3, 1)), (torch.ones(1, 1), 3 * torch.ones(1, 1))]
    learn = Learner(DataLoaders(batches, batches, device="cpu"), Zero(), nn.functional.mse_loss, metrics=mae)
    assert learn.validate() == [pytest.approx((3 * 1 + 9) / 4), pytest.approx((3 * 1 + 3) / 4)]


def test_a_row_an_epoch_with_named_columns() -> None:
    learn = line_learner(metrics=[mae, "rmse"])
    assert learn.recorder.metric_names == ["epoch", "train_loss", "valid_loss", "mae", "rmse", "time"]
    with learn.no_logging():
        learn.fit(2, 0.1)
    assert [len(row) for row in learn.recorder.values] == [4, 4]
    loss, absolute, root = learn.recorder.values[-1][1:]
    assert root == pytest.approx(math.sqrt(loss), rel=1e-5)
    assert learn.validate() == pytest.approx([loss, absolute, root])
    assert learn.recorder.final_record == learn.recorder.values[-1]


def test_history_goes_over_all_fits_and_values_over_the_last() -> None:
    learn = line_learner(metrics=mae)
    with learn.no_logging():
        learn.fit(2, 0.1)
        learn.fit(1, 0.1)
    history = learn.recorder.history
    assert list(history.columns) == ["fit", "epoch", "train_loss", "valid_loss", "mae", "time"]
    assert history[["fit", "epoch"]].to_numpy().tolist() == [[1, 0], [1, 1], [2, 0]]
    assert len(learn.recorder.values) == 1
    assert history["mae"].iloc[2] == learn.recorder.values[0][2]


def test_rates_and_momenta_of_each_batch() -> None:
    learn = line_learner(4, 0)
    with learn.no_logging():
        learn.fit_one_cycle(1, 0.1)
    assert len(learn.recorder.lrs) == len(learn.recorder.hps["mom"]) == len(learn.recorder.losses) == 4
    assert learn.recorder.lrs[0] == pytest.approx(0.1 / 25)
    assert learn.recorder.rates() == [learn.recorder.lrs[-1]]


@pytest.mark.parametrize(
    ("metrics", "names"),
    [
        (accuracy, ["accuracy"]),
        ("error_rate", ["error_rate"]),
        ([accuracy, "f1_score"], ["accuracy", "f1_score"]),
        (partial(top_k_accuracy, k=2), ["top_k_accuracy"]),
        (None, []),
    ],
)
def test_metrics_are_functions_names_partials_or_none(metrics: object, names: list[str]) -> None:
    learn = sign_learner(metrics=metrics)
    assert learn.recorder.metric_names[3:-1] == names
    assert len(learn.validate()) == 1 + len(names)


def test_a_function_of_ones_own_sees_the_whole_set() -> None:
    def n_seen(pred: torch.Tensor, target: torch.Tensor) -> float:
        return float(len(pred))

    assert line_learner(n_valid=3, metrics=n_seen).validate()[1] == 12


def test_a_cancelled_batch_is_not_recorded() -> None:
    class Skip(Callback):
        def before_batch(self) -> None:
            if self.iter == 0:
                raise CancelBatchException

    learn = line_learner(3, 2)
    with learn.no_logging():
        learn.fit(1, 0.1, cbs=Skip())
    assert len(learn.recorder.losses) == len(learn.recorder.lrs) == 2
    assert learn.recorder.values[0][1] == pytest.approx(learn.validate(dl=[learn.dls.valid[1]])[0])


def test_a_cancelled_validation_does_not_repeat_the_last_one() -> None:
    class Once(Callback):
        def before_validate(self) -> None:
            if self.epoch == 1:
                raise CancelValidException

    learn = line_learner(metrics=mae)
    with learn.no_logging():
        learn.fit(2, 0.1, cbs=Once())
    assert all(map(math.isnan, learn.recorder.values[1][1:]))


def test_a_cancelled_epoch_leaves_an_empty_row() -> None:
    class Skip(Callback):
        def before_epoch(self) -> None:
            if self.epoch == 0:
                raise CancelEpochException

    learn = line_learner()
    with learn.no_logging():
        learn.fit(2, 0.1, cbs=Skip())
    assert [len(row) for row in learn.recorder.values] == [0, 2]
    assert learn.recorder.plot_loss(skip_start=0).axes[0].lines


def test_predicting_changes_no_record() -> None:
    learn = line_learner(metrics=mae)
    with learn.no_logging():
        learn.fit(1, 0.1)
    before = learn.recorder.values[-1]
    learn.get_preds(), learn.validate()
    assert learn.recorder.values == [before]
    assert len(learn.metrics) == 1


def test_the_losses_are_drawn(tmp_path: Path) -> None:
    learn = line_learner(20)
    with pytest.raises(ArgumentError, match="no loss to plot yet"):
        learn.recorder.plot_loss()
    with learn.no_logging():
        learn.fit(2, 0.1)
    drawing = learn.recorder.plot_loss(show_epochs=True)
    assert isinstance(drawing, Drawing)
    training, valid = drawing.axes[0].lines[:2]
    assert list(training.get_ydata()) == learn.recorder.losses[5:]
    assert list(valid.get_xdata()) == [19, 39]
    assert drawing.save(tmp_path / "losses.png").stat().st_size > 1000
    drawing.close()


def test_the_schedule_is_drawn() -> None:
    learn = line_learner(8, 0)
    with learn.no_logging():
        learn.fit_one_cycle(1, 0.1)
    drawing = learn.recorder.plot_sched()
    assert [ax.get_ylabel() for ax in drawing.axes] == ["learning rate", "momentum"]
    assert list(drawing.axes[0].lines[0].get_ydata()) == learn.recorder.lrs
    drawing.close()
    with pytest.raises(ArgumentError, match="wd"):
        learn.recorder.plot_sched("wd")


def test_losses_are_not_asked_of_the_device_batch_by_batch() -> None:
    class Waiting(Callback):
        order = 51
        n_waiting: list[int] = []  # noqa: RUF012

        def after_batch(self) -> None:
            if self.training:
                self.n_waiting.append(len(self.recorder._pending))

    learn = line_learner(3, 0, default_cbs=False)
    learn.fit(1, 0.1, cbs=Waiting())
    assert Waiting.n_waiting == [1, 2, 3]


def test_perplexity_is_the_exponential_of_the_validation_loss() -> None:
    loss, perplexity = sign_learner(metrics="perplexity").validate()
    assert perplexity == pytest.approx(math.exp(loss), rel=1e-6)


def test_a_metric_of_ones_own_sees_the_tuple_that_the_loss_sees() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.layer(x), x

    def second_loss(pred: tuple[torch.Tensor, torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        return (pred[1] - target).square().mean()

    batches = [(torch.ones(2, 1), torch.full((2, 1), 4.0)), (torch.ones(1, 1), torch.full((1, 1), 1.0))]
    learn = Learner(DataLoaders(batches, batches, device="cpu"), Two(), loss_func=second_loss, metrics=second_loss)
    assert learn.validate() == [6.0, 6.0]
