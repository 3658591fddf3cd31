"""The order of texts: after reading it you know why documents of one length meet, and how a language model reads on.

A classifier's batch is as long as its longest document, so documents are sorted by length, roughly, before they are
cut into batches. A language model reads one endless text: all documents end to end, cut into `bs` rows of equal length;
each batch holds the next `seq_len` tokens of every row, so that what the model remembers of a row stays true.

    row 0   [xxbos this movie | is one of the | few that ...
    row 1   [wine . xxbos i   | have never    | seen ...
              batch 0           batch 1
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.data.chance import item_chance
from flambeau.data.kinds import Kind
from flambeau.data.loaders import BatchMaker, DataLoader
from flambeau.foundation.errors import ArgumentError, ExportError
from flambeau.text.dataset import LMDatasets
from flambeau.text.documents import Documents, Ints, offsets_of
from flambeau.text.special_tokens import PAD_ID

SEQ_LEN, MAX_SEQ_LEN = "seq_len", 2**20
BATCHES_SORTED_TOGETHER = 200  # of IMDb's reviews, 64 a batch, 3 % of the places are padding then; 9 % with 50


class SortedDL(DataLoader):
    """A loader whose batches hold samples of about one length, which wastes little on filling up.

    In training the items are shuffled, each run of 200 batches' worth is sorted by length, and the batches are
    shuffled; the batch with the longest item comes first, so that memory runs out at once if it does. In validation all
    items are sorted, the longest first, and predictions are put back into the items' order.

    Args:
        sort_func: gives a sample's length (None: that of its first column); `res`: the lengths, where they are known.
        seq_len: says nothing here; course code gives it to the loaders of a classifier as to those of a language model.
    """

    def __init__(
        self,
        dataset: Any,
        bs: int = 64,
        shuffle: bool = False,
        *args: Any,
        sort_func: Callable[[Any], int] | None = None,
        res: Sequence[int] | None = None,
        seq_len: int | None = None,
        **options: Any,
    ) -> None:
        self.sort_func, self.res = sort_func, res
        self._lengths: Ints | None = None
        super().__init__(dataset, bs, shuffle, *args, **options)

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "sort_func": self.sort_func}  # the lengths are those of this data set alone

    @property
    def lengths(self) -> Ints:
        """The length of each item (items,)."""
        if self._lengths is None:
            known = self.res if self.res is not None else getattr(self.dataset, "lengths", None)
            if known is None or self.sort_func is not None:
                length = self.sort_func or _length_of_first
                known = [length(self.dataset[place]) for place in range(self.n)]
            self._lengths = np.asarray(known, dtype=np.int64)
            if len(self._lengths) != self.n:
                raise ArgumentError(f"There are {self.n} items, but {len(self._lengths)} lengths in res.")
        return self._lengths

    def get_idxs(self) -> Iterable[int]:
        """Return the indices of an epoch in order."""
        if self.order is not None:
            return super().get_idxs()
        if not self.shuffle:
            places: list[int] = np.argsort(-self.lengths, kind="stable").tolist()
            return places
        return self._roughly_sorted(np.asarray(super().get_idxs()), item_chance(self.maker.seed, self.epoch, -1))

    def _roughly_sorted(self, shuffled: Ints, chance: random.Random) -> list[int]:
        lengths, bs = self.lengths, self.bs
        longest = int(lengths[shuffled].argmax())
        shuffled[[0, longest]] = shuffled[[longest, 0]]
        run = bs * BATCHES_SORTED_TOGETHER
        runs = [shuffled[start : start + run] for start in range(0, len(shuffled), run)]
        order = np.concatenate([part[np.argsort(-lengths[part], kind="stable")] for part in runs])
        batches = [order[start : start + bs] for start in range(0, len(order), bs)]
        last = [batches.pop()] if len(batches[-1]) < bs and len(batches) > 1 else []
        rest = batches[1:]
        chance.shuffle(rest)
        found: list[int] = np.concatenate([batches[0], *rest, *last]).tolist()
        return found


def _length_of_first(sample: Any) -> int:
    return len(sample[0] if isinstance(sample, tuple) else sample)


def pad_input(
    samples: Sequence[Any], pad_idx: int = PAD_ID, pad_fields: int | Sequence[int] = 0, pad_first: bool = False
) -> list[Any]:
    """Return samples whose texts (their columns `pad_fields`) are equally long, filled up at the end, or in front."""
    fields = [pad_fields] if isinstance(pad_fields, int) else list(pad_fields)
    padded = [list(sample) if isinstance(sample, tuple | list) else [sample] for sample in samples]
    for field in fields:
        longest = max(len(sample[field]) for sample in padded)
        for sample in padded:
            text = sample[field]
            fill = text.new_full((longest - len(text),), pad_idx)
            sample[field] = torch.cat([fill, text] if pad_first else [text, fill])
    return [tuple(sample) for sample in padded]


class Stream:
    """Documents end to end, cut into `bs` rows: item `k` is row `k % bs` at step `k // bs`.

    `order` holds the documents' places in the order in which they follow each other.
    """

    def __init__(
        self,
        documents: Documents,
        order: Ints,
        bs: int,
        seq_len: int,
        kinds: Sequence[Kind] = (),
        backwards: bool = False,
    ) -> None:
        self.documents, self.order, self.bs, self.seq_len = documents, order, bs, seq_len
        self.kinds, self.backwards = tuple(kinds), backwards
        self.starts = offsets_of(documents.offsets[order + 1] - documents.offsets[order])

    @property
    def row_length(self) -> int:
        """How many tokens a row has to predict."""
        return max(int(self.starts[-1]) - 1, 0) // self.bs

    def __len__(self) -> int:
        return -(-self.row_length // self.seq_len) * self.bs

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return x and y (rows, time): the tokens at a step, and those that follow each of them."""
        numbers = np.asarray(indices, dtype=np.int64)
        steps, rows = np.divmod(numbers, self.bs)
        offset = int(steps[0]) * self.seq_len
        length = min(self.seq_len, self.row_length - offset)
        positions = (rows * self.row_length + steps * self.seq_len)[:, None] + np.arange(length + 1)
        text = self.documents.at(self._in_documents(positions))
        return Batch((text[:, :-1].contiguous(),), (text[:, 1:].contiguous(),), self.kinds)

    def _in_documents(self, positions: Ints) -> Ints:
        """Return where positions of the stream lie in the documents' own row."""
        which = np.searchsorted(self.starts, positions, side="right") - 1
        document = self.order[which]
        within = positions - self.starts[which]
        if self.backwards:  # the first token, which marks the beginning, stays first
            length = self.starts[which + 1] - self.starts[which]
            within = np.where(within == 0, 0, length - within)
        found: Ints = self.documents.offsets[document] + within
        return found


