"""To Hugging Face and back: after reading it you can hand tokenised texts to code that takes a `datasets.Dataset`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.data.dataset import Rows
from flambeau.data.loaders import DataLoader
from flambeau.foundation.errors import ArgumentError, missing_dependency
from flambeau.text.dataset import TextDatasets

if TYPE_CHECKING:
    import datasets


def to_dataset(texts: TextDatasets | DataLoader) -> datasets.Dataset:
    """Return texts (`dls.train_ds`, or a loader) as a `datasets.Dataset`, a row an item in the items' order.

    The columns are those of the table that the texts came from, `input_ids` (lists of numbers) and, where there is a
    target, `labels`.

    Raises:
        MissingDependencyError: `datasets` is not installed. ArgumentError: it holds no texts.
    """
    try:
        import datasets
    except ImportError as error:
        raise missing_dependency("datasets", "hf", "Handing texts to Hugging Face") from error
    half = texts.dataset if isinstance(texts, DataLoader) else texts
    if not isinstance(half, TextDatasets):
        raise ArgumentError(f"Texts were expected, such as dls.train_ds; got a {type(half).__name__}.")
    columns: dict[str, list[Any]] = {}
    if isinstance(half.source, Rows):
        frame = half.items
        columns = {str(name): frame[name].tolist() for name in frame.columns}
    samples = [half[place] for place in range(len(half))]
    columns["input_ids"] = [sample[0].tolist() for sample in samples]
    if len(half.pipelines) > half.n_inp:
        columns["labels"] = [sample[half.n_inp].tolist() for sample in samples]
    return datasets.Dataset.from_dict(columns)
