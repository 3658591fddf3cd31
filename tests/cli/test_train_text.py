"""`flambeau train text`, and `evaluate` of what it wrote: labelled texts in, an export and a report out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from review_files import reviews, said_by, tiny_transformer
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import Result

from flambeau.text import awd_lstm
from flambeau.train.load_learner import load_learner

pytest.importorskip("transformers")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Compute small networks on one core: sharing them out costs more than it saves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a transformer, a language model and tables of reviews."""
    root = tmp_path_factory.mktemp("text")
    tiny_transformer(root / "bert")
    frame = reviews(120)
    frame.to_csv(root / "reviews.csv", index=False)
    frame.to_csv(root / "reviews.tsv.gz", index=False, sep="\t")
    (root / "texts.txt").write_text("\n".join(frame["text"]))
    tiny = ("--emb-sz", 8, "--n-hid", 12, "--layers", 1, "--bs", 4, "--seq-len", 8, "--valid-pct", 0.2)
    result = said_by("pretrain", root / "texts.txt", "--out", root / "lm", *tiny)
    assert result.exit_code == 0, result.output
    return root


@pytest.fixture(scope="module")
def trained(root: Path) -> Result:
    """Return what training a transformer on reviews.csv into out/ said."""
    return said_by("train", "text", root / "reviews.csv", "--model", root / "bert", "--out", root / "out",
                   "--epochs", 6, "--bs", 8, "--lr", 5e-3)  # fmt: skip


def test_a_transformer_is_trained_and_reported(root: Path, trained: Result) -> None:
    assert trained.exit_code == 0, trained.output
    assert "Texts: text. Labels: label." in trained.output
    assert "accuracy on the validation set: " in trained.output
    assert {path.name for path in (root / "out").iterdir()} >= {"export.safetensors", "report.html", "history.csv"}
    assert pd.read_csv(root / "out" / "history.csv")["accuracy"].iloc[-1] > 0.9


def test_an_export_is_measured_on_a_table(root: Path, trained: Result) -> None:
    reviews(40, seed=5).to_csv(root / "new.csv", index=False)
    result = said_by("evaluate", root / "out" / "export.safetensors", root / "new.csv")
    assert result.exit_code == 0, result.output
    assert "Accuracy on 40 texts: " in result.output
    result = said_by("evaluate", root / "out" / "export.safetensors", root / "new.csv", "--out", root / "measured")
    assert result.exit_code == 0, result.output
    assert (root / "measured" / "confusion.png").stat().st_size > 1000
    result = said_by("evaluate", root / "out" / "export.safetensors", root / "texts.txt")
    assert result.exit_code == 2


def test_a_classifier_stands_on_a_language_model(root: Path) -> None:
    result = said_by("train", "text", root / "reviews.tsv.gz", "--model", "ulmfit", "--language-model", root / "lm",
                     "--out", root / "ulmfit", "--bs", 8, "--epochs", 1)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "were in the pretrained vocabulary" in result.output
    assert "accuracy on the validation set: " in result.output
    assert len(pd.read_csv(root / "ulmfit" / "history.csv")) == 4
    assert load_learner(root / "ulmfit" / "export.safetensors").predict("great lovely")[0] in ("pos", "neg")


@pytest.mark.parametrize("lm_epochs", [0, 1])
def test_a_beginning_from_nothing_is_told_with_what_to_do(lm_epochs: int, root: Path, monkeypatch: Any) -> None:
    sizes = {"emb_sz": 8, "n_hid": 12, "n_layers": 1}
    for config in (awd_lstm.awd_lstm_lm_config, awd_lstm.awd_lstm_clas_config):
        for name, size in sizes.items():
            monkeypatch.setitem(config, name, size)
    out = root / f"nothing_{lm_epochs}"
    result = said_by("train", "text", root / "reviews.csv", "--model", "ulmfit", "--lm-epochs", lm_epochs, "--out", out,
                     "--bs", 8, "--epochs", 1)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.output.count("begins from random weights") == 1
    assert "--model minilm" in result.output
    result = said_by("predict", out / "export.safetensors", root / "reviews.csv")
    assert result.exit_code == 0, result.output


