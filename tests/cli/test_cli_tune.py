"""`flambeau tune` on tiny pictures: the folder it writes, the command it prints, going on, mistakes in words."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from flambeau.cli.main import app
from flambeau.train.ensemble import Ensemble
from flambeau.train.load_learner import load_learner

pytest.importorskip("optuna")
SMALL = ["--no-pretrained", "--arch", "xresnet18", "--size", 32, "--bs", 8, "--epochs", 1]


def said_by(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, chance = tmp_path_factory.mktemp("tune") / "pictures", np.random.default_rng(0)
    for label, channel in (("red", 0), ("blue", 2)):
        (folder / label).mkdir(parents=True)
        for place in range(12):
            pixels = chance.integers(0, 90, (32, 36, 3), dtype=np.uint8)
            pixels[..., channel] += 60
            Image.fromarray(pixels).save(folder / label / f"{place}.png")
    return folder


@pytest.fixture(scope="module")
def searched(pictures: Path) -> tuple[Path, Result]:
    out = pictures.parent / "out"
    return out, said_by("tune", pictures, "--out", out, "--trials", 4, "--metric", "valid_loss", *SMALL)


def rows_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.open()))


def test_a_search_writes_its_study_table_and_plots(searched: tuple[Path, Result]) -> None:
    out, result = searched
    assert result.exit_code == 0, result.output
    assert {"study.journal", "trials.csv", "history.png", "slices.png", "importances.png"} <= {
        file.name for file in out.iterdir()
    }
    rows = rows_of(out / "trials.csv")
    assert len(rows) == 4
    assert {"arch", "resize", "min_scale", "lr", "epochs", "valid_loss", "state", "seconds", "error"} <= rows[0].keys()
    assert [line[:9] for line in result.output.splitlines() if line.startswith("trial")] == [
        f"trial   {place}" for place in range(4)
    ]


def test_the_command_it_prints_gives_what_the_best_trial_gave(searched: tuple[Path, Result], tmp_path: Path) -> None:
    out, result = searched
    (line,) = [line for line in result.output.splitlines() if line.startswith("  flambeau train vision ")]
    again = said_by(*shlex.split(line)[1:], "--out", tmp_path)
    assert again.exit_code == 0, again.output
    best = min(float(row["valid_loss"]) for row in rows_of(out / "trials.csv"))
    assert float(rows_of(tmp_path / "history.csv")[-1]["valid_loss"]) == pytest.approx(best, rel=1e-4)


def test_a_search_is_gone_on_with_by_resume_alone(searched: tuple[Path, Result], pictures: Path) -> None:
    out, _ = searched
    options = ["--out", out, "--trials", 5, "--metric", "valid_loss", *SMALL]
    refused = said_by("tune", pictures, *options)
    assert refused.exit_code == 2
    assert "holds a search already. Go on with it by --resume" in refused.stderr
    resumed = said_by("tune", pictures, *options, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert "4 trials are there already; 1 of 5 to go." in resumed.output
    assert len(rows_of(out / "trials.csv")) == 5


def test_mistakes_are_one_paragraph(pictures: Path, tmp_path: Path) -> None:
    for words, arguments in (
        ("does not exist", [tmp_path / "nowhere"]),
        ("Did you mean 'error_rate'", [pictures, "--metric", "eror_rate"]),
        ("xresnet18", [pictures, "--no-pretrained", "--size", 32, "--arch", "xresnet81"]),
        ("0.png is a file. Name another place by --out", [pictures, *SMALL, "--out", pictures / "red" / "0.png"]),
    ):
        result = said_by("tune", *["--out", tmp_path / "o", *arguments])
        assert result.exit_code == 2, result.output
        assert result.stderr.startswith("Error: ")
        assert words in result.stderr
        assert "Traceback" not in result.output


def test_an_ensemble_answers_files_and_is_evaluated(
    searched: tuple[Path, Result], pictures: Path, tmp_path: Path
) -> None:
    line = ["train", "vision", pictures, "--no-augment", *SMALL, "--lr", 0.01]
    assert said_by(*line, "--out", tmp_path / "a").exit_code == 0
    assert said_by(*line, "--out", tmp_path / "b", "--size", 40, "--resize", "pad").exit_code == 0
    members = [load_learner(tmp_path / name / "export.safetensors") for name in ("a", "b")]
    file = Ensemble(members).export(tmp_path / "both.safetensors")
    answered = said_by("predict", file, pictures / "red", "--csv", tmp_path / "answers.csv")
    assert answered.exit_code == 0, answered.output
    picture = pictures / "red" / "0.png"
    expected = sum(member.predict(picture)[2] for member in members) / 2
    row = next(row for row in rows_of(tmp_path / "answers.csv") if row["file"] == str(picture))
    assert [float(row["blue"]), float(row["red"])] == pytest.approx(expected.tolist(), abs=1e-5)
    evaluated = said_by("evaluate", file, pictures, "--out", tmp_path)
    assert evaluated.exit_code == 0, evaluated.output
    assert "Accuracy on 24 pictures:" in evaluated.output
    assert (tmp_path / "top_losses.png").is_file()
