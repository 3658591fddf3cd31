"""The device: after reading it you know which one flambeau computes on, why, and how to choose another."""

from __future__ import annotations

import os
import warnings
from functools import cache

import torch

from flambeau.foundation.errors import ArgumentError
from flambeau.foundation.processes import local_place


@cache
def _failure(device: torch.device) -> str | None:
    """Multiply two small matrices on `device` and return why that failed, or None.

    A driver that is listed may still be unusable (too old for this torch, out of memory, wrong architecture), and only
    a computation tells.
    """
    try:
        ones = torch.ones(2, 2, device=device)
        total = (ones @ ones).sum().item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return None if total == 8 else f"2x2 ones squared summed to {total}, not 8"


def _accelerators() -> list[str]:
    listed = ["cuda"] if torch.cuda.is_available() else []
    return [*listed, "mps"] if torch.backends.mps.is_available() else listed


def _numbered(device: torch.device) -> torch.device:
    """Write the number of an accelerator out, so that the device equals that of the tensors on it.

    Of several processes on one machine each takes a GPU of its own.
    """
    if device.type == "cuda" and device.index is None:
        own = local_place()
        return torch.device("cuda", own if 0 < own < torch.cuda.device_count() else torch.cuda.current_device())
    return torch.device("mps", 0) if device.type == "mps" else device


@cache
def _best() -> torch.device:
    for name in _accelerators():
        device = torch.device(name)
        failure = _failure(device)
        if failure is None:
            return _numbered(device)
        warnings.warn(f"{name} is present but does not compute ({failure}); going on without it.", stacklevel=3)
    return torch.device("cpu")


def default_device(use: bool | str | int | torch.device | None = None) -> torch.device:
    """Return the device to compute on, after proof that it computes.

    `use=None` takes FLAMBEAU_DEVICE if it is set, else the first that works of CUDA, MPS and CPU. `True` insists on an
    accelerator, `False` on the CPU; a name, number or device is taken as it is.

    Raises ArgumentError when the device asked for does not work.
    """
    if use is None:
        use = os.environ.get("FLAMBEAU_DEVICE") or None
    if use is None:
        return _best()
    if use is False:
        return torch.device("cpu")
    if use is True:
        if _best().type == "cpu":
            raise ArgumentError("use=True asks for an accelerator, and neither CUDA nor MPS works here. Pass use=None.")
        return _best()
    try:
        device = torch.device(use)
    except RuntimeError as error:
        raise ArgumentError(f"{use!r} is not the name of a device. Known: 'cpu', 'cuda', 'cuda:1', 'mps'.") from error
    failure = _failure(device)
    if failure is not None:
        raise ArgumentError(f"The device {str(device)!r} does not work here: {failure}. Working: {str(_best())!r}.")
    return _numbered(device)
