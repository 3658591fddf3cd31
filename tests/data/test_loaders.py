"""Batches come in the right order, the same with any number of workers, and once made are kept where nothing draws."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

from flambeau.course.names import Inf
from flambeau.data.batch import Batch
from flambeau.data.block import CategoryBlock, DataBlock, TransformBlock
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.dataset import Datasets
from flambeau.data.kinds import Category, Kind, Number, Plain
from flambeau.data.loaders import DataLoader, check_one_batch, makes_batches
from flambeau.data.splitters import IndexSplitter, RandomSplitter
from flambeau.data.transform import Augment, Transform
from flambeau.foundation.errors import ArgumentError, CollateError, DataError, EmptyError, ImageError, UnknownNameError
from flambeau.foundation.lists import first
from flambeau.foundation.seeds import set_seed
from flambeau.vision.augment import aug_transforms
from flambeau.vision.blocks import ImageBlock
from flambeau.vision.images import PILImage
from flambeau.vision.resize import Resize

PAIRS = [(torch.tensor([float(i)]), i % 3) for i in range(10)]


class Jitter(Augment):
    """Add a draw to every column that is no class."""

    def draw(self, chance: random.Random, sample: Sequence[Any], kinds: Sequence[Kind], training: bool) -> float:
        return chance.random() if training else 0.0

    def apply(self, value: Any, kind: Kind, drawn: float) -> Any:
        return value + drawn if isinstance(value, Tensor) else value

    def on_batch(self, batch: Batch, chances: Sequence[random.Random] | None, training: bool) -> Batch:
        if chances is None or not training:
            return batch
        shifts = torch.tensor([[chance.random()] for chance in chances])
        return batch.map(lambda value, kind: value + shifts if value.ndim == 2 else value)


def values(loader: DataLoader) -> list[float]:
    """Return the first input of every item of an epoch."""
    return [value for batch in loader for value in batch[0].flatten().tolist()]


# order


def test_a_list_of_pairs_is_a_data_set() -> None:
    xb, yb = first(DataLoader(PAIRS, batch_size=4, device="cpu"))
    assert xb.flatten().tolist() == [0, 1, 2, 3]
    assert yb.tolist() == [0, 1, 2, 0]


def test_an_epoch_serves_every_item_once_and_the_next_in_another_order() -> None:
    loader = DataLoader(PAIRS, 4, shuffle=True, device="cpu")
    epochs = [values(loader) for _ in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 2
    assert epochs[0] != epochs[1]
    assert len(loader) == 3


def test_the_last_batch_is_dropped_where_it_is_not_full() -> None:
    loader = DataLoader(PAIRS, 4, drop_last=True, device="cpu")
    assert [batch.n_items for batch in loader] == [4, 4]
    assert len(loader) == 2


def test_an_epoch_that_is_broken_off_is_not_served_again() -> None:
    loader = DataLoader(PAIRS, 5, shuffle=True, seed=0, device="cpu")
    coming = loader.one_batch()[0].tolist()
    assert first(loader)[0].tolist() == coming
    assert first(loader)[0].tolist() != coming
    assert loader.epoch == 2


def test_an_order_of_ones_own_replaces_the_shuffle() -> None:
    loader = DataLoader(PAIRS, 4, order=lambda n, chance: chance.choices(range(n), k=n), seed=1, device="cpu")
    assert values(loader) != values(loader)
    loader = DataLoader(PAIRS, 4, order=lambda n, chance: reversed(range(n)), device="cpu")
    assert values(loader) == list(range(9, -1, -1))


@pytest.mark.parametrize("workers", [0, 2])
def test_endless_indices_give_as_many_batches_as_the_items_would(workers: int) -> None:
    loader = DataLoader(PAIRS, 4, device="cpu", num_workers=workers)
    loader.get_idxs = lambda: Inf.ones  # type: ignore[method-assign]
    for _ in range(2):
        assert values(loader) == [1.0] * 12


def test_the_same_seed_gives_the_same_batches() -> None:
    runs = []
    for _ in range(2):
        set_seed(7)
        loader = DataLoader(PAIRS, 4, shuffle=True, after_item=Jitter, after_batch=Jitter, device="cpu")
        runs.append([values(loader), values(loader)])
    set_seed(8)
    other = DataLoader(PAIRS, 4, shuffle=True, after_item=Jitter, after_batch=Jitter, device="cpu")
    assert runs[0] == runs[1]
    assert values(other) != runs[0][0]


# workers


def test_the_same_batches_come_from_no_one_and_two_workers() -> None:
    runs = []
    for workers in (0, 1, 2):
        loader = DataLoader(
            PAIRS, 4, True, seed=3, after_item=Jitter(), after_batch=Jitter(), num_workers=workers, device="cpu"
        )
        runs.append([values(loader), values(loader)])
    assert runs[0] == runs[1] == runs[2]
    assert runs[0][0] != runs[0][1]


def test_a_draw_does_not_depend_on_the_size_of_the_batch() -> None:
    by_size = [
        sorted(values(DataLoader(PAIRS, bs, True, seed=3, after_item=Jitter(), after_batch=Jitter(), device="cpu")))
        for bs in (2, 5)
    ]
    assert by_size[0] == by_size[1]


def test_the_garbage_collector_does_not_wait_for_workers() -> None:
    loader: Any = DataLoader(PAIRS, 4, num_workers=2, device="cpu", cache="none")
    list(loader)
    loader.itself = loader  # a circle, as learners and their callbacks are
    started = time.monotonic()
    del loader
    gc.collect()
    assert time.monotonic() - started < 4  # torch waits five seconds for each process that it cannot reach


def test_workers_stay_alive_from_epoch_to_epoch() -> None:
    loader = DataLoader(PAIRS, 4, num_workers=1, device="cpu", cache="none")
    values(loader)
    processes = loader._workers.loaders[0]._iterator._workers  # type: ignore[union-attr]
    values(loader)
    assert loader._workers.loaders[0]._iterator._workers is processes  # type: ignore[union-attr]


def test_two_rounds_at_once_over_the_same_workers_are_refused() -> None:
    loader = DataLoader(PAIRS, 2, num_workers=1, device="cpu")
    with pytest.raises(ArgumentError, match=r"started a second time before its first round ended.*num_workers=0"):
        for _ in zip(loader, loader, strict=True):
            pass


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Write small pictures, each of one grey."""
    files = []
    for place in range(8):
        files.append(tmp_path / f"{'ab'[place % 2]}{place}.png")
        PIL.Image.fromarray(np.full((12, 10, 3), place * 20, dtype=np.uint8)).save(files[-1])
    return files


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_every_way_to_start_workers_takes_lambdas_and_gives_the_same(pictures: list[Path], method: str) -> None:
    block = DataBlock(
        (ImageBlock, CategoryBlock),
        get_y=lambda path: path.name[0],
        splitter=IndexSplitter([0, 1]),
        item_tfms=Resize(8),
        batch_tfms=aug_transforms(max_lighting=0.4),
    )

    def epoch(**options: Any) -> Tensor:
        dls = block.dataloaders(pictures, bs=3, device="cpu", seed=5, **options)
        return torch.cat([batch[0] for batch in dls.train])

    assert torch.equal(epoch(num_workers=2, start_method=method), epoch())


