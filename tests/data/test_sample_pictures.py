"""The pictures that come with the package: complete, unpacked once, never over something else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from flambeau.data.sample_pictures import FASHION_CLASSES, unpack_fashion
from flambeau.foundation.errors import DataError


@pytest.fixture(scope="module")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_fashion(tmp_path_factory.mktemp("samples") / "fashion")


def test_each_class_has_560_pictures_to_train_and_100_to_validate(fashion: Path) -> None:
    for class_name in FASHION_CLASSES:
        assert len(list((fashion / "train" / class_name).glob("*.png"))) == 560
        assert len(list((fashion / "valid" / class_name).glob("*.png"))) == 100


def test_a_picture_is_grey_and_28_pixels_wide(fashion: Path) -> None:
    with Image.open(fashion / "train" / "ankle_boot" / "00559.png") as picture:
        assert (picture.mode, picture.size) == ("L", (28, 28))


def test_the_pixels_are_those_of_the_official_files(fashion: Path) -> None:
    paths = sorted(fashion.rglob("*.png"))
    digest = hashlib.sha256(b"".join(Image.open(path).tobytes() for path in paths)).hexdigest()
    assert digest == "7be4b44a46023ba02568f7cbabdb9eb5a50bd032b05774ac5f562bb3af732e5e"


def test_a_second_call_leaves_the_files_alone(fashion: Path) -> None:
    picture = fashion / "valid" / "bag" / "00000.png"
    before = picture.stat().st_mtime_ns
    assert unpack_fashion(fashion) == fashion
    assert picture.stat().st_mtime_ns == before


def test_nothing_else_is_left_beside_the_folder(fashion: Path) -> None:
    assert [path.name for path in fashion.parent.iterdir()] == ["fashion"]


def test_a_folder_with_other_things_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="Expected a new or empty folder"):
        unpack_fashion(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failure_half_way_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flambeau.data.sample_pictures.SIDE", 0)
    with pytest.raises(ZeroDivisionError):
        unpack_fashion(tmp_path / "fashion")
    assert list(tmp_path.iterdir()) == []


def test_the_pictures_are_looked_for_in_the_storage_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAMBEAU_HOME", str(tmp_path))
    for class_name in FASHION_CLASSES:
        for split in ("train", "valid"):
            (tmp_path / "data" / "fashion_small" / split / class_name).mkdir(parents=True)
    assert unpack_fashion() == tmp_path / "data" / "fashion_small"
