"""Loaders: after reading it you know how samples become batches on the device, in which order, and who does the work.

    item --data set--> sample --item transforms--> equal sizes --collate--> Batch --to device, batch transforms--> Batch

`BatchMaker` is the part that worker processes run: everything it holds is plain data. `DataLoader` chooses the order,
hands out the work, keeps what can be kept in memory, and finishes each batch on the device. A data set that has a
`batch(indices)` method (a table in memory, a stream of tokens) makes whole batches itself: no per-row work, no workers.
"""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from flambeau.data.batch import Batch, as_batch, collate
from flambeau.data.batch_cache import BatchCache, memory_budget
from flambeau.data.chance import ITEM_STAGE, batch_chances, item_chance
from flambeau.data.kinds import Kind, kind_of
from flambeau.data.transform import TRAIN, VALID, Augment, Transform, as_transforms
from flambeau.foundation.devices import default_device
from flambeau.foundation.errors import ArgumentError, EmptyError, FlambeauError

MAX_WORKERS = 16


@dataclass
class BatchMaker:
    """Everything needed to turn indices into a batch on the CPU; what a worker process receives."""

    dataset: Any
    item_tfms: list[Transform] = field(default_factory=list)
    before_batch: list[Callable[[list[Any]], list[Any]]] = field(default_factory=list)
    n_inp: int | None = None
    training: bool = False
    seed: int = 0
    kinds: list[Kind] | None = None

    def sample(self, index: int, epoch: int) -> tuple[Any, ...]:
        """Return one sample after the item transforms."""
        sample = self.dataset[index]
        if not isinstance(sample, tuple):
            sample = tuple(sample) if isinstance(sample, list) else (sample,)
        if not self.item_tfms:
            return sample
        kinds = self.sample_kinds(sample)
        chance: random.Random | None = None
        for transform in self.item_tfms:
            if isinstance(transform, Augment):
                if chance is None:
                    chance = item_chance(self.seed, epoch, index, ITEM_STAGE)
                sample = transform.on_sample(sample, kinds, chance, self.training)
            else:
                sample = transform(sample, TRAIN if self.training else VALID)
        return sample

    def sample_kinds(self, sample: Sequence[Any]) -> list[Kind]:
        """Return the kinds of a sample's columns, as the data set says, else as the values' classes say."""
        if self.kinds is None:
            known = getattr(self.dataset, "kinds", None)
            self.kinds = list(known) if known else [kind_of(value) for value in sample]
        return self.kinds

    def batch(self, indices: Sequence[int], epoch: int) -> Batch:
        """Return the batch of these items."""
        if hasattr(self.dataset, "batch"):
            return as_batch(self.dataset.batch(indices), self.n_inp)
        samples: list[Any] = [self.sample(index, epoch) for index in indices]
        for function in self.before_batch:
            samples = function(samples)
        first = samples[0]
        if isinstance(first, tuple) and len(first) == 1 and isinstance(first[0], dict):
            return collate(samples, self.sample_kinds(first), 1, indices)
        return collate(samples, self.sample_kinds(first), self.n_inp, indices, lambda place: self.name(indices[place]))

    def name(self, index: int) -> str:
        """Return words for an item, for errors."""
        name = getattr(self.dataset, "name", None)
        return name(index) if callable(name) else f"item {index}"

    @property
    def is_random(self) -> bool:
        """Whether the samples differ from epoch to epoch."""
        return any(t.is_random(self.training) for t in self.item_tfms if isinstance(t, Augment))


class _WorkerSource(torch.utils.data.Dataset[Batch]):
    """The batch maker as torch's loader wants it; a request carries its epoch, so workers can stay alive."""

    def __init__(self, maker: BatchMaker) -> None:
        self.maker = maker

    def __getitem__(self, request: tuple[int, list[int]]) -> Batch:
        epoch, indices = request
        return self.maker.batch(indices, epoch)


