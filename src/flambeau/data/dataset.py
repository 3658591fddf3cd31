"""Data sets: after reading it you know how items become samples, one pipeline a column, and which ones validate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from flambeau.data.categorize import Categorize, check_labels, require_two_classes, tell_unvalidated
from flambeau.data.kinds import Kind, kind_of
from flambeau.data.labels import ColReader
from flambeau.data.pipeline import EncodedItems, Pipeline, raise_located
from flambeau.data.transform import ItemTransform, Transform
from flambeau.foundation.errors import ArgumentError, DataError, EmptyError, FlambeauError, LabelError, TableError
from flambeau.foundation.lists import L, listify

if TYPE_CHECKING:
    from flambeau.data.data_loaders import DataLoaders

# how many letters of an item an error quotes
MAX_NAME = 200
HALVES = ("training", "validation")


class Datasets:
    """Items seen through one pipeline a column: `dsets[i]` is the tuple of their values.

    `tfms` is a list of columns, each a list of transforms or functions; the last columns (all but `n_inp`) are targets.
    `splits` are the indices of the halves: `.train`, `.valid`, `.subset(k)` see them. `source` holds the items of all
    halves, `indices` says which of them this half has, and `items` are these. Pipelines learn (a vocabulary) from the
    training half only.

    Raises:
        EmptyError: there are no items, or none in the training half.
        LabelError: a label is missing, or a validation label does not occur in training.
        ArgumentError: the columns or the splits are not what they should be.
    """

    travels: ClassVar[bool] = False
    """Whether an export names this class, because new items must be made into batches by it."""

    def __init__(
        self,
        items: Any,
        tfms: Sequence[Any] | None = None,
        splits: Sequence[Sequence[int]] | None = None,
        n_inp: int | None = None,
        *,
        do_setup: bool = True,
    ) -> None:
        self.source = as_items(items)
        if len(self.source) == 0:
            raise EmptyError("There are no items to make a data set of: the list, folder or table is empty.")
        columns = tfms if tfms is not None else [None]
        if not isinstance(columns, list | tuple):
            raise ArgumentError(
                f"tfms is a list of columns, each a list of transforms, such as [[PILImage.create], [parent_label, "
                f"Categorize()]]; got {columns!r}. For one column that gives whole samples use TfmdLists."
            )
        self.pipelines = [as_column(column) for column in columns]
        self.n_inp = n_inp if n_inp is not None else max(len(self.pipelines) - 1, 1)
        self.splits: list[Sequence[int]] = [range(len(self.source)), []]
        if splits is not None:
            self.splits = checked_splits(splits, len(self.source))
        self.split_idx: int | None = None
        self.indices: Sequence[int] = range(len(self.source))
        self._items: Any = None
        self._kinds: list[Kind] | None = None
        self._c: int | None = None
        if do_setup:
            self._setup()

    @classmethod
    def template(cls, pipelines: Sequence[Pipeline], kinds: Sequence[Kind], n_inp: int, c: int) -> Datasets:
        """Return a data set without items, only to make others from (`with_items`): what an export gives back."""
        made = object.__new__(cls)
        made.source, made.indices, made.splits, made.split_idx, made._items = [], [], [[], []], 1, None
        made.pipelines, made.n_inp = list(pipelines), n_inp
        made._kinds, made._c = list(kinds), c
        return made

    @property
    def is_template(self) -> bool:
        """Whether this data set has no items on purpose."""
        return self._c is not None and len(self.source) == 0

    def _setup(self) -> None:
        if not len(self.splits[0]):
            raise EmptyError(
                f"The training half of the split is empty ({len(self.source)} items in all). Check the splitter."
            )
        if isinstance(self.source, Rows):
            for pipeline in self.pipelines:
                for reader in (transform.code for transform in pipeline):
                    if isinstance(reader, ColReader):
                        reader.require_columns(self.source.frame)
        train = SubsetItems(self.source, self.splits[0])
        for place, pipeline in enumerate(self.pipelines):
            knows_classes = [getattr(transform, "vocab", None) is not None for transform in pipeline]
            self._learn_column(place, train)
            if place >= self.n_inp:
                self._check_targets(pipeline, knows_classes)

    def _learn_column(self, place: int, train: SubsetItems) -> None:
        """Let a column's transforms learn from the training items."""
        self.pipelines[place].setup(train, lambda at: self.item_name(self.splits[0][at]))

    def _check_targets(self, pipeline: Pipeline, knows_classes: Sequence[bool]) -> None:
        for place, transform in enumerate(pipeline.transforms):
            if not _checks_targets(transform):
                continue
            repeated = self._repeats_one_item()
            if transform.kind is not None and not repeated:
                require_two_classes(transform.kind, len(self.splits[0]))
            vocab = getattr(transform, "vocab", None)
            # classes that were learnt from the training labels hold them all
            learnt = vocab is not None and not knows_classes[place]
            none_left = " in all, none in training" if learnt and isinstance(transform, Categorize) else ""

            training = None if learnt else self._encoded_targets(pipeline, place, "training")
            if len(self.splits) < 2 or not len(self.splits[1]):
                continue
            validation = self._encoded_targets(pipeline, place, "validation", none_left)
            if vocab is not None and len(validation) < len(vocab) and not repeated:
                training = training or self._encoded_targets(pipeline, place, "training")
                tell_unvalidated(list(vocab), training, validation)

    def _encoded_targets(self, pipeline: Pipeline, place: int, half: str, in_all: str = "") -> Counter[int]:
        """Encode the targets of a half with the transform at a place; return how often each class occurs."""
        split, transform = self.splits[HALVES.index(half)], pipeline[place]
        items = SubsetItems(self.source, split)
        labels = EncodedItems(items, pipeline.transforms[:place], lambda at: self.item_name(split[at]))
        return check_labels(transform.encodes, labels, half, getattr(transform, "add_na", False), in_all)

    def _repeats_one_item(self) -> bool:
        """Whether the training items are one and the same: a look at what the transforms do, not a training."""
        names = (self.item_name(index) for index in self.splits[0])
        first = next(names, None)
        return len(self.splits[0]) > 1 and all(name == first for name in names)

    # the halves

    def subset(self, half: int) -> Datasets:
        """Return the data set of one half: 0 training, 1 validation.

        Raises:
            EmptyError: the split has no such half.
        """
        if not 0 <= half < len(self.splits):
            raise EmptyError(f"The split has {len(self.splits)} halves, counted from 0; there is no half {half}.")
        return self._view(self.splits[half], half)

    def _view(self, indices: Sequence[int], split_idx: int | None) -> Datasets:
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view.indices, view.split_idx, view._items = indices, split_idx, None
        view.splits = [indices, []]
        return view

    def at(self, places: Sequence[int]) -> Datasets:
        """Return the data set of some items of this half."""
        return self._view([self.indices[place] for place in places], self.split_idx)

    @property
    def train(self) -> Datasets:
        """The training half."""
        return self.subset(0)

    @property
    def valid(self) -> Datasets:
        """The validation half."""
        return self.subset(1)

    @property
    def n_subsets(self) -> int:
        """The number of halves."""
        return len(self.splits)

    @property
    def items(self) -> Any:
        """The items of this half in the order of `ds[i]`, as `test_dl` takes them: of a table its rows as a table."""
        if self._items is None:
            self._items = chosen_items(self.source, self.indices)
        return self._items

    def item(self, place: int) -> Any:
        """Return the item at a place of this half: what `ds[place]` is made from."""
        return self.source[self.indices[place]]

    def __getstate__(self) -> dict[str, Any]:
        # worker processes have the source already
        return {**self.__dict__, "_items": None}

    # the samples

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: Any) -> Any:
        if type(place) is not int:
            places = L.range(self)[place]  # as a list of positions does: slices, masks, arrays, tensors
            return L([self[at] for at in places]) if isinstance(places, list) else self[places]
        item = self.item(place)
        try:
            return self._sample(item)
        except Exception as error:
            raise_located(error, self.name(place))

    def _sample(self, item: Any) -> Any:
        return tuple([pipeline(item) for pipeline in self.pipelines])

    def __iter__(self) -> Iterator[Any]:
        return (self[place] for place in range(len(self)))

    def item_name(self, index: int) -> str:
        """Return words that tell a person which item this is."""
        source = self.source
        return source.name(index) if isinstance(source, Rows | ReadValues) else in_few_words(source[index])

    def name(self, place: int) -> str:
        """Return words for the item at a place of this half."""
        return self.item_name(self.indices[place])

    @property
    def kinds(self) -> list[Kind]:
        """The kind of each column, as the first sample tells."""
        if self._kinds is None:
            self._kinds = self._kinds_of(self[0])
        return self._kinds

    def _kinds_of(self, sample: Any) -> list[Kind]:
        return [pipeline.kind(value) for pipeline, value in zip(self.pipelines, sample, strict=True)]

    @property
    def vocab(self) -> Any:
        """The vocabulary of the targets (a list of them when several columns have one)."""
        vocabs = [getattr(transform, "vocab", None) for pipeline in reversed(self.pipelines) for transform in pipeline]
        found = [vocab for vocab in vocabs if vocab is not None]
        if not found:
            raise ArgumentError("These data have no vocabulary: no column is a category.")
        return found[0] if len(found) == 1 else L(reversed(found))

    @property
    def c(self) -> int:
        """The number of outputs that the targets ask for."""
        if self._c is None:
            self._c = n_outputs(self.kinds[self.n_inp :], self._first_targets())
        return self._c

    def _first_targets(self) -> Sequence[Any]:
        item = self.item(0)  # its inputs may be large, so they are left unread
        return [pipeline(item) for pipeline in self.pipelines[self.n_inp :]]

    def is_random(self, training: bool) -> bool:
        """Whether reading an item may involve chance."""
        return any(pipeline.is_random(training) for pipeline in self.pipelines)

    def decode(self, sample: Sequence[Any]) -> tuple[Any, ...]:
        """Undo the columns' transforms on a sample."""
        return tuple(pipeline.decode(value) for pipeline, value in zip(self.pipelines, sample, strict=False))

    def show(self, sample: Sequence[Any], ctx: Any = None, **options: Any) -> Any:
        """Draw a sample: pictures as pictures, labels as title."""
        from flambeau.data.show import show_sample

        return show_sample(sample, self.kinds, ctx, **options)

    def with_items(self, items: Any, n_columns: int | None = None) -> Datasets:
        """Return a data set of other items through the same pipelines, as in validation, nothing learned anew."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.source = as_items(items)
        if len(other.source) == 0:
            raise EmptyError("There are no items to predict: the list, folder or table is empty.")
        other.pipelines = self.pipelines[:n_columns] if n_columns else self.pipelines
        if self._kinds is not None and len(other.pipelines) < len(self.pipelines):
            other._kinds = self._kinds[:n_columns]
        if self.is_template and not _are_rows(other.source, other.pipelines):
            other.pipelines = [without_getters(pipeline) for pipeline in other.pipelines]
            if len(other.pipelines) > self.n_inp:
                # labelled items for an export, which may lack its getters: each is a tuple of one raw value a column
                other.pipelines = [_picking(place, pipeline) for place, pipeline in enumerate(other.pipelines)]
        elif len(self.source) and _is_composite(self.source) and not _is_composite(other.source):
            # a table's row has a get_x, but a file given to predict is the input itself
            other.pipelines = [without_getters(pipeline) for pipeline in other.pipelines]
        other.indices, other.split_idx, other._items = range(len(other.source)), 1, None
        other.splits = [[], range(len(other.source))]
        return other

    def with_values_read(self) -> Datasets:
        """Return the same data with each column's getter already called on every item.

        What is left is free of these functions of the user (lambdas of a notebook), so that worker processes can be
        started by any method. All the values are in memory at once: a getter should return a path or a label.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        columns, pipelines = [], []
        for pipeline in self.pipelines:
            getters = [t for t in pipeline.transforms if isinstance(t, Getter)]
            fetched = EncodedItems(self.source, getters, self.item_name)
            columns.append([fetched[index] for index in self.indices])
            pipelines.append(_picking(len(columns) - 1, without_getters(pipeline)))
        names = [self.item_name(index) for index in self.indices]
        other.source = ReadValues(list(zip(*columns, strict=True)), names)
        other.pipelines, other.indices, other._items = pipelines, range(len(self.indices)), None
        other.splits = [other.indices, []]
        return other

    def dataloaders(self, bs: int | None = None, **options: Any) -> DataLoaders:
        """Return loaders of the halves; see `DataLoaders.from_datasets` for the options."""
        from flambeau.data.data_loaders import DataLoaders

        return DataLoaders.from_datasets(self, bs=bs, **options)

    def __repr__(self) -> str:
        return f"{type(self).__name__} of {len(self)} items, columns: {self.pipelines}"


