"""Search spaces: what each way of writing an entry means, and which ones are refused."""

from __future__ import annotations

from typing import Any

import pytest

from flambeau.foundation.errors import ArgumentError
from flambeau.nn.optimizers import SGD, Adam
from flambeau.train.search_space import read_space

distributions = pytest.importorskip("optuna.distributions")


def read(entry: Any) -> Any:
    return read_space({"it": entry})["it"].distribution


def test_ranges_are_whole_where_both_ends_are() -> None:
    assert read((2, 6)) == distributions.IntDistribution(2, 6)
    assert read((2, 6, 2)) == distributions.IntDistribution(2, 6, step=2)
    assert read((1, 64, "log")) == distributions.IntDistribution(1, 64, log=True)
    assert read((0.3, 1)) == distributions.FloatDistribution(0.3, 1.0)
    assert read((0.1, 0.5, 0.1)) == distributions.FloatDistribution(0.1, 0.5, step=0.1)
    assert read((1e-4, 1e-1, "log")) == distributions.FloatDistribution(1e-4, 1e-1, log=True)


def test_lists_and_bool_are_choices() -> None:
    assert read([2, 4]) == distributions.CategoricalDistribution([2, 4])
    assert read(["a", None, True, 1]).choices == ("a", None, True, 1)
    assert read(bool) == distributions.CategoricalDistribution([False, True])
    assert read({"b", "a"}).choices == ("a", "b")


def test_a_distribution_of_optuna_is_taken_as_it_is() -> None:
    given = distributions.FloatDistribution(0, 1)
    assert read(given) is given


def test_objects_are_stored_by_name_and_come_back() -> None:
    dimension = read_space({"opt": [SGD, Adam]})["opt"]
    assert dimension.distribution.choices == ("SGD", "Adam")
    assert dimension.value_of("Adam") is Adam
    sizes = read_space({"size": [(28, 28), 32]})["size"]
    assert sizes.distribution.choices == ("(28, 28)", "32")
    assert sizes.value_of("(28, 28)") == (28, 28)
    assert sizes.value_of("32") == 32


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ([], "empty list"),
        (0.1, r"a single value with nothing to search. To keep it fixed write \[0.1\]"),
        ((1.0, 0.1), "the range must rise"),
        ((3, 3), "the range must rise"),
        ((0.0, 1.0, "log"), "a logarithmic scale has no 0.0"),
        ((1, 2, "lin"), "which is no range"),
        ((1, 2, 3, 4), "which is no range"),
        ((1,), "which is no range"),
        (("a", "b"), r"A list is one of its values"),
        ((False, True), "bool yes or no"),
        ((0.0, 1.0, 2.0), "the step must lie in"),
        ([1, 1], "the choice 1 twice"),
        ((float("nan"), 1.0), "which is no range"),
    ],
)
def test_an_entry_without_sense_is_told_by_name(entry: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words) as told:
        read_space({"it": entry})
    assert "it" in str(told.value)


def test_an_empty_or_wrong_space_is_told() -> None:
    with pytest.raises(ArgumentError, match="The space is empty"):
        read_space({})
    with pytest.raises(ArgumentError, match="A space is a dictionary"):
        read_space([("lr", [1])])  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="'learning rate' cannot be one"):
        read_space({"learning rate": [1, 2]})
