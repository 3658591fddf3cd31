"""Answers by class: after reading it you know what `flambeau evaluate` tells of classes, and which folders it takes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flambeau.foundation.errors import LabelError

if TYPE_CHECKING:
    from flambeau.interpret.interpretation import ClassificationInterpretation


def tell_classes(interpretation: ClassificationInterpretation, of_what: str) -> None:
    """Print the report by class, the accuracy, and the classes that were most often taken for each other."""
    counts = interpretation.confusion_matrix()
    print(interpretation.classification_report())
    print(f"\nAccuracy on {of_what}: {counts.trace() / counts.sum():.2%}")
    for actual, predicted, n in interpretation.most_confused(min_val=2)[:5]:
        print(f"  {n} times {actual} was taken for {predicted}")


def require_class_folders(files: Sequence[Path], classes: Collection[str], what: str) -> None:
    """Raise a LabelError where files lie in folders that are no classes."""
    from flambeau.data.labels import parent_label

    unknown: dict[str, list[str]] = {}
    for file in files:
        if parent_label(file) not in classes:
            unknown.setdefault(parent_label(file), []).append(str(file))
    if unknown:
        told = ", ".join(f"{name!r} ({len(found)} {what}, first {found[0]})" for name, found in unknown.items())
        raise LabelError(
            f"These folders are no classes of the export: {told}. Its classes are {', '.join(classes)}. "
            "Rename the folders, or train anew with the new classes."
        )
