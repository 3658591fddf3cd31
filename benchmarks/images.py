"""Pictures from disk to batches: the presizing recipe, a plain resize, small files, building loaders, one prediction.

python benchmarks/images.py [pipeline] [resize] [digits] [tiny] [build] [predict] [memory]
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent))
from timing import compare, has_fastai

from flambeau.foundation.seeds import set_seed
from flambeau.train.learner import Learner
from flambeau.vision.augment import aug_transforms
from flambeau.vision.data_loaders import ImageDataLoaders
from flambeau.vision.images import PILImageBW
from flambeau.vision.resize import Resize

Side = Callable[[], object]

# one picture validates and the rest fills whole batches, so that both sides do the same work
N_PHOTOS, N_DIGITS, BATCH = 321, 10_000, 64


def make_photos(folder: Path, n: int = N_PHOTOS) -> list[str]:
    """Write photo-like JPEGs of 500x375 in ten class folders."""
    chance = np.random.default_rng(0)
    for i in range(n):
        path = folder / f"class_{i % 10}" / f"{i:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        rough = PIL.Image.fromarray(chance.integers(0, 255, (47, 63, 3), dtype=np.uint8))
        rough.resize((500, 375), PIL.Image.Resampling.BICUBIC).save(path, quality=90)
    return [str(path) for path in sorted(folder.rglob("*.jpg"))]


def make_digits(folder: Path, n: int = N_DIGITS) -> list[str]:
    """Write grey PNGs of 28x28 in ten class folders."""
    chance = np.random.default_rng(0)
    for i in range(n):
        path = folder / str(i % 10) / f"{i:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        blob = PIL.Image.fromarray(chance.integers(0, 255, (7, 7), dtype=np.uint8))
        blob.resize((28, 28), PIL.Image.Resampling.BILINEAR).save(path)
    return [str(path) for path in sorted(folder.rglob("*.png"))]


def by_number(name: str) -> int:
    """Return the class of a photo, which follows from its number."""
    return int(name[:5]) % 10


def bare_pipeline(files: list[str], workers: int) -> Side:
    """Return a hand-written pass: decode, one warp, one look-up."""
    theta = torch.tensor([[[0.8, 0.1, 0.05], [-0.1, 0.8, 0.02]]])
    grid = F.affine_grid(theta, [1, 3, 224, 224], align_corners=False)
    table = np.linspace(0, 1, 256, dtype=np.float32)

    def one(path: str) -> torch.Tensor:
        with PIL.Image.open(path) as picture:
            pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None].float()
        warped = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)[0]
        return torch.from_numpy(np.take(table, warped.to(torch.uint8).numpy()))

    def run() -> None:
        with ThreadPoolExecutor(max(workers, 1)) as pool:
            each = pool.map if workers else map
            for start in range(0, len(files) - 1, BATCH):
                torch.stack(list(each(one, files[start : min(start + BATCH, len(files) - 1)])))

    return run


def our_pipeline(files: list[str], workers: int) -> Side:
    """Return the same by flambeau's loaders."""
    dls = ImageDataLoaders.from_name_func(
        Path(files[0]).parents[1], files, by_number, valid_pct=0.001, seed=0, bs=BATCH,
        item_tfms=Resize(460), batch_tfms=aug_transforms(size=224), num_workers=workers,
    )  # fmt: skip
    return lambda: [None for _ in dls.train]


def fastai_pipeline(files: list[str], workers: int) -> Side:
    """Return the same by fastai's loaders."""
    from fastai.vision.all import ImageDataLoaders as FastaiImages
    from fastai.vision.all import Resize as FastaiResize
    from fastai.vision.all import aug_transforms as fastai_augment

    dls = FastaiImages.from_name_func(
        Path(files[0]).parents[1], [Path(f) for f in files], by_number, valid_pct=0.004, seed=0, bs=BATCH,
        item_tfms=FastaiResize(460), batch_tfms=fastai_augment(size=224), num_workers=workers,
    )  # fmt: skip
    return lambda: [None for _ in dls.train]


PIPELINES = {"bare": bare_pipeline, "flambeau": our_pipeline, "fastai": fastai_pipeline}


def pipeline(files: list[str], workers: int) -> None:
    """Decode, Resize(460) and aug_transforms(size=224), no model."""
    sides = {name: make(files, workers) for name, make in PIPELINES.items() if name != "fastai" or has_fastai()}
    compare(f"Resize(460) + augment 224, {workers} workers", "<= 1.2; fastai >= 7x", repeats=5, **sides)


