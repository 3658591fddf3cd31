"""Texts in memory: after reading it you know how documents are tokenised once and then served without work on words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from flambeau.data.batch import Batch, collate
from flambeau.data.dataset import Datasets, Getter, Rows, SubsetItems, as_column, is_row, without_getters
from flambeau.data.kinds import Kind, Tokens
from flambeau.data.labels import ColReader
from flambeau.data.pipeline import EncodedItems, Pipeline, raise_located
from flambeau.data.tables import table_column
from flambeau.data.transform import Transform
from flambeau.foundation.errors import ArgumentError, DataError
from flambeau.foundation.progress_bar import progress_bar
from flambeau.text.documents import Documents, Ints
from flambeau.text.numbering import learn_vocab, number_documents, renumbered
from flambeau.text.numericalize import Numericalize
from flambeau.text.token_tags import TokenTags, words_of
from flambeau.text.tokenizer import JOINED, Tokenizer, as_texts

MOST_TOKENS = 20_000  # of one document in a batch: a few dozen beside it must still fit into memory


class TextDatasets(Datasets):
    """Items of which a column or two is text: tokenised once, when the data set is made, and kept as numbers.

    A batch's text is one tensor (batch, longest), filled up at the end of the shorter documents; the other columns
    (classes, numbers) are tensors as well, so that a batch is a slice of what lies in memory.
    """

    travels: ClassVar[bool] = True
    cuts: ClassVar[bool] = True
    """Whether a very long document is cut, because a batch holds each document whole."""

    def __init__(self, items: Any, tfms: Sequence[Any] | None = None, *args: Any, **options: Any) -> None:
        self.held: dict[int, Documents | Tensor] = {}
        self._places: Ints | None = None
        columns = [as_column(column) for column in tfms or [None]]
        if hasattr(items, "columns") and hasattr(items, "iloc"):
            columns = [_reading_all(column, items) for column in columns]
            items = quick_rows(items, columns)
        self.of_words = has_tags(columns)
        super().__init__(items, columns, *args, **options)

    @classmethod
    def template(cls, pipelines: Sequence[Pipeline], kinds: Sequence[Kind], n_inp: int, c: int) -> Datasets:
        made = super().template(pipelines, kinds, n_inp, c)
        assert isinstance(made, TextDatasets)
        made.held, made._places, made.of_words = {}, None, has_tags(pipelines)
        return made

    # reading

    def _learn_column(self, place: int, train: SubsetItems) -> None:
        if text_steps(self.pipelines[place]) is None:
            super()._learn_column(place, train)
        else:
            self.held[place] = self._read(self.pipelines[place], np.asarray(self.splits[0], dtype=np.int64))

    def _read(self, pipeline: Pipeline, training: Ints) -> Documents:
        """Return a text column's documents as numbers; what learns (a vocabulary) sees the training ones."""
        found = text_steps(pipeline)
        assert found is not None
        before, encoder = found
        documents = self._documents(before, encoder, training)
        if self.cuts:
            _tell_cut(documents.lengths)
        return documents

    def _documents(self, before: list[Transform], encoder: list[Any], training: Ints) -> Documents:
        if not isinstance(encoder[0], Tokenizer):
            return self._encoded(before, encoder[0])
        tokenizer, num = encoder
        assert isinstance(num, Numericalize)
        if tokenizer.learns and len(training):
            tokenizer.setup(self._values(before, training.tolist()))
        texts = self._texts(before, tokenizer)
        with progress_bar(len(self.source), "tokens") as tell:
            documents, words = number_documents(tokenizer.stream(texts), tell)
        if num.vocab is None:
            learn_vocab(num, documents, words, training)
        return renumbered(documents, words, num)

    def _encoded(self, before: Sequence[Transform], encoder: Any) -> Documents:
        """Return the documents as a transformer's tokenizer numbers them, one text an item or a pair."""
        if self.of_words:
            return Documents.from_lists([ids for ids, _, _ in self._words(before, encoder)])
        values = []
        for place, value in enumerate(self._values(before, range(len(self.source)))):
            try:
                values.append(as_texts(value, encoder.encoding))
            except Exception as error:
                raise_located(error, self.item_name(place))
        of_pairs = len(values[0]) == 2 if values else False
        odd = next((place for place, value in enumerate(values) if len(value) != 1 + of_pairs), None)
        if odd is not None:
            n = "two texts" if of_pairs else "one text"
            raise DataError(f"{n.capitalize()} an item was expected, got {len(values[odd])} in {self.item_name(odd)}.")
        pairs = [value[1] for value in values] if of_pairs else None
        with progress_bar(len(values), "tokens") as tell:
            return Documents.from_lists(encoder.encode_all([value[0] for value in values], pairs, tell))

    def _words(self, before: Sequence[Transform], encoder: Any) -> Iterator[tuple[list[int], list[int], int]]:
        """Yield the ids of each document that comes as words, the word that each id belongs to, and how many there are.

        The last words may have no id: of some characters a tokenizer leaves nothing.
        """
        for place, value in enumerate(self._values(before, range(len(self.source)))):
            try:
                words = words_of(value)
                yield (*encoder.encode_words(words), len(words))
            except Exception as error:
                raise_located(error, self.item_name(place))

    def _tags(self, column: int) -> Documents:
        """Return the tags of a column, one a token of the text beside it."""
        found = text_steps(self.pipelines[0])
        assert found is not None
        before, (encoder, *_) = found
        values = self._values(self.pipelines[column].transforms, range(len(self.source)))
        align = self.pipelines[column][-1].align  # type: ignore[attr-defined]
        aligned = [
            align(tags, word_of, n_words, self.item_name(place))
            for place, (tags, (_, word_of, n_words)) in enumerate(
                zip(values, self._words(before, encoder), strict=True)
            )
        ]
        return Documents.from_lists(aligned)

    def _values(self, before: Sequence[Transform], places: Sequence[int]) -> Iterator[Any]:
        items = SubsetItems(self.source, places)
        return iter(EncodedItems(items, before, lambda at: self.item_name(places[at])))

    def _texts(self, before: Sequence[Transform], tokenizer: Tokenizer) -> Iterator[str]:
        for place, value in enumerate(self._values(before, range(len(self.source)))):
            try:
                yield tokenizer.text(value)
            except Exception as error:
                raise_located(error, self.item_name(place))

    # samples and batches

    def _view(self, indices: Sequence[int], split_idx: int | None) -> Datasets:
        view = super()._view(indices, split_idx)
        assert isinstance(view, TextDatasets)
        view._places = None
        return view

    @property
    def places(self) -> Ints:
        """The places of this half's items among all (items,), int64."""
        if self._places is None:
            self._places = np.asarray(self.indices, dtype=np.int64)
        return self._places

    @property
    def lengths(self) -> Ints:
        """The number of tokens of each item's first text (items,)."""
        return self._first_text().lengths[self.places]

    def longest_texts(self, separator: int, n_before: int = 0) -> Ints:
        """Return the number of tokens of the longest text of each item (items,), where this id stands between them.

        `n_before` markers stand before the first text and belong to none.
        """
        documents = self._first_text()
        lengths = []
        for place in self.places.tolist():
            ids = documents[place].numpy()
            edges = np.concatenate([[n_before - 1], np.flatnonzero(ids == separator), [len(ids)]])
            lengths.append(int(np.diff(edges).max()) - 1)
        return np.asarray(lengths, dtype=np.int64)

    def _first_text(self) -> Documents:
        return next(held for held in self.held.values() if isinstance(held, Documents))

    def __getitem__(self, place: Any) -> Any:
        if type(place) is not int:
            return super().__getitem__(place)
        at = self.indices[place]
        return tuple(self._column(column)[at] for column in range(len(self.pipelines)))

    def _column(self, column: int) -> Documents | Tensor:
        if column not in self.held and isinstance(self.pipelines[column][-1], TokenTags):
            self.held[column] = self._tags(column)
        if column not in self.held:
            values = list(self._values(self.pipelines[column].transforms, range(len(self.source))))
            kind = self.pipelines[column].kind(values[0])
            batch = collate([(value,) for value in values], [kind], names=self.item_name)
            self.held[column] = batch[0]
        return self.held[column]

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the batch of these items of this half."""
        places = self.places[np.asarray(indices, dtype=np.int64)]
        columns = [self._of_column(column, places) for column in range(len(self.pipelines))]
        n_inp = min(self.n_inp, len(columns))
        return Batch(tuple(columns[:n_inp]), tuple(columns[n_inp:]), tuple(self.kinds[: len(columns)]))

    def numbers(self, column: int) -> Tensor | None:
        """Return the numbers (items,) or (items, n) of this half in a column, None where it holds something else."""
        held = self._column(column)
        return held[torch.from_numpy(self.places)] if isinstance(held, Tensor) and held.is_floating_point() else None

    def _of_column(self, column: int, places: Ints) -> Tensor:
        held = self._column(column)
        if isinstance(held, Tensor):
            return held.index_select(0, torch.from_numpy(places))
        kind = self.kinds[column]
        pad_id = getattr(kind, "pad_id", 0)
        backwards = isinstance(kind, Tokens) and kind.backwards
        return held.padded(places, pad_id, MOST_TOKENS, backwards, keep_start=True)

    def _first_targets(self) -> Sequence[Any]:
        return self[0][self.n_inp :] if len(self) else ()

    # new items

    def with_items(self, items: Any, n_columns: int | None = None) -> Datasets:
        other = super().with_items(items, n_columns)
        assert isinstance(other, TextDatasets)
        first = other.source[0]
        if isinstance(self.source, Rows) and isinstance(first, tuple | list) and not is_row(first):
            # the texts of one item, not a row of the table
            other.pipelines = [without_getters(pipeline) for pipeline in other.pipelines]
        other.held, other._places = {}, None
        for column, pipeline in enumerate(other.pipelines):
            if text_steps(pipeline) is not None:
                other.held[column] = other._read(pipeline, np.zeros(0, dtype=np.int64))
        return other


def _tell_cut(lengths: Ints) -> None:
    n_long = int((lengths > MOST_TOKENS).sum())
    if n_long:
        print(
            f"{n_long} of {len(lengths)} documents are longer than {MOST_TOKENS:,} tokens (the longest has "
            f"{lengths.max():,}): of these only the first {MOST_TOKENS:,} are used. Cut them into parts to use all."
        )


class QuickRows(Rows):
    """A data frame's rows as dictionaries of the columns that are read, a hundred times faster than `frame.iloc`."""

    def __init__(self, frame: Any, columns: dict[Any, list[Any]]) -> None:
        super().__init__(frame)
        self.columns = columns

    def __getitem__(self, place: Any) -> Any:
        return {name: values[place] for name, values in self.columns.items()}