class TfmdLists(Datasets):
    """Items seen through one pipeline; a pipeline that gives a tuple makes a sample of several columns."""

    def __init__(
        self,
        items: Any,
        tfms: Any,
        splits: Sequence[Sequence[int]] | None = None,
        n_inp: int | None = None,
        *,
        do_setup: bool = True,
    ) -> None:
        super().__init__(items, [tfms], splits, n_inp, do_setup=do_setup)
        if n_inp is None:
            first = self[0] if len(self) else None
            self.n_inp = max(len(first) - 1, 1) if isinstance(first, tuple) else 1

    @property
    def tfms(self) -> Pipeline:
        """The one pipeline."""
        return self.pipelines[0]

    def _first_targets(self) -> Sequence[Any]:
        sample = self[0]
        return sample[self.n_inp :] if isinstance(sample, tuple) else ()

    def _kinds_of(self, sample: Any) -> list[Kind]:
        return [kind_of(value) for value in sample] if isinstance(sample, tuple) else [self.tfms.kind(sample)]

    def _sample(self, item: Any) -> Any:
        return self.pipelines[0](item)

    def decode(self, sample: Any) -> Any:
        return self.pipelines[0].decode(sample)

    def show(self, sample: Any, ctx: Any = None, **options: Any) -> Any:
        """Draw a sample: by its own `show` where it has one."""
        decoded = self.decode(sample)
        if hasattr(decoded, "show"):
            return decoded.show(ctx=ctx, **options)
        return super().show(decoded if isinstance(decoded, tuple) else (decoded,), ctx, **options)


