"""The data block: after reading it you can say in four lines how a pile of data becomes batches.

A `DataBlock` is a recipe without data: which kinds of columns (`blocks`), where items come from (`get_items`), what is
input and target (`get_x`, `get_y`), who validates (`splitter`), and which transforms run on items and on batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from pathlib import Path as AnyPath
from typing import Any

from flambeau.data.categorize import (
    Categorize,
    EncodedMultiCategorize,
    MultiCategorize,
    OneHotEncode,
    RegressionSetup,
)
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.dataset import Datasets, Getter, in_few_words
from flambeau.data.loaders import DataLoader
from flambeau.data.pipeline import Pipeline
from flambeau.data.splitters import RandomSplitter
from flambeau.data.transform import Transform, as_transforms, function_name
from flambeau.foundation.errors import ArgumentError, EmptyError
from flambeau.foundation.lists import L


class TransformBlock:
    """One kind of column: the transforms that make its values, and those it needs on items and on batches."""

    def __init__(
        self,
        type_tfms: Any = None,
        item_tfms: Any = None,
        batch_tfms: Any = None,
        dl_type: type[DataLoader] | None = None,
        dls_kwargs: dict[str, Any] | None = None,
        datasets: type[Datasets] | None = None,
    ) -> None:
        self.type_tfms = _listed(type_tfms)
        self.item_tfms, self.batch_tfms = _listed(item_tfms), _listed(batch_tfms)
        self.dl_type, self.dls_kwargs = dl_type, dls_kwargs or {}
        self.datasets = datasets  # what makes whole batches of such columns by itself, where nothing works on items


def _listed(tfms: Any) -> list[Any]:
    return [] if tfms is None else list(tfms) if isinstance(tfms, list | tuple | L) else [tfms]


def CategoryBlock(vocab: Iterable[Any] | None = None, sort: bool = True, add_na: bool = False) -> TransformBlock:
    """Return the block of one class an item; without `vocab` the classes are those of the training items."""
    return TransformBlock(type_tfms=Categorize(vocab, sort, add_na))


def MultiCategoryBlock(
    encoded: bool = False, vocab: Sequence[Any] | None = None, add_na: bool = False
) -> TransformBlock:
    """Return the block of any number of classes an item; `encoded` labels are zeros and ones already."""
    if encoded:
        if vocab is None:
            raise ArgumentError("MultiCategoryBlock(encoded=True) needs vocab=[...], the names of the places.")
        return TransformBlock(type_tfms=EncodedMultiCategorize(vocab))
    return TransformBlock(type_tfms=[MultiCategorize(vocab, add_na), OneHotEncode()])


def RegressionBlock(n_out: int | None = None) -> TransformBlock:
    """Return the block of one or more numbers an item."""
    return TransformBlock(type_tfms=RegressionSetup(n_out))


class DataBlock:
    """A recipe from a source to loaders.

    Args:
        blocks: one block a column (default: two plain columns); functions that return one are called.
        get_items: gives the items of a source (default: the source is the items).
        get_x, get_y: give the input and the target of an item; lists of functions when there are several.
        getters: one function a column, instead of get_x and get_y.
        splitter: gives the indices of training and validation items (default: 20 % at random).
        n_inp: how many columns are inputs (default: all but the last).
        item_tfms, batch_tfms: transforms of every item and of every batch, besides those of the blocks.
    """

    def __init__(
        self,
        blocks: Any = None,
        dl_type: type[DataLoader] | None = None,
        getters: Sequence[Callable[[Any], Any]] | None = None,
        n_inp: int | None = None,
        item_tfms: Any = None,
        batch_tfms: Any = None,
        *,
        get_items: Callable[[Any], Any] | None = None,
        get_x: Any = None,
        get_y: Any = None,
        splitter: Callable[[Any], Any] | None = None,
    ) -> None:
        given = blocks if blocks is not None else (TransformBlock, TransformBlock)
        given = given if isinstance(given, tuple | list) else (given,)
        self.blocks: list[TransformBlock] = [_as_block(block) for block in given]
        self.dl_type = dl_type or next((b.dl_type for b in self.blocks if b.dl_type is not None), None)
        self.n_inp = n_inp if n_inp is not None else max(len(self.blocks) - 1, 1)
        self.get_items, self.splitter = get_items, splitter
        self.getters = _getters(getters, get_x, get_y, len(self.blocks), self.n_inp)
        self.item_tfms, self.batch_tfms = _listed(item_tfms), _listed(batch_tfms)

    def datasets(self, source: Any, verbose: bool = False) -> Datasets:
        """Return the training and validation data sets of a source.

        Raises:
            EmptyError: there are no items.
            ArgumentError: the source is a path and nothing gets items from it, or the splitter gives no two halves.
        """
        if self.get_items is None and isinstance(source, str | AnyPath):
            raise ArgumentError(
                f"The source is the path {str(source)!r}, and this DataBlock has no function that finds items in it. "
                "Pass get_items=get_image_files (or another), or give the items themselves."
            )
        items = self.get_items(source) if self.get_items is not None else source
        if not hasattr(items, "__len__"):
            items = L(items)
        if len(items) == 0:
            name = function_name(self.get_items) if self.get_items else "The source"
            raise EmptyError(f"{name} gave no items for {in_few_words(source)}. Check the path and get_items.")
        tell_repeated_rows(items)
        splits = (self.splitter or RandomSplitter())(items)
        if not isinstance(splits, list | tuple) or len(splits) < 2:
            raise ArgumentError(
                f"The splitter {function_name(self.splitter)!r} must return two lists of positions, for training and "
                f"for validation; got {splits!r:.200}."
            )
        if verbose:
            print(f"{len(items)} items, {len(splits[0])} for training, {len(splits[1])} for validation")
        columns = []
        for place, (block, getter) in enumerate(zip(self.blocks, self.getters, strict=True)):
            column = Pipeline()
            if getter is not None:
                column.transforms.append(Getter(getter, "get_x" if place < self.n_inp else "get_y"))
            # each data set learns its own vocabulary, so the block's transforms are copied
            column.transforms += as_transforms([_fresh(tfm) for tfm in block.type_tfms])
            columns.append(column)
        return self._datasets_class()(items, columns, splits, self.n_inp)

    def _datasets_class(self) -> type[Datasets]:
        """Return what makes the batches: a block's own data sets, unless single items are to be transformed."""
        own = next((block.datasets for block in self.blocks if block.datasets is not None), Datasets)
        on_items = self.item_tfms or any(block.item_tfms for block in self.blocks)
        return Datasets if on_items else own

    def dataloaders(
        self,
        source: Any,
        path: str | AnyPath = ".",
        bs: int | None = None,
        val_bs: int | None = None,
        verbose: bool = False,
        **options: Any,
    ) -> DataLoaders:
        """Return the training and validation loaders of a source; one item and one batch are tried first.

        `bs` None means 64, or all training items where there are fewer.
        `options` are settings of `DataLoaders.from_datasets` and of `DataLoader`: shuffle, drop_last, num_workers,
        device, cache, seed, ...
        """
        datasets = self.datasets(source, verbose=verbose)
        settings = {"bs": bs, "val_bs": val_bs, "dl_type": self.dl_type, **self.loader_settings(), **options}
        dls = DataLoaders.from_datasets(datasets, path=path, **settings)
        dls.block = self
        return dls

    def loader_settings(self) -> dict[str, Any]:
        """Return what the blocks and the recipe ask of the loaders; transforms that learn are fresh ones."""
        settings: dict[str, Any] = {}
        item_tfms, batch_tfms = [], []
        for block in self.blocks:
            settings |= block.dls_kwargs
            item_tfms += block.item_tfms
            batch_tfms += block.batch_tfms
        settings["after_item"] = _merged([*item_tfms, *self.item_tfms])
        settings["after_batch"] = _merged([*batch_tfms, *self.batch_tfms])
        return settings

    def new(self, item_tfms: Any = None, batch_tfms: Any = None) -> DataBlock:
        """Return the same recipe with other item and batch transforms."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.item_tfms, other.batch_tfms = _listed(item_tfms), _listed(batch_tfms)
        return other

    def summary(self, source: Any, bs: int = 4, show_batch: bool = False, **options: Any) -> None:
        """Walk one item and one batch through the recipe aloud, so that a mistake is seen where it happens."""
        from flambeau.data.summary import walk

        walk(self, source, bs, show_batch, **options)

    @classmethod
    def from_columns(cls, blocks: Any = None, getters: Any = None, get_items: Any = None, **options: Any) -> DataBlock:
        """Return a recipe for a source that is a tuple of columns, one a block."""

        def zipped(source: Any) -> list[Any]:
            columns = get_items(source) if get_items is not None else source
            return list(zip(*columns, strict=True))

        n = len(blocks) if isinstance(blocks, tuple | list) else 2
        return cls(blocks, getters=getters or [_Take(place) for place in range(n)], get_items=zipped, **options)


class _Take:
    """Take one place of a tuple."""

    def __init__(self, place: int) -> None:
        self.place = place

    def __call__(self, item: Any) -> Any:
        return item[self.place]


def _as_block(block: Any) -> TransformBlock:
    block = block() if callable(block) and not isinstance(block, TransformBlock) else block
    if not isinstance(block, TransformBlock):
        raise ArgumentError(
            f"blocks must be TransformBlocks such as ImageBlock or CategoryBlock, got {block!r} "
            f"of type {type(block).__name__}."
        )
    return block


def _fresh(tfm: Any) -> Any:
    return deepcopy(tfm) if isinstance(tfm, Transform) else tfm


def _getters(
    getters: Sequence[Any] | None, get_x: Any, get_y: Any, n_blocks: int, n_inp: int
) -> list[Callable[[Any], Any] | None]:
    if getters is not None:
        if get_x is not None or get_y is not None:
            raise ArgumentError("Give either getters or get_x and get_y, not both.")
        found = list(getters)
    else:
        n_targets = n_blocks - n_inp
        found = [*_for_columns(get_x, n_inp, "get_x"), *_for_columns(get_y, n_targets, "get_y")]
    if len(found) != n_blocks:
        raise ArgumentError(f"There are {n_blocks} blocks but {len(found)} getters; each block needs one.")
    return found


def _for_columns(given: Any, n: int, role: str) -> list[Any]:
    listed = list(given) if isinstance(given, list | tuple | L) else [given] * n if given is None else [given]
    if len(listed) != n:
        raise ArgumentError(f"{role} gives {len(listed)} functions for {n} columns; give one function a column.")
    return listed


def _merged(tfms: list[Any]) -> list[Any]:
    """Return transforms without repeats: of two that are alike (a block's and the user's ToTensor) the last stays."""
    # what one set of data taught must not serve the next (Normalize() for a second call with other pictures)
    instances = [deepcopy(t) if t.learns else t for t in as_transforms(tfms)]
    last = {(type(t), t.name): place for place, t in enumerate(instances) if not t.__dict__}
    return [t for place, t in enumerate(instances) if t.__dict__ or last[(type(t), t.name)] == place]


def tell_repeated_rows(items: Any) -> None:
    """Print how many rows of a table repeat an earlier one: a repeat may stand in training and in validation."""
    if not hasattr(items, "duplicated") or not hasattr(items, "columns"):
        return
    try:
        n_repeats = int(items.duplicated().sum())
    except TypeError:  # cells that hold lists cannot be compared
        return
    if n_repeats:
        print(
            f"{n_repeats} of the {len(items)} rows repeat an earlier row; with a repeat on both sides of the split, "
            "results look better than they are. To drop them: df.drop_duplicates()."
        )


