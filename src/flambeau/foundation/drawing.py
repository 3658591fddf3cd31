"""What a plotting call gives back: after reading it you know how to save or change a plot that flambeau made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """A figure that a notebook shows by itself, once: returning it from a cell does not show it a second time."""

    figure: Figure

    @property
    def axes(self) -> list[Axes]:
        """The figure's axes."""
        return list(self.figure.axes)

    def save(self, path: str | Path, dpi: int = 100, **options: Any) -> Path:
        """Write the figure to a picture file and return its path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.figure.savefig(path, dpi=dpi, bbox_inches="tight", **options)
        return path

    def close(self) -> None:
        """Free the figure's memory; it cannot be shown afterwards."""
        import matplotlib.pyplot as plt

        plt.close(self.figure)

    def _ipython_display_(self) -> None:
        """Show nothing: the notebook has already drawn the figure."""
