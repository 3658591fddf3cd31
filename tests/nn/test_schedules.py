"""After this page you know what each schedule gives at its beginning, middle and end."""

from __future__ import annotations

import math
import pickle

import pytest

from flambeau.foundation.errors import ArgumentError
from flambeau.nn.schedules import (
    Annealing,
    SchedCos,
    SchedExp,
    SchedLin,
    SchedNo,
    SchedPoly,
    combine_scheds,
    combined_cos,
)


@pytest.mark.parametrize(
    "schedule, quarter, half",
    [
        (SchedLin(0, 2), 0.5, 1.0),
        (SchedCos(0, 2), 1 - math.sqrt(0.5), 1.0),
        (SchedExp(1, 100), 100**0.25, 10.0),
        (SchedPoly(0, 2, 2), 0.125, 0.5),
    ],
)
def test_a_schedule_runs_from_start_to_end_along_its_curve(schedule: Annealing, quarter: float, half: float) -> None:
    assert schedule(0) == pytest.approx(schedule.start)
    assert schedule(0.25) == pytest.approx(quarter)
    assert schedule(0.5) == pytest.approx(half)
    assert schedule(1) == pytest.approx(schedule.end)


def test_sched_no_stays_at_its_start() -> None:
    assert [SchedNo(3, 9)(p) for p in (0, 0.5, 1)] == [3, 3, 3]


def test_a_schedule_gives_one_value_per_layer_group() -> None:
    assert SchedLin([0, 10], [1, 20])(0.5) == [0.5, 15.0]
    assert SchedLin(0, [1, 20])(0.5) == [0.5, 10.0]
    assert SchedLin([2, 4], 0)(0.5) == [1.0, 2.0]


def test_combined_schedules_each_run_over_their_share() -> None:
    both = combine_scheds([0.25, 0.75], [SchedLin(0, 1), SchedLin(5, 8)])
    assert both(0.125) == pytest.approx(0.5)
    assert both(0.25) == pytest.approx(5)
    assert both(0.5) == pytest.approx(6)
    assert both(1) == pytest.approx(8)


def test_combined_cos_peaks_at_pct_and_ends_low() -> None:
    cycle = combined_cos(0.25, 0.1, 1.0, 0.01)
    assert [cycle(p) for p in (0, 0.25, 1)] == pytest.approx([0.1, 1.0, 0.01])
    assert cycle(0.125) == pytest.approx(0.55)
    assert cycle(0.625) == pytest.approx(0.505)


def test_a_share_of_zero_is_passed_over() -> None:
    assert combined_cos(0, 9.0, 1.0, 0.5)(0) == pytest.approx(1.0)
    assert combined_cos(1, 0.0, 1.0, 0.5)(0.5) == pytest.approx(0.5)


def test_schedules_travel_between_processes() -> None:
    cycle = combined_cos(0.3, [0.1, 0.2], [1.0, 2.0], 0.0)
    assert pickle.loads(pickle.dumps(cycle))(0.7) == cycle(0.7)


def test_shares_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"sum to 1, got \[0.5, 0.6\]"):
        combine_scheds([0.5, 0.6], [SchedNo(1, 1), SchedNo(1, 1)])
    with pytest.raises(ArgumentError, match="1 shares for 2 schedules"):
        combine_scheds([1.0], [SchedNo(1, 1), SchedNo(1, 1)])


def test_an_exponential_schedule_refuses_zero() -> None:
    with pytest.raises(ArgumentError, match="above 0, got 0; use SchedLin"):
        SchedExp(1, 0)


def test_groups_of_different_number_are_refused() -> None:
    with pytest.raises(ArgumentError, match="as many start values as end values"):
        SchedCos([1, 2], [1, 2, 3])
