"""The result of a search: its table, its words and its plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flambeau.foundation.errors import ArgumentError
from flambeau.train.search_space import read_space
from flambeau.train.tune_result import TuneResult, trial_line

optuna = pytest.importorskip("optuna")
plt = pytest.importorskip("matplotlib.pyplot")


def result_of(values: list[float | None], direction: str = "minimize", **params: Any) -> TuneResult:
    """Return a result with a trial for each value, of settings lr and opt; None: a trial that failed."""
    study = optuna.create_study(direction=direction, sampler=optuna.samplers.RandomSampler(seed=0))
    space = read_space({"lr": (1e-3, 1.0, "log"), "opt": ["sgd", "adam"], **params})
    for value in values:
        trial = study.ask()
        for name, dimension in space.items():
            dimension.suggest(trial, name)
        if value is None:
            trial.set_user_attr("error", "RuntimeError: boom")
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, value)
    return TuneResult(study, "valid_loss", "memory", space=space)


def test_the_table_has_a_row_a_trial() -> None:
    frame = result_of([0.5, None, 0.25]).frame
    assert list(frame.columns) == ["trial", "state", "valid_loss", "seconds", "epochs run", "lr", "opt", "error"]
    assert frame["state"].tolist() == ["finished", "failed", "finished"]
    assert frame["error"].tolist() == ["", "RuntimeError: boom", ""]
    assert frame["valid_loss"].isna().tolist() == [False, True, False]
    assert (frame["seconds"] >= 0).all()


def test_the_result_says_what_it_is() -> None:
    result = result_of([0.5, None, 0.25])
    lr, opt = result.best_params["lr"], result.best_params["opt"]
    assert str(result) == (
        f"Best valid_loss 0.25 in trial 2 of 3 (1 failed, 2 finished): lr={lr:.4g}, opt={opt}"
    )
    assert "valid_loss 0.250000 *" in trial_line(result.study.trials[2], result.study, "valid_loss")
    assert "failed" in trial_line(result.study.trials[1], result.study, "valid_loss")


def test_the_history_shows_values_and_the_best_so_far() -> None:
    ax = result_of([0.5, None, 0.8, 0.25]).plot_history().axes[0]
    assert ax.lines[0].get_ydata().tolist() == [0.5, 0.5, 0.25, 0.25]
    assert ax.collections[0].get_offsets().tolist() == [[0, 0.5], [2, 0.8], [3, 0.25]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["best so far", "finished", "failed"]
    ax = result_of([0.5, 0.8, 0.25], "maximize").plot_history().axes[0]
    assert ax.lines[0].get_ydata().tolist() == [0.5, 0.8, 0.8, 0.8]
    plt.close("all")


def test_one_exploded_trial_does_not_flatten_the_plot() -> None:
    ax = result_of([0.5, 0.4, 0.3, 0.45, 0.35, 1e6]).plot_history().axes[0]
    assert ax.get_ylim()[1] < 1
    assert "1 beyond the edge" in [text.get_text() for text in ax.texts]
    plt.close("all")


def test_slices_have_a_plot_a_setting(tmp_path: Path) -> None:
    result = result_of([0.5, 0.4, 0.3, 0.2], hidden=[2, 4])
    drawing = result.plot_slices()
    assert [ax.get_xlabel() for ax in drawing.axes[:3]] == ["lr", "opt", "hidden"]
    assert drawing.axes[0].get_xscale() == "log"
    assert [label.get_text() for label in drawing.axes[1].get_xticklabels()] == ["sgd", "adam"]
    assert drawing.save(tmp_path / "slices.png").stat().st_size > 5000
    assert len([ax for ax in result.plot_slices(["opt"]).axes if ax.get_xlabel()]) == 1
    with pytest.raises(ArgumentError, match="The study has no setting depth; it has lr, opt, hidden"):
        result.plot_slices(["depth"])
    plt.close("all")


def test_importances_find_what_mattered() -> None:
    result = result_of([])
    for _ in range(30):
        trial = result.study.ask()
        settings = {name: dimension.suggest(trial, name) for name, dimension in result.space.items()}
        result.study.tell(trial, {"sgd": 1.0, "adam": 0.0}[settings["opt"]])
    shares = result.importances()
    assert list(shares) == ["opt", "lr"]
    assert shares["opt"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)
    assert result.plot_importances().axes[0].get_yticklabels()[0].get_text() == "opt"
    plt.close("all")


def test_importances_of_next_to_nothing_are_refused() -> None:
    with pytest.raises(ArgumentError, match="Only 3 trials finished; what mattered can be told from 4 on"):
        result_of([0.3, 0.2, 0.1]).importances()
    with pytest.raises(ArgumentError, match="all alike"):
        result_of([0.3] * 5).plot_importances()