def quick_rows(frame: Any, columns: Sequence[Pipeline]) -> Any:
    """Return a table's rows for pipelines that begin with ColReaders; the table itself where some other code reads."""
    getters = [transform for column in columns for transform in column if isinstance(transform, Getter)]
    readers = [getter.code for getter in getters]
    firsts = [column[0] for column in columns if len(column) and not isinstance(column[0], OwnTokens)]
    if len(firsts) != len(getters) or not all(isinstance(reader, ColReader) for reader in readers):
        return frame
    names = dict.fromkeys(name for reader in readers for name in reader.cols)
    return QuickRows(frame, {name: table_column(frame, name).tolist() for name in names})


def _reading_all(column: Pipeline, frame: Any) -> Pipeline:
    """Return a column whose getter reads all text columns of its tokenizer, where course code says `ColReader("text")`.

    fastai writes several columns together into one that is called text.
    """
    found = text_steps(column)
    names = getattr(found[1][0], "text_cols", []) if found else []
    first = column[0] if len(column) else None
    if len(names) < 2 or not isinstance(first, Getter) or not isinstance(first.code, ColReader):
        return column
    if first.code.cols == [JOINED] and JOINED not in list(frame.columns):
        other = Pipeline()
        other.transforms = [Getter(ColReader(names), first.role), *column.transforms[1:]]
        return other
    return column


