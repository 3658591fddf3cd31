"""Words are put together again from the tokens that a model reads."""

from __future__ import annotations

import pytest
from small_reviews import reviews
from tiny_transformers import loaders, tiny_folder

from flambeau.foundation.errors import ArgumentError
from flambeau.text.as_read import as_read, words_of_tokens
from flambeau.text.data_loaders import TextDataLoaders
from flambeau.text.subword import SubwordTokenizer
from flambeau.text.tokenizer import Tokenizer
from flambeau.text.transformer_tokenizer import TransformerTokenizer


def of_kind(kind: str) -> TransformerTokenizer:
    return TransformerTokenizer.from_pretrained(tiny_folder(kind))


def test_marks_become_what_they_say_of_the_next_word() -> None:
    tokens = ["xxbos", "xxfld", "1", "xxmaj", "the", "xxup", "dvd", "xxwrep", "3", "very", "n't", "xxrep", "4", "!"]
    words = words_of_tokens(tokens)
    assert [word.text for word in words] == ["xxbos", "xxfld 1", "The", "DVD", "very very very", "n't", "!!!!"]
    assert [word.is_marker for word in words] == [True, True, False, False, False, False, False]
    assert [word.after_blank for word in words] == [True, True, True, True, True, False, False]
    assert [place for word in words for place in word.places] == list(range(len(tokens)))


@pytest.mark.parametrize("backwards", [False, True])
def test_words_of_a_vocabulary_know_their_ids(backwards: bool) -> None:
    dls = TextDataLoaders.from_df(reviews(40), text_col="text", label_col="label", bs=8, backwards=backwards)
    read = as_read(dls, "The film was great.")
    assert read.ids.tolist() == dls.valid.prepare(["The film was great."])[0][0].tolist()
    assert [word.text for word in read.inner] == ["The", "film", "was", "great", "."]
    vocab = dls.vocab[0]
    assert [vocab[int(read.ids[word.places[-1]])] for word in read.inner[1:4]] == ["film", "was", "great"]


def test_subwords_of_a_learnt_vocabulary_are_joined() -> None:
    tokenizer = Tokenizer(SubwordTokenizer(vocab_sz=60))
    dls = TextDataLoaders.from_df(reviews(60), text_col="text", label_col="label", bs=8, tok_tfm=tokenizer)
    read = as_read(dls, "The film was wonderful")
    assert [word.text for word in read.words] == ["xxbos", "The", "film", "was", "wonderful"]
    assert len(read.ids) > len(read.words)


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2"])
def test_subwords_of_a_transformer_are_joined_and_keep_the_capitals_of_the_text(kind: str) -> None:
    tokenizer = of_kind(kind)
    text = "The FILM was unlovely, naïve"
    read = as_read(loaders(tokenizer), text)
    assert read.ids.tolist() == tokenizer(text).tolist()
    assert [word.text for word in read.inner] == ["The", "FILM", "was", "unlovely", ",", "naïve"]
    assert [word.after_blank for word in read.inner][1:] == [True, True, True, False, True]
    assert [word.text for word in read.words if word.is_marker] == {
        "bert": ["[CLS]", "[SEP]"], "roberta": ["<s>", "</s>"], "gpt2": []
    }[kind]  # fmt: skip
    assert sorted(place for word in read.words for place in word.places) == list(range(len(read.ids)))


def test_a_pair_is_read_as_two_texts() -> None:
    read = as_read(loaders(of_kind("bert")), ("the film", "film good"))
    assert [word.text for word in read.words] == ["[CLS]", "the", "film", "[SEP]", "film", "good", "[SEP]"]


@pytest.mark.parametrize("kind", ["bert", "words"])
def test_a_text_without_words_is_told(kind: str) -> None:
    words = kind == "words"
    dls = TextDataLoaders.from_df(reviews(20), bs=8) if words else loaders(of_kind(kind))
    for text in ("", "  \n"):
        with pytest.raises(ArgumentError, match="holds no word"):
            as_read(dls, text)
    with pytest.raises(ArgumentError, match="A text is a string, got 3 of type int"):
        as_read(dls, 3)  # type: ignore[arg-type]
