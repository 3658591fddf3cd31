"""Text files in other encodings: what is said of it at training holds for the export, and nothing is left unheard."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_transformers import tiny_folder

from flambeau.foundation.errors import ArgumentError
from flambeau.text.awd_lstm import AWD_LSTM
from flambeau.text.data_loaders import TextDataLoaders
from flambeau.text.learner import text_classifier_learner
from flambeau.text.tokenizer import Tokenizer
from flambeau.text.transformer_learner import transformer_learner
from flambeau.train.load_learner import load_learner


@pytest.fixture
def latin(tmp_path: Path) -> Path:
    for half in ("train", "valid"):
        for name, word in (("good", "très bon"), ("bad", "très nul")):
            folder = tmp_path / half / name
            folder.mkdir(parents=True)
            for place in range(4):
                (folder / f"{place}.txt").write_text(f"un café {word} {place}", encoding="latin-1")
    return tmp_path


def test_an_export_reads_files_in_the_encoding_of_its_training(latin: Path) -> None:
    dls = TextDataLoaders.from_folder(latin, encoding="latin-1", bs=2, seed=1)
    config = {"emb_sz": 8, "n_hid": 8, "n_layers": 1}
    learn = text_classifier_learner(dls, AWD_LSTM, config=config, pretrained=False)
    file = latin / "valid" / "good" / "1.txt"
    answer = learn.predict(file)
    again = load_learner(learn.export("latin.safetensors")).predict(file)
    assert again[2].tolist() == pytest.approx(answer[2].tolist())


def test_a_transformer_and_its_export_read_files_in_the_encoding_of_the_training(latin: Path) -> None:
    dls = TextDataLoaders.from_folder(latin, encoding="latin-1", transformer=tiny_folder("roberta"), bs=2, seed=1)
    assert "café" in dls.decode_batch(dls.one_batch())[0][0]
    learn = transformer_learner(dls, tiny_folder("roberta"))
    file = latin / "valid" / "good" / "1.txt"
    answer = learn.predict(file.read_text(encoding="latin-1"))
    again = load_learner(learn.export("latin.safetensors")).predict(file)
    assert again[2].tolist() == pytest.approx(answer[2].tolist(), rel=1e-4)


def test_an_encoding_that_nothing_would_hear_of_is_refused(latin: Path) -> None:
    with pytest.raises(ArgumentError, match="'latin-1' is beside a tokenizer of your own"):
        TextDataLoaders.from_folder(latin, encoding="latin-1", tok_tfm=Tokenizer())


def test_a_folder_has_no_hidden_tokens_without_a_transformer(latin: Path) -> None:
    with pytest.raises(ArgumentError, match="is_masked=True needs transformer"):
        TextDataLoaders.from_folder(latin, is_masked=True)
