"""Points from a picture to the model and back to pixels, with a model whose answer is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

from flambeau.cli.predict import run_predict
from flambeau.data.block import DataBlock
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.getters import get_image_files
from flambeau.data.kinds import Points
from flambeau.data.splitters import IndexSplitter
from flambeau.foundation.errors import DataError
from flambeau.train.learner import Learner
from flambeau.train.load_learner import load_learner
from flambeau.train.predictor import Predictor
from flambeau.vision.augment import aug_transforms
from flambeau.vision.blocks import ImageBlock, PointBlock
from flambeau.vision.resize import Resize


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for place in range(3):
        PIL.Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(tmp_path / f"{place}.png")
    return tmp_path


def learner_that_says(answer: list[float], folder: Path) -> Learner:
    """Return a learner of points on pictures shown at width 40, height 30, whose model says the same of them all."""
    block = DataBlock(
        blocks=(ImageBlock, PointBlock),
        get_items=get_image_files,
        get_y=lambda path: [[20.0, 45.0]] * (len(answer) // 2),
        splitter=IndexSplitter([0]),
        item_tfms=Resize((30, 40), "squish"),
        batch_tfms=aug_transforms(),
    )
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, len(answer)))
    learn = Learner(block.dataloaders(folder, bs=2, device="cpu"), net, path=folder)
    with torch.no_grad():
        learn.model[2].weight.zero_()
        learn.model[2].bias.copy_(torch.tensor(answer))
    return learn


def test_zero_is_the_centre_pixel(pictures: Path) -> None:
    decoded, tensor, raw = learner_that_says([0.0, 0.0], pictures).predict(pictures / "0.png")
    assert decoded.tolist() == [[20, 15]]
    assert tensor.tolist() == raw.tolist() == [0, 0]


def test_two_points_are_two_rows_of_pixels(pictures: Path) -> None:
    decoded = learner_that_says([-1.0, -1.0, 0.5, 1.0], pictures).predict(pictures / "0.png")[0]
    assert decoded.tolist() == [[0, 0], [30, 30]]


def test_decoded_predictions_of_many_are_pixels(pictures: Path) -> None:
    preds, targets, decoded = learner_that_says([0.5, 0.0], pictures).get_preds(ds_idx=0, with_decoded=True)
    assert preds.tolist() == [[0.5, 0], [0.5, 0]]
    assert targets.tolist() == [[[-0.5, 0.5]]] * 2  # 20 of 80, 45 of 60
    assert decoded.tolist() == [[30, 15], [30, 15]]


def test_an_export_answers_in_pixels(pictures: Path) -> None:
    path = learner_that_says([0.5, 0.0], pictures).export()
    answer = Predictor(path).predict(pictures / "1.png")
    assert answer.label == [[30, 15]]
    assert answer.raw.tolist() == [0.5, 0]
    assert answer.probability is None
    assert load_learner(path).predict(pictures / "1.png")[0].tolist() == [[30, 15]]


def test_the_command_line_prints_pixels(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = learner_that_says([0.5, 0.0], pictures).export()
    run_predict(path, [pictures / "1.png"], None, 3)
    assert capsys.readouterr().out.split()[-1] == "30;15"


def test_decoded_batches_hold_targets_in_pixels(pictures: Path) -> None:
    dls = learner_that_says([0.0, 0.0], pictures).dls
    _, points = dls.valid.decode_batch(dls.valid.one_batch())[0]
    assert points.tolist() == [[10, 22.5]]


def test_show_results_draws_pixels_of_the_shown_picture(pictures: Path) -> None:
    import matplotlib.pyplot as plt

    learner_that_says([0.5, 0.0], pictures).show_results()
    actual, predicted = plt.gcf().axes[:2]
    # the middle of the first pixel is drawn at 0, so places that count from its edge lie half a pixel lower
    assert actual.collections[0].get_offsets().tolist() == [[9.5, 22]]
    assert predicted.collections[0].get_offsets().tolist() == [[29.5, 14.5]]
    plt.close("all")


def test_without_a_picture_points_stay_as_they_are() -> None:
    assert Points().to_pixels(torch.tensor([0.5, 0.5]), None).tolist() == [0.5, 0.5]


def point_loaders(folder: Path, points: list[list[float]], valid: list[int] | None = None) -> DataLoaders:
    """Return loaders of pictures of 80 x 60 of which number 2 has these points, the others one in the middle."""
    block = DataBlock(
        blocks=(ImageBlock, PointBlock),
        get_items=get_image_files,
        get_y=lambda path: points if path.name == "2.png" else [[40.0, 30.0]],
        splitter=IndexSplitter(valid or [0]),
        item_tfms=Resize(30, "squish"),
    )
    return block.dataloaders(folder, bs=2, shuffle=False, device="cpu", num_workers=0)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_point_that_is_not_finite_is_told_with_its_item_before_training(pictures: Path, number: float) -> None:
    words = rf"1 item of the validation half .*first \S*2\.png\)\. TensorPoint takes finite numbers .*{number}"
    with pytest.raises(DataError, match=words):
        point_loaders(pictures, [[number, 3.0]], valid=[2])


def test_a_point_near_its_picture_is_legal_and_one_far_away_is_told(pictures: Path) -> None:
    assert point_loaders(pictures, [[-200.0, 30.0]]).one_batch()[1][1].tolist() == [[-6, 0]]
    with pytest.raises(DataError, match=r"Point 0 is at \[9000.0, 5.0\].*10 times .*80 x 60 pixels.*2\.png"):
        point_loaders(pictures, [[9000.0, 5.0]])


def test_a_point_out_of_view_leaves_the_picture_in_its_place(pictures: Path) -> None:
    drawing = point_loaders(pictures, [[40.0, -30.0]]).show_batch(max_n=2)
    assert [ax.get_ylim() for ax in drawing.figure.axes] == [(29.5, -0.5)] * 2