class _Requests:
    """The requests of the coming epoch, read by torch's loader from the one that owns it."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        epoch = self.loader.epoch
        return ((epoch, indices) for indices in self.loader.index_batches())

    def __len__(self) -> int:
        return len(self.loader)


class DataLoader:
    """An iterable of batches.

    Args:
        dataset: anything with `len` and `[i]`, or with `len` and `batch(indices)`.
        bs: items a batch (`batch_size` is the same).
        shuffle: a new order each epoch.
        drop_last: leave out a last batch that is not full.
        num_workers: processes that make batches; None: none on the CPU, where the training itself wants the cores,
            else one a core up to 16.
        after_item: item transforms; `before_batch`: functions of a list of samples; `after_batch`: batch transforms.
        order: `order(n, chance)` gives the indices of an epoch (weighted, sorted by length, ...), instead of shuffle.
        training: whether augmentation is on; as `shuffle` unless the data set knows its half.
        cache: "auto" keeps the collated items of the first epoch in memory where no chance is involved and they fit;
            "none" reads them anew each epoch.

    Raises:
        EmptyError: the data set is empty.
        ArgumentError: the batch is larger than a data set whose last batch is dropped.
    """

    def __init__(
        self,
        dataset: Any,
        bs: int = 64,
        shuffle: bool = False,
        drop_last: bool = False,
        num_workers: int | None = None,
        *,
        batch_size: int | None = None,
        after_item: Any = None,
        before_batch: Any = None,
        after_batch: Any = None,
        device: torch.device | str | None = None,
        order: Callable[[int, random.Random], Iterable[int]] | None = None,
        n_inp: int | None = None,
        training: bool | None = None,
        seed: int | None = None,
        cache: str = "auto",
        pin_memory: bool | None = None,
        start_method: str | None = None,
    ) -> None:
        bs = bs if batch_size is None else batch_size
        if not isinstance(bs, int) or bs < 1:
            raise ArgumentError(f"bs must be a whole number of items a batch, at least 1; got {bs!r}.")
        if cache not in ("auto", "none"):
            raise ArgumentError(f"cache must be 'auto' or 'none', got {cache!r}.")
        half = getattr(dataset, "split_idx", None)
        training = training if training is not None else (half == TRAIN if half is not None else shuffle)
        functions = before_batch if isinstance(before_batch, list | tuple) else [before_batch] if before_batch else []
        self.maker = BatchMaker(
            dataset,
            as_transforms(after_item),
            list(functions),
            n_inp if n_inp is not None else getattr(dataset, "n_inp", None),
            training,
            random.getrandbits(32) if seed is None else seed,
        )
        self.bs, self.shuffle, self.drop_last, self.num_workers = bs, shuffle, drop_last, num_workers
        self.batch_tfms = as_transforms(after_batch)
        self.device = torch.device(device) if device is not None else default_device()
        self.order, self.cache, self.pin_memory, self.start_method = order, cache, pin_memory, start_method
        self.epoch = 0
        self._forget()
        if self.n == 0 and not getattr(dataset, "is_template", False):
            raise EmptyError("A loader needs at least one item, and the data set is empty.")
        if drop_last and self.n < bs:
            raise ArgumentError(
                f"The batch of {bs} is larger than the data set of {self.n} items, and the last, smaller batch is "
                f"dropped, so that no batch is left. Pass bs={max(self.n // 4, 1)} or smaller, or drop_last=False."
            )

    def _forget(self) -> None:
        """Drop what was prepared for an earlier setting."""
        self._plan: tuple[BatchMaker, list[Transform]] | None = None
        self._kept: BatchCache | None = None
        self._workers: Any = None

    # what it holds

    @property
    def dataset(self) -> Any:
        """The data set."""
        return self.maker.dataset

    @property
    def training(self) -> bool:
        """Whether the loader augments as in training."""
        return self.maker.training

    @property
    def after_item(self) -> list[Transform]:
        """The item transforms."""
        return self.maker.item_tfms

    @property
    def after_batch(self) -> list[Transform]:
        """The batch transforms."""
        return self.batch_tfms

    @property
    def n(self) -> int:
        """The number of items."""
        return len(self.dataset)

    @property
    def n_inp(self) -> int | None:
        """How many columns are inputs (None: all but the last)."""
        return self.maker.n_inp

    @property
    def kinds(self) -> list[Kind]:
        """The kinds of the batch's columns."""
        if self.maker.kinds is None:
            known = getattr(self.dataset, "kinds", None)
            self.maker.kinds = list(known) if known else list(self.one_batch().kinds)
        return self.maker.kinds

    def __len__(self) -> int:
        return self.n // self.bs if self.drop_last else -(-self.n // self.bs)

    # the order

    def get_idxs(self) -> Iterable[int]:
        """Return the indices of an epoch in order (replace it to serve items in an order of your own)."""
        if self.order is not None:
            return self.order(self.n, item_chance(self.maker.seed, self.epoch, -1))
        if not self.shuffle:
            return range(self.n)
        generator = torch.Generator().manual_seed((self.maker.seed * 1_000_003 + self.epoch) % (1 << 63))
        return torch.randperm(self.n, generator=generator).tolist()

    def index_batches(self) -> Iterator[list[int]]:
        """Yield the indices of each batch of an epoch."""
        indices = iter(self.get_idxs())
        for _ in range(len(self)):
            batch = [int(index) for index in islice(indices, self.bs)]
            if not batch or (self.drop_last and len(batch) < self.bs):
                return
            yield batch

    # the batches

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.epoch
        maker, batch_tfms = self._prepared()
        workers = self._n_workers(maker)
        made = self._from_workers(maker, workers) if workers else self._from_here(maker)
        for batch in made:
            yield self._finished(batch, batch_tfms, epoch)
        self.epoch = epoch + 1

    def _from_here(self, maker: BatchMaker) -> Iterator[Batch]:
        kept = self._cache(maker)
        epoch = self.epoch
        for indices in self.index_batches():
            yield kept.batch(indices, epoch) if kept is not None else maker.batch(indices, epoch)

    def _from_workers(self, maker: BatchMaker, workers: int) -> Iterator[Batch]:
        if self._workers is None:
            method = self.start_method or multiprocessing.get_start_method()
            if method != "fork" and hasattr(maker.dataset, "with_values_read"):
                maker = copy(maker)
                maker.sample_kinds(maker.dataset[0] if isinstance(maker.dataset[0], tuple) else (maker.dataset[0],))
                maker.dataset = maker.dataset.with_values_read()
            self._workers = torch.utils.data.DataLoader(
                _WorkerSource(maker),
                batch_size=None,
                sampler=_Requests(self),
                num_workers=workers,
                persistent_workers=True,
                pin_memory=self.pin_memory if self.pin_memory is not None else self.device.type == "cuda",
                multiprocessing_context=method,
            )
        try:
            yield from self._workers
        except (AttributeError, TypeError) as error:
            if "pickle" not in str(error):
                raise
            raise ArgumentError(
                f"Worker processes started by '{self.start_method or multiprocessing.get_start_method()}' cannot take the "
                f"loader along: {error}. Use num_workers=0, or define the functions among the transforms in a module "
                "instead of a notebook cell or lambda."
            ) from error

    def _n_workers(self, maker: BatchMaker) -> int:
        if hasattr(maker.dataset, "batch"):
            return 0
        if self.num_workers is not None:
            return self.num_workers
        return 0 if self.device.type == "cpu" else min(MAX_WORKERS, os.cpu_count() or 1)

    def _prepared(self) -> tuple[BatchMaker, list[Transform]]:
        """Return the maker and batch transforms as they run here: fused into one pass where batches stay on the CPU."""
        if self._plan is None:
            maker, batch_tfms = self.maker, list(self.batch_tfms)
            last = maker.item_tfms[-1] if maker.item_tfms else None
            fused = last.fuse(batch_tfms) if isinstance(last, Augment) and self.device.type == "cpu" else None
            if fused is not None:
                maker = copy(maker)
                maker.item_tfms = [*maker.item_tfms[:-1], fused[0]]
                batch_tfms = batch_tfms[fused[1] :]
            self._plan = maker, batch_tfms
        return self._plan

    def _cache(self, maker: BatchMaker) -> BatchCache | None:
        if self.cache == "none" or maker.is_random or maker.before_batch or hasattr(maker.dataset, "batch"):
            return None
        if self._kept is None:
            self._kept = BatchCache(maker.batch, self.n, memory_budget())
        return self._kept

    def _finished(self, batch: Batch, batch_tfms: Sequence[Transform], epoch: int) -> Batch:
        batch = batch.to(self.device)
        if not batch_tfms:
            return batch
        chances = None
        if any(isinstance(t, Augment) and t.is_random(self.training) for t in batch_tfms):
            indices = batch.indices if batch.indices is not None else range(batch.n_items)
            chances = batch_chances(self.maker.seed, epoch, indices)
        for transform in batch_tfms:
            batch = transform.on_batch(batch, chances, self.training)
        return batch

    def one_batch(self) -> Batch:
        """Return the first batch of the coming epoch, which is not used up by it."""
        maker, batch_tfms = self._prepared()
        for indices in self.index_batches():
            return self._finished(maker.batch(indices, self.epoch), batch_tfms, self.epoch)
        raise EmptyError("The loader has no batch to give.")

    def prepare(self, samples_of: Sequence[Any]) -> Batch:
        """Return one batch of all the given items, as in validation: the way of a prediction."""
        dataset = self.dataset.with_items(samples_of, self.n_inp)
        loader = self.new(dataset, bs=len(samples_of), shuffle=False, drop_last=False, training=False, num_workers=0)
        return loader.one_batch()

    # other loaders like this one

    def new(self, dataset: Any = None, **changes: Any) -> DataLoader:
        """Return a loader like this one with another data set or other settings."""
        dataset = self.dataset if dataset is None else dataset
        settings: dict[str, Any] = {
            "bs": self.bs,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
            "num_workers": self.num_workers,
            "after_item": self.maker.item_tfms,
            "before_batch": self.maker.before_batch,
            "after_batch": self.batch_tfms,
            "device": self.device,
            "order": self.order,
            "n_inp": self.maker.n_inp,
            "training": self.maker.training,
            "seed": self.maker.seed,
            "cache": self.cache,
            "pin_memory": self.pin_memory,
            "start_method": self.start_method,
        }
        unknown = set(changes) - set(settings)
        if unknown:
            raise ArgumentError(f"A loader has no setting {', '.join(sorted(unknown))}; it has {', '.join(settings)}.")
        loader = type(self)(dataset, **{**settings, **changes})
        if dataset is self.dataset or len(getattr(dataset, "pipelines", ())) == len(
            getattr(self.dataset, "pipelines", (None,))
        ):
            loader.maker.kinds = self.maker.kinds
        return loader

    def to(self, device: torch.device | str) -> DataLoader:
        """Send the batches to another device from now on."""
        self.device = torch.device(device)
        self._forget()
        return self

    # looking

    def decode(self, batch: Any) -> tuple[Any, ...]:
        """Undo the batch transforms on a batch or a tuple of columns."""
        columns = tuple(batch)
        kinds = self.kinds
        for transform in reversed(self.batch_tfms):
            columns = tuple(transform.decode_column(v, k) for v, k in zip(columns, kinds, strict=False))
        return columns

    def decode_batch(self, batch: Any, max_n: int = 9) -> list[tuple[Any, ...]]:
        """Return up to `max_n` samples of a batch as a person would write them: pictures and labels."""
        columns = self.decode(batch)
        n = min(max_n, len(columns[0]))
        return [
            tuple(kind.decoded(_one(column, i)) for column, kind in zip(columns, self.kinds, strict=False))
            for i in range(n)
        ]

    def show_batch(self, b: Any = None, max_n: int = 9, unique: bool = False, **options: Any) -> Any:
        """Draw samples of a batch as the model will see them; `unique` shows one item under different augmentation."""
        from flambeau.data.show import show_samples

        if unique:
            made = []
            for epoch in range(max_n):
                maker, batch_tfms = self._prepared()
                index = next(iter(self.get_idxs())) if not made else made[0].indices[0]
                made.append(self._finished(maker.batch([int(index)], epoch), batch_tfms, epoch))
            rows = [tuple(_one(c, 0) for c in self.decode(batch)) for batch in made]
            return show_samples(rows, made[0].kinds, max_n=max_n, **options)
        batch = b if b is not None else self.one_batch()
        columns = self.decode(batch)
        rows = [tuple(_one(column, i) for column in columns) for i in range(min(max_n, len(columns[0])))]
        kinds = batch.kinds if isinstance(batch, Batch) and batch.kinds else self.kinds
        return show_samples(rows, kinds, max_n=max_n, **options)

    def __repr__(self) -> str:
        half = "training" if self.training else "validation"
        return f"{type(self).__name__} ({half}): {self.n} items, {len(self)} batches of {self.bs} on {self.device}"


def _one(column: Any, place: int) -> Any:
    value = column[place]
    return value.detach().cpu() if isinstance(value, Tensor) else value


def check_one_batch(loader: DataLoader) -> Batch:
    """Make one item and one batch before any training, so that a mistake is told where it happened.

    Raises:
        DataError: with the stage that failed in front.
    """
    try:
        maker, _ = loader._prepared()
        maker.sample(int(next(iter(loader.get_idxs()))), loader.epoch)
    except FlambeauError as error:
        raise type(error)(f"While trying one item: {error}") from error
    try:
        return loader.one_batch()
    except FlambeauError as error:
        raise type(error)(f"While trying one batch: {error}") from error
