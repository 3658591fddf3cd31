"""Progress: after reading it you know how the same training looks in a terminal, a notebook and a log file.

The table of epochs is what stays; the bar is there only while someone waits. It is redrawn by the clock, not by the
batch, so that a small model is not slowed down.
"""

from __future__ import annotations

import html
import math
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from flambeau.train.answers import in_part, spoilt_weights
from flambeau.train.callback import Callback

REFRESH_SECONDS = 0.2
WIDTH, NARROW = 12, 9


class Display(ABC):
    """Somewhere to show a table of epochs and a bar."""

    @abstractmethod
    def start(self, columns: Sequence[str]) -> None:
        """Show the head of the table."""

    @abstractmethod
    def row(self, cells: Sequence[str]) -> None:
        """Add a finished epoch to the table."""

    @abstractmethod
    def bar(self, done: int, total: int, words: str) -> None:
        """Show how far the current pass is."""

    @abstractmethod
    def stop(self) -> None:
        """Take the bar away."""


class Lines(Display):
    """Plain lines, for log files and pipes: a line an epoch, no bar."""

    def start(self, columns: Sequence[str]) -> None:
        self.widths = [NARROW if name in ("epoch", "time") else max(WIDTH, len(name) + 2) for name in columns]
        print(self._line(columns), flush=True)

    def row(self, cells: Sequence[str]) -> None:
        print(self._line(cells), flush=True)

    def _line(self, cells: Sequence[str]) -> str:
        # the blank keeps the columns apart even where a cell is too long for its own
        return "".join(" " + cell.rjust(width - 1) for cell, width in zip(cells, self.widths, strict=True))

    def bar(self, done: int, total: int, words: str) -> None:
        """Lines show no bar."""

    def stop(self) -> None:
        """Lines leave nothing to take away."""


class Terminal(Lines):
    """Lines and, while a pass runs, a bar below them."""

    def start(self, columns: Sequence[str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        super().start(columns)
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn(),
            console=Console(file=sys.stdout), transient=True, auto_refresh=False,
        )  # fmt: skip
        self.task: Any = None
        self.total, self.widest = 0, 0

    def row(self, cells: Sequence[str]) -> None:
        self._clear()
        super().row(cells)

    def bar(self, done: int, total: int, words: str) -> None:
        if self.task is None:  # not before there is something to show: a fast epoch needs no bar
            self.task = self.progress.add_task(words, total=total)
            self.progress.start()
        if total != self.total:  # another pass, with a pace of its own
            self.progress.reset(self.task, total=total)
            self.total = total
        self.progress.update(self.task, completed=done, description=words.ljust(self.widest))
        self.widest = max(self.widest, len(words))  # so that the bar stays where it is
        self.progress.refresh()

    def _clear(self) -> None:
        if self.task is not None:
            self.progress.stop()
            self.progress.remove_task(self.task)
            self.task = None

    def stop(self) -> None:
        self._clear()


class Notebook(Display):
    """One HTML table that grows, with the bar below it."""

    def start(self, columns: Sequence[str]) -> None:
        from IPython.display import display

        self.columns, self.now = list(columns), ""
        self.rows: list[list[str]] = []
        self.handle: Any = display(self, display_id=True)

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:right'>{html.escape(name)}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td style='text-align:right'>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{self.now}"

    def __repr__(self) -> str:
        return "\n".join("  ".join(cells) for cells in [self.columns, *self.rows])

    def row(self, cells: Sequence[str]) -> None:
        self.rows.append(list(cells))
        self.now = ""
        self.handle.update(self)

    def bar(self, done: int, total: int, words: str) -> None:
        self.now = f"<progress value='{done}' max='{total}'></progress> {done}/{total} {html.escape(words)}"
        self.handle.update(self)

    def stop(self) -> None:
        self.now = ""
        self.handle.update(self)


def in_notebook() -> bool:
    """Tell whether this code runs in a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ not in ("TerminalInteractiveShell", "InteractiveShell")


def choose_display(with_bar: bool) -> Display:
    """Return the display that suits where the output goes."""
    if in_notebook():
        return Notebook()
    return Terminal() if with_bar and _is_terminal(sys.stdout) else Lines()


def _is_terminal(stream: Any) -> bool:
    return bool(getattr(stream, "isatty", lambda: False)())


def clock(seconds: float) -> str:
    """Return a duration as m:ss or h:mm:ss; under ten seconds with a tenth."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def number(value: float) -> str:
    """Return a loss or metric with six decimals, or where these would overflow a column with five digits in all."""
    fixed = f"{value:.6f}"
    return fixed if len(fixed) < WIDTH else f"{value:.5g}"


class Progress(Callback):
    """Show the table of epochs and a bar while training, and say so once when the training loss is no number."""

    order = 60  # after the recorder
    first_process_only = True

    def __init__(self) -> None:
        self.display: Display | None = None
        self.n_shown = 0
        self._next = 0.0
        self._told = False

    def before_fit(self) -> None:
        self.display, self.n_shown = None, 0
        if self.learn.keep_logging:
            self.display = choose_display(self.learn.show_progress)
            self.display.start(list(self.learn.recorder.metric_names))
        self._next = time.perf_counter() + REFRESH_SECONDS
        self._told = False

    def after_batch(self) -> None:
        now = time.perf_counter()
        if now < self._next or self.display is None or not self.learn.show_progress:
            return
        learn = self.learn
        words = f"epoch {learn.epoch + 1}/{learn.n_epoch} "
        words += f"training, loss {learn.recorder.smooth_loss():.4f}" if learn.training else "validating"
        self.display.bar(learn.iter + 1, learn.n_iter, words)
        self._next = time.perf_counter() + REFRESH_SECONDS

    def after_epoch(self) -> None:
        if self.display is None:
            return
        recorder = self.learn.recorder
        names = recorder.metric_names[1:-1]
        rows = [row for row in recorder.rows if row["fit"] == recorder.n_fits]
        for row in rows[self.n_shown :]:  # of a resumed fit also those that were there before
            values = [number(float(row.get(name, math.nan))) for name in names]
            self.display.row([str(row["epoch"]), *values, clock(row["time"])])
        self.n_shown = len(rows)
        self._tell_divergence()

    def after_fit(self) -> None:
        if self.display is not None:
            self.display.stop()
            self.display = None

    def _tell_divergence(self) -> None:
        losses = self.learn.recorder.losses
        if self._told or not losses or math.isfinite(losses[-1]):
            return
        self._told = True
        spoilt = spoilt_weights(self.learn.model)
        state = f"and weights too ({in_part(spoilt)}): nothing can be predicted" if spoilt else "though weights are not"
        print(
            f"The training loss of epoch {self.learn.epoch} is {losses[-1]}, no finite number, {state}. Begin anew "
            "with a lower learning rate (learn.lr_find() suggests one) and sound data; TerminateOnNaNCallback() ends a "
            "training at such a batch, and names its items.",
            flush=True,
        )
