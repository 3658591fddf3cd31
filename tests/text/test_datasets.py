from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from small_reviews import reviews, write_reviews

from flambeau.data.block import CategoryBlock, DataBlock
from flambeau.data.getters import get_text_files
from flambeau.data.kinds import Tokens
from flambeau.data.labels import ColReader, parent_label
from flambeau.data.splitters import GrandparentSplitter, GroupSplitter, IndexSplitter, RandomSplitter
from flambeau.foundation.errors import ArgumentError, DataError, EmptyError, LabelError, TableError
from flambeau.text.blocks import TextBlock
from flambeau.text.data_loaders import TextDataLoaders
from flambeau.text.dataset import LMDatasets, QuickRows, TextDatasets
from flambeau.text.loaders import LMDataLoader, SortedDL


def small(**options):
    return TextDataLoaders.from_df(reviews(), text_col="text", label_col="label", bs=8, seed=1, **options)


def test_a_table_of_texts_becomes_sorted_batches_of_numbers_and_classes():
    dls = small()
    x, y = dls.one_batch()
    assert isinstance(dls.train, SortedDL)
    assert isinstance(dls.train_ds, TextDatasets)
    assert x.shape[0] == y.shape[0] == 8
    assert x.dtype == y.dtype == torch.int64
    assert (x[:, 0] == 2).all()  # each text begins with xxbos
    assert list(dls.vocab[1]) == ["neg", "pos"]
    assert dls.c == 2


def test_each_item_of_a_batch_is_the_item_at_its_index():
    dls = small()
    for batch in dls.train:
        for row, place in enumerate(batch.indices):
            text, label = dls.train_ds[place]
            assert batch[0][row][: len(text)].tolist() == text.tolist()
            assert (batch[0][row][len(text) :] == 1).all()
            assert batch[1][row] == label


def test_the_tokens_of_a_data_set_are_those_of_its_pipeline():
    dls = small()
    row = dls.train_ds.items.iloc[3]
    assert dls.train_ds[3][0].tolist() == dls.train_ds.pipelines[0]({"text": row["text"]}).tolist()


def test_the_vocabulary_is_of_training_texts_alone():
    frame = reviews(40)
    frame["is_valid"] = [False] * 30 + [True] * 10
    frame.loc[35:, "text"] = "unheard unheard unheard unheard"
    dls = TextDataLoaders.from_df(frame, text_col="text", label_col="label", valid_col="is_valid", bs=4)
    assert "unheard" not in dls.vocab[0]
    assert "film" in dls.vocab[0]


def test_a_table_shows_as_words():
    shown = small().show_batch(max_n=3)
    assert len(shown) == 3
    assert shown.iloc[0, 0].startswith("xxbos")
    assert set(shown["label"]) <= {"neg", "pos"}


def test_text_files_become_loaders(tmp_path):
    write_reviews(tmp_path)
    dls = TextDataLoaders.from_folder(tmp_path, valid="test", bs=8)
    assert (len(dls.train_ds), len(dls.valid_ds)) == (60, 20)
    assert list(dls.vocab[1]) == ["neg", "pos"]


def test_the_books_data_block_of_a_language_model(tmp_path):
    write_reviews(tmp_path)
    get_reviews = partial(get_text_files, folders=["train", "test"])
    dls = DataBlock(
        blocks=TextBlock.from_folder(tmp_path, is_lm=True), get_items=get_reviews, splitter=RandomSplitter(0.1)
    ).dataloaders(tmp_path, path=tmp_path, bs=4, seq_len=8)
    x, y = dls.one_batch()
    assert isinstance(dls.train, LMDataLoader)
    assert isinstance(dls.train_ds, LMDatasets)
    assert x.shape == y.shape == (4, 8)
    assert x[:, 1:].tolist() == y[:, :-1].tolist()
    assert dls.c == len(dls.vocab)
    assert isinstance(dls.kinds[1], Tokens)


def test_the_books_data_block_of_a_classifier_takes_the_language_models_vocabulary(tmp_path):
    write_reviews(tmp_path)
    vocab = TextDataLoaders.from_folder(tmp_path, is_lm=True, valid="test", bs=4).vocab
    dls = DataBlock(
        blocks=(TextBlock.from_folder(tmp_path, vocab=vocab), CategoryBlock),
        get_y=parent_label,
        get_items=partial(get_text_files, folders=["train", "test"]),
        splitter=GrandparentSplitter(valid_name="test"),
    ).dataloaders(tmp_path, path=tmp_path, bs=8, seq_len=72)
    assert list(dls.vocab[0]) == list(vocab)


def test_several_text_columns_are_joined_behind_marks():
    frame = reviews(20).assign(title="A title")
    dls = TextDataLoaders.from_df(frame, text_col=["title", "text"], label_col="label", bs=4)
    words = [dls.vocab[0][number] for number in dls.train_ds[0][0][:6]]
    assert words == ["xxbos", "xxfld", "1", "a", "title", "xxfld"]


def test_course_code_reads_several_columns_as_one_called_text():
    frame = reviews(20).assign(title="A title").rename(columns={"text": "body"})
    dls = DataBlock(
        blocks=(TextBlock.from_df(["title", "body"]), CategoryBlock), get_x=ColReader("text"), get_y=ColReader("label")
    ).dataloaders(frame, bs=4)
    assert "xxfld" in [dls.vocab[0][number] for number in dls.train_ds[0][0]]


def test_a_backward_model_reads_from_the_end():
    forward, backward = small(), small(backwards=True)
    x, back = forward.one_batch()[0], backward.one_batch()[0]
    assert back[:, 0].tolist() == x[:, 0].tolist()
    assert back[0, 1:].tolist() == x[0, 1:].flip(0).tolist()