def plain_resize(files: list[str]) -> None:
    """Decode and Resize(64) without augmentation."""

    def bare() -> None:
        for start in range(0, len(files) - 1, BATCH):
            made = []
            for path in files[start : min(start + BATCH, len(files) - 1)]:
                with PIL.Image.open(path) as picture:
                    picture.draft("RGB", (86, 64))
                    width, height = picture.size
                    left = (width - height) / 2
                    small = picture.convert("RGB").resize((64, 64), 2, box=(left, 0, left + height, height))
                made.append(torch.from_numpy(np.array(small)).permute(2, 0, 1))
            torch.stack(made).float().div_(255)

    options = {
        "valid_pct": 0.001,
        "seed": 0,
        "label_func": lambda name: int(name[:5]) % 10,
        "bs": BATCH,
        "num_workers": 0,
    }
    path = Path(files[0]).parents[1]
    ours = ImageDataLoaders.from_name_func(path, files, item_tfms=Resize(64), **options)
    sides = {"bare": bare, "flambeau": lambda: [None for _ in ours.train]}
    if has_fastai():
        from fastai.vision.all import ImageDataLoaders as FastaiImages
        from fastai.vision.all import Resize as FastaiResize

        theirs = FastaiImages.from_name_func(path, [Path(f) for f in files], item_tfms=FastaiResize(64), **options)
        sides["fastai"] = lambda: [None for _ in theirs.train]
    compare("Resize(64), 0 workers", "fastai >= 3.5x", repeats=3, **sides)


