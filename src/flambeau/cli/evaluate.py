"""`flambeau evaluate`: after reading it you know how an export is measured on labelled pictures or texts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flambeau.foundation.errors import ArgumentError, LabelError

if TYPE_CHECKING:
    from flambeau.interpret.interpretation import ClassificationInterpretation


def run_evaluate(
    export: Path, folder: Path, out: Path | None, sep: str | None = None, encoding: str | None = None
) -> None:
    """Print the accuracy and the report by class of an export on a folder with one folder a class.

    An export of texts is measured on a table with the columns of its training, too.

    Raises:
        LabelError: a folder's name is not one of the export's classes.
    """
    from flambeau.cli.evaluate_text import is_of_texts, run_evaluate_text
    from flambeau.cli.outputs import require_folder_to_write
    from flambeau.cli.picture_folder import require_folder
    from flambeau.data.getters import get_image_files
    from flambeau.data.kinds import Category
    from flambeau.data.labels import parent_label
    from flambeau.interpret.interpretation import ClassificationInterpretation
    from flambeau.train.load_learner import load_learner

    if out is not None:
        require_folder_to_write(out)
    learn = load_learner(export)
    if is_of_texts(learn):
        return run_evaluate_text(learn, folder, out, sep, encoding)
    require_folder(folder)
    if not isinstance(learn.dls.kinds[learn.dls.n_inp], Category):
        raise ArgumentError("flambeau evaluate measures classifiers of one class a picture; this export is another.")
    files = get_image_files(folder)
    classes = {str(name): name for name in learn.dls.vocab}
    require_class_folders(files, classes, "pictures")
    loader = learn.dls.test_dl([(file, classes[parent_label(file)]) for file in files], with_labels=True)
    interpretation = ClassificationInterpretation.from_learner(learn, dl=loader)
    tell_classes(interpretation, f"{len(files)} pictures")
    if out is not None:
        interpretation.plot_confusion_matrix().save(out / "confusion.png")
        interpretation.plot_top_losses(12).save(out / "top_losses.png")
        print(f"Wrote {out / 'confusion.png'} and {out / 'top_losses.png'}")


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