def test_a_run_goes_on_from_the_language_model_that_it_began_with(root: Path) -> None:
    command = ("train", "text", root / "reviews.csv", "--model", "ulmfit", "--lm-epochs", 0, "--out", root / "kept",
               "--bs", 8, "--epochs", 1, "--resume", "--language-model")  # fmt: skip
    first = said_by(*command, root / "lm")
    assert first.exit_code == 0, first.output
    written = load_file(root / "kept" / "export.safetensors")
    again = said_by(*command, root / "lm")
    assert (again.exit_code, "Nothing is left to train" in again.output) == (0, True), again.output
    exported = load_file(root / "kept" / "export.safetensors")
    assert exported.keys() == written.keys()
    assert all(torch.equal(value, written[name]) for name, value in exported.items())
    shutil.copytree(root / "lm", root / "other_lm")
    weights = load_file(root / "other_lm" / "language_model.safetensors")
    with safe_open(root / "other_lm" / "language_model.safetensors", "pt") as opened:
        header = opened.metadata()
    changed = {name: value + 1 if value.is_floating_point() else value for name, value in weights.items()}
    save_file(changed, root / "other_lm" / "language_model.safetensors", header)
    other = said_by(*command, root / "other_lm")
    assert (other.exit_code, "began with another language model" in other.output) == (2, True), other.output


def test_a_folder_with_halves_is_trained_without_a_further_language_model(root: Path) -> None:
    for place, (text, label) in enumerate(reviews(48).itertuples(index=False)):
        folder = root / "files" / ("val" if place % 8 > 5 else "train") / label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{place}.txt").write_text(text)
    result = said_by("train", "text", root / "files", "--model", "ulmfit", "--language-model", root / "lm",
                     "--lm-epochs", 0, "--out", root / "of_files", "--bs", 8, "--epochs", 1)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "A language model of the texts" not in result.output
    result = said_by("evaluate", root / "of_files" / "export.safetensors", root / "files" / "val")
    assert "Accuracy on 12 texts: " in result.output, result.output
    (root / "files" / "val" / "neg").rename(root / "files" / "val" / "bad")
    result = said_by("evaluate", root / "of_files" / "export.safetensors", root / "files" / "val")
    assert (result.exit_code, "no classes of the export: 'bad' (6 texts" in result.output) == (2, True)


