"""What a second process brings: an epoch of a convolutional net in one process and in two, each with one thread.

Both sides do the same work: the same pictures, the same items a step (two processes take half each). The time is that of
`fit`, without starting the program. Other programs on the machine's cores lower the ratio.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STEP, SIZE, REPEATS = 64, 64, 5


def learner(bs: int) -> Any:
    """Return a learner of an xresnet18 on enlarged Fashion-MNIST pictures."""
    import torch

    from flambeau.data.getters import get_image_files
    from flambeau.data.labels import parent_label
    from flambeau.data.sample_pictures import unpack_fashion
    from flambeau.foundation.seeds import set_seed
    from flambeau.vision.augment import aug_transforms
    from flambeau.vision.data_loaders import ImageDataLoaders
    from flambeau.vision.learner import vision_learner
    from flambeau.vision.resize import Resize

    torch.set_num_threads(1)
    set_seed(1)
    root = unpack_fashion(Path(tempfile.gettempdir()) / f"flambeau-fashion-{os.environ.get('RANK', '0')}")
    files = get_image_files(root)[::10]
    dls = ImageDataLoaders.from_path_func(
        root, files, parent_label, seed=1, bs=bs, item_tfms=Resize(SIZE), batch_tfms=aug_transforms(), num_workers=1,
        device="cpu",
    )  # fmt: skip
    return vision_learner(dls, "xresnet18", pretrained=False)


def timed_epochs() -> None:
    """Time epochs in this process, or its part of them, and print the seconds."""
    from flambeau.foundation.processes import is_first_process, n_processes

    learn = learner(STEP // n_processes())
    with learn.no_logging(), learn.distributed():
        learn.fit(1, 1e-3)  # to warm up
        for _ in range(REPEATS):
            start = time.perf_counter()
            learn.fit(1, 1e-3)
            if is_first_process():
                print("seconds", time.perf_counter() - start, flush=True)


def seconds_in(n: int) -> list[float]:
    """Return the seconds of each epoch in `n` processes."""
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n)] if n > 1 else []
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *run, __file__, "timed"], env=env, stdout=subprocess.PIPE, text=True, check=True
    )
    return [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("seconds")]


def main() -> None:
    """Print the table."""
    medians = {}
    for n in (1, 2):
        taken = seconds_in(n)
        medians[n] = statistics.median(taken)
        print(f"{n} process(es)  median {medians[n]:6.2f} s an epoch  ({min(taken):.2f} to {max(taken):.2f})", flush=True)
    print(f"one / two  {medians[1] / medians[2]:.2f} (aim >= 1.5)")


if __name__ == "__main__":
    timed_epochs() if "timed" in sys.argv else main()
