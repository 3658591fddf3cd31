"""A data block is a recipe without data; what does not fit together is told before any training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from flambeau.data.block import (
    CategoryBlock,
    DataBlock,
    MultiCategoryBlock,
    RegressionBlock,
    TransformBlock,
)
from flambeau.data.getters import get_image_files
from flambeau.data.labels import ColReader, parent_label
from flambeau.data.splitters import ColSplitter, IndexSplitter, RandomSplitter
from flambeau.data.transform import Transform
from flambeau.foundation.errors import (
    ArgumentError,
    DataError,
    EmptyError,
    FlambeauError,
    ImageError,
    LabelError,
    TableError,
    UnknownNameError,
)
from flambeau.vision.augment import aug_transforms
from flambeau.vision.blocks import ImageBlock
from flambeau.vision.resize import Resize

pd = pytest.importorskip("pandas")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write twelve pictures of two classes, a folder a class."""
    for place in range(12):
        path = tmp_path / ("cat" if place % 2 else "dog") / f"{place}.png"
        path.parent.mkdir(exist_ok=True)
        PIL.Image.fromarray(np.full((10, 12, 3), place * 20, dtype=np.uint8)).save(path)
    return tmp_path


@pytest.fixture
def table(folder: Path) -> Any:
    """Return a table that lists these pictures with labels of every kind."""
    files = get_image_files(folder)
    return pd.DataFrame(
        {
            "fname": [str(file) for file in files],
            "label": [file.parent.name for file in files],
            "labels": [f"{file.parent.name} pet" for file in files],
            "weight": [float(place) for place in range(12)],
            "is_valid": [place in (0, 6) for place in range(12)],
        }
    )


def of_folder(**changes: Any) -> DataBlock:
    """Return the recipe of pictures in a folder a class."""
    parts: dict[str, Any] = {
        "blocks": (ImageBlock, CategoryBlock),
        "get_items": get_image_files,
        "get_y": parent_label,
        "splitter": RandomSplitter(seed=1),
        "item_tfms": Resize(8),
    }
    return DataBlock(**{**parts, **changes})


def of_table(y_block: Any, get_y: Any, **changes: Any) -> DataBlock:
    """Return the recipe of pictures that a table lists."""
    parts: dict[str, Any] = {"get_x": ColReader("fname"), "splitter": ColSplitter(), "item_tfms": Resize(8)}
    return DataBlock((ImageBlock, y_block), get_y=get_y, **{**parts, **changes})


def test_pictures_in_folders_become_batches(folder: Path) -> None:
    dls = of_folder().dataloaders(folder, bs=4, device="cpu", path=folder)
    x, y = dls.one_batch()
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((4, 3, 8, 8), torch.float32, (4,), torch.int64)
    assert (dls.vocab, dls.c, len(dls.train_ds), len(dls.valid_ds)) == (["cat", "dog"], 2, 10, 2)
    assert (dls.path, dls.block is not None) == (folder, True)


def test_a_block_without_arguments_gives_each_row_twice() -> None:
    frame = pd.DataFrame({"fname": ["a", "b", "c"], "labels": ["x", "y", "z"]})
    datasets = DataBlock().datasets(frame)
    x, y = datasets.train[0]
    assert x.equals(y)
    assert (x["labels"], x.fname) in [("x", "a"), ("y", "b"), ("z", "c")]
    assert (len(datasets.train), len(datasets.valid)) == (2, 1)


def test_functions_of_rows_read_input_and_target() -> None:
    frame = pd.DataFrame({"fname": ["a", "b", "c"], "labels": ["x y", "y", "z"]})
    block = DataBlock(get_x=lambda r: r["fname"], get_y=lambda r: r["labels"], splitter=IndexSplitter([2]))
    assert block.datasets(frame).train[0] == ("a", "x y")


def test_many_labels_numbers_and_several_numbers_are_targets(table: Any) -> None:
    many = of_table(MultiCategoryBlock, ColReader("labels", label_delim=" ")).dataloaders(table, bs=4, device="cpu")
    one = of_table(RegressionBlock, ColReader("weight")).dataloaders(table, bs=4, device="cpu")
    two = of_table(RegressionBlock, ColReader(["weight", "is_valid"])).dataloaders(table, bs=4, device="cpu")
    assert [tuple(dls.one_batch()[1].shape) for dls in (many, one, two)] == [(4, 3), (4,), (4, 2)]
    assert [dls.c for dls in (many, one, two)] == [3, 1, 2]
    assert [dls.one_batch()[1].dtype for dls in (many, one, two)] == [torch.float32] * 3
    assert many.vocab[torch.where(many.valid_ds[0][1] == 1)[0]] == ["cat", "pet"]


