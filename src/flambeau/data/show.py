"""Drawing samples and results: after reading it you know how a column's kind decides what a person sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flambeau.data.kinds import Kind, Plain, in_short
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

INCHES = 2.6
RIGHT, WRONG = "#1a7f37", "#c62828"


def show_sample(sample: Sequence[Any], kinds: Sequence[Kind], ctx: Any = None, **options: Any) -> Axes | None:
    """Draw one sample on axes; a sample without any picture is printed."""
    if not any(kind.draws for kind in kinds):
        print(" | ".join(kind.text(value) for value, kind in zip(sample, kinds, strict=False)))
        return None
    ax = ctx
    for value, kind in zip(sample, kinds, strict=False):
        ax = kind.show(value, ax=ax, **(options if kind.draws and ax is ctx else {}))
    return ax


def grid(
    n: int,
    nrows: int | None = None,
    ncols: int | None = None,
    figsize: tuple[float, float] | None = None,
    n_wide: int = 1,
) -> list[Axes]:
    """Return `n` axes in a grid as square as may be, `n_wide` of them side by side for each cell."""
    import matplotlib.pyplot as plt

    if n < 1:
        raise ArgumentError(f"There is nothing to draw: {n} samples were asked for.")
    if nrows is None and ncols is None:
        ncols = math.ceil(math.sqrt(n))
    if ncols is None:
        assert nrows is not None
        ncols = math.ceil(n / nrows)
    nrows = nrows if nrows is not None else math.ceil(n / ncols)
    size = figsize if figsize is not None else (INCHES * ncols * n_wide, INCHES * 1.1 * nrows)
    figure, axes = plt.subplots(nrows, ncols * n_wide, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.set_axis_off()
    del figure
    return list(axes.flat)[: n * n_wide]


def show_samples(
    samples: Sequence[Sequence[Any]],
    kinds: Sequence[Kind],
    max_n: int = 9,
    nrows: int | None = None,
    ncols: int | None = None,
    figsize: tuple[float, float] | None = None,
    trunc_at: int | None = None,
    **options: Any,
) -> Drawing | pd.DataFrame:
    """Draw samples in a grid, or give them as a table when no column is a picture.

    `trunc_at` is how many letters a table shows of each document; None: 300.
    """
    if nrows and ncols:
        max_n = nrows * ncols
    samples = list(samples)[:max_n]
    if not any(kind.draws for kind in kinds):
        return as_table(samples, kinds, trunc_at=trunc_at)
    n_wide = pictures_side_by_side(kinds)
    axes = grid(len(samples), nrows, ncols, figsize, n_wide)
    for place, sample in enumerate(samples):
        draw_columns(sample, kinds, axes[place * n_wide : (place + 1) * n_wide], **options)
    return Drawing(axes[0].figure)  # type: ignore[arg-type]


def pictures_side_by_side(kinds: Sequence[Kind]) -> int:
    """Return how many pictures a sample has that are not overlays (a mask lies on its picture)."""
    return max(sum(kind.draws and getattr(kind, "codes", None) is None for kind in kinds), 1)


def draw_columns(sample: Sequence[Any], kinds: Sequence[Kind], axes: Sequence[Axes], **options: Any) -> None:
    """Draw a sample's columns: pictures side by side, masks and points over the last one, the rest as title."""
    at = -1
    for value, kind in zip(sample, kinds, strict=False):
        if kind.draws and (getattr(kind, "codes", None) is None or at < 0):
            at += 1
            kind.show(value, ax=axes[at], **options)
        else:
            kind.show(value, ax=axes[max(at, 0)])


