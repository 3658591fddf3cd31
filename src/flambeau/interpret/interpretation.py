"""Looking at what a model gets wrong: after reading it you can find the worst items and the classes it mixes up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from flambeau.data.kinds import Category, Kind, Mask
from flambeau.data.loaders import DataLoader, as_given
from flambeau.data.show import show_results
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError
from flambeau.foundation.lists import L
from flambeau.interpret.measured import Measured, measure
from flambeau.train.ensemble import Ensemble
from flambeau.train.inference import as_asked, predict_batch

if TYPE_CHECKING:
    from flambeau.data.splitters import By
    from flambeau.interpret.label_issues import LabelIssues
    from flambeau.interpret.outliers import OutlierReport
    from flambeau.train.learner import Learner

FEW_CLASSES = 30  # up to here a confusion matrix has room for its numbers


class Interpretation:
    """The losses of all items of a loader, and the means to see the items behind them."""

    def __init__(self, learn: Learner | Ensemble, loader: Any, measured: Measured) -> None:
        self.learn, self.loader, self.measured = learn, loader, measured

    @classmethod
    def from_learner(
        cls, learn: Learner | Ensemble, ds_idx: int = 1, dl: Any = None, act: Callable[[Tensor], Tensor] | None = None
    ) -> Self:
        """Measure a learner on a loader (default: validation).

        Raises:
            ArgumentError: the items have no targets, or the loss cannot tell items apart.
        """
        if len(learn.dls.kinds) <= learn.dls.n_inp:
            raise ArgumentError("Interpreting needs targets to compare with, and these data have none.")
        target = learn.dls.kinds[learn.dls.n_inp]
        n_classes = len(getattr(target, "vocab", ())) if isinstance(target, Category) else 0
        n_classes = len(target.codes) if isinstance(target, Mask) else n_classes
        return cls(learn, *measure(learn, ds_idx, dl, act, n_classes))

    @property
    def losses(self) -> Tensor:
        """The loss of each item."""
        return self.measured.losses

    @property
    def target(self) -> Kind:
        """The kind of the target."""
        return self.learn.dls.kinds[self.learn.dls.n_inp]

    def top_losses(self, k: int | None = None, largest: bool = True, items: bool = False) -> tuple[Any, ...]:
        """Return the k largest (or smallest) losses and their items' places; with `items` also the items."""
        k = len(self.losses) if k is None else min(k, len(self.losses))
        losses, places = self.losses.topk(k, largest=largest)
        if not items:
            return losses, places
        return losses, places, L(self.item(int(place)) for place in places)

    def item(self, place: int) -> Any:
        """Return the item (a path, a row) at a place of the loader."""
        if isinstance(self.loader, DataLoader) and self.loader.is_stream:
            raise ArgumentError(
                "A language model is measured on pieces of one long text, and these are no items; plot_top_losses "
                "shows them."
            )
        return self._dataset().item(place)

    def _dataset(self) -> Any:
        dataset = getattr(self.loader, "dataset", None)
        if not isinstance(self.loader, DataLoader) or not hasattr(dataset, "at"):
            raise ArgumentError("The items behind a plain loader are not known; use loaders made from a data block.")
        return dataset

    def plot_top_losses(self, k: int, largest: bool = True, nrows: int | None = None, **options: Any) -> Any:
        """Draw the k items with the largest (or smallest) loss: actual / predicted, loss and probability.

        Documents come as a table; `trunc_at` is how many letters it shows of each.
        """
        losses, places = self.top_losses(k, largest)[:2]
        notes = []
        for loss, place in zip(losses.tolist(), places.tolist(), strict=True):
            sure = self.measured.probabilities
            # a picture's title is as narrow as the picture
            words = f"loss {loss:.2f}" if abs(loss) < 1e5 else f"loss {loss:.2e}"
            notes.append(words + (f", sure {float(sure[place]):.0%}" if sure is not None else ""))
        drawn = self.show_results(places.tolist(), notes=notes, nrows=nrows, **options)
        if isinstance(drawn, Drawing) or not any(kind.column_name for kind in self.learn.dls.kinds):
            return drawn
        drawn = drawn.drop(columns="note").assign(loss=losses.tolist())
        if self.measured.probabilities is not None:
            drawn["probability"] = self.measured.probabilities[places].tolist()
        return drawn

    def outliers(self, by: By | Mapping[str, By] | None = None, most: float = 0.05) -> OutlierReport:
        """Set apart the items whose loss is far from the others', trace where they come from, and measure them alone.

        Tried as origins are label and answer, the columns of a table, folder, file type and size of pictures, and `by`:
        a column, a function of the item or one value an item, or several of these by name. At most a share `most` of
        the items stands apart; see `interpret/outliers.py` for the rule. Nothing is dropped.
        """
        from flambeau.interpret.outliers import find_outliers

        return find_outliers(self, by, most)

    def show_results(self, idxs: Sequence[int], notes: Sequence[str] | None = None, **options: Any) -> Any:
        """Draw the items at these places with their targets and predictions."""
        places = [int(place) for place in idxs]
        if not places:
            raise ArgumentError("show_results got no places to show.")
        dataset, learn = self._dataset(), self.learn
        loader, own = self.loader, places
        if isinstance(learn, Ensemble):
            loader = loader.new(dataset.at(places), bs=len(places), shuffle=False, drop_last=False, order=as_given)
            own = list(range(len(places)))
        # by their own numbers in the loader: what is drawn for an item, such as hidden words, is what was measured
        groups = [[place] for place in own] if loader.is_stream else [own]
        loss_func = learn.members[0].loss_func if isinstance(learn, Ensemble) else learn.loss_func
        inputs: list[Any] = []
        targets: list[Any] = []
        found: list[Any] = []
        for batch in loader.new(num_workers=0).serve(iter(groups)):
            columns = [part.detach().cpu() if isinstance(part, Tensor) else part for part in loader.decode(batch)]
            preds = learn.get_preds(dl=loader)[0] if isinstance(learn, Ensemble) else predict_batch(learn, batch)
            answers = as_asked(loss_func, learn.decodes(preds), batch.targets, batch.target_kinds)
            n_inp = len(batch.inputs)
            for i in range(len(answers)):
                inputs.append([column[i] for column in columns[:n_inp]])
                targets.append([column[i] for column in columns[n_inp:]])
                found.append([answers[i]])
        drawn = show_results(inputs, targets, found, batch.input_kinds, batch.target_kinds, notes=notes, **options)
        if isinstance(drawn, Drawing):
            return drawn
        names = [f"piece {place}" if loader.is_stream else dataset.name(place) for place in places]
        return drawn.set_axis(names, axis=0)


