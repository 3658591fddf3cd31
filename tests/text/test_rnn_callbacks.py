"""The callbacks of recurrent models: resets, regularisation, and the state that a resumed run goes on with."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from small_texts import documents, language_learner, padded, small_classifier
from torch import Tensor, nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.errors import ArgumentError
from flambeau.nn.losses import CrossEntropyLossFlat
from flambeau.nn.metrics import accuracy
from flambeau.text.rnn_callbacks import ModelResetter, RNNCallback, RNNRegularizer, rnn_cbs
from flambeau.train.callback import Callback
from flambeau.train.learner import Learner


class CourseModel(nn.Module):
    """A language model as the course's chapter 12 writes it: it answers with a tuple, and carries a list."""

    def __init__(self, vocab_sz: int = 20, n_hidden: int = 8, n_layers: int = 2, p: float = 0.5) -> None:
        super().__init__()
        self.i_h = nn.Embedding(vocab_sz, n_hidden)
        self.rnn = nn.LSTM(n_hidden, n_hidden, n_layers, batch_first=True)
        self.drop = nn.Dropout(p)
        self.h_o = nn.Linear(n_hidden, vocab_sz)
        self.h_o.weight = self.i_h.weight
        self.h = [torch.zeros(n_layers, 4, n_hidden) for _ in range(2)]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raw, h = self.rnn(self.i_h(x), self.h)
        out = self.drop(raw)
        self.h = [state.detach() for state in h]
        return self.h_o(out), raw, out

    def reset(self) -> None:
        for state in self.h:
            state.zero_()


def course_learner(cbs: Any = None, p: float = 0.5, **options: Any) -> Learner:
    torch.manual_seed(0)
    callbacks = [ModelResetter, RNNRegularizer(alpha=2, beta=1)] if cbs is None else cbs
    return language_learner(model=CourseModel(p=p), cbs=callbacks, metrics=accuracy, **options)


class Note(Callback):
    """Note what is added to the loss, and what the model answered."""

    order = 20

    def __init__(self) -> None:
        self.added: list[float] = []
        self.answers: list[Any] = []

    def after_loss(self) -> None:
        self.answers.append(self.learn.pred)
        if self.learn.training:
            self.added.append(float((self.learn.loss_grad - self.learn.loss).detach()))


def quiet_fit(learn: Learner, n_epoch: int = 1, **options: Any) -> None:
    with learn.no_logging():
        learn.fit(n_epoch, 0.01, **options)


def test_the_regulariser_adds_its_two_terms_by_their_formulas() -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    learn, note = language_learner(cbs=[ModelResetter, RNNRegularizer(alpha=2, beta=3)]), Note()
    watching = learn.model.watch(lambda raw, dropped: seen.append((raw.detach(), dropped.detach())))
    quiet_fit(learn, cbs=note)
    watching.remove()
    raw, dropped = seen[0]
    wanted = 2 * dropped.pow(2).mean() + 3 * (raw[:, 1:] - raw[:, :-1]).pow(2).mean()
    assert note.added[0] == pytest.approx(wanted.item(), abs=1e-6)
    assert not torch.equal(raw, dropped)
    assert len(note.added) == 8


def test_the_models_of_the_course_are_regularised_by_what_they_answer() -> None:
    learn, note = course_learner(p=0), Note()
    raw = copy.deepcopy(learn.model)(learn.dls.train[0][0])[1].detach()
    quiet_fit(learn, cbs=note)
    wanted = 2 * raw.pow(2).mean() + (raw[:, 1:] - raw[:, :-1]).pow(2).mean()
    assert note.added[0] == pytest.approx(wanted.item(), abs=1e-6)
    assert all(isinstance(answer, Tensor) for answer in note.answers)
    assert len(note.answers) == 10  # in validation as well


def test_the_three_callbacks_of_the_course_go_together() -> None:
    alone, listed = Note(), Note()
    torch.manual_seed(1)
    quiet_fit(course_learner(), cbs=alone)
    torch.manual_seed(1)
    quiet_fit(course_learner([ModelResetter, RNNCallback, RNNRegularizer(2, 1)]), cbs=listed)
    assert listed.added == alone.added


def test_a_model_of_the_course_needs_no_regulariser() -> None:
    learn = course_learner([ModelResetter, RNNCallback])
    quiet_fit(learn, 2)
    assert learn.get_preds()[0].shape == (8, 6, 20)