def show_results(
    inputs: Sequence[Sequence[Any]],
    targets: Sequence[Sequence[Any]],
    predictions: Sequence[Sequence[Any]],
    input_kinds: Sequence[Kind],
    target_kinds: Sequence[Kind],
    notes: Sequence[str] | None = None,
    nrows: int | None = None,
    ncols: int | None = None,
    figsize: tuple[float, float] | None = None,
    titles: str = "actual / predicted",
    trunc_at: int | None = None,
) -> Drawing | pd.DataFrame:
    """Draw inputs with what they are and what was predicted, wrong ones in red; without a picture they are a table.

    Targets that are drawn (masks, points, pictures) stand left, their predictions right. `trunc_at` is how many letters
    a table shows of each document; None: 300.
    """
    if nrows and ncols:
        inputs = inputs[: nrows * ncols]
    n = len(inputs)
    targets, predictions, notes = targets[:n], predictions[:n], notes[:n] if notes is not None else [""] * n
    if not any(kind.draws for kind in input_kinds):
        names = [kind.column_name or f"input {i + 1}" for i, kind in enumerate(input_kinds)]
        names += [f"{role}" for role in ("actual", "predicted") for _ in target_kinds]
        samples = [(*x, *y, *p) for x, y, p in zip(inputs, targets, predictions, strict=True)]
        table = as_table(samples, [*input_kinds, *target_kinds, *target_kinds], names, trunc_at)
        return table.assign(note=notes) if any(notes) else table
    drawn = any(kind.draws or kind.overlays for kind in target_kinds)
    n_wide = 2 * pictures_side_by_side([*input_kinds, *target_kinds]) if drawn else pictures_side_by_side(input_kinds)
    axes = grid(len(inputs), nrows, ncols, figsize, n_wide)
    for place, (x, y, prediction, note) in enumerate(zip(inputs, targets, predictions, notes, strict=True)):
        own = axes[place * n_wide : (place + 1) * n_wide]
        if drawn:
            half = n_wide // 2
            draw_columns((*x, *y), (*input_kinds, *target_kinds), own[:half])
            draw_columns((*x, *prediction), (*input_kinds, *target_kinds), own[half:])
            own[0].set_title("actual", fontsize=9)
            own[half].set_title(f"predicted\n{note}" if note else "predicted", fontsize=9)
        else:
            draw_columns(x, input_kinds, own)
            said = [kind.text(value) for kind, value in zip(target_kinds, y, strict=False)]
            guess = [kind.text(value) for kind, value in zip(target_kinds, prediction, strict=False)]
            words = "\n".join(part for part in (", ".join(said), ", ".join(guess), note) if part)
            own[0].set_title(words, fontsize=9, color=RIGHT if said == guess else WRONG)
    figure = axes[0].figure
    if not drawn:
        figure.suptitle(titles, fontsize=10)
    return Drawing(figure)  # type: ignore[arg-type]


def as_table(
    samples: Sequence[Sequence[Any]],
    kinds: Sequence[Kind],
    names: Sequence[Any] | None = None,
    trunc_at: int | None = None,
) -> pd.DataFrame:
    """Return samples as a data frame of words, a row a sample; a value that is a row of cells fills several columns.

    Of each document it holds `trunc_at` letters; None: as many as its kind shows, 300.
    """
    import pandas as pd

    from flambeau.data.text_table import TextTable

    kinds = list(kinds) or [Plain()] * len(samples[0])
    names = _column_names(kinds) if names is None else list(names)
    columns: list[Any] = []
    rows = []
    for sample in samples:
        row, columns = [], []
        for value, kind, name in zip(sample, kinds, names, strict=False):
            cells = kind.cells(value)
            columns += [name] if cells is None else list(cells)
            row += [_cell(kind, value, trunc_at)] if cells is None else list(cells.values())
        rows.append(row)
    of_documents = any(kind.column_name is not None for kind in kinds)
    return (TextTable if of_documents else pd.DataFrame)(rows, columns=columns or None)


def _cell(kind: Kind, value: Any, trunc_at: int | None) -> str:
    return kind.text(value) if trunc_at is None else in_short(kind.whole_text(value), trunc_at)


def _column_names(kinds: Sequence[Kind]) -> list[Any]:
    """Return names for the columns of samples: numbers, but of documents what they are, and "label" beside them."""
    if not any(kind.column_name for kind in kinds):
        return list(range(len(kinds)))
    names: list[str] = []
    for kind in kinds:
        name = kind.column_name or "label"
        while name in names:
            name += "_"
        names.append(name)
    return names