def test_pairs_groups_numbers_and_many_labels_are_trained(root: Path) -> None:
    frame = reviews(40)
    frame["other"] = frame["text"].iloc[::-1].tolist()
    frame["stars"] = [1.5 if label == "neg" else 4.5 for label in frame["label"]]
    frame["tags"] = ["old;bad" if label == "neg" else "good" for label in frame["label"]]
    frame["author"] = [place // 4 for place in range(40)]
    frame.loc[3, "text"] = None
    frame.to_csv(root / "wide.csv", index=False)
    shared = ("train", "text", root / "wide.csv", "--model", root / "bert", "--bs", 8, "--epochs", 1, "--text", "text")
    result = said_by(*shared, "--text", "other", "--label", "stars", "--group", "author", "--out", root / "stars")
    assert result.exit_code == 0, result.output
    assert "1 of 40 rows lack a text or a label and are left out." in result.output
    assert "mae on the validation set: " in result.output
    assert "mae: " in said_by("evaluate", root / "stars" / "export.safetensors", root / "wide.csv").output
    result = said_by(*shared, "--label", "tags", "--label-delim", ";", "--out", root / "tags")
    assert result.exit_code == 0, result.output
    assert list(load_learner(root / "tags" / "export.safetensors").dls.vocab) == ["bad", "good", "old"]


def test_cells_are_read_as_they_stand_from_training_to_the_answers(root: Path) -> None:
    frame = reviews(40)
    frame.loc[:3, "text"] = ["NA", "null", "007", "None"]
    frame["label"] = ["NA" if label == "neg" else "007" for label in frame["label"]]
    frame["row"] = [f"{place:03}" for place in range(40)]
    frame.to_csv(root / "odd.csv", index=False)
    frame[frame["label"] == "007"].to_csv(root / "one.csv", index=False)
    result = said_by("train", "text", root / "odd.csv", "--model", root / "bert", "--bs", 8, "--epochs", 1,
                     "--out", root / "odd")  # fmt: skip
    assert (result.exit_code, "left out" in result.output) == (0, False), result.output
    export = root / "odd" / "export.safetensors"
    assert list(load_learner(export).dls.vocab) == ["007", "NA"]
    assert "Accuracy on 20 texts: " in said_by("evaluate", export, root / "one.csv").output
    assert said_by("predict", export, root / "odd.csv", "--csv", root / "answers.csv").exit_code == 0
    answers = pd.read_csv(root / "answers.csv", dtype=str, keep_default_na=False)
    assert answers[["text", "label", "row"]].equals(frame.astype(answers.dtypes["text"])[["text", "label", "row"]])
    assert set(answers["predicted"]) <= {"007", "NA"}


def test_texts_in_another_encoding_are_trained(root: Path) -> None:
    frame = reviews(40).assign(label=["na\u00efve", "other"] * 20)
    frame.to_csv(root / "latin.csv", index=False, encoding="latin-1")
    for place, (text, label) in enumerate(frame.itertuples(index=False)):
        (root / "latin" / label).mkdir(parents=True, exist_ok=True)
        (root / "latin" / label / f"{place}.txt").write_bytes(f"na\u00efve {text}".encode("latin-1"))
    command = ("train", "text", root / "latin.csv", "--model", root / "bert", "--bs", 8, "--epochs", 1, "--out",
               root / "latin_out")  # fmt: skip
    result = said_by(*command)
    assert (result.exit_code, "Pass --encoding 'latin-1'" in result.output) == (2, True), result.output
    assert said_by(*command, "--encoding", "latin-1").exit_code == 0
    result = said_by("train", "text", root / "latin", "--model", "ulmfit", "--language-model", root / "lm", "--bs", 8,
                     "--lm-epochs", 0, "--epochs", 1, "--encoding", "latin-1", "--out", root / "of_latin")  # fmt: skip
    assert result.exit_code == 0, result.output
    export = root / "of_latin" / "export.safetensors"
    for options in ((), ("--encoding", "latin-1")):  # that of its training is known
        assert "Accuracy on 40 texts: " in said_by("evaluate", export, root / "latin", *options).output
        assert said_by("predict", export, root / "latin", *options).exit_code == 0


def test_classes_of_digits_stay_strings_where_a_later_file_has_one_of_them(root: Path) -> None:
    frame = reviews(40)
    frame["label"] = ["12" if label == "neg" else "007" for label in frame["label"]]
    frame.to_csv(root / "digits.csv", index=False)
    frame[frame["label"] == "12"].to_csv(root / "twelve.csv", index=False)
    result = said_by("train", "text", root / "digits.csv", "--model", root / "bert", "--bs", 8, "--epochs", 1,
                     "--out", root / "digits")  # fmt: skip
    assert result.exit_code == 0, result.output
    result = said_by("evaluate", root / "digits" / "export.safetensors", root / "twelve.csv")
    assert "Accuracy on 20 texts: " in result.output, result.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("reviews.csv", "--label", "lable"), "lacks the column 'lable' (is it 'label'?)"),
        (("reviews.csv", "--lm-epochs", "2"), "belong to --model ulmfit"),
        (("reviews.csv", "--group", "label", "--valid-col", "label"), "give one of them"),
        (("none.csv",), "but there is no "),
        ((".", "--label", "label"), "--label belong to tables"),
        (("reviews.csv", "--model", "ulmfit", "--language-model", "out"), "has no language_model.safetensors"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_paragraph(root: Path, arguments: tuple[str, ...], told: str) -> None:
    given = [root / part if part in ("reviews.csv", "none.csv", ".", "out") else part for part in arguments]
    result = said_by("train", "text", *given)
    assert result.exit_code == 2
    assert told in result.output
