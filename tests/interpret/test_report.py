"""The report: a page that needs nothing else, and the history as a table."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.interpret.report import Report, write_report
from flambeau.train.learner import Learner


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return the report of a learner that was trained on red and blue pictures."""
    from flambeau.vision.data_loaders import ImageDataLoaders
    from flambeau.vision.resize import Resize

    folder = tmp_path_factory.mktemp("pictures")
    for label, channel in (("red & <b>", 0), ("blue", 2)):
        (folder / label).mkdir()
        for i in range(6):
            pixels = np.full((16, 16, 3), 10 * i, dtype=np.uint8)
            pixels[..., channel] += 120
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
    dls = ImageDataLoaders.from_folder(folder, valid_pct=0.5, seed=1, bs=4, item_tfms=Resize(16), device="cpu")
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    learn = Learner(dls, net, metrics=["accuracy"])
    with learn.no_logging():
        learn.fit(2, 0.01)
    out = tmp_path_factory.mktemp("out")
    return write_report(learn, out, "Red <or> blue", "a test", ["flambeau predict x"])


def test_the_page_needs_no_other_file(report: Report) -> None:
    page = report.page.read_text(encoding="utf-8")
    assert "http" not in page
    assert "url(" not in page
    assert "<script" not in page
    assert set(re.findall(r"src='([^,']*)", page)) == {"data:image/png;base64"}
    assert page.count("<img") == 4


def test_names_are_escaped(report: Report) -> None:
    page = report.page.read_text(encoding="utf-8")
    assert "Red &lt;or&gt; blue" in page
    assert "red &amp; &lt;b&gt;" in page
    assert "red & <b>" not in page


def test_pictures_and_history_stand_beside_it(report: Report) -> None:
    import pandas as pd

    assert sorted(report.pictures) == ["batch", "confusion", "losses", "top_losses"]
    assert all(path.stat().st_size > 1000 for path in report.pictures.values())
    history = pd.read_csv(report.folder / "history.csv")
    assert list(history.columns) == ["fit", "epoch", "train_loss", "valid_loss", "accuracy", "time"]
    assert len(history) == 2
    assert report.values["accuracy"] == pytest.approx(history["accuracy"].iloc[-1])


def test_numbers_on_plain_loaders_have_a_report_too(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    open_before = plt.get_fignums()
    batches = [(torch.ones(2, 1), torch.zeros(2, 1))] * 2
    learn = Learner(DataLoaders(batches, batches, device="cpu"), nn.Linear(1, 1), loss_func=nn.functional.mse_loss)
    with learn.no_logging():
        learn.fit(1, 0.01)
    report = write_report(learn, tmp_path, "numbers")
    assert sorted(report.pictures) == ["losses"]
    assert "valid loss" in report.page.read_text(encoding="utf-8")
    assert plt.get_fignums() == open_before


def test_a_learner_that_was_never_trained_has_a_report(tmp_path: Path) -> None:
    batches = [(torch.ones(2, 1), torch.zeros(2, 1))] * 2
    learn = Learner(DataLoaders(batches, batches, device="cpu"), nn.Linear(1, 1), loss_func=nn.functional.mse_loss)
    report = write_report(learn, tmp_path, "untrained")
    assert report.values == {}
    assert report.pictures == {}
