"""Processes: after reading it you know how a program learns that it is one of several that work together.

`torchrun` (and whatever speaks its language: Slurm scripts, `flambeau train --processes`) starts the same program
several times and tells each copy, by environment variables, which one it is.
"""

from __future__ import annotations

import os


def n_processes() -> int:
    """Return how many processes work together, on all machines; 1 where nobody started several."""
    return _number("WORLD_SIZE", 1)


def n_local_processes() -> int:
    """Return how many of them share this machine."""
    return _number("LOCAL_WORLD_SIZE", 1)


def local_place() -> int:
    """Return the place of this process among those of its machine, counted from 0."""
    return _number("LOCAL_RANK", 0)


def process_place() -> int:
    """Return the place of this process among all of them, counted from 0."""
    return _number("RANK", 0)


def is_first_process() -> bool:
    """Return whether this process is the one that speaks and writes for all; alone it is."""
    return process_place() == 0


def _number(variable: str, without: int) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() else without
