"""Seeds: after reading it you know how a run is made to repeat itself, and where chance without a seed comes from."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager


def set_seed(seed: int, reproducible: bool = False, *, deterministic: bool = False) -> None:
    """Seed Python, numpy and torch on all devices: splits, weights, orders, augmentation and dropout follow.

    `deterministic=True` (or `reproducible`, fastai's word for it) also asks torch for deterministic kernels: slower,
    and the same numbers in each run on the same machine. Operations that have no such kernel warn.
    """
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # numpy takes 32 bits
    torch.manual_seed(seed)
    if reproducible or deterministic:
        # cuBLAS is deterministic only with a fixed workspace (CUDA documentation, "Results reproducibility")
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.use_deterministic_algorithms(True, warn_only=True)


@contextmanager
def no_random(seed: int = 42) -> Iterator[None]:
    """Seed everything inside the `with`, and give the earlier states of chance back after it."""
    import numpy as np
    import torch

    cuda_started: bool = torch.cuda.is_initialized()
    devices = list(range(torch.cuda.device_count())) if cuda_started else []
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices):
            set_seed(seed)
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def random_generator(seed: int | None = None) -> random.Random:
    """Return a generator of its own, from `seed`.

    Without a seed it is drawn from Python's generator, so that `set_seed` governs it too.
    """
    return random.Random(random.getrandbits(64) if seed is None else seed)
