"""What a transformer says of one text is what a person asked for: more text, words in place of masks, a tag a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tiny_transformers import BAD, GOOD, POSITIONS, SENTENCES, tiny_folder

from flambeau.data.block import DataBlock, RegressionBlock
from flambeau.data.labels import ColReader
from flambeau.foundation.errors import ArgumentError
from flambeau.foundation.seeds import set_seed
from flambeau.interpret.interpretation import Interpretation
from flambeau.nn.metrics import accuracy, error_rate
from flambeau.text.blocks import TextBlock
from flambeau.text.data_loaders import TextDataLoaders
from flambeau.text.token_tags import TokenTagsBlock, tag_words
from flambeau.text.transformer_learner import TransformerLearner, transformer_learner
from flambeau.train.load_learner import load_learner
from flambeau.train.predictor import Predictor

FEELINGS = {*GOOD, *BAD}
TAGGED = [["feeling" if word.strip(",") in FEELINGS else "other" for word in text.split()] for text in SENTENCES]


def trained(path: Path, kind: str, **settings: Any) -> TransformerLearner:
    set_seed(1)
    frame = pd.DataFrame({"text": SENTENCES})
    dls = TextDataLoaders.from_df(
        frame, path, text_col="text", transformer=tiny_folder(kind), bs=4, seed=1, device="cpu", **settings
    )
    learn = transformer_learner(dls, tiny_folder(kind), dropout=0.0)
    with learn.no_logging():
        learn.fit_one_cycle(30, 5e-3)
    return learn


def tagger(path: Path, kind: str = "bert") -> TransformerLearner:
    set_seed(1)
    block = DataBlock(
        (TextBlock.from_transformer(tiny_folder(kind)), TokenTagsBlock),
        get_x=ColReader("words"),
        get_y=ColReader("tags"),
    )
    frame = pd.DataFrame({"words": [text.split() for text in SENTENCES], "tags": TAGGED})
    dls = block.dataloaders(frame, bs=8, seed=1, path=path, device="cpu")
    learn = transformer_learner(dls, tiny_folder(kind), metrics=accuracy, dropout=0.0)
    with learn.no_logging():
        learn.fit_one_cycle(12, 5e-3)
    return learn


def test_a_causal_language_model_writes_on(tmp_path: Path) -> None:
    learn = trained(tmp_path, "gpt2", is_lm=True, seq_len=16)
    written = learn.predict("the film was", 8, temperature=0)
    assert written.startswith("the film was ")
    assert written.split()[3].strip(",") in FEELINGS
    assert learn.predict("the film was", 20, top_k=1) == learn.predict("the film was", 20, temperature=0)
    drawn = [learn.predict("the", 12, temperature=2.0, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert learn.predict("the film " * 60, 3, top_p=0.9).startswith("the film " * 60)
    assert isinstance(learn.predict("", 3), str)
    with pytest.raises(ArgumentError, match="top_p is a chance"):
        learn.predict("the", 1, top_p=3.0)
    again = load_learner(learn.export("lm.safetensors"))
    assert again.predict("the film was", 8, temperature=0) == written
    texts = pd.DataFrame({"text": SENTENCES[:12]})
    assert again.validate(dl=again.dls.test_dl(texts))[0] == pytest.approx(
        learn.validate(dl=learn.dls.test_dl(texts))[0], abs=1e-5
    )


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_what_is_remembered_changes_no_word_even_beyond_the_window(kind: str, tmp_path: Path) -> None:
    learn = trained(tmp_path, kind, is_lm=True, seq_len=16)
    model, tokenizer = learn.transformer.eval(), learn.tokenizer
    markers = [number for number in tokenizer.marker_ids if number != tokenizer.ids["eos"]]
    ids = tokenizer("the film was").tolist()
    for _ in range(POSITIONS + 9):
        with torch.no_grad():
            numbers = model(torch.tensor([ids[-model.window :]]))[0, -1]
        ids.append(int(numbers.index_fill(0, torch.tensor(markers, dtype=torch.int64), -torch.inf).argmax()))
        if ids[-1] == tokenizer.ids["eos"]:
            ids.pop()
            break
    assert learn.predict("the film was", POSITIONS + 9, temperature=0) == tokenizer.decodes(ids)


@pytest.mark.parametrize("fails", [True, False])
def test_an_architecture_that_remembers_wrongly_reads_all_again(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = trained(tmp_path, "gpt2", is_lm=True, seq_len=16)
    right = learn.predict("the film was", 12, temperature=0)
    learn.transformer.remembers, sound = None, learn.transformer.next_token

    def unsound(x: torch.Tensor, past: Any = None) -> tuple[torch.Tensor, Any]:
        if fails:
            raise IndexError("list index out of range")
        return sound(x)[0], "what was read"

    monkeypatch.setattr(learn.transformer, "next_token", unsound)
    assert [learn.predict("the film was", 12, temperature=0) for _ in range(2)] == [right, right]
    assert learn.transformer.remembers is False


def test_a_beginning_that_also_fills_up_is_not_warned_of(tmp_path: Path) -> None:
    learn, masks = trained(tmp_path, "gpt2", is_lm=True, seq_len=16), []
    net = learn.transformer.net
    net.register_forward_pre_hook(lambda _, __, given: masks.append(given.get("attention_mask")), with_kwargs=True)
    assert learn.tokenizer.ids["eos"] == learn.tokenizer.pad_id
    learn.predict("")
    assert masks[0] is not None


def test_a_text_ends_where_the_model_says_so(tmp_path: Path) -> None:
    learn = trained(tmp_path, "gpt2", is_lm=True, seq_len=16)
    end = learn.tokenizer.ids["eos"]
    with torch.no_grad():
        learn.model.net.lm_head.bias = torch.nn.Parameter(torch.zeros(322).index_fill(0, torch.tensor(end), 1000.0))
    assert learn.predict("the film was", 5) == "the film was"


def test_a_masked_language_model_fills_in(tmp_path: Path) -> None:
    learn = trained(tmp_path, "bert", is_masked=True)
    text, ids, chances = learn.predict("the film [MASK] good, [MASK] the music good too")
    assert text == "the film was good, and the music good too"
    assert ids.tolist() == [learn.tokenizer.backend.token_to_id(word) for word in ("was", "and")]
    assert chances.shape == (2, learn.tokenizer.vocab_size)
    assert chances.sum(1).tolist() == pytest.approx([1, 1])
    again = load_learner(learn.export("masked.safetensors"))
    assert again.predict("the film [MASK] good")[0] == learn.predict("the film [MASK] good")[0]
    with pytest.raises(ArgumentError, match=r"what \[MASK\] stands for, and there is none in 'the film was good'"):
        learn.predict("the film was good")


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_tagger_answers_word_by_word(kind: str, tmp_path: Path) -> None:
    learn = tagger(tmp_path, kind)
    tags, numbers, chances = learn.predict(SENTENCES[0])
    assert tags == TAGGED[0]
    assert numbers.tolist() == [["feeling", "other"].index(tag) for tag in TAGGED[0]]
    assert chances.shape == (len(TAGGED[0]), 2)
    assert learn.predict(pd.Series({"words": SENTENCES[0].split()}))[0] == tags
    assert learn.predict([])[0] == []


def test_a_word_that_the_tokenizer_leaves_out_has_no_tag(tmp_path: Path) -> None:
    learn = tagger(tmp_path)
    words = ["the", "\u200b", "film", "was", "good", "\x00"]
    found = tag_words(learn, words)
    assert [word for word, _ in found] == words
    assert [tag for _, tag in found] == ["other", None, "other", "other", "feeling", None]
    assert learn.predict(words)[1].tolist() == [1, -100, 1, 1, 0, -100]


def test_a_long_text_is_tagged_to_its_end(tmp_path: Path) -> None:
    words = ["good", "film"] * 6000
    found = tag_words(tagger(tmp_path), words)
    assert [word for word, _ in found] == words
    assert None not in {tag for _, tag in found}


def test_tags_are_shown_word_by_word(tmp_path: Path) -> None:
    learn = tagger(tmp_path)
    learn.metrics = [accuracy, error_rate]
    assert learn.validate()[1:] == [1.0, 0.0]
    shown = learn.show_results(max_n=4)
    assert shown["actual"].tolist() == shown["predicted"].tolist()
    found = Interpretation.from_learner(learn)
    preds, targets, losses = learn.get_preds(with_loss=True)
    asked = targets[0] != -100
    own = -preds[0][asked].log()[torch.arange(int(asked.sum())), targets[0][asked]]
    assert losses[0] == pytest.approx(float(own.mean()), abs=1e-5)
    assert found.plot_top_losses(1)["predicted"].iloc[0].count(" ") == len(TAGGED[0]) - 1


def test_a_predictor_of_one_label_an_item_refuses_what_answers_token_by_token(tmp_path: Path) -> None:
    labelled = TextDataLoaders.from_df(
        pd.DataFrame({"text": SENTENCES, "label": ["a", "b"] * (len(SENTENCES) // 2)}), tmp_path, text_col="text",
        label_col="label", transformer=tiny_folder("bert"), bs=4, seed=1, device="cpu",
    )  # fmt: skip
    of_labelled = transformer_learner(labelled, tiny_folder("bert"), task="masked_lm")
    for learn in (tagger(tmp_path), trained(tmp_path, "bert", is_masked=True), of_labelled):
        with pytest.raises(ArgumentError, match=r"one label an item.*load_learner\(path\).predict"):
            Predictor(learn.export("answers.safetensors")).predict(SENTENCES[0])


def test_one_text_to_a_model_of_pairs_is_told(tmp_path: Path) -> None:
    frame = pd.DataFrame({"one": SENTENCES, "other": SENTENCES[::-1], "score": [n / 32 for n in range(len(SENTENCES))]})
    dls = TextDataLoaders.from_df(
        frame, tmp_path, text_col=["one", "other"], label_col="score", y_block=RegressionBlock(), bs=8, seed=1,
        transformer=tiny_folder("bert"),
    )  # fmt: skip
    learn = transformer_learner(dls, tiny_folder("bert"))
    assert isinstance(learn.predict((SENTENCES[0], SENTENCES[1]))[0], float)
    with pytest.raises(ArgumentError, match=r"reads pairs of texts, and one came.*\(\(one, other\)\)"):
        learn.predict(SENTENCES[0])


def test_the_top_losses_of_a_language_model_are_those_of_the_pieces_that_it_read(tmp_path: Path) -> None:
    learn = trained(tmp_path, "gpt2", is_lm=True, seq_len=3)
    found = Interpretation.from_learner(learn)
    places = found.top_losses(5)[1].tolist()
    batches = list(learn.dls.valid)
    pieces = {n: row for batch in batches for n, row in zip(batch.indices, batch.targets[0], strict=True)}
    assert max(places) >= len(learn.dls.valid_ds)  # more pieces than documents
    kind = learn.tokenizer.kind
    assert found.plot_top_losses(5)["actual"].tolist() == [kind.text(pieces[place]) for place in places]
    with pytest.raises(ArgumentError, match="pieces of one long text"):
        found.top_losses(1, items=True)
