"""Outliers: the rule by hand, the origin that was planted, the numbers with and without, and nothing dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.stats import hypergeom
from torch import nn

from flambeau.data.block import CategoryBlock, DataBlock, RegressionBlock, TransformBlock
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.labels import ColReader
from flambeau.data.splitters import IndexSplitter
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError, TableError
from flambeau.interpret.interpretation import ClassificationInterpretation, Interpretation
from flambeau.interpret.outliers import find_outliers, outlier_threshold, trace
from flambeau.nn.metrics import accuracy, mae
from flambeau.train.learner import Learner


class Same(nn.Module):
    """Answer with the input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def frame(n: int = 100) -> pd.DataFrame:
    """Return readings of four machines; the last ten items of the second half are far off, eight of machine d."""
    errors = np.random.RandomState(0).uniform(-1, 1, 2 * n)
    errors[-10:] = 30
    machine = ["abcd"[row % 3] for row in range(2 * n)]
    machine[-8:] = ["d"] * 8
    return pd.DataFrame({"x": errors, "y": 0.0, "machine": machine, "number": range(2 * n)})


def learner(n: int = 100, **options: Any) -> Learner:
    """Return a learner of the readings, whose answer is x and whose target is 0; the second half validates."""
    number = TransformBlock(type_tfms=lambda x: torch.tensor([x], dtype=torch.float32))
    block = DataBlock((number, RegressionBlock(1)),
                      get_x=ColReader("x"), get_y=ColReader("y"), splitter=IndexSplitter(range(n, 2 * n)))  # fmt: skip
    return Learner(block.dataloaders(frame(n), bs=16, device="cpu"), Same(), **options)


def test_the_threshold_is_the_median_and_the_deviation_of_roots() -> None:
    # roots 1..9 and 100: median 5 (the lower middle), deviations 4 3 2 1 0 1 2 3 4 95: median 2
    losses = torch.tensor([*range(1, 10), 100.0]) ** 2
    assert outlier_threshold(losses, 0.5) == pytest.approx((5 + 3.5 * 1.4826 * 2) ** 2, rel=1e-6)


def test_no_more_than_the_given_share_stands_apart() -> None:
    losses = torch.cat([torch.full((90,), 0.01), torch.linspace(1, 2, 10)])
    threshold = outlier_threshold(losses, 0.05)
    assert int((losses > threshold).sum()) == 5
    assert int((losses > outlier_threshold(losses, 0.2)).sum()) == 10


def test_even_losses_have_no_outlier() -> None:
    losses = torch.linspace(0, 1, 50) ** 2
    assert int((losses > outlier_threshold(losses)).sum()) == 0


def test_the_items_that_are_far_off_are_set_apart_and_traced() -> None:
    found = Interpretation.from_learner(learner()).outliers(most=0.2)
    assert sorted(found.places) == list(range(90, 100))
    best = found.origins.iloc[0]
    assert (best["attribute"], best["value"], best["outliers"], best["items"]) == ("machine", "d", 8, 8)
    assert best["p"] == pytest.approx(hypergeom.sf(7, 100, 8, 10))
    assert best["ratio"] == pytest.approx((8 / 10) / (8 / 100))
    assert "machine" in found.sure_origins["attribute"].tolist()
    assert "None was dropped" in repr(found)


def test_scores_are_told_with_without_and_alone() -> None:
    found = Interpretation.from_learner(learner(metrics=mae)).outliers(most=0.2)
    errors = np.abs(frame()["x"].to_numpy()[100:])
    scores = found.scores
    assert scores.loc["items"].tolist() == [100, 90, 10]
    assert scores.loc["mae", "all"] == pytest.approx(errors.mean(), rel=1e-5)
    assert scores.loc["mae", "without outliers"] == pytest.approx(errors[:90].mean(), rel=1e-5)
    assert scores.loc["mae", "outliers alone"] == pytest.approx(30, rel=1e-5)
    assert scores.loc["loss", "outliers alone"] == pytest.approx(900, rel=1e-5)


def test_nothing_is_dropped_and_nothing_changed() -> None:
    learn = learner(metrics=mae)
    before = learn.validate()
    found = Interpretation.from_learner(learn).outliers()
    assert len(learn.dls.valid.dataset) == 100
    assert learn.validate() == before
    assert len(found.losses) == 100


def test_an_origin_of_ones_own_is_tried() -> None:
    interpretation = Interpretation.from_learner(learner())
    batch = ["late" if row >= 188 else "early" for row in range(200)]
    by_row = {"batch": lambda row: "late" if row["number"] >= 188 else "early"}
    for by in (batch, batch[100:], {"batch": batch}, by_row):
        found = interpretation.outliers(by=by, most=0.2)
        top = found.origins[found.origins["value"] == "late"].iloc[0]
        assert (top["outliers"], top["items"]) == (10, 12)
    with pytest.raises(TableError, match=r"no column 'machin'. Did you mean 'machine'"):
        interpretation.outliers(by="machin")


