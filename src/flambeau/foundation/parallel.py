"""A map over many workers: after reading it you can use all cores, and know which item failed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, TypeVar

from flambeau.foundation.errors import ArgumentError, DataError
from flambeau.foundation.lists import L

R = TypeVar("R")


def _in_main(f: Any) -> bool:
    """Say whether `f` was written in a notebook or in the script being run.

    A fresh process cannot find such a function (notebook) or would run the script again (script).
    """
    while isinstance(f, partial):
        f = f.func
    where = getattr(f, "__module__", None) or type(f).__module__
    return where == "__main__" or "<" in getattr(f, "__qualname__", "")  # <lambda>, <locals>


def _chunk(f: Callable[..., R], chunk: list[tuple[int, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[R]:
    results = []
    for position, item in chunk:
        try:
            results.append(f(item, *args, **kwargs))
        except Exception as error:
            name = getattr(f, "__name__", type(f).__name__)
            what = f"{type(error).__name__}: {error}"
            raise DataError(f"{name} failed on item {position}, {str(item)[:200]!r}: {what}") from error
    return results


def _watched(chunks: Iterable[R], total: int, progress: bool | None) -> Iterator[R]:
    """Give `chunks` on, with a bar on stderr when that is a terminal."""
    if not (sys.stderr.isatty() if progress is None else progress):
        yield from chunks
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(chunks, total=total, description="", console=Console(stderr=True), transient=True)


def parallel(
    f: Callable[..., R],
    items: Iterable[Any],
    *args: Any,
    n_workers: int | None = None,
    threadpool: bool = False,
    progress: bool | None = None,
    ordered: bool = True,
    **kwargs: Any,
) -> L[R]:
    """Apply `f(item, *args, **kwargs)` to each item in `n_workers` processes and return the results.

    Processes start afresh ("spawn"), which is safe beside the threads of torch on every system. Functions written in a
    notebook or in the script itself, and lambdas, run in threads, as does all with `threadpool=True`. `n_workers=0`
    runs in this thread; None means one a core, 16 at most. `ordered=False` returns results as they come.

    Raises DataError, naming the item, for the first exception of `f`.
    """
    if n_workers is not None and n_workers < 0:
        raise ArgumentError(f"n_workers must be 0 (this thread) or more, got {n_workers}.")
    numbered = list(enumerate(items))
    workers = min(os.cpu_count() or 1, 16) if n_workers is None else n_workers
    workers = min(workers, len(numbered))
    size = max(1, len(numbered) // (workers * 8 or 32))  # about eight turns a worker: little waiting at the end
    chunks = [numbered[start : start + size] for start in range(0, len(numbered), size)]
    if workers == 0:
        inline = (_chunk(f, chunk, args, kwargs) for chunk in chunks)
        return L([result for results in _watched(inline, len(chunks), progress) for result in results])
    with _executor(workers, threadpool or _in_main(f)) as pool:
        futures = [pool.submit(_chunk, f, chunk, args, kwargs) for chunk in chunks]
        finished: Iterable[Future[list[R]]] = futures if ordered else as_completed(futures)
        try:
            return L([result for future in _watched(finished, len(futures), progress) for result in future.result()])
        except BrokenProcessPool as error:
            raise DataError(
                "A worker process died (often: out of memory). Use fewer workers, or n_workers=0 to see where it is."
            ) from error
        finally:
            for future in futures:
                future.cancel()


def _executor(workers: int, threads: bool) -> Executor:
    if threads:
        return ThreadPoolExecutor(workers)
    import multiprocessing

    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
