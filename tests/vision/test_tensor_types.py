"""Typed tensors: what they carry, how points are scaled, what they show."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from flambeau.data.kinds import Picture, Points
from flambeau.foundation.errors import ArgumentError, DataError
from flambeau.vision.images import PILImageBW
from flambeau.vision.tensor_types import PointScaler, TensorBBox, TensorImage, TensorMask, TensorPoint


def test_arithmetic_gives_plain_tensors() -> None:
    image = TensorImage(torch.rand(3, 4, 4))
    assert image.kind == Picture()
    assert type(image + 1) is torch.Tensor
    assert type(torch.stack([image, image])) is torch.Tensor


def test_points_scale_to_the_picture_they_lie_on() -> None:
    points = TensorPoint.create([[0, 0], [50, 30], [100, 60]], img_size=(100, 60))
    assert points.kind == Points()
    assert points.to_tensor().tolist() == [[-1, -1], [0, 0], [1, 1]]


def test_one_point_may_come_flat() -> None:
    assert TensorPoint.create(torch.tensor([3.0, 4.0]), (10, 10)).shape == (1, 2)
    assert TensorPoint.create(np.array([[3, 4], [5, 6]])).shape == (2, 2)


def test_points_without_a_picture_say_what_to_do() -> None:
    with pytest.raises(DataError, match=r"does not know the size of its picture.*PointScaler or Resize"):
        TensorPoint.create([[1, 2]]).to_tensor()


def test_odd_numbers_are_refused() -> None:
    with pytest.raises(DataError, match=r"rows of 2 numbers in pixels, got the shape \(3,\)"):
        TensorPoint.create([1, 2, 3])


def test_copies_and_pickles_keep_the_size() -> None:
    points = TensorPoint.create([[3, 4]], (10, 20))
    for twin in (pickle.loads(pickle.dumps(points)), copy.deepcopy(points)):
        assert type(twin) is TensorPoint
        assert twin.img_size == (10, 20)
        assert twin.tolist() == [[3, 4]]


def test_point_scaler_takes_the_pictures_size() -> None:
    image = PILImageBW.create(np.zeros((20, 40), np.uint8))
    _, points = PointScaler()((image, TensorPoint.create([[10, 10]])))
    assert points.to_tensor().tolist() == [[-0.5, 0]]


def test_boxes_scale_like_points() -> None:
    boxes = TensorBBox.create([[0, 0, 20, 10]], (40, 20))
    assert boxes.to_tensor().tolist() == [[-1, -1, 0, 0]]
    assert boxes.kind.text(boxes.to_tensor()) == "1 box"


def test_affine_coord_takes_matrices_of_two_or_three_rows() -> None:
    image = TensorImage(torch.rand(2, 3, 8, 8))
    flipped = image.affine_coord(mat=torch.tensor([[-1.0, 0, 0], [0, 1, 0]]))
    assert torch.allclose(flipped.to_tensor(), image.to_tensor().flip(-1), atol=1e-5)
    assert image.affine_coord(sz=(4, 6)).shape == (2, 3, 4, 6)
    with pytest.raises(ArgumentError, match="no coord_tfm"):
        image.affine_coord(coord_tfm=abs)


def test_methods_change_pictures_of_one_or_many() -> None:
    image = TensorImage(torch.rand(3, 8, 8))
    assert torch.allclose(image.flip_batch(p=1.0, draw=1).to_tensor(), image.to_tensor().flip(-1), atol=1e-5)
    assert type(image.brightness(draw=0.7, p=1.0)) is TensorImage
    assert image.brightness(draw=0.7, p=1.0).mean() > image.mean()
    assert image.contrast(draw=1.0, p=1.0).shape == (3, 8, 8)
    assert image.saturation(draw=0.5, p=1.0).hue(draw=0.1, p=1.0).dihedral_batch(draw=3, p=1.0).shape == (3, 8, 8)


def test_show_draws_pictures_masks_points_and_boxes() -> None:
    import matplotlib.pyplot as plt

    ax = TensorImage(torch.rand(3, 20, 40)).show(title="x")
    assert TensorMask(torch.zeros(20, 40, dtype=torch.int64)).show(ctx=ax) is ax
    TensorPoint.create([[10, 10]], (40, 20)).show(ctx=ax)
    TensorBBox.create([[0, 0, 20, 10]], (40, 20)).show(ctx=ax)
    assert ax.collections[0].get_offsets().tolist() == [[9.5, 9.5]]
    assert ax.patches[0].get_bbox().x1 == pytest.approx(19.5)
    plt.close("all")