def test_numbers_and_several_labels_are_recognised():
    frame = reviews(40)
    frame["stars"] = np.linspace(1.0, 5.0, 40)
    frame["tags"] = ["a;b", "b"] * 20
    number = TextDataLoaders.from_df(frame, text_col="text", label_col="stars", bs=8)
    several = TextDataLoaders.from_df(frame, text_col="text", label_col="tags", label_delim=";", bs=8)
    assert number.one_batch()[1].dtype == torch.float32
    assert several.one_batch()[1].shape == (8, 2)


def test_groups_are_kept_together():
    frame = reviews(60)
    frame["author"] = [f"author {place % 6}" for place in range(60)]
    dls = TextDataLoaders.from_df(frame, text_col="text", label_col="label", splitter=GroupSplitter("author"), bs=4)
    assert not set(dls.train_ds.items["author"]) & set(dls.valid_ds.items["author"])


def test_new_texts_are_read_with_the_same_words():
    dls = small()
    new = dls.test_dl(["The film was wonderful.", "", "ünheard"])
    x = new.one_batch()[0]
    assert x.shape[0] == 3
    assert new.dataset[1][0].tolist() == [2]
    assert 0 in new.dataset[2][0].tolist()


def test_new_rows_of_the_table_may_have_labels():
    dls = small()
    test = dls.test_dl(reviews(6, seed=5), with_labels=True)
    assert len(test.one_batch().targets) == 1


def test_empty_and_odd_texts_are_taken():
    texts = ["", "\x00\x00", "😀👩‍👩‍👧 שלום עולם", "a" * 100_000, "fine film"] * 4
    dls = TextDataLoaders.from_df(pd.DataFrame({"text": texts, "label": ["a", "b"] * 10}), bs=4)
    assert sum(len(batch[1]) for batch in dls.valid) == 4


def test_a_document_of_far_too_many_tokens_is_cut_and_told(capsys):
    frame = reviews(12)
    frame.loc[0, "text"] = "film end " * 15_000
    columns = {"text_col": "text", "label_col": "label"}
    dls = TextDataLoaders.from_df(frame, **columns, splitter=IndexSplitter([4, 5]), bs=4)
    assert dls.one_batch()[0].shape[1] == 20_000
    assert "longer than 20,000 tokens" in capsys.readouterr().out


def test_a_missing_text_names_its_row():
    frame = reviews(20)
    frame.loc[7, "text"] = None
    with pytest.raises(DataError, match="row 7"):
        TextDataLoaders.from_df(frame, text_col="text", label_col="label", bs=4)


def test_a_missing_label_names_its_row():
    frame = reviews(20)
    frame.loc[7, "label"] = None
    with pytest.raises(LabelError, match="row 7"):
        TextDataLoaders.from_df(frame, text_col="text", label_col="label", bs=4)


def test_one_class_only_is_told():
    with pytest.raises(DataError, match="one class"):
        TextDataLoaders.from_df(reviews(20).assign(label="pos"), text_col="text", label_col="label", bs=4)


def test_a_file_in_another_encoding_names_file_and_byte(tmp_path):
    write_reviews(tmp_path)
    (tmp_path / "train" / "pos" / "odd.txt").write_bytes("Schön".encode("latin-1"))
    with pytest.raises(DataError, match=r"odd\.txt is no utf-8: byte 3 \(line 1\)"):
        TextDataLoaders.from_folder(tmp_path, valid="test", bs=8)
    dls = TextDataLoaders.from_folder(tmp_path, valid="test", bs=8, encoding="latin-1")
    assert len(dls.train_ds) == 61


def test_a_column_that_is_not_there_proposes_the_nearest():
    with pytest.raises(TableError, match="text"):
        TextDataLoaders.from_df(reviews(20), text_col="texts", label_col="label")


def test_a_dictionary_of_tables_is_refused_with_its_first_name():
    with pytest.raises(TableError, match=r"data\['train'\]"):
        TextDataLoaders.from_df({"train": reviews(20)})


def test_csv_files_are_read(tmp_path):
    reviews(40).to_csv(tmp_path / "reviews.csv", index=False)
    dls = TextDataLoaders.from_csv(tmp_path, "reviews.csv", text_col="text", label_col="label", bs=8)
    assert len(dls.train_ds) == 32


def test_a_data_set_of_hugging_face_is_read():
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_pandas(reviews(40))
    dls = TextDataLoaders.from_df(table, text_col="text", label_col="label", bs=8)
    assert len(dls.train_ds) == 32


def test_a_language_model_with_a_label_is_refused():
    frame = reviews(20)
    block = DataBlock(
        blocks=(TextBlock.from_df("text", is_lm=True), CategoryBlock), get_x=ColReader("text"), get_y=ColReader("label")
    )
    with pytest.raises(ArgumentError, match="no other target"):
        block.datasets(frame)


def test_a_folder_without_one_of_its_halves_names_the_nearest(tmp_path):
    write_reviews(tmp_path)
    with pytest.raises(EmptyError, match=r"no folder 'valid' in .*it holds 'test', 'train'"):
        TextDataLoaders.from_folder(tmp_path)


def test_label_columns_of_text_are_refused_with_a_way_out():
    frame = reviews(20).assign(kind="short")
    with pytest.raises(ArgumentError, match="hold text, such as"):
        TextDataLoaders.from_df(frame, text_col="text", label_col=["label", "kind"], bs=4)


def test_a_table_of_a_language_model_is_read_by_columns() -> None:
    dls = TextDataLoaders.from_df(reviews(24), text_col="text", is_lm=True, bs=2, seq_len=8)
    assert isinstance(dls.train_ds.source, QuickRows)
