"""The loop: the order of its events, and that a Cancel exception ends exactly its stage."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_learners import line_batches, line_learner
from torch import nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.train.callback import (
    EVENTS,
    Callback,
    CancelBackwardException,
    CancelBatchException,
    CancelEpochException,
    CancelFitException,
    CancelStepException,
    CancelTrainException,
    CancelValidException,
)
from flambeau.train.learner import Learner


class Diary(Callback):
    """Write down every event; raise `error` the first time `at` happens in epoch 0."""

    order = 30

    def __init__(self, at: str = "", error: type[BaseException] | None = None) -> None:
        self.at, self.error, self.seen = at, error, []


def _note(event: str) -> Any:
    def method(self: Diary) -> None:
        self.seen.append(event)
        if event == self.at and self.seen.count(event) == 1 and self.error is not None:
            raise self.error

    return method


for _event in EVENTS:
    setattr(Diary, _event, _note(_event))

TRAIN_BATCH = ["before_batch", "after_pred", "after_loss", "before_backward", "after_backward", "before_step",
               "after_step", "after_batch"]  # fmt: skip
VALID_BATCH = ["before_batch", "after_pred", "after_loss", "after_batch"]
EPOCH = ["before_epoch", "before_train", *TRAIN_BATCH, *TRAIN_BATCH, "after_train", "before_validate", *VALID_BATCH,
         "after_validate", "after_epoch"]  # fmt: skip


def events(at: str = "", error: type[BaseException] | None = None, n_epoch: int = 1) -> list[str]:
    learn = line_learner(2, 1)
    diary = Diary(at, error)
    with learn.no_logging():
        learn.fit(n_epoch, 0.1, cbs=diary)
    return diary.seen


def test_events_come_in_their_order() -> None:
    assert events(n_epoch=2) == ["after_create", "before_fit", *EPOCH, *EPOCH, "after_fit"]


def test_without_a_validation_loader_there_is_no_validation() -> None:
    learn, diary = line_learner(1, 0), Diary()
    with learn.no_logging():
        learn.fit(1, 0.1, cbs=diary)
    assert diary.seen[2:-1] == ["before_epoch", "before_train", *TRAIN_BATCH, "after_train", "after_epoch"]


@pytest.mark.parametrize(
    "at", ["before_fit", "before_epoch", "after_pred", "before_step", "after_batch", "after_validate"]
)
def test_cancel_fit_ends_the_fit(at: str) -> None:
    seen = events(at, CancelFitException, n_epoch=2)
    assert seen[-2:] == [at, "after_fit"]


def test_cancel_fit_in_after_fit_is_not_passed_on() -> None:
    assert events("after_fit", CancelFitException)[-1] == "after_fit"


@pytest.mark.parametrize("at", ["before_epoch", "before_train", "after_loss", "after_train", "before_validate"])
def test_cancel_epoch_goes_on_with_the_next_epoch(at: str) -> None:
    seen = events(at, CancelEpochException, n_epoch=2)
    first_end = seen.index("after_epoch")
    assert seen[first_end - 1] == at
    assert seen[first_end + 1 :] == [*EPOCH, "after_fit"]


def test_cancel_epoch_in_after_epoch_changes_nothing() -> None:
    assert events("after_epoch", CancelEpochException) == events()


@pytest.mark.parametrize("at", ["before_train", "before_batch", "after_backward", "after_step"])
def test_cancel_train_goes_on_with_validation(at: str) -> None:
    seen = events(at, CancelTrainException)
    end = seen.index("after_train")
    assert seen[end - 1] == at
    assert seen[end:] == ["after_train", "before_validate", *VALID_BATCH, "after_validate", "after_epoch", "after_fit"]


def test_cancel_train_in_after_train_changes_nothing() -> None:
    assert events("after_train", CancelTrainException) == events()


def test_cancel_valid_ends_the_validation() -> None:
    seen = events("before_validate", CancelValidException)
    assert seen[-4:] == ["before_validate", "after_validate", "after_epoch", "after_fit"]
    assert events("after_validate", CancelValidException) == events()


@pytest.mark.parametrize("at", ["before_batch", "after_pred", "after_loss", "before_backward", "before_step"])
def test_cancel_batch_goes_on_with_the_next_batch(at: str) -> None:
    seen = events(at, CancelBatchException)
    end = seen.index("after_batch")
    assert seen[end - 1] == at
    assert seen[end + 1 : end + 9] == TRAIN_BATCH


def test_cancel_batch_in_after_batch_changes_nothing() -> None:
    assert events("after_batch", CancelBatchException) == events()


@pytest.mark.parametrize("at", ["before_backward", "after_backward"])
def test_cancel_backward_goes_on_with_the_step(at: str) -> None:
    seen = events(at, CancelBackwardException)
    assert seen == events()


@pytest.mark.parametrize("at", ["before_step", "after_step"])
def test_cancel_step_goes_on_with_the_next_batch(at: str) -> None:
    assert events(at, CancelStepException) == events()


def test_cancelling_the_step_keeps_the_weights_and_clears_the_gradients() -> None:
    class NoStep(Callback):
        def before_step(self) -> None:
            raise CancelStepException

    learn = line_learner()
    before = learn.model.weight.clone()
    with learn.no_logging():
        learn.fit(1, 0.1, cbs=NoStep)
    assert torch.equal(learn.model.weight, before)
    assert learn.model.weight.grad is None


def test_cancelling_backward_leaves_no_gradient_to_step_with() -> None:
    class NoBackward(Callback):
        def before_backward(self) -> None:
            raise CancelBackwardException

    learn = line_learner(wd=0.0)
    before = learn.model.weight.clone()
    with learn.no_logging():
        learn.fit(1, 0.1, cbs=NoBackward)
    assert torch.equal(learn.model.weight, before)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("at", ["before_fit", "before_batch", "after_loss", "after_validate"])
def test_after_fit_runs_when_the_fit_breaks(at: str, error: type[BaseException]) -> None:
    learn, diary = line_learner(), Diary(at, error)
    with learn.no_logging(), pytest.raises(error):
        learn.fit(1, 0.1, cbs=diary)
    assert diary.seen[-1] == "after_fit"


def test_every_after_fit_runs_although_an_earlier_one_fails() -> None:
    class Broken(Callback):
        def after_fit(self) -> None:
            raise ValueError("broken")

    learn, diary = line_learner(), Diary()
    with learn.no_logging(), pytest.raises(ValueError, match="broken"):
        learn.fit(1, 0.1, cbs=[Broken(), diary])
    assert diary.seen[-1] == "after_fit"


def test_ctrl_c_in_the_middle_leaves_a_learner_that_works(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    class CtrlC(Callback):
        order = 70  # after the recorder

        def after_batch(self) -> None:
            if self.training and self.iter == 1:
                raise KeyboardInterrupt

    learn = line_learner(path=tmp_path)
    before = learn.model.weight.clone()
    cbs = list(learn.cbs)
    with pytest.raises(KeyboardInterrupt):
        learn.fit(3, 0.1, cbs=CtrlC())
    learned = learn.model.weight.clone()
    assert not torch.equal(learned, before)
    assert learn.cbs == cbs
    assert learn.cbs[1].display is None
    assert len(learn.recorder.losses) == 2
    assert learn.model.weight.grad is None
    assert learn.get_preds()[0].shape == (8, 1)
    assert torch.equal(learn.model.weight, learned)
    learn.load(learn.save("kept"))
    learn.fit(1, 0.1)
    assert len(learn.recorder.losses) == 4


def test_the_last_batch_is_let_go_of_after_the_fit() -> None:
    learn = line_learner()
    with learn.no_logging():
        learn.fit(1, 0.1)
    assert learn.xb == ()
    assert learn.batch is None
    assert learn.loss is None


def test_a_callback_may_validate_in_the_middle_of_a_fit() -> None:
    class Nested(Callback):
        def after_train(self) -> None:
            self.found = self.learn.validate()
            self.learn.get_preds()
            assert self.training
            assert self.learn.model.training

    class Plain(Callback):
        pass

    rows = []
    for cb in (Nested(), Plain()):
        learn = line_learner(metrics="mae")
        with learn.no_logging():
            learn.fit(2, 0.1, cbs=cb)
        rows.append([list(row) for row in learn.recorder.values])
    assert rows[0] == rows[1]


def test_progress_goes_from_0_to_1_even_when_batches_are_cancelled() -> None:
    class Half(Callback):
        seen: list[float] = []  # noqa: RUF012

        def before_batch(self) -> None:
            if self.training:
                self.seen.append(self.pct_train)
                if self.iter == 1:
                    raise CancelBatchException

    learn, half = line_learner(4), Half()
    with learn.no_logging():
        learn.fit(2, 0.1, cbs=half)
    assert half.seen == [i / 8 for i in range(8)]
    assert learn.pct_train == pytest.approx(1.0)


def test_a_short_epoch_does_not_shift_the_schedule_of_the_next() -> None:
    class Short(Callback):
        at: list[float] = []  # noqa: RUF012

        def before_train(self) -> None:
            self.at.append(self.pct_train)

        def after_batch(self) -> None:
            if self.training:
                raise CancelTrainException

        def before_batch(self) -> None:
            if self.training:
                self.at.append(self.pct_train)

    learn, short = line_learner(4), Short()
    with learn.no_logging():
        learn.fit(2, 0.1, cbs=short)
    assert [short.at[1], short.at[3]] == [0.0, 0.5]


def test_a_batch_may_have_several_inputs_and_targets() -> None:
    class Adds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return a * self.scale, b * self.scale

    def both(pred: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (pred[0] - a).abs().mean() + (pred[1] - b).abs().mean()

    batches = [(torch.ones(3), torch.ones(3), torch.ones(3), torch.zeros(3))] * 2
    learn = Learner(DataLoaders(batches, batches, n_inp=2, device="cpu"), Adds(), loss_func=both)
    assert learn.validate() == [1.0]
    (first, second), targets = learn.get_preds()
    assert first.tolist() == second.tolist() == [1.0] * 6
    assert [t.tolist() for t in targets] == [[1.0] * 6, [0.0] * 6]


def test_batches_without_targets_are_predicted_but_not_scored() -> None:
    learn = line_learner()
    batches = [torch.ones(2, 1), torch.zeros(2, 1)]
    preds, targets = learn.get_preds(dl=batches)
    assert preds.shape == (4, 1)
    assert targets is None
    assert all(value != value for value in learn.validate(dl=batches))


def test_dictionaries_are_inputs() -> None:
    class Named(nn.Module):
        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return batch["a"] * 2

    batches = [({"a": torch.ones(2)}, torch.ones(2)), ({"a": torch.zeros(2)}, torch.ones(2))]
    learn = Learner(DataLoaders(batches, batches, device="cpu"), Named(), loss_func=nn.functional.l1_loss)
    inputs, preds, _ = learn.get_preds(with_input=True)
    assert inputs["a"].tolist() == [1, 1, 0, 0]
    assert preds.tolist() == [2, 2, 0, 0]


def test_a_model_sees_training_and_evaluation_mode() -> None:
    class Modes(Callback):
        seen: list[bool] = []  # noqa: RUF012

        def before_batch(self) -> None:
            self.seen.append(self.model.training)

    learn = line_learner(1, 1)
    with learn.no_logging():
        learn.fit(1, 0.1, cbs=Modes())
    assert Modes.seen == [True, False]
    assert not learn.model.training


def test_a_torch_loader_is_a_loader() -> None:
    data = torch.utils.data.TensorDataset(torch.randn(8, 1), torch.randn(8, 1))
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    learn = Learner(DataLoaders(loader, line_batches(1), device="cpu"), nn.Linear(1, 1), loss_func=nn.MSELoss())
    with learn.no_logging():
        learn.fit(1, 0.1)
    assert len(learn.recorder.losses) == 2
