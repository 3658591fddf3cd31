"""A file is one concept, named by it: names that say nothing are not used."""

from __future__ import annotations

from pathlib import Path

import pytest
from source_files import PACKAGE, ROOT

EMPTY_NAMES = {"util", "utils", "core", "base", "common", "helper", "helpers", "misc"}


@pytest.mark.parametrize("top", [PACKAGE, ROOT / "tests"], ids=["src", "tests"])
def test_no_file_or_folder_has_a_name_that_says_nothing(top: Path) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: name it by its one concept"
        for path in sorted(top.rglob("*"))
        if (path.suffix == ".py" or path.is_dir()) and path.stem.strip("_").removeprefix("test_") in EMPTY_NAMES
    ]
    assert not wrong, "\n" + "\n".join(wrong)
