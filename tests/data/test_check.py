"""The check finds what was planted, names it, says what to do, and says what it could not check."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from torch.utils.data import DataLoader as TorchLoader
from torch.utils.data import TensorDataset

from flambeau.data.block import CategoryBlock, DataBlock, MultiCategoryBlock, TransformBlock
from flambeau.data.check_report import CheckReport
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.getters import get_image_files
from flambeau.data.labels import ColReader, RegexLabeller, parent_label
from flambeau.data.splitters import FuncSplitter, GroupSplitter, IndexSplitter, RandomSplitter
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError, EmptyError, TableError
from flambeau.vision.blocks import ImageBlock


def scene(seed: int, side: int = 96) -> PIL.Image.Image:
    """Return a colourful picture of soft blots, another one for each seed."""
    blots = np.random.RandomState(seed).randint(0, 255, (9, 9, 3)).astype(np.uint8)
    return PIL.Image.fromarray(blots).resize((side, side), PIL.Image.Resampling.BICUBIC)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Return a folder of 60 different pictures: train and valid, cat and dog."""
    for number in range(60):
        half, label = "valid" if number % 4 == 0 else "train", "cat" if number % 2 else "dog"
        folder = tmp_path / half / ("cat" if number % 8 == 0 else label)
        folder.mkdir(parents=True, exist_ok=True)
        scene(number).save(folder / f"{number:02}.png")
    return tmp_path


def loaders(folder: Path, splitter: Any = None, **options: Any) -> DataLoaders:
    """Return loaders of an album, split by its folders."""
    splitter = splitter or FuncSplitter(lambda file: file.parent.parent.name == "valid")
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, splitter=splitter, get_y=parent_label)
    return block.dataloaders(folder, bs=4, device="cpu", check=False, **options)


def titles(report: CheckReport) -> list[str]:
    return [finding.title for finding in report.findings]


def test_clean_pictures_have_no_leak(album: Path) -> None:
    report = loaders(album).check()
    assert report.leaks == []
    assert len(report.pairs) == 0
    assert any("groups" in words for words in report.not_checked)


def test_copies_across_the_split_are_leaks(album: Path) -> None:
    shutil.copy(album / "train/dog/06.png", album / "valid/dog/copy.png")
    PIL.Image.open(album / "train/cat/01.png").resize((60, 60)).save(album / "valid/cat/small.jpg", quality=60)
    report = loaders(album).check()
    exact, near = report["exact duplicates across the split"], report["near-duplicates across the split"]
    assert exact is not None
    assert near is not None
    assert (exact.level, exact.n, near.level, near.n) == ("leak", 1, "leak", 1)
    assert [Path(report.name(*place)).name for place in (*exact.places, *near.places)] == ["copy.png", "small.jpg"]
    assert "dog/copy.png (validation) and dog/06.png (training)" in exact.message
    assert report.pairs["how"].tolist() == ["exact", "near"]


def test_the_numbers_of_a_report_keep_copies_on_one_side(album: Path) -> None:
    for number in (1, 3, 5):
        shutil.copy(album / f"train/cat/0{number}.png", album / f"valid/cat/copy{number}.png")
    report = loaders(album).check()
    again = loaders(album, GroupSplitter(report.duplicate_groups(), 0.3, seed=1)).check()
    assert len(report.leaks) == 1
    assert again.leaks == []


def test_a_copy_with_another_label_contradicts(album: Path) -> None:
    shutil.copy(album / "train/dog/06.png", album / "train/cat/copy.png")
    report = loaders(album).check()
    found = report["contradicting labels"]
    assert found is not None
    assert "dog/06.png (dog)" in found.message
    assert "cat/copy.png (cat)" in found.message
    assert len(report.pairs.query("label != other_label")) == 1


def test_a_truncated_file_is_named_with_its_fault(album: Path) -> None:
    file = album / "train/dog/06.png"
    file.write_bytes(file.read_bytes()[:300])
    found = loaders(album).check()["unreadable items"]
    assert found is not None
    assert (found.level, found.n) == ("warning", 1)
    assert "1 item cannot be read: dog/06.png" in found.message
    assert "Repair or remove" in found.advice


def test_a_group_on_both_sides_is_a_leak(album: Path) -> None:
    dls = loaders(album)
    shared = {"00.png", "01.png", "02.png"}
    report = dls.check(groups=lambda file: "film" if file.name in shared else file.name)
    found = report["groups on both sides"]
    assert found is not None
    assert (found.level, found.n, len(found.places)) == ("leak", 1, 1)
    assert "film (1 held out)" in found.message
    assert dls.check(groups=list(range(60)))["groups on both sides"] is None


