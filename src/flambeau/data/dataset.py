"""Data sets: after reading it you know how items become samples, one pipeline a column, split into training and validation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flambeau.data.categorize import Categorize, MultiCategorize, check_labels, require_two_classes
from flambeau.data.kinds import Kind, kind_of
from flambeau.data.pipeline import EncodedItems, Pipeline
from flambeau.data.transform import ItemTransform
from flambeau.foundation.errors import ArgumentError, DataError, EmptyError, FlambeauError, LabelError
from flambeau.foundation.lists import L

if TYPE_CHECKING:
    from flambeau.data.data_loaders import DataLoaders

MAX_NAME = 200


class Datasets:
    """Items seen through one pipeline a column: `dsets[i]` is the tuple of their values.

    `tfms` is a list of columns, each a list of transforms or functions; the last columns (all but `n_inp`) are targets.
    `splits` are the indices of the halves: `.train`, `.valid`, `.subset(k)` see them. Pipelines learn (a vocabulary)
    from the training half only.

    Raises:
        EmptyError: there are no items, or none in the training half.
        LabelError: a label is missing, or a validation label does not occur in training.
    """

    def __init__(
        self,
        items: Any,
        tfms: Sequence[Any] | None = None,
        splits: Sequence[Sequence[int]] | None = None,
        n_inp: int | None = None,
        *,
        do_setup: bool = True,
    ) -> None:
        self.items = Rows(items) if hasattr(items, "iloc") else items
        if not hasattr(self.items, "__getitem__") or isinstance(self.items, str | dict):
            self.items = L(items)
        if len(self.items) == 0:
            raise EmptyError("There are no items to make a data set of: the list, folder or table is empty.")
        columns = tfms if tfms is not None else [None]
        self.pipelines = [as_column(column) for column in columns]
        self.n_inp = n_inp if n_inp is not None else max(len(self.pipelines) - 1, 1)
        self.splits = [list(split) for split in splits] if splits is not None else [range(len(self.items)), []]
        self.split_idx: int | None = None
        self.indices: Sequence[int] = range(len(self.items))
        self._kinds: list[Kind] | None = None
        self._c: int | None = None
        if do_setup:
            self._setup()

    @classmethod
    def template(cls, pipelines: Sequence[Pipeline], kinds: Sequence[Kind], n_inp: int, c: int) -> Datasets:
        """Return a data set without items, only to make others from (`with_items`): what an export gives back."""
        made = object.__new__(Datasets)
        made.items, made.indices, made.splits, made.split_idx = [], [], [[], []], 1
        made.pipelines, made.n_inp = list(pipelines), n_inp
        made._kinds, made._c = list(kinds), c
        return made

    @property
    def is_template(self) -> bool:
        """Whether this data set has no items on purpose."""
        return self._c is not None and len(self.items) == 0

    def _setup(self) -> None:
        if not len(self.splits[0]):
            raise EmptyError(
                f"The training half of the split is empty ({len(self.items)} items in all). Check the splitter."
            )
        train = SubsetItems(self.items, self.splits[0])
        for place, pipeline in enumerate(self.pipelines):
            pipeline.setup(train, lambda at: self.item_name(self.splits[0][at]))
            if place >= self.n_inp:
                self._check_targets(pipeline)

    def _check_targets(self, pipeline: Pipeline) -> None:
        for place, transform in enumerate(pipeline.transforms):
            if not isinstance(transform, Categorize | MultiCategorize):
                continue
            if transform.kind is not None:
                require_two_classes(transform.kind, len(self.splits[0]))
            for half, split in zip(("training", "validation"), self.splits[:2], strict=False):
                labels = EncodedItems(
                    SubsetItems(self.items, split),
                    pipeline.transforms[:place],
                    lambda at, split=split: self.item_name(split[at]),  # type: ignore[misc]
                )
                check_labels(transform.encodes, labels, half)

    # the halves

    def subset(self, half: int) -> Datasets:
        """Return the data set of one half: 0 training, 1 validation."""
        return self._view(self.splits[half], half)

    def _view(self, indices: Sequence[int], split_idx: int | None) -> Datasets:
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view.indices, view.split_idx = indices, split_idx
        view.splits = [range(len(indices)), []]
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

    # the samples

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: Any) -> Any:
        if not isinstance(place, int):
            places = range(len(self))[place] if isinstance(place, slice) else [int(at) for at in place]
            return L(self[at] for at in places)
        index = self.indices[place]
        item = self.items[index]
        try:
            return tuple([pipeline(item) for pipeline in self.pipelines])
        except FlambeauError:
            raise
        except Exception as error:
            raise DataError(
                f"Reading {self.item_name(index)} failed: {type(error).__name__}: {error}. "
                "Look at the functions given as get_x, get_y or transforms."
            ) from error

    def __iter__(self) -> Iterator[Any]:
        return (self[place] for place in range(len(self)))

    def item_name(self, index: int) -> str:
        """Return words that tell a person which item this is."""
        if isinstance(self.items, Rows):
            return f"row {self.items.label(index)} of the table"
        words = str(self.items[index])
        return words if len(words) <= MAX_NAME else words[:MAX_NAME] + "..."

    def name(self, place: int) -> str:
        """Return words for the item at a place of this half."""
        return self.item_name(self.indices[place])

    @property
    def kinds(self) -> list[Kind]:
        """The kind of each column, as the first sample tells."""
        if self._kinds is None:
            sample = self[0]
            values = sample if isinstance(sample, tuple) else (sample,)
            self._kinds = [self._kind(place, value) for place, value in enumerate(values)]
        return self._kinds

    def _kind(self, place: int, value: Any) -> Kind:
        return self.pipelines[place].kind(value)

    @property
    def vocab(self) -> Any:
        """The vocabulary of the targets (a list of them when several columns have one)."""
        found = [t.vocab for p in reversed(self.pipelines) for t in p if getattr(t, "vocab", None) is not None]
        if not found:
            raise ArgumentError("These data have no vocabulary: no column is a category.")
        return found[0] if len(found) == 1 else L(reversed(found))

    @property
    def c(self) -> int:
        """The number of outputs that the targets ask for."""
        if self._c is None:
            self._c = n_outputs(self.kinds[self.n_inp :], self[0][self.n_inp :])
        return self._c

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
        other.items = Rows(items) if hasattr(items, "iloc") else items if hasattr(items, "__getitem__") else L(items)
        if len(other.items) == 0:
            raise EmptyError("There are no items to predict: the list, folder or table is empty.")
        other.pipelines = self.pipelines[:n_columns] if n_columns else self.pipelines
        if self.is_template and len(other.pipelines) > self.n_inp:
            # labelled items for an export, which has no getters: each is a tuple of one raw value a column
            other.pipelines = [_picking(place, pipeline) for place, pipeline in enumerate(other.pipelines)]
        elif len(self.items) and _is_composite(self.items) and not _is_composite(other.items):
            # a table's row has a get_x, but a file given to predict is the input itself
            other.pipelines = [without_getters(pipeline) for pipeline in other.pipelines]
        other.indices, other.split_idx = range(len(other.items)), 1
        other.splits = [[], range(len(other.items))]
        return other

    def with_values_read(self) -> Datasets:
        """Return the same data with each column's getter already called on every item.

        What is left is free of the user's functions (lambdas of a notebook), so that worker processes can be started
        by any method.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        columns, pipelines = [], []
        for pipeline in self.pipelines:
            getters = [t for t in pipeline.transforms if isinstance(t, Getter)]
            values = [EncodedItems(self.items, getters)[index] for index in self.indices]
            columns.append(values)
            pipelines.append(_picking(len(columns) - 1, without_getters(pipeline)))
        other.items = list(zip(*columns, strict=True))
        other.pipelines, other.indices = pipelines, range(len(self.indices))
        return other

    def dataloaders(self, bs: int = 64, **options: Any) -> DataLoaders:
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

    def _kind(self, place: int, value: Any) -> Kind:
        return self.pipelines[0].kind(value) if place == 0 and self.n_inp == 1 else kind_of(value)

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return found[0] if isinstance(place, int) else L(sample for sample in found)

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

    def __call__(self, x: Any, split_idx: int | None = None) -> Any:
        try:
            return self.encodes(x)
        except FlambeauError:
            raise
        except Exception as error:
            words = str(x)
            words = words if len(words) <= MAX_NAME else words[:MAX_NAME] + "..."
            raise LabelError(
                f"The function {self.name!r} (given as {self.role}) raised {type(error).__name__}: {error} on the item "
                f"{words}. It must take one item and return its value."
            ) from error