def has_tags(pipelines: Sequence[Pipeline]) -> bool:
    """Whether a column holds a tag for each word, so that the texts come as words."""
    return any(isinstance(transform, TokenTags) for pipeline in pipelines for transform in pipeline)


def text_steps(pipeline: Pipeline) -> tuple[list[Transform], list[Any]] | None:
    """Return what comes before a column's tokenizer, and the tokenizer with what follows; None where it has none."""
    for place, transform in enumerate(pipeline.transforms):
        if isinstance(transform, Tokenizer) or hasattr(transform, "encode_all"):
            return pipeline.transforms[:place], pipeline.transforms[place:]
    return None


class OwnTokens(Transform):
    """The target of a language model: tokens of the text itself. They are read off the input, so nothing is stored."""

    def __init__(self, encoder: Transform | None = None) -> None:
        super().__init__()
        self.encoder = encoder

    @property
    def kind(self) -> Kind | None:
        return self.encoder.kind if self.encoder is not None else Tokens()

    def settings(self) -> dict[str, Any]:
        return {}


class SelfTaughtDatasets(TextDatasets):
    """Documents whose words are input and target, as a masked language model has them; a transform hides some."""

    def __init__(self, items: Any, tfms: Sequence[Any] | None = None, *args: Any, **options: Any) -> None:
        columns = [as_column(column) for column in tfms or [None]]
        if len(columns) != 1 or text_steps(columns[0]) is None:
            raise ArgumentError("A language model reads one column of text and has no other target.")
        following = Pipeline()
        following.transforms = [OwnTokens(columns[0][-1])]
        super().__init__(items, [columns[0], following], *args, **options)

    def _setup(self) -> None:
        super()._setup()
        self.held[1] = self.held[0]

    @property
    def documents(self) -> Documents:
        """The documents of all halves; `places` tells which belong to this one."""
        return self._first_text() if self.held else Documents.from_lists([])

    @property
    def kinds(self) -> list[Kind]:
        kind = self.pipelines[0].kind(None)
        return [kind, kind]

    def with_items(self, items: Any, n_columns: int | None = None) -> Datasets:
        other = super().with_items(items, None)  # the targets are in the texts
        assert isinstance(other, TextDatasets)
        other.held[1] = other.held[0]
        return other


