"""Files are found quickly, in a fixed order, and an empty result says what is there instead."""

from __future__ import annotations

import os
import pickle
import time

import pytest

from flambeau.data.getters import (
    AttrGetter,
    FileGetter,
    ImageGetter,
    ItemGetter,
    get_files,
    get_image_files,
    get_text_files,
)
from flambeau.foundation.errors import EmptyError
from flambeau.foundation.paths import Path


@pytest.fixture
def tree(tmp_path):
    names = "train/cat/b.jpg train/cat/a.PNG train/dog/c.txt test/d.jpeg .hidden/e.jpg train/.f.jpg top.jpg notes.csv"
    for name in names.split():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return Path(tmp_path)


def _names(found, tree):
    return [path.relative_to(tree).as_posix() for path in found]


def test_pictures_are_found_sorted_and_hidden_ones_skipped(tree):
    found = get_image_files(tree)
    assert _names(found, tree) == ["test/d.jpeg", "top.jpg", "train/cat/a.PNG", "train/cat/b.jpg"]
    assert {type(path) for path in found} == {Path}


def test_folders_and_depth_limit_the_search(tree):
    assert _names(get_image_files(tree, folders="train"), tree) == ["train/cat/a.PNG", "train/cat/b.jpg"]
    assert _names(get_image_files(tree, folders=[".", "test"]), tree) == ["test/d.jpeg", "top.jpg"]
    assert _names(get_image_files(tree, recurse=False), tree) == ["top.jpg"]
    assert _names(get_files(tree, ".CSV"), tree) == ["notes.csv"]
    assert _names(get_text_files(str(tree)), tree) == ["train/dog/c.txt"]
    assert len(get_files(tree)) == 6


def test_a_getter_looks_into_a_folder_below(tree):
    assert _names(ImageGetter("train")(tree), tree) == ["train/cat/a.PNG", "train/cat/b.jpg"]
    getter = pickle.loads(pickle.dumps(FileGetter("train", [".txt"])))
    assert _names(getter(tree), tree) == ["train/dog/c.txt"]


def test_nothing_found_says_what_is_there(tree):
    with pytest.raises(EmptyError, match=r"No file ending in \.wav in .* folders 'test', 'train' .*\.jpg \(2\)"):
        get_files(tree, [".wav"])
    (tree / "empty").mkdir()
    with pytest.raises(EmptyError, match="The folder is empty"):
        get_image_files(tree / "empty")
    with pytest.raises(EmptyError, match="in its folders 'trian'"):
        get_image_files(tree, folders="trian")


def test_a_missing_folder_proposes_the_nearest(tree):
    with pytest.raises(EmptyError, match="Did you mean 'train'"):
        get_image_files(tree / "trian")
    with pytest.raises(EmptyError, match="nor the folder above it"):
        get_image_files(tree / "x" / "y")
    with pytest.raises(EmptyError, match="is a file; expected a folder"):
        get_image_files(tree / "top.jpg")


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_are_followed_once_and_circles_end(tree):
    (tree / "train" / "up").symlink_to(tree)
    (tree / "other").symlink_to(tree / "train" / "cat")
    found = _names(get_image_files(tree, folders="other"), tree)
    assert found == ["other/a.PNG", "other/b.jpg"]
    assert len(get_image_files(tree)) < 30
    assert len(get_files(tree, followlinks=False)) == 6


def test_ten_thousand_files_are_listed_quickly(tmp_path):
    for folder in range(10):
        os.mkdir(tmp_path / str(folder))
        for number in range(1000):
            os.close(os.open(tmp_path / str(folder) / f"{number}.jpg", os.O_CREAT))
    times: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(5):
        start = time.perf_counter()
        assert len(get_image_files(tmp_path)) == 10_000
        times["ours"].append(time.perf_counter() - start)
        start = time.perf_counter()
        assert len(sorted(Path(at) / name for at, _, names in os.walk(tmp_path) for name in names)) == 10_000
        times["bare"].append(time.perf_counter() - start)
    assert min(times["ours"]) < 3 * min(times["bare"])  # a ratio, so that a busy machine slows both


def test_items_and_attributes_are_taken():
    assert ItemGetter(1)(("a", "b")) == "b"
    assert AttrGetter("name")(Path("a/b.jpg")) == "b.jpg"
    assert AttrGetter("colour", "red")(1) == "red"
    with pytest.raises(AttributeError):
        AttrGetter("colour")(1)
