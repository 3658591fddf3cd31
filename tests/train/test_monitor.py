"""The number to watch: which way is better."""

from __future__ import annotations

import pytest

from flambeau.train.monitor import smaller_is_better


@pytest.mark.parametrize(
    ("name", "smaller"),
    [
        ("valid_loss", True),
        ("train_loss", True),
        ("error_rate", True),
        ("mae", True),
        ("rmse", True),
        ("perplexity", True),
        ("accuracy", False),
        ("f1_score", False),
        ("dice", False),
    ],
)
def test_which_way_is_better_is_told_by_the_name(name: str, smaller: bool) -> None:
    assert smaller_is_better(name) is smaller
