"""Boxes on pictures: after reading it you know how the columns of object detection are kept, filled up and drawn.

A sample holds a picture, its boxes (n, 4) and their labels (n,). Pictures have different numbers of boxes, so a batch
fills up with boxes of zeros and label 0, which is "#na#": the background.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.data.categorize import MultiCategorize
from flambeau.data.kinds import Kind, Places, drawn_size, keep_view
from flambeau.data.labels import NA_LABEL
from flambeau.data.transform import Transform
from flambeau.foundation.errors import DataError, LabelError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOUR = "red"


@dataclass(frozen=True)
class Boxes(Places):
    """Boxes on a picture: floats (n, 4) of left, top, right, bottom in -1..1; boxes of zeros only fill up a batch."""

    ragged: ClassVar[bool] = True

    def to_pixels(self, value: Any, size: tuple[float, float] | None) -> Any:
        pixels = super().to_pixels(value, size)
        return pixels.masked_fill((value == 0).all(-1, keepdim=True), 0) if isinstance(value, Tensor) else pixels

    def text(self, value: Any) -> str:
        n = int((torch.as_tensor(value).reshape(-1, 4) != 0).any(1).sum())
        return f"{n} box" if n == 1 else f"{n} boxes"

    def show(self, value: Any, ax: Axes | None = None, title: str | None = None, **options: Any) -> Axes:
        import matplotlib.pyplot as plt
        from matplotlib.patches import Rectangle

        ax = ax if ax is not None else plt.subplots()[1]
        boxes = torch.as_tensor(value).detach().float().cpu().reshape(-1, 4)
        keep_view(ax)
        options = {"edgecolor": COLOUR, "linewidth": 2, "fill": False, **options}
        for (left, top, right, bottom), seen in zip(
            (self.to_pixels(boxes, drawn_size(ax)) - 0.5).tolist(), (boxes != 0).any(1).tolist(), strict=True
        ):
            # a patch for what only fills up too, so that labels find their boxes by place
            ax.add_patch(Rectangle((left, top), right - left, bottom - top, visible=seen, **options))
        if title:
            ax.set_title(title)
        return ax


@dataclass(frozen=True)
class BoxLabels(Kind):
    """The classes of a picture's boxes: indices (n,) into `vocab`, where "#na#" is the background that fills up."""

    vocab: tuple[Any, ...] = ()
    overlays: ClassVar[bool] = True
    ragged: ClassVar[bool] = True

    def decoded(self, value: Any) -> list[Any]:
        """Return the name of each box's class, "#na#" for filling; of scores (n, classes) the largest one counts."""
        numbers = torch.as_tensor(value)
        return [self.vocab[number] for number in (numbers.argmax(-1) if numbers.ndim == 2 else numbers).tolist()]

    def text(self, value: Any) -> str:
        return ";".join(str(name) for name in self.decoded(value) if name != NA_LABEL)

    def show(self, value: Any, ax: Axes | None = None, title: str | None = None, **options: Any) -> Axes:
        """Write the names at the boxes that were drawn last on the axes, or into the title where there are none."""
        names = self.decoded(value)
        if ax is None or len(ax.patches) < len(names):
            return super().show(value, ax, title, **options)
        frame = {"boxstyle": "square,pad=0.1", "color": COLOUR}
        options = {"color": "white", "fontsize": 7, "va": "top", "bbox": frame, "clip_on": True, **options}
        for name, box in zip(names, ax.patches[len(ax.patches) - len(names) :], strict=True):
            if box.get_visible():
                left, top = box.get_xy()  # type: ignore[attr-defined]
                ax.text(left, top, str(name), **options)
        return ax


class BoxCategorize(MultiCategorize):
    """Turn the list of a picture's labels, one a box, into a tensor of their indices."""

    @property
    def kind(self) -> Kind | None:
        return BoxLabels(tuple(self.vocab)) if self.vocab is not None else None


