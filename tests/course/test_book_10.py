"""Chapter 10 of the book: words, subwords and numbers, a language model, and the classifier that begins with it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from flambeau.text.all import *
from flambeau.text.all import (
    AWD_LSTM,
    CategoryBlock,
    DataBlock,
    GrandparentSplitter,
    L,
    LMDataLoader,
    Numericalize,
    Perplexity,
    RandomSplitter,
    SubwordTokenizer,
    TextBlock,
    Tokenizer,
    URLs,
    WordTokenizer,
    accuracy,
    awd_lstm_lm_config,
    coll_repr,
    defaults,
    first,
    get_text_files,
    language_model_learner,
    parent_label,
    partial,
    text_classifier_learner,
    untar_data,
)

SMALL = {"emb_sz": 16, "n_hid": 24, "n_layers": 3}
PLAIN = ["the", "film", "was", "a", "story", "about", "town", "people", "and", "music", "that", "went", "on"]


@pytest.fixture
def imdb(home: Path) -> Path:
    """Place small reviews where `untar_data(URLs.IMDB)` finds them."""
    chance, folder = random.Random(1), home / "data" / "imdb"
    for half, n in (("train", 30), ("test", 15)):
        for label, telling in (("pos", ["great", "lovely", "fine"]), ("neg", ["awful", "boring", "bad"])):
            for number in range(n):
                words = [chance.choice(telling if place % 3 == 0 else PLAIN) for place in range(chance.randint(15, 40))]
                path = folder / half / label / f"{number}_7.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(" ".join(words).capitalize() + ".", encoding="utf-8")
    for number in range(20):
        (folder / "unsup").mkdir(exist_ok=True)
        (folder / "unsup" / f"{number}_0.txt").write_text(
            " ".join(chance.choice(PLAIN) for _ in range(30)), encoding="utf-8"
        )
    return folder


def test_words_and_rules(imdb: Path) -> None:
    path = untar_data(URLs.IMDB)
    files = get_text_files(path, folders=["train", "test", "unsup"])
    txt = files[0].open().read()
    assert len(txt[:75]) == 75
    spacy = WordTokenizer()
    toks = first(spacy([txt]))
    assert coll_repr(toks, 30).startswith(f"(#{len(toks)}) [")
    assert first(spacy(["The U.S. dollar $1 is $1.00."])) == ["The", "U.S.", "dollar", "$", "1", "is", "$", "1.00", "."]
    tkn = Tokenizer(spacy)
    assert coll_repr(tkn(txt), 31).startswith(f"(#{len(tkn(txt))}) ['xxbos','xxmaj',")
    assert first(defaults.text_proc_rules).__name__ == "fix_html"
    assert list(tkn("&copy;   Fast.ai www.fast.ai/INDEX")) == (
        ["xxbos", "©", "xxmaj", "fast.ai", "xxrep", "3", "w", ".fast.ai", "/", "xxup", "index"]
    )


def test_subwords(imdb: Path) -> None:
    files = get_text_files(untar_data(URLs.IMDB), folders=["train", "test", "unsup"])
    txts = L(o.open().read() for o in files[:2000])

    def subword(sz: int) -> str:
        sp = SubwordTokenizer(vocab_sz=sz)
        sp.setup(txts)
        return " ".join(first(sp([txts[0]]))[:40])

    assert "▁" in subword(60)


def test_numbers_and_batches(imdb: Path) -> None:
    files = get_text_files(untar_data(URLs.IMDB), folders=["train", "test", "unsup"])
    txts = L(o.open().read() for o in files[:2000])
    tkn = Tokenizer(WordTokenizer())
    toks200 = txts[:200].map(tkn)
    num = Numericalize()
    num.setup(toks200)
    assert coll_repr(num.vocab, 20).startswith(f"(#{len(num.vocab)}) ['xxunk','xxpad','xxbos','xxeos','xxfld','xxrep'")
    nums = num(toks200[0])[:20]
    assert " ".join(num.vocab[o] for o in nums).startswith("xxbos xxmaj ")
    nums200 = toks200.map(num)
    dl = LMDataLoader(nums200)
    x, y = first(dl)
    assert x.shape == y.shape
    assert x.shape[0] == 64
    assert " ".join(num.vocab[o] for o in x[0][1:20]) == " ".join(num.vocab[o] for o in y[0][:19])


def test_the_language_model_and_the_classifier(imdb: Path) -> None:
    path = untar_data(URLs.IMDB)
    get_imdb = partial(get_text_files, folders=["train", "test", "unsup"])
    dls_lm = DataBlock(
        blocks=TextBlock.from_folder(path, is_lm=True), get_items=get_imdb, splitter=RandomSplitter(0.1)
    ).dataloaders(path, path=path, bs=8, seq_len=20)
    assert len(dls_lm.show_batch(max_n=2)) == 2

    learn = language_model_learner(
        dls_lm, AWD_LSTM, config={**awd_lstm_lm_config, **SMALL}, drop_mult=0.3, pretrained=False,
        metrics=[accuracy, Perplexity()],
    ).to_fp16()  # fmt: skip
    learn.fit_one_cycle(1, 2e-2)
    learn.save("1epoch")
    learn = learn.load("1epoch")
    learn.unfreeze()
    learn.fit_one_cycle(1, 2e-3)
    learn.save_encoder("finetuned")
    preds = [learn.predict("I liked this movie because", 10, temperature=0.75) for _ in range(2)]
    assert all(pred.lower().startswith("i ") for pred in preds)

    dls_clas = DataBlock(
        blocks=(TextBlock.from_folder(path, vocab=dls_lm.vocab), CategoryBlock),
        get_y=parent_label,
        get_items=partial(get_text_files, folders=["train", "test"]),
        splitter=GrandparentSplitter(valid_name="test"),
    ).dataloaders(path, path=path, bs=16, seq_len=72)
    assert len(dls_clas.show_batch(max_n=3)) == 3
    learn = text_classifier_learner(
        dls_clas, AWD_LSTM, config=SMALL, drop_mult=0.5, pretrained=False, metrics=accuracy
    ).to_fp16()
    learn = learn.load_encoder("finetuned")
    learn.fit_one_cycle(1, 2e-2)
    learn.freeze_to(-2)
    learn.fit_one_cycle(1, slice(1e-2 / (2.6**4), 1e-2))
    learn.freeze_to(-3)
    learn.fit_one_cycle(1, slice(5e-3 / (2.6**4), 5e-3))
    learn.unfreeze()
    learn.fit_one_cycle(2, slice(1e-3 / (2.6**4), 1e-3))
    assert 0 <= learn.validate()[1] <= 1
