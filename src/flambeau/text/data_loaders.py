"""Loaders of texts in one call: after reading it you know which one fits how your documents and labels are kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path as AnyPath
from typing import Any

from flambeau.data.block import CategoryBlock, DataBlock
from flambeau.data.data_loaders import DataLoaders, seeded
from flambeau.data.getters import get_text_files
from flambeau.data.labels import ColReader, parent_label
from flambeau.data.splitters import ColSplitter, GrandparentSplitter, RandomSplitter, halves_of, require_halves
from flambeau.data.tables import allow_no_labels, as_pandas, table_column
from flambeau.data.target_blocks import target_block
from flambeau.foundation.errors import ArgumentError, DataError
from flambeau.foundation.lists import listify
from flambeau.foundation.paths import Path
from flambeau.text.blocks import TextBlock
from flambeau.text.text_csv import read_cells, with_values
from flambeau.text.transformer_tokenizer import TransformerTokenizer


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
            ArgumentError: `encoding` is given beside a tokenizer of your own; `is_masked` without a transformer.
        """
        if valid_pct is None:
            require_halves(path, {"train": train, "valid": valid})
        if transformer is None and tok_tfm is None and not is_masked:
            text = TextBlock.from_folder(path, text_vocab, is_lm, seq_len, backwards, encoding=encoding)
        else:
            if encoding != "utf-8" and (transformer is None or isinstance(transformer, TransformerTokenizer)):
                raise ArgumentError(
                    f"encoding={encoding!r} is beside a tokenizer of your own, which takes it itself: "
                    "Tokenizer(encoding=...), TransformerTokenizer.from_pretrained(..., encoding=...)."
                )
            if transformer is not None and not isinstance(transformer, TransformerTokenizer):
                transformer = TransformerTokenizer.from_pretrained(transformer, encoding=encoding)
            text = _text_block(tok_tfm, transformer, text_vocab, is_lm, is_masked, seq_len, backwards)
        splitter = GrandparentSplitter(train, valid) if valid_pct is None else RandomSplitter(valid_pct, seed)
        get_items = partial(get_text_files, folders=[train, valid]) if valid_pct is None else get_text_files
        block = DataBlock(
            blocks=(text,) if is_lm or is_masked else (text, CategoryBlock(vocab)),
            get_items=get_items,
            splitter=splitter,
            get_y=None if is_lm or is_masked else parent_label,
        )
        return block.dataloaders(path, **{"path": path, **seeded(seed), **options})

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

        The table is one of pandas, polars, Arrow, a `datasets.Dataset`, or a `datasets.DatasetDict` of "train" and
        "validation" (or "valid", "test"), whose halves are kept. Several text columns are joined, each behind
        a mark; to a transformer two of them are a pair. `label_delim` cuts a label cell into several labels; several
        label columns are numbers or zeros and ones. `y_block` says what the labels are where that is not seen from
        them. `valid_col` is true in the rows that validate; `splitter` is one of your own: `GroupSplitter("author")`.

        Raises:
            TableError: a column is missing; DataError: a text is missing or a number; LabelError: a label is missing.
        """
        if splitter is None and valid_col is None and (halves := halves_of(df)) is not None:
            df, splitter = halves
        frame = as_pandas(df, "table of texts", "from_csv, for text files from_folder")
        names = [table_column(frame, column).name for column in _listed(text_col)]
        _require_texts(frame, names)
        text = _text_block(tok_tfm, transformer, text_vocab, is_lm, is_masked, seq_len, backwards, names)
        blocks: tuple[Any, ...] = (text,)
        get_y = None
        if not (is_lm or is_masked):
            labels = [table_column(frame, column).name for column in _listed(label_col)]
            blocks = (text, target_block(frame, labels, label_delim, y_block))
            get_y = ColReader(labels, label_delim=label_delim)
        if splitter is None:
            splitter = RandomSplitter(valid_pct, seed) if valid_col is None else ColSplitter(valid_col)
        block = DataBlock(
            blocks=blocks,
            get_x=ColReader(names),
            get_y=get_y,
            splitter=splitter,
        )
        return block.dataloaders(frame, **{"path": path, **seeded(seed), **options})

    @classmethod
    def from_csv(
        cls,
        path: str | AnyPath,
        csv_fname: str | AnyPath = "labels.csv",
        header: int | None = 0,
        delimiter: str | None = None,
        text_col: str | int | Sequence[str | int] = 0,
        label_col: Any = 1,
        label_delim: str | None = None,
        is_lm: bool = False,
        is_masked: bool = False,
        encoding: str = "utf-8",
        **options: Any,
    ) -> DataLoaders:
        """Return loaders of a CSV file under `path`; `options` are those of `from_df`.

        A text is the string that stands in the file: "NA" and "007" are texts as others are, and only an empty cell is
        missing. A column of nothing but numbers is one of texts where `text_col` has its name; by its place alone it is
        refused, for often it is that of the rows' numbers. Labels are numbers where `with_values` finds them; classes
        such as "007" stay as they are written. Where `label_delim` cuts cells, an empty one has no label, which is
        printed.

        Raises:
            TableError: the file cannot be read, or a column is missing; DataError: by its place a column of numbers was
                taken for one of texts; see `from_df` for the rest.
        """
        settings: dict[str, Any] = {"encoding": encoding} | ({} if delimiter is None else {"sep": delimiter})
        if header != 0:
            settings["header"] = header
        cells = read_cells(Path(path) / csv_fname, **settings)
        as_written = [column for column in _listed(text_col) if column in cells.columns]
        if label_delim is not None and not (is_lm or is_masked):
            as_written += _listed(label_col)
            cells = allow_no_labels(cells, _listed(label_col))
        frame = with_values(cells, {table_column(cells, column).name for column in as_written})
        return cls.from_df(
            frame, path, text_col=text_col, label_col=label_col, label_delim=label_delim, is_lm=is_lm,
            is_masked=is_masked, **options,
        )  # fmt: skip


def _listed(columns: Any) -> list[Any]:
    return listify(columns) or [columns]


def _require_texts(frame: Any, names: Sequence[Any]) -> None:
    """Raise a DataError where a column of texts holds numbers: often it is that of the rows' numbers."""
    from pandas.api.types import is_numeric_dtype

    for name in names:
        if is_numeric_dtype(frame[name]) and len(frame):
            others = [column for column in frame.columns if not is_numeric_dtype(frame[column])]
            shown = ", ".join(map(repr, others[:5])) or "none"
            raise DataError(
                f"The column {name!r} holds no texts but numbers ({frame[name].dtype}), such as {frame[name].iloc[0]}. "
                f"Name the column of texts by text_col=...; columns without numbers: {shown}. Where the numbers are "
                f"the texts, make them strings first: df[{name!r}] = df[{name!r}].astype(str)."
            )


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
