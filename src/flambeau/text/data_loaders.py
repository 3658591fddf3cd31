"""Loaders of texts in one call: after reading it you know which one fits how your documents and labels are kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path as AnyPath
from typing import Any

from flambeau.data.block import CategoryBlock, DataBlock, MultiCategoryBlock, RegressionBlock, TransformBlock
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.getters import get_text_files
from flambeau.data.labels import ColReader, parent_label
from flambeau.data.splitters import ColSplitter, GrandparentSplitter, RandomSplitter
from flambeau.data.tables import read_csv, table_column
from flambeau.foundation.errors import ArgumentError, TableError
from flambeau.foundation.paths import Path
from flambeau.text.blocks import TextBlock


class TextDataLoaders(DataLoaders):
    """Loaders of texts, with a label or for a language model: `is_lm` (the next token), `is_masked` (hidden ones).

    `tok_tfm` is a `Tokenizer` of your own (None: words by fastai's rules); `text_vocab` the vocabulary of another
    model, which must be this one's too. `transformer` names a model of Hugging Face (or its folder), whose own tokens
    are taken instead of words. All take `bs`, `val_bs`, `device`, and the other settings of `DataLoaders`.
    """

    @classmethod
    def from_folder(
        cls,
        path: str | AnyPath,
        train: str = "train",
        valid: str = "valid",
        valid_pct: float | None = None,
        seed: int | None = None,
        vocab: Iterable[Any] | None = None,
        text_vocab: Iterable[str] | None = None,
        is_lm: bool = False,
        is_masked: bool = False,
        tok_tfm: Any = None,
        seq_len: int = 72,
        backwards: bool = False,
        encoding: str = "utf-8",
        transformer: Any = None,
        **options: Any,
    ) -> DataLoaders:
        """Return loaders of `path/train/<class>/*.txt` and `path/valid/<class>/*.txt`.

        With `valid_pct` the files below `path` are split at random instead, and the parent folder is the class.

        Raises:
            EmptyError: there is no such folder, or no text file in it.
        """
        if transformer is None and tok_tfm is None:
            text = TextBlock.from_folder(path, text_vocab, is_lm, seq_len, backwards, encoding=encoding)
        else:
            text = _text_block(tok_tfm, transformer, text_vocab, is_lm, is_masked, seq_len, backwards)
        splitter = GrandparentSplitter(train, valid) if valid_pct is None else RandomSplitter(valid_pct, seed)
        get_items = partial(get_text_files, folders=[train, valid]) if valid_pct is None else get_text_files
        block = DataBlock(
            blocks=(text,) if is_lm or is_masked else (text, CategoryBlock(vocab)),
            get_items=get_items,
            splitter=splitter,
            get_y=None if is_lm or is_masked else parent_label,
        )
        return block.dataloaders(path, **{"path": path, **_seeded(seed), **options})

    @classmethod
    def from_df(
        cls,
        df: Any,
        path: str | AnyPath = ".",
        valid_pct: float = 0.2,
        seed: int | None = None,
        text_col: str | int | Sequence[str | int] = 0,
        label_col: Any = 1,
        label_delim: str | None = None,
        y_block: Any = None,
        text_vocab: Iterable[str] | None = None,
        is_lm: bool = False,
        is_masked: bool = False,
        valid_col: str | int | None = None,
        tok_tfm: Any = None,
        seq_len: int = 72,
        backwards: bool = False,
        splitter: Any = None,
        transformer: Any = None,
        **options: Any,
    ) -> DataLoaders:
        """Return loaders of a table's rows: `text_col` holds the text, `label_col` the label.

        The table is one of pandas, polars, Arrow, or a `datasets.Dataset`. Several text columns are joined, each behind
        a mark; to a transformer two of them are a pair. `label_delim` cuts a label cell into several labels; several
        label columns are numbers or zeros and ones. `y_block` says what the labels are where that is not seen from
        them. `valid_col` is true in the rows that validate; `splitter` is one of your own: `GroupSplitter("author")`.

        Raises:
            TableError: a column is missing; DataError: a text is missing; LabelError: a label is.
        """
        frame = as_table(df)
        columns: list[Any] = list(text_col) if isinstance(text_col, list | tuple) else [text_col]
        names = [table_column(frame, column).name for column in columns]
        text = _text_block(tok_tfm, transformer, text_vocab, is_lm, is_masked, seq_len, backwards, names)
        blocks: tuple[Any, ...] = (text,)
        if not (is_lm or is_masked):
            blocks = (text, y_block if y_block is not None else label_block(frame, label_col, label_delim))
        if splitter is None:
            splitter = RandomSplitter(valid_pct, seed) if valid_col is None else ColSplitter(valid_col)
        block = DataBlock(
            blocks=blocks,
            get_x=ColReader(names),
            get_y=None if is_lm or is_masked else ColReader(label_col, label_delim=label_delim),
            splitter=splitter,
        )
        return block.dataloaders(frame, **{"path": path, **_seeded(seed), **options})

    @classmethod
    def from_csv(
        cls,
        path: str | AnyPath,
        csv_fname: str | AnyPath = "labels.csv",
        header: int | None = 0,
        delimiter: str | None = None,
        **options: Any,
    ) -> DataLoaders:
        """Return loaders of a CSV file under `path`; `options` are those of `from_df`."""
        settings: dict[str, Any] = {} if delimiter is None else {"sep": delimiter}
        if header != 0:
            settings["header"] = header
        frame = read_csv(Path(path) / csv_fname, **settings)
        return cls.from_df(frame, path=path, **options)


def as_table(table: Any) -> Any:
    """Return a pandas, polars or Arrow table, or a `datasets.Dataset`, as one of pandas.

    Raises:
        TableError: it is something else.
    """
    import pandas as pd

    frame = table.to_pandas() if hasattr(table, "to_pandas") else table
    if isinstance(frame, pd.DataFrame):
        return frame
    hint = ""
    if isinstance(table, dict) and table:
        hint = f" A dictionary of tables came: give one of them, such as data[{next(iter(table))!r}]."
    raise TableError(
        f"A table (pandas, polars, Arrow, or a datasets.Dataset) was expected, got a {type(table).__name__}.{hint} For "
        "a file use from_csv, for text files from_folder."
    )


def label_block(frame: Any, label_col: Any, label_delim: str | None = None) -> TransformBlock:
    """Return the block of a table's labels: many labels, numbers, or one class."""
    columns = label_col if isinstance(label_col, list | tuple) else [label_col]
    read = [table_column(frame, column) for column in columns]
    if label_delim is not None:
        return MultiCategoryBlock()
    if len(columns) > 1:
        if all(set(column.unique().tolist()) <= {0, 1} for column in read):
            return MultiCategoryBlock(encoded=True, vocab=[column.name for column in read])
        return RegressionBlock(len(columns))
    return RegressionBlock() if read[0].dtype.kind == "f" else CategoryBlock()


def _text_block(
    tok_tfm: Any,
    transformer: Any,
    vocab: Iterable[str] | None,
    is_lm: bool,
    is_masked: bool,
    seq_len: int,
    backwards: bool,
    names: Sequence[Any] = (),
) -> TextBlock:
    if transformer is not None:
        if tok_tfm is not None or vocab is not None or backwards:
            raise ArgumentError("A transformer has its own tokens: leave out tok_tfm, text_vocab and backwards.")
        return TextBlock.from_transformer(transformer, is_lm, is_masked, seq_len)
    if is_masked:
        raise ArgumentError("Only transformers learn from hidden tokens: is_masked=True needs transformer=...")
    if tok_tfm is None:
        return TextBlock.from_df(list(names), vocab, is_lm, seq_len, backwards)
    return TextBlock(tok_tfm, vocab, is_lm, seq_len, backwards)


def _seeded(seed: int | None) -> dict[str, Any]:
    return {} if seed is None else {"seed": seed}
