"""Words to numbers: after reading it you know which words get a number of their own, and what becomes of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from flambeau.data.kinds import Kind, Tokens, in_short
from flambeau.data.transform import Transform
from flambeau.foundation.errors import ArgumentError, DataError
from flambeau.foundation.lists import L
from flambeau.text.special_tokens import PAD_ID, SPECIAL_TOKENS, UNK_ID

FAKE = "xxfake"  # fills a vocabulary up: GPUs multiply matrices whose sides are multiples of 8 faster


def make_vocab(count: Mapping[str, int], min_freq: int = 3, max_vocab: int = 60000) -> list[str]:
    """Return the special tokens and the commonest words (at most `max_vocab`, each at least `min_freq` times).

    The vocabulary's length is a multiple of 8, filled up by words that no text holds.

    Raises:
        ArgumentError: the limits leave no word.
    """
    if not isinstance(max_vocab, int) or max_vocab < 1 or min_freq < 0:
        raise ArgumentError(f"max_vocab and min_freq are whole numbers above 0; got {max_vocab!r} and {min_freq!r}.")
    special = set(SPECIAL_TOKENS)
    common = sorted(count.items(), key=lambda pair: -pair[1])[:max_vocab]  # sorting keeps the order of equals
    words = [word for word, n in common if n >= min_freq and word not in special and word != FAKE]
    vocab = [*SPECIAL_TOKENS, *words][: max(max_vocab, len(SPECIAL_TOKENS))]
    return [*vocab, *[FAKE] * (-len(vocab) % 8)]


class Numericalize(Transform):
    """Turn tokens into their numbers in a vocabulary: an int64 tensor (time,). Unknown words get the number 0.

    Without `vocab` it is made of the training tokens: see `make_vocab`.

    Raises:
        ArgumentError: `vocab` is no list of words, or one word is in it twice.
    """

    def __init__(
        self,
        vocab: Iterable[str] | None = None,
        min_freq: int = 3,
        max_vocab: int = 60000,
        backwards: bool = False,
        joiner: str = " ",
    ) -> None:
        super().__init__()
        self.min_freq, self.max_vocab, self.backwards, self.joiner = min_freq, max_vocab, backwards, joiner
        self.vocab: L[str] | None = None
        self.o2i: dict[str, int] = {}
        self.is_given = vocab is not None
        if vocab is not None:
            self._know(_checked_vocab(vocab))

    def _know(self, vocab: Sequence[str]) -> None:
        self.vocab = L(vocab)
        self.o2i = {word: number for number, word in enumerate(vocab) if word != FAKE}

    def setup(self, items: Any = None, train_setup: bool = False) -> None:
        """Make the vocabulary of tokenised documents."""
        if self.vocab is None and items is not None:
            count: Counter[str] = Counter()
            for tokens in items:
                count.update(tokens)
            self.learn(count)

    def learn(self, count: Mapping[str, int]) -> None:
        """Make the vocabulary of words that were counted already."""
        self._know(make_vocab(count, self.min_freq, self.max_vocab))

    @property
    def learns(self) -> bool:
        return True

    @property
    def kind(self) -> Kind | None:
        return Tokens(tuple(self.vocab or ()), PAD_ID, self.backwards, self.joiner)

    def encodes(self, x: Any) -> Tensor:
        if self.vocab is None:
            raise DataError("Numericalize has no vocabulary yet: call setup(tokenised documents), or give it vocab=...")
        if isinstance(x, str):
            raise DataError(f"Numericalize takes a list of tokens, got a text ({in_short(x, 40)!r}).")
        number = self.o2i.get
        return torch.tensor([number(word, UNK_ID) for word in x], dtype=torch.int64)

    def decodes(self, x: Any) -> Any:
        vocab: Sequence[str] = self.vocab or []
        return L([vocab[int(number)] for number in torch.as_tensor(x).reshape(-1).tolist() if number != PAD_ID])

    def settings(self) -> dict[str, Any]:
        return {"vocab": list(self.vocab or ()), "backwards": self.backwards, "joiner": self.joiner}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "o2i": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.vocab is not None:
            self._know(list(self.vocab))


def _checked_vocab(vocab: Iterable[str]) -> list[str]:
    if isinstance(vocab, str):
        raise ArgumentError(f"vocab is a list of words, got the text {in_short(vocab, 40)!r}.")
    words = list(vocab)
    if words and isinstance(words[0], list | tuple | L):
        raise ArgumentError(
            f"vocab is a list of words, got {len(words)} lists: dls.vocab of text with labels is (words, classes). "
            "Pass vocab=dls.vocab[0]."
        )
    odd = next((word for word in words if not isinstance(word, str)), None)
    if odd is not None:
        raise ArgumentError(f"vocab is a list of words; among them came {odd!r} of type {type(odd).__name__}.")
    twice = [word for word, n in Counter(words).items() if n > 1 and word != FAKE]
    if twice:
        raise ArgumentError(f"vocab holds {len(twice)} words twice, such as {twice[0]!r}: each has one number.")
    if words[: len(SPECIAL_TOKENS)] != list(SPECIAL_TOKENS):
        missing = [token for token in SPECIAL_TOKENS if token not in words]
        raise ArgumentError(
            f"A vocabulary begins with the special tokens {', '.join(SPECIAL_TOKENS)}, in this order; this one begins "
            f"with {', '.join(map(repr, words[:4]))}{f' and lacks {missing[0]!r}' if missing else ''}."
        )
    return words