class Getter(ItemTransform):
    """What fetches one column's raw value from an item (`get_x`, `get_y`): gets the item whole, even a tuple."""

    def __init__(self, function: Callable[[Any], Any], role: str = "get_x") -> None:
        super().__init__(function)
        self.role = role

    @property
    def threads_well(self) -> bool:
        """Whether several threads may run it at once: reading a path or a label is taken to be harmless."""
        return True

    def is_random(self, training: bool) -> bool:
        """Whether the outcome may depend on chance: a path or a label is taken to be the same each time."""
        return False

    def __call__(self, x: Any, split_idx: int | None = None) -> Any:
        try:
            return self.encodes(x)
        except FlambeauError:
            raise
        except Exception as error:
            raise LabelError(
                f"The function {self.name!r} (given as {self.role}) raised {type(error).__name__}: {error} on the item "
                f"{in_few_words(x)}. It must take one item and return its value."
            ) from error


class LostGetter(Getter):
    """Stands for a getter of the user's own, which an export does not carry: needed only to read rows."""

    def __init__(self, lost: str, role: str = "get_x") -> None:
        super().__init__(self._refuse, role)
        self.lost = lost

    @property
    def name(self) -> str:
        return self.lost

    def _refuse(self, row: Any) -> Any:
        raise TableError(
            f"A row of a table came, but the function {self.lost!r} ({self.role}) that reads rows was code of your "
            "own, which the export does not carry. Give what it returned instead: paths of pictures, say, and with "
            "labels a tuple (path, label) an item. A ColReader is carried."
        )


