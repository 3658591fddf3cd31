"""Checkpoints of runs: a killed save leaves a whole file, and what does not belong to the run is refused in words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_learners import line_batches, line_learner, sign_learner, sign_loaders
from torch import nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.errors import ArgumentError, ExportError, TrainingError
from flambeau.train.callback import Callback
from flambeau.train.learner import Learner

FILE = Path("models") / "checkpoint-1.safetensors"

TRAINS_TILL_KILLED = """
import os, random, signal, sys, time
import torch
torch.set_num_threads(1)
from torch import nn
from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.errors import FlambeauError
from flambeau.train.learner import Learner
from flambeau.train.resume import read_run

folder, n_kills = sys.argv[1], int(sys.argv[2])
batches = [(torch.randn(4, 256), torch.randn(4, 256)) for _ in range(50)]
path = os.path.join(folder, "models", "checkpoint-1.safetensors")
chance, n_whole, places = random.Random(0), 0, set()

def written():
    return os.stat(path).st_mtime_ns if os.path.exists(path) else 0

def train(path, n_epoch):
    model = nn.Sequential(nn.Linear(256, 512), nn.Linear(512, 256))
    learn = Learner(DataLoaders(batches, device="cpu"), model, nn.functional.mse_loss, path=path)
    with learn.no_logging():
        learn.fit(n_epoch, 1e-3, checkpoint=1, resume=True)

train(os.path.join(folder, "warm"), 1)  # imports what torch imports late, once for all
for kill in range(n_kills):
    child = os.fork()
    if child == 0:
        train(folder, 1000)
    before, waiting_since = written(), time.monotonic()
    while written() == before and time.monotonic() - waiting_since < 20:
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.06))  # two or three saves long
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    position = read_run(path).position  # raises where one byte is not as it was written
    places.add((position.epoch, position.batch))
    n_whole += 1
remains = [name for name in os.listdir(os.path.dirname(path)) if name.endswith(".tmp")]
print(n_whole, len(places), len(remains))
"""


@pytest.mark.parametrize("n_kills", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_kills_at_random_moments_leave_a_whole_file_each_time(n_kills: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", TRAINS_TILL_KILLED, str(tmp_path), str(n_kills)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    n_whole, n_places, n_remains = map(int, told.stdout.split()[-3:])
    assert n_whole == n_kills
    assert n_places == n_kills  # each run went on from the last one
    assert n_remains >= n_kills // 30  # so many kills, at the least, came in the middle of a save


def quiet_fit(learn: Learner, n_epoch: int = 2, lr: float = 0.01, **options: Any) -> None:
    with learn.no_logging():
        learn.fit(n_epoch, lr, **options)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return the folder of a run that was kept."""
    quiet_fit(line_learner(path=tmp_path), checkpoint=True)
    return tmp_path


def test_a_full_disk_is_told_and_leaves_the_earlier_checkpoint(kept: Path) -> None:
    before = (kept / FILE).read_bytes()
    script = (
        "import resource, sys, torch; from torch import nn; from flambeau.data.data_loaders import DataLoaders\n"
        "from flambeau.train.learner import Learner\n"
        "learn = Learner(DataLoaders([(torch.ones(1, 300), torch.ones(1, 300))], device='cpu'), nn.Linear(300, 300),\n"
        "                nn.functional.mse_loss, path=sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "learn.fit(1, checkpoint=True)\n"
    )
    told = subprocess.run([sys.executable, "-c", script, str(kept)], capture_output=True, text=True, check=False)
    assert f"could not write {kept / FILE}: File too large" in told.stderr
    assert (kept / FILE).read_bytes() == before
    assert [path.name for path in (kept / "models").glob(".*")] == []


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("not a folder")
    with pytest.raises(ExportError, match="models is a file, and a folder is needed there"):
        quiet_fit(learn := line_learner(path=tmp_path), checkpoint=True)
    assert not learn.recorder.rows  # told before the training


