"""The report of a check: after reading it you know how findings are told, as text, as a table and as pictures."""

from __future__ import annotations

import html
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from flambeau.data.duplicates import N_BITS, Pair, clusters
from flambeau.data.item_facts import Half
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd

Level = Literal["leak", "warning", "note"]
LEVELS: tuple[Level, ...] = ("leak", "warning", "note")
COLORS = {"leak": "#c62828", "warning": "#b26a00", "note": "#57606a"}



@dataclass(frozen=True)
class Finding:
    """One thing that was found: how bad, how often, which items (half, place), and what to do."""

    level: Level
    title: str
    n: int
    message: str
    advice: str
    places: tuple[tuple[int, int], ...] = ()


@dataclass
class CheckReport:
    """What a check found; as a table (`to_frame`), as text, and as pictures (`show`, `plot`).

    `findings` are sorted, leaks first; `pairs` is a table of all duplicates; `classes` counts each class in each half;
    `not_checked` says what could not be looked at, and why.
    """

    findings: list[Finding]
    pairs: pd.DataFrame
    classes: pd.DataFrame
    not_checked: list[str]
    halves: list[Half] = field(repr=False)
    _numbers: list[Pair] = field(repr=False, default_factory=list)

    def __getitem__(self, title: str) -> Finding | None:
        """Return the finding of a title, None where there is none."""
        return next((finding for finding in self.findings if finding.title == title), None)

    @property
    def leaks(self) -> list[Finding]:
        """The findings that make validation look better than it is."""
        return [finding for finding in self.findings if finding.level == "leak"]

    def to_frame(self) -> pd.DataFrame:
        """Return the findings as a data frame, a row each."""
        import pandas as pd

        rows = [(one.level, one.title, one.n, one.message, one.advice) for one in self.findings]
        return pd.DataFrame(rows, columns=["level", "finding", "n", "what", "what to do"])

    def name(self, half: int, place: int) -> str:
        """Return words for an item of a half."""
        return self.halves[half].name(place)

    def duplicate_groups(self) -> list[int]:
        """Return one number for each item that the splitter saw: items that are alike, by content or look, share it.

        For a split that keeps copies on one side: `splitter=GroupSplitter(report.duplicate_groups())`.

        Raises:
            ArgumentError: the halves were not split from one list of items.
        """
        items = shared_items(self.halves)
        if items is None:
            raise ArgumentError(
                "duplicate_groups numbers the items that a splitter saw, and these loaders were not split from one "
                "list by a data block. The table report.pairs names the items of each pair."
            )
        index = [at for half in self.halves for at in half.dataset.indices]
        pairs = [Pair(index[pair.first], index[pair.second]) for pair in self._numbers]
        return clusters(len(items), pairs)

    # looking

    def show(self, where: str | None = None, max_n: int = 6) -> Drawing | pd.DataFrame:
        """Draw up to `max_n` pairs side by side, those across the split first; without pictures return their table.

        `where` ("across", "training", "validation") limits it to pairs across the split or within a half.

        Raises:
            ArgumentError: there is no such pair.
        """
        chosen = self.pairs if where is None else self.pairs[self.pairs["where"] == where]
        if not len(chosen):
            kinds = ", ".join(map(repr, self.pairs["where"].unique())) or "none at all"
            asked = "" if where is None else f" with where={where!r}; there are: {kinds}"
            raise ArgumentError(f"There is no pair of duplicates to show{asked}.")
        if not all(half.has_pictures for half in self.halves):
            return chosen.head(max_n)
        return drawn_pairs(chosen.head(max_n), self.halves)

    def plot(self, max_classes: int = 40) -> Drawing:
        """Draw the share of each class in each half as bars.

        Raises:
            ArgumentError: the items have no classes.
        """
        if not len(self.classes):
            raise ArgumentError("There are no classes to plot: the targets are not categories.")
        return drawn_classes(self.classes, [half.title for half in self.halves], max_classes)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{half.n} {half.title}" for half in self.halves)
        counts = Counter(finding.level for finding in self.findings)
        told = ", ".join(f"{counts[level]} {level}{'s' * (counts[level] != 1)}" for level in LEVELS if counts[level])
        lines = [f"Check of {sizes} items: {told or 'nothing found'}"]
        for one in self.findings:
            lines += ["", f"  {one.level.upper():7} {one.title} ({one.n})"]
            lines += textwrap.wrap(one.message, 108, initial_indent=" " * 10, subsequent_indent=" " * 10)
            lines += textwrap.wrap("-> " + one.advice, 108, initial_indent=" " * 10, subsequent_indent=" " * 13)
        if self.not_checked:
            lines += ["", "  not checked"]
            for words in self.not_checked:
                lines += textwrap.wrap(words, 108, initial_indent=" " * 10, subsequent_indent=" " * 10)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        sizes = ", ".join(f"{half.n} {half.title}" for half in self.halves)
        rows = "".join(
            f"<tr><td style='color:{COLORS[one.level]}'><b>{one.level}</b></td><td>{html.escape(one.title)}</td>"
            f"<td style='text-align:right'>{one.n}</td><td style='text-align:left'>{html.escape(one.message)}</td>"
            f"<td style='text-align:left'>{html.escape(one.advice)}</td></tr>"
            for one in self.findings
        )
        head = "".join(f"<th>{words}</th>" for words in ("level", "finding", "n", "what", "what to do"))
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else "Nothing found."
        rest = "".join(f"<li>{html.escape(words)}</li>" for words in self.not_checked)
        rest = f"<p>Not checked:</p><ul>{rest}</ul>" if rest else ""
        return f"<p>Check of {html.escape(sizes)} items</p>{table}{rest}"


