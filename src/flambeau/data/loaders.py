"""Loaders: after reading it you know how samples become batches on the device, in which order, and who does the work.

    item --data set--> sample --item transforms--> equal sizes --collate--> Batch --to device, batch transforms--> Batch

`BatchMaker` is the part that worker processes run: everything it holds is plain data. `DataLoader` chooses the order,
hands out the work, keeps what can be kept in memory, and finishes each batch on the device. A data set that has a
`batch(indices)` method (a table in memory, a stream of tokens) makes whole batches itself: no per-row work, no workers.
"""

from __future__ import annotations

import os
import random
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from typing import Any, ClassVar

import torch
import torch.multiprocessing
from torch import Tensor

from flambeau.data.batch import Batch, as_batch, collate, item_of
from flambeau.data.batch_cache import BatchCache, memory_budget
from flambeau.data.chance import batch_chances, global_streams_kept, item_chance, seed_global_streams
from flambeau.data.kinds import Kind, Mask, kind_of
from flambeau.data.pipeline import raise_located
from flambeau.data.transform import TRAIN, VALID, Augment, Transform, as_item_transforms, as_transforms, is_own_code
from flambeau.foundation.devices import default_device
from flambeau.foundation.errors import ArgumentError, DataError, EmptyError, FlambeauError, LabelError, unknown_name
from flambeau.foundation.processes import n_local_processes

MAX_WORKERS = 16
FEWEST_FOR_THREADS = 8  # a prediction or two is made sooner by the thread that asks
VOID = 255  # the usual value of mask pixels that belong to no class
CACHES = ("auto", "memory", "none")


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
    n_threads: int = 0

    def sample(self, index: int, epoch: int) -> tuple[Any, ...]:
        """Return one sample after the item transforms."""
        sample = self.dataset[index]
        if not isinstance(sample, tuple):
            sample = tuple(sample) if isinstance(sample, list) else (sample,)
        if not self.item_tfms:
            return sample
        kinds = self.sample_kinds(sample)
        chance: random.Random | None = None
        try:
            for transform in self.item_tfms:
                if isinstance(transform, Augment):
                    if chance is None:
                        chance = item_chance(self.seed, epoch, index)
                    sample = transform.on_sample(sample, kinds, chance, self.training)
                else:
                    sample = transform(sample, TRAIN if self.training else VALID)
        except FlambeauError as error:
            raise_located(error, self.name(index))
        except Exception as error:
            raise DataError(
                f"The item transform {transform.name!r} failed on {self.name(index)}: {type(error).__name__}: {error}. "
                f"It got {', '.join(type(value).__name__ for value in sample)}."
            ) from error
        return sample

    def sample_kinds(self, sample: Sequence[Any]) -> list[Kind]:
        """Return the kinds of a sample's columns, as the data set says, else as the values' classes say."""
        if self.kinds is None:
            known = getattr(self.dataset, "kinds", None)
            self.kinds = list(known) if known else [kind_of(value) for value in sample]
        return self.kinds

    def batch(self, indices: Sequence[int], epoch: int) -> Batch:
        """Return the batch of these items."""
        if makes_batches(self.dataset):
            batch = as_batch(self.dataset.batch(indices), self.n_inp)
            kinds = batch.kinds or tuple(self.kinds or getattr(self.dataset, "kinds", None) or map(kind_of, batch))
            return replace(batch, kinds=kinds, indices=indices)
        if self.n_threads > 1 and len(indices) >= FEWEST_FOR_THREADS:
            self.sample_kinds(self.dataset[int(indices[0])])  # found once, before the threads ask for them
            samples: list[Any] = list(threads(self.n_threads).map(lambda index: self.sample(index, epoch), indices))
        elif self.runs_foreign_code():
            with global_streams_kept():
                samples = []
                for index in indices:
                    seed_global_streams(self.seed, epoch, index)
                    samples.append(self.sample(index, epoch))
        else:
            samples = [self.sample(index, epoch) for index in indices]
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

    def works_in_threads(self) -> bool:
        """Whether threads make samples faster: pictures are decoded and resampled, by flambeau's own code alone."""
        pipelines = getattr(self.dataset, "pipelines", None)
        return (
            pipelines is not None
            and any(isinstance(transform, Augment) for transform in self.item_tfms)
            and all(transform.threads_well for transform in self.item_tfms)
            and all(transform.threads_well for pipeline in pipelines for transform in pipeline)
        )

    def may_keep(self, sure: bool) -> bool:
        """Whether the samples may be kept from one epoch for the next: whether they involve no chance.

        Code that is not flambeau's own counts as random in training, unless the user is `sure`.
        """
        if self.before_batch or makes_batches(self.dataset):
            return False
        if any(t.is_random(self.training) for t in self.item_tfms if isinstance(t, Augment) or not sure):
            return False
        return sure or not self.training or not self._dataset_may_draw()

    def _dataset_may_draw(self) -> bool:
        if isinstance(self.dataset, list | tuple | torch.utils.data.TensorDataset):
            return False
        draws = getattr(self.dataset, "is_random", None)
        return draws is None or bool(draws(True))

    def runs_foreign_code(self) -> bool:
        """Whether code that is not flambeau's own makes samples: it draws, if it does, from the global streams."""
        foreign = any(t.is_random(True) and not is_own_code(t.code) for t in self.item_tfms)
        return foreign or self._dataset_may_draw()


