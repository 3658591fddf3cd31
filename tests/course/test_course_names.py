"""The few names of course notebooks: what `save_pickle` writes comes back, and what would not is refused at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flambeau.course.names import load_pickle, save_pickle
from flambeau.foundation.errors import ArgumentError
from flambeau.foundation.lists import L


def test_tensors_and_plain_values_come_back(tmp_path: Path) -> None:
    kept = {"a": (torch.arange(3), [1, 2.5, "x"], None, True), "b": {1, 2}}
    save_pickle(tmp_path / "kept.pkl", kept)
    back = load_pickle(tmp_path / "kept.pkl")
    assert torch.equal(back["a"][0], torch.arange(3))
    assert (back["a"][1:], back["b"]) == (kept["a"][1:], {1, 2})


@pytest.mark.parametrize(
    "refused, words",
    [
        ([np.zeros(3)], r"the list would not come back: it holds .*ndarray.*torch\.as_tensor"),
        (L(1, 2), r"the L would not come back: it holds flambeau\.foundation\.lists\.L.*an L into a list"),
        ({"net": torch.nn.Linear(1, 1)}, r"torch\.nn\.modules\.linear\.Linear.*learn\.save"),
        (lambda: 0, "the function would not come back: PicklingError"),
    ],
)
def test_what_would_not_come_back_is_refused_and_leaves_the_earlier_file(
    tmp_path: Path, refused: Any, words: str
) -> None:
    save_pickle(tmp_path / "kept.pkl", [1])
    with pytest.raises(ArgumentError, match=words):
        save_pickle(tmp_path / "kept.pkl", refused)
    assert load_pickle(tmp_path / "kept.pkl") == [1]
    assert [path.name for path in tmp_path.glob("*kept*")] == ["kept.pkl"]
