"""What can be known of items without a model: after reading it you know how a check reads any kind of data set.

Of each item stay a fingerprint, a thumbnail of its picture, its size and mode, its label, or why it cannot be read:
about a kilobyte.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from flambeau.data.batch import as_batch, item_of
from flambeau.data.dataset import Datasets, Getter, Pick, Rows, TfmdLists
from flambeau.data.duplicates import Thumbnail, digest, thumbnail
from flambeau.data.kinds import Category, Kind, MultiCategory, Number, Picture, kind_of
from flambeau.data.labels import ColReader
from flambeau.data.loaders import makes_batches, n_cores
from flambeau.foundation.errors import EmptyError, FlambeauError

_ROWS_AT_ONCE = 1024
LEAST_SIDE = 16
"""A tensor of fewer rows or columns is not taken for a picture."""
MOST_LABELS = 32
"""A longer target is no label that could be compared."""


@dataclass
class ItemFacts:
    """What was found out about one item; None where it could not be."""

    digest: bytes | None = None
    thumbnail: Thumbnail | None = None
    label: Any = None
    size: tuple[int, int] | None = None
    mode: str | None = None
    fault: str | None = None


@dataclass
class Half:
    """One half of the data: how its items are read, named and drawn."""

    title: str
    n: int
    read: Callable[[int, bool], ItemFacts]
    name: Callable[[int], str]
    picture: Callable[[int], Any]
    dataset: Any = None
    in_threads: bool = False
    has_pictures: bool = False
    are_files: bool = False
    is_steady: bool = True
    """Whether an item is the same each time it is read; a data set that augments by itself gives another each time."""

    @property
    def datasets(self) -> Datasets | None:
        """The data set where it is one of flambeau's, whose items are known."""
        return self.dataset if isinstance(self.dataset, Datasets) else None

    def facts(self, with_pictures: bool = True) -> list[ItemFacts]:
        """Return the facts of each item; without pictures none is decoded."""

        def read(place: int) -> ItemFacts:
            return self.read(place, with_pictures)

        if not self.in_threads:
            return [read(place) for place in range(self.n)]
        with ThreadPoolExecutor(n_cores()) as pool:
            return list(pool.map(read, range(self.n)))


def half_of(loader: Any, title: str, kinds: Sequence[Kind] | None, n_inp: int | None) -> Half:
    """Return the half that a loader serves.

    Raises:
        EmptyError: the loader gives nothing.
    """
    dataset: Any = getattr(loader, "dataset", None)
    if isinstance(dataset, Datasets) and not isinstance(dataset, TfmdLists):
        return _of_datasets(dataset, title, kinds)
    if _has_places(dataset):
        half = _of_samples(dataset, len(dataset), title, n_inp)
    elif dataset is not None and makes_batches(dataset):
        rows = _rows_of((dataset.batch(indices) for indices in _in_parts(len(dataset))), n_inp)
        half = _of_samples(rows, len(rows), title, n_inp)
    else:
        rows = _rows_of(loader, n_inp)
        half = _of_samples(rows, len(rows), title, n_inp)
    if not half.n:
        raise EmptyError(f"The {title} loader gives no batch, so there is nothing to check.")
    return half


def _has_places(dataset: Any) -> bool:
    streams = isinstance(dataset, torch.utils.data.IterableDataset) or makes_batches(dataset)
    return hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__") and not streams


def _in_parts(n: int) -> Iterator[list[int]]:
    for start in range(0, n, _ROWS_AT_ONCE):
        yield list(range(start, min(start + _ROWS_AT_ONCE, n)))


def _rows_of(batches: Any, n_inp: int | None) -> list[tuple[Any, ...]]:
    rows = []
    for raw in batches:
        batch = as_batch(raw, n_inp)
        rows += [tuple(item_of(column, place) for column in batch.columns) for place in range(batch.n_items)]
    return rows


# ---- flambeau's own data sets


def _of_datasets(dataset: Datasets, title: str, kinds: Sequence[Kind] | None) -> Half:
    known = list(kinds) if kinds is not None else _kinds_of_first_readable(dataset)
    pictures = [place for place in range(dataset.n_inp) if place < len(known) and isinstance(known[place], Picture)]
    targets = [place for place in range(dataset.n_inp, len(known)) if _is_label(known[place])]
    label_columns = _label_columns(dataset)

    def fetched(item: Any, place: int) -> Any:
        """Return what the getters of a column take from an item: a path, a text, a row."""
        for transform in dataset.pipelines[place]:
            if not isinstance(transform, Getter | Pick):
                break
            item = transform(item)
        if hasattr(item, "drop") and hasattr(item, "index") and label_columns:
            item = item.drop([name for name in label_columns if name in item.index])
        return as_path(item) if place in pictures else item

    def picture(place: int) -> Any:
        return dataset.pipelines[pictures[0]](dataset.item(place))

    def read(place: int, with_pictures: bool) -> ItemFacts:
        facts = ItemFacts()
        try:
            item = dataset.item(place)
            facts.label = _label(dataset, item, targets[0], known) if targets else None
            raw = [fetched(item, column) for column in range(dataset.n_inp)]
            facts.digest = digest(raw)
            if pictures and with_pictures:
                _look_at(picture(place), raw[pictures[0]], facts)
        except Exception as error:  # whatever is wrong with an item is what the check is to tell
            facts.digest, facts.fault = None, _in_words(error)
        return facts

    safe = all(transform.threads_well for pipeline in dataset.pipelines for transform in pipeline)
    are_files = bool(pictures) and _first_is_path(dataset, lambda item: fetched(item, pictures[0]))
    return Half(title, len(dataset), read, dataset.name, picture, dataset, safe and bool(pictures), bool(pictures),
                are_files)  # fmt: skip


