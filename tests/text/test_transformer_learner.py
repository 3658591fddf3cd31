"""A name and loaders of documents become a learner that trains, predicts, exports, and hands its encoder on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from test_transformer_tokenizer import needs_minilm, read
from tiny_transformers import SENTENCES, batch_of, label_of, loaders, tiny_folder, transformers

from flambeau.data.categorize import MultiCategorize
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.dataset import Getter
from flambeau.data.kinds import Number
from flambeau.data.target_blocks import RegressionBlock
from flambeau.data.transform import Transform
from flambeau.foundation.errors import ArgumentError, ExportError
from flambeau.foundation.seeds import set_seed
from flambeau.nn.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat, MSELossFlat
from flambeau.nn.metrics import accuracy
from flambeau.nn.optimizers import get_hyper
from flambeau.text.data_loaders import TextDataLoaders
from flambeau.text.transformer_learner import TransformerLearner, transformer_learner, usual_rate
from flambeau.text.transformer_tokenizer import TransformerTokenizer
from flambeau.train.callback import Callback
from flambeau.train.load_learner import load_learner


def learner(kind: str = "bert", path: Any = ".", **options: Any) -> TransformerLearner:
    set_seed(2)
    dls = loaders(read(kind), path=path)
    return transformer_learner(dls, tiny_folder(kind), metrics=accuracy, **options)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "gpt2", "llama"])
def test_a_learner_tells_good_from_bad(kind: str) -> None:
    learn = learner(kind, dropout=0.0)
    with learn.no_logging():
        learn.fit_one_cycle(20, 5e-3)
    loss, share = learn.validate()
    assert share > 0.9, (loss, share)
    label, _, probabilities = learn.predict("the film was lovely, and the music lovely too")
    assert label == "good"
    assert probabilities.sum() == pytest.approx(1)


def test_the_task_is_told_by_the_targets(capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer, folder = read("bert"), tiny_folder("bert")
    learn = transformer_learner(loaders(tokenizer), folder)
    assert isinstance(learn.loss_func, CrossEntropyLossFlat)
    assert capsys.readouterr().out.splitlines()[-1] == (
        "classification: 2 classes, CrossEntropyLossFlat, windows of 48 ids, on cpu"
    )
    words = [Getter(lambda text: text.split()[1:3]), MultiCategorize()]
    learn = transformer_learner(loaders(tokenizer, targets=words), folder)
    assert isinstance(learn.loss_func, BCEWithLogitsLossFlat)
    assert learn.model.settings["n_out"] == learn.dls.c
    assert "5 labels, any number of them" in capsys.readouterr().out
    lengths = [Getter(lambda text: float(len(text)))]
    learn = transformer_learner(loaders(tokenizer, targets=lengths), folder)
    assert isinstance(learn.loss_func, MSELossFlat)
    assert (learn.transformer.task, learn.model.settings["n_out"]) == ("regression", 1)
    assert learn.dls.kinds[1] == Number()


def test_a_learner_of_numbers_learns_them() -> None:
    set_seed(1)
    dls = loaders(read("bert"), targets=[Getter(lambda text: float(label_of(text) == "good"))])
    learn = transformer_learner(dls, tiny_folder("bert"), dropout=0.0)
    with learn.no_logging():
        learn.fit_one_cycle(20, 5e-3)
    assert learn.validate()[0] < 0.05


def priced(kind: str, path: Path) -> TransformerLearner:
    set_seed(1)
    prices = [230_000.0 if label_of(text) == "good" else 170_000.0 for text in SENTENCES]
    dls = TextDataLoaders.from_df(
        pd.DataFrame({"text": SENTENCES * 2, "price": prices * 2}), path, text_col="text", label_col="price",
        y_block=RegressionBlock(), transformer=tiny_folder(kind), bs=8, seed=1,
    )  # fmt: skip
    return transformer_learner(dls, tiny_folder(kind), dropout=0.0)


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2"])
def test_a_new_head_of_numbers_begins_at_the_targets_scale(kind: str, tmp_path: Path) -> None:
    learn = priced(kind, tmp_path)
    begun, _ = learn.get_preds()
    # the head of GPT-2 has no biases, so its answers cannot begin at the mean
    assert kind == "gpt2" or (begun - 200_000).abs().max() < 20_000
    with learn.no_logging():
        learn.fit_one_cycle(30, 3e-3)
    numbers, targets = learn.get_preds()
    assert (numbers.reshape(-1) - targets.reshape(-1)).abs().mean() < 10_000
    again = load_learner(learn.export("prices.safetensors"))
    assert torch.allclose(again.predict(SENTENCES[0])[2], learn.predict(SENTENCES[0])[2])
    folder = learn.save_pretrained("mine")
    written = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    encoded = transformers.AutoTokenizer.from_pretrained(folder)(SENTENCES[:1], return_tensors="pt")
    with torch.no_grad():
        expected = written(**encoded).logits
        assert torch.allclose(learn.model.eval()(encoded["input_ids"]), expected, rtol=1e-4)
    # a head that was trained is taken as it is
    on = transformer_learner(learn.dls, folder)
    assert on.transformer.scale is None
    with torch.no_grad():
        assert torch.allclose(on.model.eval()(encoded["input_ids"]), expected, rtol=1e-4)


def test_weights_of_a_head_with_another_scale_are_refused_with_the_cause(tmp_path: Path) -> None:
    scaled = priced("bert", tmp_path)
    unscaled = transformer_learner(scaled.dls, scaled.save_pretrained("mine"))
    for saved, other, cause in (
        (scaled, unscaled, r"weights are of a head that was new.* this model has a head that answers in the targets'"),
        (unscaled, scaled, r"weights are of a head that answers in the targets'.* this model has a head that was new"),
    ):
        saved.save("weights", with_opt=False)
        with pytest.raises(ExportError, match=cause) as told:
            other.load("weights")
        assert "another architecture" not in str(told.value)


def test_an_export_predicts_the_same(tmp_path: Path) -> None:
    learn = learner(path=tmp_path)
    with learn.no_logging():
        learn.fit(1, 1e-3)
    texts = ["the end was poor", SENTENCES[0], "good " * 100]
    before = learn.get_preds(dl=learn.dls.test_dl(texts))[0]
    again = load_learner(learn.export())
    assert isinstance(again, TransformerLearner)
    assert again.tokenizer == learn.tokenizer
    assert torch.allclose(again.get_preds(dl=again.dls.test_dl(texts))[0], before, atol=1e-5)
    assert again.predict(texts[0])[0] == learn.predict(texts[0])[0]


def test_an_encoder_goes_from_a_language_model_to_a_classifier(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    language = transformer_learner(loaders(read("bert"), path=tmp_path), tiny_folder("bert"), "masked_lm")
    with language.no_logging():
        language.fit(2, 1e-3)
    language.save_encoder("adapted")
    classifier = learner(path=tmp_path)
    capsys.readouterr()
    classifier.load_encoder("adapted")
    told = capsys.readouterr().out
    assert told == "37 weights of the encoder from adapted.safetensors; 2 not in it (the pooler) stay as they are.\n"
    theirs, ours = language.model.body.state_dict(), classifier.model.body.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_the_encoder_of_another_model_is_refused_with_counts(tmp_path: Path) -> None:
    learner("distilbert", path=tmp_path).save_encoder("other")
    with pytest.raises(
        ExportError, match=r"of 39 weights 0 have another shape, \d+ are missing, and \d+ are left over"
    ):
        learner(path=tmp_path).load_encoder("other")
    learn = learner(path=tmp_path)
    learn.save("whole")
    with pytest.raises(ExportError, match="'flambeau-transformer-encoder' was expected"):
        learn.load_encoder("whole")


def test_a_saved_folder_is_one_of_transformers(tmp_path: Path) -> None:
    learn = learner(path=tmp_path)
    folder = learn.save_pretrained("mine")
    net = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert net.config.id2label == {0: "bad", 1: "good"}
    encoded = theirs(SENTENCES[:3], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = net(**encoded).logits
        ours = learn.model.eval()(batch_of(learn.tokenizer, SENTENCES[:3]))
    assert torch.allclose(ours, expected, atol=1e-5)
    assert theirs.model_max_length == 48
    again = transformer_learner(loaders(TransformerTokenizer.from_pretrained(folder)), folder)
    assert torch.allclose(again.model.eval()(batch_of(learn.tokenizer, SENTENCES[:3])), ours, atol=1e-5)


def test_freezing_leaves_the_head_and_unfreezing_goes_by_layers() -> None:
    learn = learner()
    learn.freeze()
    trained = {name for name, weight in learn.model.named_parameters() if weight.requires_grad}
    assert {"net.classifier.weight", "net.bert.pooler.dense.weight"} <= trained
    assert not any("attention.self.query.weight" in name for name in trained)
    learn.freeze_to(-2)
    trained = {name for name, weight in learn.model.named_parameters() if weight.requires_grad}
    assert any("layer.1.attention.self.query.weight" in name for name in trained)
    assert not any("layer.0.attention.self.query.weight" in name for name in trained)


def test_fine_tuning_teaches_the_head_first_and_the_early_layers_least() -> None:
    learn = learner()
    rates: list[list[float]] = []
    frozen: list[bool] = []

    class Look(Callback):
        def before_batch(self) -> None:
            if self.learn.training:
                rates.append(get_hyper(self.learn.optimizer, "lr"))
                frozen.append(not self.learn.model.net.bert.encoder.layer[1].output.dense.weight.requires_grad)

    with learn.no_logging():
        learn.fine_tune(2, cbs=Look())
    assert frozen == [True] * 3 + [False] * 6
    peaks = [max(step[group] for step in rates[3:]) for group in range(4)]
    assert max(step[-1] for step in rates[:3]) > 3 * peaks[-1]
    assert peaks[-1] / peaks[0] == pytest.approx(6)
    assert peaks == sorted(peaks)
    with pytest.raises(ArgumentError, match="one learning rate above 0"):
        learn.fine_tune(1, base_lr=0)


def test_the_usual_rate_falls_with_the_width() -> None:
    learn = learner()
    assert usual_rate(learn.transformer) == 2e-4
    assert (learn.lr.start, learn.lr.stop) == (pytest.approx(2e-4 / 6), 2e-4)
    wide = transformers.BertConfig(
        vocab_size=60, hidden_size=768, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    learn.model.net = transformers.AutoModelForSequenceClassification.from_config(wide)
    assert usual_rate(learn.transformer) == pytest.approx(1e-4)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_pairs_are_known_by_their_markers(kind: str) -> None:
    pairs = [(text, text.upper()) for text in SENTENCES]
    for items, expected in ((SENTENCES, None), (pairs, read(kind).ids["sep"])):
        learn = transformer_learner(loaders(read(kind), items), tiny_folder(kind))
        assert learn.model.settings["separator"] == expected
    learn = transformer_learner(loaders(read(kind), pairs), tiny_folder(kind), pairs=False)
    assert learn.model.settings["separator"] is None


def test_a_head_is_the_same_for_the_same_seed() -> None:
    heads = [learner(seed=seed).model.net.classifier.weight for seed in (5, 5, 6)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_loaders_without_a_tokenizer_are_told() -> None:
    pairs = [(torch.tensor([2, 5, 3]), 0)]
    with pytest.raises(ArgumentError, match=r"no ids of a transformer's tokenizer.*tokenizer="):
        transformer_learner(DataLoaders(pairs, pairs), tiny_folder("bert"))


def test_targets_that_tell_no_task_are_told() -> None:
    dls = loaders(read("bert"), targets=[Transform(lambda text: torch.zeros(2, 2))])
    with pytest.raises(ArgumentError, match="The task cannot be told from targets of kind Plain"):
        transformer_learner(dls, tiny_folder("bert"))


@needs_minilm
@pytest.mark.slow
def test_minilm_learns_sentiment_from_a_few_hundred_phrases(shared_data: Path) -> None:
    train = pd.read_csv(shared_data / "sst2/train.tsv.gz", sep="\t")
    train = train[train.sentence.str.len() > 25].sample(600, random_state=0)
    valid = pd.read_csv(shared_data / "sst2/dev.tsv.gz", sep="\t").sample(200, random_state=0)
    names = dict(zip([*train.sentence, *valid.content], [*train.label, *valid.label], strict=True))
    tokenizer = TransformerTokenizer.from_pretrained("minilm")
    items = [*train.sentence, *valid.content]
    dls = loaders(tokenizer, items, [Getter(lambda text: "pos" if names[text] else "neg")], bs=16)
    learn = transformer_learner(dls, "minilm", metrics=accuracy)
    learn.fit_one_cycle(2, 2e-4)
    assert learn.recorder.values[-1][-1] > 0.8
