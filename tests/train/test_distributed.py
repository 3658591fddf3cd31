"""Two processes on the CPU against one with batches twice as large: the same weights, metrics and predictions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import several_processes as script
import torch

from flambeau.train.callbacks.distributed import once

pytest.importorskip("accelerate")
SCRIPT = Path(script.__file__)
SOURCE = SCRIPT.parents[2] / "src"
Saw = list[dict[str, Any]]


def in_two_processes(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    env = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, *arguments], env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Saw, str, Path]:
    """Return what each of two processes saw, what they printed, and the folder they wrote to."""
    folder = tmp_path_factory.mktemp("two")
    done = in_two_processes(str(folder))
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"saw{place}.json").read_text()) for place in (0, 1)], done.stdout, folder


@pytest.fixture(scope="module")
def saw(two: tuple[Saw, str, Path]) -> Saw:
    return two[0]


@pytest.mark.parametrize("name", script.TRAININGS)
def test_two_processes_learn_what_one_learns_with_batches_twice_as_large(saw: Saw, name: str) -> None:
    train, options = script.TRAININGS[name]
    learn = script.learner(8, **options)
    with learn.no_logging():
        train(learn)
    for seen in saw:
        for layer, values in script.weights(learn).items():
            assert seen["weights"][name][layer] == pytest.approx(values, abs=1e-5), layer


@pytest.fixture(scope="module")
def one() -> script.Learner:
    """Return a learner that trained as the two processes did, alone."""
    learn = script.learner(8)
    with learn.no_logging():
        learn.fit(2, 0.05)
    return learn


def test_history_and_losses_are_those_of_one_process(saw: Saw, one: script.Learner) -> None:
    for seen in saw:
        assert seen["losses"] == pytest.approx(one.recorder.raw_losses, abs=1e-5)
        for row, expected in zip(seen["history"], one.recorder.values, strict=True):
            assert row == pytest.approx(list(map(float, expected)), abs=1e-5)
    assert saw[0]["history"] == saw[1]["history"]


def test_metrics_count_each_of_an_odd_number_of_items_once(saw: Saw, one: script.Learner) -> None:
    predictions, targets = one.get_preds(act=lambda raw: raw)
    expected = [
        float(torch.nn.functional.cross_entropy(predictions, targets)),
        float(script.accuracy(predictions, targets)),
        one.validate()[2],
        float(script.middle(predictions, targets)),
        17.0,
    ]
    for seen in saw:
        assert seen["validated"] == pytest.approx(expected, abs=1e-6)


def test_every_item_is_read_once_an_epoch(saw: Saw) -> None:
    # 43 items: five steps of 8 and one of 3, of which the first process has one and the second two
    assert [len(seen["read"]) for seen in saw] == [2 * 21, 2 * 22]
    assert set(Counter(saw[0]["read"] + saw[1]["read"]).values()) == {2}


def test_every_process_gets_all_predictions_in_order(saw: Saw, one: script.Learner) -> None:
    expected = one.get_preds(with_input=True, with_loss=True)
    for seen in saw:
        for values, wanted in zip(seen["predicted"], expected, strict=True):
            assert torch.allclose(torch.tensor(values), wanted.float(), atol=1e-5)


def test_files_are_written_by_the_first_process_only(two: tuple[Saw, str, Path]) -> None:
    saw, _, folder = two
    assert (folder / "writers").read_text() == "one\n"
    assert [seen["answer"] for seen in saw] == [4, 4]
    assert {seen["file"] for seen in saw} == {str(folder / "kept.safetensors")}


def test_epochs_are_printed_once(two: tuple[Saw, str, Path]) -> None:
    lines = two[1].splitlines()
    assert sum(line.split()[:1] == ["epoch"] for line in lines) == 1
    assert "2 processes on cpu: 4 items each, 8 a step. The learning rate stays as you give it." in lines


def test_layers_keep_their_names_while_training(saw: Saw) -> None:
    assert saw[0]["names"] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert saw[0]["callbacks left"] == saw[1]["callbacks left"] == ["Recorder", "Progress"]


def test_averages_of_norm_layers_come_from_both_processes(saw: Saw) -> None:
    assert saw[0]["norm"] == saw[1]["norm"]
    assert any(value != 0 for value in saw[0]["norm"]["1.running_mean"])


def test_dropout_has_its_own_chance_in_each_process(saw: Saw) -> None:
    assert saw[0]["torch chance"] != saw[1]["torch chance"]


def test_a_run_broken_within_an_epoch_goes_on_in_both_processes_to_the_same_numbers(saw: Saw) -> None:
    for seen in saw:
        assert seen["n_epochs kept"] == [3, 1, 3]
        assert seen["resumed run"] == seen["whole run"]


def test_a_loss_that_is_no_number_in_one_process_ends_the_training_in_both(saw: Saw) -> None:
    assert "the loss is nan" in saw[0]["found"]
    assert "item 7" in saw[0]["found"]
    assert saw[0]["found"] == saw[1]["found"]


def test_the_rate_finder_makes_all_its_steps(saw: Saw) -> None:
    assert [seen["n_sweep"] for seen in saw] == [20, 20]


def test_a_torch_loader_that_drops_its_last_items_is_shared_out(saw: Saw) -> None:
    assert [len(seen["torch loader"]) for seen in saw] == [20, 20]
    assert len({*saw[0]["torch loader"], *saw[1]["torch loader"]}) == 40


def test_a_torch_loader_whose_items_would_repeat_is_refused(saw: Saw) -> None:
    assert "43 items do not fill steps of 8 items" in saw[1]["uneven torch loader"]
    assert "drop_last=True" in saw[1]["uneven torch loader"]


def test_ready_batches_are_cut_in_two(saw: Saw) -> None:
    alone = script.fit_plain(script.ready_batches())
    for layer, values in script.weights(alone).items():
        assert saw[1]["plain"][layer] == pytest.approx(values, abs=1e-5)
    assert saw[1]["plain values"] == pytest.approx(list(map(float, alone.recorder.final_record)), abs=1e-5)


def test_processes_with_different_data_are_told(saw: Saw) -> None:
    for seen in saw:
        assert "different data: 40 items; 17 items in the first, 41 items; 17 items in process 1" in seen["other data"]
        assert "set_seed(42)" in seen["other data"]


def test_too_few_items_for_a_step_are_told(saw: Saw) -> None:
    assert "2 processes with bs=40 take 80 items a step, and there are 43" in saw[0]["too few"]
    assert "bs=5" in saw[0]["too few"]


def test_an_error_in_one_process_ends_both(tmp_path: Path) -> None:
    started = time.perf_counter()
    done = in_two_processes(str(tmp_path), "fail")
    assert done.returncode != 0
    assert "ArgumentError: this is why" in done.stderr
    assert time.perf_counter() - started < 60  # the other process waited for its gradients, and was ended


def test_without_torchrun_there_is_one_process_and_a_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    learn = script.learner(8)
    with learn.no_logging(), learn.distrib_ctx() as same:
        same.fit(1, 0.05)
    assert same is learn
    assert "Training in one process. For more, start the script with: torchrun" in capsys.readouterr().out
    assert once(learn, lambda: 3) == 3
