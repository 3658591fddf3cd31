"""Subwords: what is learnt from texts, what stays whole, and what is said when it cannot be."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from flambeau.foundation.errors import ArgumentError, EmptyError, ExportError, UnknownNameError
from flambeau.text.special_tokens import SPECIAL_TOKENS
from flambeau.text.subword import MODEL_TYPES, SubwordTokenizer

TEXTS = ["the cat sat on the mat", "the cats sit on mats, the hat is that cat's", "xxbos xxmaj this is the hat\n\nof"]
ROUND_TRIPS = ["the hat's on that cat", " the  mat\n\nxxmaj this xxup", "", "xxbos", "xxbos\ncat xxpad"]


def learnt(model_type: str, vocab_sz: int | None = None) -> SubwordTokenizer:
    """Return a tokenizer that has learnt the texts."""
    tokenizer = SubwordTokenizer(vocab_sz, model_type)
    tokenizer.setup(TEXTS)
    return tokenizer


def test_pieces_are_those_that_occur_most() -> None:
    tokenizer = SubwordTokenizer(vocab_sz=17, model_type="bpe")
    tokenizer.setup(["low lower lowest", "low lows"])
    assert tokenizer.vocab[9:] == ["e", "l", "o", "r", "s", "t", "w", "▁"]
    assert learnt("bpe").tokens("the cat") == ["▁the", "▁cat"]


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize("text", ROUND_TRIPS)
def test_pieces_joined_give_the_text(model_type: str, text: str) -> None:
    tokenizer = learnt(model_type)
    assert tokenizer.join(tokenizer.tokens(text)) == text


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_special_tokens_stay_whole_and_come_first(model_type: str) -> None:
    tokenizer = learnt(model_type)
    assert tokenizer.vocab[:9] == list(SPECIAL_TOKENS)
    assert tokenizer.tokens("xxbos xxmaj xxpad") == ["xxbos", "xxmaj", "xxpad"]
    assert not any("xx" in piece for piece in tokenizer.vocab[9:])


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_an_unknown_character_is_the_unknown_token(model_type: str) -> None:
    assert "xxunk" in learnt(model_type).tokens("the 😀 cat")


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_tokenizer_comes_back_from_its_text_and_from_another_process(model_type: str) -> None:
    tokenizer = learnt(model_type)
    expected = tokenizer.tokens(TEXTS[2])
    for same in (SubwordTokenizer.from_text(tokenizer.to_text()), pickle.loads(pickle.dumps(tokenizer))):
        assert (same.tokens(TEXTS[2]), same.model_type, same.vocab) == (expected, model_type, tokenizer.vocab)


def test_texts_may_come_from_an_iterator_and_go_through_rules() -> None:
    def once() -> Iterator[str]:
        yield from TEXTS

    tokenizer = SubwordTokenizer(model_type="bpe")
    tokenizer.setup(once(), rules=[str.upper])
    assert tokenizer.tokens("THE") == ["▁THE"]


def test_what_has_learnt_is_not_taught_again() -> None:
    tokenizer = learnt("bpe")
    tokenizer.setup(["zzz"])
    assert "z" not in tokenizer.vocab


def test_using_it_before_setup_says_so() -> None:
    with pytest.raises(ArgumentError, match=r"call setup\(texts\) first"):
        SubwordTokenizer().tokens("a")


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_vocabulary_too_small_for_the_characters_says_how_large_it_must_be(model_type: str) -> None:
    with pytest.raises(ArgumentError, match=r"too small: the texts have 15 different.* give 24 at the least"):
        learnt(model_type, 12)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_vocabulary_larger_than_the_texts_allow_says_how_many_they_give(model_type: str) -> None:
    many = len(learnt(model_type).vocab)
    with pytest.raises(ArgumentError, match=f"vocab_sz=5000 is more than these texts give: {many} tokens"):
        learnt(model_type, 5000)


def test_other_wrong_arguments_are_told() -> None:
    with pytest.raises(UnknownNameError, match="unigram"):
        SubwordTokenizer(model_type="unigrams")
    with pytest.raises(ArgumentError, match="no room beside the 9 special tokens"):
        SubwordTokenizer(vocab_sz=9)
    with pytest.raises(EmptyError, match="no text"):
        SubwordTokenizer().setup(["", ""])
    with pytest.raises(ExportError, match="not the text of a subword tokenizer"):
        SubwordTokenizer.from_text("{}")
