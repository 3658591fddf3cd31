from __future__ import annotations

import pickle

import pytest

from flambeau.foundation.errors import ArgumentError, DataError
from flambeau.foundation.lists import L
from flambeau.text.numericalize import FAKE, Numericalize, make_vocab
from flambeau.text.special_tokens import SPECIAL_TOKENS

N = len(SPECIAL_TOKENS)


def test_the_vocabulary_holds_special_tokens_and_then_the_commonest_words():
    vocab = make_vocab({"rare": 2, "good": 3, "film": 7}, min_freq=3)
    assert vocab[:N] == list(SPECIAL_TOKENS)
    assert vocab[N : N + 2] == ["film", "good"]
    assert set(vocab[N + 2 :]) == {FAKE}
    assert len(vocab) % 8 == 0


def test_words_that_are_equally_common_keep_the_order_in_which_they_came():
    assert make_vocab({"b": 3, "a": 3, "c": 3})[N : N + 3] == ["b", "a", "c"]


def test_a_vocabulary_keeps_no_more_words_than_asked_for():
    vocab = make_vocab({f"w{n}": 100 - n for n in range(50)}, max_vocab=20)
    assert [word for word in vocab if word != FAKE] == [*SPECIAL_TOKENS, *(f"w{n}" for n in range(20 - N))]


def test_a_special_token_in_the_texts_is_not_counted_twice():
    assert make_vocab({"xxmaj": 100, "film": 3}).count("xxmaj") == 1


def test_tokens_become_numbers_and_come_back():
    num = Numericalize(min_freq=1)
    num.setup([["xxbos", "good", "film"], ["good"]])
    assert num(["xxbos", "good", "never"]).tolist() == [2, N, 0]
    assert num.decode(num(["good", "film"])) == L("good", "film")


def test_padding_is_left_out_when_numbers_become_words():
    num = Numericalize([*SPECIAL_TOKENS, "film"])
    assert num.decode(num(["film", "xxpad"])) == L("film")


def test_a_given_vocabulary_is_not_learnt_anew():
    num = Numericalize([*SPECIAL_TOKENS, "film"])
    num.setup([["good"] * 10])
    assert list(num.vocab) == [*SPECIAL_TOKENS, "film"]


def test_numericalize_before_setup_says_what_to_do():
    with pytest.raises(DataError, match="setup"):
        Numericalize()(["a"])


def test_a_text_in_place_of_tokens_is_refused():
    with pytest.raises(DataError, match="list of tokens"):
        Numericalize([*SPECIAL_TOKENS])("a whole text")


@pytest.mark.parametrize(
    ("vocab", "told"),
    [
        ("film", "list of words"),
        ([["xxunk"], ["neg", "pos"]], r"dls\.vocab\[0\]"),
        ([*SPECIAL_TOKENS, 7], "type int"),
        ([*SPECIAL_TOKENS, "a", "a"], "twice"),
        (["film", *SPECIAL_TOKENS], "begins with"),
    ],
)
def test_what_is_no_vocabulary_is_refused(vocab, told):
    with pytest.raises(ArgumentError, match=told):
        Numericalize(vocab)


def test_numericalize_survives_being_sent_to_another_process():
    num = Numericalize([*SPECIAL_TOKENS, "film"])
    assert pickle.loads(pickle.dumps(num))(["film"]).tolist() == [N]


def test_settings_build_the_same_numericalize_again():
    num = Numericalize([*SPECIAL_TOKENS, "film"], backwards=True)
    again = Numericalize(**num.settings())
    assert again.kind == num.kind
    assert again(["film"]).tolist() == [N]
