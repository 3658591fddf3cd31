"""Tensors, floats, normalising: values worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import torch

from flambeau.data.batch import Batch
from flambeau.data.kinds import Category, Mask, Picture
from flambeau.data.normalize import IntToFloatTensor, Normalize, ToTensor
from flambeau.foundation.errors import ArgumentError, ShapeError

BYTES = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
MEAN, STD = [0.5, 0.25, 0.0], [0.5, 0.25, 2.0]


def test_to_tensor_changes_pictures_and_arrays_only() -> None:
    image = PIL.Image.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    assert ToTensor()(image)[:, 0, 1].tolist() == [3, 4, 5]
    assert ToTensor()((np.array([1.5]), "word", 3))[0].tolist() == [1.5]
    assert ToTensor()((np.array([1.5]), "word", 3))[1:] == ("word", 3)


def test_bytes_become_floats_and_floats_stay() -> None:
    tfm = IntToFloatTensor()
    assert tfm.encodes(BYTES).flatten().tolist() == pytest.approx([0, 0.2, 1])
    floats = torch.rand(1, 1, 2, 2)
    assert tfm.encodes(floats) is floats
    assert tfm.decodes(tfm.encodes(BYTES)).flatten().tolist() == [0, 51, 255]


def test_masks_become_whole_numbers_divided_as_told() -> None:
    masks = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    batch = Batch((BYTES,), (masks, torch.tensor([1])), (Picture(), Mask(), Category(("a", "b"))))
    x, mask, label = IntToFloatTensor(div_mask=255).on_batch(batch, None, True)
    assert (x.dtype, mask.dtype, label.dtype) == (torch.float32, torch.int64, torch.int64)
    assert mask.tolist() == [[[0, 1]]]
    assert IntToFloatTensor().on_batch(batch, None, True)[1].tolist() == [[[0, 255]]]


def test_normalize_follows_its_formula_for_floats_and_bytes() -> None:
    tfm = Normalize.from_stats(MEAN, STD)
    pixels = torch.full((2, 3, 4, 4), 51, dtype=torch.uint8)
    expected = [(0.2 - 0.5) / 0.5, (0.2 - 0.25) / 0.25, 0.2 / 2]
    assert tfm.encodes(pixels)[0, :, 0, 0].tolist() == pytest.approx(expected, abs=1e-6)
    assert tfm.encodes(pixels / 255)[1, :, 3, 3].tolist() == pytest.approx(expected, abs=1e-6)


def test_decoding_undoes_encoding_for_batches_and_single_pictures() -> None:
    tfm, pixels = Normalize.from_stats(MEAN, STD), torch.rand(2, 3, 4, 4)
    assert torch.allclose(tfm.decodes(tfm.encodes(pixels)), pixels, atol=1e-6)
    assert torch.allclose(tfm.decodes(tfm.encodes(pixels)[0]), pixels[0], atol=1e-6)


def test_the_batch_itself_is_not_written_to() -> None:
    pixels = torch.rand(2, 3, 4, 4)
    before = pixels.clone()
    Normalize.from_stats(MEAN, STD).encodes(pixels)
    assert torch.equal(pixels, before)


def test_only_pictures_are_normalised() -> None:
    batch = Batch((torch.zeros(1, 3, 2, 2),), (torch.tensor([7.0]),), (Picture(), Category(("a",))))
    x, y = Normalize.from_stats(MEAN, STD).on_batch(batch, None, False)
    assert x[0, 0, 0, 0] == -1
    assert y.item() == 7


@pytest.mark.parametrize("in_bytes", [True, False])
def test_statistics_are_learnt_from_one_batch(in_bytes: bool) -> None:
    pixels = torch.randint(0, 256, (16, 3, 8, 8), dtype=torch.uint8)
    pixels = pixels if in_bytes else pixels / 255
    tfm = Normalize()
    tfm.setup(SimpleNamespace(one_batch=lambda: Batch((pixels,), (torch.zeros(16),), (Picture(), Category(("a",))))))
    got = tfm.encodes(pixels)
    assert got.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert got.std((0, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=1e-5)


def test_given_statistics_are_kept() -> None:
    tfm = Normalize.from_stats(MEAN, STD)
    tfm.setup(SimpleNamespace(one_batch=lambda: (torch.rand(4, 3, 2, 2), torch.zeros(4))))
    assert tfm.mean is not None
    assert tfm.mean.flatten().tolist() == MEAN


def test_missing_statistics_say_what_to_do() -> None:
    with pytest.raises(ArgumentError, match=r"no mean and standard deviation yet.*from_stats"):
        Normalize().encodes(torch.rand(1, 3, 2, 2))
    with pytest.raises(ArgumentError, match="both a mean and a deviation, or neither"):
        Normalize(mean=[0.5])


def test_wrong_number_of_channels_is_told_with_the_shape() -> None:
    with pytest.raises(ShapeError, match=r"statistics of 3 channels, but the batch has 1 \(shape \(2, 1, 4, 4\)\)"):
        Normalize.from_stats(MEAN, STD).encodes(torch.rand(2, 1, 4, 4))


def test_half_precision_stays_half() -> None:
    assert Normalize.from_stats(MEAN, STD).encodes(torch.rand(1, 3, 2, 2).half()).dtype == torch.float16


def test_settings_build_the_same_transform() -> None:
    tfm, pixels = Normalize.from_stats(MEAN, STD), torch.rand(2, 3, 4, 4)
    again = Normalize(**tfm.settings())
    assert torch.equal(again.encodes(pixels), tfm.encodes(pixels))
    assert IntToFloatTensor(**IntToFloatTensor(div_mask=2).settings()).div_mask == 2
