"""Paths list themselves, stay of one class, and files are written whole."""

from __future__ import annotations

import os
import pathlib
import pickle
import time

import pytest

from flambeau.foundation.errors import UnknownNameError
from flambeau.foundation.paths import Path, atomic_write, storage_path


@pytest.fixture
def folder(tmp_path):
    for name in ("b.csv", "a.jpg", "c.PNG", "sub/d.txt"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("x")
    return Path(tmp_path)


def test_a_folder_lists_itself_sorted(folder):
    assert folder.ls().attrgot("name") == ["a.jpg", "b.csv", "c.PNG", "sub"]
    assert folder.ls(2).attrgot("name") == ["a.jpg", "b.csv"]
    assert folder.ls(file_exts=".csv").attrgot("name") == ["b.csv"]
    assert folder.ls(file_exts=[".csv", ".png"]).attrgot("name") == ["b.csv", "c.PNG"]
    assert folder.ls(file_type="image").attrgot("name") == ["a.jpg", "c.PNG"]
    assert folder.ls(file_type="text").attrgot("name") == ["b.csv"]


def test_relatives_are_of_the_same_class(folder):
    relatives = [folder / "x", folder.parent, next(folder.iterdir()), folder.resolve(), next(folder.glob("*.csv"))]
    assert {type(path) for path in relatives} == {Path}
    assert isinstance(folder, pathlib.Path)
    assert folder == pathlib.Path(folder)


def test_base_path_shortens_what_is_shown(folder, monkeypatch):
    assert repr(folder / "a.jpg") == f"Path({(folder / 'a.jpg').as_posix()!r})"
    monkeypatch.setattr(Path, "BASE_PATH", folder)
    assert repr(folder / "sub" / "d.txt") == "Path('sub/d.txt')"
    assert repr(Path("elsewhere")) == "Path('elsewhere')"


def test_a_path_survives_pickling(folder):
    copy = pickle.loads(pickle.dumps(folder))
    assert copy == folder
    assert type(copy) is Path


def test_storage_lies_under_the_home_that_is_set(monkeypatch, tmp_path):
    monkeypatch.setenv("FLAMBEAU_HOME", str(tmp_path))
    assert storage_path("archive") == tmp_path / "archive"
    monkeypatch.delenv("FLAMBEAU_HOME")
    assert storage_path("data") == pathlib.Path.home() / ".flambeau" / "data"
    with pytest.raises(UnknownNameError, match="Did you mean 'models'"):
        storage_path("model")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half() -> None:
        with atomic_write(target, "w") as file:
            file.write("half")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_write_that_ends_well_replaces_the_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    target.chmod(0o640)
    with atomic_write(target, "w") as file:
        file.write("né")
        assert target.read_text() == "old"
    assert target.read_bytes() == "né".encode()
    assert target.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["a.txt"]


def test_remains_of_killed_writes_go_after_an_hour(tmp_path):
    old, young, other = (tmp_path / name for name in (".a[1].0123abcd.tmp", ".a[1].4567abcd.tmp", ".b.0123abcd.tmp"))
    for path in (old, young, other):
        path.write_text("half")
    for path in (old, other):
        os.utime(path, (0, time.time() - 3700))
    with atomic_write(tmp_path / "a[1]", "w") as file:
        file.write("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [young.name, other.name, "a[1]"]


def test_a_write_into_no_folder_names_the_path(tmp_path):
    target = tmp_path / "nowhere" / "a.txt"
    with pytest.raises(FileNotFoundError, match=r"could not write .*nowhere.a\.txt"), atomic_write(target):
        pass


def test_a_write_onto_a_folder_names_the_path(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match=r"could not write .*a: "), atomic_write(tmp_path / "a") as file:
        file.write(b"x")
    assert os.listdir(tmp_path) == ["a"]


def test_an_error_about_another_file_is_not_blamed_on_this_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"other\.txt"), atomic_write(tmp_path / "a"):
        (tmp_path / "other.txt").read_text()
