"""The result of a search: after reading it you know how to read off what mattered and what did not."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError
from flambeau.train.callbacks.progress import clock
from flambeau.train.search_space import Dimension
from flambeau.train.study_storage import ERROR, REASON, WITHDRAWN, was_broken_off

if TYPE_CHECKING:
    import pandas as pd
    from optuna.study import Study
    from optuna.trial import FrozenTrial

FEWEST_TO_WEIGH = 4  # finished trials; of fewer, nothing can be said about what mattered
LETTERS = 34  # that stand side by side under a small plot
MAX_TOLD = 100  # letters of an error in the line of a trial
SPREAD = 6  # values further out than so many times the middle half's width do not stretch a plot


@dataclass(frozen=True)
class TuneResult:
    """What a search found: `best_params`, `best_value`, a table of all trials, and three plots.

    `study` is Optuna's own object, with all that it offers; `interrupted` tells that Ctrl-C ended the search.
    """

    study: Study
    monitor: str
    place: str
    interrupted: bool = False
    space: Mapping[str, Dimension] = field(default_factory=dict, repr=False)

    @property
    def best_value(self) -> float:
        """The best value of all finished trials."""
        return float(self.study.best_value)

    @property
    def best_params(self) -> dict[str, Any]:
        """The settings of the best trial, as `make_learner` and `train` got them."""
        known = self.space
        best = self.study.best_trial.params
        return {name: known[name].value_of(value) if name in known else value for name, value in best.items()}

    @property
    def frame(self) -> pd.DataFrame:
        """A row a trial: number, state, value, seconds, epochs that were run, the settings, and why it ended early."""
        import pandas as pd

        trials = self._trials()
        names = list(dict.fromkeys(name for trial in trials for name in trial.params))
        rows = [
            {
                "trial": trial.number,
                "state": state_of(trial),
                self.monitor: math.nan if trial.value is None else trial.value,
                "seconds": math.nan if trial.duration is None else round(trial.duration.total_seconds(), 2),
                "epochs run": len(trial.intermediate_values),
                **{name: trial.params.get(name) for name in names},
                "error": told_end(trial),
            }
            for trial in trials
        ]
        return pd.DataFrame(rows)

    def _trials(self) -> list[FrozenTrial]:
        every = self.study.get_trials(deepcopy=False)
        return [trial for trial in every if WITHDRAWN not in trial.user_attrs and trial.state.name != "WAITING"]

    def _finished(self) -> list[FrozenTrial]:
        return [trial for trial in self._trials() if trial.state.name == "COMPLETE"]

    @property
    def _minimizes(self) -> bool:
        return self.study.direction.name == "MINIMIZE"

    def plot_history(self) -> Drawing:
        """Draw the value of each finished trial and the best so far; grey crosses were given up, red marks failed."""
        import matplotlib.pyplot as plt
        from matplotlib.ticker import MaxNLocator

        figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
        finished = self._finished()
        numbers, values = [trial.number for trial in finished], [float(trial.value or 0) for trial in finished]
        so_far = [min(values[: n + 1]) if self._minimizes else max(values[: n + 1]) for n in range(len(values))]
        last = max((trial.number for trial in self._trials()), default=0)
        ax.step([*numbers, last], [*so_far, so_far[-1]], where="post", color="C1", label="best so far", zorder=1)
        ax.scatter(numbers, values, color="C0", label="finished", zorder=2)
        pruned = [t for t in self._trials() if t.state.name == "PRUNED" and t.intermediate_values]
        if pruned:
            left = [trial.intermediate_values[max(trial.intermediate_values)] for trial in pruned]
            ax.scatter([t.number for t in pruned], left, marker="x", color="0.6", label="given up, where it stood")
        _limit(ax, values)
        failed = [trial.number for trial in self._trials() if state_of(trial) == "failed"]
        if failed:
            ax.scatter(
                failed, [0.02] * len(failed), marker="|", s=120, color="C3", label="failed",
                transform=ax.get_xaxis_transform(), clip_on=False,
            )  # fmt: skip
        best = self.study.best_trial
        ax.scatter([best.number], [self.best_value], s=140, facecolors="none", edgecolors="C1", linewidths=2, zorder=3)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(xlabel="trial", ylabel=self.monitor, xlim=(-0.5, last + 0.5))
        ax.set_title(f"best {self.monitor} {self.best_value:.4g} in trial {best.number}", loc="left", fontsize=11)
        ax.legend(frameon=False, fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
        return Drawing(figure)

    def importances(self) -> dict[str, float]:
        """Return each setting's share of the spread of the values, the largest first (fANOVA, Hutter 2014).

        A forest is fitted to the finished trials. Of a few dozen of them it gives a hint, not a measurement.

        Raises:
            ArgumentError: too few trials finished, or their values or settings are all alike.
        """
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

        finished = self._finished()
        if len(finished) < FEWEST_TO_WEIGH:
            raise ArgumentError(
                f"Only {len(finished)} trials finished; what mattered can be told from {FEWEST_TO_WEIGH} on, and with "
                "some certainty from some dozens. Run more."
            )
        varied = [name for name in self._common_names() if len({trial.params[name] for trial in finished}) > 1]
        if not varied or len({trial.value for trial in finished}) == 1:
            raise ArgumentError("The finished trials are all alike, in their settings or values: nothing mattered.")
        found = get_param_importances(self.study, evaluator=FanovaImportanceEvaluator(seed=0), params=varied)
        return {name: float(share) for name, share in found.items()}

    def _common_names(self) -> list[str]:
        finished = self._finished()
        return [name for name in finished[0].params if all(name in trial.params for trial in finished)]

    def plot_importances(self) -> Drawing:
        """Draw each setting's share of the spread of the values; see `importances`."""
        import matplotlib.pyplot as plt

        shares = self.importances()
        figure, ax = plt.subplots(figsize=(6, 1.1 + 0.4 * len(shares)), layout="constrained")
        bars = ax.barh(list(shares), list(shares.values()), color="C0", height=0.6)
        ax.bar_label(bars, [f"{share:.0%}" for share in shares.values()], padding=4)
        ax.invert_yaxis()
        ax.set(xlim=(0, 1.12 * max(shares.values())), xticks=[])
        ax.set_title(
            f"share in the spread of {self.monitor}, {len(self._finished())} trials", loc="left", fontsize=11
        )
        ax.spines[["top", "right", "bottom"]].set_visible(False)
        ax.tick_params(left=False)
        return Drawing(figure)

    def plot_slices(self, names: Sequence[str] | None = None) -> Drawing:
        """Draw the values over each setting; later trials are darker, the best one is ringed.

        Raises:
            ArgumentError: no setting is there to draw.
        """
        import matplotlib.pyplot as plt
        from matplotlib.ticker import MaxNLocator

        finished = self._finished()
        known = list(dict.fromkeys(name for trial in finished for name in trial.params))
        wanted = known if names is None else list(names)
        unknown = [name for name in wanted if name not in known]
        if unknown or not wanted:
            lacks = ", ".join(unknown) or "at all"
            raise ArgumentError(f"The study has no setting {lacks}; it has {', '.join(known) or 'none'}.")
        n_columns = 2 if len(wanted) in (2, 4) else min(len(wanted), 3)
        n_rows = math.ceil(len(wanted) / n_columns)
        size = (3.3 * n_columns + 0.8, 2.9 * n_rows)
        figure, axes = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False, sharey=True, layout="constrained")
        points: Any = None
        for name, ax in zip(wanted, axes.flat, strict=False):
            points = self._slice(ax, name, [trial for trial in finished if name in trial.params])
        _limit(axes.flat[0], [float(trial.value or 0) for trial in finished])
        for ax in axes.flat[len(wanted) :]:
            ax.set_axis_off()
        for row in axes:
            row[0].set_ylabel(self.monitor)
        figure.colorbar(points, ax=axes, label="trial", pad=0.01, aspect=30, ticks=MaxNLocator(integer=True))
        return Drawing(figure)

    def _slice(self, ax: Any, name: str, trials: Sequence[FrozenTrial]) -> Any:
        distribution: Any = trials[0].distributions[name]
        choices = getattr(distribution, "choices", None)
        if choices is None:
            places = [float(trial.params[name]) for trial in trials]
            if distribution.log:
                _log_axis(ax, places)
        else:
            # beside each other by their turn, as equal values of a category would hide one another
            turns = {trial.number: (turn % 5 - 2) * 0.07 for turn, trial in enumerate(trials)}
            places = [list(choices).index(trial.params[name]) + turns[trial.number] for trial in trials]
            labels = [_in_lines(_short(choice, 40), LETTERS // len(choices)) for choice in choices]
            ax.set_xticks(range(len(choices)), labels)
            ax.set_xlim(-0.5, len(choices) - 0.5)
        values = [trial.value for trial in trials]
        points = ax.scatter(places, values, c=[trial.number for trial in trials], cmap="viridis_r", s=28, zorder=2)
        best = self.study.best_trial.number
        for place, trial in zip(places, trials, strict=True):
            if trial.number == best:
                ax.scatter([place], [trial.value], s=140, facecolors="none", edgecolors="C1", linewidths=2, zorder=3)
        ax.set_xlabel(name)
        ax.grid(axis="y", color="0.92", zorder=0)
        ax.spines[["top", "right"]].set_visible(False)
        return points

    def __str__(self) -> str:
        states = [state_of(trial) for trial in self._trials()]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states)))
        settings = ", ".join(f"{name}={_short(value, 40)}" for name, value in self.study.best_params.items())
        return (
            f"Best {self.monitor} {self.best_value:.6g} in trial {self.study.best_trial.number} of {len(states)} "
            f"({counts}): {settings}"
        )


