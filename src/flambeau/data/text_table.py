"""A table of documents: after reading it you know how long texts stay readable in a notebook, a page and a terminal.

pandas shows 50 letters of a cell and lets no cell have two lines. Here a text is shown whole: it wraps.
"""

from __future__ import annotations

import html
import shutil
import textwrap
from typing import Any

import pandas as pd

SHORT = 40  # letters: a column with no longer cell needs no line of its own
WIDEST = 110  # letters of a line, which nobody reads if it is longer
WRONG = "rgb(218, 54, 51)"  # seen on light pages and on dark ones
CELL, LEFT, IN_ONE = "padding: .3rem .8rem; vertical-align: top; ", "text-align: left; ", "white-space: nowrap; "


class TextTable(pd.DataFrame):
    """A data frame that shows its texts whole; everything else is a data frame's."""

    @property
    def _constructor(self) -> type[TextTable]:
        return TextTable

    def as_html(self, index: bool = True) -> str:
        """Return the table as HTML: texts to the left and wrapped, the rest beside them, wrong predictions in red."""
        long, rows = self._long(), []
        head = "".join(
            f"<th style='{CELL}{LEFT if is_long else ''}'>{_escaped(name)}</th>"
            for name, is_long in zip(self.columns, long, strict=True)
        )
        for name, row in zip(self.index, self.itertuples(index=False, name=None), strict=True):
            cells = "".join(self._cell(place, row, long[place]) for place in range(len(row)))
            own = f"<th style='{CELL}{IN_ONE}'>{_escaped(name)}</th>" if index else ""
            rows.append(f"<tr>{own}{cells}</tr>")
        corner = f"<th style='{CELL}'></th>" if index else ""
        return f"<table><thead><tr>{corner}{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"

    def _cell(self, place: int, row: tuple[Any, ...], is_long: bool) -> str:
        style = CELL + (
            f"{LEFT}white-space: pre-wrap; overflow-wrap: anywhere; min-width: 18rem; " if is_long else IN_ONE
        )
        names = list(self.columns)
        if names[place] == "predicted" and "actual" in names and row[names.index("actual")] != row[place]:
            style += f"color: {WRONG}"
        return f"<td style='{style}'>{_escaped(row[place])}</td>"

    def _long(self) -> list[bool]:
        return [any(len(_words(value)) > SHORT for value in self.iloc[:, place]) for place in range(self.shape[1])]

    def _repr_html_(self) -> str:
        return self.as_html()

    def __repr__(self) -> str:
        long = self._long()
        if not any(long):
            return super().__repr__()
        width = min(shutil.get_terminal_size().columns, WIDEST)
        lines = []
        for name, row in zip(self.index, self.itertuples(index=False, name=None), strict=True):
            cells = list(zip(self.columns, row, long, strict=True))
            beside = [f"{column}: {_words(value)}" for column, value, is_long in cells if not is_long]
            lines.append(f"{name}  {', '.join(beside)}".rstrip())
            for column, value, is_long in cells:
                if is_long:
                    words = _words(value) if sum(long) == 1 else f"{column}: {_words(value)}"
                    lines.append(textwrap.fill(words, width, initial_indent="    ", subsequent_indent="    "))
        return "\n".join(lines)


def _words(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _escaped(value: Any) -> str:
    return html.escape(_words(value))
