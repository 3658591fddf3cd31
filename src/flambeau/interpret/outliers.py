"""Outliers: after reading it you know which items stand apart, where they come from, and what they do to the result.

An item stands apart when its loss is far from that of the others. Such items may be labelled wrongly, broken, or the
very cases that the model is for; so they are set apart, traced and measured by themselves, and never dropped.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image
import torch
from torch import Tensor

from flambeau.data.dataset import Datasets, Getter, Pick, Rows
from flambeau.data.labels import is_missing
from flambeau.data.splitters import By, values_by
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError, FlambeauError
from flambeau.foundation.nested import apply
from flambeau.train.callback import Callback
from flambeau.train.inference import run
from flambeau.train.learner import Learner

if TYPE_CHECKING:
    import pandas as pd

    from flambeau.interpret.interpretation import Interpretation

FAR = 3.5
"""A modified z-score beyond which a value is an outlier (Iglewicz and Hoaglin 1993)."""
NORMAL = 1.4826
"""The median absolute deviation times this is the standard deviation, where errors are normal."""
MANY_VALUES = 20
"""Numbers with more different values are cut into quarters."""
SURE = 0.05
OUTLIER, USUAL = "#c62828", "#5b7aa6"


def outlier_threshold(losses: Tensor, most: float = 0.05) -> float:
    """Return the loss beyond which an item stands apart.

    On the scale of the square root (for a squared error: the error itself) it is the median plus 3.5 times the median
    absolute deviation, scaled to a standard deviation. A good classifier has a long tail by nature, where that alone
    would call every tenth item an outlier; so no more than a share `most` of the items stands apart (one at least may).
    """
    roots = _roots(losses)
    middle = roots.median()
    spread = (roots - middle).abs().median() * NORMAL
    n_most = min(max(int(most * len(roots)), 1), len(roots) - 1)
    far = torch.maximum(middle + FAR * spread, roots.topk(n_most + 1)[0][-1])
    return float(far**2 + _floor(losses))


def _floor(losses: Tensor) -> Tensor:
    return losses[losses.isfinite()].min().double().clamp(max=0)


def _roots(losses: Tensor) -> Tensor:
    finite = losses[losses.isfinite()].double()
    return (finite - _floor(losses)).sqrt()


@dataclass
class OutlierReport:
    """The items whose loss stands apart.

    Attributes:
        places: their places in the loader, the largest loss first; losses: of all items; threshold: the loss beyond
            which an item stands apart.
        origins: what is found among them more often than among all, a row a value: how many of them and of all items
            have it, the ratio of the shares, and the probability `p` of as many or more by chance (hypergeometric).
            `p_adjusted` allows for all the values that were tried (Holm 1979).
        scores: loss and metrics on all items, without the outliers, and on them alone.
        n_tried: how many values were tried.
    """

    places: list[int]
    losses: Tensor
    threshold: float
    origins: pd.DataFrame
    scores: pd.DataFrame
    n_tried: int
    interpretation: Interpretation = field(repr=False)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def items(self) -> list[Any]:
        """The items themselves (paths, rows)."""
        return [self.interpretation.item(place) for place in self.places]

    @property
    def sure_origins(self) -> pd.DataFrame:
        """The origins that chance alone would hardly give: `p_adjusted` below 0.05."""
        return self.origins[self.origins["p_adjusted"] < SURE]

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each outlier: place, item, loss, and label and answer where they are classes."""
        import pandas as pd

        found = self.interpretation
        frame = pd.DataFrame({"place": self.places, "loss": [float(self.losses[place]) for place in self.places]})
        dataset = _datasets(found.loader)
        if dataset is not None:
            frame.insert(1, "item", [dataset.name(place) for place in self.places])
        for title, values in _answers(found).items():
            frame[title] = [values[place] for place in self.places]
        return frame

    def show(self, max_n: int = 9, **options: Any) -> Any:
        """Draw the outliers with the largest losses, with their targets and predictions.

        Raises:
            ArgumentError: there is none, or the items behind a plain loader are not known.
        """
        if not self.places:
            raise ArgumentError("There is no outlier to show: no loss stands apart.")
        shown = self.places[:max_n]
        notes = [f"loss {float(self.losses[place]):.2f}" for place in shown]
        return self.interpretation.show_results(shown, notes=notes, **options)

    def plot(self, max_origins: int = 8) -> Drawing:
        """Draw the losses with the threshold, and what is more frequent among the outliers."""
        import matplotlib.pyplot as plt

        rows = self.origins.head(max_origins)
        n_panels = 2 if len(rows) else 1
        size = (4.6 * n_panels + 0.8, max(3.2, 1.2 + 0.34 * len(rows)))
        figure, axes = plt.subplots(1, n_panels, figsize=size, squeeze=False, layout="constrained")
        self._plot_losses(axes[0, 0])
        if len(rows):
            self._plot_origins(axes[0, 1], rows)
        return Drawing(figure)

    def _plot_losses(self, ax: Any) -> None:
        finite = self.losses[self.losses.isfinite()].numpy()
        low, high = float(finite.min()), float(finite.max())
        edges = [low + (high - low) * step / 40 for step in range(41)]
        apart = finite > self.threshold
        ax.hist([finite[~apart], finite[apart]], edges, stacked=True, color=[USUAL, OUTLIER],
                label=[f"{int((~apart).sum())} items", f"{len(self)} outliers"])  # fmt: skip
        ax.axvline(self.threshold, color=OUTLIER, linewidth=1, linestyle="--")
        # a few among thousands are not to be seen on a linear scale
        ax.set_yscale("symlog", linthresh=10)
        ax.set(xlabel="loss", ylabel="items")
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize=9)

    def _plot_origins(self, ax: Any, rows: pd.DataFrame) -> None:
        names = [_shortened(f"{row['attribute']}: {row['value']}") for row in rows.to_dict("records")]
        sure = (rows["p_adjusted"] < SURE).tolist()
        bars = ax.barh(range(len(rows)), rows["ratio"], color=[OUTLIER if one else "0.75" for one in sure])
        told = [f"{row['outliers']} of {row['items']}" for row in rows.to_dict("records")]
        ax.bar_label(bars, told, fontsize=8, padding=3)
        ax.axvline(1, color="0.3", linewidth=1)
        ax.set_yticks(range(len(rows)), names, fontsize=9)
        ax.invert_yaxis()
        ax.margins(x=0.2)
        ax.set_xlabel("times as frequent as among all items", fontsize=9)
        ax.set_title("red: hardly by chance" if any(sure) else "all of these may be chance", fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)

    def __repr__(self) -> str:
        n = len(self.losses)
        total = float(self.losses[self.losses.isfinite()].sum())
        part = float(self.losses[self.places].nan_to_num(0, 0, 0).sum()) / total if total > 0 else 0.0
        lines = [
            f"{len(self)} of {n} items stand apart (loss above {self.threshold:.3g}); they carry {part:.0%} of the "
            "loss. None was dropped.",
            "",
            self.scores.to_string(float_format=lambda number: f"{number:.4g}"),
            "",
        ]
        sure = self.sure_origins
        lines.append(f"Origins that chance would hardly give ({self.n_tried} values tried):" if len(sure) else
                     f"No origin stands out beyond chance ({self.n_tried} values tried).")  # fmt: skip
        lines += [
            f"  {row['attribute']}: {_shortened(str(row['value']))}: {row['outliers']} of {row['items']} items, "
            f"{row['ratio']:.1f} times the usual share (p = {row['p_adjusted']:.2g})"
            for row in sure.head(8).to_dict("records")
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        scores = self.scores.to_html(border=0, float_format=lambda number: f"{number:.4g}")
        origins = self.origins.head(10).to_html(index=False, border=0, float_format=lambda number: f"{number:.3g}")
        return (
            f"<p>{len(self)} of {len(self.losses)} items stand apart (loss above {self.threshold:.3g}). None was "
            f"dropped.</p>{scores}<p>Origins ({self.n_tried} values tried):</p>{origins}"
        )


def find_outliers(
    found: Interpretation, by: By | Mapping[str, By] | None = None, most: float = 0.05
) -> OutlierReport:
    """Set apart the items whose loss is far from that of the others; see `Interpretation.outliers`.

    Raises:
        ArgumentError: there are too few losses, or `most` or `by` makes no sense. TableError: no such column.
    """
    if not 0 < most < 1:
        raise ArgumentError(f"most is the largest share of the items that may stand apart, such as 0.05; got {most}.")
    losses = found.losses
    if losses.ndim != 1 or len(losses) < 3 or not losses.isfinite().any():
        raise ArgumentError(f"Outliers are found among three items or more with a loss; got {len(losses)} losses.")
    threshold = outlier_threshold(losses, most)
    above = torch.nonzero(~(losses <= threshold))[:, 0]  # a loss that is no number stands apart too
    order = losses[above].nan_to_num(nan=torch.inf).argsort(descending=True, stable=True)
    chosen = above[order].tolist()
    apart = torch.zeros(len(losses), dtype=torch.bool)
    apart[chosen] = True
    attributes: dict[str, list[Any]] = {}
    for name, values in _attributes(found, by):
        if values not in attributes.values():  # a folder that is the label would be told, and counted, twice
            attributes[name] = values
    origins, n_tried = trace(attributes, apart.tolist())
    return OutlierReport(chosen, losses, threshold, origins, _scores(found, apart), n_tried, found)


# ---- where they come from


def trace(attributes: Mapping[str, list[Any]], apart: list[bool]) -> tuple[pd.DataFrame, int]:
    """Return which values are more frequent among the items set apart, and how many values were tried.

    Values that only one item has, or all, say nothing and are not tried.
    """
    import pandas as pd
    from scipy.stats import hypergeom

    n, n_apart = len(apart), sum(apart)
    rows = []
    for attribute, values in attributes.items():
        frame = pd.DataFrame({"value": _grouped(values), "apart": apart})
        for value, flags in frame.groupby("value", sort=False)["apart"]:
            size, hits = len(flags), int(flags.sum())
            if 1 < size < n:
                chance = float(hypergeom.sf(hits - 1, n, size, n_apart)) if n_apart else 1.0
                ratio = (hits / n_apart) / (size / n) if n_apart else 0.0
                rows.append((attribute, value, hits, size, ratio, min(chance, 1.0)))
    columns = ["attribute", "value", "outliers", "items", "ratio", "p"]
    table = pd.DataFrame(rows, columns=columns).sort_values(["p", "ratio"], ascending=[True, False], ignore_index=True)
    # Holm: the smallest p times the number of tests, the next times one less, ..., never falling
    steps = [p * (len(table) - place) for place, p in enumerate(table["p"])]
    table["p_adjusted"] = pd.Series(steps, dtype=float).cummax().clip(upper=1)
    return table[(table["outliers"] > 0) & (table["ratio"] > 1)].reset_index(drop=True), len(table)


def _grouped(values: list[Any]) -> list[str]:
    """Return values as words; numbers of many values by quarters."""
    import pandas as pd

    known = [value for value in values if not is_missing(value)]
    numbers = bool(known) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
    if not numbers or len(set(known)) <= MANY_VALUES:
        return ["missing" if is_missing(value) else str(value) for value in values]
    quarters = pd.qcut(pd.Series(values, dtype=float), 4, duplicates="drop")
    return ["missing" if is_missing(one) else f"{one.left:.4g} to {one.right:.4g}" for one in quarters]


def _attributes(found: Interpretation, by: By | Mapping[str, By] | None) -> Iterator[tuple[str, list[Any]]]:
    """Yield what is known of every item: label and answer, the columns of its row, its folder, its picture's size."""
    yield from _answers(found).items()
    dataset = _datasets(found.loader)
    n = len(found.losses)
    if dataset is not None:
        yield from _of_items(dataset)
    if by is None:
        return
    given: Mapping[str, By] = by if isinstance(by, Mapping) else {by if isinstance(by, str) else "group": by}
    for name, one in given.items():
        yield name, _values_of(one, dataset, n)


def _values_of(by: By, dataset: Datasets | None, n: int) -> list[Any]:
    if not callable(by) and not isinstance(by, str) and len(by) == n:
        return [_plain(value) for value in by]
    if dataset is None:
        raise ArgumentError(
            f"The items behind a plain loader are not known; give by one value for each of its {n} items, in order."
        )
    items = dataset.source.frame if isinstance(dataset.source, Rows) else dataset.source
    values = values_by(items, by, "outliers(by=...)")
    return [_plain(values[index]) for index in dataset.indices]


def _plain(value: Any) -> Any:
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _datasets(loader: Any) -> Datasets | None:
    dataset = getattr(loader, "dataset", None)
    return dataset if isinstance(dataset, Datasets) else None


def _answers(found: Interpretation) -> dict[str, list[Any]]:
    """Return the label and the answer of each item, where they are one class."""
    names = getattr(found.target, "vocab", None)
    measured = found.measured
    if not names or measured.targets is None or measured.answers is None:
        return {}
    n = len(names)
    said = {"label": measured.targets.tolist(), "answer": measured.answers.long().tolist()}
    return {title: [names[at] if 0 <= at < n else None for at in numbers] for title, numbers in said.items()}


def _of_items(dataset: Datasets) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(dataset.source, Rows):
        frame = dataset.items
        for name in frame.columns:
            values = [_plain(value) for value in frame[name].tolist()]
            if len({repr(value) for value in values}) < len(values):  # a name or number of its own tells no origin
                yield str(name), values
    paths = [_path_of(dataset, place) for place in range(len(dataset))]
    if any(path is None for path in paths):
        return
    files = [path for path in paths if path is not None]
    yield "folder", [file.parent.name for file in files]
    yield "file type", [file.suffix.lower() for file in files]
    headers = [_header(file) for file in files]
    if any(header is not None for header in headers):
        yield "shorter side", [None if header is None else min(header[0]) for header in headers]
        yield "mode", [None if header is None else header[1] for header in headers]


def _path_of(dataset: Datasets, place: int) -> Path | None:
    value = dataset.item(place)
    try:
        for transform in dataset.pipelines[0]:
            if not isinstance(transform, Getter | Pick):
                break
            value = transform(value)
    except FlambeauError:
        return None
    is_file = isinstance(value, os.PathLike) or (isinstance(value, str) and os.path.isfile(value))
    return Path(value) if is_file else None


def _header(file: Path) -> tuple[tuple[int, int], str] | None:
    try:
        with PIL.Image.open(file) as image:
            return image.size, image.mode
    except (OSError, ValueError, PIL.Image.DecompressionBombError):
        return None  # no picture, which is no matter here


def _shortened(words: str, most: int = 44) -> str:
    return words if len(words) <= most else words[: most - 3] + "..."


# ---- what they do to the result


class _ScoreParts(Callback):
    """Measure the metrics on all items, on the usual ones and on those apart, in one round."""

    order = 46

    def __init__(self, metrics: list[Any], apart: Tensor) -> None:
        self.parts: dict[str, Tensor] = {"all": torch.ones_like(apart), "without": ~apart, "alone": apart}
        self.metrics: dict[str, list[Any]] = {title: deepcopy(metrics) for title in self.parts}
        self.n_seen = 0
        for own in self.metrics.values():
            for metric in own:
                metric.reset()

    def after_batch(self) -> None:
        learn = self.learn
        if learn.pred is None:
            return
        n = learn.batch.n_items
        known = learn.batch.indices
        indices = range(self.n_seen, self.n_seen + n) if known is None else known
        self.n_seen += n
        places = torch.tensor([int(index) for index in indices])
        for title, part in self.parts.items():
            chosen = part[places]
            if not chosen.any():
                continue
            take = _taking(chosen)
            prediction, targets = apply(take, learn.pred), [apply(take, target) for target in learn.yb]
            for metric in self.metrics[title]:
                metric.update(prediction, *targets)


def _taking(chosen: Tensor) -> Callable[[Any], Any]:
    return lambda value: value[chosen.to(value.device)] if isinstance(value, Tensor) else value


def _scores(found: Interpretation, apart: Tensor) -> pd.DataFrame:
    """Return loss and metrics, a row each, on all items, without those apart, and on them alone."""
    import pandas as pd

    learn = found.learn
    if not isinstance(learn, Learner):
        raise ArgumentError(
            "Metrics of parts of the items are measured on one learner, and this is an ensemble. Interpret a member: "
            "from_learner(ensemble.members[0])."
        )
    parts = _ScoreParts(learn.metrics, apart)
    if learn.metrics:
        with learn.no_bar(), learn.no_logging():
            run(learn, found.loader, [parts])
    columns = {}
    for title, part in parts.parts.items():
        losses = found.losses[part]
        values = [float(len(losses)), float(losses.mean()) if len(losses) else float("nan")]
        columns[title] = [*values, *(_computed(metric) for metric in parts.metrics[title])]
    names = ["items", "loss", *(metric.name for metric in learn.metrics)]
    table = pd.DataFrame(columns, index=pd.Index(names, name="measure"))
    return table.rename(columns={"without": "without outliers", "alone": "outliers alone"})


def _computed(metric: Any) -> float:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few items may hold one class only, where many metrics mean nothing
            return float(metric.compute())
    except (ValueError, ZeroDivisionError):
        return float("nan")
