"""Blocks of text: after reading it you can put documents into a DataBlock, by words or by transformers' tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path as AnyPath
from typing import Any

from flambeau.data.block import TransformBlock
from flambeau.text.dataset import LMDatasets, SelfTaughtDatasets, TextDatasets
from flambeau.text.loaders import LMDataLoader, SortedDL
from flambeau.text.masking import MaskTokens
from flambeau.text.numericalize import Numericalize
from flambeau.text.rules import TextRule
from flambeau.text.tokenizer import Splitter, Tokenizer
from flambeau.text.transformer_tokenizer import TransformerTokenizer


class TextBlock(TransformBlock):
    """The block of one text an item: tokenised, numbered, and sorted by length or, with `is_lm`, read as one stream.

    Args:
        tok_tfm: the `Tokenizer`.
        vocab: the words that have a number of their own (None: those of the training texts, see `make_vocab`).
        is_lm: for a language model, whose target is the next token of the same text.
        seq_len: how many tokens a language model's row has in a batch.
        backwards: read each document from its end; min_freq, max_vocab: limits of a vocabulary that is learnt.
        is_masked: for a masked language model, whose targets are tokens that it is not shown.
    """

    def __init__(
        self,
        tok_tfm: Any,
        vocab: Iterable[str] | None = None,
        is_lm: bool = False,
        seq_len: int = 72,
        backwards: bool = False,
        min_freq: int = 3,
        max_vocab: int = 60000,
        is_masked: bool = False,
    ) -> None:
        joiner = getattr(tok_tfm, "joiner", " ")
        by_words = not isinstance(tok_tfm, TransformerTokenizer)  # which numbers its own tokens
        num = [Numericalize(vocab, min_freq, max_vocab, backwards, joiner)] if by_words else []
        super().__init__(
            type_tfms=[tok_tfm, *num],
            batch_tfms=[MaskTokens.of(tok_tfm)] if is_masked else None,
            dl_type=LMDataLoader if is_lm else SortedDL,
            dls_kwargs={"seq_len": seq_len} if is_lm else {},
            datasets=LMDatasets if is_lm else SelfTaughtDatasets if is_masked else TextDatasets,
        )

    @classmethod
    def from_folder(
        cls,
        path: str | AnyPath,
        vocab: Iterable[str] | None = None,
        is_lm: bool = False,
        seq_len: int = 72,
        backwards: bool = False,
        min_freq: int = 3,
        max_vocab: int = 60000,
        tok: Splitter | None = None,
        rules: Sequence[TextRule] | None = None,
        encoding: str = "utf-8",
    ) -> TextBlock:
        """Return the block of text files."""
        tokenizer = Tokenizer.from_folder(path, tok, rules, encoding=encoding)
        return cls(tokenizer, vocab, is_lm, seq_len, backwards, min_freq, max_vocab)

    @classmethod
    def from_df(
        cls,
        text_cols: str | Sequence[str],
        vocab: Iterable[str] | None = None,
        is_lm: bool = False,
        seq_len: int = 72,
        backwards: bool = False,
        min_freq: int = 3,
        max_vocab: int = 60000,
        tok: Splitter | None = None,
        rules: Sequence[TextRule] | None = None,
        mark_fields: bool | None = None,
    ) -> TextBlock:
        """Return the block of a table's text column; of several, each behind the mark "xxfld" and its number."""
        tokenizer = Tokenizer.from_df(text_cols, tok, rules, mark_fields)
        return cls(tokenizer, vocab, is_lm, seq_len, backwards, min_freq, max_vocab)

    @classmethod
    def from_transformer(
        cls,
        name_or_folder: str | AnyPath | TransformerTokenizer,
        is_lm: bool = False,
        is_masked: bool = False,
        seq_len: int = 128,
        max_len: int | None = None,
        lowercase: bool = False,
        special_tokens: Sequence[str] = (),
        encoding: str = "utf-8",
    ) -> TextBlock:
        """Return the block of texts, or of pairs of them, in the tokens of a transformer: see `TransformerTokenizer`.

        An item is a string, a text file's path, or a tuple of two strings. `is_lm` is for a model that writes on,
        `is_masked` for one that fills in what is hidden, which adapts it to your texts before it learns their labels.

        Raises:
            MissingDependencyError: transformers is not installed; ArgumentError, DownloadError: there is no such model.
        """
        tokenizer = name_or_folder
        if not isinstance(tokenizer, TransformerTokenizer):
            tokenizer = TransformerTokenizer.from_pretrained(tokenizer, max_len, lowercase, special_tokens, encoding)
        return cls(tokenizer, None, is_lm, seq_len, is_masked=is_masked)
