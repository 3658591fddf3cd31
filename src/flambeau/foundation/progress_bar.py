"""A bar for work that takes its time: after reading it you can show how much is done, where somebody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

MANY = 5000  # items from which on a bar is shown, where each takes no time to speak of


@contextmanager
def progress_bar(n: int, what: str, many: int = MANY) -> Iterator[Callable[[int], None]]:
    """Give a function that is told how many are done; in a terminal, where there are `many` of them, a bar shows it."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if n < many or not (console.is_terminal or console.is_jupyter):
        yield lambda done: None
        return
    with Progress(console=console, transient=True) as bars:
        bar = bars.add_task(what, total=n)
        yield lambda done: bars.update(bar, completed=done)
