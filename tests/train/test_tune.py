"""Searching: trials on small learners, errors among them, studies that go on, and several processes on one study."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_learners import line_learner, sign_learner
from small_searches import SPACE, make_learner, out_of_memory, parabola, train

from flambeau.foundation.errors import ArgumentError, DataError, MissingDependencyError, TrainingError, UnknownNameError
from flambeau.nn.optimizers import SGD, Adam
from flambeau.train.learner import Learner
from flambeau.train.tune import tune
from flambeau.train.tune_result import TuneResult

optuna = pytest.importorskip("optuna")
ROOT = Path(__file__).resolve().parents[2]


def search(n_trials: int = 4, space: Any = SPACE, **options: Any) -> TuneResult:
    return tune(make_learner, space, n_trials, **{"train": train, "seed": 0, "verbose": False, **options})


def values(result: TuneResult) -> list[float]:
    return [trial.value for trial in result.study.trials]


def test_the_best_trial_is_the_smallest_loss() -> None:
    result = search(6)
    frame = result.frame
    assert frame["state"].isin(["finished", "pruned"]).all()
    finished = frame[frame["state"] == "finished"]
    assert result.best_value == finished["valid_loss"].min()
    best = finished.loc[finished["valid_loss"].idxmin()]
    assert result.best_params == {"hidden": best["hidden"], "lr": best["lr"]}
    assert not result.interrupted


def test_the_value_is_that_of_the_last_epoch() -> None:
    kept: list[Learner] = []

    def training(learn: Learner, lr: float) -> None:
        learn.fit(2, lr)
        learn.fit(1, lr)
        kept.append(learn)

    result = search(1, train=training)
    assert result.best_value == kept[0].recorder.rows[-1]["valid_loss"]
    assert result.frame["epochs run"].tolist() == [3]
    assert result.study.trials[0].intermediate_values == {
        step: row["valid_loss"] for step, row in enumerate(kept[0].recorder.rows)
    }


def test_the_direction_is_guessed_told_and_can_be_turned(capsys: pytest.CaptureFixture[str]) -> None:
    assert search(1, monitor="accuracy", verbose=True).study.direction.name == "MAXIMIZE"
    said = capsys.readouterr().out.splitlines()
    assert said[0] == (
        "Searching hidden, lr for the largest accuracy (direction='minimize' turns that round); kept in memory "
        "(storage=... keeps it, to go on later or with several processes)"
    )
    assert said[1].startswith("trial   0  accuracy ")
    assert said[-1].startswith("Best accuracy ")
    assert search(1).study.direction.name == "MINIMIZE"
    assert search(1, monitor="accuracy", direction="minimize").study.direction.name == "MINIMIZE"


def test_a_seed_repeats_a_search_and_so_does_going_on(tmp_path: Path) -> None:
    whole = search(6)
    assert values(search(6)) == values(whole)
    assert values(search(6, seed=1)) != values(whole)
    search(2, storage=tmp_path)
    resumed = search(6, storage=tmp_path)
    assert values(resumed) == values(whole)
    assert [trial.params for trial in resumed.study.trials] == [trial.params for trial in whole.study.trials]


def test_a_seed_leaves_the_chance_of_the_caller_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    search(1)
    assert torch.equal(torch.rand(1), expected)


def test_n_trials_counts_all_that_were_ever_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search(3, storage=tmp_path)
    assert (tmp_path / "study.journal").is_file()
    assert len(search(3, storage=tmp_path).frame) == 3
    assert len(search(4, storage=tmp_path / "study.journal", verbose=True).frame) == 4
    assert "3 trials are there already; 1 of 4 to go." in capsys.readouterr().out
    assert len(search(1, storage=tmp_path, study_name="other").frame) == 1


def test_an_objective_of_optuna_is_taken() -> None:
    result = tune(parabola, n_trials=15, seed=0, verbose=False)
    assert result.best_value == (result.best_params["x"] - 2) ** 2
    assert result.best_value == result.frame["value"].min()
    assert result.best_value < 1


def test_objects_of_a_list_reach_the_functions() -> None:
    def making(opt_func: Any) -> Learner:
        assert opt_func in (SGD, Adam)
        return sign_learner(opt_func=opt_func)

    result = tune(making, {"opt_func": [SGD, Adam], "epochs": [1]}, 2, verbose=False, seed=0)
    assert result.best_params["opt_func"] in (SGD, Adam)
    assert result.best_params["epochs"] == 1


def test_settings_go_to_whom_names_them_and_the_rest_to_options() -> None:
    seen: list[dict[str, Any]] = []

    def making(**options: Any) -> Learner:
        seen.append(options)
        return sign_learner()

    def training(learn: Learner, lr: float) -> None:
        learn.fit(1, lr)

    tune(making, {"lr": [0.1], "width": [3]}, 1, train=training, verbose=False)
    assert seen == [{"width": 3}]


# trials that fail


def test_a_crash_is_noted_and_the_search_goes_on() -> None:
    result = search(8, train=out_of_memory, seed=1)
    frame = result.frame
    failed = frame[frame["state"] == "failed"]
    assert 0 < len(failed) < 8
    assert (failed["lr"] > 0.1).all()
    assert failed["error"].str.startswith("OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB.").all()
    assert failed["error"].str.contains("small_searches.py:").all()
    assert result.best_params["lr"] <= 0.1


def test_when_every_trial_fails_the_first_error_is_told() -> None:
    def broken(learn: Learner, lr: float) -> None:
        raise RuntimeError("no luck")

    with pytest.raises(TrainingError, match=r"None of 3 trials finished; 3 raised an error \(RuntimeError\)") as told:
        search(3, train=broken)
    assert "RuntimeError: no luck" in str(told.value)
    assert "'hidden':" in str(told.value)


def test_a_loss_that_is_no_number_ends_the_trial() -> None:
    def exploding(learn: Learner, lr: float) -> None:
        learn.fit(3, float("inf"))

    with pytest.raises(TrainingError, match="None of 2 trials finished; all were given up: valid_loss is nan"):
        search(2, train=exploding)


def test_a_pruned_trial_is_no_failure() -> None:
    bad = optuna.pruners.ThresholdPruner(upper=-1)

    def training(learn: Learner, lr: float) -> None:
        learn.fit(1 if lr < 0.03 else 3, lr)

    result = search(8, train=training, prune=bad)
    frame = result.frame
    assert set(frame["state"]) == {"finished", "pruned"}
    pruned = frame[frame["state"] == "pruned"]
    assert (pruned["epochs run"] == 1).all()
    assert (pruned["error"] == "given up after epoch 0 by the study's pruner").all()


def interrupting(after: int) -> Any:
    n_calls = []

    def training(learn: Learner, lr: float) -> None:
        n_calls.append(1)
        if len(n_calls) > after:
            raise KeyboardInterrupt
        learn.fit(1, lr)

    return training


def test_ctrl_c_keeps_the_finished_trials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = search(10, train=interrupting(2), storage=tmp_path)
    assert result.interrupted
    assert result.frame["state"].tolist() == ["finished", "finished", "stopped"]
    assert result.best_value == min(values(result)[:2])
    assert "Interrupted." in capsys.readouterr().out
    again = search(4, train=interrupting(99), storage=tmp_path)
    assert again.frame["state"].tolist() == ["finished", "finished", "stopped", "finished", "finished"]


def test_ctrl_c_in_the_first_trial_is_passed_on() -> None:
    with pytest.raises(KeyboardInterrupt):
        search(10, train=interrupting(0))


# mistakes


def test_mistakes_are_told_before_the_first_trial(tmp_path: Path) -> None:
    for words, options in (
        ("The space is empty", {"space": {}}),
        ("n_trials must be a whole number", {"n_trials": 0}),
        ("processes must be a whole number", {"processes": 0}),
        ("seed must be a whole number", {"seed": -1}),
        ("There is no direction 'min'", {"direction": "min"}),
        ("prune is True, False or a pruner", {"prune": "median"}),
        ("storage is a path", {"storage": 3}),
        ("2 processes need a place", {"processes": 2}),
    ):
        with pytest.raises(ArgumentError, match=words):
            search(**options)
    with pytest.raises(ArgumentError, match="make_learner must be a function"):
        tune(line_learner(), {"lr": [1]})  # type: ignore[arg-type]


def test_an_unknown_number_to_watch_lists_those_there_are() -> None:
    with pytest.raises(UnknownNameError) as told:
        search(5, monitor="acuracy")
    assert "There is no column to monitor 'acuracy'. Did you mean 'accuracy'?" in str(told.value)
    assert "this training record: train_loss, valid_loss, accuracy" in str(told.value)


def test_a_setting_that_nobody_takes_is_told() -> None:
    with pytest.raises(UnknownNameError, match=r"'hiden'. Did you mean 'hidden'"):
        search(space={"hiden": [2], "lr": [0.1]})
    with pytest.raises(ArgumentError, match=r"need lr, which the space does not hold"):
        search(space={"hidden": [2]})
    with pytest.raises(ArgumentError, match="the space holds no epochs"):
        search(space={"hidden": [2], "lr": [0.1]}, train=None)


def test_functions_that_return_something_else_are_told() -> None:
    with pytest.raises(ArgumentError, match="make_learner must return a learner, and returned None"):
        tune(lambda lr: None, {"lr": [1.0], "epochs": [1]}, 3, verbose=False)
    with pytest.raises(TrainingError, match="train ended without an epoch"):
        search(2, train=lambda learn, lr: None)


def test_a_storage_that_cannot_be_written_or_read_is_told(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("some words\nand more\n")
    with pytest.raises(ArgumentError, match=r"cannot be kept in .*notes.txt.*study.journal"):
        search(storage=file / "below")
    with pytest.raises(DataError, match=r"notes.txt is no journal of a study"):
        search(storage=file)
    assert file.read_text() == "some words\nand more\n"
    with pytest.raises(ArgumentError, match=r"postgresql://me:\*\*\*@nowhere/x cannot be opened") as told:
        search(storage="postgresql://me:secret@nowhere/x")
    assert "secret" not in str(told.value)


def test_an_unfinished_last_line_of_a_journal_is_cut_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search(2, storage=tmp_path)
    journal = tmp_path / "study.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":4,"worker_id":"ab')
    assert len(search(3, storage=tmp_path).frame) == 3
    assert journal.read_bytes().startswith(whole + b'{"op_code"')
    assert "its last line was not finished (28 bytes" in capsys.readouterr().out
    words = tmp_path / "words.txt"
    words.write_text("one line of words")
    with pytest.raises(DataError, match=r"words.txt is no journal"):
        search(storage=words)
    assert words.read_text() == "one line of words"


def test_a_full_disk_names_the_journal_and_leaves_it_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search(1, storage=tmp_path)
    journal = tmp_path / "study.journal"
    whole = journal.read_bytes()

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with open(journal, "ab") as file:
        file.write(b'{"op_code":')
    with pytest.raises(OSError, match=r"No space left on device: .*study.journal"):
        search(2, storage=tmp_path)
    assert journal.read_bytes().startswith(whole)
    assert journal.read_bytes().endswith(b"\n")


def test_an_objective_takes_no_space() -> None:
    def objective(x: float) -> float:
        return x * x

    with pytest.raises(ArgumentError, match=r"must return a learner.*objective takes a trial and no space.*epochs"):
        tune(objective, {"x": (-5.0, 5.0)})


def test_of_several_processes_the_first_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    search(1, verbose=True)
    assert capsys.readouterr().out == ""


def test_another_study_of_the_same_name_is_refused(tmp_path: Path) -> None:
    search(1, storage=tmp_path)
    with pytest.raises(ArgumentError, match="shall minimize valid_loss; this call shall maximize accuracy"):
        search(2, storage=tmp_path, monitor="accuracy")
    with pytest.raises(ArgumentError, match="which is another kind of choice"):
        search(2, storage=tmp_path, space={"hidden": [2, 3], "lr": (1e-3, 1.0, "log")})


def test_functions_that_other_processes_cannot_find_are_told(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="cannot be found by another process"):
        search(processes=2, storage=tmp_path, train=lambda learn, lr: learn.fit(1, lr))


# several processes


SCRIPT = """
import json, sys
import torch
from small_searches import SPACE, make_learner, train
from flambeau.train.tune import tune