class Pick(ItemTransform):
    """Take one place of an item that is a tuple of values.

    Raises:
        DataError: it is none, or too short.
    """

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place

    def encodes(self, x: Any) -> Any:
        if isinstance(x, list | tuple | L | np.ndarray) and -len(x) <= self.place < len(x):
            return x[self.place]
        raise DataError(
            f"A tuple of values such as (input, label) was expected, got a {type(x).__name__}: {x!r:.80}. An export "
            "does not hold the functions that read labels, so pass them: test_dl([(file, label), ...], "
            "with_labels=True)."
        )

    def decodes(self, x: Any) -> Any:
        return x


class Rows(Sequence[Any]):
    """A data frame as a sequence of its rows (each a Series)."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, place: Any) -> Any:
        return self.frame.iloc[place]

    def name(self, place: int) -> str:
        """Return words for a row, with the data frame's own name of it."""
        return f"row {self.frame.index[place]} of the table"


class ReadValues(list[Any]):
    """Values already read from items, and the names of these items for errors."""

    def __init__(self, values: Iterable[Any], names: Sequence[str]) -> None:
        super().__init__(values)
        self.names = names

    def name(self, place: int) -> str:
        """Return words for the item a value was read from."""
        return self.names[place]


class SubsetItems(Sequence[Any]):
    """Some of the items, without copying them."""

    def __init__(self, items: Sequence[Any], indices: Sequence[int]) -> None:
        self.items, self.indices = items, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: Any) -> Any:
        return self.items[self.indices[place]]

    def __iter__(self) -> Iterator[Any]:
        items = self.items
        return (items[index] for index in self.indices)


def as_items(items: Any) -> Any:
    """Return items as something with `len` and `[i]`: a table as its rows, a lone path or dictionary as one item."""
    if hasattr(items, "iloc"):
        return Rows(items)
    if isinstance(items, str | bytes | dict):
        return L([items])
    return items if hasattr(items, "__getitem__") and hasattr(items, "__len__") else L(items)


def chosen_items(source: Any, indices: Sequence[int]) -> Any:
    """Return the items at these indices, a table's rows as a table; all of them are returned as they were given."""
    whole = isinstance(indices, range) and indices == range(len(source))
    if isinstance(source, Rows):
        return source.frame if whole else source.frame.iloc[list(indices)]
    return source if whole else L([source[index] for index in indices])


