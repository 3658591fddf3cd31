"""From labels to numbers: after reading it you know how classes, many labels and plain numbers become targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.data.kinds import Category, Kind, MultiCategory, Number
from flambeau.data.labels import CategoryMap
from flambeau.data.pipeline import EncodedItems
from flambeau.data.transform import Transform
from flambeau.foundation.errors import DataError, EmptyError, LabelError, nearest

MOST_LETTERS = 200
"""How much of a label an error quotes."""


class Categorize(Transform):
    """Turn a label into its index in the vocabulary (sorted distinct labels of the training items).

    Raises:
        LabelError: an item has no label, or one that the vocabulary lacks; a label or class is a tuple.
    """

    order = 1
    checks_targets = True

    def __init__(self, vocab: Iterable[Any] | None = None, sort: bool = True, add_na: bool = False) -> None:
        super().__init__()
        vocab = vocab if vocab is None or hasattr(vocab, "cat") else [one_value(label, "A class") for label in vocab]
        self.sort, self.add_na, self.is_given = sort, add_na, vocab is not None
        self.vocab: CategoryMap | None = None if vocab is None else CategoryMap(vocab, sort=sort, add_na=add_na)

    def setups(self, items: Any) -> None:
        if self.vocab is None and items is not None:
            labels = [label if self.add_na else checked_label(label, place, items) for place, label in enumerate(items)]
            for place, label in enumerate(labels):
                one_value(label, f"The label of {_where(place, items)}")
            if not labels:
                raise EmptyError("No training items to collect classes from: the training half of the split is empty.")
            self.vocab = CategoryMap(labels, sort=self.sort, add_na=self.add_na)

    @property
    def kind(self) -> Kind | None:
        return Category(tuple(self.vocab)) if self.vocab is not None else None

    def encodes(self, x: Any) -> int:
        return index_of(x, self.vocab, self.is_given)

    def decodes(self, x: Any) -> Any:
        assert self.vocab is not None
        return self.vocab[int(x)]

    def settings(self) -> dict[str, Any]:
        return {"vocab": given_classes(self.vocab), "sort": False, "add_na": self.add_na}


def given_classes(vocab: CategoryMap | None) -> list[Any]:
    """Return the classes that make a vocabulary again, without the "#na#" that it adds itself."""
    return [] if vocab is None else list(vocab)[1:] if vocab.add_na else list(vocab)


def is_missing(label: Any) -> bool:
    """Return whether a label is None or one of the signs for an empty cell (NaN, NaT, NA)."""
    if type(label) is str:
        return False
    if label is None or type(label).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(label, float | np.floating) and bool(label != label)


def checked_label(label: Any, place: int, items: Any) -> Any:
    """Return the label, or raise a LabelError that names the item when it is None or NaN."""
    if is_missing(label):
        came = "None" if label is None else f"{label} (an empty cell)"
        raise LabelError(
            f"The label of {_where(place, items)} is {came}. Every item needs a label: mend the label function or "
            "table, or leave the item out of get_items."
        )
    return label


def one_value(label: Any, what: str) -> Any:
    """Return the label, or raise a LabelError when it is a tuple: transforms would take that apart."""
    if isinstance(label, tuple):
        raise LabelError(
            f"{what} is the tuple {label!r}, and a class is one value. For several labels an item use "
            f"MultiCategoryBlock; for one class made of parts join them, such as {' '.join(map(str, label))!r}."
        )
    return label


def _where(place: int, items: Any) -> str:
    return items.name(place) if isinstance(items, EncodedItems) else f"item {place}"


def index_of(label: Any, vocab: CategoryMap | None, is_given: bool = False) -> int:
    """Return the index of a label, or raise a LabelError that proposes the nearest class.

    `is_given` says that the vocabulary was given and not learnt from the training items.
    """
    if vocab is None:
        raise LabelError("Categorize has no vocabulary yet: give vocab=[...], or let a data set learn it.")
    index = _find(label, vocab)
    if index is not None:
        return index
    if vocab.add_na:
        return 0
    shown = ", ".join(repr(known) for known in list(vocab)[:10]) + (", ..." if len(vocab) > 10 else "")
    close = nearest(str(label), [str(known) for known in vocab], n=1)
    known = f"{len(vocab)} classes {'of the vocabulary' if is_given else 'seen in training'}"
    advice = (
        "Mend the label, or add it to vocab=[...]."
        if is_given
        else "Put items of this class into the training half, or pass the whole vocabulary: CategoryBlock(vocab=[...])."
    )
    if isinstance(label, int | float | np.number) and not isinstance(label, bool):
        advice += " If the labels are measured numbers and no classes, use RegressionBlock (y_block=RegressionBlock)."
    raise LabelError(
        f"The label {label!r} is not among the {known} ({shown})."
        f"{f' Did you mean {close[0]!r}?' if close else ''} {advice}"
    )


def _find(label: Any, vocab: CategoryMap) -> int | None:
    try:
        index = vocab.o2i.get(label)
        # a label may come as a scalar of numpy or torch, the vocabulary holds Python's
        return vocab.o2i.get(label.item()) if index is None and hasattr(label, "item") else index
    except (TypeError, ValueError, RuntimeError):  # not hashable, or not one value
        return None


class MultiCategorize(Transform):
    """Turn a list of labels into a tensor of their indices."""

    order = 1
    checks_targets = True

    def __init__(self, vocab: Iterable[Any] | None = None, add_na: bool = False) -> None:
        super().__init__()
        self.add_na, self.is_given = add_na, vocab is not None
        self.vocab: CategoryMap | None = None if vocab is None else CategoryMap(vocab, sort=False, add_na=add_na)

    def setups(self, items: Any) -> None:
        if self.vocab is None and items is not None:
            labels = {
                label for place, found in enumerate(items) for label in _label_list(checked_label(found, place, items))
            }
            if not labels:
                raise LabelError(
                    "No item of the training half has a label. Many labels come as a list an item, or as a string with "
                    "ColReader(..., label_delim=' ')."
                )
            self.vocab = CategoryMap(labels, add_na=self.add_na)

    @property
    def kind(self) -> Kind | None:
        return MultiCategory(tuple(self.vocab)) if self.vocab is not None else None

    def encodes(self, x: Any) -> Tensor:
        return torch.tensor([index_of(label, self.vocab, self.is_given) for label in _label_list(x)], dtype=torch.int64)

    def decodes(self, x: Any) -> list[Any]:
        assert self.vocab is not None
        return [self.vocab[int(index)] for index in x]

    def settings(self) -> dict[str, Any]:
        return {"vocab": given_classes(self.vocab), "add_na": self.add_na}


def _label_list(labels: Any) -> Sequence[Any]:
    if isinstance(labels, str):
        raise LabelError(
            f"Many labels were expected as a list, but one string came: {labels!r}. Give a list (['a', 'b']), or let "
            "ColReader split it: ColReader('labels', label_delim=' ')."
        )
    if not isinstance(labels, Iterable):
        raise LabelError(f"Many labels were expected as a list, but {labels!r} came.")
    return list(labels)


class OneHotEncode(Transform):
    """Turn a tensor of indices into zeros and ones, one place a class; taught the number of classes by the data."""

    order = 2

    def __init__(self, c: int | None = None) -> None:
        super().__init__()
        self.c = c

    def setups(self, items: Any) -> None:
        if self.c is None and isinstance(items, EncodedItems):
            vocabs = [len(kind.vocab) for kind in map(_kind, items.transforms) if isinstance(kind, MultiCategory)]
            self.c = vocabs[-1] if vocabs else None
        if self.c is None:
            raise LabelError("OneHotEncode needs the number of classes: OneHotEncode(c=...), or MultiCategorize first.")

    def encodes(self, x: Tensor) -> Tensor:
        assert self.c is not None
        hot = torch.zeros(self.c)
        hot[x] = 1.0
        return hot

    def decodes(self, x: Tensor) -> Tensor:
        return torch.nonzero(torch.as_tensor(x) > 0.5).reshape(-1)

    def settings(self) -> dict[str, Any]:
        return {"c": self.c}


def _kind(transform: Transform) -> Kind | None:
    return transform.kind


class EncodedMultiCategorize(Transform):
    """Take labels that are already zeros and ones, one place a class of `vocab`."""

    order = 1

    def __init__(self, vocab: Sequence[Any]) -> None:
        super().__init__()
        self.vocab = CategoryMap(vocab, sort=False)

    @property
    def kind(self) -> Kind | None:
        return MultiCategory(tuple(self.vocab))

    def encodes(self, x: Any) -> Tensor:
        try:
            hot = torch.as_tensor(list(x) if not isinstance(x, Tensor) else x, dtype=torch.float32)
        except (TypeError, ValueError) as error:
            raise LabelError(f"Expected {len(self.vocab)} zeros and ones, one a class, got {x!r}.") from error
        if hot.shape != (len(self.vocab),):
            raise LabelError(f"Expected {len(self.vocab)} zeros and ones, one a class, got {tuple(hot.shape)}: {x!r}.")
        return hot

    def decodes(self, x: Any) -> list[Any]:
        return [label for label, on in zip(self.vocab, x, strict=True) if on > 0.5]

    def settings(self) -> dict[str, Any]:
        return {"vocab": list(self.vocab)}


class RegressionSetup(Transform):
    """Turn one number, or a list of numbers, into a float tensor () or (n,)."""

    order = 1
    checks_targets = True

    def __init__(self, c: int | None = None) -> None:
        super().__init__()
        self.c = c

    def setups(self, items: Any) -> None:
        if self.c is None and items is not None and len(items):
            first = checked_label(items[0], 0, items)
            self.c = 1 if isinstance(first, str) else int(np.size(first))

    @property
    def kind(self) -> Kind | None:
        return Number(self.c) if self.c else None

    def encodes(self, x: Any) -> Tensor:
        try:
            single = isinstance(x, str | int | float)
            numbers = torch.tensor(float(x)) if single else torch.as_tensor(x, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise LabelError(f"A number was expected as target, got {x!r} of type {type(x).__name__}.") from error
        if not torch.isfinite(numbers).all():
            raise LabelError(f"A finite number was expected as target, got {x!r}. Drop or fill such items first.")
        if self.c is not None and numbers.numel() != self.c:
            raise LabelError(f"Expected {self.c} numbers as target, as at first, got {numbers.numel()}: {x!r}.")
        return numbers

    def decodes(self, x: Any) -> Any:
        return x.tolist() if isinstance(x, Tensor) else x

    def settings(self) -> dict[str, Any]:
        return {"c": self.c}


def check_labels(
    encode: Callable[[Any], Any], labels: EncodedItems, half: str, accepts_missing: bool = False, in_all: str = ""
) -> Counter[int]:
    """Encode every label of a half now, so that an unusable one is reported before the training, all of them at once.

    Returns how often each class occurs (nothing for targets that are no classes). `in_all` is put behind the number
    of items with an unusable label.

    Raises:
        LabelError: labels of this half are not in the vocabulary, or no target can be made of them.
    """
    found: Counter[int] = Counter()
    unknown: Counter[str] = Counter()
    where: dict[str, str] = {}
    first: DataError | None = None
    for place, label in enumerate(labels):
        try:
            found.update(_classes(encode(label if accepts_missing else checked_label(label, place, labels))))
        except DataError as error:
            words = repr(label) if len(repr(label)) <= MOST_LETTERS else repr(label)[:MOST_LETTERS] + "..."
            unknown[words] += 1
            where.setdefault(words, labels.name(place))
            first = first or error
    if first is None:
        return found
    counted = ", ".join(
        f"{label} ({_items(count)}{in_all}, first {where[label]})" for label, count in unknown.most_common(5)
    )
    others = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    raise LabelError(f"{_items(unknown.total())} of the {half} half with unusable labels: {counted}{others}. {first}")


def _classes(encoded: Any) -> list[int]:
    """Return the classes of an encoded target."""
    if isinstance(encoded, Tensor):
        return sorted(set(encoded.tolist())) if encoded.dtype == torch.int64 and encoded.ndim == 1 else []
    return [encoded] if isinstance(encoded, int) else []


def tell_unvalidated(vocab: Sequence[Any], training: Counter[int], validation: Counter[int]) -> None:
    """Print which classes have training items but no validation item: their errors will be in no number."""
    lost = [number for number in sorted(training) if not validation[number]]
    if not lost:
        return
    some = ", ".join(f"{vocab[number]} ({_items(training[number])}, in training)" for number in lost[:5])
    more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
    print(
        f"{len(lost)} of {len(vocab)} classes without any validation item: {some}{more}. Nothing will tell how well "
        "such a class is learnt; find more items, or split with TrainTestSplitter(stratify=...)."
    )


def _items(n: int) -> str:
    return "1 item" if n == 1 else f"{n} items"


def require_two_classes(kind: Kind, n_items: int) -> None:
    """Raise a DataError when a classification has fewer than two classes."""
    if isinstance(kind, Category) and len(kind.vocab) < 2:
        raise DataError(
            f"All {n_items} training items have one class, {kind.vocab[0] if kind.vocab else None!r}; a classifier "
            "needs at least two. Check the label function, and that the folders are one a class."
        )
