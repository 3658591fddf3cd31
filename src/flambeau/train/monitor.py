"""The number to watch: after reading it you know which columns the table of epochs has, and which way is better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.foundation.errors import unknown_name

if TYPE_CHECKING:
    from flambeau.train.learner import Learner

# in the name of a number that is better when it is smaller
SMALLER_IS_BETTER = (
    *("loss", "error", "perplexity", "brier", "hamming"),
    *("mae", "mse", "rmse", "msle", "rmspe"),
)


def smaller_is_better(monitor: str) -> bool:
    """Tell by the name of a number whether it counts faults (a loss, an error) rather than successes."""
    words = monitor.lower()
    return any(part in words for part in SMALLER_IS_BETTER)


def require_monitor(learn: Learner, monitor: str) -> None:
    """Check that a learner records a number after each epoch.

    Raises:
        UnknownNameError: it does not; the numbers that it records are listed.
    """
    known = [str(name) for name in learn.recorder.metric_names[1:-1]]
    if monitor not in known:
        raise unknown_name(
            "column to monitor",
            monitor,
            known,
            f"The epochs of this training record: {', '.join(known)}; metrics=... adds more.",
        )
