"""Many documents as one row of numbers: after reading it you know how tokens lie in memory, and how a batch is cut.

    offsets   0        4     6             11
    ids       [12 3 9 4][7 4][5 22 8 31 4] ...

A document is a slice; a batch is some slices side by side, the shorter ones filled up. Nothing here copies the whole,
so that `ids` may be a file mapped into memory that is larger than the machine's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ints = npt.NDArray[Any]


@dataclass(frozen=True)
class Documents:
    """Documents as token ids: `ids` (tokens,) of all, one after the other, and `offsets` (documents + 1,).

    `renumber` (n,), where given, maps what lies in `ids` to the ids that a model sees: a corpus is numbered while it is
    read, before anybody knows which words will be in the vocabulary.
    """

    ids: Ints
    offsets: Ints
    renumber: Ints | None = None

    @classmethod
    def from_lists(cls, documents: Iterable[Sequence[int] | Ints]) -> Documents:
        """Return documents that come as lists (or tensors) of ids."""
        arrays = [np.asarray(document, dtype=np.int32).reshape(-1) for document in documents]
        lengths = np.fromiter(map(len, arrays), dtype=np.int64, count=len(arrays))
        ids = np.concatenate(arrays) if arrays else np.zeros(0, dtype=np.int32)
        return cls(ids, offsets_of(lengths))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Ints:
        """The number of tokens of each document (documents,)."""
        return np.diff(self.offsets)

    @property
    def n_tokens(self) -> int:
        """The number of tokens of all documents."""
        return int(self.offsets[-1])

    def __getitem__(self, place: int) -> Tensor:
        """Return one document's ids (time,), int64."""
        start, end = self.offsets[place], self.offsets[place + 1]
        return torch.from_numpy(self._numbered(self.ids[start:end]))

    def _numbered(self, ids: Ints) -> Ints:
        return (ids if self.renumber is None else self.renumber[ids]).astype(np.int64)

    def at(self, positions: Ints) -> Tensor:
        """Return the ids at these places of the whole row (any shape), int64."""
        return torch.from_numpy(self._numbered(self.ids[positions]))

    def padded(
        self, places: Ints, pad_id: int, most: int | None = None, backwards: bool = False, keep_start: bool = False
    ) -> Tensor:
        """Return documents side by side (documents, longest), int64, the shorter ones filled up at their end.

        `most` cuts longer ones; `backwards` turns each document round, all but its first token with `keep_start`.
        """
        lengths = self.offsets[places + 1] - self.offsets[places]
        if most is not None:
            lengths = np.minimum(lengths, most)
        batch = np.full((len(places), max(int(lengths.max(initial=0)), 1)), pad_id, dtype=np.int64)
        for row, (place, length) in enumerate(zip(places.tolist(), lengths.tolist(), strict=True)):
            start = self.offsets[place]
            ids = self._numbered(self.ids[start : start + length])
            if backwards:
                ids[keep_start:] = ids[keep_start:][::-1]
            batch[row, :length] = ids
        return torch.from_numpy(batch)


def offsets_of(lengths: Ints) -> Ints:
    """Return where documents of these lengths begin, and where the last one ends (documents + 1,), int64."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
