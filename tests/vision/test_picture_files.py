"""Folders of pictures: what is fetched, what is found broken, what is shrunk; against a server on this machine."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import PIL.Image
import pytest

from flambeau.foundation.errors import ArgumentError, ImageError
from flambeau.vision import files as picture_files
from flambeau.vision.files import download_images, resize_image, resize_images, verify_image, verify_images


def picture(size: tuple[int, int] = (60, 40), format: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", size, "teal").save(buffer, format)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "large.jpg").write_bytes(picture((600, 300)))
    (root / "deep" / "small.png").write_bytes(picture((60, 40), "PNG"))
    (root / "deep" / "er" / "tall.jpg").write_bytes(picture((100, 800)))
    (root / "broken.jpg").write_bytes(picture((300, 300))[:-200])
    (root / "words.jpg").write_text("no picture")
    return root


def test_broken_files_are_found(folder: Path) -> None:
    files = sorted(folder.rglob("*.*"))
    assert sorted(path.name for path in verify_images(files)) == ["broken.jpg", "words.jpg"]
    assert verify_image(folder / "large.jpg")
    assert not verify_image(folder / "absent.jpg")


def test_failed_files_can_be_removed_with_map(folder: Path) -> None:
    failed = verify_images(sorted(folder.glob("*.jpg")))
    failed.map(Path.unlink)
    assert [path.name for path in folder.glob("*.jpg")] == ["large.jpg"]


def test_tree_is_kept_and_failures_are_printed_and_returned(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dest = tmp_path / "small"
    failed = resize_images(folder, max_size=200, recurse=True, dest=dest)
    sizes = {str(path.relative_to(dest)): PIL.Image.open(path).size for path in dest.rglob("*.*")}
    assert sizes == {"large.jpg": (200, 100), "deep/small.png": (60, 40), "deep/er/tall.jpg": (25, 200)}
    assert (dest / "deep" / "small.png").read_bytes() == (folder / "deep" / "small.png").read_bytes()
    assert sorted(path.name for path in failed) == ["broken.jpg", "words.jpg"]
    said = capsys.readouterr().out
    assert "resize_images: 2 of 5 failed." in said
    assert "words.jpg: expected a picture, found text" in said


def test_resizing_in_place_replaces_large_files_only(folder: Path) -> None:
    before = (folder / "deep" / "small.png").stat().st_mtime_ns
    resize_images(folder, max_size=100, recurse=True, dest=folder)
    assert PIL.Image.open(folder / "large.jpg").size == (100, 50)
    assert (folder / "deep" / "small.png").stat().st_mtime_ns == before
    assert (folder / "broken.jpg").exists()


def test_without_recurse_subfolders_are_left_alone(folder: Path, tmp_path: Path) -> None:
    resize_images(folder, max_size=100, dest=tmp_path / "small")
    assert not (tmp_path / "small" / "deep").exists()


def test_resume_keeps_what_is_there(folder: Path, tmp_path: Path) -> None:
    dest = tmp_path / "small"
    dest.mkdir()
    (dest / "large.jpg").write_bytes(b"kept")
    resize_images(folder, max_size=100, dest=dest)
    assert (dest / "large.jpg").read_bytes() == b"kept"
    resize_images(folder, max_size=100, dest=dest, resume=False)
    assert PIL.Image.open(dest / "large.jpg").size == (100, 50)


def test_file_type_and_channels_can_change(folder: Path, tmp_path: Path) -> None:
    made = resize_image("large.jpg", tmp_path, src=folder, max_size=50, n_channels=1, ext=".png")
    assert made.name == "large.png"
    assert (PIL.Image.open(made).format, PIL.Image.open(made).mode) == ("PNG", "L")


def test_resize_of_one_broken_file_raises(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"words.jpg: expected a picture"):
        resize_image("words.jpg", tmp_path, src=folder, max_size=50)
    with pytest.raises(ArgumentError, match="n_channels must be 3"):
        resize_image("large.jpg", tmp_path, src=folder, n_channels=4)


class Shop(BaseHTTPRequestHandler):
    goods: ClassVar[dict[str, tuple[int, str, bytes]]] = {
        "/a/cat.jpg": (200, "image/jpeg", picture()),
        "/b/cat.jpg": (200, "image/jpeg", picture((30, 30))),
        "/liar.jpg": (200, "image/jpeg", picture(format="PNG")),
        "/query?name=../../etc/passwd": (200, "application/octet-stream", picture(format="WEBP")),
        "/..%2f..%2fup.jpg": (200, "image/jpeg", picture()),
        "/page.jpg": (200, "text/html", b"<html>sorry</html>"),
        "/huge.jpg": (200, "image/jpeg", bytes(5000)),
    }

    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
            return
        status, kind, body = self.goods.get(self.path, (404, "text/plain", b""))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_pictures_are_kept_and_the_rest_reported(shop: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["/a/cat.jpg", "/b/cat.jpg", "/liar.jpg", "/page.jpg", "/absent.jpg"]
    report = download_images(tmp_path / "new", urls=[shop + path for path in wanted])
    assert sorted(path.suffix for path in report.kept) == [".jpg", ".jpg", ".png"]
    assert all(PIL.Image.open(path).size for path in report.kept)
    reasons = dict(report.failed)
    assert reasons[shop + "/page.jpg"] == "no picture: the server sent text/html, 18 bytes"
    assert reasons[shop + "/absent.jpg"].startswith("the server answered 404")
    assert repr(report) == "3 pictures kept, 2 failed"
    assert "download_images: 2 of 5 failed." in capsys.readouterr().out


def test_fetching_again_keeps_one_file_an_address(shop: str, tmp_path: Path) -> None:
    for _ in range(2):
        download_images(tmp_path, urls=[shop + "/a/cat.jpg"] * 3)
    assert len(list(tmp_path.iterdir())) == 1


def test_preserved_names_are_safe_and_do_not_collide(shop: str, tmp_path: Path) -> None:
    dest = tmp_path / "in" / "here"
    paths = ["/a/cat.jpg", "/..%2f..%2fup.jpg", "/query?name=../../etc/passwd"]
    download_images(dest, urls=[shop + path for path in paths], preserve_filename=True, n_workers=1)
    download_images(dest, urls=[shop + "/b/cat.jpg"], preserve_filename=True)
    names = sorted(path.name for path in dest.iterdir())
    assert [name.split("-")[0].split(".")[0] for name in names] == ["cat", "cat", "query", "up"]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_other_schemes_and_redirects_to_files_are_refused(shop: str, tmp_path: Path) -> None:
    report = download_images(tmp_path, urls=["file:///etc/passwd", "ftp://host/a.jpg", shop + "/away"])
    assert len(report.kept) == 0
    reasons = dict(report.failed)
    assert reasons["file:///etc/passwd"] == "only http and https addresses are fetched"
    assert "ftp://host/a.jpg" in reasons
    assert len(reasons) == 3


def test_too_large_files_are_given_up(shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_files, "MOST_BYTES", 1000)
    report = download_images(tmp_path, urls=[shop + "/huge.jpg"])
    assert report.failed[0][1].startswith("larger than")
    assert list(tmp_path.iterdir()) == []


def test_addresses_come_from_a_file_up_to_a_limit(shop: str, tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text(f"{shop}/a/cat.jpg\n\n{shop}/b/cat.jpg\n{shop}/liar.jpg\n")
    assert len(download_images(tmp_path / "new", tmp_path / "urls.txt", max_pics=2).kept) == 2
    with pytest.raises(ArgumentError, match="either urls="):
        download_images(tmp_path)


def test_unreachable_server_is_a_reason_not_an_error(tmp_path: Path) -> None:
    report = download_images(tmp_path, urls=["http://127.0.0.1:9/a.jpg"])
    assert "refused" in report.failed[0][1]
