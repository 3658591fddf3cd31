"""Functions reach each tensor in a nested batch, and leave the rest."""

from __future__ import annotations

from collections import namedtuple

import pytest
import torch

from flambeau.foundation.errors import ShapeError
from flambeau.foundation.lists import L
from flambeau.foundation.nested import (
    apply,
    find_batch_size,
    find_tensors,
    to_cpu,
    to_detach,
    to_device,
    to_float,
    to_half,
)

Pair = namedtuple("Pair", "left right")


def test_classes_and_keys_are_kept():
    nested = (1, [2, {"a": 3}], Pair(4, L(5)))
    doubled = apply(lambda x, by: x * by, nested, 2)
    assert doubled == (2, [4, {"a": 6}], Pair(8, L(10)))
    assert type(doubled[2]) is Pair
    assert type(doubled[2].right) is L


def test_tensors_are_found_in_order_and_the_first_gives_the_batch_size():
    batch = {"x": [torch.tensor(0.0), torch.zeros(3, 2)], "y": (torch.zeros(5), "name")}
    assert [tuple(tensor.shape) for tensor in find_tensors(batch)] == [(), (3, 2), (5,)]
    assert find_batch_size(batch) == 3


def test_a_batch_without_tensors_has_no_size():
    with pytest.raises(ShapeError, match="got list without one"):
        find_batch_size([1, "a"])


def test_only_floating_tensors_change_their_type():
    batch = (torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.int64), "name")
    assert [getattr(x, "dtype", None) for x in to_float(batch)] == [torch.float32, torch.int64, None]
    assert to_half(batch)[0].dtype == torch.float16


def test_detaching_cuts_the_graph():
    weight = torch.ones(2, requires_grad=True)
    loss, name = to_detach((weight * 2, "name"))
    assert not loss.requires_grad
    assert name == "name"


def test_tensors_move_and_the_rest_stays():
    moved, text = to_device((torch.zeros(2), "a"), "meta")
    assert moved.device.type == "meta"
    assert text == "a"
    assert to_cpu([torch.zeros(1)])[0].device.type == "cpu"
