"""What the lessons' tests share: small pictures of coloured shapes, archives placed where `untar_data` finds them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import pytest
import torch

COLOURS = {"red": (200, 40, 40), "blue": (40, 60, 210), "green": (40, 170, 70), "yellow": (220, 200, 40)}


@pytest.fixture(autouse=True)
def one_thread_and_a_seed() -> Iterator[None]:
    """Use one core, the same chance each time, and close all plots afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(42)
    random.seed(42)
    yield
    torch.set_num_threads(threads)
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder for data sets of this test; the working folder is a fresh one, too."""
    monkeypatch.setenv("FLAMBEAU_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def draw_shape(path: Path, colour: str, shape: str, chance: random.Random, size: int = 48) -> None:
    """Write a picture of a shape on a grey ground, with some chance in place, size and shade."""
    ground = chance.randint(90, 130)
    picture = PIL.Image.new("RGB", (size, size + chance.randint(-6, 6)), (ground, ground, ground))
    left, top, side = chance.randint(2, 14), chance.randint(2, 12), chance.randint(18, 28)
    shade = tuple(max(0, min(255, part + chance.randint(-15, 15))) for part in COLOURS[colour])
    pen = PIL.ImageDraw.Draw(picture)
    (pen.ellipse if shape == "disc" else pen.rectangle)((left, top, left + side, top + side), fill=shade)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


@pytest.fixture
def shapes() -> Callable[..., None]:
    """Return a function that draws `n` pictures into files, numbered through `pattern`."""
    chance = random.Random(7)

    def draw(folder: Path, pattern: str, n: int, colour: str = "red", shape: str = "disc", size: int = 48) -> None:
        for number in range(1, n + 1):
            draw_shape(Path(folder) / pattern.format(number), colour, shape, chance, size)

    return draw


@pytest.fixture
def place_archive(home: Path) -> Callable[[str, Path], None]:
    """Return a function that puts a folder, packed, where `untar_data(url)` looks before it asks the network."""

    def place(url: str, folder: Path) -> None:
        name = url.rsplit("/", 1)[-1].removesuffix(".tgz")
        (home / "archive").mkdir(parents=True, exist_ok=True)
        packed = shutil.make_archive(str(home / "archive" / name), "gztar", folder.parent, folder.name)
        Path(packed).rename(home / "archive" / f"{name}.tgz")

    return place


@pytest.fixture
def pets(place_archive: Callable[[str, Path], None], shapes: Callable[..., None], tmp_path: Path) -> None:
    """Place an archive of 'pets': cats have names with a capital letter, dogs without."""
    from flambeau.vision.all import URLs

    images = tmp_path / "oxford-iiit-pet" / "images"
    for breed, colour, shape in (
        ("Abyssinian", "red", "disc"),
        ("Birman", "yellow", "disc"),
        ("beagle", "blue", "square"),
        ("pug", "green", "square"),
    ):
        shapes(images, f"{breed}_{{}}.jpg", 10, colour, shape)
    place_archive(URLs.PETS, images.parent)
