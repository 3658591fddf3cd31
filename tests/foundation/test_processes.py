"""What a process learns from the variables that torchrun sets."""

from __future__ import annotations

import pytest

from flambeau.foundation.processes import is_first_process, local_place, n_local_processes, n_processes


def test_alone_a_process_is_the_first_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "LOCAL_RANK", "RANK"):
        monkeypatch.delenv(name, raising=False)
    assert (n_processes(), n_local_processes(), local_place(), is_first_process()) == (1, 1, 0, True)


def test_torchrun_tells_a_process_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WORLD_SIZE", "4"), ("LOCAL_WORLD_SIZE", "2"), ("LOCAL_RANK", "1"), ("RANK", "3")):
        monkeypatch.setenv(name, value)
    assert (n_processes(), n_local_processes(), local_place(), is_first_process()) == (4, 2, 1, False)
