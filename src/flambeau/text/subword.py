"""Subword tokens: after reading it you know how a tokenizer learns, from texts, pieces from which all words are made.

A language without blanks between words, or a small vocabulary, asks for pieces smaller than words. Which pieces, the
`tokenizers` library works out from how often they occur: unigram (Kudo 2018, the algorithm that sentencepiece made
known), byte pair encoding, or WordPiece. A ▁ stands for the blank before a word, so that pieces can be joined again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from flambeau.foundation.errors import ArgumentError, EmptyError, ExportError, unknown_name
from flambeau.text.rules import TextRule
from flambeau.text.special_tokens import SPECIAL_TOKENS, UNK

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MODEL_TYPES = ("unigram", "bpe", "wordpiece")

_MOST_TOKENS = 30_000
_TEXTS_AT_ONCE = 256
_SPECIAL = re.compile(rf" ?(?<!\S)({'|'.join(SPECIAL_TOKENS)})(?!\S)")


class SubwordTokenizer:
    """Cuts texts into pieces of words which it learns from texts in `setup`.

    `vocab_sz` is the number of tokens it knows, special tokens included; None is as many as the texts give, 30,000 at
    most. `model_type` is "unigram", "bpe" or "wordpiece". Special tokens stay whole and have the first ids.

    >>> subwords = SubwordTokenizer(vocab_sz=20, model_type="bpe")
    >>> subwords.setup(["low lower lowest", "low lows"])
    >>> subwords.tokens("xxbos low west")
    ['xxbos', '▁low', '▁', 'w', 'e', 's', 't']
    """

    def __init__(self, vocab_sz: int | None = None, model_type: str = "unigram") -> None:
        if model_type not in MODEL_TYPES:
            raise unknown_name("model_type", model_type, MODEL_TYPES)
        if vocab_sz is not None and vocab_sz <= len(SPECIAL_TOKENS):
            raise ArgumentError(
                f"vocab_sz={vocab_sz} leaves no room beside the {len(SPECIAL_TOKENS)} special tokens: "
                "give some thousands"
            )
        self.vocab_sz = vocab_sz
        self.model_type = model_type
        self._trained: Tokenizer | None = None

    @property
    def vocab(self) -> list[str]:
        """Return the tokens that were learnt, in the order of their ids."""
        trained = self._after_setup()
        numbers = trained.get_vocab()
        return sorted(numbers, key=numbers.__getitem__)

    def setup(self, texts: Iterable[str], rules: Sequence[TextRule] = ()) -> None:
        """Learn the pieces from texts, to which `rules` are applied first; what has learnt already stays as it is.

        The texts may come from an iterator: only the distinct words are held in memory.
        """
        if self._trained is not None:
            return
        trained, trainer = _untrained(self.model_type, self.vocab_sz or _MOST_TOKENS)
        letters: set[str] = set()
        failure: Exception | None = None
        try:
            trained.train_from_iterator(_segments(texts, rules, letters), trainer)
        except Exception as found:  # the library raises nothing more precise
            failure = found
        self._check(trained.get_vocab_size(), letters, failure)
        self._trained = trained

    def __call__(self, texts: Iterable[str]) -> Iterator[list[str]]:
        """Yield the tokens of each text."""
        trained = self._after_setup()
        vocab = self.vocab
        waiting = iter(texts)
        while group := [_SPECIAL.split(text) for text in islice(waiting, _TEXTS_AT_ONCE)]:
            # of the parts of a text, every second one is a special token
            words = [word for parts in group for word in (_with_blank(parts[0]), *parts[2::2])]
            pieces = (encoded.ids for encoded in trained.encode_batch(words, add_special_tokens=False))
            for parts in group:
                tokens = [vocab[number] for number in next(pieces)]
                for special in parts[1::2]:
                    tokens.append(special)
                    tokens += [vocab[number] for number in next(pieces)]
                yield tokens

    def tokens(self, text: str) -> list[str]:
        """Return the tokens of one text."""
        return next(iter(self([text])))

    def join(self, tokens: Iterable[str]) -> str:
        """Return the text of tokens: the inverse of `tokens`, but for characters that are unknown.

        >>> SubwordTokenizer().join(["xxbos", "▁un", "known", "xxmaj", "▁word"])
        'xxbos unknown xxmaj word'
        """
        parts: list[str] = []
        for token in tokens:
            if token in SPECIAL_TOKENS and parts and not parts[-1][-1].isspace():
                parts.append(" ")
            parts.append(token.replace("▁", " "))
        return "".join(parts).removeprefix(" ")

    def to_text(self) -> str:
        """Return all that was learnt as JSON, for `from_text`."""
        return self._after_setup().to_str()

    @classmethod
    def from_text(cls, text: str) -> SubwordTokenizer:
        """Return the tokenizer whose `to_text` gave the text."""
        from tokenizers import Tokenizer

        try:
            model_type = json.loads(text)["model"]["type"].lower()
            trained = Tokenizer.from_str(text)
        except Exception as failure:  # the library raises nothing more precise
            raise ExportError(
                f"this is not the text of a subword tokenizer, as to_text() gives it: {failure}"
            ) from failure
        tokenizer = cls(trained.get_vocab_size(), model_type)
        tokenizer._trained = trained
        return tokenizer

    def _after_setup(self) -> Tokenizer:
        if self._trained is None:
            raise ArgumentError("this SubwordTokenizer has not learnt its pieces yet: call setup(texts) first")
        return self._trained

    def _check(self, got: int, letters: set[str], failure: Exception | None) -> None:
        """Raise what is to be said about a training: no text, or a vocabulary that is too small or too large."""
        if not letters:
            raise EmptyError("there is no text to learn subwords from: the texts given to setup() are empty")
        needed = len(SPECIAL_TOKENS) + len(letters)
        if (failure or got > (self.vocab_sz or got)) and needed > (self.vocab_sz or _MOST_TOKENS):
            raise ArgumentError(
                f"vocab_sz={self.vocab_sz} is too small: the texts have {len(letters)} different characters, and there "
                f"are {len(SPECIAL_TOKENS)} special tokens; give {needed} at the least"
            ) from failure
        if failure:
            raise failure
        if self.vocab_sz is not None and got < self.vocab_sz:
            raise ArgumentError(
                f"vocab_sz={self.vocab_sz} is more than these texts give: {got} tokens were found in them; "
                f"give vocab_sz={got} or less, vocab_sz=None for as many as there are, or more texts"
            )


def _untrained(model_type: str, vocab_sz: int) -> tuple[Tokenizer, Any]:
    from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, trainers

    special = [AddedToken(token, single_word=True, normalized=False, special=True) for token in SPECIAL_TOKENS]
    told: dict[str, Any] = {"vocab_size": vocab_sz, "special_tokens": special, "show_progress": False}
    trainer: Any
    if model_type == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(unk_token=UNK, **told)
    elif model_type == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token=UNK))
        trainer = trainers.BpeTrainer(**told)
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token=UNK))
        trainer = trainers.WordPieceTrainer(continuing_subword_prefix="", **told)
    # a blank belongs to the word behind it; line breaks are pieces of their own
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="never"), pre_tokenizers.Split(Regex(r"\s+"), "isolated")]
    )
    return tokenizer, trainer


def _segments(texts: Iterable[str], rules: Sequence[TextRule], letters: set[str]) -> Iterator[str]:
    """Yield what stands between the special tokens of each text, and note its characters."""
    for text in texts:
        for rule in rules:
            text = rule(text)
        first, *others = _SPECIAL.split(text)[::2]
        for segment in (_with_blank(first), *others):
            letters.update(segment.replace(" ", "▁"))
            yield segment


def _with_blank(segment: str) -> str:
    """Return the first words of a text with a blank before them, so that they look like the same words elsewhere."""
    return f" {segment}" if segment else ""
