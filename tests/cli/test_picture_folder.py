"""What a folder of pictures means to the command line: halves, classes, and what is left out aloud."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flambeau.cli.picture_folder import PictureFolder, read_picture_folder
from flambeau.foundation.errors import DataError, EmptyError


def write(root: Path, *folders: str, n: int = 2) -> Path:
    """Write n pictures into each folder."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for place in range(n):
            Image.fromarray(np.full((8, 8, 3), 20 * place, np.uint8)).save(root / folder / f"{place}.png")
    return root


def read(root: Path, out: str = "out") -> PictureFolder:
    return read_picture_folder(root, root / out)


def names(root: Path, files: list[Path] | None) -> list[str]:
    return [file.relative_to(root).as_posix() for file in files or []]


def test_one_folder_a_class_is_split_later(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = read(write(tmp_path, "cat", "dog"))
    assert names(tmp_path, found.training) == ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]
    assert found.validation is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("train", "valid"), [("train", "valid"), ("train", "val"), ("Train", "Validation")])
def test_halves_by_any_of_their_names_are_the_split_of_the_user(tmp_path: Path, train: str, valid: str) -> None:
    found = read(write(tmp_path, f"{train}/cat", f"{train}/dog", f"{valid}/cat"))
    assert {file.parts[-3] for file in found.training} == {train}
    assert names(tmp_path, found.validation) == [f"{valid}/cat/0.png", f"{valid}/cat/1.png"]


def test_a_test_half_stays_out_of_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = read(write(tmp_path, "train/cat", "train/dog", "test/cat"))
    assert {file.parts[-3] for file in found.training} == {"train"}
    said = capsys.readouterr().out
    assert "no folder of pictures to validate beside" in said
    assert "Left out: 2 pictures kept for a test by `flambeau evaluate`: test." in said
    read(write(tmp_path, "val/cat"))
    assert "Left out: 2 pictures outside the halves: test." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (["train/cat", "train/dog", "val/cat", "valid/cat"], "cannot be told which of them trains"),
        (["val/cat", "val/dog"], "cannot be told which of them trains"),
        (["train/cat", "train/dog", "birds"], "train looks like a half and birds like a class"),
        (["train", "val"], "pictures in train lie in no folder of their class"),
        (["train/cat", "train/dog", "val"], "pictures in val lie in no folder of their class"),
        (["cat", "dog", "cat/small"], "'small' is a class"),
        (["."], "found 2 pictures in .* itself. Expected one folder a class"),
    ],
)
def test_folders_of_unclear_meaning_are_refused(tmp_path: Path, folders: list[str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(write(tmp_path, *folders))


def test_an_empty_half_is_refused(tmp_path: Path) -> None:
    (tmp_path / "valid").mkdir()
    with pytest.raises(DataError, match="and valid, which holds no pictures"):
        read(write(tmp_path, "train/cat", "train/dog"))


def test_train_may_be_a_class(tmp_path: Path) -> None:
    assert len(read(write(tmp_path, "bus", "train")).training) == 4


def test_a_loose_picture_is_left_out_aloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = read(write(tmp_path, ".", "cat", "dog", n=1))
    assert names(tmp_path, found.training) == ["cat/0.png", "dog/0.png"]
    assert f"Left out: 1 picture beside the class folders in {tmp_path}: 0.png." in capsys.readouterr().out


def test_results_among_the_data_are_left_out_aloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "cat", "dog", "out/pictures", "earlier/pictures")
    for name in ("report.html", "history.csv"):
        (tmp_path / "earlier" / name).touch()
    assert {file.parent.name for file in read(tmp_path).training} == {"cat", "dog"}
    assert "Left out: 4 pictures of reports that flambeau wrote: " in capsys.readouterr().out


def test_results_in_the_folder_itself_are_left_out(tmp_path: Path) -> None:
    (write(tmp_path, "cat", "dog", "pictures") / "report.html").touch()
    assert {file.parent.name for file in read(tmp_path, ".").training} == {"cat", "dog"}


def test_a_folder_named_from_within_is_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path, "cat", "dog", "flambeau-vision/pictures"))
    found = read_picture_folder(Path("."), Path("flambeau-vision"))
    assert {file.parent.name for file in found.training} == {"cat", "dog"}


def test_damaged_pictures_are_left_out_aloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, "cat", "dog") / "dog" / "1.png"
    file.write_bytes(file.read_bytes()[:40])
    assert len(read(tmp_path).training) == 3
    said = capsys.readouterr().out
    assert f"Left out: 1 picture that cannot be read: {file}." in said
    assert "The first: " in said


def test_a_half_of_damaged_pictures_alone_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "train/cat", "train/dog", "valid/cat", n=1)
    (tmp_path / "valid/cat/0.png").write_bytes(b"")
    with pytest.raises(EmptyError, match="so that nothing validates"):
        read(tmp_path)
