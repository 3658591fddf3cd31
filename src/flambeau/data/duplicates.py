"""Duplicates: after reading it you know how the same thing is found twice, also when it was resized or saved anew.

Equal content has an equal digest. Pictures that only look alike are found in two steps. A perceptual hash of 64 bits
(pHash: the signs of the lowest frequencies of a 32 x 32 grey thumbnail) proposes pairs that differ in a few bits; a
pair stays if the thumbnails themselves correlate. The hash alone takes any two handwritten digits for copies; the
correlation alone would have to compare every pair of pictures in full. Mirrored or cropped copies are not found.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch
from torch import Tensor

Thumbnail = npt.NDArray[np.uint8]

SIDE = 32
N_BITS = 64
# Measured: copies of pets, weather photos and CIFAR-10 pictures, scaled by 0.4 to 1.3 and saved anew as JPEG of quality
# 30 to 70, stay within 8 bits; above 100 pixels they correlate by 0.96 or more. In CIFAR-10 these bounds find pairs
# that are known duplicates (Barz and Denzler 2019, "ciFAIR"), and nothing else.
NEAR_BITS = 8
LEAST_CORRELATION = 0.95
# Of two handwritten digits one pair in ninety is within 8 bits, of two photos one in a million. Where all pictures are
# that much alike only a nearly identical one counts: with these bounds MNIST, which holds no copies, gives none.
ALIKE_ANYWAY = 1e-3
STRICT_BITS = 4
STRICT_CORRELATION = 0.99
FLAT = 2.0
"""A thumbnail whose grey values deviate less from their mean shows nothing that could be compared."""

MOST_PAIRS = 100_000
_ROWS_AT_ONCE = 2048
_PAIRS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Pair:
    """Two numbers of items that are alike, and how many of the 64 bits of their hashes differ (None: equal content)."""

    first: int
    second: int
    bits: int | None = None


# ---- equal content


def digest(values: Sequence[Any]) -> bytes:
    """Return the fingerprint of an item's inputs: of a file its bytes, of anything else its content.

    Raises:
        OSError: a file cannot be read.
    """
    found = hashlib.blake2b(digest_size=16)
    for value in values:
        _add(found, value)
    return found.digest()


def _add(found: Any, value: Any) -> None:
    if isinstance(value, os.PathLike):
        with open(value, "rb") as file:
            while part := file.read(2**20):
                found.update(part)
        return
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype is torch.bfloat16 else value).numpy()
    if isinstance(value, PIL.Image.Image):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        found.update(f"{value.dtype}{value.shape}".encode())
        found.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, list | tuple):
        found.update(f"{len(value)} values".encode())
        for part in value:
            _add(found, part)
    elif isinstance(value, dict):
        _add(found, list(value.items()))
    elif hasattr(value, "to_dict"):  # the row of a table
        _add(found, value.to_dict())
    else:
        found.update(repr(value).encode("utf-8", "backslashreplace"))


def equal_pairs(digests: Sequence[Hashable | None]) -> list[Pair]:
    """Return each item that equals an earlier one, with the first of its kind."""
    first: dict[Hashable, int] = {}
    pairs = []
    for number, found in enumerate(digests):
        if found is None:
            continue
        if found in first:
            pairs.append(Pair(first[found], number))
        else:
            first[found] = number
    return pairs


# ---- pictures that look alike


def thumbnail(picture: PIL.Image.Image) -> Thumbnail:
    """Return a picture as 32 x 32 grey values; a JPEG that is not decoded yet is decoded near that size only."""
    near = getattr(picture, "decode_near", None)
    if near is not None:
        near((2 * SIDE, 2 * SIDE))
    grey = picture.convert("L")
    # averaging over areas forgets how a picture was resampled before; it cannot enlarge
    way = PIL.Image.Resampling.BOX if min(grey.size) >= 2 * SIDE else PIL.Image.Resampling.BILINEAR
    return np.asarray(grey.resize((SIDE, SIDE), way), dtype=np.uint8)


@cache
def _cosines() -> npt.NDArray[np.float32]:
    """Return the eight lowest waves of the discrete cosine transform (DCT-II) over 32 samples: (8, 32)."""
    place, wave = np.arange(SIDE), np.arange(8)
    return np.cos(np.pi * (2 * place[None] + 1) * wave[:, None] / (2 * SIDE)).astype(np.float32)


def perceptual_hashes(thumbnails: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return 64 bits for each thumbnail (n, 32, 32): whether a low frequency is above the median of all 64 (pHash)."""
    waves = _cosines()
    frequencies = (waves @ thumbnails.astype(np.float32) @ waves.T).reshape(len(thumbnails), N_BITS)
    return frequencies > np.median(frequencies, axis=1, keepdims=True)


