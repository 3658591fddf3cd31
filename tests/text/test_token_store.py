"""A corpus as numbers on the disk: read once, gone on with after any kill, and served as one stream."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import pickle
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_reviews import reviews, write_reviews

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.errors import ArgumentError, DataError, EmptyError, TableError, UnknownNameError
from flambeau.text.awd_lstm import AWD_LSTM
from flambeau.text.corpus import TableColumn, TextFile, TextFolder, as_corpus
from flambeau.text.data_loaders import TextDataLoaders
from flambeau.text.learner import language_model_learner
from flambeau.text.numericalize import Numericalize
from flambeau.text.subword import SubwordTokenizer
from flambeau.text.token_store import FileIds, TokenStore
from flambeau.text.tokenizer import Tokenizer
from flambeau.train.load_learner import load_learner

TEXTS: list[str] = reviews(60)["text"].tolist()


class Killed(Exception):
    """What the tests raise where a process would be killed."""


class BreakingOff:
    """The texts, of which the iteration ends at a place as if killed."""

    def __init__(self, texts: list[str], at: int | None = None) -> None:
        self.texts, self.at = texts, at

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[str]:
        for place, text in enumerate(self.texts):
            if place == self.at:
                raise Killed
            yield text


def tokens_of(store: TokenStore) -> list[list[str]]:
    """Return the documents of a store as words, by a vocabulary of all of them."""
    documents, num = store.documents(Numericalize(min_freq=1))
    assert num.vocab is not None
    return [[num.vocab[n] for n in documents[place].tolist()] for place in range(len(documents))]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_store_holds_the_tokens_of_each_document(tmp_path: Path) -> None:
    store = TokenStore.build(TEXTS, tmp_path)
    assert tokens_of(store) == [list(Tokenizer()(text)) for text in TEXTS]
    assert (store.n_documents, store.n_tokens) == (60, sum(map(len, tokens_of(store))))
    assert len(store.words()) == store.n_words == len({token for tokens in tokens_of(store) for token in tokens})


@pytest.mark.parametrize("at", [0, 1, 9, 10, 37, 59])
def test_a_killed_reading_goes_on_to_the_same_files(at: int, tmp_path: Path) -> None:
    TokenStore.build(BreakingOff(TEXTS), tmp_path / "whole", every=10)
    with pytest.raises(Killed):
        TokenStore.build(BreakingOff(TEXTS, at), tmp_path / "broken", every=10)
    if at >= 10:
        with pytest.raises(DataError, match=f"a token store of {at // 10 * 10} documents so far"):
            TokenStore(tmp_path / "broken")
    TokenStore.build(BreakingOff(TEXTS), tmp_path / "broken", every=10)
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


@pytest.mark.parametrize("name", ["ids.bin", "lengths.bin", "words.jsonl"])
def test_what_a_killed_write_left_behind_the_counts_is_cut_off(name: str, tmp_path: Path) -> None:
    TokenStore.build(BreakingOff(TEXTS), tmp_path / "whole", every=10)
    with pytest.raises(Killed):
        TokenStore.build(BreakingOff(TEXTS, 35), tmp_path / "broken", every=10)
    with open(tmp_path / "broken" / name, "ab") as file:
        file.write(b'"half a wo')
    TokenStore.build(BreakingOff(TEXTS), tmp_path / "broken", every=10)
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_only_what_is_left_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Killed):
        TokenStore.build(BreakingOff(TEXTS, 35), tmp_path, every=10)
    seen: list[str] = []
    text_of = Tokenizer.text

    def noting(self: Tokenizer, item: Any) -> str:
        seen.append(item)
        return text_of(self, item)

    monkeypatch.setattr(Tokenizer, "text", noting)
    TokenStore.build(BreakingOff(TEXTS), tmp_path, every=10)
    assert seen == TEXTS[30:]
    seen.clear()
    TokenStore.build(BreakingOff(TEXTS), tmp_path)  # it is complete
    assert seen == []


def test_a_file_that_is_too_short_is_told(tmp_path: Path) -> None:
    TokenStore.build(TEXTS, tmp_path)
    ids = (tmp_path / "ids.bin").read_bytes()
    (tmp_path / "ids.bin").write_bytes(ids[:-8])
    with pytest.raises(DataError, match=r"ids.bin is damaged: [\d,]+ bytes of it count"):
        TokenStore(tmp_path)
    (tmp_path / "state.json").write_text('{"format": "other"}')
    with pytest.raises(DataError, match="no state of a token store"):
        TokenStore(tmp_path)


def test_another_corpus_or_tokenizer_is_refused(tmp_path: Path) -> None:
    TokenStore.build(TEXTS, tmp_path)
    with pytest.raises(DataError, match="of another source: documents 60 there and 59 here"):
        TokenStore.build(TEXTS[:-1], tmp_path)
    with pytest.raises(DataError, match="of another source: first"):
        TokenStore.build([*TEXTS[1:], "end"], tmp_path)
    with pytest.raises(DataError, match="of another tokenizer: rules"):
        TokenStore.build(TEXTS, tmp_path, Tokenizer(rules=[str.lower]))
    with pytest.raises(DataError, match="of another tokenizer: mark_fields"):
        TokenStore(tmp_path, Tokenizer(mark_fields=True))


def test_subwords_are_stored_once_they_have_learnt(tmp_path: Path) -> None:
    tokenizer = Tokenizer(SubwordTokenizer(vocab_sz=40, model_type="bpe"))
    with pytest.raises(ArgumentError, match="not learnt its pieces of words yet"):
        TokenStore.build(TEXTS, tmp_path, tokenizer)
    tokenizer.setup(TEXTS)
    assert tokens_of(TokenStore.build(TEXTS, tmp_path, tokenizer))[3] == list(tokenizer(TEXTS[3]))


def test_a_corpus_that_can_be_read_once_only_or_is_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="a generator gives its items once"):
        TokenStore.build((text for text in TEXTS), tmp_path / "a")
    with pytest.raises(EmptyError, match="no document with text"):
        TokenStore.build([], tmp_path / "b")
    with pytest.raises(DataError, match="Document 1 is no text but 3"):
        TokenStore.build(["one", 3], tmp_path / "c")
    with pytest.raises(EmptyError, match="one must train and another validate"):
        TokenStore.build(["only one"], tmp_path / "d").dataloaders()


# ---- where documents come from


def test_a_folder_gives_its_files_in_order(tmp_path: Path) -> None:
    corpus = as_corpus(write_reviews(tmp_path / "texts", 16))
    assert isinstance(corpus, TextFolder)
    texts = list(corpus.texts())
    assert texts == [Path(file).read_text() for file in corpus.files]
    assert (list(corpus.texts(5)), corpus.share()) == (texts[5:], 1.0)


def test_a_text_file_is_cut_into_lines_or_paragraphs(tmp_path: Path) -> None:
    content = "\ufeffone two\n\n three\r\nfour\n \n\nfive"
    for name, opened in (("a.txt", open), ("a.txt.gz", gzip.open), ("a.xz", lzma.open)):
        with opened(tmp_path / name, "wb") as file:
            file.write(content.encode())
        assert list(TextFile(tmp_path / name).texts()) == ["one two", "three", "four", "five"]
        corpus = as_corpus(tmp_path / name, cut="paragraphs")
        assert (corpus.share(), list(corpus.texts()), corpus.share()) == (0.0, ["one two", "three\nfour", "five"], 1.0)
        assert list(corpus.texts(1)) == ["three\nfour", "five"]
    with pytest.raises(UnknownNameError, match="lines"):
        TextFile(tmp_path / "a.txt", "line")


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv.xz"])
def test_columns_of_a_table_are_read_in_pieces(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"title": ["A", "", "NA"], "body": ["one\ntwo", " ", "three"], "n": [1, 2, 3]})
    frame.to_csv(tmp_path / name, index=False, sep="\t" if "tsv" in name else ",")
    monkeypatch.setattr("flambeau.text.corpus.ROWS_AT_ONCE", 2)
    assert list(as_corpus(tmp_path / name, "body").texts()) == ["one\ntwo", "three"]
    both = as_corpus(tmp_path / name, ["title", "body"])
    assert [text.split() for text in both.texts()] == [["A", "one", "two"], ["NA", "three"]]
    assert list(both.texts(1)) == ["NA\n\nthree"]
    with pytest.raises(TableError, match=r"lacks the column 'bdy' \(is it 'body'"):
        list(TableColumn(tmp_path / name, "bdy").texts())
    with pytest.raises(ArgumentError, match=r"holds the text\? It has title, body, n"):
        as_corpus(tmp_path / name)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_byte_that_is_no_utf8_is_named(suffix: str, tmp_path: Path) -> None:
    content = "text\nfine\nna\u00efve\n".encode("latin-1")
    for name in ("a.txt", "a.csv"):
        path = tmp_path / (name + suffix)
        path.write_bytes(gzip.compress(content) if suffix else content)
        corpus = as_corpus(path, "text" if "csv" in name else None)
        with pytest.raises(DataError, match=r"no utf-8: byte 12 \(line 3\) is 0xef"):
            list(corpus.texts())


def test_a_compressed_file_that_is_cut_short_is_told(tmp_path: Path) -> None:
    for name in ("a.txt.gz", "a.csv.gz"):
        lines = "\n".join(f"text {n}" for n in range(2000))
        (tmp_path / name).write_bytes(gzip.compress(lines.encode())[:-20])
        corpus = as_corpus(tmp_path / name, "text 0" if "csv" in name else None)
        with pytest.raises(DataError, match="damaged or cut short behind"):
            list(corpus.texts())


def test_a_changed_file_is_another_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    TokenStore.build(tmp_path / "a.txt", tmp_path / "store")
    TokenStore.build(str(tmp_path / "a.txt"), tmp_path / "store")
    with pytest.raises(DataError, match="another source: cut"):
        TokenStore.build(tmp_path / "a.txt", tmp_path / "store", cut="paragraphs")
    (tmp_path / "a.txt").write_text("one\ntoo\n")
    with pytest.raises(DataError, match="another source: samples"):
        TokenStore.build(tmp_path / "a.txt", tmp_path / "store")


# ---- memory, and language models


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flambeau.text.token_store.TOKENS_HELD", 10_000)

    def peak(n: int) -> int:
        (tmp_path / f"{n}.txt").write_text("\n".join(TEXTS * n))
        tracemalloc.start()
        try:
            store = TokenStore.build(tmp_path / f"{n}.txt", tmp_path / f"store{n}", every=500)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            assert store.n_documents == 60 * n

    peak(10)  # what is computed once
    assert peak(100) < peak(10) * 2


def test_loaders_of_a_store_are_those_of_the_texts_in_memory(tmp_path: Path) -> None:
    store = TokenStore.build(TEXTS, tmp_path / "store")
    made = store.dataloaders(Numericalize(min_freq=2), valid_pct=0.25, seed=3, bs=4, seq_len=7)
    frame = pd.DataFrame({"text": TEXTS})
    other = TextDataLoaders.from_df(
        frame, valid_pct=0.25, seed=3, bs=4, seq_len=7, is_lm=True, text_vocab=list(made.vocab)
    )
    for half in (0, 1):
        pairs = list(zip(made[half], other[half], strict=True))
        assert len(pairs) > 2
        assert all(a[0].equal(b[0]) and a[1].equal(b[1]) for a, b in pairs)


def test_a_language_model_of_a_store_trains_and_exports(tmp_path: Path) -> None:
    made: DataLoaders = TokenStore.build(TEXTS, tmp_path / "store").dataloaders(seed=1, bs=4, seq_len=8, path=tmp_path)
    config = {"emb_sz": 8, "n_hid": 8, "n_layers": 1}
    learn = language_model_learner(made, AWD_LSTM, config, pretrained=False)
    with learn.no_bar():
        learn.fit_one_cycle(1, 0.01)
    text = "the film was"
    export = learn.export("lm.safetensors")
    assert load_learner(export).predict(text, 4, temperature=0) == learn.predict(text, 4, temperature=0)


def test_a_worker_opens_the_file_instead_of_getting_its_numbers(tmp_path: Path) -> None:
    documents, _ = TokenStore.build(TEXTS * 20, tmp_path).documents()
    sent = pickle.dumps(documents.ids)
    assert isinstance(documents.ids, FileIds)
    assert len(sent) < 1000 < documents.ids.nbytes
    assert np.array_equal(pickle.loads(sent), documents.ids)
    assert np.array_equal(pickle.loads(pickle.dumps(documents.ids[3:9])), documents.ids[3:9])
    assert json.loads((tmp_path / "state.json").read_text())["complete"]


def test_a_file_of_a_folder_that_was_edited_is_noticed_though_its_size_stays(tmp_path: Path) -> None:
    folder = write_reviews(tmp_path / "texts", 16)
    TokenStore.build(folder, tmp_path / "store")
    edited = next(folder.rglob("*.txt"))
    text, stat = edited.read_text(), edited.stat()
    edited.write_text("X" + text[1:])
    os.utime(edited, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(DataError, match="another source: names, sizes and samples"):
        TokenStore.build(folder, tmp_path / "store")
    edited.write_text(text)  # at another time, as of a copy: it is the same corpus
    assert TokenStore.build(folder, tmp_path / "store").n_documents == len(list(folder.rglob("*.txt")))
    with pytest.raises(DataError, match="another source: encoding"):
        TokenStore.build(folder, tmp_path / "store", encoding="latin-1")