def test_odd_pictures_are_noted(album: Path) -> None:
    PIL.Image.new("RGB", (50, 50), "white").save(album / "train/dog/white.png")
    PIL.Image.new("L", (300, 10), 0).save(album / "train/dog/bar.png")
    report = loaders(album).check()
    assert {"pictures of one colour", "tiny pictures", "long pictures", "mixed modes"} <= set(titles(report))
    assert "1 picture not of mode RGB, as most are (RGB (61), L (1))" in report["mixed modes"].message  # type: ignore[union-attr]


def test_pictures_of_12_bits_in_16_are_noted(album: Path) -> None:
    chance = np.random.default_rng(0)
    for name, top in (("dim", 4096), ("full", 65536)):
        pixels = chance.integers(0, top, (50, 50), dtype=np.uint16)
        PIL.Image.fromarray(pixels).save(album / f"train/dog/{name}.png")
    found = loaders(album).check()["dim 16-bit pictures"]
    assert found is not None
    assert "1 picture of 16 bits that use a sixteenth of the range at most" in found.message
    assert "dog/dim.png" in found.message


def test_the_pictures_of_a_report_can_be_drawn(album: Path) -> None:
    shutil.copy(album / "train/dog/06.png", album / "valid/dog/copy.png")
    report = loaders(album).check()
    for drawing in (report.show(), report.show("across", 1), report.plot()):
        assert isinstance(drawing, Drawing)
        drawing.close()
    with pytest.raises(ArgumentError, match="no pair of duplicates to show with where='training'; there are: 'across'"):
        report.show("training")


def test_a_report_reads_as_text_table_and_page(album: Path) -> None:
    (album / "train/dog/<b>.png").write_bytes(b"no picture")
    report = loaders(album).check()
    assert "Check of 46 training, 15 validation items: 1 warning" in repr(report)
    assert report.to_frame()["level"].tolist() == ["warning"]
    assert "&lt;b&gt;.png" in report._repr_html_()
    assert "<b>.png" not in report._repr_html_()


def test_what_escapes_the_search_for_near_duplicates_is_told(album: Path) -> None:
    assert "mirrored, turned, strongly cropped or relit" in repr(loaders(album).check())


def test_without_near_duplicates_no_picture_is_decoded(album: Path) -> None:
    file = album / "train/dog/06.png"
    file.write_bytes(file.read_bytes()[:300])
    report = loaders(album).check(near_duplicates=False)
    assert titles(report) == []
    assert any("near_duplicates=False was asked for" in words for words in report.not_checked)


# ---- tables