def checked_splits(splits: Sequence[Any], n_items: int) -> list[Sequence[int]]:
    """Return the halves as lists of positions.

    Raises:
        ArgumentError: a half is not a list of positions of the items.
    """
    halves: list[Sequence[int]] = []
    for half in splits:
        positions: list[Any] = listify(half.tolist() if hasattr(half, "tolist") else half)
        wrong = [p for p in positions if isinstance(p, bool | np.bool_) or not isinstance(p, int | np.integer)]
        if wrong:
            raise ArgumentError(
                f"A split is two lists of positions, such as ([0, 1, 2], [3]); among them came {wrong[0]!r} of type "
                f"{type(wrong[0]).__name__}. For a column or list of True and False use ColSplitter or MaskSplitter."
            )
        if positions and not -n_items <= min(positions) <= max(positions) < n_items:
            raise ArgumentError(
                f"The split names position {max(positions)}, but there are {n_items} items, counted from 0. Splits "
                "hold positions, not the index labels of a table (df.reset_index(drop=True) makes them equal)."
            )
        halves.append(positions)
    return halves


def _checks_targets(transform: Transform) -> bool:
    """Whether every target is to be encoded now; a wrapped method such as TensorPoint.create belongs to its class."""
    owner = getattr(transform.code, "__self__", None)
    return transform.checks_targets or bool(getattr(owner, "checks_targets", False))


def in_few_words(item: Any) -> str:
    """Return an item as words, cut where they are too many for an error."""
    words = str(item)
    return words if len(words) <= MAX_NAME else words[:MAX_NAME] + "..."


def _is_composite(items: Sequence[Any]) -> bool:
    return isinstance(items[0], tuple | dict) or is_row(items[0])


def is_row(item: Any) -> bool:
    """Return whether an item is a row of a data frame: a Series, or a named tuple of `itertuples`."""
    return hasattr(item, "iloc") or hasattr(item, "_fields")


def _are_rows(items: Sequence[Any], pipelines: Sequence[Pipeline]) -> bool:
    """Return whether items given to an export are read by its getters, rather than being raw values themselves."""
    getters = [transform for pipeline in pipelines for transform in pipeline if isinstance(transform, Getter)]
    if is_row(items[0]):
        return bool(getters)
    # a dictionary may be a row, or what a lost getter had made of one
    return isinstance(items[0], dict) and any(not isinstance(getter, LostGetter) for getter in getters)


def _picking(place: int, pipeline: Pipeline) -> Pipeline:
    picked = Pipeline()
    picked.transforms = [Pick(place), *pipeline.transforms]
    return picked


def columns_read(pipeline: Pipeline) -> list[str | int]:
    """Return the columns that a pipeline reads from a table's row, [] where something else gives its values."""
    first = pipeline[0] if len(pipeline) else None
    return first.code.cols if isinstance(first, Getter) and isinstance(first.code, ColReader) else []


def without_getters(pipeline: Pipeline) -> Pipeline:
    """Return the pipeline of values that are already what a getter would fetch."""
    rest = Pipeline()
    rest.transforms = [transform for transform in pipeline if not isinstance(transform, Getter)]
    return rest


def as_column(tfms: Any) -> Pipeline:
    """Return a column's pipeline, a list of functions and transforms in the order given."""
    if isinstance(tfms, Pipeline):
        return tfms
    column = Pipeline()
    functions: Iterable[Any] = tfms if isinstance(tfms, list | tuple) else [] if tfms is None else [tfms]
    for function in functions:
        column.transforms += Pipeline([function]).transforms
    return column


def n_outputs(kinds: Sequence[Kind], values: Sequence[Any]) -> int:
    """Return how many numbers a model must put out for targets of these kinds (0 when there are none).

    Classes for categories, one a number for numbers and points, the codes of a mask; none for what has another number
    of rows in each item, such as boxes.
    """
    total = 0
    for kind, value in zip(kinds, values, strict=False):
        names = getattr(kind, "vocab", None) or getattr(kind, "codes", None)
        numbers = 0 if kind.ragged else int(getattr(value, "numel", lambda: 1)())
        total += len(names) if names else numbers
    return total




def show_at(datasets: Datasets, place: int, **options: Any) -> Any:
    """Draw the sample of a data set at a place."""
    return datasets.show(datasets[place], **options)


def decode_at(datasets: Datasets, place: int) -> Any:
    """Return the decoded sample of a data set at a place."""
    return datasets.decode(datasets[place])
