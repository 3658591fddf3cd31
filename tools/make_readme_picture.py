"""Draw the pictures of the README: the demo's most certain mistakes, models of a table, and what a text says.

    flambeau demo && python tools/make_readme_picture.py demo flambeau-demo/pictures docs/images/demo.png
    python examples/tables.py && python tools/make_readme_picture.py tables example-tables docs/images/tables.png
    python examples/texts.py && python tools/make_readme_picture.py texts example-texts docs/images/texts.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from PIL import Image

TITLES = {
    "demo": {"batch": "what it sees", "confusion": "what it mixes up", "top_losses": "where it is most wrong"},
    "tables": {"comparison": "which model suits the table", "one-patient": "why it answers so for one patient"},
    "texts": {"confusion": "what it mixes up", "attribution": "which words spoke for the answer"},
}


def main(which: str, folder: Path, out: Path) -> None:
    """Put the pictures of a folder side by side."""
    titles = TITLES[which]
    pictures = [Image.open(folder / f"{name}.png") for name in titles]
    widths = [picture.width / picture.height for picture in pictures]
    figure, axes = plt.subplots(1, len(titles), figsize=(13, 4.6), width_ratios=widths, layout="constrained")
    for picture, title, ax in zip(pictures, titles.values(), axes, strict=True):
        ax.imshow(picture)
        ax.set_axis_off()
        ax.set_title(title, fontsize=13)
    figure.savefig(out, dpi=80, bbox_inches="tight")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
