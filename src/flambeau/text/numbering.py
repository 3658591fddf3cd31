"""Reading a corpus once: after reading it you know how documents get numbers before the vocabulary is known.

Which words are common enough for the vocabulary is known at the end of the corpus only. So each distinct token gets a
provisional number when it is first met; at the end the training documents' numbers are counted, the vocabulary is made,
and one small table leads from the provisional numbers to those of the vocabulary. No text is tokenised twice.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from flambeau.foundation.lists import noop
from flambeau.text.documents import Documents, Ints, offsets_of
from flambeau.text.numericalize import Numericalize
from flambeau.text.special_tokens import UNK_ID

TOLD_EVERY = 500


class ProvisionalNumbers(dict[str, int]):
    """The numbers of the tokens met so far; a new token gets the next one."""

    def __missing__(self, token: str) -> int:
        self[token] = number = len(self)
        return number


def number_documents(
    documents: Iterable[Sequence[str]], tell: Callable[[int], None] = noop
) -> tuple[Documents, list[str]]:
    """Return tokenised documents by provisional numbers, and the tokens in the order of these numbers.

    `tell` is called now and then with the number of documents that are done.
    """
    numbers = ProvisionalNumbers()
    ids, lengths = array("i"), array("q")
    number = numbers.__getitem__
    for tokens in documents:
        ids.extend(map(number, tokens))
        lengths.append(len(tokens))
        if not len(lengths) % TOLD_EVERY:
            tell(len(lengths))
    offsets = offsets_of(np.frombuffer(lengths, dtype=np.int64))
    return Documents(np.frombuffer(ids, dtype=np.int32), offsets), list(numbers)


def learn_vocab(num: Numericalize, documents: Documents, words: Sequence[str], training: Ints) -> None:
    """Give `num` the vocabulary of the training documents (by their places)."""
    counts = np.zeros(len(words), dtype=np.int64)
    for first, last in _runs(np.sort(training)):
        start, end = documents.offsets[first], documents.offsets[last + 1]
        for at in range(start, end, 1 << 24):  # so many at once, since the ids may lie in a file
            counts += np.bincount(documents.ids[at : min(at + (1 << 24), end)], minlength=len(words))
    num.learn({word: int(n) for word, n in zip(words, counts.tolist(), strict=True) if n})


def _runs(places: Ints) -> Iterator[tuple[int, int]]:
    """Yield the first and last of each run of consecutive places, which are sorted."""
    if not len(places):
        return
    breaks = np.flatnonzero(np.diff(places) != 1)
    starts = np.concatenate([places[:1], places[breaks + 1]])
    ends = np.concatenate([places[breaks], places[-1:]])
    yield from zip(starts.tolist(), ends.tolist(), strict=True)


def renumbered(documents: Documents, words: Sequence[str], num: Numericalize, in_memory: bool = True) -> Documents:
    """Return documents by the numbers of the vocabulary; in place of `documents.ids` or, for a file, when read."""
    table = np.fromiter((num.o2i.get(word, UNK_ID) for word in words), dtype=np.int32, count=len(words))
    if not len(table):
        table = np.zeros(1, dtype=np.int32)
    return (
        Documents(table[documents.ids], documents.offsets)
        if in_memory
        else Documents(documents.ids, documents.offsets, table)
    )
