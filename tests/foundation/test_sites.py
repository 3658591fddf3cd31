"""A site is asked once, and briefly: it answers, refuses (which is an answer), or is told to be away."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator

import huggingface_hub
import pytest

from flambeau.foundation.sites import hub_unreachable, unreachable


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask this machine directly."""
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def closed_port() -> int:
    """Return a port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Return a port of this machine that takes calls and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answer every question with 403."""

    def do_HEAD(self) -> None:
        self.send_error(403)

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


def test_a_site_that_refuses_is_reachable_and_one_that_is_silent_is_not(silent_port: int, closed_port: int) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert unreachable(f"http://127.0.0.1:{server.server_port}/some/file") is None
        server.shutdown()
    silent = unreachable(f"http://127.0.0.1:{silent_port}/", seconds=0.3)
    assert silent is not None
    assert "127.0.0.1" in silent
    assert "refused" in str(unreachable(f"http://127.0.0.1:{closed_port}/"))


def test_the_hub_is_asked_at_its_own_address_unless_it_is_switched_off(
    closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    assert f"127.0.0.1:{closed_port} cannot be reached" in str(hub_unreachable())
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert hub_unreachable() == "HF_HUB_OFFLINE is set"
