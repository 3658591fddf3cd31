"""The examples run as they stand, in a program of their own, and do what they promise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flambeau.data.sample_pictures import unpack_fashion

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a fifth of the sample pictures, where the examples look for them."""
    folder = tmp_path_factory.mktemp("examples")
    for place, path in enumerate(sorted(unpack_fashion(folder / "fashion").rglob("*.png"))):
        if place // 4 % 5:  # fours, so that a photographer of validation.py has several
            path.unlink()
    return folder


def run_example(name: str, folder: Path, count: int = 1) -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "examples" / name), str(count), str(folder)]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_examples_are_short_and_each_is_run_here() -> None:
    here = Path(__file__).read_text()
    for path in EXAMPLES:
        assert len(path.read_text().splitlines()) < 60, path.name
        assert f'"{path.name}"' in here, path.name


def test_pictures_answers_and_draws(folder: Path) -> None:
    told = run_example("pictures.py", folder)
    assert "It says" in told
    assert (folder / "batch.png").stat().st_size > 5_000
    assert (folder / "confusion.png").stat().st_size > 5_000


def test_resume_ends_with_the_same_weights_when_it_is_run_again(folder: Path) -> None:
    first, second = (run_example("resume.py", folder, 2) for _ in range(2))
    assert "training begins anew" in first
    assert "Nothing is left to train" in second
    assert first.splitlines()[-1] == second.splitlines()[-1]


def test_validation_finds_the_photographers_on_both_sides(folder: Path) -> None:
    told = run_example("validation.py", folder)
    assert "groups on both sides" in told
    assert "standard deviation" in told


def test_search_reports_the_ensemble(folder: Path) -> None:
    pytest.importorskip("optuna")
    told = run_example("search.py", folder, 2)
    assert "Best accuracy" in told
    assert "ensemble" in told


def test_tables_compares_models_and_explains_one_patient(folder: Path) -> None:
    told = run_example("tables.py", folder)
    assert "forest+net" in told
    assert "from 153.5 for the mean of the training rows" in told
    for name in ("comparison", "importance", "dependence", "one-patient"):
        assert (folder / f"{name}.png").stat().st_size > 5_000


def test_texts_writes_a_docstring_and_tells_where_one_is_from(folder: Path) -> None:
    told = run_example("texts.py", folder)
    assert "Return the" in told
    assert "This docstring, says the model, is from " in told
    assert all((folder / f"{name}.png").stat().st_size > 5_000 for name in ("confusion", "attribution"))