def test_labels_that_are_zeros_and_ones_already_need_names() -> None:
    block = DataBlock(
        (TransformBlock, MultiCategoryBlock(encoded=True, vocab=["a", "b"])),
        get_x=lambda i: float(i),
        get_y=lambda i: [i % 2, 1],
    )
    assert block.datasets(list(range(5)))[3][1].tolist() == [1, 1]
    with pytest.raises(ArgumentError, match=r"needs vocab=\[\.\.\.\]"):
        MultiCategoryBlock(encoded=True)


def test_new_keeps_the_recipe_and_replaces_the_transforms(folder: Path) -> None:
    block = of_folder(batch_tfms=aug_transforms())
    other = block.new(item_tfms=Resize(6), batch_tfms=aug_transforms(size=5))
    assert other.dataloaders(folder, bs=4, device="cpu").one_batch()[0].shape == (4, 3, 5, 5)
    assert block.new(item_tfms=Resize(6)).dataloaders(folder, bs=4, device="cpu").one_batch()[0].shape == (4, 3, 6, 6)
    assert block.dataloaders(folder, bs=4, device="cpu").one_batch()[0].shape == (4, 3, 8, 8)


def test_each_source_gets_a_vocabulary_of_its_own() -> None:
    block = DataBlock((TransformBlock, CategoryBlock), get_y=lambda word: word[0], splitter=IndexSplitter([0]))
    assert block.datasets(["ab", "ac", "bc"]).vocab == ["a", "b"]
    assert block.datasets(["xb", "xc", "yc"]).vocab == ["x", "y"]


def test_a_source_of_columns_is_read_one_block_a_column() -> None:
    block = DataBlock.from_columns((RegressionBlock, CategoryBlock), splitter=IndexSplitter([0]))
    assert block.datasets(([1, 2, 3], ["a", "b", "a"]))[1] == (2.0, 1)


def test_the_same_transform_of_block_and_user_runs_once() -> None:
    class Once(Transform):
        """A transform without settings."""

    block = DataBlock((lambda: TransformBlock(item_tfms=Once), lambda: TransformBlock(item_tfms=Once)), item_tfms=Once)
    assert len(block.loader_settings()["after_item"]) == 1


def test_settings_of_a_block_reach_the_loaders() -> None:
    def add_one(samples: list[Any]) -> list[Any]:
        return [(x + 1, y) for x, y in samples]

    block = DataBlock(
        (lambda: TransformBlock(dls_kwargs={"before_batch": add_one, "bs": 2}), TransformBlock),
        splitter=IndexSplitter([0]),
    )
    assert block.dataloaders([1, 1, 1, 1, 1], device="cpu").one_batch()[0].tolist() == [2, 2]


def test_the_split_is_counted_aloud_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    DataBlock().datasets(list(range(10)), verbose=True)
    assert capsys.readouterr().out == "10 items, 8 for training, 2 for validation\n"


def test_repeated_rows_are_counted_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame({"a": [1, 1, 2, 2, 2], "b": ["x", "x", "y", "y", "z"]})
    DataBlock().datasets(frame)
    assert capsys.readouterr().out.startswith("2 of the 5 rows repeat an earlier row; with a repeat on both sides")
    DataBlock().datasets(pd.DataFrame({"a": [1, 2], "b": [[1], [2]]}))
    assert capsys.readouterr().out == ""


# what is wrong is told


def test_an_empty_folder_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(EmptyError, match=r"No file ending in .*\.txt \(1\)"):
        of_folder().dataloaders(tmp_path)


def test_functions_that_find_nothing_are_named() -> None:
    def nothing(source: Any) -> list[Any]:
        return []

    with pytest.raises(EmptyError, match=r"nothing gave no items for here. Check the path and get_items"):
        DataBlock(get_items=nothing).datasets("here")
    with pytest.raises(EmptyError, match=r"The source gave no items for \[\]"):
        DataBlock().datasets([])


@pytest.mark.parametrize("path", ["some/folder", Path("some/folder")])
def test_a_path_without_get_items_is_told(path: Any) -> None:
    with pytest.raises(ArgumentError, match=r"no function that finds items.*get_items=get_image_files"):
        DataBlock().datasets(path)


def test_one_class_only_is_told(folder: Path) -> None:
    with pytest.raises(DataError, match=r"All 10 training items have one class, 'animal'.*one a class"):
        of_folder(get_y=lambda path: "animal").dataloaders(folder, bs=4)


def test_a_class_of_one_picture_works_or_is_told_clearly(folder: Path) -> None:
    (folder / "emu").mkdir()
    PIL.Image.new("RGB", (9, 9)).save(folder / "emu" / "0.png")
    emu = next(place for place, file in enumerate(get_image_files(folder)) if file.parent.name == "emu")
    assert of_folder(splitter=IndexSplitter([0, 1])).datasets(folder).c == 3
    words = (
        r"1 item of the validation half .*'emu' \(1 item in all, none in training, first .*"
        "Put items of this class into the training half"
    )
    with pytest.raises(LabelError, match=words):
        of_folder(splitter=IndexSplitter([0, emu])).datasets(folder)


