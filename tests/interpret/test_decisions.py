"""Decisions on items: sorted by loss, kept when another group is looked at, and refused where they make no sense."""

from __future__ import annotations

import pytest

from flambeau.foundation.errors import ArgumentError, UnknownNameError
from flambeau.interpret.decisions import DELETE, KEEP, Candidate, Decisions

CANDIDATES = [
    Candidate("a.jpg", "cat", "Train", 0.1),
    Candidate("b.jpg", "cat", "Train", 2.0),
    Candidate("c.jpg", "dog", "Train", 1.0),
    Candidate("d.jpg", "cat", "Valid", 0.5),
]


@pytest.fixture
def decisions() -> Decisions:
    return Decisions(CANDIDATES, ["cat", "dog"])


def test_a_group_is_sorted_by_loss(decisions: Decisions) -> None:
    assert decisions.worst("cat", "Train") == [1, 0]
    assert decisions.worst("cat", "Train", n=1) == [1]
    assert decisions.worst("cat", "Valid") == [3]


def test_all_decisions_are_told_whatever_the_group(decisions: Decisions) -> None:
    decisions[1], decisions[3], decisions[2] = DELETE, "dog", DELETE
    assert decisions.delete() == [1, 2]
    assert decisions.change() == [(3, "dog")]


def test_keeping_or_the_own_label_takes_a_decision_back(decisions: Decisions) -> None:
    decisions[0], decisions[1] = DELETE, "dog"
    decisions[0], decisions[1] = KEEP, "cat"
    assert (decisions.delete(), decisions.change()) == ([], [])


def test_unknown_names_and_numbers_are_refused(decisions: Decisions) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'dog'"):
        decisions[0] = "dogs"
    with pytest.raises(UnknownNameError, match="no class 'bird'"):
        decisions.worst("bird")
    with pytest.raises(UnknownNameError, match="no split 'Test'"):
        decisions.worst("cat", "Test")
    with pytest.raises(ArgumentError, match="4 candidates, numbered from 0; 4 is none"):
        decisions[4] = DELETE