def small_net(n_in: int) -> nn.Module:
    """Return a network of three convolutions."""
    return nn.Sequential(
        nn.Conv2d(n_in, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


def train_bare(model: nn.Module, batches: object) -> None:
    """Train for one epoch, the hand-written way."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    for x, y in batches:  # type: ignore[attr-defined]
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()


def digits(folder: Path, files: list[str]) -> None:
    """First epoch from 10,000 small files, second from memory."""
    labels = torch.tensor([int(Path(f).parent.name) for f in files])

    def read(path: str) -> torch.Tensor:
        with PIL.Image.open(path) as picture:
            return torch.from_numpy(np.array(picture))

    def bare_files() -> None:
        def batches() -> object:
            for places in torch.randperm(len(files)).split(BATCH):
                yield torch.stack([read(files[i]) for i in places.tolist()])[:, None].float().div_(255), labels[places]

        train_bare(small_net(1), batches())

    memory = torch.stack([read(f) for f in files])[:, None]

    def bare_memory() -> None:
        def batches() -> object:
            for places in torch.randperm(len(files)).split(BATCH):
                yield memory[places].float().div_(255), labels[places]

        train_bare(small_net(1), batches())

    def learner() -> Learner:
        dls = ImageDataLoaders.from_folder(
            folder, valid_pct=0.0001, seed=0, img_cls=PILImageBW, bs=BATCH, num_workers=0
        )
        return Learner(dls, small_net(1))

    def first_epoch(learn: Learner | None = None) -> None:
        learn = learn or waiting.pop()
        with learn.no_logging():
            learn.fit(1, 1e-3)

    waiting = [learner() for _ in range(6)]
    warm = learner()
    first_epoch(warm)
    sides = {"bare": bare_files, "flambeau": first_epoch}
    if has_fastai():
        sides["fastai"] = fastai_epoch(folder)
    compare("10,000 PNG, first epoch", "<= 1.3", repeats=3, **sides)
    compare("10,000 PNG, second epoch", "<= 1.2", repeats=3, bare=bare_memory, flambeau=lambda: first_epoch(warm))


def fastai_epoch(folder: Path) -> object:
    """Return a function that trains fastai for one epoch on the same files."""
    from fastai.vision.all import ImageDataLoaders as FastaiImages
    from fastai.vision.all import Learner as FastaiLearner
    from fastai.vision.all import PILImageBW as FastaiGrey

    dls = FastaiImages.from_folder(folder, valid_pct=0.0001, seed=0, img_cls=FastaiGrey, bs=BATCH, num_workers=0)

    def epoch() -> None:
        learn = FastaiLearner(dls, small_net(1))
        with learn.no_bar(), learn.no_logging():
            learn.fit(1, 1e-3)

    return epoch


def tiny(files: list[str]) -> None:
    """A three-layer network on 64-pixel crops of photos: the data path decides."""
    path = Path(files[0]).parents[1]
    labels = torch.tensor([int(Path(f).name[:5]) % 10 for f in files])

    def bare() -> None:
        def batches() -> object:
            for places in torch.randperm(len(files) - 1).split(BATCH):
                made = []
                for i in places.tolist():
                    with PIL.Image.open(files[i]) as picture:
                        picture.draft("RGB", (86, 64))
                        width, height = picture.size
                        left = (width - height) / 2
                        small = picture.convert("RGB").resize((64, 64), 2, box=(left, 0, left + height, height))
                    made.append(torch.from_numpy(np.array(small)).permute(2, 0, 1))
                yield torch.stack(made).float().div_(255), labels[places]

        train_bare(small_net(3), batches())

    dls = ImageDataLoaders.from_folder(path, valid_pct=0.001, seed=0, item_tfms=Resize(64), bs=BATCH, num_workers=0)

    def ours() -> None:
        learn = Learner(dls, small_net(3))
        with learn.no_logging():
            learn.fit(1, 1e-3)

    compare("three-layer CNN, 64-px JPEG", "<= 1.2", repeats=5, bare=bare, flambeau=ours)


def build(folder: Path) -> None:
    """From 10,000 files in class folders to loaders that are ready."""

    def bare() -> object:
        import os

        found = []
        for at, _, names in os.walk(folder):
            found += [Path(at) / name for name in names if name.endswith(".png")]
        labels = [path.parent.name for path in found]
        index = {name: i for i, name in enumerate(sorted(set(labels)))}
        targets = [index[label] for label in labels]
        order = torch.randperm(len(found)).tolist()
        return found, targets, order

    sides = {
        "bare": bare,
        "flambeau": lambda: ImageDataLoaders.from_folder(folder, valid_pct=0.2, seed=0, img_cls=PILImageBW, bs=BATCH),
    }
    if has_fastai():
        from fastai.vision.all import ImageDataLoaders as FastaiImages

        sides["fastai"] = lambda: FastaiImages.from_folder(folder, valid_pct=0.2, seed=0, bs=BATCH)
    compare("loaders from 10,000 files", "<= 1.5", **sides)


def predict(files: list[str]) -> None:
    """Predict one 500x375 JPEG with a resnet18 at 128 pixels."""
    from flambeau.vision.architectures import resnet18
    from flambeau.vision.learner import vision_learner

    path = Path(files[0]).parents[1]
    dls = ImageDataLoaders.from_folder(path, valid_pct=0.2, seed=0, item_tfms=Resize(128), bs=BATCH)
    learn = vision_learner(dls, resnet18, pretrained=False)
    model = learn.model.eval()

    @torch.no_grad()
    def bare() -> None:
        for file in files[:20]:
            with PIL.Image.open(file) as picture:
                picture.draft("RGB", (171, 128))
                width, height = picture.size
                left = (width - height) / 2
                small = picture.convert("RGB").resize((128, 128), 2, box=(left, 0, left + height, height))
            x = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float().div_(255)
            model(x).softmax(1).argmax(1)

    compare(
        "predict a picture, resnet18 (x20)",
        "<= 1.5",
        bare=bare,
        flambeau=lambda: [learn.predict(f) for f in files[:20]],
    )


def memory(folder: Path) -> None:
    """Print the peak memory of the pipeline on each side, each in a process of its own."""
    peaks = {}
    for side in [name for name in PIPELINES if name != "fastai" or has_fastai()]:
        command = [sys.executable, __file__, f"peak={side}", str(folder)]
        peaks[side] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])
    told = "  ".join(f"{side} {peak} MB ({peak / peaks['bare']:.2f})" for side, peak in peaks.items())
    print(f"peak memory of the pipeline       {told}  (aim <= 1.2)")


def print_peak(side: str, folder: Path) -> None:
    """Run the pipeline twice and print the process's peak memory in MB."""
    run = PIPELINES[side]([str(path) for path in sorted(folder.rglob("*.jpg"))], 0)
    run()
    run()
    # not getrusage: its peak is inherited from the process that started this one
    status = Path("/proc/self/status").read_text()
    print(int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) // 1024)  # type: ignore[union-attr]


def main(wanted: list[str]) -> None:
    """Run the chosen workloads, or all."""
    set_seed(0)
    if wanted and wanted[0].startswith("peak="):
        print_peak(wanted[0].removeprefix("peak="), Path(wanted[1]))
        return
    every = ["pipeline", "resize", "digits", "tiny", "build", "predict", "memory"]
    wanted = wanted or every
    with tempfile.TemporaryDirectory() as folder:
        photos = make_photos(Path(folder) / "photos")
        small = make_digits(Path(folder) / "digits") if {"digits", "build"} & set(wanted) else []
        if "pipeline" in wanted:
            pipeline(photos, 0)
            pipeline(photos, 2)
        if "resize" in wanted:
            plain_resize(photos)
        if "tiny" in wanted:
            tiny(photos)
        if "digits" in wanted:
            digits(Path(folder) / "digits", small)
        if "build" in wanted:
            build(Path(folder) / "digits")
        if "predict" in wanted:
            predict(photos)
        if "memory" in wanted:
            memory(Path(folder) / "photos")


if __name__ == "__main__":
    main(sys.argv[1:])