def test_chance_is_adjusted_for_all_the_values_tried() -> None:
    apart = [True] * 4 + [False] * 16
    odd = [row % 2 for row in range(20)]
    table, n_tried = trace({"side": ["l"] * 4 + ["r"] * 16, "odd": odd, "own": list("abcdefghijklmnopqrst")}, apart)
    assert n_tried == 4  # l, r, 0, 1; a value of one item is no origin
    first = table.iloc[0]
    assert first["p"] == pytest.approx(1 / 4845)  # one way in (20 over 4)
    assert first["p_adjusted"] == pytest.approx(4 / 4845)


def test_random_marks_are_seldom_called_an_origin() -> None:
    chance = np.random.RandomState(0)
    false_alarms = 0
    for _ in range(60):
        columns = {f"c{column}": chance.randint(0, 4, 200).tolist() for column in range(5)}
        table, _ = trace(columns, (chance.permutation(200) < 10).tolist())
        false_alarms += bool((table["p_adjusted"] < 0.05).any())
    assert false_alarms <= 6


def test_numbers_of_many_values_are_tried_by_quarters() -> None:
    numbers = [float(row) for row in range(100)]
    table, n_tried = trace({"age": numbers}, [row >= 95 for row in range(100)])
    assert n_tried == 4
    assert table.iloc[0]["value"].startswith("74.25 to 99")


class Coded(nn.Module):
    """Answer with the class that the first pixel tells, surely."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 20 * nn.functional.one_hot((x[:, 0, 0, 0] > 0.5).long(), 2).float()


def test_pictures_are_traced_by_folder_size_and_mode(tmp_path: Path) -> None:
    from flambeau.data.normalize import IntToFloatTensor
    from flambeau.vision.blocks import ImageBlock

    files = []
    for number in range(80):
        is_odd = number % 20 == 0  # a grey one, of another size, from another folder, and wrong
        folder = tmp_path / ("scans" if is_odd else "photos")
        folder.mkdir(exist_ok=True)
        color = 255 * (number % 2 == 0)
        Image.new("L" if is_odd else "RGB", (9 if is_odd else 8,) * 2, color if is_odd else (color,) * 3).save(
            folder / f"{number:02}_{'high' if (number % 2 == 0) != is_odd else 'low'}.png")  # fmt: skip
        files.append(folder / f"{number:02}_{'high' if (number % 2 == 0) != is_odd else 'low'}.png")
    block = DataBlock((ImageBlock, CategoryBlock(["low", "high"], sort=False)), get_y=lambda file: file.stem[3:],
                      splitter=lambda items: (list(range(80)), list(range(80))),
                      item_tfms=None, batch_tfms=[IntToFloatTensor()])  # fmt: skip
    learn = Learner(block.dataloaders(files, bs=1, device="cpu"), Coded(), metrics=accuracy)
    found = ClassificationInterpretation.from_learner(learn).outliers()
    assert sorted(found.places) == [0, 20, 40, 60]
    sure = set(zip(found.sure_origins["attribute"], found.sure_origins["value"], strict=True))
    assert sure == {("folder", "scans"), ("shorter side", "9"), ("mode", "L")}
    assert found.scores.loc["accuracy"].tolist() == [0.95, 1.0, 0.0]
    assert found.to_frame()["label"].tolist() == ["low"] * 4
    for drawing in (found.plot(), found.show(4)):
        assert isinstance(drawing, Drawing)
        drawing.close()
    assert "<table" in found._repr_html_()


def test_plain_loaders_are_measured_too() -> None:
    x = torch.cat([torch.linspace(-1, 1, 60), torch.tensor([40.0, -40.0])])[:, None]
    batches = list(zip(x.split(16), torch.zeros_like(x).split(16), strict=True))
    learn = Learner(DataLoaders(batches, batches, device="cpu"), Same(), nn.functional.mse_loss, metrics=mae)
    interpretation = Interpretation.from_learner(learn)
    found = interpretation.outliers(by={"half": [row >= 31 for row in range(62)]})
    assert sorted(found.places) == [60, 61]
    assert found.scores.loc["mae", "outliers alone"] == pytest.approx(40)
    with pytest.raises(ArgumentError, match="plain loader are not known; give by one value for each of its 62 items"):
        interpretation.outliers(by="column")


def test_a_loss_that_is_no_number_stands_apart_and_first() -> None:
    interpretation = Interpretation.from_learner(learner())
    losses = interpretation.losses.clone()
    losses[3] = torch.nan
    interpretation.measured = type(interpretation.measured)(losses, None, None, None, None)
    assert find_outliers(interpretation, most=0.2).places[0] == 3


def test_senseless_requests_are_told() -> None:
    interpretation = Interpretation.from_learner(learner())
    with pytest.raises(ArgumentError, match=r"most is the largest share.*got 5"):
        interpretation.outliers(most=5)
    interpretation.measured = type(interpretation.measured)(torch.rand(2), None, None, None, None)
    with pytest.raises(ArgumentError, match="three items or more with a loss; got 2 losses"):
        interpretation.outliers()