def table(n: int = 40) -> pd.DataFrame:
    """Return a table with a person in four rows each."""
    return pd.DataFrame({"person": [row // 4 for row in range(n)], "x": np.arange(n) * 1.5,
                         "label": ["yes", "no"] * (n // 2), "none": None, "same": 1})  # fmt: skip


def table_loaders(frame: pd.DataFrame, get_x: Any = None, splitter: Any = None) -> DataLoaders:
    """Return loaders of rows, the last quarter of them for validation."""
    splitter = splitter or IndexSplitter(list(range(3 * len(frame) // 4, len(frame))))
    numbers = TransformBlock(type_tfms=lambda row: torch.tensor(float(row if get_x else row["x"])))
    block = DataBlock((numbers, CategoryBlock), get_x=get_x, get_y=ColReader("label"), splitter=splitter)
    return block.dataloaders(frame, bs=4, device="cpu")


def test_groups_are_read_from_a_column_and_useless_columns_are_noted() -> None:
    report = table_loaders(table(), splitter=RandomSplitter(seed=0)).check(groups="person")
    assert report["groups on both sides"] is not None
    assert report["empty columns"].message == "1 column without any value in training: none."  # type: ignore[union-attr]
    assert report["constant columns"].message.endswith("in all of training: same.")  # type: ignore[union-attr]
    assert table_loaders(table(), splitter=GroupSplitter("person", seed=0)).check("person").leaks == []


def test_an_equal_row_is_a_warning_and_the_label_is_no_part_of_it() -> None:
    frame = table()
    frame.loc[39, ["person", "x"]] = frame.loc[0, ["person", "x"]].tolist()
    report = table_loaders(frame).check()
    found = report["exact duplicates across the split"]
    assert found is not None
    assert (found.level, found.n) == ("warning", 1)
    assert "row 39 of the table (validation) and row 0 of the table (training)" in found.message
    assert report["contradicting labels"] is not None
    assert isinstance(report.show(), pd.DataFrame)


def test_only_the_inputs_are_compared_where_a_column_is_read() -> None:
    frame = table()
    frame.loc[39, "x"] = frame.loc[1, "x"]
    assert table_loaders(frame, get_x=ColReader("x")).check()["exact duplicates across the split"] is not None
    assert table_loaders(frame).check()["exact duplicates across the split"] is None


def test_groups_without_a_value_are_left_out_and_counted() -> None:
    frame = table()
    frame["place"] = ["a", *[None] * 38, "a"]
    report = table_loaders(frame).check(groups="place")
    assert report["groups on both sides"].n == 1  # type: ignore[union-attr]
    assert "groups of 38 items, which have no value" in report.not_checked


def test_wrong_groups_are_told() -> None:
    dls = table_loaders(table())
    with pytest.raises(TableError, match=r"no column 'persn'. Did you mean 'person'"):
        dls.check(groups="persn")
    with pytest.raises(ArgumentError, match=r"got 3 values for 40 items; it needs one for each"):
        dls.check(groups=[1, 2, 3])


# ---- classes


def labelled(labels: list[str], n_valid: int, vocab: list[str] | None = None) -> DataLoaders:
    """Return loaders of numbered items with these labels; the last `n_valid` validate."""
    n = len(labels)
    block = DataBlock((TransformBlock(type_tfms=torch.tensor), CategoryBlock(vocab)),
                      get_x=lambda at: float(at), get_y=lambda at: labels[at],
                      splitter=IndexSplitter(list(range(n - n_valid, n))))  # fmt: skip
    return block.dataloaders(list(range(n)), bs=2, device="cpu")


def test_classes_are_counted_and_missing_ones_named() -> None:
    report = labelled(["a"] * 12 + ["b"] * 10 + ["a"] * 3, 3, vocab=["a", "b", "c"]).check()
    assert report.classes.to_dict("list") == {"training": [12, 10, 0], "validation": [3, 0, 0]}
    assert report["classes missing in training"].message.endswith("without any training item: c.")  # type: ignore[union-attr]
    assert report["classes missing in validation"].message.endswith("validation item: b, c.")  # type: ignore[union-attr]


def test_uneven_and_rare_classes_are_noted() -> None:
    report = labelled(["a"] * 100 + ["b"] * 5 + ["a", "b"], 2).check()
    uneven = report["uneven classes"]
    assert uneven is not None
    assert "is 20 times the smallest, b (5); always answering a is right 95.2% of the time" in uneven.message
    assert report["rare classes"].message == "1 class with fewer than 10 training items: b (5)."  # type: ignore[union-attr]


def test_shares_of_classes_that_differ_between_the_halves_are_noted() -> None:
    report = labelled(["a"] * 90 + ["b"] * 10 + ["b"] * 30 + ["a"] * 10, 40).check()
    found = report["classes split unevenly"]
    assert found is not None
    assert "10.0% of training, 75.0% of validation" in found.message or "90.0% of training, 25.0%" in found.message
    assert labelled(["a", "b"] * 70, 40).check()["classes split unevenly"] is None


def test_each_of_many_labels_is_counted() -> None:
    block = DataBlock((TransformBlock(type_tfms=torch.tensor), MultiCategoryBlock), get_x=lambda item: item[0],
                      get_y=lambda item: item[1], splitter=IndexSplitter([3, 4]))  # fmt: skip
    items = [(0.0, ["a"]), (1.0, ["a", "b"]), (2.0, []), (3.0, ["b"]), (4.0, ["a"])]
    report = block.dataloaders(items, bs=2, device="cpu").check()
    assert report.classes.to_dict("list") == {"training": [2, 1], "validation": [1, 1]}


# ---- plain loaders


def halves() -> tuple[TensorDataset, TensorDataset]:
    x, y = torch.arange(20.0).reshape(10, 2), torch.arange(10) % 2
    return TensorDataset(x[:8], y[:8]), TensorDataset(torch.cat([x[7:], x[:1]]), torch.cat([y[7:], 1 - y[:1]]))


@pytest.mark.parametrize("kind", ["flambeau", "torch", "lists"])
def test_plain_loaders_are_checked_by_content(kind: str) -> None:
    train, valid = halves()
    dls = {
        "flambeau": lambda: DataLoaders.from_dsets(train, valid, bs=4, device="cpu"),
        "torch": lambda: DataLoaders(TorchLoader(train, 4, shuffle=True), TorchLoader(valid, 3), device="cpu"),
        "lists": lambda: DataLoaders([train[:5], train[5:]], [valid[:]], device="cpu"),
    }[kind]()
    report = dls.check(groups=[*range(8), 7, 8, 9, 10])
    assert report["exact duplicates across the split"].n == 2  # type: ignore[union-attr]
    assert report["contradicting labels"].n == 1  # type: ignore[union-attr]
    assert report["groups on both sides"].n == 1  # type: ignore[union-attr]
    with pytest.raises(ArgumentError, match="numbers the items that a splitter saw"):
        report.duplicate_groups()
    with pytest.raises(ArgumentError, match="names a column, and these loaders were not made from one table"):
        dls.check(groups="person")


class Augmenting:
    """A data set that gives another item each time."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return torch.rand(3, 20, 20), place % 2


def test_what_cannot_be_checked_is_said() -> None:
    report = DataLoaders.from_dsets(Augmenting(), Augmenting(), bs=2, device="cpu").check()
    assert report.findings[0].title == "rare classes"
    assert "gives another item each time it is read" in report.not_checked[0]
    alone = DataLoaders([(torch.rand(4, 2), torch.rand(4))], device="cpu").check()
    assert alone.not_checked[0] == "leaks between the halves: there is no validation half"
    assert "class balance: the targets are not classes" in alone.not_checked
    with pytest.raises(ArgumentError, match="no classes to plot"):
        alone.plot()


def test_tensors_shaped_like_pictures_are_compared_by_look() -> None:
    pictures = torch.stack([torch.tensor(np.array(scene(seed, 40))).permute(2, 0, 1) for seed in range(12)]).float()
    near = (pictures[:1] * 0.9 + 3).round()
    sets = TensorDataset(pictures[:8], torch.zeros(8)), TensorDataset(torch.cat([near, pictures[8:]]), torch.zeros(5))
    report = DataLoaders.from_dsets(*sets, bs=4, device="cpu").check()
    assert report["near-duplicates across the split"].places == ((1, 0),)  # type: ignore[union-attr]
    report.show().close()  # type: ignore[union-attr]


def test_loaders_without_a_batch_are_refused() -> None:
    with pytest.raises(EmptyError, match="The validation loader gives no batch, so there is nothing to check"):
        DataLoaders([(torch.rand(2, 2), torch.rand(2))], [], device="cpu").check()


# ---- real pictures


def test_ten_copies_hidden_among_pets_are_found(
    unpacked: Callable[[str], Path], tmp_path: Path
) -> None:
    files = sorted((unpacked("pets_mini/pets_mini.tgz") / "images").glob("*.jpg"))[::5]
    for number, file in enumerate(files):
        folder = tmp_path / ("valid" if number % 5 == 0 else "train")
        folder.mkdir(exist_ok=True)
        shutil.copy(file, folder)
    hidden = [file for number, file in enumerate(files) if number % 5][:90:9]
    for number, file in enumerate(hidden):
        picture = PIL.Image.open(file).convert("RGB")
        scale = 0.5 + number / 15
        smaller = picture.resize((int(picture.width * scale), int(picture.height * scale)))
        smaller.save(tmp_path / "valid" / f"{file.stem.rsplit('_', 1)[0]}_x{number}.jpg", quality=40 + 5 * number)
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files,
                      get_y=RegexLabeller(r"/([^/]+)_\w+\.jpg$"),
                      splitter=FuncSplitter(lambda file: file.parent.name == "valid"))  # fmt: skip
    report = block.dataloaders(tmp_path, bs=1, device="cpu").check()
    found = report.pairs[report.pairs["other_item"].str.contains("_x")]
    assert sorted(Path(name).name for name in found["item"]) == sorted(file.name for file in hidden)


def test_handwritten_digits_are_not_taken_for_copies(shared_data: Path) -> None:
    with gzip.open(shared_data / "mnist" / "t10k-images-idx3-ubyte.gz") as file:
        pixels = torch.from_numpy(np.frombuffer(file.read(16 + 2500 * 784), np.uint8, offset=16).copy())
    digits = pixels.reshape(-1, 28, 28)
    sets = TensorDataset(digits[:2000], torch.zeros(2000)), TensorDataset(digits[2000:], torch.zeros(500))
    report = DataLoaders.from_dsets(*sets, device="cpu").check()
    assert len(report.pairs) == 0
    assert any("these pictures are all so much alike" in words for words in report.not_checked)
