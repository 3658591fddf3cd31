"""What a stranger reads first stays true: the README's commands, the pinned versions, the size of the package."""

from __future__ import annotations

import re
import tomllib

import pytest
from source_files import PACKAGE, ROOT

import flambeau

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()


def library(requirement: str) -> str:
    """Return the name of a requirement as package registries write it: lower case, with dashes."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, f"no name in {requirement!r}"
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def test_the_readme_has_one_test_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^pip install uv && (uv run .*pytest)$", readme, re.M)
    assert commands == ["uv run --all-extras pytest"]


def test_the_version_is_in_the_list_of_changes() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(flambeau.__version__)}\b", changes, re.M)


def test_a_pin_holds_a_version_and_no_address() -> None:
    wrong = [line for line in CONSTRAINTS if not re.match(r"[a-z0-9-]+==[0-9][^/@]*$", line)]
    assert not wrong, f"constraints.txt: {wrong}"


@pytest.mark.parametrize("extra", ["", *PROJECT["optional-dependencies"]])
def test_every_dependency_is_pinned(extra: str) -> None:
    wanted = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    missing = {library(one) for one in wanted} - {library(line) for line in CONSTRAINTS} - {"flambeau"}
    assert not missing, f"not in constraints.txt: {sorted(missing)}; CONTRIBUTING.md says how to renew it"


def test_a_dependency_has_a_floor_and_no_ceiling() -> None:
    extras = PROJECT["optional-dependencies"].values()
    requirements = [one for group in [PROJECT["dependencies"], *extras] for one in group]
    wrong = [one for one in requirements if library(one) != "flambeau" and not re.fullmatch(r"[\w.-]+>=[\d.]+", one)]
    assert not wrong, f"expected `name>=floor`: {wrong}"


def test_the_sample_pictures_are_at_most_two_and_a_half_megabytes() -> None:
    folder = PACKAGE / "data" / "fashion_pictures"
    assert (folder / "LICENSE").exists()
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 2_500_000
