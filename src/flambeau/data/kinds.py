"""What a column is: after reading it you know how a tensor remembers that it is a picture, a mask or a label.

At item level a value's Python class says its kind (`PILImage.kind` is a `Picture`). Collating keeps plain tensors and
records the kinds on the `Batch`, so that models, losses and metrics see nothing but `torch.Tensor`, and transforms and
plots still know what they look at.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from flambeau.foundation.errors import ShapeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


MOST_LETTERS = 300
"""How much of a document a table of samples shows."""


@dataclass(frozen=True)
class Kind(ABC):
    """What the values of one column mean: how they read as text and how they are drawn."""

    draws: ClassVar[bool] = False
    """Whether `show` draws on axes of its own (a picture) rather than in a title or table cell."""

    overlays: ClassVar[bool] = False
    """Whether `show` draws over the picture of another column."""

    ragged: ClassVar[bool] = False
    """Whether items differ in their number of rows; a batch fills the shorter ones up, with `pad_id` or zeros."""

    told_by_column: ClassVar[bool] = False
    """Whether an export leaves out what is large (a vocabulary), because the column's transforms tell it again."""

    column_name: ClassVar[str | None] = None
    """What a table of samples calls a column of documents; None for kinds whose column has no name of its own."""

    @abstractmethod
    def text(self, value: Any) -> str:
        """Return `value` as words for a title or a table cell."""

    def whole_text(self, value: Any) -> str:
        """Return `value` as words, however many they are."""
        return self.text(value)

    def decoded(self, value: Any) -> Any:
        """Return `value` as a person would write it (a label instead of its index)."""
        return value

    def cells(self, value: Any) -> dict[str, str] | None:
        """Return `value` as several cells of a table by their column, or None where it is one cell."""
        return None

    def to_pixels(self, value: Any, size: tuple[float, float] | None) -> Any:
        """Return places on a picture of `size` (width, height) in its pixels; other values stay as they are."""
        return value

    def show(self, value: Any, ax: Axes | None = None, title: str | None = None, **options: Any) -> Axes:
        """Draw `value`; kinds without a picture of their own add their text to the title."""
        ax = ax if ax is not None else _new_axes()
        ax.set_title("\n".join(part for part in (ax.get_title(), title, self.text(value)) if part))
        return ax

    def settings(self) -> dict[str, Any]:
        """Return what is needed to build this kind again, as plain JSON values."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _new_axes() -> Axes:
    import matplotlib.pyplot as plt

    return plt.subplots()[1]


@dataclass(frozen=True)
class Picture(Kind):
    """A picture: a tensor (channel, height, width), uint8 in 0..255 or float in 0..1."""

    draws: ClassVar[bool] = True
    resample: ClassVar[str] = "bilinear"

    def text(self, value: Any) -> str:
        return "picture " + "x".join(str(side) for side in getattr(value, "shape", ()))

    def show(self, value: Any, ax: Axes | None = None, title: str | None = None, **options: Any) -> Axes:
        from flambeau.foundation.plotting import show_image

        if isinstance(value, Tensor) and value.is_floating_point():
            value = value.detach().float().clamp(0, 1)
        return show_image(value, ax=ax, title=title, **options)


@dataclass(frozen=True)
class Mask(Kind):
    """A class index for each pixel: an integer tensor (height, width); `codes` names the classes."""

    codes: tuple[str, ...] = ()
    draws: ClassVar[bool] = True
    resample: ClassVar[str] = "nearest"

    def text(self, value: Any) -> str:
        return "mask"

    def show(self, value: Any, ax: Axes | None = None, title: str | None = None, **options: Any) -> Axes:
        from flambeau.foundation.plotting import show_image

        options = {"cmap": "tab20", "alpha": 0.5, "vmin": 0, "vmax": max(len(self.codes) - 1, 1), **options}
        return show_image(value, ax=ax, title=title, **options)


@dataclass(frozen=True)
class Places(Kind):
    """Places on a picture: a float tensor whose rows are x and y in turn, in -1..1 over the picture's width and height.

    From edge to edge: -1 is the left or upper edge of the first pixel, 1 the right or lower edge of the last.
    """

    overlays: ClassVar[bool] = True

    def to_pixels(self, value: Any, size: tuple[float, float] | None) -> Any:
        if size is None or not isinstance(value, Tensor):
            return value
        return (value + 1) / 2 * value.new_tensor(size).repeat(value.shape[-1] // 2)


@dataclass(frozen=True)
class Points(Places):
    """Points on a picture: a float tensor (n, 2) of x, y, each in -1..1 over the picture's width and height."""

    def decoded(self, value: Any) -> Any:
        """Return `value` as rows (n, 2) of x, y."""
        return value.reshape(-1, 2) if isinstance(value, Tensor) and value.numel() % 2 == 0 else value

    def text(self, value: Any) -> str:
        return " ".join(f"({x:.2f}, {y:.2f})" for x, y in torch.as_tensor(value).reshape(-1, 2).tolist())

    def show(self, value: Any, ax: Axes | None = None, title: str | None = None, **options: Any) -> Axes:
        ax = ax if ax is not None else _new_axes()
        points = torch.as_tensor(value).detach().float().cpu().reshape(-1, 2)
        width, height = drawn_size(ax)
        keep_view(ax)
        options = {"s": 16, "c": "red", **options}
        ax.scatter((points[:, 0] + 1) / 2 * width - 0.5, (points[:, 1] + 1) / 2 * height - 0.5, **options)
        if title:
            ax.set_title(title)
        return ax


