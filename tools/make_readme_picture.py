"""Draw the picture of the README: the demo's most certain mistakes beside its confusion matrix.

    flambeau demo && python tools/make_readme_picture.py flambeau-demo docs/images/demo.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from PIL import Image


def main(demo: Path, out: Path) -> None:
    """Put the batch, the confusion matrix and the top losses of a demo side by side."""
    names = {"batch": "what it sees", "confusion": "what it mixes up", "top_losses": "where it is most wrong"}
    pictures = [Image.open(demo / "pictures" / f"{name}.png") for name in names]
    widths = [picture.width / picture.height for picture in pictures]
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.6), width_ratios=widths, layout="constrained")
    for picture, title, ax in zip(pictures, names.values(), axes, strict=True):
        ax.imshow(picture)
        ax.set_axis_off()
        ax.set_title(title, fontsize=13)
    figure.savefig(out, dpi=80)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
