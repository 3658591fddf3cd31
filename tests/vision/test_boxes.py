"""Boxes: how they are read, filled up, moved, cut, dropped and drawn, with their labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from flambeau.data.batch import Batch
from flambeau.data.block import DataBlock
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.getters import get_image_files
from flambeau.data.kinds import Picture
from flambeau.data.normalize import ToTensor
from flambeau.data.splitters import IndexSplitter
from flambeau.foundation.errors import DataError, LabelError
from flambeau.vision.augment import aug_transforms
from flambeau.vision.blocks import BBoxBlock, BBoxLblBlock, ImageBlock
from flambeau.vision.boxes import Boxes, BoxLabels, KeepBoxesInView, get_annotations
from flambeau.vision.coordinates import Flip, Zoom
from flambeau.vision.resize import CropPad, Resize

VOCAB = ("#na#", "cat", "dog")

# left, top, right, bottom in pictures of 40 x 20
ANIMALS: dict[str, tuple[list[list[float]], list[str]]] = {
    "0.png": ([[0, 0, 20, 10]], ["cat"]),
    "1.png": ([[10, 5, 30, 15], [30, 10, 40, 20]], ["dog", "cat"]),
    "2.png": ([], []),
}


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    for name in ANIMALS:
        PIL.Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(tmp_path / name)
    return tmp_path


def animal_loaders(folder: Path, item_tfms: Any = None, batch_tfms: Any = None, **labels: Any) -> DataLoaders:
    found = {**ANIMALS, **labels}
    block = DataBlock(
        blocks=(ImageBlock, BBoxBlock, BBoxLblBlock),
        n_inp=1,
        get_items=get_image_files,
        get_y=[lambda path: found[path.name][0], lambda path: found[path.name][1]],
        splitter=IndexSplitter([0]),
        item_tfms=item_tfms,
        batch_tfms=batch_tfms,
    )
    return block.dataloaders(folder, bs=2, shuffle=False, device="cpu")


def test_a_batch_fills_boxes_and_labels_up_with_zeros(animals: Path) -> None:
    dls = animal_loaders(animals)
    _, boxes, labels = dls.one_batch()
    assert boxes.tolist() == [[[-0.5, -0.5, 0.5, 0.5], [0.5, 0, 1, 1]], [[0.0] * 4] * 2]
    assert labels.tolist() == [[2, 1], [0, 0]]
    assert dls.vocab == ["#na#", "cat", "dog"]
    assert dls.c == 3


def test_the_kinds_say_boxes_and_names(animals: Path) -> None:
    dls = animal_loaders(animals)
    assert dls.kinds == [Picture(), Boxes(), BoxLabels(VOCAB)]
    (_, boxes, labels), (_, no_boxes, no_labels) = dls.train.decode_batch(dls.one_batch())
    assert boxes.tolist() == [[10, 5, 30, 15], [30, 10, 40, 20]]
    assert labels == ["dog", "cat"]
    assert no_boxes.tolist() == [[0] * 4] * 2
    assert no_labels == ["#na#", "#na#"]


@pytest.mark.parametrize("between", [[], [ToTensor()]], ids=["in one pass", "item, then batch"])
def test_boxes_turn_with_their_picture(animals: Path, between: list[Any]) -> None:
    item_tfms = [Resize((20, 40), "squish"), *between]
    _, boxes, labels = animal_loaders(animals, item_tfms, Flip(p=1.0)).one_batch()
    assert boxes[0].tolist() == [[-0.5, -0.5, 0.5, 0.5], [-1, 0, -0.5, 1]]
    assert labels[0].tolist() == [2, 1]


@pytest.mark.parametrize("between", [[], [ToTensor()]], ids=["in one pass", "item, then batch"])
def test_boxes_that_leave_the_picture_go_with_their_labels(animals: Path, between: list[Any]) -> None:
    # twice as large about the upper left corner: x and y below 0 are left, and become 2x + 1
    zoom = Zoom(2.0, 2.0, p=1.0, draw_x=0.0, draw_y=0.0)
    item_tfms = [Resize((20, 40), "squish"), *between]
    found = {"1.png": ([[30, 10, 40, 20], [10, 5, 30, 15]], ["cat", "dog"])}
    _, boxes, labels = animal_loaders(animals, item_tfms, zoom, **found).one_batch()
    assert boxes[0].tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]
    assert labels[0].tolist() == [2, 0]


def test_a_crop_of_items_cuts_boxes_too(animals: Path) -> None:
    # the middle 20 x 20 of 40 x 20: x from 10 to 30
    _, boxes, labels = animal_loaders(animals, CropPad(20)).one_batch()
    assert boxes[0].tolist() == [[-1, -0.5, 1, 0.5], [0, 0, 0, 0]]
    assert labels[0].tolist() == [2, 0]


def test_filling_goes_behind_what_is_seen() -> None:
    boxes = torch.tensor([[[2.0, 0.0, 3.0, 1.0], [0.5, 0.5, 1.5, 1.0], [0.0, 0.0, 0.0, 0.0], [-1.0, -1.0, 0.0, 0.0]]])
    kinds = (Boxes(), BoxLabels(VOCAB))
    batch = KeepBoxesInView().on_batch(Batch((boxes,), (torch.tensor([[1, 2, 0, 1]]),), kinds), None, True)
    assert batch[0].tolist() == [[[0.5, 0.5, 1, 1], [-1, -1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]]
    assert batch[1].tolist() == [[2, 1, 0, 0]]


def test_box_that_ends_before_it_begins_is_told(animals: Path) -> None:
    with pytest.raises(DataError, match=r"box 0 is \[20\.0, 5\.0, 10\.0, 10\.0\].*x \+ width.*1\.png"):
        animal_loaders(animals, **{"1.png": ([[20, 5, 10, 10]], ["cat"])})


def test_boxes_and_labels_of_different_number_are_told(animals: Path) -> None:
    with pytest.raises(LabelError, match=r"1 boxes but 2 labels; each box needs one label.*1\.png"):
        animal_loaders(animals, **{"1.png": ([[0, 5, 10, 10]], ["cat", "dog"])})


def test_names_are_written_at_their_boxes(animals: Path) -> None:
    import matplotlib.pyplot as plt

    dls = animal_loaders(animals)
    dls.show_batch(max_n=2)
    drawn, empty = plt.gcf().axes[:2]
    assert [patch.get_bbox().bounds for patch in drawn.patches] == [(9.5, 4.5, 20, 10), (29.5, 9.5, 10, 10)]
    assert [(text.get_text(), text.get_position()) for text in drawn.texts] == [
        ("dog", (9.5, 4.5)),
        ("cat", (29.5, 9.5)),
    ]
    assert not any(patch.get_visible() for patch in empty.patches)
    assert len(empty.texts) == 0
    plt.close("all")


def test_labels_read_as_words() -> None:
    kind = BoxLabels(VOCAB)
    assert kind.text(torch.tensor([2, 1, 0])) == "dog;cat"
    assert kind.decoded(torch.tensor([[0.1, 0.7, 0.2], [0.9, 0.0, 0.1]])) == ["cat", "#na#"]


def test_coco_files_give_names_corners_and_labels(tmp_path: Path) -> None:
    content = {
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}, {"id": 3, "file_name": "c.jpg"}],
        "annotations": [
            {"image_id": 3, "category_id": 9, "bbox": [1, 2, 10, 20]},
            {"image_id": 1, "category_id": 7, "bbox": [0, 0, 5, 5]},
            {"image_id": 3, "category_id": 7, "bbox": [3, 4, 1, 1]},
        ],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    names, found = get_annotations(tmp_path / "boxes.json", prefix="train/")
    assert names == ["train/a.jpg", "train/c.jpg"]
    assert found == [([[0, 0, 5, 5]], ["cat"]), ([[1, 2, 11, 22], [3, 4, 4, 5]], ["dog", "cat"])]


def test_other_json_is_no_coco_file(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"images": []}')
    with pytest.raises(DataError, match=r"other\.json is no COCO file of boxes \(KeyError: 'categories'\).*bbox"):
        get_annotations(tmp_path / "other.json")


def test_boxes_stay_on_real_cells(unpacked: Callable[[str], Path]) -> None:
    """White blood cells are the only large dark violet things: their boxes keep them through all augmentation."""
    import pandas as pd

    folder = unpacked("bccd/bccd.tgz")
    table = pd.read_csv(folder / "boxes.csv")
    found = dict(iter(table[table.label == "WBC"].groupby("fname")))
    block = DataBlock(
        blocks=(ImageBlock, BBoxBlock, BBoxLblBlock(vocab=["WBC"])),
        n_inp=1,
        get_y=[
            lambda path: found[path.name][["xmin", "ymin", "xmax", "ymax"]].values.tolist(),
            lambda path: found[path.name].label.tolist(),
        ],
        splitter=IndexSplitter([0]),
        item_tfms=Resize(224, "squish"),
        batch_tfms=aug_transforms(flip_vert=True, max_rotate=30.0, max_lighting=0.0, p_affine=1.0, pad_mode="zeros"),
    )
    files = [path for path in get_image_files(folder / "images") if path.name in found][:25]
    pictures, boxes, labels = block.dataloaders(files, bs=24, device="cpu", seed=0).one_batch()
    assert (labels[:, 0] == 1).all()
    red, green, blue = pictures.unbind(1)
    violet = (blue - green > 0.3) & (red < 0.75)
    inside = torch.zeros_like(violet)
    for place, own in enumerate(boxes):
        for left, top, right, bottom in ((own + 1) / 2 * 224).round().int().tolist():
            inside[place, top:bottom, left:right] = True
    assert (violet & inside).sum() > 0.9 * violet.sum()
    assert inside.float().mean() < 0.4


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_box_that_is_not_finite_is_told_with_its_item(animals: Path, number: float) -> None:
    with pytest.raises(DataError, match=r"training half .*first \S*1\.png\)\. TensorBBox takes finite numbers"):
        animal_loaders(animals, **{"1.png": ([[0, 0, number, 5]], ["cat"])})


def test_a_box_outside_its_picture_is_told_with_the_size(animals: Path) -> None:
    words = r"Box 1 is \[90.0, 5.0, 99.0, 9.0\], wholly outside its picture of 40 x 20 pixels \(1 of 2 .*1\.png"
    with pytest.raises(DataError, match=words):
        animal_loaders(animals, **{"1.png": ([[0, 0, 5, 5], [90, 5, 99, 9]], ["cat", "cat"])})


def test_a_box_over_the_edge_is_drawn_within_the_picture(animals: Path) -> None:
    dls = animal_loaders(animals, **{"1.png": ([[-30, -5, 90, 5]], ["cat"])})
    assert dls.show_batch(max_n=1).figure.axes[0].get_xlim() == (-0.5, 39.5)
