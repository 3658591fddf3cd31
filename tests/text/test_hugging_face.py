from __future__ import annotations

import pytest
import torch
from small_reviews import reviews

from flambeau.data.tables import as_pandas
from flambeau.foundation.errors import ArgumentError, TableError
from flambeau.text.awd_lstm import AWD_LSTM
from flambeau.text.data_loaders import TextDataLoaders
from flambeau.text.hugging_face import to_dataset
from flambeau.text.learner import text_classifier_learner
from flambeau.train.predictor import Predictor

datasets = pytest.importorskip("datasets")


def loaders(path="."):
    table = datasets.Dataset.from_pandas(reviews(40))
    return TextDataLoaders.from_df(table, path, text_col="text", label_col="label", bs=8, seed=1)


def test_texts_come_back_as_a_data_set_with_their_numbers_and_labels():
    half = loaders().valid_ds
    found = to_dataset(half)
    assert found.column_names == ["text", "label", "input_ids", "labels"]
    assert found[3]["input_ids"] == half[3][0].tolist()
    assert found[3]["text"] == half.items["text"].iloc[3]
    assert {(row["label"], row["labels"]) for row in found} == {("neg", 0), ("pos", 1)}


def test_numbers_of_classes_become_their_names():
    frame = reviews(40)
    names = ["neg", "pos"]
    kinds = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    numbered = [{"text": row.text, "label": names.index(row.label)} for row in frame.itertuples()]
    dls = TextDataLoaders.from_df(datasets.Dataset.from_list(numbered, kinds), text_col="text", label_col="label", bs=8)
    assert list(dls.vocab[1]) == names
    known = dict(zip(frame["text"], frame["label"], strict=True))
    assert all(known[row.text] == row.label for row in dls.train_ds.items.itertuples())

    tags = datasets.Features({"tags": datasets.List(datasets.ClassLabel(names=["O", "B-PER"]))})
    table = as_pandas(datasets.Dataset.from_list([{"tags": [1, 0]}, {"tags": []}, {"tags": [-1]}], tags), "table", "-")
    assert table["tags"].tolist() == [["B-PER", "O"], [], [None]]
    lacking = datasets.Dataset.from_list([{"text": "a", "label": -1}, {"text": "b", "label": None}], kinds)
    assert as_pandas(lacking, "table", "-")["label"].tolist() == [None, None]


@pytest.mark.parametrize("name", ["validation", "test"])
def test_the_halves_of_a_dictionary_of_tables_are_kept(name):
    halves = {"train": reviews(24, seed=1), name: reviews(8, seed=2)}
    both = datasets.DatasetDict({half: datasets.Dataset.from_pandas(frame) for half, frame in halves.items()})
    dls = TextDataLoaders.from_df(both, text_col="text", label_col="label", bs=8)
    assert [half.items["text"].tolist() for half in (dls.train_ds, dls.valid_ds)] == [
        halves["train"]["text"].tolist(), halves[name]["text"].tolist()
    ]  # fmt: skip
    with pytest.raises(TableError, match="A dictionary came: give one of its tables"):
        TextDataLoaders.from_df(datasets.DatasetDict({"train": both["train"]}))


def test_a_predictor_answers_a_data_set(tmp_path):
    learn = text_classifier_learner(
        loaders(tmp_path), AWD_LSTM, config={"emb_sz": 8, "n_hid": 8, "n_layers": 1}, pretrained=False
    )
    predictor = Predictor(learn.export("reviews.safetensors"))
    new = reviews(10, seed=4)
    answers = predictor.predict_batch(datasets.Dataset.from_pandas(new), bs=4)
    expected = predictor.predict_batch(new["text"].tolist())
    assert all(torch.allclose(one.raw, other.raw, atol=1e-5) for one, other in zip(answers, expected, strict=True))


def test_what_holds_no_texts_is_refused():
    with pytest.raises(ArgumentError, match="Texts were expected"):
        to_dataset([1, 2])
