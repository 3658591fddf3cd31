"""Widgets for a notebook: after reading it you know how pictures are relabelled and thrown out by clicking.

`from flambeau.vision.widgets import *` is what course notebooks import. Every widget is ipywidgets' own and is imported
when the first one is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from flambeau.foundation.errors import missing_dependency
from flambeau.foundation.lazy import LazyModule
from flambeau.foundation.lists import L
from flambeau.interpret.decisions import DELETE, KEEP, SPLITS, Decisions
from flambeau.vision.images import PILImage

if TYPE_CHECKING:
    from flambeau.train.learner import Learner

__all__ = [
    "Box", "Button", "Checkbox", "Dropdown", "FileUpload", "HBox", "ImageClassifierCleaner", "ImagesCleaner", "Label",
    "Layout", "Output", "VBox", "carousel", "widgets",
]  # fmt: skip


def _ipywidgets() -> Any:
    try:
        import ipywidgets
    except ImportError as error:
        raise missing_dependency("ipywidgets", "notebook", "A widget in a notebook") from error
    return ipywidgets


def Box(*children: Any, **options: Any) -> Any:
    """Return an `ipywidgets.Box`."""
    return _ipywidgets().Box(*children, **options)


def Button(**options: Any) -> Any:
    """Return an `ipywidgets.Button`."""
    return _ipywidgets().Button(**options)


def Checkbox(*value: Any, **options: Any) -> Any:
    """Return an `ipywidgets.Checkbox`."""
    return _ipywidgets().Checkbox(*value, **options)


def Dropdown(**options: Any) -> Any:
    """Return an `ipywidgets.Dropdown`."""
    return _ipywidgets().Dropdown(**options)


def HBox(*children: Any, **options: Any) -> Any:
    """Return an `ipywidgets.HBox`."""
    return _ipywidgets().HBox(*children, **options)


def Label(*value: Any, **options: Any) -> Any:
    """Return an `ipywidgets.Label`."""
    return _ipywidgets().Label(*value, **options)


def Layout(**options: Any) -> Any:
    """Return an `ipywidgets.Layout`."""
    return _ipywidgets().Layout(**options)


def Output(**options: Any) -> Any:
    """Return an `ipywidgets.Output`."""
    return _ipywidgets().Output(**options)


def VBox(*children: Any, **options: Any) -> Any:
    """Return an `ipywidgets.VBox`."""
    return _ipywidgets().VBox(*children, **options)


def FileUpload(**options: Any) -> Any:
    """Return an `ipywidgets.FileUpload` whose `data` holds the bytes of each uploaded file, as older versions did."""
    return _upload_class()(**options)


@cache
def _upload_class() -> Any:
    class FileUploadWithData(_ipywidgets().FileUpload):  # type: ignore[misc]
        @property
        def data(self) -> list[bytes]:
            """The bytes of each file."""
            return [bytes(file["content"]) for file in self.value]

    return FileUploadWithData


class _Widgets(LazyModule):
    """The module ipywidgets, imported when first used, with the `FileUpload` of this file."""

    FileUpload = staticmethod(FileUpload)

    def __getattr__(self, attribute: str) -> Any:
        if not attribute.startswith("_"):
            _ipywidgets()
        return super().__getattr__(attribute)


widgets: ModuleType = _Widgets("ipywidgets")


def carousel(children: Sequence[Any] = (), **layout: Any) -> Any:
    """Return a row of widgets that scrolls sideways."""
    box = Layout(**{"overflow": "scroll hidden", "flex_flow": "row", "display": "flex", "width": "100%", **layout})
    return Box(list(children), layout=box)


class ImagesCleaner:
    """A row of pictures with a choice below each: keep, delete, or one of `opts`."""

    def __init__(self, opts: Sequence[str] = (), height: int = 128, width: int = 256, max_n: int = 30) -> None:
        self.opts = [KEEP, DELETE, *map(str, opts)]
        self.height, self.width, self.max_n = height, width, max_n
        self.widget = carousel()
        self.fns: L[Any] = L()

    def set_fns(self, fns: Sequence[Any], choices: Sequence[str] | None = None) -> None:
        """Show the first `max_n` of these pictures, with the choices made earlier."""
        self.fns = L(list(fns)[: self.max_n])
        chosen = choices if choices is not None else [KEEP] * len(self.fns)
        self.widget.children = [self._card(item, choice) for item, choice in zip(self.fns, chosen, strict=False)]

    def _card(self, item: Any, choice: str) -> Any:
        picture = PILImage.create(item)
        picture.decode_near((self.width, self.height))
        thumb = PILImage.create(picture.to_thumb(self.height, self.width)).to_bytes_format("jpeg")
        dropdown = Dropdown(options=self.opts, value=choice, layout=Layout(width="max-content"))
        return VBox([_ipywidgets().Image(value=thumb), dropdown])

    def dropdowns(self) -> list[Any]:
        """Return the dropdown of each picture."""
        return [box.children[1] for box in self.widget.children]

    def values(self) -> L[str]:
        """Return the choice made for each picture."""
        return L(dropdown.value for dropdown in self.dropdowns())

    def delete(self) -> L[int]:
        """Return the places in `fns` of the pictures to delete."""
        return self.values().argwhere(lambda choice: choice == DELETE)

    def change(self) -> L[tuple[int, str]]:
        """Return the places in `fns` of the pictures to relabel, each with the new label."""
        return self.values().enumerate().filter(lambda pair: pair[1] not in (KEEP, DELETE))

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)


class ImageClassifierCleaner:
    """The pictures of each class and split, the largest loss first, to be kept, deleted or given another class.

    Choices are kept when class or split is switched. `delete()` and `change()` tell what was chosen in all of them, as
    places in `fns`; nothing happens to the files until you do it:

        for idx in cleaner.delete(): cleaner.fns[idx].unlink()
        for idx, category in cleaner.change(): shutil.move(str(cleaner.fns[idx]), path / category)
    """

    def __init__(self, learn: Learner, height: int = 128, width: int = 256, max_n: int = 30) -> None:
        self.decisions = Decisions.from_learner(learn)
        self.fns: L[Any] = L(one.item for one in self.decisions)
        vocab = self.decisions.vocab
        self.cleaner = ImagesCleaner(vocab, height, width, max_n)
        self.class_choice = Dropdown(options=vocab, value=vocab[0])
        self.split_choice = Dropdown(options=SPLITS, value=SPLITS[0])
        for dropdown in (self.class_choice, self.split_choice):
            dropdown.observe(self._show, "value")
        self.widget = VBox([self.class_choice, self.split_choice, self.cleaner.widget])
        self._show()

    def _show(self, event: Any = None) -> None:
        numbers = self.decisions.worst(self.class_choice.value, self.split_choice.value, self.cleaner.max_n)
        self.cleaner.set_fns([self.fns[number] for number in numbers], [self.decisions[number] for number in numbers])
        for number, dropdown in zip(numbers, self.cleaner.dropdowns(), strict=True):
            dropdown.observe(lambda change, number=number: self._decide(number, change["new"]), "value")

    def _decide(self, number: int, choice: str) -> None:
        self.decisions[number] = choice

    def delete(self) -> list[int]:
        """Return the places in `fns` of the pictures to delete."""
        return self.decisions.delete()

    def change(self) -> list[tuple[int, str]]:
        """Return (place in `fns`, new class) of the pictures to move."""
        return self.decisions.change()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)