class LMDatasets(SelfTaughtDatasets):
    """Documents for a language model: a sample is a document without its last token, and without its first.

    `LMDataLoader` reads them as one stream; see there.
    """

    cuts: ClassVar[bool] = False

    @classmethod
    def from_documents(
        cls, documents: Documents, tokenizer: Tokenizer, num: Numericalize, splits: Sequence[Any]
    ) -> LMDatasets:
        """Return a data set of documents that are numbered already; an item is a document's place among them.

        `splits` are the places of the halves, as arrays: a large corpus has too many for lists.
        """
        made = cls(range(len(documents)), [[tokenizer, num]], do_setup=False)
        made.splits, made.held = [*splits], {0: documents, 1: documents}
        return made

    def __getitem__(self, place: Any) -> Any:
        if type(place) is not int:
            return super().__getitem__(place)
        document = self.document(place)
        return document[:-1], document[1:]

    def document(self, place: int) -> Tensor:
        """Return the ids of the document at a place of this half (time,), turned round for a backward model."""
        ids = self._first_text()[self.indices[place]]
        return torch.cat([ids[:1], ids[1:].flip(0)]) if self.backwards else ids

    @property
    def backwards(self) -> bool:
        """Whether the model reads from the end of each document to its beginning."""
        return bool(getattr(self.kinds[0], "backwards", False))

    def _encoded(self, before: Sequence[Transform], encoder: Any) -> Documents:
        """Return the documents, each with the mark of its end, by which a model knows that another begins."""
        documents, end = super()._encoded(before, encoder), encoder.ids["eos"]
        if end is None or not documents.n_tokens:
            return documents
        unmarked = documents.ids[documents.offsets[1:] - 1] != end
        ids = np.insert(documents.ids, documents.offsets[1:][unmarked], end)
        return Documents(ids, documents.offsets + np.concatenate([[0], np.cumsum(unmarked)]))