def test_a_list_of_layers_counts_by_its_last() -> None:
    callback = RNNCallback()
    callback.learn = language_learner()
    ones, zeros = torch.ones(2, 3, 4), torch.zeros(2, 3, 4)
    callback.learn.pred = (ones, [zeros, ones], [ones, zeros])
    callback.after_pred()
    assert callback.learn.pred is ones
    assert callback.raw_out is ones
    assert callback.out is zeros


def test_no_graph_is_kept_after_a_batch() -> None:
    learn = language_learner()
    regulariser = next(cb for cb in learn.cbs if isinstance(cb, RNNRegularizer))
    quiet_fit(learn)
    assert regulariser.raw_out is None
    assert regulariser.out is None
    assert not learn.model[1].output_dp._forward_hooks


def test_a_classifier_is_regularised_by_its_features() -> None:
    batch = padded(documents(4, 9, 13, 6)), torch.tensor([0, 1, 2, 0])
    loaders = DataLoaders([batch], [batch], device="cpu")
    learn, note = Learner(loaders, small_classifier(), CrossEntropyLossFlat(), cbs=rnn_cbs()), Note()
    quiet_fit(learn, cbs=note)
    assert note.added[0] > 0


def test_a_model_that_gives_no_features_is_told() -> None:
    learn = language_learner(model=nn.Sequential(nn.Embedding(20, 4), nn.Linear(4, 20)), cbs=RNNRegularizer(2, 1))
    with pytest.raises(ArgumentError, match="last recurrent layer's features, and Sequential gave a prediction only"):
        quiet_fit(learn)


def test_a_model_that_cannot_be_reset_is_told() -> None:
    learn = language_learner(model=nn.Sequential(nn.Embedding(20, 4), nn.Linear(4, 20)), cbs=ModelResetter)
    with pytest.raises(ArgumentError, match="ModelResetter calls the model's reset, and Sequential has none"):
        quiet_fit(learn)


def test_each_pass_begins_without_a_state_and_none_is_left_after_the_fit() -> None:
    calls: list[str] = []
    learn = language_learner()
    reset = learn.model.reset
    learn.model.reset = lambda: (calls.append("reset"), reset())  # type: ignore[assignment]
    quiet_fit(learn)
    assert calls[:2] == ["reset", "reset"]
    assert learn.model[0].hidden is None


@pytest.mark.parametrize("make", [language_learner, lambda **options: course_learner(p=0, **options)])
def test_a_validation_amid_the_training_leaves_its_state_alone(make: Any) -> None:
    class Validate(Callback):
        def after_batch(self) -> None:
            if self.learn.training and self.learn.iter == 3:
                self.learn.validate()

    plain, broken_into = Note(), Note()
    quiet_fit(make(n_valid=1), cbs=plain)
    quiet_fit(make(n_valid=1), cbs=[broken_into, Validate()])
    assert broken_into.added == plain.added


def test_only_tensors_that_are_no_weights_belong_to_the_state() -> None:
    learn = course_learner()
    model = learn.model
    model.shared, model.sizes, model.odd = [model.i_h.weight], [1, 2], (torch.ones(1), model.drop)
    state = learn.cbs[[type(cb) for cb in learn.cbs].index(ModelResetter)].state_dict()
    assert list(state) == [""]
    assert list(state[""]) == ["h"]


def test_without_weights_for_its_terms_nothing_is_regularised() -> None:
    assert [type(cb) for cb in rnn_cbs(0, 0)] == [ModelResetter, RNNCallback]
    assert [type(cb) for cb in rnn_cbs()] == [ModelResetter, RNNRegularizer]
    regulariser = rnn_cbs()[1]
    assert isinstance(regulariser, RNNRegularizer)
    assert (regulariser.alpha, regulariser.beta) == (2.0, 1.0)


class Stop(Callback):
    """End the fit after a batch, as a kill would."""

    order = 200

    def __init__(self, epoch: int, batch: int) -> None:
        self.at = epoch, batch

    def after_batch(self) -> None:
        if self.learn.training and (self.learn.epoch, self.learn.iter) == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "make", [language_learner, lambda **o: course_learner([ModelResetter, RNNRegularizer(2, 1)], **o)]
)
@pytest.mark.parametrize("batch", [4, 7])
def test_a_run_broken_off_amid_a_text_ends_with_the_same_numbers(make: Any, batch: int, tmp_path: Path) -> None:
    whole = make(path=tmp_path / "whole")
    quiet_fit(whole, 3, checkpoint=1)
    broken = make(path=tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        quiet_fit(broken, 3, checkpoint=1, cbs=Stop(1, batch))
    resumed = make(path=tmp_path / "broken")
    quiet_fit(resumed, 3, checkpoint=1, resume=True)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name
