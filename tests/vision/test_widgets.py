"""Widgets come from ipywidgets, late; without it an error tells how to install it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest

from flambeau.foundation.errors import MissingDependencyError
from flambeau.vision import widgets as face


def test_importing_the_widgets_does_not_import_ipywidgets() -> None:
    code = "import sys; from flambeau.vision.widgets import *; VBox; widgets; assert 'ipywidgets' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_ipywidgets_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "flambeau\[notebook\]"'):
        face.VBox([])
    with pytest.raises(MissingDependencyError, match="ipywidgets"):
        _ = face.widgets.Button


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    pytest.importorskip("ipywidgets")
    for number in range(3):
        PIL.Image.new("RGB", (40, 30), (80 * number, 0, 0)).save(tmp_path / f"{number}.png")
    return sorted(tmp_path.iterdir())


def test_a_row_of_pictures_gives_its_choices(files: list[Path]) -> None:
    cleaner = face.ImagesCleaner(["cat", "dog"], max_n=2)
    cleaner.set_fns(files)
    assert cleaner.fns == files[:2]
    assert cleaner.values() == ["<Keep>", "<Keep>"]
    first, second = cleaner.dropdowns()
    first.value, second.value = "<Delete>", "dog"
    assert cleaner.delete() == [0]
    assert cleaner.change() == [(1, "dog")]


def test_a_thumbnail_fits_its_frame(files: list[Path]) -> None:
    import io

    cleaner = face.ImagesCleaner(height=12, width=12)
    cleaner.set_fns(files[:1])
    thumb = PIL.Image.open(io.BytesIO(cleaner.widget.children[0].children[0].value))
    assert thumb.size == (12, 9)


def test_the_module_offers_all_of_ipywidgets() -> None:
    ipywidgets = pytest.importorskip("ipywidgets")
    assert face.widgets.IntSlider is ipywidgets.IntSlider
    assert isinstance(face.HBox([face.Button(description="go"), face.Output()]), ipywidgets.HBox)
    assert face.FileUpload().data == []
