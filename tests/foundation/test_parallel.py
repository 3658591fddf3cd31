"""The parallel map gives the same list as a loop, and names the item that failed."""

from __future__ import annotations

import math
import os
import threading

import pytest

from flambeau.foundation.errors import ArgumentError, DataError
from flambeau.foundation.parallel import parallel


@pytest.mark.parametrize("options", [{"n_workers": 0}, {"n_workers": 3, "threadpool": True}, {}])
def test_results_come_in_the_order_of_the_items(options):
    assert parallel(lambda x, y, z=0: x * y + z, range(100), 2, z=1, **options) == [2 * x + 1 for x in range(100)]


def test_processes_give_the_same_and_are_other_processes():
    assert parallel(math.sqrt, [4, 9, 16], n_workers=2) == [2, 3, 4]
    assert parallel(math.gcd, [4, 9], 6, n_workers=1) == [2, 3]


def test_a_function_that_no_other_process_can_find_runs_in_threads():
    def where(item):
        return os.getpid(), threading.current_thread() is threading.main_thread()

    assert set(parallel(where, range(4), n_workers=2)) == {(os.getpid(), False)}


def test_unordered_results_are_complete():
    assert sorted(parallel(lambda x: x, range(50), n_workers=3, ordered=False)) == list(range(50))


@pytest.mark.parametrize("n_workers", [0, 2])
def test_a_failure_names_function_item_and_reason(n_workers):
    with pytest.raises(DataError, match=r"sqrt failed on item 2, '-1': ValueError: ") as caught:
        parallel(math.sqrt, [1, 4, -1, 9], n_workers=n_workers)
    assert isinstance(caught.value.__cause__, Exception)


def test_nothing_gives_nothing():
    assert parallel(math.sqrt, []) == []


def test_a_negative_number_of_workers_is_refused():
    with pytest.raises(ArgumentError, match="n_workers must be 0"):
        parallel(math.sqrt, [1], n_workers=-1)