def test_without_a_checkpoint_a_resumed_run_begins_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learn = line_learner(path=tmp_path)
    learn.fit(2, 0.01, resume=True)
    assert "There is no checkpoint" in capsys.readouterr().out
    assert len(learn.recorder.rows) == 2
    assert (tmp_path / FILE).exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused(kept: Path, share: float) -> None:
    whole = (kept / FILE).read_bytes()
    (kept / FILE).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ExportError, match="is damaged"):
        quiet_fit(line_learner(path=kept), resume=True)


def test_a_flipped_byte_is_noticed(kept: Path) -> None:
    damaged = bytearray((kept / FILE).read_bytes())
    damaged[-3] ^= 1
    (kept / FILE).write_bytes(damaged)
    with pytest.raises(ExportError, match="its contents are not those that were written"):
        quiet_fit(line_learner(path=kept), resume=True)


def test_another_architecture_names_the_layers_that_differ(kept: Path) -> None:
    dls = DataLoaders(line_batches(), line_batches(2, seed=1), device="cpu")
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    learn = Learner(dls, model, nn.functional.mse_loss, path=kept)
    with pytest.raises(ExportError, match=r"0\.weight is only in the model.*weight is only in the file"):
        quiet_fit(learn, resume=True)


def test_other_settings_are_named(kept: Path) -> None:
    with pytest.raises(ArgumentError, match=r"n_epoch 2 then, 3 now; lr \[0\.01\] then, \[0\.1\] now"):
        quiet_fit(line_learner(path=kept), 3, 0.1, resume=True)
    with pytest.raises(ArgumentError, match="schedule of lr None then"), line_learner(path=kept).no_logging() as learn:
        learn.fit_one_cycle(2, 0.01, resume=True)


def test_a_fit_that_is_done_brings_back_its_own_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quiet_fit(whole := line_learner(path=tmp_path), checkpoint=True)
    between = whole.model.weight.detach().clone()
    quiet_fit(whole, 1, checkpoint=True)
    again = line_learner(path=tmp_path)
    again.fit(2, 0.01, resume=True)
    assert "Nothing is left to train" in capsys.readouterr().out
    assert torch.equal(again.model.weight, between)
    again.fit(1, 0.01, resume=True)
    assert torch.equal(again.model.weight, whole.model.weight)
    assert len(again.recorder.rows) == 3


def test_the_same_call_after_an_interruption_goes_on(tmp_path: Path) -> None:
    class Stop(Callback):
        def after_batch(self) -> None:
            if self.training and (self.epoch, self.iter) == (1, 1) and not hasattr(self, "done"):
                self.done = True
                raise KeyboardInterrupt

    quiet_fit(whole := line_learner(path=tmp_path / "whole"), 3)
    learn, stop = line_learner(path=tmp_path), Stop()
    with pytest.raises(KeyboardInterrupt):
        quiet_fit(learn, 3, cbs=stop, checkpoint=1, resume=True)
    quiet_fit(learn, 3, cbs=stop, checkpoint=1, resume=True)
    assert torch.equal(learn.model.weight, whole.model.weight)
    assert [row["epoch"] for row in learn.recorder.rows] == [0, 1, 2]


def test_a_second_fit_of_an_earlier_run_is_not_taken_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quiet_fit(learn := line_learner(path=tmp_path), checkpoint=True)
    quiet_fit(learn, 1, checkpoint=True)
    quiet_fit(other := line_learner(path=tmp_path), checkpoint=True)  # another run, which replaces the first file
    other.fit(1, 0.01, resume=True)
    assert "is of an earlier run" in capsys.readouterr().out
    assert len(other.recorder.rows) == 3


def test_a_metric_that_raises_is_named(tmp_path: Path) -> None:
    def odd(prediction: torch.Tensor, target: torch.Tensor) -> float:
        raise ValueError("boom")

    with pytest.raises(TrainingError, match=r"The metric 'odd' failed on .*ValueError: boom"):
        quiet_fit(line_learner(path=tmp_path, metrics=[odd]))


