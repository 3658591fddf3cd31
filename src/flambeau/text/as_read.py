"""A text as a model reads it: after reading it you know which ids each word that a person sees has become.

"The films!"   xxbos xxmaj the films !      words: xxbos, The, films, !
               [CLS] the film ##s ! [SEP]   words: [CLS], The, films, !, [SEP]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from flambeau.data.data_loaders import DataLoaders
from flambeau.data.dataset import without_getters
from flambeau.data.kinds import Tokens
from flambeau.foundation.errors import ArgumentError
from flambeau.text.dataset import text_steps
from flambeau.text.generate import WRITE_TOGETHER, decode_spec_tokens
from flambeau.text.numericalize import Numericalize
from flambeau.text.special_tokens import BOS, EOS, FLD, PAD, SPECIAL_TOKENS, TK_MAJ, TK_REP, TK_UP, TK_WREP
from flambeau.text.tokenizer import Tokenizer
from flambeau.text.transformer_tokenizer import Subwords, TransformerTokenizer

BLANK_MARK = "▁"  # before a subword that begins a word
NO_BLANK_BEFORE = (*".,!?;:)…", *WRITE_TOGETHER)


@dataclass(frozen=True)
class Word:
    """A word as a person reads it, and the places of its tokens among the ids.

    A marker is no word of the text; `after_blank` tells whether a blank stands before it.
    """

    text: str
    places: tuple[int, ...]
    is_marker: bool = False
    after_blank: bool = True


@dataclass(frozen=True)
class TextAsRead:
    """A text's ids (time,), int64, in the order in which the model reads them, and its words in that of the text.

    `baseline` is the id that stands for "no word" (a mask), None where a vector of zeros does.
    """

    ids: Tensor
    words: list[Word]
    tokens: list[str]
    n_ids: int
    baseline: int | None = None

    @property
    def inner(self) -> list[Word]:
        """The words without markers."""
        return [word for word in self.words if not word.is_marker]


def as_read(dls: DataLoaders, text: str | tuple[str, str]) -> TextAsRead:
    """Return a text, or a pair of them, as a model of these loaders reads it.

    Raises:
        ArgumentError: the loaders hold no text, or there is no word in this one.
    """
    pipelines = getattr((dls[1] if len(dls) > 1 else dls[0]).dataset, "pipelines", ())
    steps = text_steps(without_getters(pipelines[0])) if pipelines else None
    if steps is None or not isinstance(dls.kinds[0], Tokens | Subwords):
        raise ArgumentError(
            f"Words are shown of learners that read text, and this one reads a {type(dls.kinds[0]).__name__}. Make its "
            "loaders with TextDataLoaders or a TextBlock."
        )
    parts = text if isinstance(text, tuple) else (text,)
    if not all(isinstance(part, str) for part in parts):
        raise ArgumentError(f"A text is a string, got {text!r:.80} of type {type(text).__name__}.")
    before, encoder = steps
    value: Any = text
    for transform in before:
        value = transform(value)
    if isinstance(encoder[0], TransformerTokenizer):
        found = _in_subwords(encoder[0], value if isinstance(value, tuple) else (value,))
    else:
        found = _in_words(encoder[0], encoder[1], value)
    if not found.inner:
        raise ArgumentError(f"The text {text!r} holds no word that could be shown. Pass one with words.")
    return found


# words of a vocabulary


def _in_words(tokenizer: Tokenizer, num: Numericalize, text: Any) -> TextAsRead:
    tokens = list(tokenizer(text))
    ids, n = num(tokens), len(tokens)
    order = [0, *range(n - 1, 0, -1)] if num.backwards else list(range(n))  # a model may read from the end
    reached = {place: at for at, place in enumerate(order)}
    words = [
        Word(word.text, tuple(reached[place] for place in word.places), word.is_marker, word.after_blank)
        for word in words_of_tokens(tokens, tokenizer.joiner)
    ]
    return TextAsRead(ids[order], words, [tokens[place] for place in order], len(num.vocab or ()))


def words_of_tokens(tokens: Sequence[str], joiner: str = " ") -> list[Word]:
    """Return the words of tokens: `xxmaj the` is "The", `xxrep 3 !` is "!!!"; subwords are put together.

    >>> [word.text for word in words_of_tokens(["xxbos", "xxmaj", "the", "film", "xxrep", "3", "!"])]
    ['xxbos', 'The', 'film', '!!!']
    """
    words: list[Word] = []
    waiting: list[tuple[str, tuple[int, ...]]] = []
    for text, places in _joined_subwords(tokens) if not joiner else [(t, (p,)) for p, t in enumerate(tokens)]:
        last = waiting[-1][0] if waiting else ""
        if text in (BOS, EOS, PAD):
            words.append(Word(text, places, is_marker=True))
        elif last == FLD:
            words.append(Word(f"{FLD} {text}", waiting.pop()[1] + places, is_marker=True))
        else:
            waiting.append((text, places))
            # a mark says something of what follows it
            if text not in (FLD, TK_MAJ, TK_UP, TK_REP, TK_WREP) and last not in (TK_REP, TK_WREP):
                words.append(_word_of(waiting))
                waiting = []
    if waiting:
        words.append(_word_of(waiting))
    return words


def _word_of(group: Sequence[tuple[str, tuple[int, ...]]]) -> Word:
    texts = [text for text, _ in group]
    written = " ".join(decode_spec_tokens(texts)) or " ".join(texts)
    places = tuple(place for _, own in group for place in own)
    return Word(written, places, after_blank=not set(texts) & set(NO_BLANK_BEFORE))


def _joined_subwords(tokens: Sequence[str]) -> list[tuple[str, tuple[int, ...]]]:
    found: list[tuple[str, tuple[int, ...]]] = []
    for place, token in enumerate(tokens):
        text = token.replace(BLANK_MARK, "")
        goes_on = not token.startswith(BLANK_MARK) and token not in SPECIAL_TOKENS
        if goes_on and found and found[-1][0] not in SPECIAL_TOKENS:
            found[-1] = (found[-1][0] + text, (*found[-1][1], place))
        else:
            found.append((text, (place,)))
    return [(text, places) for text, places in found if text]


# subwords of a transformer


def _in_subwords(tokenizer: TransformerTokenizer, texts: tuple[str, ...]) -> TextAsRead:
    if not 0 < len(texts) <= 2:
        raise ArgumentError(f"A text or a pair of them was expected, got {len(texts)}.")
    encoding = tokenizer.backend.encode(texts[0], texts[1] if len(texts) > 1 else None)
    special, tokens = encoding.special_tokens_mask, tokenizer.tokens(encoding.ids)
    words: list[Word] = []
    shown: list[str] = []
    spans: list[tuple[int, int, int]] = []  # of the words: which text, begin and end in it
    last: Any = None
    for place, (begin, end) in enumerate(encoding.offsets):
        at = encoding.sequence_ids[place]
        if at is None or special[place]:
            words.append(Word(tokens[place], (place,), is_marker=True))
            shown.append(tokens[place])
            spans.append((-1, 0, 0))
            last = None
            continue
        text = texts[at]
        while begin < end and text[begin].isspace():  # a bytewise token holds the blank before it
            begin += 1
        shown.append(text[begin:end] or tokens[place])
        own = (at, encoding.word_ids[place])
        before = spans[-1] if spans else (-1, 0, 0)
        if own == last and not text[before[2] : begin].isspace():
            spans[-1] = (at, before[1], max(end, before[2]))
            words[-1] = Word(text[before[1] : spans[-1][2]], (*words[-1].places, place), False, words[-1].after_blank)
        else:
            blank = before[0] != at or before[2] < begin
            words.append(Word(text[begin:end] or tokens[place], (place,), False, blank))
            spans.append((at, begin, end))
        last = own
    baseline = tokenizer.ids["mask"]
    return TextAsRead(torch.tensor(encoding.ids), words, shown, tokenizer.vocab_size, baseline)