def _kinds_of_first_readable(dataset: Datasets) -> list[Kind]:
    for place in range(len(dataset)):
        try:
            return dataset._kinds_of(dataset[place])
        except FlambeauError:
            continue
    return []


def _is_label(kind: Kind) -> bool:
    return isinstance(kind, Category | MultiCategory) or (isinstance(kind, Number) and kind.n == 1)


def _label(dataset: Datasets, item: Any, place: int, kinds: Sequence[Kind]) -> Any:
    label = kinds[place].decoded(dataset.pipelines[place](item))
    return tuple(label) if isinstance(label, list) else label


def _label_columns(dataset: Datasets) -> list[Any]:
    """Return the columns of a table that targets are read from, where that is known."""
    if not isinstance(dataset.source, Rows):
        return []
    names: list[Any] = list(dataset.source.frame.columns)
    found = []
    for pipeline in dataset.pipelines[dataset.n_inp :]:
        reader = getattr(pipeline[0], "encodes", None) if len(pipeline) else None
        if isinstance(reader, ColReader):
            columns = reader.cols if isinstance(reader.cols, list | tuple) else [reader.cols]
            found += [names[c] if isinstance(c, int) and c not in names else c for c in columns]
    return found


def as_path(value: Any) -> Any:
    """Return the name of a file that exists as a path, anything else as it is."""
    return Path(value) if isinstance(value, str) and os.path.isfile(value) else value


def _first_is_path(dataset: Datasets, fetch: Callable[[Any], Any]) -> bool:
    try:
        return isinstance(fetch(dataset.item(0)), os.PathLike)
    except Exception:  # told when the item is read
        return False


# ---- any other data set, and loaders without one


def _of_samples(dataset: Any, n: int, title: str, n_inp: int | None) -> Half:
    def inputs_and_target(place: int) -> tuple[tuple[Any, ...], Any]:
        sample = dataset[place]
        columns = tuple(sample) if isinstance(sample, tuple | list) else (sample,)
        cut = n_inp if n_inp is not None else max(len(columns) - 1, 1)
        return columns[:cut], columns[cut] if len(columns) > cut else None

    def picture(place: int) -> Any:
        return next(value for value in inputs_and_target(place)[0] if looks_like_picture(value))

    def read(place: int, with_pictures: bool) -> ItemFacts:
        facts = ItemFacts()
        try:
            inputs, target = inputs_and_target(place)
            facts.label = _plain_label(target)
            facts.digest = digest(inputs)
            pictures = [value for value in inputs if looks_like_picture(value)]
            if pictures and with_pictures:
                _look_at(pictures[0], None, facts)
        except Exception as error:  # whatever is wrong with an item is what the check is to tell
            facts.digest, facts.fault = None, _in_words(error)
        return facts

    def name(place: int) -> str:
        return dataset.name(place) if isinstance(dataset, Datasets) else f"item {place}"

    first = read(0, True) if n else ItemFacts()
    steady = not n or first.fault is not None or read(0, False).digest == first.digest
    return Half(title, n, read, name, picture, dataset, has_pictures=first.thumbnail is not None, is_steady=steady)


def looks_like_picture(value: Any) -> bool:
    """Whether a value is a picture, or a tensor shaped like one: 1 or 3 channels, or whole grey values, of 16 x 16."""
    if isinstance(value, PIL.Image.Image) or isinstance(kind_of(value), Picture):
        return True
    if not isinstance(value, Tensor | np.ndarray) or min(value.shape[-2:], default=0) < LEAST_SIDE:
        return False
    grey = value.ndim == 2 and value.dtype in (torch.uint8, np.uint8)
    return grey or (value.ndim == 3 and value.shape[0] in (1, 3))


def _plain_label(target: Any) -> Any:
    if isinstance(target, Tensor | np.ndarray | np.generic):
        values = torch.as_tensor(target).reshape(-1).tolist()
        return values[0] if len(values) == 1 else tuple(values) if len(values) <= MOST_LABELS else None
    return target if isinstance(target, str | int | float | bool) else None


# ---- pictures


def _look_at(picture: Any, raw: Any, facts: ItemFacts) -> None:
    """Note the thumbnail, size and mode of a picture; `raw` is the file it came from, where there is one."""
    if isinstance(raw, os.PathLike):
        with PIL.Image.open(raw) as header:
            facts.size, facts.mode = header.size, header.mode
    image = picture if isinstance(picture, PIL.Image.Image) else as_grey(picture)
    if facts.size is None:
        facts.size, facts.mode = image.size, image.mode
    facts.thumbnail = thumbnail(image)


def as_grey(picture: Any) -> PIL.Image.Image:
    """Return a tensor or array (height, width) or (channel, height, width) of any range as a grey picture."""
    values = torch.as_tensor(np.array(picture) if not isinstance(picture, Tensor) else picture).detach().float().cpu()
    values = values.mean(0) if values.ndim == 3 else values
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / (high - low) * 255 if high > low else torch.zeros_like(values)
    return PIL.Image.fromarray(scaled.round().to(torch.uint8).numpy())


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, FlambeauError) else f"{type(error).__name__}: {error}"
