"""`flambeau evaluate` on texts: after reading it you know how an export is measured on labelled rows or files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flambeau.foundation.errors import ArgumentError
from flambeau.foundation.numbers import number_words


def is_of_texts(learn: Any) -> bool:
    """Whether a loaded learner answers texts."""
    dataset = getattr(getattr(getattr(learn, "dls", None), "valid", None), "dataset", None)
    return type(dataset).__module__.startswith("flambeau.text.")


def run_evaluate_text(learn: Any, data: Path, out: Path | None, sep: str | None, encoding: str | None) -> None:
    """Print the metrics of an export on texts it has not seen; of one class a text accuracy and the report by class.

    Of classes `out` gets the picture of the confusion matrix.

    Raises:
        ArgumentError: the export has no labels, or `out` is given and no classes.
        TableError: a column is missing. LabelError: a class is unknown.
    """
    from flambeau.cli.by_class import tell_classes
    from flambeau.data.kinds import Category
    from flambeau.interpret.interpretation import ClassificationInterpretation
    from flambeau.text.dataset import SelfTaughtDatasets
    from flambeau.text.transformer_models import LANGUAGE

    taught_itself = getattr(learn.model, "task", None) in LANGUAGE  # though by texts with labels
    if taught_itself or isinstance(learn.dls.valid.dataset, SelfTaughtDatasets):
        raise ArgumentError("flambeau evaluate measures answers to labelled texts; this export is a language model.")
    of_classes = isinstance(learn.dls.kinds[learn.dls.n_inp], Category)
    if out is not None and not of_classes:
        raise ArgumentError("--out gets a confusion matrix, but this export gives no single class a text.")
    items = (
        _items_of_folder(learn, data, encoding)
        if data.is_dir()
        else _items_of_table(learn, data, sep, encoding or "utf-8")
    )
    loader = learn.dls.test_dl(items, with_labels=True)
    if of_classes:
        interpretation = ClassificationInterpretation.from_learner(learn, dl=loader)
        tell_classes(interpretation, f"{len(items)} texts")
        if out is not None:
            interpretation.plot_confusion_matrix().save(out / "confusion.png")
            print(f"Wrote {out / 'confusion.png'}")
        return
    with learn.no_bar():
        loss, *values = learn.validate(dl=loader)
    print(f"Loss on {len(items)} texts: {number_words(loss)}")
    for metric, value in zip(learn.metrics, values, strict=True):
        print(f"{metric.name}: {number_words(value)}")


def _items_of_folder(learn: Any, folder: Path, encoding: str | None) -> list[tuple[Path | str, Any]]:
    """Return the files with their classes: as texts where the encoding is told, else read as those of the training."""
    from flambeau.cli.by_class import require_class_folders
    from flambeau.data.getters import get_text_files
    from flambeau.data.labels import parent_label
    from flambeau.text.tokenizer import read_text

    classes = {str(name): name for name in getattr(learn.dls.kinds[learn.dls.n_inp], "vocab", ())}
    files = list(get_text_files(folder))
    require_class_folders(files, classes, "texts")
    return [(read_text(file, encoding) if encoding else file, classes[parent_label(file)]) for file in files]


def _items_of_table(learn: Any, file: Path, sep: str | None, encoding: str) -> Any:
    from flambeau.cli.train_text import read_text_table, whole_rows
    from flambeau.data.tables import allow_no_labels, require_columns
    from flambeau.text.text_csv import with_values

    frame = read_text_table(file, sep, encoding)
    readers: list[Any] = [getattr(pipeline[0], "code", None) for pipeline in learn.dls.valid.dataset.pipelines]
    names = [name for reader in readers for name in getattr(reader, "cols", ())]
    if len(readers) > 1 and not getattr(readers[-1], "cols", ()):
        raise ArgumentError(f"The export was trained on a folder of texts, and is measured on one; {file} is a file.")
    require_columns(names, list(frame.columns), str(file))
    if getattr(readers[-1], "label_delim", None) is not None:
        frame = allow_no_labels(frame, readers[-1].cols)
    return whole_rows(with_values(frame, _as_written(learn, readers)), names, file)


def _as_written(learn: Any, readers: list[Any]) -> list[str]:
    """Return the columns that an export reads as strings: texts, and labels where its classes are strings."""
    from flambeau.data.kinds import Category

    texts, labels = ([*getattr(reader, "cols", ())] for reader in (readers[0], readers[-1]))
    kind = learn.dls.kinds[learn.dls.n_inp]
    of_strings = isinstance(kind, Category) and all(isinstance(name, str) for name in kind.vocab)
    are_cut = getattr(readers[-1], "label_delim", None) is not None
    return [*texts, *labels] if of_strings or are_cut else texts
