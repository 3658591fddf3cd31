"""A walk through a data block or loaders: after it you know what each stage made of one item and one batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.data.chance import batch_chances, item_chance
from flambeau.data.data_loaders import require_settings
from flambeau.data.dataset import Datasets
from flambeau.data.loaders import DataLoader, makes_batches
from flambeau.data.pipeline import raise_located
from flambeau.data.transform import Augment, Transform, as_transforms
from flambeau.foundation.errors import EmptyError

if TYPE_CHECKING:
    from flambeau.data.block import DataBlock


def told(value: Any) -> str:
    """Return a value as few words: its type, size and shape, or itself when it is short."""
    if isinstance(value, Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"tensor {tuple(value.shape)} {dtype}" if value.ndim else f"{value.item()}"
    if isinstance(value, tuple):
        return "(" + ", ".join(told(part) for part in value) + ")"
    words = repr(value)
    return words if len(words) < 120 else words[:117] + "..."


def walk(block: DataBlock, source: Any, bs: int, show_batch: bool, **options: Any) -> None:
    """Print what each stage of a block makes of one item and of one batch of `bs`; an error is raised where it happens.

    `options` are settings of the loader, as `dataloaders` takes them.
    """
    print(f"Items from {told(source)}")
    datasets = block.datasets(source, verbose=True)
    print("\nOne item")
    walk_item(datasets.train, 0)
    settings = {**block.loader_settings(), **options}
    item_tfms, batch_tfms = as_transforms(settings.pop("after_item")), as_transforms(settings.pop("after_batch"))
    require_settings(block.dl_type or DataLoader, settings)
    settings = {**settings, "after_item": item_tfms, "training": True}
    loader = (block.dl_type or DataLoader)(datasets.train, min(bs, len(datasets.train)), **settings)
    walk_item_transforms(loader, 0)
    print(f"\nOne batch of {bs}")
    batch = loader.one_batch()
    print(f"    {'collated':24} -> {told(batch.columns)}")
    for place, tfm in enumerate(batch_tfms):
        if tfm.learns:
            tfm.setup(loader.new(after_batch=batch_tfms[:place]), train_setup=True)
        batch = walk_batch_transform(tfm, batch, loader)
    if show_batch:
        loader.new(after_batch=batch_tfms).show_batch(batch)


def walk_loader(loader: DataLoader, show_batch: bool) -> None:
    """Print what each stage of a loader makes of the first item of its coming epoch and of the first batch.

    The transforms are those in use: nothing is learned anew, and no item of the epoch is used up.

    Raises:
        EmptyError: there are no items, as in the loaders of a loaded learner.
    """
    dataset = loader.dataset
    place = next(iter(loader.get_idxs()), None)
    if place is None:
        raise EmptyError("These loaders have no items to walk through; a loaded learner has none of its own.")
    if makes_batches(dataset):
        print(f"A {type(dataset).__name__} makes whole batches itself.")
    else:
        print("One item")
        walk_item(dataset, int(place))
        walk_item_transforms(loader, int(place))
    print(f"\nOne batch of {min(loader.bs, loader.n)}")
    before = loader.new(after_batch=[])
    before.epoch = loader.epoch
    batch = before.one_batch()
    print(f"    {'collated':24} -> {told(batch.columns)}")
    for tfm in loader.after_batch:
        batch = walk_batch_transform(tfm, batch, loader)
    if show_batch:
        loader.show_batch(batch)


def walk_item(dataset: Any, place: int) -> None:
    """Print what each column's transforms make of the item at a place of a data set."""
    if not isinstance(dataset, Datasets):
        print(f"  item {place} of a {type(dataset).__name__} -> {told(dataset[place])}")
        return
    print(f"  {dataset.name(place)}")
    for column, pipeline in enumerate(dataset.pipelines):
        print(f"  column {column} ({'input' if column < dataset.n_inp else 'target'})")
        value = dataset.item(place)
        for transform in pipeline:
            try:
                value = transform(value, 0)
            except Exception as error:
                raise_located(error, dataset.name(place))
            print(f"    {transform.name:24} -> {told(value)}")
        print(f"    kind {dataset.kinds[column]!r:.100}")


def walk_item_transforms(loader: DataLoader, place: int) -> None:
    """Print what each item transform of a loader makes of the sample at a place."""
    maker = loader.maker
    print("\nItem transforms" if maker.item_tfms else "\nNo item transforms")
    plain = replace(maker, item_tfms=[])
    sample = plain.sample(place, loader.epoch)
    kinds, chance = maker.sample_kinds(sample), item_chance(maker.seed, loader.epoch, place)
    for tfm in maker.item_tfms:
        if isinstance(tfm, Augment):
            sample = tfm.on_sample(sample, kinds, chance, loader.training)
        else:
            sample = tfm(sample, 0)
        print(f"    {tfm.name:24} -> {told(tuple(sample))}")


def walk_batch_transform(tfm: Transform, batch: Batch, loader: DataLoader) -> Batch:
    """Print and return what a batch transform makes of a batch."""
    indices = batch.indices if batch.indices is not None else range(batch.n_items)
    batch = tfm.on_batch(batch, batch_chances(loader.maker.seed, loader.epoch, indices), loader.training)
    print(f"    {tfm.name:24} -> {told(batch.columns)}")
    return batch
