"""Boxes on pictures: after reading it you know how the columns of object detection are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from flambeau.data.kinds import Kind, Points

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Boxes(Kind):
    """Boxes on a picture: floats (n, 4) of left, top, right, bottom in -1..1; boxes of zeros only fill up a batch."""

    draws: ClassVar[bool] = False

    def text(self, value: Any) -> str:
        n = int((torch.as_tensor(value).reshape(-1, 4) != 0).any(1).sum())
        return f"{n} box" if n == 1 else f"{n} boxes"

    def show(self, value: Any, ax: Axes | None = None, title: str | None = None, **options: Any) -> Axes:
        boxes = torch.as_tensor(value).detach().float().cpu().reshape(-1, 4)
        boxes = boxes[(boxes != 0).any(1)]
        ax = Points().show(boxes[:, :2], ax, title, alpha=0.0)
        width, height = ax.images[0].get_array().shape[:2][::-1] if ax.images else (2, 2)  # type: ignore[union-attr]
        for left, top, right, bottom in ((boxes + 1) / 2).tolist():
            x, y = [left, right, right, left, left], [top, top, bottom, bottom, top]
            ax.plot([v * width - 0.5 for v in x], [v * height - 0.5 for v in y], color="red", linewidth=2, **options)
        return ax
