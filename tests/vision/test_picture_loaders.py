"""Loaders of pictures from tables, and what the learner asks of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from torch import nn

from flambeau.data.block import CategoryBlock
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.kinds import Category, MultiCategory, Number
from flambeau.data.normalize import Normalize
from flambeau.foundation.errors import ArgumentError, EmptyError, ExportError, LabelError, ShapeError, TableError
from flambeau.nn.pooling import AdaptiveConcatPool2d
from flambeau.train.load_learner import load_learner
from flambeau.vision.data_loaders import ImageDataLoaders, SegmentationDataLoaders
from flambeau.vision.erasing import RandomErasing
from flambeau.vision.images import imagenet_stats
from flambeau.vision.learner import vision_learner
from flambeau.vision.models import create_vision_model
from flambeau.vision.resize import FlipItem, Resize
from flambeau.vision.xresnet import xresnet18


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    for i in range(8):
        Image.new("RGB", (16, 16), (30 * i, 0, 0)).save(tmp_path / f"{i}.png")
    return pd.DataFrame({"file": [f"{i}.png" for i in range(8)], "label": ["new york", "rome"] * 4})


def loaders(table: pd.DataFrame, path: Path, **options: object) -> DataLoaders:
    return ImageDataLoaders.from_df(table, path=path, bs=2, seed=1, **options)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("error")
def test_a_csv_is_split_at_commas_without_guessing(table: pd.DataFrame, tmp_path: Path) -> None:
    table.to_csv(tmp_path / "labels.csv", index=False)
    dls = ImageDataLoaders.from_csv(tmp_path, bs=2, seed=1, num_workers=0)
    assert list(dls.vocab) == ["new york", "rome"]


def test_an_empty_cell_of_a_csv_has_no_labels(
    table: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table.assign(label=["sun sea", "", "sea", "sun"] * 2).to_csv(tmp_path / "labels.csv", index=False)
    dls = ImageDataLoaders.from_csv(tmp_path, label_delim=" ", valid_pct=0.5, bs=2, seed=1, num_workers=0)
    assert "2 of 8 rows have an empty cell in 'label': they have none of the labels." in capsys.readouterr().out
    n_labels = [int(target.sum()) for half in (dls.train_ds, dls.valid_ds) for _, target in half]
    assert sorted(n_labels) == [0, 0, 1, 1, 1, 1, 2, 2]


def test_labels_of_a_csv_are_read_as_they_are_written(table: pd.DataFrame, tmp_path: Path) -> None:
    table.assign(label=["1", "", "NA", "1 NA"] * 2).to_csv(tmp_path / "labels.csv", index=False, header=False)
    options = {"label_delim": " ", "valid_pct": 0.5, "bs": 2, "seed": 1, "num_workers": 0}
    dls = ImageDataLoaders.from_csv(tmp_path, header=None, **options)
    assert list(dls.vocab) == ["1", "NA"]
    table.assign(label=["1", "2", "1", ""] * 2).to_csv(tmp_path / "labels.csv", index=False)
    assert list(ImageDataLoaders.from_csv(tmp_path, **options).vocab) == ["1", "2"]


def test_a_column_that_is_not_there_is_named(table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"no column 9\. Its columns: 'file', 'label'"):
        loaders(table, tmp_path, label_col=9)


def test_an_empty_label_is_advised_by_the_name_of_its_column(table: pd.DataFrame, tmp_path: Path) -> None:
    table.loc[5, "label"] = None
    with pytest.raises(LabelError, match=r"Column 'label' is empty in row 5.*dropna\(subset=\['label'\]\)"):
        loaders(table, tmp_path)


def test_n_in_must_agree_with_the_pictures(table: pd.DataFrame, tmp_path: Path) -> None:
    dls = loaders(table, tmp_path)
    assert vision_learner(dls, xresnet18, pretrained=False, n_in=3).model[0] is not None
    with pytest.raises(ShapeError, match="n_in=1 channels were expected, but the loaders give pictures of 3"):
        vision_learner(dls, xresnet18, pretrained=False, n_in=1)


def test_an_export_of_exchanged_layers_says_so_and_takes_the_model_back(
    table: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = vision_learner(loaders(table, tmp_path), "resnet18", pretrained=False, lin_ftrs=[])
    learn.model[1].append(nn.Tanh())
    export = learn.export("export")
    assert "layers were changed after it was built" in capsys.readouterr().out
    with pytest.raises(ExportError, match=r"layers were changed.*load_learner\(path, model="):
        load_learner(export)
    expected = learn.predict(tmp_path / "0.png")[2]
    assert load_learner(export, model=learn.model).predict(tmp_path / "0.png")[2].tolist() == expected.tolist()


def test_a_changed_model_is_asked_back_with_the_lines_to_write(table: pd.DataFrame, tmp_path: Path) -> None:
    learn = vision_learner(loaders(table, tmp_path), "resnet18", pretrained=False)
    learn.model[1] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 2))
    export = learn.export("export")
    lines = r"model = create_vision_model\('resnet18', 2, image_size=\[16, 16\], pretrained=False\).*model\[1\] = "
    with pytest.raises(ExportError, match=lines + r".*load_learner\(path, model=model\)"):
        load_learner(export)
    model = create_vision_model("resnet18", 2, image_size=[16, 16], pretrained=False)  # type: ignore[arg-type]
    model[1] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 2))
    picture = tmp_path / "0.png"
    assert load_learner(export, model=model).predict(picture)[2].tolist() == learn.predict(picture)[2].tolist()


@pytest.mark.parametrize(
    "head, words",
    [
        ([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2)], r"layer '2', Linear\(in_features=64.*\(1, 512\)"),
        ([nn.Conv2d(256, 2, 1)], r"layer '0', Conv2d\(256.*\(1, 512, 1, 1\)"),
        ([AdaptiveConcatPool2d(), nn.Flatten(), nn.BatchNorm1d(512)], r"layer '2', BatchNorm1d\(512.*\(1, 1024\)"),
    ],
)
def test_a_head_of_the_wrong_width_is_refused_at_once(
    table: pd.DataFrame, tmp_path: Path, head: list[nn.Module], words: str
) -> None:
    with pytest.raises(ShapeError, match=r"body of resnet18, which gives 512 features as a map.*" + words):
        vision_learner(loaders(table, tmp_path), "resnet18", pretrained=False, custom_head=nn.Sequential(*head))


def test_a_table_that_says_in_words_who_validates_is_told_what_to_write(table: pd.DataFrame, tmp_path: Path) -> None:
    table["side"] = ["train", "train", "valid", "valid"] * 2
    with pytest.raises(TableError, match=r"df\['side'\] = df\['side'\] == 'valid', before you hand the table over"):
        loaders(table, tmp_path, valid_col="side")
    table["side"] = table["side"] == "valid"
    assert len(loaders(table, tmp_path, valid_col="side").valid_ds) == 4


def test_masks_with_more_values_than_codes_are_told(tmp_path: Path) -> None:
    for i in range(8):
        Image.new("RGB", (16, 16), (i, 0, 0)).save(tmp_path / f"{i}.jpg")
        Image.new("L", (16, 16), 3).save(tmp_path / f"{i}_mask.png")
    files = sorted(tmp_path.glob("*.jpg"))
    with pytest.raises(LabelError, match="hold the value 3, but there are only 2 codes"):
        SegmentationDataLoaders.from_label_func(
            tmp_path, files, lambda path: path.with_name(f"{path.stem}_mask.png"), codes=["sky", "sea"], bs=4
        )


def test_floats_are_measured_and_whole_numbers_are_classes(
    table: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table["age"], table["digit"] = [float(i) for i in range(8)], [0, 1] * 4
    assert loaders(table, tmp_path, label_col="age").kinds[1] == Number(1)
    assert "The labels are measured numbers, such as 0: RegressionBlock" in capsys.readouterr().out
    files = [tmp_path / name for name in table["file"]]
    assert ImageDataLoaders.from_lists(tmp_path, files, list(np.float32(table["age"])), bs=2).kinds[1] == Number(1)
    assert loaders(table, tmp_path, label_col="digit").kinds[1] == Category((0, 1))
    assert loaders(table, tmp_path, label_col="age", y_block=CategoryBlock(vocab=range(8))).c == 8


def test_several_columns_are_classes_numbers_or_told_to_be_text(
    table: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table["wet"], table["cold"], table["width"] = [0, 1] * 4, [True, False] * 4, range(8)
    dls = loaders(table, tmp_path, label_col=["wet", "cold"])
    assert (dls.kinds[1], dls.train_ds[0][1].sum()) == (MultiCategory(("wet", "cold")), 1)
    assert "The columns wet, cold hold 0 and 1: each is a class" in capsys.readouterr().out
    assert loaders(table, tmp_path, label_col=["wet", "width"]).kinds[1] == Number(2)
    with pytest.raises(ArgumentError, match=r"'label', 'file' hold text, such as 'new york', .*\+ '_' \+ df\['file'\]"):
        loaders(table, tmp_path, label_col=["label", "file"])


def test_a_seed_that_is_text_is_told(table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"whole number .*got 'a'"):
        ImageDataLoaders.from_df(table, path=tmp_path, seed="a")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ({"batch_tfms": Resize(8)}, r"Resize changes single items, before they form a batch: give it with item_tfms"),
        ({"batch_tfms": FlipItem()}, r"FlipItem changes single items"),
        ({"item_tfms": Normalize.from_stats(*imagenet_stats)}, r"Normalize works on whole batches: .* batch_tfms"),
        ({"item_tfms": [Resize(8), RandomErasing()]}, r"RandomErasing works on whole batches"),
    ],
)
def test_a_transform_at_the_wrong_stage_is_told(
    table: pd.DataFrame, tmp_path: Path, stages: dict[str, object], words: str
) -> None:
    with pytest.raises(ArgumentError, match=words):
        loaders(table, tmp_path, **stages)


def test_a_learner_without_loaders_is_told() -> None:
    with pytest.raises(ArgumentError, match=r"takes the loaders first, .* got 'x' of type str"):
        vision_learner("x", xresnet18)  # type: ignore[arg-type]


def test_a_half_of_another_name_is_proposed(table: pd.DataFrame, tmp_path: Path) -> None:
    for half in ("train", "val"):
        (tmp_path / half).mkdir()
    with pytest.raises(EmptyError, match=r"no folder 'valid' in .*holds 'train', 'val'\. Did you mean valid='val'\?"):
        ImageDataLoaders.from_folder(tmp_path)