def shared_items(halves: Sequence[Half]) -> Any:
    """Return the items that the halves were split from, or None where they were not."""
    datasets = [half.datasets for half in halves]
    first = datasets[0].source if datasets[0] is not None else None
    return first if all(one is not None and one.source is first for one in datasets) else None


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: "1 item", "2 classes"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}{'es' if noun.endswith('s') else 's'}"


def short_name(name: str) -> str:
    """Return a file's name with its folder only; any other name as it is, cut after 60 letters."""
    parts = PurePath(name).parts
    if len(parts) > 2 and "\n" not in name:
        return "/".join(parts[-2:])
    return name if len(name) <= 60 else name[:57] + "..."


# ---- pictures of it


def drawn_pairs(pairs: pd.DataFrame, halves: Sequence[Half]) -> Drawing:
    """Draw the pictures of some rows of `CheckReport.pairs` side by side."""
    import matplotlib.pyplot as plt

    from flambeau.foundation.plotting import show_image

    n_columns = min(len(pairs), 3)
    n_rows = -(-len(pairs) // n_columns)
    figure = plt.figure(figsize=(4.6 * n_columns, 2.9 * n_rows), layout="constrained")
    cells = figure.subfigures(n_rows, n_columns, wspace=0.04, squeeze=False).flatten()
    by_title = {half.title: half for half in halves}
    for cell, row in zip(cells, pairs.to_dict("records"), strict=False):
        how = "equal" if row["how"] == "exact" else f"alike, {row['bits']} of {N_BITS} bits differ"
        differ = row["label"] != row["other_label"]
        cell.suptitle(how + (", labels differ" if differ else ""), fontsize=10,
                      color=COLORS["leak"] if row["where"] == "across" or differ else "black")  # fmt: skip
        for ax, side in zip(cell.subplots(1, 2), ("", "other_"), strict=True):
            half = by_title[row[f"{side}half"]]
            show_image(_opened(half.picture(row[f"{side}place"])), ax=ax)
            label = "" if row[f"{side}label"] is None else f"{row[f'{side}label']}, "
            name = PurePath(row[f"{side}item"]).name
            ax.set_title(f"{label}{half.title}\n{name if len(name) <= 26 else '...' + name[-23:]}", fontsize=8)
    return Drawing(figure)


def _opened(picture: Any) -> Any:
    if hasattr(picture, "load") and callable(picture.load):
        picture.load()
    return picture


def drawn_classes(table: pd.DataFrame, titles: Sequence[str], max_classes: int) -> Drawing:
    """Draw a table of counts (a row a class, a column a half) as bars of shares."""
    import matplotlib.pyplot as plt

    order = table.sort_values(titles[0], ascending=False)
    shown, n = order.head(max_classes), min(len(order), max_classes)
    shares = shown / table.sum().clip(lower=1)
    figure, ax = plt.subplots(figsize=(7, 1.3 + 0.17 * n * max(len(titles), 2)), layout="constrained")
    height = 0.8 / len(titles)
    for at, title in enumerate(titles):
        places = np.arange(n) + (at - (len(titles) - 1) / 2) * height
        bars = ax.barh(places, shares[title], height, label=f"{title} ({table[title].sum()})")
        ax.bar_label(bars, [str(count) for count in shown[title]], fontsize=8, padding=2)
    ax.set_yticks(range(n), [str(name) for name in shown.index])
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    rest = f" (the {n} largest of {len(order)})" if len(order) > n else ""
    ax.set(xlabel=f"share of the half, and number of items{rest}")
    ax.margins(x=0.1)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=9)
    return Drawing(figure)
