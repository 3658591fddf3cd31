"""A walk through a data block: after reading it you know what each stage made of one item and one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from flambeau.data.chance import item_chance
from flambeau.data.loaders import DataLoader
from flambeau.data.transform import Augment, Transform, as_transforms

if TYPE_CHECKING:
    from flambeau.data.block import DataBlock


def told(value: Any) -> str:
    """Return a value as few words: its type, size and shape, or itself when it is short."""
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}" if value.ndim else f"{value.item()}"
    if isinstance(value, tuple):
        return "(" + ", ".join(told(part) for part in value) + ")"
    words = repr(value)
    return words if len(words) < 120 else words[:117] + "..."


def walk(block: DataBlock, source: Any, bs: int, show_batch: bool, **options: Any) -> None:
    """Print what each stage of a block makes of one item and of one batch of `bs`; an error is raised where it happens."""
    print(f"Items from {told(source)}")
    datasets = block.datasets(source, verbose=True)
    print("\nOne item")
    index = int(datasets.splits[0][0])
    print(f"  {datasets.item_name(index)}")
    for place, pipeline in enumerate(datasets.pipelines):
        print(f"  column {place} ({'input' if place < datasets.n_inp else 'target'})")
        value = datasets.items[index]
        for transform in pipeline:
            value = transform(value, 0)
            print(f"    {transform.name:24} -> {told(value)}")
        print(f"    kind {datasets.kinds[place]!r:.100}")
    item_tfms = as_transforms([*(tfm for b in block.blocks for tfm in b.item_tfms), *block.item_tfms])
    batch_tfms = as_transforms([*(tfm for b in block.blocks for tfm in b.batch_tfms), *block.batch_tfms])
    sample: Sequence[Any] = datasets.train[0]
    print("\nItem transforms" if item_tfms else "\nNo item transforms")
    for tfm in item_tfms:
        if isinstance(tfm, Augment):
            sample = tfm.on_sample(tuple(sample), datasets.kinds, item_chance(0, 0, index), True)
        else:
            sample = tfm(tuple(sample), 0)
        print(f"    {tfm.name:24} -> {told(tuple(sample))}")
    print(f"\nOne batch of {bs}")
    loader = DataLoader(
        datasets.train, min(bs, len(datasets.train)), after_item=item_tfms, training=True, cache="none", **options
    )
    batch = loader.one_batch()
    print(f"    {'collated':24} -> {told(batch.columns)}")
    for tfm in batch_tfms:
        if type(tfm).setups is not Transform.setups:
            tfm.setups(loader)
        chances = [item_chance(0, 0, i) for i in range(batch.n_items)]
        batch = tfm.on_batch(batch, chances, True)
        print(f"    {tfm.name:24} -> {told(batch.columns)}")
    if show_batch:
        block.dataloaders(source, bs=bs, **options).show_batch()