def test_a_function_that_cannot_travel_is_told() -> None:
    loader = DataLoader(PAIRS, 4, after_item=lambda x: x, num_workers=1, start_method="spawn", device="cpu")
    with pytest.raises(ArgumentError, match=r"started by 'spawn' cannot take the loader along.*num_workers=0"):
        values(loader)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_error_in_a_worker_names_its_item_in_plain_words(pictures: list[Path], method: str) -> None:
    pictures[5].write_bytes(b"no picture")
    block = DataBlock(
        (ImageBlock, CategoryBlock), get_y=lambda path: path.name[0], splitter=IndexSplitter([0]), item_tfms=Resize(8)
    )
    datasets = block.datasets(pictures)
    loader = DataLoader(datasets.train, 4, after_item=Resize(8), num_workers=2, start_method=method, device="cpu")
    with pytest.raises(ImageError, match=r"b5\.png") as error:
        values(loader)
    assert "Traceback" not in str(error.value)


# memory


class Counting(list[Any]):
    """A list that counts how often its items are read."""

    reads = 0

    def __getitem__(self, place: Any) -> Any:
        type(self).reads += 1
        return super().__getitem__(place)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_second_epoch_is_served_from_memory_and_equal(workers: int) -> None:
    loader = DataLoader(PAIRS, 4, device="cpu", num_workers=workers)
    epochs = [[values(loader), [batch[1].tolist() for batch in loader]] for _ in range(2)]
    assert epochs[0] == epochs[1]
    assert loader._kept is not None
    assert loader._kept.n_kept == 10
    assert loader._workers is None


