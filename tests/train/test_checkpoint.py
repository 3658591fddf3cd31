"""Checkpoints: what is kept comes back, and what is damaged, foreign or hostile is refused with a sentence."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from small_learners import line_learner, sign_learner
from torch import nn

from flambeau.foundation.errors import ExportError
from flambeau.train.checkpoint import read_tensors, write_tensors


def weights(learn: Any) -> list[torch.Tensor]:
    return [p.detach().clone() for p in learn.model.parameters()]


def test_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    unbroken, first, second = (line_learner(path=tmp_path) for _ in range(3))
    for learn in (unbroken, first):
        with learn.no_logging():
            learn.fit(2, 0.01)
    path = first.save("half")
    assert path == tmp_path / "models" / "half.safetensors"
    assert second.load("half") is second
    for learn in (unbroken, second):
        with learn.no_logging():
            learn.fit(2, 0.01)
    assert all(torch.equal(a, b) for a, b in zip(weights(unbroken), weights(second), strict=True))


def test_without_the_optimizer_only_weights_come_back(tmp_path: Path) -> None:
    learn, other = line_learner(path=tmp_path), line_learner(path=tmp_path)
    with learn.no_logging():
        learn.fit(1, 0.1)
    learn.save("bare", with_opt=False)
    learn.save("full")
    assert not other.load("bare").opt.state
    assert not other.load("full", with_opt=False).opt.state
    assert other.load("full").opt.state
    assert torch.equal(other.model.weight, learn.model.weight)


def test_hyper_parameters_come_back_but_not_the_machines_settings(tmp_path: Path) -> None:
    learn, other = line_learner(path=tmp_path), line_learner(path=tmp_path)
    with learn.no_logging():
        learn.fit(1, 0.123)
    learn.save("rates")
    other.load("rates")
    assert [group["lr"] for group in other.opt.param_groups] == [0.123, 0.123]
    assert other.opt.param_groups[0]["betas"] == learn.opt.param_groups[0]["betas"]
    tensors, header = read_tensors(tmp_path / "models/rates.safetensors", "flambeau-checkpoint")
    header["optimizer"]["groups"][0]["fused"] = "no"
    write_tensors(tmp_path / "models/rates.safetensors", tensors, header)
    assert other.load("rates").opt.param_groups[0]["fused"] is True


def test_another_optimizer_is_left_out_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learn = line_learner(path=tmp_path)
    with learn.no_logging():
        learn.fit(1, 0.1)
    learn.save("adam")
    other = line_learner(path=tmp_path, opt_func=torch.optim.SGD).load("adam")
    assert "made by another optimizer" in capsys.readouterr().out
    assert torch.equal(other.model.weight, learn.model.weight)


def test_a_frozen_learner_loads_too(tmp_path: Path) -> None:
    learn = line_learner(path=tmp_path)
    with learn.no_logging():
        learn.fit(1, 0.1)
    learn.save("one")
    learn.freeze()
    assert learn.load("one").opt.state


class Tied(nn.Module):
    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(1, 1), nn.Linear(1, 1), nn.BatchNorm1d(1)
        if tied:
            self.b.weight = self.a.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.b(self.a(x)))


def test_tied_weights_and_buffers_come_back(tmp_path: Path) -> None:
    learn, other = line_learner(path=tmp_path), line_learner(path=tmp_path)
    learn.model, other.model = Tied(), Tied()
    with learn.no_logging():
        learn.fit(1, 0.1)
    learn.save("tied")
    other.load("tied")
    assert other.model.a.weight is other.model.b.weight
    assert torch.equal(other.model.norm.running_mean, learn.model.norm.running_mean)


def test_tied_weights_are_kept_once_and_not_taken_for_two(tmp_path: Path) -> None:
    learn, other = line_learner(path=tmp_path), line_learner(path=tmp_path)
    learn.model, other.model = Tied(), Tied(tied=False)
    names = list(read_tensors(learn.save("tied"), "flambeau-checkpoint")[0])
    assert "model.a.weight" in names
    assert "model.b.weight" not in names
    with pytest.raises(ExportError, match=r"b.weight is only in the model"):
        other.load("tied")


def test_a_file_that_holds_tied_weights_twice_is_read(tmp_path: Path) -> None:
    learn, other = line_learner(path=tmp_path), line_learner(path=tmp_path)
    learn.model, other.model = Tied(tied=False), Tied()
    learn.model.b.weight.data.copy_(learn.model.a.weight.data)
    learn.save("twice")
    other.load("twice")
    assert torch.equal(other.model.b.weight, learn.model.a.weight)


def test_another_architecture_names_the_layers(tmp_path: Path) -> None:
    learn, other = line_learner(path=tmp_path), line_learner(path=tmp_path)
    learn.save("line")
    other.model = nn.Linear(3, 1)
    with pytest.raises(ExportError, match=r"weight: \(1, 1\) in the file, \(1, 3\) in the model"):
        other.load("line")
    other.model = nn.Sequential(nn.Linear(1, 1))
    with pytest.raises(ExportError, match=r"0.weight is only in the model.*weight is only in the file"):
        other.load("line")


def test_names_may_differ_when_not_strict(tmp_path: Path) -> None:
    learn = line_learner(path=tmp_path)
    learn.save("line")
    learn.model = nn.Linear(1, 1, bias=False)
    learn.load("line", with_opt=False, strict=False)


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    learn = line_learner(path=tmp_path)
    learn.save("model")
    with pytest.raises(ExportError, match=r"no file .*modle.safetensors. Did you mean 'model.safetensors'"):
        learn.load("modle")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    learn = line_learner(path=tmp_path)
    path = learn.save("cut")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ExportError, match="damaged"):
        learn.load("cut")


def test_a_flipped_bit_anywhere_is_refused(tmp_path: Path) -> None:
    learn = line_learner(path=tmp_path)
    path = learn.save("flipped", with_opt=False)
    whole = path.read_bytes()
    for place in range(len(whole)):
        if whole[place : place + 1] == b" " and place > 8:
            continue  # padding of the header, which means nothing
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ExportError):
            learn.load("flipped")


class Bomb:
    """A pickle of this creates a file when it is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (self.path, "w"))


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "bomb.pkl").write_bytes(pickle.dumps(Bomb(str(harm))))
    torch.save({"weight": torch.ones(1, 1), "bomb": Bomb(str(harm))}, tmp_path / "models" / "bomb.pth")
    for name in ("bomb.pkl", "bomb.pth"):
        with pytest.raises(ExportError, match="not executed"):
            line_learner(path=tmp_path).load(name)
    assert not harm.exists()


