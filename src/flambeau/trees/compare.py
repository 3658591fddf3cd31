"""Models side by side: after reading it you know how nets, trees and their averages are compared on the same rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flambeau.data.data_loaders import DataLoaders
from flambeau.data.kinds import Category, MultiCategory
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError, unknown_name
from flambeau.foundation.numbers import number_words
from flambeau.nn.metrics import accuracy, accuracy_multi, rmse
from flambeau.tabular.dataset import TableDataset
from flambeau.tabular.learner import tabular_learner
from flambeau.train.ensemble import Ensemble
from flambeau.train.learner import Learner
from flambeau.train.monitor import smaller_is_better
from flambeau.trees.estimators import MODELS
from flambeau.trees.learner import tree_learner

if TYPE_CHECKING:
    import pandas as pd

NETS = {"net": "plain", "tabm": "tabm"}
EMBEDDED = " with embeddings"
USUAL = ("oner", "tree", "forest", "boosting", "net", "tabm", "forest+tabm")


@dataclass(frozen=True)
class Comparison:
    """What each model is worth on the validation rows: a frame with a row a model, and the learners by name.

    `frame` holds valid_loss, the metrics, and the seconds that training and answering took; the best model first.
    """

    frame: pd.DataFrame
    learners: dict[str, Learner | Ensemble]

    @property
    def best(self) -> Learner | Ensemble:
        """The learner of the first row."""
        return self.learners[str(self.frame.index[0])]

    def plot(self, measure: str | None = None, figsize: tuple[float, float] | None = None) -> Drawing:
        """Draw a measure (None: the first metric) of all models, the best on top."""
        import matplotlib.pyplot as plt

        measures = [name for name in self.frame.columns if not name.endswith("seconds")]
        measure = measure or measures[min(1, len(measures) - 1)]
        if measure not in measures:
            raise unknown_name("measure", measure, measures)
        smaller = smaller_is_better(measure)
        values = self.frame[measure][::-1].sort_values(ascending=not smaller, kind="stable")
        size = figsize or (6.4, 1.0 + 0.36 * len(values))
        figure, ax = plt.subplots(figsize=size, layout="constrained")
        # a dot and no bar, for a bar would have to begin at 0, where all models look alike
        span = (values.max() - values.min()) or 1.0
        worst = values.max() + 0.05 * span if smaller else values.min() - 0.05 * span
        ax.hlines(range(len(values)), worst, values, color="0.85", linewidth=2)
        ax.plot(values, range(len(values)), "o", color="C0", markersize=8)
        for place, value in enumerate(values):
            words = number_words(float(value))
            ax.annotate(words, (value, place), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8)
        ax.set_yticks(range(len(values)), values.index)
        ax.set_ylim(-0.6, len(values) - 0.2)
        ax.margins(x=0.1)
        ax.set_xlabel(f"{measure} of the validation rows ({'smaller' if smaller else 'larger'} is better)")
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(left=False)
        return Drawing(figure)

    def __repr__(self) -> str:
        return self.frame.to_string(float_format=number_words)

    def _repr_html_(self) -> str:
        return str(self.frame.to_html(border=0, float_format=number_words))


def compare_models(
    dls: DataLoaders,
    models: str | Sequence[str] | Mapping[str, Any] = USUAL,
    *,
    epochs: int = 5,
    lr: float = 1e-2,
    metrics: Any = None,
    seed: int | None = 42,
    verbose: bool = True,
) -> Comparison:
    """Train models on the same training rows and measure them on the same validation rows.

        comparison = compare_models(dls, ["forest", "boosting", "net", "forest with embeddings", "forest+net"])
        comparison.plot()

    Args:
        dls: loaders of a table.
        models: names: those of `tree_learner`; "net" and "tabm" of `tabular_learner`, trained by
            `fit_one_cycle(epochs, lr)`; a tree's name and " with embeddings", whose categories are the vectors that
            the net learnt; "a+b", the average of two or more. Or a mapping of names to these, to functions of the
            loaders that return a trained learner, or to trained learners.
        metrics: None: accuracy, or the root mean squared error of numbers.
        seed: makes each training repeatable.
        verbose: print a line for each model.

    Models are not tuned here; a choice made by this table is measured honestly on other rows (a test set).

    Raises:
        ArgumentError: the loaders are none of a table or have no validation half. UnknownNameError: no such model.
    """
    import pandas as pd

    if not isinstance(getattr(dls.train, "dataset", None), TableDataset) or len(dls) < 2:
        raise ArgumentError("compare_models needs loaders of a table with a validation half: TabularDataLoaders.")
    models = [models] if isinstance(models, str) else models
    asked: dict[str, Any] = dict(models) if isinstance(models, Mapping) else {name: name for name in models}
    if not asked:
        raise ArgumentError(f"No model is named. Known: {', '.join([*MODELS, *NETS])}.")
    maker = _Maker(dls, _usual_metrics(dls) if metrics is None else metrics, epochs, lr, seed)
    for wanted in asked.values():
        if isinstance(wanted, str):
            maker.check(wanted)
    rows, learners = {}, {}
    for name, wanted in asked.items():
        learn, seconds = maker.made(wanted)
        started = time.perf_counter()
        if isinstance(learn, Ensemble):
            values = learn.validate()
        else:
            with learn.no_bar(), learn.no_logging():
                values = learn.validate()
        answering = time.perf_counter() - started
        first = learn.members[0] if isinstance(learn, Ensemble) else learn
        measured = dict(zip(["valid_loss", *(metric.name for metric in first.metrics)], values, strict=True))
        rows[name] = {**measured, "fit seconds": round(seconds, 2), "answer seconds": round(answering, 3)}
        learners[name] = learn
        if verbose:
            print(f"{name}: {', '.join(f'{k} {number_words(v)}' for k, v in measured.items())}, {seconds:.1f} s")
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index.name = "model"
    by = frame.columns[1] if not frame.columns[1].endswith("seconds") else "valid_loss"
    return Comparison(frame.sort_values(by, ascending=smaller_is_better(by), kind="stable"), learners)


def _usual_metrics(dls: DataLoaders) -> Any:
    kind = dls.kinds[dls.n_inp] if len(dls.kinds) > dls.n_inp else None
    return accuracy if isinstance(kind, Category) else accuracy_multi if isinstance(kind, MultiCategory) else rmse


class _Maker:
    """Trains each model once, whether it is asked for itself or as a part of others."""

    def __init__(self, dls: DataLoaders, metrics: Any, epochs: int, lr: float, seed: int | None) -> None:
        self.dls, self.metrics, self.epochs, self.lr, self.seed = dls, metrics, epochs, lr, seed
        self.known: dict[str, tuple[Learner, float]] = {}

    def check(self, name: str) -> None:
        """Raise an UnknownNameError where a name means no model."""
        for part in name.split("+"):
            base = part.strip().removesuffix(EMBEDDED)
            if base not in MODELS and (base not in NETS or part.strip().endswith(EMBEDDED)):
                raise unknown_name("model to compare", part.strip(), [*MODELS, *NETS])

    def made(self, wanted: Any) -> tuple[Any, float]:
        """Return a trained learner, and how many seconds its training took."""
        if isinstance(wanted, Learner | Ensemble):
            return wanted, 0.0
        if isinstance(wanted, str) and "+" in wanted:
            parts = [self.made(part.strip()) for part in wanted.split("+")]
            return Ensemble([learn for learn, _ in parts]), sum(seconds for _, seconds in parts)
        if isinstance(wanted, str):
            if wanted not in self.known:
                self.known[wanted] = _timed(lambda: self._trained(wanted))
            return self.known[wanted]
        if not callable(wanted):
            raise ArgumentError(f"A model is a name, a learner, or a function of the loaders; got {wanted!r}.")
        make: Callable[[DataLoaders], Any] = wanted
        learn, seconds = _timed(lambda: make(self.dls))
        if not isinstance(learn, Learner | Ensemble):
            raise ArgumentError(f"The function must return a trained learner; it returned a {type(learn).__name__}.")
        return learn, seconds

    def _trained(self, name: str) -> Learner:
        learn: Learner
        if name in NETS:
            learn = tabular_learner(self.dls, model=NETS[name], metrics=self.metrics, seed=self.seed)
            with learn.no_bar(), learn.no_logging():
                learn.fit_one_cycle(self.epochs, self.lr)
            return learn
        net = self.made("net")[0] if name.endswith(EMBEDDED) else None
        base = name.removesuffix(EMBEDDED)
        learn = tree_learner(self.dls, base, metrics=self.metrics, embeddings=net, seed=self.seed)
        with learn.no_logging():
            learn.fit()
        return learn


def _timed(make: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    return make(), time.perf_counter() - started
