"""Rows of a table and metrics after an export: what was a plain recipe comes back, what was the user's own is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from small_learners import sign_items
from test_export import POINTS as SIGNS
from test_export import as_arrays, exportable, picture_loaders
from torch import nn

from flambeau.data.block import CategoryBlock, DataBlock
from flambeau.data.splitters import IndexSplitter
from flambeau.foundation.errors import ExportError, TableError
from flambeau.nn.metrics import accuracy
from flambeau.nn.sklearn_metrics import F1Score
from flambeau.train.checkpoint import read_tensors, write_tensors
from flambeau.train.export import FORMAT
from flambeau.train.learner import Learner
from flambeau.train.load_learner import load_learner
from flambeau.train.predictor import Predictor
from flambeau.vision.blocks import ImageBlock
from flambeau.vision.data_loaders import ImageDataLoaders
from flambeau.vision.images import PILImage
from flambeau.vision.resize import Resize


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    """Return a table of pictures in the folder `tmp_path/pictures`, a name without its ending and a colour a row."""
    picture_loaders(tmp_path / "pictures", item_tfms=Resize(16))
    names = [f"{colour}/{i}" for colour in ("red", "blue") for i in range(6)]
    return pd.DataFrame({"id": range(12), "name": names, "colour": [name.split("/")[0] for name in names]})


def flat_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def table_learner(table: pd.DataFrame, tmp_path: Path) -> Learner:
    dls = ImageDataLoaders.from_df(
        table, tmp_path, folder="pictures", fn_col="name", suff=".png", label_col="colour", seed=1, bs=4, device="cpu",
        item_tfms=Resize(16),
    )  # fmt: skip
    return Learner(dls, flat_net(), metrics=[accuracy, F1Score(average="macro")], path=tmp_path)


def test_a_row_is_predicted_as_its_picture_is(table: pd.DataFrame, tmp_path: Path) -> None:
    learn = table_learner(table, tmp_path)
    expected = learn.predict(tmp_path / "pictures" / "red" / "3.png")[2]
    row = table.iloc[3]
    named = next(table.iloc[[3]].itertuples())
    for item in (row, named, row.to_dict()):
        assert torch.equal(learn.predict(item)[2], expected)
    assert torch.equal(learn.get_preds(dl=learn.dls.test_dl([row]))[0][0], expected)
    assert torch.equal(learn.get_preds(dl=learn.dls.test_dl(table))[0][3], expected)
    paths = str(tmp_path / "pictures") + "/" + table["name"] + ".png"
    assert torch.equal(learn.get_preds(dl=learn.dls.test_dl(paths))[0][3], expected)  # a column of paths is no table


def test_a_loaded_learner_reads_rows_by_the_columns_it_was_trained_with(
    table: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = table_learner(table, tmp_path)
    path = learn.export()
    assert f"names the folder {tmp_path.as_posix()}/pictures/, for rows of tables" in capsys.readouterr().out
    again, predictor = load_learner(path), Predictor(path)
    expected = learn.get_preds(dl=learn.dls.test_dl(table))[0]
    assert torch.allclose(again.get_preds(dl=again.dls.test_dl(table))[0], expected)
    assert torch.allclose(again.predict(table.iloc[5])[2], expected[5])
    assert torch.allclose(torch.stack([answer.raw for answer in predictor.predict_batch(table, bs=5)]), expected)
    assert torch.allclose(again.predict(tmp_path / "pictures/red/5.png")[2], expected[5])


def test_a_loaded_learner_is_measured_on_a_table_and_on_pairs(table: pd.DataFrame, tmp_path: Path) -> None:
    learn = table_learner(table, tmp_path)
    again = load_learner(learn.export())
    expected = learn.validate(dl=learn.dls.test_dl(table, with_labels=True))
    assert len(expected) == 3
    assert again.validate(dl=again.dls.test_dl(table, with_labels=True)) == pytest.approx(expected)
    pairs = [(tmp_path / "pictures" / f"{name}.png", name.split("/")[0]) for name in table["name"]]
    assert again.validate(dl=again.dls.test_dl(pairs, with_labels=True)) == pytest.approx(expected)


def test_rows_that_a_function_of_ones_own_reads_are_told_after_loading(table: pd.DataFrame, tmp_path: Path) -> None:
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_x=lambda row: tmp_path / "pictures" / f"{row['name']}.png",
        get_y=lambda row: row["colour"],
        splitter=IndexSplitter([0, 6]),
        item_tfms=Resize(16),
    )
    learn = Learner(block.dataloaders(table, bs=4, device="cpu"), flat_net(), path=tmp_path)
    file = tmp_path / "pictures/red/5.png"
    expected = learn.predict(table.iloc[5])[2]
    again = load_learner(learn.export())
    assert torch.allclose(again.predict(file)[2], expected)
    words = r"the function '<lambda>' \(get_x\) that reads rows was code of your own.*paths of pictures"
    with pytest.raises(TableError, match=words):
        again.predict(table.iloc[5])
    with pytest.raises(TableError, match=words):
        again.get_preds(dl=again.dls.test_dl(table))


@pytest.mark.parametrize("folder", ["//host/share/", "\\\\host\\share\\", "https://host/", "/\\host/", 3, None])
def test_a_strangers_file_names_no_folder_of_another_machine(table: pd.DataFrame, tmp_path: Path, folder: Any) -> None:
    tensors, header = read_tensors(table_learner(table, tmp_path).export(), FORMAT)
    header["columns"][0][0]["reader"]["pref"] = folder
    with pytest.raises(ExportError, match="which is no folder of this machine"):
        load_learner(write_tensors(tmp_path / "hostile", tensors, header))
    header["columns"][0][0]["reader"] = {"pref": "", "suff": "", "label_delim": None, "cols": [["name"]]}
    with pytest.raises(ExportError, match="which are no names"):
        load_learner(write_tensors(tmp_path / "hostile", tensors, header))


# metrics


def of_ones_own(pred: torch.Tensor, targ: torch.Tensor) -> torch.Tensor:
    return (pred.argmax(-1) == targ).float().mean() * 2


def test_metrics_come_back_and_those_of_ones_own_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learn = exportable(path=tmp_path, metrics=[accuracy, of_ones_own, F1Score(average="macro")])
    path = learn.export()
    assert "Not in the export: metrics of your own, 'of_ones_own'" in capsys.readouterr().out
    again = load_learner(path)
    assert "Metrics of your own, not in the export: of_ones_own. Set learn.metrics" in capsys.readouterr().out
    assert [metric.name for metric in again.metrics] == ["accuracy", "f1_score"]
    items = [(point, label) for point, (_, label) in zip(as_arrays(SIGNS), sign_items()[16:], strict=True)]
    loss, right, _, f1 = learn.validate()
    found = again.validate(dl=again.dls.test_dl(items, with_labels=True))
    assert found == pytest.approx([loss, right, f1])
    again.metrics = [of_ones_own]
    assert again.validate(dl=again.dls.test_dl(items, with_labels=True))[1] == pytest.approx(2 * right)


def test_an_export_of_the_first_format_names_its_metrics(tmp_path: Path) -> None:
    tensors, header = read_tensors(exportable(path=tmp_path).export(), FORMAT)
    path = write_tensors(tmp_path / "old", tensors, {**header, "metrics": ["accuracy"]})
    assert [metric.name for metric in load_learner(path).metrics] == ["accuracy"]
    with pytest.raises(ExportError, match="metrics are no list"):
        load_learner(write_tensors(tmp_path / "hostile", tensors, {**header, "metrics": "accuracy"}))


# a damaged picture


def test_a_single_damaged_picture_is_named_and_called_damaged(table: pd.DataFrame, tmp_path: Path) -> None:
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_x=lambda row: row,
        get_y=lambda row: "ab"[len(str(row)) % 2],
        splitter=IndexSplitter([0, 1]),
    )
    same = [tmp_path / f"{i}{'x' * (i % 2)}.png" for i in range(6)]
    pixels = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    for path in same:
        PILImage.create(pixels).save(path)
    learn = Learner(block.dataloaders(same, bs=2, device="cpu"), flat_net(), path=tmp_path)
    broken = tmp_path / "broken.png"
    broken.write_bytes(same[0].read_bytes()[:400])
    with pytest.raises(ValueError, match=r"broken\.png") as found:
        Predictor(learn.export()).predict(broken)
    assert type(found.value).__name__ == "ImageError"
    assert "cannot be stacked" not in str(found.value)
