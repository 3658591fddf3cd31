"""Fingerprints of data: after reading it you know how a resumed run notices that its data are no longer the same."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from flambeau.data.categorize import Categorize, MultiCategorize, RegressionSetup
from flambeau.data.dataset import Datasets, Getter, Rows, SubsetItems
from flambeau.data.labels import ColReader
from flambeau.data.pipeline import EncodedItems
from flambeau.data.transform import Transform

if TYPE_CHECKING:
    from flambeau.data.data_loaders import DataLoaders

MOST_LOOKED_AT = 10_000  # items whose contents (a file's size, a row of a tensor) are looked at, evenly spread
HALVES = ("training", "validation")


def fingerprint(dls: DataLoaders) -> dict[str, Any]:
    """Return how many items each half of the data has, a digest of which they are, in their order, and the classes.

    The digest holds the files' names (from `dls.path` on, so that the folder may move) and sizes, a table's rows, or a
    tensor's numbers, and the labels; of very many items only some. Data sets of other kinds are told apart by their
    length alone.
    """
    halves = {}
    for place, loader in enumerate(dls.loaders):
        name = HALVES[place] if place < len(HALVES) else f"half {place}"
        dataset = getattr(loader, "dataset", loader)
        digest = hashlib.sha256()
        for part in _parts(dataset, dls.path):
            digest.update(part)
        halves[name] = {"n": len(dataset), "sha256": digest.hexdigest()}
    vocab = getattr(getattr(dls.train, "dataset", None), "vocab", None) if _has_vocab(dls) else None
    return {**halves, "classes": None if vocab is None else str(list(vocab))}


def _has_vocab(dls: DataLoaders) -> bool:
    try:
        return dls.vocab is not None
    except ValueError:
        return False


def _parts(dataset: Any, root: pathlib.Path) -> Iterable[bytes]:
    if isinstance(dataset, Datasets):
        yield from _item_parts(dataset, root)
        yield from _label_parts(dataset)
    elif isinstance(dataset, torch.utils.data.TensorDataset):
        for tensor in dataset.tensors:
            yield _number_bytes(tensor[_spread(len(tensor))])
    elif isinstance(dataset, list | tuple):
        for place in _spread(len(dataset)):
            yield from _value_parts(dataset[place])


def _item_parts(dataset: Datasets, root: pathlib.Path) -> Iterable[bytes]:
    if isinstance(dataset.source, Rows):
        import pandas as pd

        yield pd.util.hash_pandas_object(dataset.items.astype(str)).to_numpy().tobytes()
        return
    sizes_of = set(_spread(len(dataset)))
    for place in range(len(dataset)):
        item = dataset.item(place)
        if isinstance(item, pathlib.PurePath):
            yield (os.path.relpath(item, root) if item.is_absolute() else str(item)).encode()
            if place in sizes_of and os.path.exists(item):
                yield os.path.getsize(item).to_bytes(8, "little")
        else:
            yield from _value_parts(item)


def _label_parts(dataset: Datasets) -> Iterable[bytes]:
    """Yield the raw labels; masks and the like, whose reading may cost as much as an epoch, are left out."""
    half = SubsetItems(dataset.source, dataset.indices)
    for pipeline in dataset.pipelines[dataset.n_inp :]:
        for place, transform in enumerate(pipeline.transforms):
            if isinstance(transform, Categorize | MultiCategorize | RegressionSetup):
                if isinstance(dataset.source, Rows) and all(_reads_columns(t) for t in pipeline.transforms[:place]):
                    break  # the labels are cells of the table, which `_item_parts` has yielded
                labels = EncodedItems(half, pipeline.transforms[:place], dataset.name)
                yield from (repr(label).encode() for label in labels)
                break


def _reads_columns(transform: Transform) -> bool:
    return isinstance(transform, Getter) and isinstance(transform.encodes, ColReader)


def _value_parts(value: Any) -> Iterable[bytes]:
    if isinstance(value, Tensor):
        yield _number_bytes(value)
    elif isinstance(value, np.ndarray):
        yield value.tobytes() if value.dtype != object else str(value.tolist()).encode()
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _value_parts(part)
    elif isinstance(value, str | bytes | int | float | bool | None):
        yield repr(value).encode()
    else:
        yield type(value).__name__.encode()  # its repr may hold an address, which changes from run to run


def _number_bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _spread(n: int) -> Sequence[int]:
    return range(n) if n <= MOST_LOOKED_AT else np.linspace(0, n - 1, MOST_LOOKED_AT).astype(int).tolist()
