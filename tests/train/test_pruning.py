"""Pruning: which trials are given up, which never are, and what the study is told."""

from __future__ import annotations

from typing import Any

import pytest
from small_learners import line_learner

from flambeau.foundation.errors import UnknownNameError
from flambeau.train.callbacks.pruning import LENGTHS, PruningCallback, lags_behind

optuna = pytest.importorskip("optuna")


def study_of(n: int, values: tuple[float, ...], lengths: list[int], direction: str = "minimize") -> Any:
    """Return a study with n finished trials, each of which reported these values."""
    study = optuna.create_study(direction=direction, pruner=optuna.pruners.NopPruner())
    for _ in range(n):
        trial = study.ask()
        trial.set_user_attr(LENGTHS, lengths)
        for step, value in enumerate(values):
            trial.report(value, step)
        study.tell(trial, values[-1])
    return study


def test_a_trial_lags_when_its_best_is_worse_than_the_median() -> None:
    study = study_of(5, (2.0, 1.0, 1.5), [3])
    trial = study.ask()
    assert lags_behind(trial, [2.1], [3])
    assert not lags_behind(trial, [2.0], [3])
    assert lags_behind(trial, [1.9, 1.1], [3])
    assert not lags_behind(trial, [0.5, 9.0], [3])  # its best so far is 0.5


def test_a_larger_number_is_better_where_the_study_says_so() -> None:
    trial = study_of(5, (0.5, 0.8), [2], "maximize").ask()
    assert lags_behind(trial, [0.4], [2])
    assert not lags_behind(trial, [0.6], [2])


def test_few_trials_and_trainings_of_another_length_are_no_standard() -> None:
    assert not lags_behind(study_of(4, (1.0, 1.0), [2]).ask(), [9.0], [2])
    trial = study_of(5, (1.0, 1.0), [2]).ask()
    assert lags_behind(trial, [9.0], [2])
    assert not lags_behind(trial, [9.0], [4])


def fitted(study: Any, n_epoch: int = 3, fits: int = 1, **options: Any) -> Any:
    learn, trial = line_learner(), study.ask()
    learn.add_cb(PruningCallback(trial, **options))
    with learn.no_logging():
        for _ in range(fits):
            learn.fit(n_epoch, 1e-6)
    return trial


def test_epochs_are_reported_over_all_fits() -> None:
    study = study_of(0, (), [])
    fitted(study, 2, fits=2)
    reported = study.trials[0].intermediate_values
    assert list(reported) == [0, 1, 2, 3]
    assert study.trials[0].user_attrs[LENGTHS] == [2, 2]


def test_a_bad_trial_is_given_up_but_never_in_its_last_epoch() -> None:
    study = study_of(5, (1e-9, 1e-9, 1e-9), [3])
    with pytest.raises(optuna.TrialPruned, match="given up after epoch 0: worse than the median at that epoch"):
        fitted(study, 3)
    fitted(study_of(5, (1e-9,), [1]), 1)
    fitted(study, 3, rule="none")


def test_the_studys_own_pruner_may_decide() -> None:
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=-1.0))
    with pytest.raises(optuna.TrialPruned, match=r"given up after epoch 0 by the study's pruner"):
        fitted(study, rule="study")
    with pytest.raises(UnknownNameError, match=r"There is no rule of pruning 'medain'. Did you mean 'median'"):
        PruningCallback(study.ask(), rule="medain")


def test_the_rate_finder_reports_nothing() -> None:
    study = study_of(0, (), [])
    learn, trial = line_learner(), study.ask()
    learn.add_cb(PruningCallback(trial))
    learn.lr_find(num_it=20, show_plot=False)
    assert study.trials[0].intermediate_values == {}
    with learn.no_logging():
        learn.fit(1, 0.1)
    assert list(study.trials[0].intermediate_values) == [0]


def test_a_learner_without_validation_has_no_validation_loss() -> None:
    learn = line_learner(n_valid=0)
    learn.add_cb(PruningCallback(study_of(0, (), []).ask()))
    with pytest.raises(UnknownNameError, match=r"'valid_loss'.*this training record: train_loss"), learn.no_logging():
        learn.fit(1)
