from __future__ import annotations

import pandas as pd
import pytest
import torch
from tiny_transformers import BAD, GOOD, SENTENCES, tiny_folder

from flambeau.data.block import DataBlock
from flambeau.data.labels import ColReader
from flambeau.foundation.errors import ArgumentError, DataError, LabelError
from flambeau.nn.metrics import accuracy
from flambeau.text.blocks import TextBlock
from flambeau.text.token_tags import NOT_ASKED, TokenTags, TokenTagsBlock, tag_words
from flambeau.text.transformer_learner import transformer_learner
from flambeau.train.load_learner import load_learner

FEELINGS = {*GOOD, *BAD}


def table() -> pd.DataFrame:
    words = [sentence.split() for sentence in SENTENCES]
    tags = [["feeling" if word.strip(",") in FEELINGS else "other" for word in sentence] for sentence in words]
    return pd.DataFrame({"words": words, "tags": tags})


def loaders(frame=None, **options):
    block = DataBlock(
        (TextBlock.from_transformer(tiny_folder("bert")), TokenTagsBlock),
        get_x=ColReader("words"),
        get_y=ColReader("tags"),
    )
    return block.dataloaders(table() if frame is None else frame, bs=8, seed=1, **options)


def test_the_first_token_of_a_word_carries_its_tag_and_no_other_does():
    tags = TokenTags(["other", "name"])
    assert tags.align(torch.tensor([0, 1]), [-1, 0, 1, 1, -1], 2, "here") == [-100, 0, 1, -100, -100]


def test_fewer_tags_than_words_are_told():
    frame = table()
    frame.at[3, "tags"] = ["other"]
    with pytest.raises(LabelError, match=r"\d+ words but 1 tags in row 3"):
        list(loaders(frame).train)


def test_words_of_which_a_tokenizer_leaves_nothing_keep_the_others_in_place():
    frame = table()
    frame["words"] = [["\u200b", *words, "\x00"] for words in frame["words"]]
    frame["tags"] = [["feeling", *tags, "feeling"] for tags in frame["tags"]]
    half = loaders(frame).train_ds
    tags = [number for number in half[0][1].tolist() if number != NOT_ASKED]
    assert tags == [["feeling", "other"].index(tag) for tag in table()["tags"][half.indices[0]]]


def test_a_batch_holds_a_tag_for_each_word():
    dls = loaders()
    x, y = dls.one_batch()
    assert x.shape == y.shape
    tokenizer = dls.train_ds.pipelines[0][-1]
    markers = torch.tensor([tokenizer.ids[role] for role in ("cls", "sep", "pad")])
    assert (y[torch.isin(x, markers)] == NOT_ASKED).all()
    n_words = [len(words) for words in dls.train_ds.items["words"]]
    assert (dls.train_ds[0][1] != NOT_ASKED).sum() == n_words[0]
    assert dls.c == 2
    assert dls.show_batch(max_n=1).shape == (1, 2)


def test_tags_are_learnt_told_word_by_word_and_exported(tmp_path):
    torch.manual_seed(0)
    learn = transformer_learner(loaders(path=tmp_path), tiny_folder("bert"), metrics=accuracy, dropout=0.0)
    learn.fit_one_cycle(12, 5e-3)
    assert learn.validate()[1] > 0.95
    found = tag_words(learn, "the film was lovely, and the music bad too")
    assert [word for word, tag in found if tag == "feeling"] == ["lovely,", "bad"]
    learn.export("tags.safetensors")
    loaded = load_learner(tmp_path / "tags.safetensors")
    assert tag_words(loaded, ["the", "end", "was", "awful"])[-1] == ("awful", "feeling")


def test_what_is_no_list_of_tags_or_words_is_refused():
    with pytest.raises(DataError, match="list of tags"):
        TokenTags(["a"]).encodes("a b")
    frame = table()
    frame.at[2, "words"] = 7
    with pytest.raises(DataError, match="list of words"):
        loaders(frame)


def test_an_unknown_tag_proposes_the_nearest():
    with pytest.raises(LabelError, match="feeling"):
        TokenTags(["feeling", "other"]).encodes(["feelin"])


def test_a_learner_without_tags_says_so():
    from test_transformer_data import loaders as of_classes

    learn = transformer_learner(of_classes(), tiny_folder("bert"))
    with pytest.raises(ArgumentError, match="gives no tags"):
        tag_words(learn, "the film")