def test_items_are_read_once_where_nothing_draws_and_anew_with_cache_none() -> None:
    for cache, reads in (("auto", 10), ("none", 30)):
        Counting.reads = 0
        loader = DataLoader(Counting(PAIRS), 4, device="cpu", cache=cache)
        for _ in range(3):
            values(loader)
        assert Counting.reads == reads


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, True),
        ({"training": True}, True),
        ({"training": True, "after_item": Jitter()}, False),
        ({"training": True, "after_item": Jitter(), "cache": "memory"}, False),
        ({"training": False, "after_item": Jitter()}, True),
        ({"training": True, "after_item": lambda x: x}, False),
        ({"training": True, "after_item": lambda x: x, "cache": "memory"}, True),
        ({"training": False, "after_item": lambda x: x}, True),
        ({"before_batch": lambda samples: samples}, False),
        ({"after_batch": Jitter(), "training": True}, True),
        ({"cache": "none"}, False),
    ],
)
def test_what_may_draw_is_never_kept(settings: dict[str, Any], kept: bool) -> None:
    loader = DataLoader(PAIRS, 4, device="cpu", **settings)
    values(loader)
    assert (loader._kept is not None) == kept


def test_a_data_set_of_unknown_code_is_kept_in_validation_only() -> None:
    class Draws:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, place: int) -> tuple[float, int]:
            return random.random(), place

    train, valid = (DataLoader(Draws(), 4, training=training, device="cpu") for training in (True, False))
    assert values(train) != values(train)
    assert values(valid) == values(valid)


def test_columns_of_the_library_are_kept_in_training() -> None:
    block = DataBlock((TransformBlock, CategoryBlock), get_y=lambda i: i % 2, splitter=RandomSplitter(seed=0))
    dls = block.dataloaders(list(range(20)), bs=4, device="cpu")
    values(dls.train)
    assert dls.train._kept is not None


# one way for all


class Squares:
    """A data set that makes whole batches."""

    kinds = (Number(), Category(("even", "odd")))

    def __len__(self) -> int:
        return 6

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        places = torch.as_tensor(indices)
        return places**2, places % 2


def test_a_data_set_that_makes_batches_keeps_kinds_and_indices() -> None:
    batch = DataLoader(Squares(), 4, device="cpu").one_batch()
    assert batch[0].tolist() == [0, 1, 4, 9]
    assert batch.kinds == Squares.kinds
    assert batch.indices == [0, 1, 2, 3]


def test_a_batch_method_of_another_meaning_is_left_alone() -> None:
    class Table(list[Any]):
        def batch(self, batch_size: int) -> None:
            raise AssertionError

    assert makes_batches(Squares())
    assert not makes_batches(Table(PAIRS))
    assert DataLoader(Table(PAIRS), 4, device="cpu").one_batch().n_items == 4


def test_a_loader_of_samples_that_are_dictionaries_has_one_input() -> None:
    batch = DataLoader([{"ids": torch.zeros(2), "n": 1}] * 3, 2, device="cpu").one_batch()
    assert (len(batch.inputs), len(batch.targets)) == (1, 0)
    assert batch[0]["n"].tolist() == [1, 1]


def test_a_new_loader_keeps_all_settings_but_those_named() -> None:
    loader = DataLoader(PAIRS, 4, True, True, seed=3, after_item=Jitter(), device="cpu", cache="none")
    other = loader.new(bs=2)
    assert (other.bs, other.shuffle, other.drop_last, other.cache, other.maker.seed) == (2, True, True, "none", 3)
    with pytest.raises(UnknownNameError, match=r"no setting of a loader 'shufle'. Did you mean 'shuffle'\?"):
        loader.new(shufle=False)


def test_decoding_says_what_a_person_would_write() -> None:
    datasets = Datasets(["a", "b"], [[ord, float], [str.upper]])
    loader = DataLoader(datasets, 2, after_batch=Transform(lambda x: x), device="cpu")
    assert loader.decode_batch(loader.one_batch()) == [(97.0, "A"), (98.0, "B")]
    assert "2 items, 1 batches of 2 on cpu" in repr(loader)