def test_other_data_are_noticed(tmp_path: Path) -> None:
    quiet_fit(sign_learner(path=tmp_path), checkpoint=True)
    turned = sign_loaders()
    turned.train.dataset.indices = list(reversed(turned.train.dataset.indices))
    with pytest.raises(ArgumentError, match="other training items, or in another order"):
        quiet_fit(sign_learner(path=tmp_path, dls=turned), resume=True)
    relabelled = sign_loaders()
    place = relabelled.train.dataset.indices[3]
    numbers, label = relabelled.train.dataset.source[place]
    relabelled.train.dataset.source[place] = (numbers, "plus" if label == "minus" else "minus")
    with pytest.raises(ArgumentError, match="other training items"):
        quiet_fit(sign_learner(path=tmp_path, dls=relabelled), resume=True)
    with pytest.raises(ArgumentError, match="16 training items then, 18 now"):
        quiet_fit(sign_learner(27, path=tmp_path), resume=True)


def test_counts_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for wrong in (-1, 2.5, "5"):
        with pytest.raises(ArgumentError, match="a number of training batches"):
            quiet_fit(line_learner(path=tmp_path), checkpoint=wrong)


def test_a_hundred_batches_apart_means_so_many_files(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    class Look(Callback):
        order = 101

        def after_batch(self) -> None:
            if self.training and (tmp_path / FILE).exists():
                from flambeau.train.resume import read_run

                position = read_run(self.learn.path / FILE).position
                seen.append((position.epoch, position.batch))

    quiet_fit(line_learner(path=tmp_path), checkpoint=3, cbs=Look())
    assert seen == [(0, 3), (0, 3), (1, 0), (1, 0), (1, 3), (1, 3)]


def test_state_of_a_callback_that_is_neither_plain_nor_tensor_is_refused(tmp_path: Path) -> None:
    class Odd(Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"what": object()}

    with pytest.raises(ExportError, match="has no form in JSON"):
        quiet_fit(line_learner(path=tmp_path), checkpoint=True, cbs=Odd())


def test_callbacks_get_their_own_state_back_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Count(Callback):
        def __init__(self) -> None:
            self.seen: list[Any] = []
            self.total = torch.zeros(())

        def after_batch(self) -> None:
            self.total += 1

        def state_dict(self) -> dict[str, Any]:
            return {"total": self.total.clone(), "nested": [{"a": self.total + 1}, (1, "b")]}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.seen.append(state)

    quiet_fit(line_learner(path=tmp_path), checkpoint=True, cbs=[Count(), Count()])
    again = [Count(), Count()]
    quiet_fit(line_learner(path=tmp_path), resume=True, cbs=again)
    for counter in again:
        assert [float(state["total"]) for state in counter.seen] == [12]  # of 4 + 2 batches an epoch
        assert counter.seen[0]["nested"] == [{"a": torch.tensor(13.0)}, [1, "b"]]
    quiet_fit(line_learner(path=tmp_path), resume=True, cbs=[Count()])
    assert "had callbacks that this one has not: count-2" in capsys.readouterr().out


def test_the_table_of_a_resumed_fit_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Stop(Callback):
        def before_epoch(self) -> None:
            if self.epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        line_learner(path=tmp_path).fit(3, 0.01, cbs=Stop(), checkpoint=True)
    before = capsys.readouterr().out.splitlines()
    line_learner(path=tmp_path).fit(3, 0.01, resume=True)
    after = capsys.readouterr().out.splitlines()
    assert [line[:33] for line in after[1:4]] == [line[:33] for line in before]  # head and two epochs; not their times
    assert [line.split()[0] for line in after[2:]] == ["0", "1", "2"]


def test_a_record_of_the_run_lies_beside_the_checkpoint_and_the_export(tmp_path: Path) -> None:
    learn = sign_learner(path=tmp_path)
    quiet_fit(learn, checkpoint=True)
    learn.export("sign.safetensors")
    for path in (tmp_path / "models/checkpoint-1.run.json", tmp_path / "sign.run.json"):
        record = json.loads(path.read_text())
        assert record["data"]["training"]["n"] == 16
        assert record["data"]["classes"] == "['minus', 'plus']"
        assert [row["epoch"] for row in record["history"]] == [0, 1]
        assert record["settings"]["bs"] == 4
        assert record["code"]["versions"]["torch"] == torch.__version__.split("+")[0]
        assert record["environment"]["device"] == "cpu"