@pytest.mark.parametrize(
    ("get_y", "words"),
    [
        (lambda path: {}[path.name], r"'<lambda>' \(given as get_y\) raised KeyError: '\d+.png' on the item .*png"),
        (lambda path: None, r"The label of .*\.png is None. Every item needs a label"),
        (lambda path: float("nan"), r"The label of .*\.png is nan \(an empty cell\)"),
        (lambda path: [path.name], r"must be one value .*MultiCategoryBlock"),
    ],
)
def test_a_label_function_that_fails_names_the_item(folder: Path, get_y: Callable[[Path], Any], words: str) -> None:
    with pytest.raises(LabelError, match=words):
        of_folder(get_y=get_y).dataloaders(folder, bs=4)


def test_a_file_that_a_table_names_but_nobody_has_is_told_with_its_row(table: Any) -> None:
    table.loc[3, "fname"] = "gone.png"
    with pytest.raises(ImageError, match=r"gone\.png.*row 3 of the table"):
        of_table(CategoryBlock, ColReader("label")).dataloaders(table, bs=10, device="cpu")


def test_a_column_that_is_missing_is_told_with_the_nearest(table: Any) -> None:
    with pytest.raises(TableError, match=r"^The table has no column 'lable'\. Did you mean 'label' or 'labels'\?$"):
        of_table(CategoryBlock, ColReader("lable")).dataloaders(table)
    with pytest.raises(LabelError, match=r"given as get_y\) raised KeyError: 'lable'"):
        of_table(CategoryBlock, lambda row: row["lable"]).dataloaders(table)


@pytest.mark.parametrize(("block", "column"), [(CategoryBlock, "label"), (RegressionBlock, "weight")])
@pytest.mark.parametrize("row", [3, 6], ids=["training", "validation"])
def test_an_empty_cell_as_label_is_told_with_its_row(table: Any, block: Any, column: str, row: int) -> None:
    table.loc[row, column] = None
    with pytest.raises(LabelError, match=f"Column '{column}' is empty in row {row}.*dropna"):
        of_table(block, ColReader(column)).dataloaders(table, bs=4)
    with pytest.raises(LabelError, match=rf"row {row} of the table.*(nan|None)|(nan|None).*row {row} of the table"):
        of_table(block, lambda r: r[column]).dataloaders(table, bs=4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"blocks": (ImageBlock, CategoryBlock), "getters": [str]}, "2 blocks but 1 getters; each block needs one"),
        ({"blocks": ImageBlock, "get_y": str}, "get_y gives 1 functions for 0 columns"),
        ({"blocks": (ImageBlock,) * 3, "n_inp": 2, "get_x": [str]}, "get_x gives 1 functions for 2 columns"),
        ({"getters": [str, str], "get_y": str}, "either getters or get_x and get_y, not both"),
        ({"blocks": (ImageBlock, "category")}, "blocks must be TransformBlocks.*got 'category' of type str"),
    ],
)
def test_blocks_and_getters_that_do_not_match_are_told(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        DataBlock(**arguments)


@pytest.mark.parametrize("answer", [None, [[0, 1]], np.zeros(3)])
def test_a_splitter_that_gives_no_halves_is_told(answer: Any) -> None:
    def split(items: Any) -> Any:
        return answer

    with pytest.raises(ArgumentError, match="The splitter 'split' must return two lists of positions"):
        DataBlock(splitter=split).datasets([1, 2, 3])


def test_a_batch_larger_than_the_set_is_told(folder: Path) -> None:
    with pytest.raises(ArgumentError, match=r"batch of 64 is larger than the data set of 10 items.*bs=2 or smaller"):
        of_folder().dataloaders(folder, bs=64)


def test_a_batch_size_that_nobody_chose_is_lowered_aloud(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dls = of_folder().dataloaders(folder)
    assert (dls.bs, len(dls.train)) == (10, 1)
    assert "Only 10 training items: the batch is lowered from 64 to 10." in capsys.readouterr().out
    assert of_folder().dataloaders(folder, drop_last=False).bs == 64
    assert of_folder().dataloaders(folder, batch_size=5).train.bs == 5
    assert "lowered" not in capsys.readouterr().out


def test_an_unknown_option_proposes_the_nearest(folder: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"no option of a loader 'num_worker'. Did you mean 'num_workers'"):
        of_folder().dataloaders(folder, bs=4, num_worker=2)
    with pytest.raises(FlambeauError, match="Did you mean 'shuffle'"):
        of_folder().summary(folder, shufle=True)