def keep_view(ax: Axes) -> None:
    """Let axes that hold a picture show it and no more, whatever is drawn over it."""
    if ax.images:
        ax.autoscale(False)


def drawn_size(ax: Axes) -> tuple[float, float]:
    """Return the (width, height) of the picture that axes hold, 2 x 2 where they hold none."""
    if ax.images:
        height, width = ax.images[0].get_array().shape[:2]  # type: ignore[union-attr]
        return width, height
    return 2.0, 2.0


@dataclass(frozen=True)
class Category(Kind):
    """One class of a vocabulary: an integer tensor holding its index."""

    vocab: tuple[Any, ...] = ()

    def decoded(self, value: Any) -> Any:
        if not 0 <= int(value) < len(self.vocab):
            raise ShapeError(
                f"The answer is class number {int(value)}, but there are only {len(self.vocab)} classes, numbered from "
                "0: the model gives more numbers than there are classes."
            )
        return self.vocab[int(value)]

    def text(self, value: Any) -> str:
        return str(self.decoded(value))


@dataclass(frozen=True)
class MultiCategory(Kind):
    """Any number of classes of a vocabulary: a float tensor of zeros and ones, one place a class."""

    vocab: tuple[Any, ...] = ()

    def decoded(self, value: Any) -> list[Any]:
        if len(value) != len(self.vocab):
            raise ShapeError(f"The answer has {len(value)} numbers, but there are {len(self.vocab)} classes.")
        return [label for label, on in zip(self.vocab, torch.as_tensor(value).tolist(), strict=True) if on > 0.5]

    def text(self, value: Any) -> str:
        return ";".join(str(label) for label in self.decoded(value))


@dataclass(frozen=True)
class Number(Kind):
    """One or more numbers: a float tensor () or (n,)."""

    n: int = 1

    def decoded(self, value: Any) -> Any:
        numbers = torch.as_tensor(value)
        return numbers.item() if numbers.numel() == 1 else numbers.tolist()

    def text(self, value: Any) -> str:
        return ", ".join(f"{number:.4g}" for number in torch.as_tensor(value).reshape(-1).tolist())


@dataclass(frozen=True)
class Text(Kind):
    """A string, shown as it is."""

    def text(self, value: Any) -> str:
        return str(value)


@dataclass(frozen=True)
class Tokens(Kind):
    """A document: an integer tensor (time,) of the numbers of its words, filled up with `pad_id` in a batch."""

    vocab: tuple[str, ...] = ()
    pad_id: int = 1
    backwards: bool = False
    joiner: str = " "
    ragged: ClassVar[bool] = True
    told_by_column: ClassVar[bool] = True
    column_name: ClassVar[str | None] = "text"

    def decoded(self, value: Any) -> Any:
        """Return the document's words, joined; where the vocabulary is unknown, its numbers."""
        if isinstance(value, str):  # its column decoded it already
            return value
        ids = [number for number in torch.as_tensor(value).reshape(-1).tolist() if number != self.pad_id]
        if not self.vocab:
            return ids
        return joined_tokens((self.vocab[number] for number in ids if 0 <= number < len(self.vocab)), self.joiner)

    def text(self, value: Any) -> str:
        return in_short(self.whole_text(value))

    def whole_text(self, value: Any) -> str:
        return str(self.decoded(value))

    def settings(self) -> dict[str, Any]:
        return {"pad_id": self.pad_id, "backwards": self.backwards, "joiner": self.joiner}


def joined_tokens(tokens: Iterable[str], joiner: str = " ") -> str:
    """Return tokens as a text; without a joiner they are subwords, which mark the blank before them by "▁"."""
    text = joiner.join(map(str, tokens))
    return text if joiner else text.replace("▁", " ").strip()


def in_short(words: str, most: int = MOST_LETTERS) -> str:
    """Return words for a table's cell, cut where they are many."""
    return words if len(words) <= most else words[:most].rstrip() + " ..."


@dataclass(frozen=True)
class Plain(Kind):
    """Anything that nobody described: a tensor or a Python value without a meaning known to flambeau."""

    def text(self, value: Any) -> str:
        shape = getattr(value, "shape", None)
        return str(value) if shape is None or len(shape) == 0 else f"tensor {tuple(shape)}"


def kind_of(value: Any) -> Kind:
    """Return the kind that a value's own class tells: `value.kind` where it has one, else by its Python type."""
    kind = getattr(value, "kind", None)
    if isinstance(kind, Kind):
        return kind
    if isinstance(value, bool | np.bool_):
        return Category((False, True))
    if isinstance(value, int | float | np.number):
        return Number()
    return Text() if isinstance(value, str) else Plain()
