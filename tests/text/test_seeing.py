"""Batches, results, top losses and reports of text learners can be read, whichever model they have."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import pytest
import torch
from small_reviews import reviews
from tiny_transformers import tiny_folder

from flambeau.interpret.interpretation import ClassificationInterpretation, Interpretation
from flambeau.interpret.report import write_report
from flambeau.text.awd_lstm import AWD_LSTM
from flambeau.text.data_loaders import TextDataLoaders
from flambeau.text.learner import text_classifier_learner
from flambeau.text.transformer_learner import transformer_learner
from flambeau.train.learner import Learner

FRAME = reviews(40, longest=120)


@pytest.fixture(params=["words", "transformer"])
def learn(request: pytest.FixtureRequest, tmp_path: Path) -> Learner:
    """Return an untrained classifier of reviews."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"path": tmp_path, "bs": 8, "seed": 1, "device": "cpu"}
    if request.param == "transformer":
        dls = TextDataLoaders.from_df(FRAME, transformer=tiny_folder("bert"), **options)
        return transformer_learner(dls, tiny_folder("bert"))
    config = {"emb_sz": 8, "n_hid": 8, "n_layers": 1}
    return text_classifier_learner(TextDataLoaders.from_df(FRAME, **options), AWD_LSTM, config=config, pretrained=False)


def test_batches_results_and_top_losses_are_tables_with_names(learn: Learner, tmp_path: Path) -> None:
    batch = learn.dls.show_batch(max_n=3)
    assert list(batch.columns) == ["text", "label"]
    assert max(map(len, learn.dls.show_batch(max_n=8, trunc_at=10_000)["text"])) > 310
    assert max(map(len, learn.dls.show_batch(max_n=8, trunc_at=50)["text"])) <= 54
    assert list(learn.show_results(max_n=2, trunc_at=50).columns) == ["text", "actual", "predicted"]
    found = ClassificationInterpretation.from_learner(learn)
    top = found.plot_top_losses(3, trunc_at=100)
    assert list(top.columns) == ["text", "actual", "predicted", "loss", "probability"]
    assert top["loss"].tolist() == found.top_losses(3)[0].tolist()
    assert top["probability"].between(0.3, 1).all()
    assert max(map(len, top["text"])) <= 104
    assert list(Interpretation.from_learner(learn).plot_top_losses(1)["loss"]) == top["loss"].tolist()[:1]

    with learn.no_logging():
        learn.fit(1)
    page = write_report(learn, tmp_path / "out", "reviews").page.read_text(encoding="utf-8")
    place = int(ClassificationInterpretation.from_learner(learn).top_losses(1)[1][0])
    shown = ClassificationInterpretation.from_learner(learn).show_results([place])["text"].iloc[0]
    assert html.escape(shown) in page