def test_decoding_keeps_columns_that_nobody_described() -> None:
    loader = DataLoader(PAIRS, 2, device="cpu")
    assert len(loader.decode(Batch((torch.zeros(2),), (torch.zeros(2), torch.zeros(2)), (Plain(),)))) == 3
    assert loader.decode((torch.zeros(2),))[0].tolist() == [0, 0]


# what is wrong is told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"bs": 0}, "bs must be a whole number of items a batch, at least 1; got 0"),
        ({"bs": 2.5}, "got 2.5"),
        ({"cache": "disk"}, "There is no cache 'disk'"),
        ({"num_workers": -1}, "num_workers must be a number of processes, 0 or more; got -1"),
        ({"bs": 11, "drop_last": True}, r"batch of 11 is larger than the data set of 10 items.*Pass bs=2 or smaller"),
    ],
)
def test_settings_that_make_no_sense_are_told(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        DataLoader(PAIRS, **{"bs": 4, **arguments})


def test_no_items_and_no_length_are_told() -> None:
    with pytest.raises(EmptyError, match="at least one item"):
        DataLoader([], 4)
    with pytest.raises(ArgumentError, match="a generator has none"):
        DataLoader((pair for pair in PAIRS), 4)
    loader = DataLoader(PAIRS, 4, order=lambda n, chance: [], device="cpu")
    with pytest.raises(EmptyError, match="its order of items is empty"):
        loader.one_batch()


def test_an_item_transform_that_fails_is_told_with_its_item() -> None:
    def fail(x: Tensor) -> Tensor:
        raise RuntimeError("too dark")

    with pytest.raises(DataError, match="one item: The item transform 'fail' failed on item 0: RuntimeError: too dark"):
        check_one_batch(DataLoader(PAIRS, 4, after_item=fail, device="cpu"))


def test_a_batch_transform_that_fails_is_told_with_its_stage() -> None:
    def fail(x: Tensor) -> Tensor:
        raise RuntimeError("too dark")

    class Everything(Transform):
        def touches(self, kind: Kind) -> bool:
            return True

    with pytest.raises(DataError, match="While trying one batch: RuntimeError: too dark"):
        check_one_batch(DataLoader(PAIRS, 4, after_batch=Everything(fail), device="cpu"))


def test_pictures_of_different_sizes_ask_for_a_resize(pictures: list[Path]) -> None:
    PIL.Image.new("RGB", (5, 7)).save(pictures[3])
    block = DataBlock((ImageBlock, CategoryBlock), get_y=lambda path: path.name[0], splitter=IndexSplitter([0]))
    with pytest.raises(CollateError, match=r"one batch: .*differ in shape.*Resize\(224\)"):
        block.dataloaders(pictures, bs=7, device="cpu")


def test_loaders_of_torch_are_loaders_too() -> None:
    torch_loader = torch.utils.data.DataLoader(PAIRS, batch_size=5)
    dls = DataLoaders(torch_loader, torch_loader, device="cpu")
    assert dls.one_batch()[0].shape == (5, 1)
    assert (dls.bs, dls.n_inp, dls.c, len(dls.valid)) == (5, 1, 1, 2)


def test_only_flambeaus_own_transforms_run_in_threads() -> None:
    assert Resize(8).threads_well
    assert Transform(PILImage.create).threads_well
    assert not Transform(lambda x: x).threads_well


def test_threads_make_the_same_batches_as_one(tmp_path: Path) -> None:
    for i in range(24):
        PIL.Image.new("RGB", (40, 30), (10 * i, 3 * i, 0)).save(tmp_path / f"{i:02d}_{i % 2}.png")
    files = sorted(tmp_path.glob("*.png"))
    batches = []
    for num_workers in (1, 3):
        dls = DataBlock(
            (TransformBlock(PILImage.create), CategoryBlock), get_y=lambda path: path.stem[-1], item_tfms=Resize(16),
            splitter=IndexSplitter([0]),
        ).dataloaders(files, bs=16, seed=5, num_workers=num_workers)  # fmt: skip
        batches.append(dls.one_batch())
    assert torch.equal(batches[0][0], batches[1][0])
    assert torch.equal(batches[0][1], batches[1][1])


def test_a_seed_that_is_no_number_is_told() -> None:
    with pytest.raises(ArgumentError, match=r"seed must be a whole number, or None for chance; got 'a'"):
        DataLoader([1, 2], bs=1, seed="a")  # type: ignore[arg-type]