class Pick(ItemTransform):
    """Take one place of an item that is a tuple of values."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place

    def encodes(self, x: Any) -> Any:
        return x[self.place]

    def decodes(self, x: Any) -> Any:
        return x


class Rows(Sequence[Any]):
    """A data frame as a sequence of its rows (each a Series)."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame.to_pandas() if hasattr(frame, "to_pandas") else frame

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, place: Any) -> Any:
        return self.frame.iloc[place]

    def label(self, place: int) -> Any:
        """Return the data frame's own name of a row."""
        return self.frame.index[place]


class SubsetItems(Sequence[Any]):
    """Some of the items, without copying them."""

    def __init__(self, items: Sequence[Any], indices: Sequence[int]) -> None:
        self.items, self.indices = items, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: Any) -> Any:
        return self.items[self.indices[place]]


def _is_composite(items: Sequence[Any]) -> bool:
    return isinstance(items, Rows) or isinstance(items[0], tuple | dict)


def _picking(place: int, pipeline: Pipeline) -> Pipeline:
    picked = Pipeline()
    picked.transforms = [Pick(place), *pipeline.transforms]
    return picked


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

    Classes for categories, one a number for numbers and points, the codes of a mask.
    """
    total = 0
    for kind, value in zip(kinds, values, strict=False):
        names = getattr(kind, "vocab", None) or getattr(kind, "codes", None)
        total += len(names) if names else int(getattr(value, "numel", lambda: 1)())
    return total


