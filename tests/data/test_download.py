"""Downloads arrive whole or not at all, go on where they broke, and say what to do when they cannot."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import socket
import subprocess
import sys
import tarfile
import threading
from dataclasses import dataclass, field

import pytest

from flambeau.data import download
from flambeau.data.download import download_data, download_url, untar_data
from flambeau.foundation.errors import ArgumentError, DownloadError
from flambeau.foundation.paths import Path


@dataclass
class Server:
    """A web server in a thread whose faults the test chooses."""

    files: dict[str, bytes] = field(default_factory=dict)
    etag: str | None = '"v1"'
    drop_after: list[int | None] = field(default_factory=list)  # bytes until the line breaks, one entry a request
    answers: list[int] = field(default_factory=list)  # statuses to give before anything else
    ranges: list[str | None] = field(default_factory=list)  # what each request asked for
    knows_ranges: bool = True
    url: str = ""

    def put(self, name: str, content: bytes) -> str:
        self.files[f"/{name}"] = content
        return f"{self.url}/{name}"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Server = self.server.state  # type: ignore[attr-defined]
        server.ranges.append(self.headers.get("Range"))
        if server.answers:
            return self.send_error(server.answers.pop(0))
        content = server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        start = self._start(server, len(content))
        if start > len(content) or (start and start == len(content)):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        limit = server.drop_after.pop(0) if server.drop_after else None
        self.wfile.write(content[start:] if limit is None else content[start : start + limit])

    def _start(self, server: Server, length: int) -> int:
        asked = self.headers.get("Range")
        if asked is None or not server.knows_ranges or self.headers.get("If-Range") != server.etag:
            return 0
        return int(asked.removeprefix("bytes=").rstrip("-"))

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server():
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    state = Server(url=f"http://127.0.0.1:{listening.server_port}")
    listening.state = state
    threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield state
    listening.shutdown()
    listening.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FLAMBEAU_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(download, "_PAUSES", (0.0, 0.0, 0.0))
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    return Path(tmp_path / "home")


def _archive(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


PETS = _archive({"pets-1.0/images/a.jpg": b"a", "pets-1.0/images/b.jpg": b"b"})
CONTENT = os.urandom(1_000_000)


def _listing(folder):
    return sorted(os.listdir(folder))


# ---- one file


def test_a_file_arrives_whole_with_its_checksum(server, tmp_path):
    url = server.put("a.bin", CONTENT)
    path = download_url(url, tmp_path / "b.bin", sha256=hashlib.sha256(CONTENT).hexdigest())
    assert path.read_bytes() == CONTENT
    assert _listing(tmp_path) == ["b.bin"]


def test_a_folder_or_nothing_as_destination_keeps_the_name(server, tmp_path, monkeypatch):
    url = server.put("a.bin", b"x")
    monkeypatch.chdir(tmp_path)
    assert download_url(url, tmp_path) == tmp_path / "a.bin"
    assert download_url(url).read_bytes() == b"x"


def test_a_broken_line_is_taken_up_where_it_broke(server, tmp_path):
    server.drop_after = [400_000, 300_000]
    assert download_url(server.put("a.bin", CONTENT), tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=400000-", "bytes=700000-"]


def test_a_later_run_goes_on_with_what_an_earlier_one_left(server, tmp_path):
    url = server.put("a.bin", CONTENT)
    server.drop_after = [400_000] + [0] * 9
    with pytest.raises(DownloadError, match="the connection broke after 400000 of 1000000 bytes"):
        download_url(url, tmp_path)
    assert _listing(tmp_path) == ["a.bin.part", "a.bin.part.json"]
    server.drop_after = []
    assert download_url(url, tmp_path).read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=400000-"
    assert _listing(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("fault", ["another version", "no marks", "no ranges", "weak mark"])
def test_a_download_starts_anew_when_its_beginning_is_not_certain(server, tmp_path, fault):
    url = server.put("a.bin", CONTENT)
    server.etag = {"no marks": None, "weak mark": 'W/"v1"'}.get(fault, '"v1"')
    server.knows_ranges = fault != "no ranges"
    server.drop_after = [400_000] + [0] * 9
    with pytest.raises(DownloadError):
        download_url(url, tmp_path)
    server.drop_after = []
    changed = CONTENT[::-1] if fault == "another version" else CONTENT
    server.put("a.bin", changed)
    server.etag = '"v2"' if fault == "another version" else server.etag
    assert download_url(url, tmp_path).read_bytes() == changed


def test_what_was_begun_from_another_address_is_not_continued(server, tmp_path):
    server.drop_after = [400_000] + [0] * 9
    with pytest.raises(DownloadError):
        download_url(server.put("a.bin", CONTENT), tmp_path / "x")
    server.drop_after = []
    assert download_url(server.put("b.bin", CONTENT[::-1]), tmp_path / "x").read_bytes() == CONTENT[::-1]


def test_a_line_that_breaks_here_and_there_is_given_up_in_the_end(server, tmp_path):
    server.knows_ranges = False
    server.drop_after = [300_000, 400_000] * 9
    with pytest.raises(DownloadError, match=r"Could not download .*a\.bin: the connection broke"):
        download_url(server.put("a.bin", CONTENT), tmp_path)
    assert len(server.ranges) == 6  # two that brought more than ever, then four in vain


def test_a_server_that_is_busy_is_asked_again(server, tmp_path):
    server.answers = [503, 429]
    assert download_url(server.put("a.bin", b"x"), tmp_path).read_bytes() == b"x"


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    url = server.put("a.bin", CONTENT)
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"more")
    (tmp_path / "a.bin.part.json").write_text(f'{{"url": "{url}", "validator": "\\"v1\\""}}')
    assert download_url(url, tmp_path).read_bytes() == CONTENT


def test_a_wrong_checksum_keeps_the_earlier_file(server, tmp_path):
    (tmp_path / "a.bin").write_text("old")
    with pytest.raises(DownloadError, match=r"has sha256 [0-9a-f]{64}, expected 0{64}: not kept"):
        download_url(server.put("a.bin", CONTENT), tmp_path, sha256="0" * 64)
    assert (tmp_path / "a.bin").read_text() == "old"
    assert _listing(tmp_path) == ["a.bin"]


def test_a_missing_file_is_told_at_once_with_a_way_out(server, tmp_path):
    with pytest.raises(DownloadError, match=r"/no\.bin: the server answered 404 .*put it at .*no\.bin"):
        download_url(f"{server.url}/no.bin", tmp_path)
    assert server.ranges == [None]


def test_a_refused_connection_is_told_at_once(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 refused the connection"):
        download_url(f"http://127.0.0.1:{port}/a.bin", tmp_path)


def test_an_unknown_host_is_told_at_once(tmp_path, monkeypatch):
    asked = []

    def no_such_name(*args, **kwargs):
        asked.append(args)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    with pytest.raises(DownloadError, match=r"the name data\.example is not known here \(no network, or a mistyped"):
        download_url("http://data.example/a.bin", tmp_path)
    assert len(asked) == 1


def test_an_address_that_is_none_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"Expected an address with http, https or file, got 'a/b.tgz'"):
        download_url("a/b.tgz", tmp_path)


def test_a_local_file_is_copied(tmp_path):
    (tmp_path / "a b.bin").write_bytes(b"x")
    assert download_url((tmp_path / "a b.bin").as_uri(), tmp_path / "c.bin").read_bytes() == b"x"
    with pytest.raises(DownloadError, match="Could not copy file:"):
        download_url((tmp_path / "none").as_uri(), tmp_path / "c.bin")


def test_one_line_tells_what_is_fetched_where_no_bar_can_be_drawn(server, tmp_path, capsys):
    url = server.put("a.bin", CONTENT)
    download_url(url, tmp_path)
    assert capsys.readouterr().err == "Downloading a.bin (1.0 MB) ...\n"
    download_url(url, tmp_path, show_progress=False)
    assert capsys.readouterr().err == ""


# ---- data sets


def test_a_data_set_is_fetched_once(server, home):
    url = server.put("oxford-pets.tgz", PETS)
    path = untar_data(url)
    assert path == home / "data" / "oxford-pets"
    assert sorted(file.name for file in path.rglob("*.jpg")) == ["a.jpg", "b.jpg"]
    assert type(path) is Path
    server.answers = [500] * 9
    assert untar_data(url) == path
    assert len(server.ranges) == 1
    assert _listing(home / "data") == ["oxford-pets"]
    assert _listing(home / "archive") == ["oxford-pets.tgz", "oxford-pets.tgz.sha256"]


def test_an_archive_of_many_roots_keeps_them(server):
    path = untar_data(server.put("two.tar.gz", _archive({"train/a": b"", "valid/b": b"", "readme": b""})))
    assert path.name == "two"
    assert _listing(path) == ["readme", "train", "valid"]


def test_folders_can_be_chosen(server, tmp_path, home):
    path = untar_data(server.put("p.tgz", PETS), archive=tmp_path / "packed", data=tmp_path / "sets")
    assert path == tmp_path / "sets" / "p"
    assert (tmp_path / "packed" / "p.tgz").exists()
    assert untar_data(server.put("m.tgz", PETS), c_key="models") == home / "models" / "m"


def test_an_archive_placed_by_hand_needs_no_network(home):
    (home / "archive").mkdir(parents=True)
    (home / "archive" / "p.tgz").write_bytes(PETS)
    assert len(list(untar_data("https://nowhere.invalid/p.tgz").rglob("*.jpg"))) == 2


def test_a_damaged_archive_placed_by_hand_is_not_deleted(home):
    (home / "archive").mkdir(parents=True)
    (home / "archive" / "p.tgz").write_bytes(PETS[:-20])
    with pytest.raises(DownloadError, match=r"is damaged .*Replace .*p\.tgz, then run again"):
        untar_data("https://nowhere.invalid/p.tgz")
    assert _listing(home / "archive") == ["p.tgz"]
    assert _listing(home / "data") == []


def test_a_truncated_archive_is_deleted_and_leaves_no_folder(server, home):
    url = server.put("p.tgz", PETS[:-20])
    with pytest.raises(DownloadError, match=r"The archive was deleted; run again"):
        untar_data(url)
    assert _listing(home / "archive") == _listing(home / "data") == []
    server.put("p.tgz", PETS)
    assert untar_data(url).is_dir()


def test_a_hostile_archive_leaves_nothing(server, home, tmp_path):
    with pytest.raises(DownloadError, match="climbs out of its folder"):
        untar_data(server.put("p.tgz", _archive({"a": b"", "../../out.txt": b"x"})))
    assert _listing(home / "data") == []
    assert _listing(tmp_path) == ["home"]


def test_a_single_file_is_no_data_set(server):
    with pytest.raises(
        DownloadError, match=r"neither a tar nor a zip archive. To fetch a single file use download_url"
    ):
        untar_data(server.put("table.csv", b"a,b\n1,2\n"))


def test_a_wrong_checksum_of_an_archive_is_refused(server, home):
    with pytest.raises(DownloadError, match=r"expected 0{64}: not kept"):
        untar_data(server.put("p.tgz", PETS), sha256="0" * 64)
    assert _listing(home / "archive") == []


def test_an_archive_that_changed_on_the_disk_is_refused(server, home):
    path = download_data(server.put("p.tgz", PETS))
    path.write_bytes(PETS + b"x")
    with pytest.raises(DownloadError, match=r"The sha256 of .*p\.tgz is .*Delete .*p\.tgz, then run again"):
        untar_data(server.put("p.tgz", PETS))


def test_a_file_that_changed_on_the_server_is_taken_only_when_meant(server, home):
    url = server.put("p.tgz", PETS)
    old = untar_data(url)
    server.put("p.tgz", _archive({"pets/new.jpg": b"n"}))
    with pytest.raises(DownloadError, match=r"If a new version is meant, delete .*p\.tgz\.sha256"):
        untar_data(url, force_download=True)
    assert (old / "images" / "a.jpg").exists()
    (home / "archive" / "p.tgz.sha256").unlink()
    assert _listing(untar_data(url, force_download=True)) == ["new.jpg"]
    assert _listing(home / "data") == ["p"]


def test_the_way_out_names_the_place_of_the_archive(server, home):
    with pytest.raises(DownloadError, match=r"in a browser, put it at .*archive.p\.tgz, then run again"):
        untar_data(f"{server.url}/p.tgz")


KILLED = """
import os, sys
from flambeau.data import archives, download
write, files = archives.os.makedirs, []
def makedirs(path, exist_ok=False):
    write(path, exist_ok=exist_ok)
    files.append(path)
    if len(files) > 1:
        os._exit(9)
if sys.argv[2] == "unpacking":
    archives.os.makedirs = makedirs
else:
    download.os.replace = lambda *args: os._exit(9)
download.untar_data(sys.argv[1])
"""


@pytest.mark.parametrize("moment", ["unpacking", "renaming"])
def test_a_killed_process_leaves_no_half_set_and_the_next_one_finishes(server, home, moment):
    url = server.put("p.tgz", _archive({"p/a/1": b"1", "p/b/2": b"2"}))
    killed = subprocess.run([sys.executable, "-c", KILLED, url, moment], capture_output=True, text=True)
    assert killed.returncode == 9, killed.stderr
    assert not (home / "data" / "p").exists()
    assert _listing(untar_data(url)) == ["a", "b"]
    assert _listing(home / "data") == ["p"]
    assert not [name for name in _listing(home / "archive") if name.endswith((".part", ".json", ".tmp"))]


def test_several_at_once_fetch_once(server, home):
    url = server.put("p.tgz", PETS)
    paths = []
    threads = [threading.Thread(target=lambda: paths.append(untar_data(url))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [home / "data" / "p"] * 6
    assert len(server.ranges) == 1
