"""Callbacks: what they read, in which order they run, and what they may be spared."""

from __future__ import annotations

import pytest
from small_learners import line_learner

from flambeau.foundation.errors import ArgumentError
from flambeau.train.callback import EVENTS, Callback
from flambeau.train.callbacks.schedule import ParamScheduler


def test_every_event_is_a_documented_method_that_does_nothing() -> None:
    assert len(EVENTS) == 17
    for event in EVENTS:
        assert getattr(Callback, event).__doc__
        assert getattr(Callback(), event)() is None


def test_course_names_are_read_without_learn() -> None:
    class Reader(Callback):
        def after_loss(self) -> None:
            learn = self.learn
            assert self.pred is learn.pred
            assert self.loss is learn.loss
            assert self.x is self.xb[0]
            assert self.y is self.yb[0]
            assert self.model is learn.model
            assert self.dls is learn.dls
            assert self.dl is learn.dl
            assert self.loss_func is learn.loss_func
            assert self.recorder is learn.recorder
            self.at = (self.epoch, self.n_epoch, self.iter, self.n_iter)

        def before_step(self) -> None:
            assert self.opt is self.learn.opt
            self.count = self.train_iter

    reader, learn = Reader(), line_learner(4, 2)
    with learn.no_logging():
        learn.fit(2, 0.1, cbs=reader)
    assert reader.at == (1, 2, 1, 2)
    assert reader.count == 7


def test_bare_names_are_read_only() -> None:
    class Writer(Callback):
        def after_pred(self) -> None:
            self.pred = 0  # type: ignore[misc]

    with pytest.raises(AttributeError, match="pred"):
        line_learner().validate(cbs=Writer())


def test_what_is_written_through_learn_counts() -> None:
    class Doubled(Callback):
        def after_pred(self) -> None:
            self.learn.pred = self.pred * 0

    learn = line_learner()
    assert learn.get_preds(cbs=Doubled())[0].abs().sum() == 0


def test_callbacks_run_by_order_and_then_as_they_were_added() -> None:
    said: list[str] = []

    class Says(Callback):
        def __init__(self, word: str, order: int) -> None:
            self.word, self.order = word, order

        def before_fit(self) -> None:
            said.append(self.word)

    learn = line_learner()
    with learn.no_logging():
        learn.fit(0, 0.1, cbs=[Says("c", 1), Says("a", -1), Says("b", 0), Says("d", 1)])
    assert said == ["a", "b", "c", "d"]


@pytest.mark.parametrize(("spared", "seen"), [("run_valid", {True}), ("run_train", {False})])
def test_a_callback_can_be_spared_the_batches_of_a_half(spared: str, seen: set[bool]) -> None:
    class Half(Callback):
        def __init__(self) -> None:
            self.batches: set[bool] = set()
            self.around: list[str] = []

        def before_fit(self) -> None:
            self.around.append("before_fit")

        def after_epoch(self) -> None:
            self.around.append("after_epoch")

        def after_fit(self) -> None:
            self.around.append("after_fit")

        def after_batch(self) -> None:
            self.batches.add(self.training)

    half, learn = Half(), line_learner()
    setattr(half, spared, False)
    with learn.no_logging():
        learn.fit(1, 0.1, cbs=half)
    assert half.batches == seen
    assert half.around == ["before_fit", "after_epoch", "after_fit"]


def test_the_name_is_the_class_in_snake_case() -> None:
    class SaveBestCallback(Callback):
        pass

    assert SaveBestCallback().name == "save_best"


def test_callbacks_of_one_fit_are_gone_afterwards() -> None:
    learn, cb = line_learner(), Callback()
    with learn.no_logging():
        learn.fit(1, 0.1, cbs=cb)
    assert cb not in learn.cbs
    learn.add_cb(cb)
    assert cb in learn.cbs
    assert cb not in learn.remove_cb(cb).cbs


def test_callbacks_can_be_taken_away_for_a_while() -> None:
    learn = line_learner()
    own = list(learn.cbs)
    with learn.removed_cbs([type(own[1])]):
        assert learn.cbs == own[:1]
    assert learn.cbs == own


def test_something_that_is_no_callback_is_refused() -> None:
    with pytest.raises(ArgumentError, match="cbs must be callbacks, got 3 of type int"):
        line_learner().fit(1, 0.1, cbs=[3])


def test_a_schedule_sets_what_it_names_before_each_training_batch() -> None:
    learn = line_learner(4, 1)
    with learn.no_logging():
        learn.fit(1, cbs=ParamScheduler({"lr": lambda progress: 1 + progress}))
    assert learn.recorder.lrs == [1.0, 1.25, 1.5, 1.75]


def test_a_schedule_of_something_unknown_names_what_is_near() -> None:
    with pytest.raises(ArgumentError, match="momm"):
        line_learner().fit(1, 0.1, cbs=ParamScheduler({"momm": lambda progress: progress}))
