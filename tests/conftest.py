"""Fixtures shared by all tests: real data where it is present, small pictures made here where it is not."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data sets beside the project, or skip."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data sets (../shared/data) are not on this machine")
    return SHARED_DATA


@pytest.fixture(scope="session")
def unpacked(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that unpacks `<name>/<name>.tgz` (or `a/b.tgz`) once and gives its folder."""
    root = tmp_path_factory.mktemp("real")

    def unpack(archive: str) -> Path:
        path = shared_data / archive
        folder = root / path.stem
        if not folder.exists():
            with tarfile.open(path) as tar:
                tar.extractall(root, filter="data")
        return folder

    return unpack
