"""What a second process brings: an epoch of a convolutional net in one process and in two, each with one thread.

Both sides do the same work: the same pictures, the same items a step (two processes take half each). Timed is `fit`,
without starting the program. Where other programs use the cores, read the processor seconds, which a process
works itself: their ratio is what idle cores would give.
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

STEP, SIZE, REPEATS = 64, 64, 3


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
    files = get_image_files(root)[::6]
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
            start, worked = time.perf_counter(), time.process_time()
            learn.fit(1, 1e-3)
            if is_first_process():
                print("seconds", time.perf_counter() - start, time.process_time() - worked, flush=True)


def seconds_in(n: int) -> list[tuple[float, float]]:
    """Return the seconds of each epoch in `n` processes, by the clock and of the first one's processor."""
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n)] if n > 1 else []
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *run, __file__, "timed"], env=env, stdout=subprocess.PIPE, text=True, check=True
    )
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("seconds")]
    return [(float(clock), float(worked)) for _, clock, worked in lines]


def main() -> None:
    """Print the table."""
    clock, work = {}, {}
    for n in (1, 2):
        taken = seconds_in(n)
        clock[n], work[n] = (statistics.median(column) for column in zip(*taken, strict=True))
        fastest = min(seconds for seconds, _ in taken)
        print(f"{n} process(es)  {clock[n]:6.2f} s an epoch (fastest {fastest:.2f}), {work[n]:.2f} s of processor each")
    print(f"one / two  {clock[1] / clock[2]:.2f} by the clock (aim >= 1.5), {work[1] / work[2]:.2f} of processor")


if __name__ == "__main__":
    timed_epochs() if "timed" in sys.argv else main()
