"""The device is chosen by what works, and a wish that cannot be met is refused in words."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from flambeau.foundation import devices
from flambeau.foundation.devices import default_device
from flambeau.foundation.errors import ArgumentError


@pytest.fixture(autouse=True)
def _fresh_choice(monkeypatch):
    monkeypatch.delenv("FLAMBEAU_DEVICE", raising=False)
    caches = (devices._best, devices._failure)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


def test_the_choice_can_be_named_by_argument_or_environment(monkeypatch):
    assert default_device(False) == torch.device("cpu")
    assert default_device("cpu") == torch.device("cpu")
    monkeypatch.setenv("FLAMBEAU_DEVICE", "cpu")
    assert default_device() == torch.device("cpu")


def test_an_accelerator_that_is_listed_but_fails_is_passed_over_aloud(monkeypatch):
    monkeypatch.setattr(devices, "_accelerators", lambda: ["cuda"])
    monkeypatch.setattr(devices, "_failure", lambda device: "no kernel image")
    with pytest.warns(UserWarning, match=r"cuda is present but does not compute \(no kernel image\)"):
        assert default_device() == torch.device("cpu")


def test_a_device_that_does_not_work_is_refused():
    if torch.backends.mps.is_available():
        pytest.skip("this machine has MPS")
    with pytest.raises(ArgumentError, match="The device 'mps' does not work here"):
        default_device("mps")


def test_a_name_that_is_no_device_is_refused():
    with pytest.raises(ArgumentError, match="'gpu' is not the name of a device"):
        default_device("gpu")


def test_insisting_on_an_accelerator_where_there_is_none_is_refused(monkeypatch):
    monkeypatch.setattr(devices, "_accelerators", list)
    with pytest.raises(ArgumentError, match="neither CUDA nor MPS works"):
        default_device(True)


def test_importing_starts_no_cuda():
    code = "import flambeau.foundation.devices, torch; print(torch.cuda.is_initialized())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
