"""Lists, arrays and pictures become tensors and come back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from flambeau.foundation.errors import ArgumentError, ShapeError
from flambeau.foundation.lists import L
from flambeau.foundation.tensors import array, one_hot, pca, tensor, to_np


@pytest.mark.parametrize(
    ("given", "expected", "dtype"),
    [
        ([1, 2], [1, 2], torch.int64),
        (L(1.5, 2), [1.5, 2], torch.float32),
        (np.array([1.0, 2.0]), [1, 2], torch.float32),
        (range(3), [0, 1, 2], torch.int64),
        (pd.Series([1.0, 2.0]), [1, 2], torch.float32),
        ([torch.tensor(1), torch.tensor(2)], [1, 2], torch.int64),
        (np.array([65535], dtype=np.uint16), [65535], torch.float32),
        ([True, False], [True, False], torch.bool),
        (3, 3, torch.int64),
    ],
)
def test_a_tensor_is_made_of_numbers_of_any_container(given, expected, dtype):
    made = tensor(given)
    assert made.tolist() == expected
    assert made.dtype == dtype


def test_several_numbers_and_a_wished_type_are_taken():
    assert tensor(1, 2, 3).tolist() == [1, 2, 3]
    assert tensor([1, 2], dtype=torch.float64).dtype == torch.float64


def test_a_picture_becomes_its_pixels():
    picture = Image.new("RGB", (4, 2), (10, 20, 30))
    assert tensor(picture).shape == (2, 4, 3)
    assert tensor(picture)[0, 0].tolist() == [10, 20, 30]


def test_text_is_no_number():
    with pytest.raises(ArgumentError, match=r"A tensor holds numbers; got list with .*a.* inside"):
        tensor(["a", "b"])


def test_arrays_come_from_tensors_inside_anything():
    found = to_np({"x": torch.ones(2, dtype=torch.bfloat16, requires_grad=True), "name": "a"})
    assert found["x"].dtype == np.float32
    assert found["name"] == "a"
    assert array(torch.tensor([1, 2])).tolist() == [1, 2]
    assert array([1, 2], dtype=np.float32).dtype == np.float32


def test_one_hot_marks_one_class_or_several():
    assert one_hot(2, 4).tolist() == [0, 0, 1, 0]
    assert one_hot([0, 3], 4).tolist() == [1, 0, 0, 1]
    assert one_hot(torch.tensor([1]), 2).tolist() == [0, 1]
    assert one_hot([], 2).tolist() == [0, 0]
    with pytest.raises(ArgumentError, match=r"Class 4 does not fit .* from 0 to 3"):
        one_hot(4, 4)


def test_pca_finds_the_direction_of_largest_variance():
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])  # on one line, 5 apart
    projected = pca(points, 1).squeeze(1)
    torch.testing.assert_close(projected.abs(), torch.tensor([5.0, 0.0, 5.0]), atol=1e-5, rtol=0)


def test_pca_refuses_more_directions_than_features():
    with pytest.raises(ShapeError, match=r"at least k=3 features, got shape \(5, 2\)"):
        pca(torch.zeros(5, 2), 3)
