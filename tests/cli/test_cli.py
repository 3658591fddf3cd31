"""The command line: each command on tiny pictures, and every failure in one paragraph."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from flambeau import __version__
from flambeau.cli.main import app

ROOT = Path(__file__).resolve().parents[2]


def write_pictures(folder: Path, n: int = 6, labels: tuple[str, ...] = ("red", "blue")) -> Path:
    """Write n pictures of each label, told apart by their brightest channel."""
    chance = np.random.default_rng(0)
    for label in labels:
        (folder / label).mkdir(parents=True)
        for i in range(n):
            pixels = chance.integers(0, 90, (32, 36, 3), dtype=np.uint8)
            pixels[..., 0 if label == "red" else 2] += 150
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
    return folder


def said_by(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Compute small pictures on one core: sharing them out costs more than it saves."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Result]:
    """Return the folder of pictures, the folder that `train vision` wrote, and what it said."""
    root = tmp_path_factory.mktemp("cli")
    pictures, out = write_pictures(root / "pictures"), root / "out"
    result = said_by("train", "vision", pictures, "--out", out, "--no-pretrained", "--arch", "xresnet18", "--size", 32,
                     "--epochs", 2, "--bs", 8, "--lr", 0.01)  # fmt: skip
    return pictures, out, result


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, check=False, **options)


def test_help_needs_no_torch() -> None:
    code = "from flambeau.cli.main import app; app(['--help'], standalone_mode=False)"
    done = python("-c", f"import sys; {code}; print('torch' in sys.modules)")
    assert done.stdout.splitlines()[-1] == "False"
    for command in ("demo", "train", "predict", "evaluate", "doctor"):
        assert command in done.stdout


def test_the_version_is_told() -> None:
    done = python("-m", "flambeau", "--version")
    assert (done.returncode, done.stdout) == (0, f"flambeau {__version__}\n")


@pytest.mark.parametrize("command", [["demo"], ["train"], ["train", "vision"], ["predict"], ["evaluate"], ["doctor"]])
def test_every_command_has_help(command: list[str]) -> None:
    result = said_by(*command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_doctor_tells_versions() -> None:
    result = said_by("doctor")
    assert result.exit_code == 0
    assert __version__ in result.output


def test_train_vision_writes_export_report_and_history(trained: tuple[Path, Path, Result]) -> None:
    _, out, result = trained
    assert result.exit_code == 0, result.output
    assert "Accuracy on the validation set:" in result.output
    for name in ("export.safetensors", "report.html", "history.csv", "pictures/confusion.png"):
        assert (out / name).is_file(), name
    history = list(csv.DictReader((out / "history.csv").open()))
    assert len(history) == 2
    assert {"train_loss", "valid_loss", "error_rate", "accuracy"} <= history[0].keys()


def test_predict_answers_files_and_folders(trained: tuple[Path, Path, Result], tmp_path: Path) -> None:
    pictures, out, _ = trained
    table = tmp_path / "answers.csv"
    files = [pictures / "red" / "0.png", pictures / "blue"]
    result = said_by("predict", out / "export.safetensors", *files, "--csv", table)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 7
    assert list(rows[0]) == ["file", "label", "blue", "red"]
    for row in rows:
        assert float(row["blue"]) + float(row["red"]) == pytest.approx(1, abs=1e-4)
        assert row["label"] == max(("blue", "red"), key=lambda name: float(row[name]))
        assert row["file"] in result.output
    assert b"\r" not in table.read_bytes()


def test_top_limits_the_classes_shown(trained: tuple[Path, Path, Result]) -> None:
    pictures, out, _ = trained
    result = said_by("predict", out / "export.safetensors", pictures / "red" / "0.png", "--top", 1)
    assert result.output.count("%") == 1


def test_an_unreadable_file_is_told_and_the_rest_answered(trained: tuple[Path, Path, Result], tmp_path: Path) -> None:
    pictures, out, _ = trained
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    result = said_by("predict", out / "export.safetensors", broken, pictures / "red" / "0.png")
    assert result.exit_code == 1
    assert "1 of 2 files could not be predicted" in result.stderr
    assert str(broken) in result.stderr
    assert "%" in result.stdout


def test_evaluate_measures_a_folder(trained: tuple[Path, Path, Result], tmp_path: Path) -> None:
    pictures, out, _ = trained
    result = said_by("evaluate", out / "export.safetensors", pictures, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "Accuracy on 12 pictures:" in result.output
    assert "precision" in result.output
    assert (tmp_path / "confusion.png").is_file()
    assert (tmp_path / "top_losses.png").is_file()


def test_evaluate_and_predict_agree(trained: tuple[Path, Path, Result], tmp_path: Path) -> None:
    pictures, out, _ = trained
    said_by("predict", out / "export.safetensors", pictures, "--csv", tmp_path / "a.csv")
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    share = sum(Path(row["file"]).parent.name == row["label"] for row in rows) / len(rows)
    result = said_by("evaluate", out / "export.safetensors", pictures)
    assert f"Accuracy on 12 pictures: {share:.2%}" in result.output


def test_a_folder_that_is_no_class_is_told(trained: tuple[Path, Path, Result], tmp_path: Path) -> None:
    _, out, _ = trained
    result = said_by("evaluate", out / "export.safetensors", write_pictures(tmp_path / "new", 2, ("red", "green")))
    assert result.exit_code == 2
    assert "no classes of the export: 'green' (2 pictures, first" in result.stderr
    assert "Its classes are blue, red." in result.stderr


def one_paragraph(result: Result) -> bool:
    """Tell whether a command failed with exit status 2 and nothing but its reason."""
    return result.exit_code == 2 and result.stderr.startswith("Error: ") and "Traceback" not in result.output


def test_errors_are_one_paragraph(trained: tuple[Path, Path, Result], tmp_path: Path) -> None:
    pictures, out, _ = trained
    export = out / "export.safetensors"
    (tmp_path / "empty").mkdir()
    (tmp_path / "no_export").write_bytes(b"x" * 100)
    for arguments in (
        ["train", "vision", tmp_path / "nowhere"],
        ["train", "vision", tmp_path / "empty"],
        ["train", "vision", tmp_path / "no_export"],
        ["train", "vision", pictures, "--arch", "resnet3", "--no-pretrained", "--out", tmp_path / "o"],
        ["train", "vision", pictures, "--resize", "sqish", "--no-pretrained", "--out", tmp_path / "o"],
        ["predict", tmp_path / "nowhere", pictures],
        ["predict", tmp_path / "no_export", pictures],
        ["predict", export, tmp_path / "nowhere"],
        ["predict", export, tmp_path / "empty"],
        ["predict", export, pictures, "--csv", tmp_path / "nowhere" / "a.csv"],
        ["evaluate", export, tmp_path / "empty"],
        ["evaluate", export, tmp_path / "nowhere"],
    ):
        result = said_by(*arguments)
        assert one_paragraph(result), (arguments, result.output, result.stderr, result.exception)


def test_a_near_name_is_proposed(trained: tuple[Path, Path, Result], tmp_path: Path) -> None:
    pictures, out, _ = trained
    result = said_by("train", "vision", pictures, "--arch", "xresnet81", "--no-pretrained", "--out", tmp_path)
    assert "xresnet18" in result.stderr
    result = said_by("predict", out / "exprot.safetensors", pictures)
    assert "Did you mean 'export.safetensors'?" in result.stderr


def test_train_and_valid_folders_are_kept_apart(tmp_path: Path) -> None:
    write_pictures(tmp_path / "data" / "train", 5)
    write_pictures(tmp_path / "data" / "valid", 3)
    result = said_by("train", "vision", tmp_path / "data", "--out", tmp_path / "out", "--no-pretrained", "--arch",
                     "xresnet18", "--size", 32, "--epochs", 1, "--no-augment")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "the batch is lowered from 64 to 10" in result.output
    assert "10 pictures to train, 6 to validate" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_batch_chosen_larger_than_the_set_is_one_paragraph(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures")
    result = said_by("train", "vision", pictures, "--out", tmp_path / "out", "--no-pretrained", "--size", 32,
                     "--bs", 64)  # fmt: skip
    assert one_paragraph(result), (result.output, result.stderr)
    assert "batch of 64 is larger than the data set of 10 items" in result.stderr


def test_ctrl_c_has_the_exit_status_of_shells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flambeau.cli.train_vision.run_train_vision", interrupted)
    result = said_by("train", "vision", tmp_path)
    assert result.exit_code == 130
    assert "Interrupted." in result.stderr


def test_an_error_of_a_fresh_process_is_one_paragraph(tmp_path: Path) -> None:
    done = python("-m", "flambeau", "predict", str(tmp_path / "nowhere"), str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("Error: There is no file")


@pytest.mark.slow
def test_the_demo_runs_and_its_commands_work(tmp_path: Path) -> None:
    result = said_by("demo", "--out", tmp_path, "--epochs", 1)
    assert result.exit_code == 0, result.output
    commands = [line.strip() for line in result.output.splitlines() if line.startswith("  flambeau ")]
    assert len(commands) == 3
    for command in commands[:2]:
        again = said_by(*command.split()[1:])
        assert again.exit_code == 0, again.output


@pytest.mark.slow
def test_two_processes_train_together_and_one_of_them_writes(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    pictures, out = write_pictures(tmp_path / "pictures", n=10), tmp_path / "out"
    done = python("-m", "flambeau", "train", "vision", str(pictures), "--out", str(out), "--processes", "2",
                  "--no-pretrained", "--arch", "xresnet18", "--size", "32", "--epochs", "1", "--bs", "4")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2 processes on cpu: 4 items each, 8 a step" in done.stdout
    assert done.stdout.count("Accuracy on the validation set:") == done.stdout.count("xresnet18:") == 1
    assert len(list(csv.DictReader((out / "history.csv").open()))) == 1
    assert (out / "export.safetensors").is_file()


@pytest.mark.slow
def test_what_stops_a_process_is_told_once(tmp_path: Path) -> None:
    done = python("-m", "flambeau", "train", "vision", str(tmp_path / "nowhere"), "--processes", "2")
    assert done.returncode == 2
    assert done.stderr.count("A folder of pictures was expected") == 1
    assert "of 2, from 0) failed and the others were ended" in done.stderr


def test_a_place_that_cannot_be_written_is_told_before_the_work(
    trained: tuple[Path, Path, Result], tmp_path: Path
) -> None:
    pictures, out, _ = trained
    file, export = tmp_path / "file", out / "export.safetensors"
    file.write_text("mine")
    small = ["--no-pretrained", "--arch", "xresnet18", "--size", 32]
    for arguments in (
        ["train", "vision", pictures, "--out", file, *small],
        ["train", "vision", pictures, "--out", file / "below", *small],
        ["tune", pictures, "--out", file, *small],
        ["demo", "--out", file],
        ["evaluate", export, pictures, "--out", file],
    ):
        result = said_by(*arguments)
        assert one_paragraph(result), (arguments, result.output, result.exception)
        assert f"The results need a folder, and {file} is a file. Name another place by --out" in result.stderr
        assert result.stdout == ""
    for csv_file, words in ((tmp_path / "no" / "a.csv", "there is no folder"), (tmp_path, "is a folder")):
        result = said_by("predict", export, pictures, "--csv", csv_file)
        assert words in result.stderr
        assert result.stdout == ""
    assert file.read_text() == "mine"


def test_train_vision_run_twice_within_the_data_sees_the_same_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_pictures(tmp_path / "pictures"))
    for _ in range(2):
        result = said_by("train", "vision", ".", "--no-pretrained", "--arch", "xresnet18", "--size", 32, "--epochs", 1)
        assert result.exit_code == 0, result.output
    assert "pictures of reports that flambeau wrote: flambeau-vision/pictures." in result.output
    assert "xresnet18: 2 classes" in result.output


def test_a_training_that_is_done_is_not_done_again_by_resume(tmp_path: Path) -> None:
    pictures, out = write_pictures(tmp_path / "pictures"), tmp_path / "out"
    options = ["--out", out, "--no-pretrained", "--arch", "xresnet18", "--size", 32, "--epochs", 1, "--resume"]
    first, second = (said_by("train", "vision", pictures, *options) for _ in range(2))
    assert "training begins anew" in first.output
    assert "Nothing is left to train" in second.output
    assert first.output.splitlines()[-2:] == second.output.splitlines()[-2:]  # accuracy, and what was written
    other = said_by("train", "vision", pictures, *options, "--lr", 0.1)
    assert other.exit_code == 2
    assert "its settings were others: lr [0.002, 0.002, 0.002] then, [0.1, 0.1, 0.1] now" in other.output


def test_a_damaged_picture_is_left_out_of_the_training_aloud(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "data" / "train")
    write_pictures(tmp_path / "data" / "val", 2)
    (pictures / "red" / "3.png").write_bytes((pictures / "red" / "3.png").read_bytes()[:60])
    result = said_by("train", "vision", tmp_path / "data", "--out", tmp_path / "out", "--no-pretrained", "--arch",
                     "xresnet18", "--size", 32, "--epochs", 1)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "Left out: 1 picture that cannot be read: " in result.output
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "11 pictures to train, 4 to validate" in report
