"""Labels that are probably wrong: after reading it you know how confident learning finds them, and when it cannot.

Northcutt, Jiang and Chuang 2021, "Confident Learning": a model that never saw an item, and is as sure of another class
as it usually is of that class's own items, contradicts the label.

    threshold of class j    the mean probability of j over the items labelled j        (equation 2)
    confident joint C[i,j]  items labelled i whose probability of j reaches the threshold of j; where several classes
                            do, j is the likeliest of them                              (equation 1)
The items off the diagonal of C are the candidates. They are to be looked at, not dropped: a hard item looks the same,
and the weaker the model, the more of them are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError, ShapeError
from flambeau.train.cross_validate import CrossValidation

if TYPE_CHECKING:
    import pandas as pd

    from flambeau.interpret.interpretation import ClassificationInterpretation


def confident_joint(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the confident joint (n_classes, n_classes), given label by suggested label, and each item's suggestion.

    `probabilities` are (n, n_classes) and out of sample, `labels` (n,) class numbers. The suggestion is -1 for items
    that are counted nowhere, because no class reaches its threshold.
    """
    n_classes = probabilities.shape[1]
    own = probabilities.gather(1, labels[:, None])[:, 0].double()
    counts = torch.bincount(labels, minlength=n_classes)
    thresholds = torch.zeros(n_classes, dtype=torch.double).scatter_add_(0, labels, own) / counts.clamp(min=1)
    # a class without any item has no threshold that could be reached
    thresholds[counts == 0] = torch.inf
    reaching = probabilities.double() >= thresholds
    suggested = torch.where(reaching, probabilities.double(), -1.0).argmax(1)
    suggested[~reaching.any(1)] = -1
    counted = suggested >= 0
    pairs = labels[counted] * n_classes + suggested[counted]
    return torch.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes), suggested


