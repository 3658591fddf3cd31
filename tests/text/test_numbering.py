from __future__ import annotations

import numpy as np

from flambeau.text.numbering import learn_vocab, number_documents, renumbered
from flambeau.text.numericalize import Numericalize
from flambeau.text.special_tokens import SPECIAL_TOKENS

TEXTS = [["xxbos", "a", "b", "a"], ["xxbos"], ["xxbos", "b", "c", "a"], ["xxbos", "d", "d", "d"]]


def test_tokens_get_numbers_in_the_order_in_which_they_are_met():
    documents, words = number_documents(TEXTS)
    assert words == ["xxbos", "a", "b", "c", "d"]
    assert documents.ids.tolist() == [0, 1, 2, 1, 0, 0, 2, 3, 1, 0, 4, 4, 4]
    assert documents.lengths.tolist() == [4, 1, 4, 4]


def test_the_vocabulary_counts_training_documents_only():
    documents, words = number_documents(TEXTS)
    num = Numericalize(min_freq=1)
    learn_vocab(num, documents, words, np.array([2, 0]))
    assert list(num.vocab)[len(SPECIAL_TOKENS) :][:3] == ["a", "b", "c"]
    assert "d" not in num.o2i


def test_renumbered_documents_are_those_that_numericalize_gives_one_by_one():
    documents, words = number_documents(TEXTS)
    num = Numericalize(min_freq=2)
    learn_vocab(num, documents, words, np.arange(3))
    in_memory, when_read = renumbered(documents, words, num), renumbered(documents, words, num, in_memory=False)
    for place, tokens in enumerate(TEXTS):
        assert in_memory[place].tolist() == when_read[place].tolist() == num(tokens).tolist()


def test_no_document_at_all_is_no_fault():
    documents, words = number_documents([])
    assert len(documents) == 0
    assert len(renumbered(documents, words, Numericalize(list(SPECIAL_TOKENS)))) == 0
