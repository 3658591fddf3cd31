"""Sound archives unpack whole; hostile and damaged ones leave nothing behind and are named."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile

import pytest

from flambeau.data import archives
from flambeau.data.archives import archive_stem, file_extract, only_folder, unpack
from flambeau.foundation.errors import DownloadError
from flambeau.foundation.paths import Path


@pytest.fixture
def folder(tmp_path):
    return Path(tmp_path / "in")


def _tar(path, files=(), members=(), mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name, content in dict(files).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for member in members:
            tar.addfile(member)
    return Path(path)


def _special(name, kind, linkname=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    return info


def _everything_under(path):
    return sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_each_kind_of_tar_unpacks(tmp_path, folder, mode):
    files = {"a/b.txt": b"one", "./a/c/d.bin": bytes(range(256)) * 9000, "e": b""}
    unpack(_tar(tmp_path / "x.tar", files, [_special("empty", tarfile.DIRTYPE)], mode), folder)
    assert _everything_under(folder) == ["a/b.txt", "a/c/d.bin", "e"]
    assert (folder / "a/c/d.bin").read_bytes() == files["./a/c/d.bin"]
    assert (folder / "empty").is_dir()


def test_a_zip_unpacks_without_the_litter_of_macos(tmp_path, folder):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a/b.txt", "one")
        zipped.writestr("c\\d.txt", "two")
        zipped.writestr("__MACOSX/._b.txt", "litter")
        zipped.mkdir("empty") if hasattr(zipped, "mkdir") else zipped.writestr("empty/", "")
    unpack(Path(tmp_path / "x.zip"), folder)
    assert _everything_under(folder) == ["a/b.txt", "c/d.txt"]
    assert (folder / "empty").is_dir()


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path, folder):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as zipped:
        zipped.writestr("inside.txt", "x")
    unpack(_tar(tmp_path / "x.tar", {"inner.zip": inner.getvalue()}, mode="w"), folder)
    assert _everything_under(folder) == ["inner.zip"]


HOSTILE = [
    ({"../out.txt": b"x"}, [], r"'\.\./out\.txt' climbs out"),
    ({"a/../../out.txt": b"x"}, [], "climbs out"),
    ({"a\\..\\..\\out.txt": b"x"}, [], "climbs out"),
    ({"/tmp/flambeau-hostile.txt": b"x"}, [], "has an absolute path"),
    ({"C:\\out.txt": b"x"}, [], "has an absolute path"),
    ({}, [_special("link", tarfile.SYMTYPE, "../../out")], r"is a link \(to '\.\./\.\./out'\)"),
    ({}, [_special("link", tarfile.LNKTYPE, "/etc/passwd")], "is a link"),
    ({}, [_special("pipe", tarfile.FIFOTYPE)], "is a device or another special file"),
    ({}, [_special("disk", tarfile.BLKTYPE)], "is a device or another special file"),
]


@pytest.mark.parametrize(("files", "members", "reason"), HOSTILE)
def test_a_hostile_tar_writes_nothing(tmp_path, folder, files, members, reason):
    archive = _tar(tmp_path / "x.tgz", {"good.txt": b"x", **files}, members)
    with pytest.raises(DownloadError, match=reason):
        unpack(archive, folder)
    assert os.listdir(tmp_path) == ["x.tgz"]
    assert not os.path.exists("/tmp/flambeau-hostile.txt")


def test_a_file_cannot_be_written_through_a_link_made_before(tmp_path, folder):
    outside = tmp_path / "outside"
    outside.mkdir()
    link = _special("in", tarfile.SYMTYPE, str(outside))
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.addfile(link)
        info = tarfile.TarInfo("in/planted.txt")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(DownloadError, match="is a link"):
        unpack(Path(tmp_path / "x.tar"), folder)
    assert os.listdir(outside) == []


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a/../../out.txt"])
def test_a_hostile_zip_writes_nothing(tmp_path, folder, name):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
        zipped.writestr("good.txt", "x")
        zipped.writestr(name, "x")
    with pytest.raises(DownloadError, match=r"was not unpacked: its member .*out\.txt"):
        unpack(Path(tmp_path / "x.zip"), folder)
    assert os.listdir(tmp_path) == ["x.zip"]


def test_a_link_inside_a_zip_is_refused(tmp_path, folder):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
        zipped.writestr(info, "/etc/passwd")
    with pytest.raises(DownloadError, match="'link' is a link"):
        unpack(Path(tmp_path / "x.zip"), folder)


def test_a_bomb_is_stopped(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 2**20)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("zeros", bytes(2**24))
    with pytest.raises(DownloadError, match="'zeros' swells to over 200 times"):
        unpack(Path(tmp_path / "x.zip"), folder)
    assert os.listdir(tmp_path) == ["x.zip"]


def test_too_many_members_are_stopped(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    with pytest.raises(DownloadError, match="more than 2 members"):
        unpack(_tar(tmp_path / "x.tgz", {"a": b"", "b": b"", "c": b""}), folder)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_truncated_archive_is_damaged(tmp_path, folder, kept, mode):
    archive = _tar(tmp_path / "x.tgz", {str(n): os.urandom(5000) for n in range(20)}, mode=mode)
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * kept)])
    with pytest.raises(DownloadError, match="is damaged"):
        unpack(archive, folder)
    assert os.listdir(tmp_path) == ["x.tgz"]


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_one_flipped_byte_is_found(tmp_path, folder, place):
    archive = _tar(tmp_path / "x.tgz", {str(n): os.urandom(5000) for n in range(20)})
    content = bytearray(archive.read_bytes())
    content[int(len(content) * place)] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(DownloadError, match="is damaged"):
        unpack(archive, folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"a,b\n1,2\n", "neither a tar nor a zip archive. To fetch a single file use download_url"),
        ("x.tgz", b"<!DOCTYPE html><p>Log in first", "is a web page, not an archive"),
        ("x.tgz", b"nonsense", "is damaged: it does not begin as"),
        ("x.zip", b"", "is damaged"),
    ],
)
def test_what_is_no_archive_is_named(tmp_path, folder, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DownloadError, match=message):
        unpack(Path(tmp_path / name), folder)


def test_a_missing_archive_is_named(tmp_path, folder):
    with pytest.raises(DownloadError, match="There is no archive"):
        unpack(Path(tmp_path / "x.tgz"), folder)


def test_extracting_replaces_files_and_keeps_the_others(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old.txt").write_text("old")
    (tmp_path / "a" / "new.txt").write_text("old")
    archive = _tar(tmp_path / "x.tgz", {"a/new.txt": b"new", "b/c.txt": b"c"})
    assert file_extract(archive) == tmp_path
    assert _everything_under(Path(tmp_path)) == ["a/new.txt", "a/old.txt", "b/c.txt", "x.tgz"]
    assert (tmp_path / "a" / "new.txt").read_text() == "new"
    assert file_extract(str(archive), tmp_path / "to") / "b" / "c.txt" in (tmp_path / "to" / "b").iterdir()


def test_a_damaged_archive_replaces_nothing(tmp_path):
    (tmp_path / "a").write_text("old")
    archive = _tar(tmp_path / "x.tgz", {"a": b"new", "b": os.urandom(9000)})
    archive.write_bytes(archive.read_bytes()[:-2000])
    with pytest.raises(DownloadError, match="is damaged"):
        file_extract(archive)
    assert (tmp_path / "a").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["a", "x.tgz"]


def test_a_lone_folder_is_the_root_and_litter_does_not_count(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "._data").touch()
    assert only_folder(Path(tmp_path)) == tmp_path / "data"
    (tmp_path / "readme").touch()
    assert only_folder(Path(tmp_path)) == tmp_path


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.tgz", "a"), ("a.tar.gz", "a"), ("a-1.2.ZIP", "a-1.2"), ("ml-100k.zip", "ml-100k"), ("a.csv", "a.csv")],
)
def test_the_stem_has_no_archive_suffix(name, stem):
    assert archive_stem(name) == stem


def test_a_real_data_set_unpacks(shared_data, tmp_path, folder):
    unpack(Path(shared_data) / "mnist" / "mnist_sample.tgz", folder)
    assert {"train", "valid"} <= set(only_folder(folder).ls().attrgot("name"))