def state_of(trial: FrozenTrial) -> str:
    """Return the state of a trial as one word: finished, pruned, failed, stopped (by Ctrl-C or a kill) or running."""
    if was_broken_off(trial):
        return "stopped"
    return {"COMPLETE": "finished", "FAIL": "failed"}.get(trial.state.name, trial.state.name.lower())


def told_end(trial: FrozenTrial) -> str:
    """Return why a trial ended before its end; nothing for one that finished."""
    if was_broken_off(trial):
        return "interrupted, or its process was killed"
    return str(trial.user_attrs.get(ERROR) or trial.user_attrs.get(REASON) or "")


def trial_line(trial: FrozenTrial, study: Study, monitor: str) -> str:
    """Return a finished trial as one line: how it ended, its settings and how long it took."""
    settings = " ".join(f"{name}={_short(value, 40)}" for name, value in trial.params.items())
    took = clock(trial.duration.total_seconds()) if trial.duration is not None else ""
    if trial.state.name != "COMPLETE":
        end = told_end(trial)
        end = end if len(end) <= MAX_TOLD else end[:MAX_TOLD] + "..."
        return f"trial {trial.number:3d}  {state_of(trial)} {took}  {settings}  {end}"
    is_best = study.best_trial.number == trial.number
    return f"trial {trial.number:3d}  {monitor} {trial.value:.6f}{' *' if is_best else '  '} {took}  {settings}"


