"""`flambeau pretrain`: text without labels in, a language model out."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from review_files import reviews, said_by
from typer.testing import Result

from flambeau.data.getters import get_text_files
from flambeau.text.awd_lstm import AWD_LSTM
from flambeau.text.corpus import TextFolder
from flambeau.text.learner import language_model_learner
from flambeau.text.numericalize import FAKE, Numericalize
from flambeau.text.pretrained import read_weights
from flambeau.text.token_store import TokenStore
from flambeau.train.load_learner import load_learner

TINY = ("--emb-sz", 8, "--n-hid", 12, "--layers", 2, "--bs", 4, "--seq-len", 8, "--valid-pct", 0.2)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Compute small networks on one core: sharing them out costs more than it saves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Return the folder with texts.txt of which `pretrain` made lm/, and what it said."""
    root = tmp_path_factory.mktemp("pretrain")
    (root / "texts.txt").write_text("\n".join(reviews(80)["text"]))
    return root, said_by("pretrain", root / "texts.txt", "--out", root / "lm", *TINY)


def test_a_language_model_is_written_and_told(trained: tuple[Path, Result]) -> None:
    root, result = trained
    assert result.exit_code == 0, result.output
    assert "80 documents, " in result.output
    assert "Perplexity on the validation set: " in result.output
    assert "A sample: " in result.output
    assert float(pd.read_csv(root / "lm" / "history.csv")["perplexity"].iloc[-1]) > 1
    learn = load_learner(root / "lm" / "export.safetensors")
    assert learn.text_vocab == json.loads((root / "lm" / "vocab.json").read_text())


def test_the_weights_and_words_start_another_language_model(trained: tuple[Path, Result]) -> None:
    root, _ = trained
    dls = TokenStore(root / "lm" / "tokens").dataloaders(Numericalize(max_vocab=30000), 0.2, 42, bs=4)
    config = {"emb_sz": 8, "n_hid": 12, "n_layers": 2}
    names = [(root / "lm" / name).absolute() for name in ("language_model", "vocab")]
    learn = language_model_learner(dls, AWD_LSTM, config, pretrained_fnames=names)
    first = load_learner(root / "lm" / "export.safetensors")
    ids = torch.tensor([[2, 9, 10, 11]])
    real = [number for number, word in enumerate(first.text_vocab) if word != FAKE]  # no text holds the others
    assert torch.equal(learn.model.eval().cpu()(ids)[0][..., real], first.model.eval()(ids)[0][..., real])


def test_a_finished_run_is_brought_back_by_resume(trained: tuple[Path, Result]) -> None:
    root, _ = trained
    arguments = ("pretrain", root / "texts.txt", "--out", root / "kept", *TINY, "--epochs", 2, "--resume")
    first = said_by(*arguments)
    assert first.exit_code == 0, first.output
    weights = read_weights(root / "kept" / "language_model.safetensors")
    again = said_by(*arguments)
    assert again.exit_code == 0, again.output
    kept = read_weights(root / "kept" / "language_model.safetensors")
    assert all(torch.equal(kept[name], weights[name]) for name in weights)
    assert len(pd.read_csv(root / "kept" / "history.csv")) == 2


def test_a_column_is_read_backwards(trained: tuple[Path, Result]) -> None:
    root, _ = trained
    reviews(40).to_csv(root / "reviews.csv.gz", index=False)
    arguments = ("pretrain", root / "reviews.csv.gz", "--out", root / "backwards", "--backwards", *TINY)
    result = said_by(*arguments)
    assert (result.exit_code, "holds the text? It has text, label" in result.output) == (2, True)
    result = said_by(*arguments, "--text", "text")
    assert result.exit_code == 0, result.output
    assert "A sample: " in result.output
    assert load_learner(root / "backwards" / "export.safetensors").dls.kinds[0].backwards


def test_another_corpus_in_the_same_folder_is_told(trained: tuple[Path, Result]) -> None:
    root, _ = trained
    (root / "other.txt").write_text("one\ntwo\n")
    result = said_by("pretrain", root / "other.txt", "--out", root / "lm", *TINY)
    assert (result.exit_code, "is of another source: file 'texts.txt' there" in result.output) == (2, True)
    result = said_by("pretrain", root / "none.txt", "--out", root / "lm")
    assert (result.exit_code, "but there is no " in result.output) == (2, True)


def test_what_is_written_into_the_corpus_folder_is_no_text_of_it(tmp_path: Path, monkeypatch: Any) -> None:
    for place, text in enumerate(reviews(24)["text"]):
        (tmp_path / f"{place}.txt").write_text(text)
    (tmp_path / "lm2").mkdir()
    (tmp_path / "lm2" / "more.txt").write_text("a film about a town")
    monkeypatch.chdir(tmp_path)
    for out in ("lm", "lm", "other"):
        result = said_by("pretrain", ".", "--out", out, *TINY)
        assert (result.exit_code, "25 documents, " in result.output) == (0, True), result.output
    (tmp_path / "linked").symlink_to(tmp_path)
    assert TextFolder(tmp_path / "linked", without="lm").files == [
        file for file in get_text_files(tmp_path / "linked") if "linked/lm/" not in str(file)
    ]


def test_results_among_the_texts_are_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a film\n")
    result = said_by("pretrain", tmp_path, "--out", tmp_path, *TINY)
    assert (result.exit_code, "would lie among them" in result.output) == (2, True), result.output
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    (tmp_path / "lm").mkdir()
    (tmp_path / "a.txt").rename(tmp_path / "lm" / "a.txt")
    result = said_by("pretrain", tmp_path, "--out", tmp_path / "lm", *TINY)
    assert (result.exit_code, "all lie in" in result.output) == (2, True), result.output


@pytest.mark.parametrize("kind", ["file.txt", "table.csv", "folder", "file.txt.gz"])
def test_a_corpus_in_another_encoding_is_read(kind: str, tmp_path: Path) -> None:
    texts = [f"{text} na\u00efve" for text in reviews(24)["text"]]
    text, place = "\n".join(["text", *texts] if kind == "table.csv" else texts).encode("latin-1"), tmp_path / kind
    if kind == "folder":
        place.mkdir()
        for number, own in enumerate(texts):
            (place / f"{number}.txt").write_bytes(own.encode("latin-1"))
    else:
        place.write_bytes(gzip.compress(text) if kind.endswith("gz") else text)
    column = ("--text", "text") if kind == "table.csv" else ()
    command = ("pretrain", place, "--out", tmp_path / "lm", *column, *TINY)
    result = said_by(*command)
    assert (result.exit_code, "Pass --encoding 'latin-1'" in result.output) == (2, True), result.output
    shutil.rmtree(tmp_path / "lm", ignore_errors=True)
    result = said_by(*command, "--encoding", "latin-1")
    assert result.exit_code == 0, result.output
    assert "na\u00efve" in json.loads((tmp_path / "lm" / "vocab.json").read_text())