@dataclass
class LabelIssues:
    """Candidates for wrong labels, the most doubtful first.

    Attributes:
        places: the items' places; labels, suggested: names of classes.
        p_label, p_suggested: the probabilities of the given and of the suggested label.
        joint: the confident joint, a row a given label; counts: the items of each given label.
        n: how many items were looked at; warning: why the candidates may be too few ("" where nothing is wrong).
    """

    places: list[int]
    labels: list[str]
    suggested: list[str]
    p_label: list[float]
    p_suggested: list[float]
    joint: Tensor
    counts: Tensor
    vocab: list[str]
    n: int
    warning: str = ""
    items: Any = field(default=None, repr=False)
    _shown_by: ClassificationInterpretation | None = field(default=None, repr=False)

    @classmethod
    def from_predictions(
        cls, probabilities: Tensor, labels: Tensor, vocab: Sequence[Any], items: Any = None, warning: str = ""
    ) -> LabelIssues:
        """Find the candidates among items with out-of-sample probabilities (n, n_classes) and labels (n,).

        Probabilities (n,) or (n, 1) are those of the second of two classes. Items whose label is no class (-1) or whose
        probabilities are NaN are left aside.

        Raises:
            ShapeError: the shapes do not fit together. ArgumentError: these are no probabilities.
        """
        probabilities = _two_columns(torch.as_tensor(probabilities).detach().float().cpu())
        labels = torch.as_tensor(labels).detach().cpu().reshape(-1)
        names = [str(name) for name in vocab]
        if probabilities.ndim != 2 or len(probabilities) != len(labels) or probabilities.shape[1] != len(names):
            raise ShapeError(
                f"Label issues need probabilities (items, {len(names)} classes) and one label an item; got "
                f"{tuple(probabilities.shape)} and {tuple(labels.shape)}."
            )
        known = ~probabilities.isnan().any(1) & (labels >= 0)
        if known.any() and not (0 <= float(probabilities[known].min()) <= float(probabilities[known].max()) <= 1.0001):
            raise ArgumentError(
                f"Probabilities are from 0 to 1; got {float(probabilities[known].min()):.3g} to "
                f"{float(probabilities[known].max()):.3g}. Raw predictions need softmax first (get_preds applies it)."
            )
        at = torch.nonzero(known)[:, 0]
        kept, given = probabilities[known], labels[known].long()
        joint, suggested = confident_joint(kept, given)
        doubtful = torch.nonzero((suggested >= 0) & (suggested != given))[:, 0]
        own = kept[doubtful, given[doubtful]]
        other = kept[doubtful, suggested[doubtful]]
        # by the margin between the two, as the paper's "normalized margin"
        order = (other - own).argsort(descending=True, stable=True)
        doubtful = doubtful[order]
        return cls(
            at[doubtful].tolist(),
            [names[number] for number in given[doubtful].tolist()],
            [names[number] for number in suggested[doubtful].tolist()],
            own[order].tolist(),
            other[order].tolist(),
            joint,
            torch.bincount(given, minlength=len(names)),
            names,
            int(known.sum()),
            warning,
            items,
        )

    @classmethod
    def from_cross_validation(cls, found: CrossValidation, items: Any = None) -> LabelIssues:
        """Find the candidates among all items of a cross-validation, none of which was seen by its learner.

        `items`, where given, are named in the table.

        Raises:
            ArgumentError: the targets are not classes.
        """
        if found.vocab is None or not isinstance(found.predictions, Tensor):
            raise ArgumentError("Label issues are found among items with one class each; these have other targets.")
        return cls.from_predictions(found.predictions, found.targets, found.vocab, items)

    @property
    def noise(self) -> float:
        """The estimated share of wrong labels: each row of the joint is scaled to its label's items (equation 3)."""
        joint = self.joint.double()
        rows = joint.sum(1)
        wrong = (rows - joint.diag()) / rows.clamp(min=1)
        return float((wrong * self.counts).sum() / self.counts.sum().clamp(min=1))

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each candidate."""
        import pandas as pd

        columns = {
            "place": self.places, "label": self.labels, "suggested": self.suggested,
            "p_label": self.p_label, "p_suggested": self.p_suggested,
        }  # fmt: skip
        frame = pd.DataFrame(columns)
        if self.items is not None:
            frame.insert(1, "item", [str(_at(self.items, place)) for place in self.places])
        return frame

    def show(self, max_n: int = 9, **options: Any) -> Drawing | pd.DataFrame:
        """Draw the most doubtful items with label and suggestion; without an interpretation return their table.

        Raises:
            ArgumentError: there is no candidate.
        """
        if not self.places:
            raise ArgumentError("There is no candidate for a wrong label to show.")
        if self._shown_by is None:
            return self.to_frame().head(max_n)
        n = min(max_n, len(self.places))
        notes = [
            f"{self.labels[at]} {self.p_label[at]:.0%}, {self.suggested[at]} {self.p_suggested[at]:.0%}"
            for at in range(n)
        ]
        return self._shown_by.show_results(self.places[:n], notes=notes, **options)

    def __len__(self) -> int:
        return len(self.places)

    def __repr__(self) -> str:
        n = len(self)
        lines = [f"{n} candidate{'s' * (n != 1)} for a wrong label among {self.n} items ({n / max(self.n, 1):.1%})"]
        lines += [f"Note: {self.warning}"] if self.warning else []
        return "\n".join([*lines, *([self.to_frame().head(10).to_string(index=False)] if n else [])])

    def _repr_html_(self) -> str:
        n = len(self)
        head = f"<p>{n} candidate{'s' * (n != 1)} for a wrong label among {self.n} items. {self.warning}</p>"
        return head + (self.to_frame().head(20).to_html(index=False, border=0) if n else "")


def _two_columns(probabilities: Tensor) -> Tensor:
    if probabilities.ndim == 2 and probabilities.shape[1] > 1:
        return probabilities
    if probabilities.numel() == len(probabilities):
        second = probabilities.reshape(-1)
        return torch.stack([1 - second, second], 1)
    return probabilities


def _at(items: Any, place: int) -> Any:
    return items.index[place] if hasattr(items, "iloc") else items[place]


def label_issues(found: ClassificationInterpretation) -> LabelIssues:
    """Find the candidates for wrong labels among the items of an interpretation; the model answers them once more."""
    probabilities, targets = found.learn.get_preds(dl=found.loader)
    dataset = getattr(found.loader, "dataset", None)
    of_training = getattr(dataset, "split_idx", None) == 0 or dataset is getattr(found.learn.dls.train, "dataset", 0)
    warning = (
        "the model has learnt from these items, wrong labels included, so that many hide. cross_validate and "
        "LabelIssues.from_cross_validation find them."
        if of_training
        else ""
    )
    known = hasattr(dataset, "items") and hasattr(dataset, "indices")
    names = [dataset.name(place) for place in range(len(dataset))] if known and dataset is not None else None
    issues = LabelIssues.from_predictions(probabilities, targets, found.vocab, names, warning)
    issues._shown_by = found if known else None
    return issues
