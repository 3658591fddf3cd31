"""Seeds: after reading it you know how a run is made to repeat itself, and where chance without a seed comes from."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


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
    before = ChanceState.now()
    try:
        set_seed(seed)
        yield
    finally:
        before.restore()


@dataclass(frozen=True)
class ChanceState:
    """Where the streams of Python, numpy and torch stand, on the CPU and on every GPU in use."""

    python: Any
    numpy: Any
    torch: Tensor
    cuda: tuple[Tensor, ...] = ()

    @classmethod
    def now(cls) -> ChanceState:
        """Return the states of this moment."""
        import numpy as np
        import torch

        # a GPU that nobody uses has drawn nothing, and asking would start it
        cuda = tuple(torch.cuda.get_rng_state_all()) if torch.cuda.is_initialized() else ()
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda)

    def restore(self) -> None:
        """Put all streams back to where they stood; on a machine with fewer GPUs, those that are there."""
        import numpy as np
        import torch

        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.torch)
        for place, state in enumerate(self.cuda[: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state, place)

    def as_tensors(self) -> dict[str, Tensor]:
        """Return the states as tensors, to be kept in a file."""
        import torch

        _, numbers, gauss = self.python
        _, words, place, has_gauss, cached = self.numpy
        kept = {
            "python": torch.tensor(numbers, dtype=torch.int64),
            "python_gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
            "numpy": torch.from_numpy(words.astype("int64")),
            "numpy_rest": torch.tensor([place, has_gauss, cached], dtype=torch.float64),
            "torch": self.torch,
        }
        return kept | {f"cuda.{place}": state for place, state in enumerate(self.cuda)}

    @classmethod
    def of_tensors(cls, kept: Mapping[str, Tensor]) -> ChanceState:
        """Return the states that `as_tensors` wrote down."""
        gauss = kept["python_gauss"].tolist()
        place, has_gauss, cached = kept["numpy_rest"].tolist()
        return cls(
            (random.getstate()[0], tuple(kept["python"].tolist()), gauss[0] if gauss else None),
            ("MT19937", kept["numpy"].numpy().astype("uint32"), int(place), int(has_gauss), cached),
            kept["torch"],
            tuple(kept[f"cuda.{place}"] for place in range(sum(name.startswith("cuda.") for name in kept))),
        )


def random_generator(seed: int | None = None) -> random.Random:
    """Return a generator of its own, from `seed`.

    Without a seed it is drawn from Python's generator, so that `set_seed` governs it too.
    """
    return random.Random(random.getrandbits(64) if seed is None else seed)