def test_files_of_another_kind_say_what_they_are(tmp_path: Path) -> None:
    learn = sign_learner(path=tmp_path)
    export = learn.export()
    with pytest.raises(ExportError, match=r"format 'flambeau-export'.*load_learner reads"):
        learn.load(export)
    save_file({"weight": torch.ones(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ExportError, match="another program"):
        learn.load(tmp_path / "foreign.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(ExportError, match="no file"):
        learn.load(tmp_path / "folder.safetensors")


@pytest.mark.parametrize(
    "state", [3, {"class": 3}, {"class": "AdamW", "groups": [], "state": {"x": {}}}, {"groups": {}}]
)
def test_a_misshapen_optimizer_state_is_refused(tmp_path: Path, state: Any) -> None:
    learn = line_learner(path=tmp_path)
    tensors, header = read_tensors(learn.save("odd"), "flambeau-checkpoint")
    write_tensors(tmp_path / "models/odd.safetensors", tensors, {**header, "optimizer": state})
    with pytest.raises(ExportError, match="optimizer's state"):
        learn.load("odd")


def test_deeply_nested_headers_are_refused(tmp_path: Path) -> None:
    nested = "[" * 200_000 + "]" * 200_000
    save_file({"a": torch.ones(1)}, tmp_path / "deep.safetensors", metadata={"flambeau": nested})
    with pytest.raises(ExportError):
        read_tensors(tmp_path / "deep.safetensors", "flambeau-checkpoint")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn = line_learner(path=tmp_path)
    path = learn.save("kept")
    before = path.read_bytes()

    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="could not write"):
        learn.save("kept")
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_numbers_of_numpy_are_written_and_objects_are_not(tmp_path: Path) -> None:
    import numpy as np

    path = write_tensors(tmp_path / "a", {"x": torch.ones(())}, {"format": "f", "n": np.int64(3)})
    assert read_tensors(path, "f")[1]["n"] == 3
    with pytest.raises(ExportError, match="has no form in JSON"):
        write_tensors(tmp_path / "b", {}, {"format": "f", "n": object()})
    assert not (tmp_path / "b").exists()


def test_any_file_name_and_folder_will_do(tmp_path: Path) -> None:
    learn = line_learner(path=tmp_path, model_dir="weights")
    assert learn.save("sub/one.pth") == tmp_path / "weights" / "sub" / "one.pth"
    assert learn.save(tmp_path / "elsewhere") == tmp_path / "elsewhere.safetensors"
    learn.load("sub/one.pth", device="cpu")
