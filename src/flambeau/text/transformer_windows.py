"""Windows: after reading it you know how a document longer than a transformer sees at once is read all the same.

A batch of documents (batch, time) becomes pieces (piece, time), each between markers of its own and several where a
document is long. They run together; their answers are averaged by document, or put together again token by token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from flambeau.foundation.errors import DataError

LONG = ("windows", "truncate")


class Reads(Protocol):
    """What a model says of its windows: see `TransformerModel`."""

    before: list[int]
    after: list[int]
    window: int
    long: str
    separator: int | None


@dataclass(frozen=True)
class Piece:
    """A window of a document: its ids with their markers; tokens `start` to `stop` of row `row` begin at `offset`."""

    ids: Tensor
    row: int
    start: int
    stop: int
    offset: int
    n_after: int

    def of(self, values: Tensor) -> Tensor:
        """Return the values (batch, time) of the window's tokens; markers take those of their neighbours."""
        own = values[self.row, self.start : self.stop]
        return torch.cat([own[:1].expand(self.offset), own, own[-1:].expand(self.n_after)])

    def asked(self, places: Tensor) -> Tensor:
        """Return which of the window's ids are asked for, of `places` (batch, time)."""
        return torch.nn.functional.pad(places[self.row, self.start : self.stop], (self.offset, self.n_after))


def cut_windows(x: Tensor, lengths: Sequence[int], model: Reads) -> list[Piece]:
    """Return the windows of documents: of a short one all of it, of a long one equal parts, or its beginning alone."""
    before, after = (x.new_tensor(markers) for markers in (model.before, model.after))
    room, pieces = model.window - len(before) - len(after), []
    for row, length in enumerate(lengths):
        if length <= model.window:
            pieces.append(Piece(x[row, :length], row, 0, length, 0, 0))
            continue
        first, last = len(before), length - len(after)  # the document without its markers
        n_parts = -(-(last - first) // room)
        size = -(-(last - first) // n_parts) if model.long == "windows" else room
        for start in range(first, last, size) if model.long == "windows" else (first,):
            stop = min(start + size, last)
            ids = torch.cat([before, x[row, start:stop], after])
            pieces.append(Piece(ids, row, start, stop, len(before), len(after)))
    return pieces


def in_groups(n: int | None, run: Callable[..., Tensor], *parts: Tensor | None) -> Tensor:
    """Return the answers of windows, of which `parts` hold a row each; `n` rows at a time, None for all at once.

    What a group of windows remembers for the way back is computed again there (Chen 2016), so a batch of long
    documents takes no more memory than one of as many windows.
    """
    n_rows = next(len(part) for part in parts if part is not None)
    if n is None or n_rows <= n:
        return run(*parts)
    groups = [[None if part is None else part[at : at + n] for part in parts] for at in range(0, n_rows, n)]
    return torch.cat([checkpoint(run, *group, use_reentrant=False) for group in groups])


def per_document(found: Tensor, pieces: Sequence[Piece], n_rows: int) -> Tensor:
    """Return the average (batch, n_out) of each document's windows, weighted by their tokens."""
    rows = torch.tensor([piece.row for piece in pieces], device=found.device)
    sizes = torch.tensor([max(piece.stop - piece.start, 1) for piece in pieces], device=found.device).to(found)
    totals = found.new_zeros(n_rows).index_add(0, rows, sizes)
    shares = sizes / totals[rows]
    return found.new_zeros(n_rows, found.shape[1]).index_add(0, rows, found * shares[:, None])


def per_token(found: Tensor, pieces: Sequence[Piece], x: Tensor) -> Tensor:
    """Return the numbers (batch, time, n_out) of each token from the windows that hold them; of padding, 0."""
    whole = found.new_zeros(*x.shape, found.shape[-1])
    rows: list[int] = []
    places: list[int] = []
    sources: list[int] = []
    at: list[int] = []
    for number, piece in enumerate(pieces):
        n = piece.stop - piece.start
        rows += [piece.row] * n
        places += range(piece.start, piece.stop)
        sources += [number] * n
        at += range(piece.offset, piece.offset + n)
    index = torch.tensor([rows, places, sources, at], device=found.device)
    return whole.index_put((index[0], index[1]), found[index[2], index[3]])


def split_pairs(x: Tensor, lengths: Sequence[int], model: Reads) -> list[Tensor]:
    """Return the first documents of pairs (batch, time), then the second ones, each between markers of its own.

    `lengths` are how many ids of each row are no padding.

    Raises:
        DataError: a row holds no two documents.
    """
    before, after = (x.new_tensor(markers) for markers in (model.before, model.after))
    return [torch.cat([before, x[row, place], after]) for row, place in places_of_pairs(x, lengths, model)]


def places_of_pairs(x: Tensor, lengths: Sequence[int], model: Reads) -> list[tuple[int, slice]]:
    """Return the row and the ids of the first documents of pairs (batch, time), then those of the second ones.

    Raises:
        DataError: a row holds no two documents.
    """
    firsts, seconds, separator = [], [], -1 if model.separator is None else model.separator
    for row, length in enumerate(lengths):
        start, stop = len(model.before), length - len(model.after)
        marks = (x[row, start:stop].eq(separator).nonzero().reshape(-1) + start).tolist()
        if not marks:
            raise DataError(
                "Two texts were expected, to be compared, and one came. Give both: text_col=['one', 'other'], "
                "learn.predict((one, other))."
            )
        n_marks = next((n for n, place in enumerate(marks) if place != marks[0] + n), len(marks))  # RoBERTa puts two
        firsts.append((row, slice(start, marks[0])))
        seconds.append((row, slice(marks[0] + n_marks, stop)))
    return firsts + seconds