torch.set_num_threads(1)
result = tune(make_learner, SPACE, 12, train=train, storage=sys.argv[1], seed=int(sys.argv[2]), verbose=False)
trials = [trial for trial in result.study.trials if trial.user_attrs["process"][1] == __import__("os").getpid()]
print(json.dumps({"own": [trial.number for trial in trials]}))
"""


def start(script: Path, *arguments: Any) -> subprocess.Popen[str]:
    paths = [str(ROOT / "src"), str(ROOT / "tests" / "train")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_runs_of_a_script_share_a_study(tmp_path: Path) -> None:
    script = tmp_path / "search.py"
    script.write_text(SCRIPT)
    runs = [start(script, tmp_path / "study", seed) for seed in (0, 1)]
    said = [run.communicate(timeout=100) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    own = [json.loads(out.splitlines()[-1])["own"] for out, _ in said]
    frame = search(12, storage=tmp_path / "study").frame  # 12 are there: nothing is added
    assert len(frame) == 12
    assert (frame["state"] != "running").all()
    assert set(own[0]) | set(own[1]) >= set(frame["trial"])
    assert not set(own[0]) & set(own[1])


def running_trial(storage: Path, host: str, process: int) -> None:
    """Leave a trial running, as a process of this number on this host would that has been killed."""
    search(1, storage=storage)
    journal = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(storage / "study.journal"))
    )
    trial = optuna.load_study(study_name="flambeau", storage=journal).ask()
    trial.set_user_attr("process", [host, process])


def test_a_killed_process_leaves_a_study_to_go_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    running_trial(tmp_path, socket.gethostname(), ended.pid)
    result = search(2, storage=tmp_path, verbose=True)
    assert "1 trial(s) of a process that was killed are left out." in capsys.readouterr().out
    assert result.frame["state"].tolist() == ["finished", "stopped", "finished"]
    assert result.frame["error"][1] == "interrupted, or its process was killed"


def test_a_trial_that_runs_elsewhere_is_waited_for(tmp_path: Path) -> None:
    running_trial(tmp_path, "another-machine", 1)
    assert search(3, storage=tmp_path).frame["state"].tolist() == ["finished", "running", "finished"]


@pytest.mark.slow
def test_a_process_killed_for_real_leaves_its_trials(tmp_path: Path) -> None:
    script = tmp_path / "search.py"
    killing = "def train(learn, lr):\n    learn.fit(1, lr)\n    os.kill(os.getpid(), signal.SIGKILL)\n\n"
    script.write_text("import os, signal\n" + SCRIPT.replace("torch.set_num", f"{killing}torch.set_num"))
    run = start(script, tmp_path / "study", 0)
    run.communicate(timeout=100)
    assert run.returncode == -signal.SIGKILL
    assert search(2, storage=tmp_path / "study").frame["state"].tolist() == ["stopped", "finished", "finished"]


@pytest.mark.slow
def test_new_processes_share_the_work(tmp_path: Path) -> None:
    result = search(6, storage=tmp_path, processes=2, seed=None)
    assert len(result.frame) == 6
    assert len({trial.user_attrs["process"][1] for trial in result.study.trials}) == 2
    assert {trial.user_attrs["process"][1] for trial in result.study.trials}.isdisjoint({os.getpid()})


@pytest.mark.slow
def test_a_mistake_in_new_processes_is_told_here(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="There is no column to monitor 'f1'"):
        search(6, storage=tmp_path, processes=2, monitor="f1")


def test_a_missing_optuna_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingDependencyError, match=r'needs optuna, which .* pip install "flambeau\[tune\]"'):
        search(1)
