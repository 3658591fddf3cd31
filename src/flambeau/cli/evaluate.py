"""`flambeau evaluate`: after reading it you know how an export is measured on labelled pictures or texts."""

from __future__ import annotations

from pathlib import Path

from flambeau.foundation.errors import ArgumentError


def run_evaluate(
    export: Path, folder: Path, out: Path | None, sep: str | None = None, encoding: str | None = None
) -> None:
    """Print the accuracy and the report by class of an export on a folder with one folder a class.

    An export of texts is measured on a table with the columns of its training, too.

    Raises:
        LabelError: a folder's name is not one of the export's classes.
    """
    from flambeau.cli.by_class import require_class_folders, tell_classes
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
