"""Texts in a transformer's own tokens, through the blocks and loaders of text."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from tiny_transformers import BAD, GOOD, SENTENCES, tiny_folder

from flambeau.data.block import CategoryBlock, DataBlock, RegressionBlock
from flambeau.data.labels import ColReader
from flambeau.foundation.errors import ArgumentError, DataError
from flambeau.nn.metrics import accuracy
from flambeau.text.blocks import TextBlock
from flambeau.text.data_loaders import TextDataLoaders
from flambeau.text.transformer_learner import transformer_learner
from flambeau.train.load_learner import load_learner
from flambeau.train.predictor import Predictor


def table() -> pd.DataFrame:
    labels = ["good" if any(word in text for word in GOOD) else "bad" for text in SENTENCES]
    assert all(any(word in text for word in (*GOOD, *BAD)) for text in SENTENCES)
    return pd.DataFrame({"text": SENTENCES, "label": labels})


def loaders(**options):
    columns = {"text_col": "text", "label_col": "label", "bs": 8, "seed": 1, "transformer": tiny_folder("bert")}
    return TextDataLoaders.from_df(table(), **{**columns, **options})


def test_texts_become_a_transformers_ids_filled_up_at_the_end():
    dls = loaders()
    tokenizer = dls.train_ds.pipelines[0][-1]
    batch = dls.one_batch()
    for row, place in zip(batch[0], batch.indices, strict=True):
        ids = tokenizer(dls.train_ds.items["text"].iloc[place]).tolist()
        assert row[: len(ids)].tolist() == ids
        assert (row[len(ids) :] == tokenizer.pad_id).all()


def test_a_batch_shows_as_words():
    shown = loaders().show_batch(max_n=2)
    assert shown.iloc[0, 0] in SENTENCES


def test_a_classifier_learns_predicts_and_is_exported(tmp_path):
    torch.manual_seed(0)
    learn = transformer_learner(loaders(path=tmp_path), tiny_folder("bert"), metrics=accuracy, dropout=0.0)
    learn.fit_one_cycle(20, 5e-3)
    assert learn.validate()[1] > 0.9
    texts = ["the film was lovely, and the music lovely too", "the end was awful, and the film awful too"]
    assert [learn.predict(text)[0] for text in texts] == ["good", "bad"]
    learn.export("tiny.safetensors")
    loaded = load_learner(tmp_path / "tiny.safetensors")
    for text in texts:
        assert torch.allclose(loaded.predict(text)[2], learn.predict(text)[2], atol=1e-5)
    preds = loaded.get_preds(dl=loaded.dls.test_dl(texts))[0]
    assert preds.argmax(1).tolist() == [1, 0]


def test_two_columns_are_a_pair():
    frame = pd.DataFrame({"one": SENTENCES, "other": SENTENCES[::-1], "score": [n / 32 for n in range(len(SENTENCES))]})
    dls = TextDataLoaders.from_df(
        frame, text_col=["one", "other"], label_col="score", transformer=tiny_folder("bert"), bs=8, seed=1
    )
    tokenizer = dls.train_ds.pipelines[0][-1]
    row = dls.train_ds.items.iloc[0]
    assert dls.train_ds[0][0].tolist() == tokenizer((row["one"], row["other"])).tolist()
    assert (dls.train_ds[0][0] == tokenizer.ids["sep"]).sum() == 2
    learn = transformer_learner(dls, tiny_folder("bert"), pairs=True)
    assert isinstance(learn.predict(("the film was good", "the book was bad"))[0], float)


def test_a_masked_language_model_lowers_its_loss_and_hands_its_encoder_on(tmp_path):
    torch.manual_seed(0)
    dls = loaders(path=tmp_path, is_masked=True)
    learn = transformer_learner(dls, tiny_folder("bert"), dropout=0.0)
    before = learn.validate()[0]
    assert learn.validate()[0] == before  # the same tokens are hidden each time
    learn.fit_one_cycle(10, 3e-3)
    assert learn.validate()[0] < before - 0.5
    learn.save_encoder("adapted")
    other = transformer_learner(loaders(path=tmp_path), tiny_folder("bert")).load_encoder("adapted")
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(other.model.body.state_dict()[name], learn.model.body.state_dict()[name])


def test_a_causal_language_model_marks_where_a_text_ends():
    dls = loaders(is_lm=True, transformer=tiny_folder("gpt2"), seq_len=8, bs=4)
    tokenizer = dls.train_ds.pipelines[0][-1]
    assert dls.train_ds.document(0)[-1] == tokenizer.ids["eos"]
    x, y = dls.one_batch()
    assert x[:, 1:].tolist() == y[:, :-1].tolist()
    learn = transformer_learner(dls, tiny_folder("gpt2"))
    before = learn.validate()[0]
    learn.fit(5, 3e-3)
    assert learn.validate()[0] < before


def test_text_files_are_read_by_a_transformers_tokenizer(tmp_path):
    for place, row in enumerate(table().itertuples()):
        folder = tmp_path / ("test" if place % 4 == 0 else "train") / row.label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{place}.txt").write_text(row.text, encoding="utf-8")
    dls = TextDataLoaders.from_folder(tmp_path, valid="test", transformer=tiny_folder("bert"), bs=4)
    assert dls.show_batch(max_n=1).iloc[0, 0] in SENTENCES


def test_a_block_takes_a_tokenizer_that_was_made_before():
    tokenizer = loaders().train_ds.pipelines[0][-1]
    dls = DataBlock(
        (TextBlock.from_transformer(tokenizer), CategoryBlock), get_x=ColReader("text"), get_y=ColReader("label")
    ).dataloaders(table(), bs=4)
    assert dls.train_ds.pipelines[0][-1] == tokenizer


def test_a_missing_text_of_a_pair_names_its_row():
    frame = table().assign(other="x", score=0.5)
    frame.loc[5, "other"] = None
    block = DataBlock(
        (TextBlock.from_transformer(tiny_folder("bert")), RegressionBlock),
        get_x=lambda row: (row["text"], row["other"]),
        get_y=ColReader("score"),
    )
    with pytest.raises(DataError, match="row 5"):
        block.datasets(frame)


def test_settings_of_words_do_not_go_with_a_transformer():
    with pytest.raises(ArgumentError, match="own tokens"):
        loaders(backwards=True)
    with pytest.raises(ArgumentError, match="is_masked"):
        loaders(transformer=None, is_masked=True)


def test_documents_beyond_the_window_are_read_in_windows_and_told(capsys):
    frame = table().assign(text=lambda f: f["text"] * 8)
    dls = TextDataLoaders.from_df(frame, text_col="text", label_col="label", transformer=tiny_folder("bert"), bs=4)
    learn = transformer_learner(dls, tiny_folder("bert"))
    told = capsys.readouterr().out
    assert "longer than the 48 tokens that the model sees: they are read in windows" in told
    assert learn.validate()[0] > 0
    transformer_learner(dls, tiny_folder("bert"), long="truncate")
    assert "only their beginning is read" in capsys.readouterr().out


def test_a_masked_language_model_on_loaders_of_classes_speaks_of_tokens(capsys):
    transformer_learner(loaders(), tiny_folder("bert"), task="masked_lm")
    assert "tokens, MaskedTokenLoss" in capsys.readouterr().out


def test_several_texts_are_no_item_of_a_model_of_one(tmp_path):
    learn = transformer_learner(loaders(path=tmp_path), tiny_folder("bert"))
    for item in (("the film was good", "and the music"), ["the film was good", "and the music", "was bad"]):
        with pytest.raises(ArgumentError, match=rf"reads one text an item, and {len(item)} came.*test_dl\(texts\)"):
            learn.predict(item)
    assert len(learn.get_preds(dl=learn.dls.test_dl(["the film was good", "and the music"]))[0]) == 2


def test_a_model_that_writes_does_not_learn_from_labels(tmp_path):
    dls = loaders(path=tmp_path, transformer=tiny_folder("gpt2"))
    with pytest.raises(ArgumentError, match="is_lm=True"):
        transformer_learner(dls, tiny_folder("gpt2"), task="causal_lm")


def test_pairs_in_the_cells_of_one_column_may_come_as_pairs(tmp_path):
    frame = table()
    frame["both"] = list(zip(frame["text"], frame["text"], strict=True))
    dls = TextDataLoaders.from_df(frame, tmp_path, text_col="both", label_col="label", transformer=tiny_folder("bert"))
    learn = transformer_learner(dls, tiny_folder("bert"))
    again = load_learner(learn.export("pairs.safetensors"))
    predictor = Predictor(again.export("again.safetensors"))
    pair = frame["both"][0]
    assert learn.predict(pair)[0] == again.predict(pair)[0] == predictor.predict(pair).label


def test_rows_of_an_array_bring_their_labels_to_an_export(tmp_path):
    learn = load_learner(transformer_learner(loaders(path=tmp_path), tiny_folder("bert")).export("one.safetensors"))
    rows = table()[["text", "label"]]
    asked = learn.dls.test_dl(rows.to_numpy(), with_labels=True)
    assert learn.validate(dl=asked) == learn.validate(dl=learn.dls.test_dl(rows, with_labels=True))
