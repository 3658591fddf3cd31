"""`flambeau predict` with exports of texts: rows, lines and documents in, answers out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from review_files import reviews, said_by, tiny_transformer

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
    """Return a folder in which a transformer was trained into out/, and a language model into lm/."""
    root = tmp_path_factory.mktemp("predict")
    frame = reviews(120)
    frame.rename(columns={"text": "review"}).to_csv(root / "reviews.csv", index=False)
    (root / "texts.txt").write_text("\n".join(frame["text"]))
    model = tiny_transformer(root / "bert")
    result = said_by("train", "text", root / "reviews.csv", "--model", model, "--out", root / "out",
                     "--epochs", 6, "--bs", 8, "--lr", 5e-3)  # fmt: skip
    assert result.exit_code == 0, result.output
    tiny = ("--emb-sz", 8, "--n-hid", 12, "--layers", 1, "--bs", 4, "--seq-len", 8, "--valid-pct", 0.2)
    result = said_by("pretrain", root / "texts.txt", "--out", root / "lm", *tiny)
    assert result.exit_code == 0, result.output
    return root


def test_rows_are_answered_beside_their_cells(root: Path) -> None:
    new = pd.DataFrame({"id": [1, 2, 3], "review": ["awful the film was", None, "great the film was"]})
    new.to_csv(root / "new.csv", index=False)
    result = said_by("predict", root / "out" / "export.safetensors", root / "new.csv", "--csv", root / "answers.csv")
    assert result.exit_code == 0, result.output
    assert "1 of 3 rows of " in result.output
    answers = pd.read_csv(root / "answers.csv")
    assert answers.columns.tolist() == ["id", "review", "predicted", "probability of neg", "probability of pos"]
    assert answers["predicted"].fillna("").tolist() == ["neg", "", "pos"]
    assert "awful the film was" in said_by("predict", root / "out" / "export.safetensors", root / "new.csv").output


def test_lines_and_documents_are_answered(root: Path) -> None:
    (root / "lines.txt").write_text("awful the film was\n\ngreat the film was\n")
    result = said_by("predict", root / "out" / "export.safetensors", root / "lines.txt", "--top", 1)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert "1 of 3 lines of " in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["lines.txt:1", "lines.txt:3"]
    assert [line.split()[-2] for line in lines[1:]] == ["neg", "pos"]
    (root / "documents").mkdir()
    (root / "documents" / "a.txt").write_text("lovely the\nfilm was")
    result = said_by("predict", root / "out" / "export.safetensors", root / "documents", "--csv", root / "a.csv")
    assert result.exit_code == 0, result.output
    assert pd.read_csv(root / "a.csv")["predicted"].tolist() == ["pos"]


def test_a_language_model_writes_on(root: Path) -> None:
    (root / "begin.txt").write_text("the film was\na story\n")
    arguments = ("predict", root / "lm" / "export.safetensors", root / "begin.txt", "--n-words", 30)
    result = said_by(*arguments)
    assert result.exit_code == 0, result.output
    lines = [line.lower() for line in result.output.splitlines()]
    starts = ("the film was ", "a story ")  # and more
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True)), lines
    assert min(map(len, map(str.split, lines))) > 5
    result = said_by("evaluate", root / "lm" / "export.safetensors", root / "begin.txt")
    assert (result.exit_code, "is a language model" in result.output) == (2, True)


def test_rows_of_a_table_are_gone_on_with_too(root: Path) -> None:
    pd.DataFrame({"id": [7, 8, 9], "text": ["the film was", None, "a story"]}).to_csv(root / "rows.csv", index=False)
    result = said_by(
        "predict", root / "lm" / "export.safetensors", root / "rows.csv", "--n-words", 5, "--csv", root / "on.csv"
    )
    assert result.exit_code == 0, result.output
    answers = pd.read_csv(root / "on.csv")
    assert answers.columns.tolist() == ["id", "text", "predicted"]
    assert answers["predicted"].isna().tolist() == [False, True, False]
    assert answers["predicted"].str.lower().iloc[0].startswith("the film was ")


def test_a_transformer_that_writes_is_a_language_model_too(root: Path) -> None:
    import transformers

    from flambeau.text.data_loaders import TextDataLoaders
    from flambeau.text.transformer_learner import transformer_learner

    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_transformer(root / "reader"))
    tokenizer.save_pretrained(root / "writer")
    config = transformers.GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=32)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(root / "writer")
    dls = TextDataLoaders.from_df(reviews(40), root, text_col="text", is_lm=True, transformer=root / "writer", bs=4)
    export = transformer_learner(dls, root / "writer").export("writer.safetensors")
    (root / "begin.txt").write_text("the film was\n")
    result = said_by("predict", export, root / "begin.txt", "--n-words", 9)
    assert (result.exit_code, result.output[:12]) == (0, "the film was"), result.output
    assert len(result.output) > len("the film was\n")


def test_a_model_that_guesses_hidden_words_fills_them_in(root: Path) -> None:
    from flambeau.text.data_loaders import TextDataLoaders
    from flambeau.text.transformer_learner import transformer_learner

    model = tiny_transformer(root / "guesser")
    dls = TextDataLoaders.from_df(reviews(40), root, text_col="text", label_col="label", transformer=model, bs=4)
    export = transformer_learner(dls, model, task="masked_lm").export("guesser.safetensors")
    (root / "masked.txt").write_text("the [MASK] was awful\n")
    result = said_by("predict", export, root / "masked.txt")
    assert result.exit_code == 0, result.output
    words = result.output.split()
    assert (words[0], words[-2:], "[MASK]" in words) == ("the", ["was", "awful"], False)
    reviews(8).to_csv(root / "some.csv", index=False)
    for verb, told in (("predict", "fills in what [MASK] stands for"), ("evaluate", "is a language model")):
        result = said_by(verb, export, root / "some.csv")
        assert (result.exit_code, told in " ".join(result.output.split())) == (2, True), result.output


def test_words_get_tags(root: Path) -> None:
    from flambeau.data.block import DataBlock
    from flambeau.data.labels import ColReader
    from flambeau.text.blocks import TextBlock
    from flambeau.text.token_tags import TokenTagsBlock
    from flambeau.text.transformer_learner import transformer_learner

    model = tiny_transformer(root / "tagger")
    words = [text.split() for text in reviews(40)["text"]]
    frame = pd.DataFrame({"words": words, "tags": [["N" if "film" in word else "O" for word in of] for of in words]})
    block = DataBlock(
        (TextBlock.from_transformer(model), TokenTagsBlock), get_x=ColReader("words"), get_y=ColReader("tags")
    )
    learn = transformer_learner(block.dataloaders(frame, bs=8, seed=1, path=root), model, dropout=0.0)
    with learn.no_logging():
        learn.fit_one_cycle(12, 5e-3)
    export = learn.export("tags.safetensors")
    (root / "tagged.txt").write_text("the film was good\n")
    result = said_by("predict", export, root / "tagged.txt")
    assert (result.exit_code, result.output.split()) == (0, ["the/O", "film/N", "was/O", "good/O"]), result.output
    pd.DataFrame({"words": ["a film", "the film was"]}).to_csv(root / "words.csv", index=False)
    result = said_by("predict", export, root / "words.csv", "--csv", root / "tags.csv")
    assert result.exit_code == 0, result.output
    assert pd.read_csv(root / "tags.csv")["predicted"].tolist() == ["O N", "O N O"]


def test_what_cannot_be_read_is_told(root: Path) -> None:
    export = root / "out" / "export.safetensors"
    pd.DataFrame({"reviews": ["great"]}).to_csv(root / "odd.csv", index=False)
    (root / "latin.txt").write_bytes("na\u00efve\n".encode("latin-1"))
    (root / "empty.txt").write_text("\n\n")
    for name, told in (
        ("odd.csv", "lacks the column 'review' (is it 'reviews'?)"),
        ("latin.txt", "is no utf-8: byte 2 (line 1) is 0xef"),
        ("empty.txt", "There is no text in "),
        ("none.txt", "There is no file "),
    ):
        result = said_by("predict", export, root / name)
        assert (result.exit_code, told in result.output) == (2, True), result.output


def test_answers_never_stand_in_the_place_of_a_column(root: Path) -> None:
    pd.DataFrame({"review": ["great"], "predicted": ["mine"]}).to_csv(root / "mine.csv", index=False)
    result = said_by("predict", root / "out" / "export.safetensors", root / "mine.csv")
    assert (result.exit_code, "has a column 'predicted' already" in result.output) == (2, True), result.output


def test_documents_without_text_are_told_and_left_out(root: Path) -> None:
    folder = root / "some_empty"
    folder.mkdir()
    for name, text in (("a", "great"), ("b", ""), ("c", " \n")):
        (folder / f"{name}.txt").write_text(text)
    result = said_by("predict", root / "out" / "export.safetensors", folder)
    assert (result.exit_code, "2 of 3 files of " in result.output) == (0, True), result.output
    assert [line.split()[0] for line in result.output.splitlines()[1:]] == [str(folder / "a.txt")]


def test_files_in_another_encoding_are_answered(root: Path) -> None:
    export = root / "out" / "export.safetensors"
    for encoding in ("latin-1", "utf-16"):
        table, lines, folder = root / f"{encoding}.csv", root / f"{encoding}.txt", root / f"of_{encoding}"
        table.write_bytes("review,label\nawful na\u00efve film,neg\ngreat na\u00efve film,pos\n".encode(encoding))
        lines.write_bytes("awful na\u00efve film\ngreat na\u00efve film\n".encode(encoding))
        folder.mkdir()
        (folder / "a.txt").write_bytes("great na\u00efve film".encode(encoding))
        for place in (table, lines, folder):
            result = said_by("predict", export, place)
            assert (result.exit_code, f"Pass --encoding '{encoding}'" in result.output) == (2, True), result.output
            result = said_by("predict", export, place, "--encoding", encoding, "--csv", root / "answers.csv")
            assert result.exit_code == 0, result.output
            answers = pd.read_csv(root / "answers.csv").dropna()
            assert "great na\u00efve film" in answers.values.tolist()[-1]
            assert answers["predicted"].iloc[-1] == "pos"
        assert "Accuracy on 2 texts: " in said_by("evaluate", export, table, "--encoding", encoding).output
    result = said_by("predict", export, root / "latin-1.txt", "--encoding", "latin-0")
    assert (result.exit_code, "There is no encoding 'latin-0'" in result.output) == (2, True)
