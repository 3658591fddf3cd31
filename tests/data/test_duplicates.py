"""Copies are found by content and by look, also resized and saved anew; what merely resembles is not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from flambeau.data.duplicates import (
    Pair,
    clusters,
    digest,
    equal_pairs,
    is_flat,
    near_pairs,
    perceptual_hashes,
    thumbnail,
)


def scene(seed: int, side: int = 160) -> PIL.Image.Image:
    """Return a colourful picture of soft blots, another one for each seed."""
    blots = np.random.RandomState(seed).randint(0, 255, (9, 9, 3)).astype(np.uint8)
    return PIL.Image.fromarray(blots).resize((side, side), PIL.Image.Resampling.BICUBIC)


def saved_anew(picture: PIL.Image.Image, scale: float, quality: int) -> PIL.Image.Image:
    """Return a picture after resizing and JPEG compression."""
    buffer = io.BytesIO()
    smaller = picture.resize((int(picture.width * scale), int(picture.height * scale)))
    smaller.save(buffer, "JPEG", quality=quality)
    return PIL.Image.open(buffer)


def test_equal_content_has_an_equal_digest_whatever_holds_it(tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).write_bytes(b"the same")
    assert digest([tmp_path / "a.bin"]) == digest([tmp_path / "b.bin"])
    assert digest([torch.arange(3)]) == digest([np.arange(3)])
    assert digest([{"a": [1, 2.5, None]}]) == digest([{"a": [1, 2.5, None]}])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
        (["ab", "c"], ["a", "bc"]),
        ([[1], 2], [1, [2]]),
        ("1", 1),
    ],
)
def test_different_content_has_a_different_digest(one: object, other: object) -> None:
    assert digest([one]) != digest([other])


def test_each_copy_is_paired_with_the_first_of_its_kind() -> None:
    assert equal_pairs([b"a", b"b", b"a", None, b"a", None]) == [Pair(0, 2), Pair(0, 4)]


def test_the_hash_has_half_of_its_bits_set() -> None:
    hashes = perceptual_hashes(np.stack([thumbnail(scene(seed)) for seed in range(5)]))
    assert hashes.shape == (5, 64)
    assert hashes.sum(1).tolist() == [32] * 5


@pytest.mark.parametrize(("scale", "quality"), [(0.4, 90), (1.3, 70), (1.0, 30), (0.6, 50)])
def test_a_copy_resized_and_saved_anew_is_found_and_nothing_else(scale: float, quality: int) -> None:
    pictures = [scene(seed) for seed in range(30)]
    copies = [saved_anew(pictures[3], scale, quality), saved_anew(pictures[17], scale, quality)]
    found = near_pairs([thumbnail(picture) for picture in [*pictures, *copies]])
    assert [(pair.first, pair.second) for pair in found.pairs] == [(3, 30), (17, 31)]
    assert found.complete
    assert not found.strict


def test_pairs_are_the_same_whatever_the_size_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    thumbs = [thumbnail(scene(seed % 20)) for seed in range(50)]
    whole = near_pairs(thumbs).pairs
    monkeypatch.setattr("flambeau.data.duplicates._ROWS_AT_ONCE", 7)
    monkeypatch.setattr("flambeau.data.duplicates._PAIRS_AT_ONCE", 3)
    assert {(pair.first, pair.second) for pair in near_pairs(thumbs).pairs} == {
        (pair.first, pair.second) for pair in whole
    }
    assert len(whole) == 10 * 3 + 10  # ten scenes three times, ten twice


def test_unreadable_and_flat_pictures_take_no_part() -> None:
    flat = np.full((32, 32), 200, dtype=np.uint8)
    assert is_flat(flat)
    assert near_pairs([flat, None, flat, thumbnail(scene(1))]).pairs == []


def test_where_all_pictures_are_alike_only_nearly_identical_ones_count() -> None:
    frames = np.stack([thumbnail(scene(0))] * 40).astype(int)
    noise = np.random.RandomState(0).randint(-70, 70, frames.shape)
    found = near_pairs(list((frames + noise).clip(0, 255).astype(np.uint8)))
    assert found.strict
    assert found.pairs == []


def test_the_number_of_pairs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flambeau.data.duplicates.MOST_PAIRS", 5)
    found = near_pairs([thumbnail(scene(0))] * 10)
    assert len(found.pairs) == 5
    assert not found.complete


def test_pairs_in_a_row_make_one_cluster() -> None:
    numbers = clusters(5, [Pair(0, 3), Pair(3, 4)])
    assert numbers[0] == numbers[3] == numbers[4]
    assert len(set(numbers)) == 3