def makes_batches(dataset: Any) -> bool:
    """Whether a data set has a `batch(indices)` method, which makes whole batches itself."""
    code = getattr(getattr(type(dataset), "batch", None), "__code__", None)
    # the data sets of Hugging Face have a `batch(batch_size)`, which is another thing
    return code is not None and "batch_size" not in code.co_varnames[: code.co_argcount]


@cache
def threads(n: int) -> ThreadPoolExecutor:
    """Return the threads that make samples in this process, the same ones for every loader."""
    return ThreadPoolExecutor(n, thread_name_prefix="flambeau-samples")


def n_cores() -> int:
    """Return how many processors this process may use, at most 16; several processes on a machine share its own."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(usable // n_local_processes(), 1), MAX_WORKERS)


class _WorkerSource(torch.utils.data.Dataset[Batch | FlambeauError]):
    """The batch maker as torch's loader wants it; a request carries its epoch, so workers can stay alive."""

    def __init__(self, maker: BatchMaker) -> None:
        self.maker = maker

    def __getitem__(self, request: tuple[int, list[int]]) -> Batch | FlambeauError:
        epoch, indices = request
        try:
            return self.maker.batch(indices, epoch)
        except FlambeauError as error:
            # as a value it reaches the user in its own words, without the worker's traceback around them
            return type(error)(str(error))


class _Workers:
    """Worker processes that stay alive from epoch to epoch."""

    def __init__(self, maker: BatchMaker, n_workers: int, method: str, pin_memory: bool) -> None:
        self.requests = _Requests()
        self.round: Generator[Batch, None, None] | None = None
        # torch draws the workers' seeds; from the global stream they would shift the model's dropout
        generator = torch.Generator().manual_seed(maker.seed)
        loader: torch.utils.data.DataLoader[Any] = torch.utils.data.DataLoader(
            _WorkerSource(maker),
            batch_size=None,
            sampler=self.requests,
            num_workers=n_workers,
            persistent_workers=True,
            pin_memory=pin_memory,
            multiprocessing_context=method,
            generator=generator,
        )
        self.loaders = [loader]
        # The garbage collector would first close the pipes by which torch tells its processes to end, and then wait
        # five seconds for each of them. A finalizer is called before that.
        weakref.finalize(self, self.loaders.clear)

    def batches(self, index_batches: Iterator[list[int]], epoch: int) -> Iterator[Batch]:
        """Return the batches of an epoch.

        Raises:
            FlambeauError: what a worker ran into, or that another epoch was begun before this one was done.
        """
        self.round = self._round(index_batches, epoch)
        return self.round

    def _round(self, index_batches: Iterator[list[int]], epoch: int) -> Generator[Batch, None, None]:
        requests = ((epoch, indices) for indices in index_batches)
        self.requests.coming = requests
        for batch in self.loaders[0]:
            if isinstance(batch, FlambeauError):
                raise batch
            if self.requests.coming is not requests:
                raise ArgumentError(
                    "This loader was started a second time before its first round ended, and its worker processes "
                    "serve one round at a time. Make another loader with dl.new(), or use num_workers=0."
                )
            yield batch

    def stop(self) -> None:
        """End the processes: torch does so when its loader and the round it serves are let go."""
        if self.round is not None:
            self.round.close()
        self.loaders.clear()


class _Requests:
    """What the workers are to make in the coming epoch, as torch's loader asks for it."""

    def __init__(self) -> None:
        self.coming: Iterator[tuple[int, list[int]]] = iter(())

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        return self.coming