@dataclass(frozen=True)
class NearPairs:
    """The pairs of pictures that look alike; whether all are there, and whether only nearly identical ones count."""

    pairs: list[Pair]
    complete: bool = True
    strict: bool = False


def near_pairs(thumbnails: Sequence[Thumbnail | None]) -> NearPairs:
    """Return the pairs of pictures that look alike, `MOST_PAIRS` at most.

    Where a thumbnail is None or flat its picture takes no part. All hashes are compared with all, as products of
    matrices of +1 and -1: of 64 bits, (64 - product) / 2 differ.
    """
    taking_part = [at for at, thumb in enumerate(thumbnails) if thumb is not None and not is_flat(thumb)]
    if len(taking_part) < 2:
        return NearPairs([])
    stacked = np.stack([thumbnails[at] for at in taking_part])  # type: ignore[misc]
    signs = torch.from_numpy(perceptual_hashes(stacked)).float() * 2 - 1
    strict = _share_within(signs, NEAR_BITS) > ALIKE_ANYWAY
    max_bits, least = (STRICT_BITS, STRICT_CORRELATION) if strict else (NEAR_BITS, LEAST_CORRELATION)
    vectors = torch.from_numpy(stacked.reshape(len(stacked), -1)).float()
    vectors -= vectors.mean(1, keepdim=True)
    vectors /= vectors.norm(dim=1, keepdim=True)
    pairs: list[Pair] = []
    for first, second, bits in _within(signs, max_bits):
        alike = (vectors[first] * vectors[second]).sum(1) >= least
        found = zip(first[alike].tolist(), second[alike].tolist(), bits[alike].tolist(), strict=True)
        pairs += [Pair(taking_part[one], taking_part[other], int(n)) for one, other, n in found]
        if len(pairs) > MOST_PAIRS:
            return NearPairs(pairs[:MOST_PAIRS], False, strict)
    return NearPairs(pairs, True, strict)


def _share_within(signs: Tensor, max_bits: int) -> float:
    """Return which share of all pairs is within `max_bits`, as a sample of 2,048 pictures tells."""
    # spread evenly, since neighbours in a list are often of one class
    some = signs[torch.linspace(0, len(signs) - 1, min(len(signs), _ROWS_AT_ONCE)).long()]
    n = len(some)
    close = int((some @ some.T >= N_BITS - 2 * max_bits).sum()) - n
    # in a small set a few copies are a large share: five pictures a hundred are not "all alike"
    return close / (n * (n - 1)) if close > n else 0.0


def _within(signs: Tensor, max_bits: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield places of pairs whose hashes differ in `max_bits` at most, some at a time, and in how many they do."""
    for start in range(0, len(signs), _ROWS_AT_ONCE):
        agreement = signs[start : start + _ROWS_AT_ONCE] @ signs[start:].T
        rows, columns = torch.nonzero(agreement >= N_BITS - 2 * max_bits, as_tuple=True)
        later = columns > rows
        rows, columns = rows[later], columns[later]
        for some in torch.arange(len(rows)).split(_PAIRS_AT_ONCE):
            row, column = rows[some], columns[some]
            yield start + row, start + column, (N_BITS - agreement[row, column]) / 2


def is_flat(thumb: Thumbnail) -> bool:
    """Whether a thumbnail is of one grey value, nearly."""
    return float(thumb.std()) < FLAT


def clusters(n: int, pairs: Iterable[Pair]) -> list[int]:
    """Return for each of `n` items the number of its cluster: items linked by pairs, also over others, share one."""
    parent = list(range(n))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for pair in pairs:
        parent[root(pair.second)] = root(pair.first)
    return [root(number) for number in range(n)]