class KeepBoxesInView(Transform):
    """Cut a batch's boxes at the edges of their picture; those that left it, and their labels, become filling.

    Works on boxes (batch, n, 4) and labels (batch, n) after all changes of place. Filling goes behind what is seen.
    """

    order = 40
    needs_batch = True
    kinds = (Boxes,)

    def on_batch(self, batch: Batch, chances: Any, training: bool) -> Batch:
        boxes = _first(Boxes, batch.columns, batch.all_kinds)
        if boxes is None:
            return batch
        cut = boxes.clamp(-1, 1)
        lost = (cut[..., 2:] <= cut[..., :2]).any(-1)  # batch n
        order = lost.int().argsort(dim=1, stable=True)

        def keep(value: Any, kind: Kind) -> Any:
            if isinstance(kind, Boxes):
                return cut.masked_fill(lost[..., None], 0).take_along_dim(order[..., None], 1)
            return value.masked_fill(lost, 0).take_along_dim(order, 1) if isinstance(kind, BoxLabels) else value

        return batch.map(keep)

    def settings(self) -> dict[str, Any]:
        return {}


def _first(kind: type[Kind], columns: Sequence[Any], kinds: Sequence[Kind]) -> Any:
    return next((value for value, own in zip(columns, kinds, strict=True) if isinstance(own, kind)), None)


def check_boxes(sample: Sequence[Any], kinds: Sequence[Kind], size: tuple[int, int]) -> None:
    """Look at the boxes and labels of one sample, whose picture is of `size` (width, height).

    Raises:
        DataError: a box ends before it begins, or nothing of it is on the picture.
        LabelError: there are more or fewer labels than boxes.
    """
    boxes, labels = _first(Boxes, sample, kinds), _first(BoxLabels, sample, kinds)
    if boxes is None:
        return
    wrong = (boxes[:, 2:] < boxes[:, :2]).any(1).nonzero().flatten().tolist()
    if wrong:
        raise DataError(
            f"A box is left, top, right, bottom, but box {wrong[0]} is {boxes[wrong[0]].tolist()}, which ends before "
            "it begins. Where a table holds x, y, width, height, give [x, y, x + width, y + height]."
        )
    width, height = getattr(boxes, "img_size", None) or size
    left, top, right, bottom = boxes.as_subclass(Tensor).unbind(1)
    outside = (left >= width) | (top >= height) | (right <= 0) | (bottom <= 0)
    lost = (outside & (boxes.as_subclass(Tensor) != 0).any(1)).nonzero().flatten().tolist()
    if lost:
        raise DataError(
            f"Box {lost[0]} is {boxes[lost[0]].tolist()}, wholly outside its picture of {width} x {height} pixels "
            f"({len(lost)} of {len(boxes)} boxes are). Boxes are in the pixels of the picture as it is opened; were "
            "the pictures resized and the boxes not?"
        )
    if labels is not None and len(labels) != len(boxes):
        raise LabelError(f"There are {len(boxes)} boxes but {len(labels)} labels; each box needs one label.")


def get_annotations(
    fname: str | os.PathLike[str], prefix: str | None = None
) -> tuple[list[str], list[tuple[list[list[float]], list[str]]]]:
    """Return the file names of a COCO json file, and for each of them its boxes and their labels.

    Boxes come as left, top, right, bottom in pixels. `prefix` is put before each name. Pictures without boxes are left
    out.

    Raises:
        DataError: the file is no json of COCO's form.
    """
    try:
        with open(fname, encoding="utf-8") as file:
            content = json.load(file)
        names = {category["id"]: category["name"] for category in content["categories"]}
        boxes: dict[Any, list[list[float]]] = defaultdict(list)
        labels: dict[Any, list[str]] = defaultdict(list)
        for found in content["annotations"]:
            left, top, width, height = found["bbox"]
            boxes[found["image_id"]].append([left, top, left + width, top + height])
            labels[found["image_id"]].append(names[found["category_id"]])
        files = {image["id"]: f"{prefix or ''}{image['file_name']}" for image in content["images"]}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{os.fspath(fname)} is no COCO file of boxes ({type(error).__name__}: {error}). Expected json with lists: "
            "images (id, file_name), annotations (image_id, category_id, bbox) and categories (id, name)."
        ) from error
    found_in = [key for key in files if key in boxes]
    return [files[key] for key in found_in], [(boxes[key], labels[key]) for key in found_in]