class ClassificationInterpretation(Interpretation):
    """Which classes are mixed up, and where the model is most wrong.

    Raises:
        ArgumentError: the target is not one class an item (or a pixel).
    """

    def __init__(self, learn: Learner | Ensemble, loader: Any, measured: Measured) -> None:
        super().__init__(learn, loader, measured)
        if measured.confusion is None:
            raise ArgumentError(
                f"ClassificationInterpretation needs one class an item; the target is a {type(self.target).__name__}. "
                "Use  Interpretation.from_learner, which shows top losses of any task."
            )

    @property
    def vocab(self) -> list[str]:
        """The names of the classes."""
        names: Any = getattr(self.target, "vocab", None) or getattr(self.target, "codes", ())
        return [str(name) for name in names]

    def confusion_matrix(self) -> Any:
        """Return how often each class (row) was taken for each class (column), as an integer array."""
        assert self.measured.confusion is not None
        return self.measured.confusion.numpy()

    def plot_confusion_matrix(
        self,
        normalize: bool = False,
        title: str = "Confusion matrix",
        cmap: str = "Blues",
        norm_dec: int = 2,
        plot_txt: bool = True,
        figsize: tuple[float, float] | None = None,
        dpi: int | None = None,
    ) -> Drawing:
        """Draw the confusion matrix; `normalize` shows shares of each actual class.

        Of more than 30 classes it shows colours with a scale, and no numbers: `most_confused` lists those.
        """
        import matplotlib.pyplot as plt
        from matplotlib.colors import PowerNorm

        counts = self.confusion_matrix()
        shown = counts / counts.sum(1, keepdims=True).clip(1) if normalize else counts
        n = len(self.vocab)
        names = self.vocab
        longest, many = max(map(len, names)), n > FEW_CLASSES
        beside = 0.06 * longest if many else 0  # inches that the names take
        side = min(max(3.2, 1.8 + 0.5 * n), 14 + beside)
        size = figsize or (side + (1.2 if many else 0.4), side)
        figure, ax = plt.subplots(figsize=size, dpi=dpi, layout="constrained")
        # by the root, so that a single mistake among many hits is seen
        scale = PowerNorm(0.5, vmin=0) if many else None
        drawn = ax.imshow(shown, cmap=cmap, interpolation="nearest", norm=scale)
        letters: dict[str, Any] = (
            {"fontsize": min(9.0, max(2.0, 0.72 * 72 * (min(size) - 1.2 - beside) / n))} if many else {}
        )
        ax.set_xticks(range(n), names, rotation=90 if longest > 3 else 0, **letters)
        ax.set_yticks(range(n), names, **letters)
        ax.set(title=title, xlabel="predicted", ylabel="actual")
        if many:
            ax.set_xticks([place + 0.5 for place in range(n - 1)], minor=True)
            ax.set_yticks([place + 0.5 for place in range(n - 1)], minor=True)
            ax.grid(which="minor", color="#dfe3e8", linewidth=0.5)
            ax.tick_params(which="minor", length=0)
            figure.colorbar(drawn, ax=ax, shrink=0.5, label="share" if normalize else "items")
        elif plot_txt:
            for row in range(n):
                for column in range(n):
                    if not counts[row, column]:
                        continue
                    words = f"{shown[row, column]:.{norm_dec}f}" if normalize else f"{counts[row, column]}"
                    ink = "white" if shown[row, column] > shown.max() / 2 else "black"
                    ax.text(column, row, words, ha="center", va="center", color=ink, fontsize=9)
        return Drawing(figure)

    def label_issues(self) -> LabelIssues:
        """Return the items whose label is probably wrong (confident learning); see `interpret/label_issues.py`."""
        from flambeau.interpret.label_issues import label_issues

        return label_issues(self)

    def most_confused(self, min_val: int = 1) -> list[tuple[str, str, int]]:
        """Return (actual, predicted, how often) for the pairs of classes mixed up at least `min_val` times."""
        counts, names = self.confusion_matrix(), self.vocab
        pairs = [
            (names[row], names[column], int(counts[row, column]))
            for row in range(len(names))
            for column in range(len(names))
            if row != column and counts[row, column] >= min_val
        ]
        return sorted(pairs, key=lambda pair: -pair[2])

    def classification_report(self) -> str:
        """Return precision, recall and F1 of each class, and their averages, as text."""
        counts = torch.as_tensor(self.confusion_matrix()).double()
        hits, actual, predicted = counts.diag(), counts.sum(1), counts.sum(0)
        precision, recall = hits / predicted.clamp(min=1), hits / actual.clamp(min=1)
        f1 = 2 * hits / (actual + predicted).clamp(min=1)
        width = max(len("weighted avg"), *(len(name) for name in self.vocab))
        lines = [f"{'':{width}}  precision    recall  f1-score   support", ""]
        for name, p, r, f, n in zip(self.vocab, precision, recall, f1, actual, strict=True):
            lines.append(f"{name:>{width}}  {p:9.3f} {r:9.3f} {f:9.3f} {int(n):9d}")
        total, share = int(actual.sum()), actual / actual.sum().clamp(min=1)
        lines += ["", f"{'accuracy':>{width}}  {'':9} {'':9} {hits.sum() / max(total, 1):9.3f} {total:9d}"]
        for name, weights in (("macro avg", torch.full_like(share, 1 / len(share))), ("weighted avg", share)):
            means = [float((score * weights).sum()) for score in (precision, recall, f1)]
            lines.append(f"{name:>{width}}  {means[0]:9.3f} {means[1]:9.3f} {means[2]:9.3f} {total:9d}")
        return "\n".join(lines)

    def print_classification_report(self) -> None:
        """Print precision, recall and F1 of each class."""
        print(self.classification_report())


class SegmentationInterpretation(ClassificationInterpretation):
    """Which classes of pixels are mixed up, and on which pictures the model is most wrong."""