class DataLoader:
    """An iterable of batches.

    Args:
        dataset: anything with `len` and `[i]`, or with `len` and `batch(indices)`.
        bs: items a batch (`batch_size` is the same).
        shuffle: a new order each epoch.
        drop_last: leave out a last batch that is not full.
        num_workers: processes that make batches; None: none on the CPU, where the training itself wants the cores,
            else one a core up to 16. Pictures that only flambeau's own transforms touch are made by threads instead
            when batches stay on the CPU (unless `start_method` is given), and when there are no workers.
        after_item: item transforms; `before_batch`: functions of a list of samples, which may pad but not reorder
            them; `after_batch`: batch transforms.
        order: `order(n, chance)` gives the indices of an epoch (weighted, sorted by length, ...), instead of shuffle.
        training: whether augmentation is on; as `shuffle` unless the data set knows its half.
        cache: "auto" keeps the collated items of the first epoch in memory where no chance is involved and they fit;
            "memory" does so too where functions of your own, which may draw, are among the transforms; "none" reads
            the items anew each epoch.
        start_method: how worker processes begin: "fork", "spawn" or "forkserver"; None: Python's own choice.

    Raises:
        EmptyError: the data set is empty.
        ArgumentError: the batch is larger than a data set whose last batch is dropped, or the settings do not fit.
    """

    is_stream: ClassVar[bool] = False
    """Whether its items are pieces of one long text, and not the items of its data set."""

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
        if cache not in CACHES:
            raise unknown_name("cache", cache, CACHES)
        if num_workers is not None and (not isinstance(num_workers, int) or num_workers < 0):
            raise ArgumentError(f"num_workers must be a number of processes, 0 or more; got {num_workers!r}.")
        if seed is not None and not hasattr(seed, "__index__"):
            raise ArgumentError(f"seed must be a whole number, or None for chance; got {seed!r}.")
        if not hasattr(dataset, "__len__"):
            raise ArgumentError(
                f"A loader needs a data set with a length, and a {type(dataset).__name__} has none. Make a list of it, "
                "or give DataLoaders an iterable of batches instead."
            )
        half = getattr(dataset, "split_idx", None)
        training = training if training is not None else (half == TRAIN if half is not None else shuffle)
        functions = before_batch if isinstance(before_batch, list | tuple) else [before_batch] if before_batch else []
        self.maker = BatchMaker(
            dataset,
            as_item_transforms(after_item),
            list(functions),
            n_inp if n_inp is not None else getattr(dataset, "n_inp", None),
            training,
            random.getrandbits(32) if seed is None else seed,
        )
        if makes_batches(dataset) and (self.maker.item_tfms or functions):
            raise ArgumentError(
                f"A {type(dataset).__name__} makes whole batches itself, so there are no single items for after_item "
                "or before_batch to work on. Use after_batch."
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
        self._workers: _Workers | None = None

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
        return self.n_steps()

    def n_steps(self, n_processes: int = 1) -> int:
        """Return how many steps an epoch has, where each of several processes makes a batch of every step."""
        size = self.bs * n_processes
        return self.n // size if self.drop_last else -(-self.n // size)

    # the order

    def get_idxs(self) -> Iterable[int]:
        """Return the indices of an epoch in order (replace it to serve items in an order of your own)."""
        if self.order is not None:
            return self.order(self.n, item_chance(self.maker.seed, self.epoch, -1))
        if not self.shuffle:
            return range(self.n)
        generator = torch.Generator().manual_seed((self.maker.seed * 1_000_003 + self.epoch) % (1 << 63))
        return torch.randperm(self.n, generator=generator).tolist()

    def index_batches(self, n_processes: int = 1) -> Iterator[list[int]]:
        """Return the indices of each batch of the coming epoch; of `n_processes` batches where these make a step."""
        n_steps = len(self) if n_processes == 1 else self.n_steps(n_processes)
        return _cut(self.get_idxs(), n_steps, self.bs * n_processes, self.drop_last)

    def go_to(self, seed: int, epoch: int) -> None:
        """Take the order and the chance that a loader with this seed has in this epoch, whatever came before."""
        if seed != self.maker.seed:
            self.maker.seed = seed
            self._forget()
        self.epoch = epoch

    # the batches

    def __iter__(self) -> Iterator[Batch]:
        return self.batches()

    def batches(self, first: int = 0) -> Iterator[Batch]:
        """Yield the batches of the coming epoch, from number `first` on: those before it are not made."""
        yield from self.serve(islice(self.index_batches(), first, None))

    def serve(self, index_batches: Iterator[list[int]]) -> Iterator[Batch]:
        """Yield the batches of these indices, as one epoch."""
        epoch = self.epoch
        # counted at the start, so that an epoch which is broken off is not served a second time
        self.epoch += 1
        maker, batch_tfms = self._prepared()
        maker = self.maker_of(maker, epoch)
        kept = self._cache(maker)
        workers = self._n_workers(maker, kept)
        made = self._from_workers if workers else self._from_here
        for batch in made(maker, kept, workers, index_batches, epoch):
            yield self._finished(batch, batch_tfms, epoch)

    def _from_here(
        self, maker: BatchMaker, kept: BatchCache | None, workers: int, index_batches: Iterator[list[int]], epoch: int
    ) -> Iterator[Batch]:
        make = maker.batch if kept is None else kept.batch
        return (make(indices, epoch) for indices in index_batches)

    def _from_workers(
        self, maker: BatchMaker, kept: BatchCache | None, workers: int, index_batches: Iterator[list[int]], epoch: int
    ) -> Iterator[Batch]:
        method = self.start_method or torch.multiprocessing.get_start_method()
        if self._workers is None:
            maker = replace(maker, n_threads=0)  # a worker has a core of its own, and threads do not survive a fork
            if method != "fork" and hasattr(maker.dataset, "with_values_read"):
                maker = copy(maker)
                maker.kinds = list(maker.dataset.kinds)
                maker.dataset = maker.dataset.with_values_read()
            pin_memory = self.pin_memory if self.pin_memory is not None else self.device.type == "cuda"
            self._workers = _Workers(maker, workers, method, pin_memory)
        try:
            for batch in self._workers.batches(index_batches, epoch):
                if kept is not None and batch.indices is not None:
                    kept.keep(batch, batch.indices)
                yield batch
        except Exception as error:
            # at once: where the error's traceback is the last to hold them, each process is waited for five seconds
            self.stop_workers()
            if isinstance(error, FlambeauError) or "pickle" not in f"{type(error).__name__} {error}".lower():
                raise
            raise ArgumentError(
                f"Worker processes started by {method!r} cannot take the loader along: {error}. Use num_workers=0, or "
                "define the functions among the transforms in a module instead of a notebook cell or lambda."
            ) from error

    def _n_workers(self, maker: BatchMaker, kept: BatchCache | None) -> int:
        if makes_batches(maker.dataset):
            return 0
        if kept is not None and 2 * kept.n_kept > self.n:
            self._workers = None  # what little is missing is made here
            return 0
        if maker.n_threads and self.device.type == "cpu" and self.start_method is None:
            return 0  # threads do it, without a copy from process to process
        if self.num_workers is not None:
            return self.num_workers
        in_memory = isinstance(maker.dataset, list | tuple | torch.utils.data.TensorDataset)
        return 0 if in_memory or self.device.type == "cpu" else n_cores()

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
            if maker.works_in_threads():
                maker = copy(maker)
                maker.n_threads = self.num_workers or n_cores()
            self._plan = maker, batch_tfms
        return self._plan

    def _cache(self, maker: BatchMaker) -> BatchCache | None:
        if self.cache == "none" or not maker.may_keep(sure=self.cache == "memory"):
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
        indices = next(self.index_batches(), None)
        if indices is None:
            raise EmptyError("The loader has no batch to give: its order of items is empty.")
        batch = self.maker_of(maker, self.epoch).batch(indices, self.epoch)
        return self._finished(batch, batch_tfms, self.epoch)

    def maker_of(self, maker: BatchMaker, epoch: int) -> BatchMaker:
        """Return what makes the batches of an epoch; override where the data themselves are arranged anew for each."""
        return maker

    def prepare(self, samples_of: Sequence[Any]) -> Batch:
        """Return one batch of all the given items, as in validation: the way of a prediction."""
        dataset = self.dataset.with_items(samples_of, self.n_inp)
        loader = self.new(
            dataset, bs=len(samples_of), shuffle=False, drop_last=False, training=False, num_workers=0, order=as_given
        )
        return loader.one_batch()

    # other loaders like this one

    def settings(self) -> dict[str, Any]:
        """Return the arguments, besides the data set, that make a loader like this one."""
        return {
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

    def new(self, dataset: Any = None, **changes: Any) -> DataLoader:
        """Return a loader like this one with another data set or other settings."""
        dataset = self.dataset if dataset is None else dataset
        settings = self.settings()
        for name in changes:
            if name not in settings:
                raise unknown_name("setting of a loader", name, settings)
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
        columns, kinds = tuple(batch), self._kinds_of(batch)
        for transform in reversed(self.batch_tfms):
            columns = tuple(transform.decode_column(value, kind) for value, kind in zip(columns, kinds, strict=True))
        return columns

    def _kinds_of(self, batch: Any) -> Sequence[Kind]:
        known = batch.kinds if isinstance(batch, Batch) and batch.kinds else self.kinds
        return Batch(tuple(batch), kinds=tuple(known)).all_kinds

    def decode_batch(self, batch: Any, max_n: int = 9) -> list[tuple[Any, ...]]:
        """Return up to `max_n` samples of a batch as a person would write them: pictures, labels, points in pixels."""
        kinds = self._kinds_of(batch)
        size = Batch(tuple(batch), kinds=tuple(kinds)).picture_size
        return [
            tuple(kind.decoded(kind.to_pixels(value, size)) for value, kind in zip(sample, kinds, strict=True))
            for sample in self._samples_of(batch, max_n)
        ]

    def _samples_of(self, batch: Any, max_n: int) -> list[tuple[Any, ...]]:
        columns = self.decode(batch)
        n_items = min(max_n, Batch(columns).n_items)
        return [tuple(item_of(column, place) for column in columns) for place in range(n_items)]

    def show_batch(self, b: Any = None, max_n: int = 9, unique: bool = False, **options: Any) -> Any:
        """Draw samples of a batch as the model will see them; `unique` shows one item under different augmentation."""
        from flambeau.data.show import show_samples

        if options.get("nrows") and options.get("ncols"):
            max_n = options["nrows"] * options["ncols"]
        if unique:
            maker, batch_tfms = self._prepared()
            index = int(next(iter(self.get_idxs())))
            made = [self._finished(maker.batch([index], epoch), batch_tfms, epoch) for epoch in range(max_n)]
            samples = [self._samples_of(batch, 1)[0] for batch in made]
            return show_samples(samples, self._kinds_of(made[0]), max_n=max_n, **options)
        batch = b if b is not None else self.one_batch()
        return show_samples(self._samples_of(batch, max_n), self._kinds_of(batch), max_n=max_n, **options)

    def stop_workers(self) -> None:
        """End the worker processes, if there are any; the next epoch starts new ones."""
        if self._workers is not None:
            self._workers.stop()
            self._workers = None

    def __repr__(self) -> str:
        half = "training" if self.training else "validation"
        return f"{type(self).__name__} ({half}): {self.n} items, {len(self)} batches of {self.bs} on {self.device}"


def as_given(n: int, chance: random.Random) -> Iterable[int]:
    """Return the order in which the items came, for a loader that would sort them."""
    return range(n)


def _cut(order: Iterable[int], n_batches: int, bs: int, drop_last: bool) -> Iterator[list[int]]:
    # no method: a half-used iterator that held its loader would keep worker processes alive
    if type(order) is list and order and type(order[0]) is int:  # a shuffle: no look at each index is needed
        for start in range(0, min(len(order), n_batches * bs), bs):
            if start + bs <= len(order) or not drop_last:
                yield order[start : start + bs]
        return
    indices = iter(order)
    for _ in range(n_batches):
        batch = [int(index) for index in islice(indices, bs)]
        if not batch or (drop_last and len(batch) < bs):
            return
        yield batch


def check_one_batch(loader: DataLoader) -> Batch:
    """Make one item and one batch before any training, so that a mistake is told where it happened.

    Raises:
        FlambeauError: with the stage that failed in front.
    """
    maker, _ = loader._prepared()
    if not makes_batches(maker.dataset):
        first = int(next(iter(loader.get_idxs())))
        _tried("one item", lambda: maker.sample(first, loader.epoch))
    batch: Batch = _tried("one batch", loader.one_batch)
    for mask, kind in zip(batch.columns, batch.all_kinds, strict=True):
        if isinstance(kind, Mask) and kind.codes:
            _check_codes(mask, len(kind.codes))
    return batch


def _check_codes(mask: Tensor, n_codes: int) -> None:
    values = [value for value in torch.unique(mask).tolist() if value != VOID]
    if values and max(values) >= n_codes:
        raise LabelError(
            f"The masks of one batch hold the value {max(values):g}, but there are only {n_codes} codes, "
            f"numbered from 0. Name every class in codes, or turn the masks' values into 0 to {n_codes - 1} in get_y "
            f"({VOID} may stand for pixels without a class, with a loss that ignores it)."
        )


def _tried(what: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except FlambeauError as error:
        raise type(error)(f"While trying {what}: {error}") from error
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise DataError(f"While trying {what}: {type(error).__name__}: {error}") from error