def _short(value: Any, longest: int) -> str:
    words = f"{value:.4g}" if isinstance(value, float) else str(value)
    return words if len(words) <= longest else words[: longest - 1] + "…"


def _in_lines(words: str, width: int) -> str:
    """Return a name broken where its words begin (LabelSmoothing, min_scale), into lines of about `width` letters."""
    lines = [""]
    for part in re.findall(r"[A-Z]?[^A-Z_]*_?", words):
        if lines[-1] and len(lines[-1]) + len(part) > max(width, 6):
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _log_axis(ax: Any, places: Sequence[float]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    ax.set_xscale("log")
    decades = math.log10(max(places) / min(places))
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if decades < 2.2 else (1.0,)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _limit(ax: Any, values: Sequence[float]) -> None:
    """Keep one exploded trial from pressing all the others into a line; what is cut off is told."""
    ordered = sorted(values)
    if len(ordered) < FEWEST_TO_WEIGH:
        return
    low, high = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    width = max(high - low, 1e-9)
    shown = [value for value in ordered if low - SPREAD * width <= value <= high + SPREAD * width]
    hidden = len(ordered) - len(shown)
    margin = 0.08 * max(shown[-1] - shown[0], 1e-9)
    if hidden:
        ax.set_ylim(shown[0] - margin, shown[-1] + margin)
        note = f"{hidden} beyond the edge"
        ax.annotate(note, (1, 1.02), xycoords="axes fraction", ha="right", color="0.4", fontsize=8)