class LMDataLoader(DataLoader):
    """A loader of a language model's batches: x (bs, seq_len), and y, the same text one token further on.

    `dataset` is an `LMDatasets`, or a list of documents as tensors of ids. With `shuffle` the documents follow each
    other in a new order each epoch. What is left at the end, at most one token a row and one, is left out.

    Raises:
        ArgumentError: the documents hold fewer tokens than the batch has rows.
    """

    is_stream = True

    def __init__(
        self, dataset: Any, bs: int = 64, shuffle: bool = False, *args: Any, seq_len: int = 72, **options: Any
    ) -> None:
        if not isinstance(seq_len, int) or seq_len < 1:
            raise ArgumentError(f"seq_len is the number of tokens a row has in a batch, at least 1; got {seq_len!r}.")
        self.seq_len = seq_len
        self._stream: tuple[int, Stream] | None = None
        self._documents, self._order = _documents_of(dataset)
        n_tokens, n_rows = int(self._documents.lengths[self._order].sum()), options.get("batch_size") or bs
        if n_tokens <= n_rows and not getattr(dataset, "is_template", False):
            raise ArgumentError(
                f"The documents hold {n_tokens} tokens in all, too few for {n_rows} rows of a batch. Pass a smaller "
                "bs, or give more text."
            )
        options.setdefault("n_inp", 1)
        super().__init__(dataset, bs, shuffle, *args, **options)

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "seq_len": self.seq_len}

    @property
    def n(self) -> int:
        return len(self._stream_of(self.epoch))

    def get_idxs(self) -> Iterable[int]:
        """Return the indices of an epoch in order: rows side by side, step after step."""
        return range(self.n)

    def maker_of(self, maker: BatchMaker, epoch: int) -> BatchMaker:
        return replace(maker, dataset=self._stream_of(epoch))

    def _stream_of(self, epoch: int) -> Stream:
        turn = epoch if self.shuffle else 0
        if self._stream is None or self._stream[0] != turn or self._stream[1].bs != self.bs:
            order = self._order
            if self.shuffle:
                order = np.random.default_rng((self.maker.seed, epoch)).permutation(order)
            kinds = getattr(self.dataset, "kinds", ())
            backwards = bool(getattr(self.dataset, "backwards", False))
            self._stream = turn, Stream(self._documents, order, self.bs, self.seq_len, kinds, backwards)
        return self._stream[1]

    def _forget(self) -> None:
        super()._forget()
        self._stream = None


def kept_seq_len(loader: Any) -> dict[str, Tensor]:
    """Return what an export keeps of a language model's loader, nothing of another one."""
    return {SEQ_LEN: torch.tensor(loader.seq_len)} if isinstance(loader, LMDataLoader) else {}


def stream_loader(loader: DataLoader, kept: Mapping[str, Tensor]) -> LMDataLoader:
    """Return the loader of an exported language model's new documents: they are one stream, as they were in training.

    `loader` serves documents one by one, as of any export; `kept` is what `kept_seq_len` gave.

    Raises:
        ExportError: what was kept is no length.
    """
    settings = loader.settings()
    if SEQ_LEN in kept:  # exports of earlier versions have none
        length = kept[SEQ_LEN]
        if length.numel() != 1 or length.is_floating_point() or not 0 < int(length) <= MAX_SEQ_LEN:
            raise ExportError(f"The export's seq_len is no whole number from 1 to {MAX_SEQ_LEN:,}.")
        settings[SEQ_LEN] = int(length)
    return LMDataLoader(loader.dataset, **settings)


def _documents_of(dataset: Any) -> tuple[Documents, Ints]:
    """Return the documents of a data set and the places of those that belong to its half."""
    if isinstance(dataset, LMDatasets):
        return dataset.documents, dataset.places
    documents = Documents.from_lists(map(_ids, dataset))
    return documents, np.arange(len(documents))


def _ids(document: Any) -> Ints:
    ids: Tensor = document[0] if isinstance(document, tuple) else document
    return np.asarray(ids)
