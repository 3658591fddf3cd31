"""A walk through a data block: after reading it you know what each stage made of one item and one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from flambeau.data.chance import item_chance
from flambeau.data.data_loaders import require_settings
from flambeau.data.loaders import DataLoader
from flambeau.data.pipeline import raise_located
from flambeau.data.transform import Augment, as_transforms

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
    index = int(datasets.splits[0][0])
    print(f"  {datasets.item_name(index)}")
    for place, pipeline in enumerate(datasets.pipelines):
        print(f"  column {place} ({'input' if place < datasets.n_inp else 'target'})")
        value = datasets.items[index]
        for transform in pipeline:
            try:
                value = transform(value, 0)
            except Exception as error:
                raise_located(error, datasets.item_name(index))
            print(f"    {transform.name:24} -> {told(value)}")
        print(f"    kind {datasets.kinds[place]!r:.100}")
    settings = {**block.loader_settings(), **options}
    item_tfms, batch_tfms = as_transforms(settings.pop("after_item")), as_transforms(settings.pop("after_batch"))
    require_settings(block.dl_type or DataLoader, settings)
    sample: Sequence[Any] = datasets.train[0]
    print("\nItem transforms" if item_tfms else "\nNo item transforms")
    for tfm in item_tfms:
        if isinstance(tfm, Augment):
            sample = tfm.on_sample(tuple(sample), datasets.kinds, item_chance(0, 0, index), True)
        else:
            sample = tfm(tuple(sample), 0)
        print(f"    {tfm.name:24} -> {told(tuple(sample))}")
    print(f"\nOne batch of {bs}")
    settings = {**settings, "after_item": item_tfms, "training": True}
    loader = (block.dl_type or DataLoader)(datasets.train, min(bs, len(datasets.train)), **settings)
    batch = loader.one_batch()
    print(f"    {'collated':24} -> {told(batch.columns)}")
    for place, tfm in enumerate(batch_tfms):
        if tfm.learns:
            tfm.setup(loader.new(after_batch=batch_tfms[:place]), train_setup=True)
        chances = [item_chance(0, 0, i) for i in range(batch.n_items)]
        batch = tfm.on_batch(batch, chances, True)
        print(f"    {tfm.name:24} -> {told(batch.columns)}")
    if show_batch:
        loader.new(after_batch=batch_tfms).show_batch(batch)
