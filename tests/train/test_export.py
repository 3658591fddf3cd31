"""Exports: the same predictions in a fresh process, and nothing run for a stranger's file."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_learners import line_learner, sign_items, sign_learner, sign_loaders
from torch import nn
from torch.nn import functional as F

from flambeau.data.block import CategoryBlock, DataBlock, MultiCategoryBlock, RegressionBlock, TransformBlock
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.dataset import Datasets
from flambeau.data.splitters import IndexSplitter
from flambeau.foundation.errors import ArgumentError, EmptyError, ExportError
from flambeau.nn.losses import CrossEntropyLossFlat, LabelSmoothingCrossEntropyFlat, MSELossFlat
from flambeau.train.checkpoint import read_tensors, write_tensors
from flambeau.train.export import FORMAT
from flambeau.train.learner import Learner
from flambeau.train.load_learner import load_learner
from flambeau.train.predictor import Predictor

SOURCE = str(Path(__file__).resolve().parents[2] / "src")
POINTS = [point for point, _ in sign_items()[16:]]


def plain_datasets(n: int = 24) -> Datasets:
    """Return data sets whose columns hold flambeau's parts only, but for getters."""
    from flambeau.data.categorize import Categorize
    from flambeau.data.dataset import Getter

    columns = [[Getter(lambda item: np.array(item[0], dtype=np.float32))], [Getter(lambda item: item[1]), Categorize()]]
    return Datasets(sign_items(n), columns, splits=[list(range(16)), list(range(16, n))])


def exportable(loss_func: Any = None, model: nn.Module | None = None, **options: Any) -> Learner:
    torch.manual_seed(0)
    dls = DataLoaders.from_datasets(plain_datasets(), bs=4, device="cpu")
    net = model or nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
    return Learner(dls, net, loss_func=loss_func, **options)


def as_arrays(points: Any) -> list[Any]:
    return [np.array(point, dtype=np.float32) for point in points]


def picture_loaders(folder: Path, **options: Any) -> DataLoaders:
    """Return loaders of small pictures, red and blue, written to a folder."""
    from flambeau.vision.data_loaders import ImageDataLoaders

    chance = np.random.default_rng(0)
    for label, channel in (("red", 0), ("blue", 2)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for i in range(6):
            pixels = chance.integers(0, 90, (20 + i, 24, 3), dtype=np.uint8)
            pixels[..., channel] += 120
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
    return ImageDataLoaders.from_folder(folder, valid_pct=0.34, seed=1, bs=4, device="cpu", **options)


def in_a_fresh_process(code: str, *arguments: Any) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", f"import json, sys\n{code}", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


PREDICT_PICTURES = """
from flambeau.train.predictor import Predictor
paths, files = json.loads(sys.argv[1]), sys.argv[2:]
found = [[[a.label, a.raw.tolist()] for a in Predictor(path).predict_batch(files)] for path in paths]
print(json.dumps(found))
"""


def test_vision_models_predict_the_same_in_a_fresh_process(tmp_path: Path) -> None:
    from flambeau.vision.augment import aug_transforms
    from flambeau.vision.learner import vision_learner
    from flambeau.vision.resize import Resize
    from flambeau.vision.xresnet import xresnet18

    dls = picture_loaders(tmp_path / "pictures", item_tfms=Resize(36), batch_tfms=aug_transforms(size=32))
    learners = [
        Learner(dls, xresnet18(n_out=2, act_cls=nn.Mish), path=tmp_path),
        vision_learner(dls, "resnet18", pretrained=False, path=tmp_path),
    ]
    paths = [learn.export(f"model{i}.pkl") for i, learn in enumerate(learners)]  # the name does not matter
    expected = []
    for learn, path in zip(learners, paths, strict=True):
        expected.append(load_learner(path).get_preds(dl=learn.dls.test_dl(learn.dls.valid_ds.items))[0])
    files = [str(item) for item in dls.valid_ds.items]
    found = in_a_fresh_process(PREDICT_PICTURES, json.dumps([str(path) for path in paths]), *files)
    for answers, here in zip(found, expected, strict=True):
        assert torch.allclose(torch.tensor([raw for _, raw in answers]), here, atol=1e-5)
        assert [label for label, _ in answers] == [dls.vocab[i] for i in here.argmax(1)]
    assert torch.allclose(learners[1].get_preds(dl=dls.test_dl(files))[0], expected[1], atol=1e-5)


def test_layers_of_torch_predict_the_same_in_a_fresh_process(tmp_path: Path) -> None:
    learn = exportable(path=tmp_path)
    with learn.no_logging():
        learn.fit(2, 0.01)
    path = learn.export()
    assert path == tmp_path / "export.safetensors"
    code = """
import numpy as np
from flambeau.train.predictor import Predictor
points = [np.array(p, dtype=np.float32) for p in json.loads(sys.argv[2])]
print(json.dumps([a.raw.tolist() for a in Predictor(sys.argv[1]).predict_batch(points)]))
"""
    found = in_a_fresh_process(code, path, json.dumps(POINTS))
    assert torch.allclose(torch.tensor(found), learn.get_preds()[0], atol=1e-5)


def test_a_loaded_learner_predicts_the_same(tmp_path: Path) -> None:
    learn = exportable(path=tmp_path)
    other = load_learner(learn.export("model.pkl"))
    for point in as_arrays(POINTS):
        ours, theirs = learn.predict(point), other.predict(point)
        assert ours[0] == theirs[0]
        assert torch.allclose(ours[2], theirs[2], atol=1e-6)
    preds, targets = other.get_preds(dl=other.dls.test_dl(as_arrays(POINTS)))
    assert torch.allclose(preds, learn.get_preds()[0], atol=1e-6)
    assert targets is None
    assert other.dls.vocab == ["minus", "plus"]


def test_a_loaded_learner_is_measured_on_labelled_items_and_exported_again(tmp_path: Path) -> None:
    learn = exportable(loss_func=CrossEntropyLossFlat(weight=[1.0, 5.0]), path=tmp_path)
    other = load_learner(learn.export())
    items = [(np.array(point, dtype=np.float32), label) for point, label in sign_items()[16:]]
    assert other.validate(dl=other.dls.test_dl(items, with_labels=True)) == pytest.approx(learn.validate())
    again = load_learner(other.export(tmp_path / "again"))
    assert torch.equal(again.predict(as_arrays(POINTS)[0])[2], other.predict(as_arrays(POINTS)[0])[2])


def test_a_loaded_learner_has_no_items_of_its_own(tmp_path: Path) -> None:
    other = load_learner(exportable(path=tmp_path).export())
    with pytest.raises(EmptyError, match="test_dl"):
        other.get_preds()


def test_the_course_name_finds_the_default_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exportable(path=tmp_path).export()
    assert load_learner(tmp_path / "export.pkl").predict(as_arrays(POINTS)[0])[0] in ("minus", "plus")
    assert "loading" in capsys.readouterr().out


def test_one_at_a_time_and_in_batches_are_the_same(tmp_path: Path) -> None:
    predictor = Predictor(exportable(path=tmp_path).export())
    together = predictor.predict_batch(as_arrays(POINTS), bs=3)
    alone = [predictor.predict(point) for point in as_arrays(POINTS)]
    for a, b in zip(together, alone, strict=True):
        assert (a.label, a.probability) == (b.label, pytest.approx(b.probability, abs=1e-6))
        assert a.probability == max(a.probabilities.values())
        assert list(a.probabilities) == predictor.classes == ["minus", "plus"]
    assert list(predictor.stream([])) == []
    with pytest.raises(ArgumentError, match="use predict"):
        predictor.predict_batch("picture.png")


@pytest.mark.parametrize(
    "loss",
    [
        CrossEntropyLossFlat(),
        LabelSmoothingCrossEntropyFlat(),
        F.cross_entropy,
        partial(F.cross_entropy, label_smoothing=0.1),
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0])),
    ],
)
def test_losses_of_classes_come_back(tmp_path: Path, loss: Any) -> None:
    learn = exportable(loss_func=loss, path=tmp_path)
    other = load_learner(learn.export())
    pred, target = torch.tensor([[1.0, 2.0], [0.5, 0.1]]), torch.tensor([0, 1])
    assert other.loss_func(pred, target).item() == pytest.approx(loss(pred, target).item())
    assert other.predict(as_arrays(POINTS)[0])[2].sum() == pytest.approx(1)


def test_a_loss_of_ones_own_gives_raw_predictions_or_is_given_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Own(nn.Module):
        def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(pred, target)

        def activation(self, pred: torch.Tensor) -> torch.Tensor:
            return pred.softmax(-1)

        def decodes(self, pred: torch.Tensor) -> torch.Tensor:
            return pred.argmax(-1)

    learn = exportable(loss_func=Own(), path=tmp_path)
    path = learn.export()
    assert "your own loss 'Own'" in capsys.readouterr().out
    point = as_arrays(POINTS)[0]
    raw = Predictor(path).predict(point)
    assert raw.label == learn.predict(point)[0]
    assert (raw.probability, raw.probabilities) == (None, {})
    known = Predictor(path, loss_func=Own()).predict(point)
    assert known.probability == pytest.approx(learn.predict(point)[2].max().item(), abs=1e-6)


def column_loaders(block: TransformBlock, label: Callable[[Any], Any]) -> DataLoaders:
    from flambeau.data.getters import ItemGetter

    data = DataBlock(
        blocks=(TransformBlock(), block),
        getters=[lambda item: np.array(item[0], dtype=np.float32), lambda item: label(ItemGetter(1)(item))],
        splitter=IndexSplitter(list(range(16, 24))),
    )
    return data.dataloaders(sign_items(), bs=4, device="cpu")


def test_a_regression_comes_back(tmp_path: Path) -> None:
    dls = column_loaders(RegressionBlock(), lambda label: 1.5 if label == "plus" else -1.5)
    learn = Learner(dls, nn.Linear(2, 1), path=tmp_path)
    answer = Predictor(learn.export()).predict(as_arrays(POINTS)[0])
    assert answer.label == pytest.approx(learn.get_preds()[0][0].item(), abs=1e-5)
    assert (answer.probability, answer.probabilities) == (None, {})


def test_several_labels_come_back(tmp_path: Path) -> None:
    dls = column_loaders(MultiCategoryBlock(), lambda label: ["any", label] if label == "plus" else ["any"])
    learn = Learner(dls, nn.Linear(2, 2), path=tmp_path)
    with torch.no_grad():
        learn.model.weight.zero_()
        learn.model.bias.copy_(torch.tensor([2.0, -2.0]))
    answer = Predictor(learn.export()).predict(as_arrays(POINTS)[0])
    assert answer.label == ["any"]
    assert answer.probability == pytest.approx(torch.sigmoid(torch.tensor(2.0)).item())
    with torch.no_grad():
        learn.model.bias.copy_(torch.tensor([-2.0, -3.0]))
    none = Predictor(learn.export()).predict(as_arrays(POINTS)[0])
    assert none.label == []
    assert none.probability == pytest.approx(1 - torch.sigmoid(torch.tensor(-2.0)).item())


def test_labels_that_are_numbers_of_a_table_come_back(tmp_path: Path) -> None:
    dls = column_loaders(CategoryBlock(), lambda label: np.int64(3) if label == "plus" else np.int64(7))
    path = Learner(dls, nn.Linear(2, 2), path=tmp_path).export()
    assert Predictor(path).classes == ["3", "7"]


class Mine(nn.Module):
    """A network of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def test_a_network_of_ones_own_is_given_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learn = exportable(model=Mine(), path=tmp_path)
    path = learn.export()
    assert "give load_learner model=" in capsys.readouterr().out
    with pytest.raises(ExportError, match=r"load_learner\(path, model=MyNet\(\)\)"):
        load_learner(path)
    point = as_arrays(POINTS)[0]
    assert torch.equal(load_learner(path, model=Mine()).predict(point)[2], learn.predict(point)[2])
    with pytest.raises(ExportError, match="only in the file"):
        load_learner(path, model=nn.Linear(2, 2))


def double(x: Any) -> Any:
    return (torch.as_tensor(x[0]) * 2, *x[1:]) if isinstance(x, tuple) else x


def test_a_transform_of_ones_own_is_given_back_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from flambeau.data.transform import ItemTransform

    dls = DataLoaders.from_datasets(plain_datasets(), bs=4, device="cpu", after_item=ItemTransform(double))
    learn = Learner(dls, nn.Linear(2, 2), path=tmp_path)
    path = learn.export()
    assert "your own transform 'double'" in capsys.readouterr().out
    with pytest.raises(ExportError, match=r"transforms=\{'double': \.\.\.\}"):
        load_learner(path)
    point = as_arrays(POINTS)[0]
    given = {"double": ItemTransform(double)}
    assert torch.equal(load_learner(path, transforms=given).predict(point)[2], learn.predict(point)[2])


def test_a_lambda_as_label_function_is_no_obstacle(tmp_path: Path) -> None:
    learn = Learner(sign_loaders(), nn.Linear(2, 2), path=tmp_path)
    other = load_learner(learn.export(), transforms={"tensor": torch.tensor})
    assert other.predict(POINTS[0])[0] == learn.predict(POINTS[0])[0]


def test_plain_loaders_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"keep the weights with learn\.save"):
        line_learner(path=tmp_path).export()


def test_the_predictor_needs_no_training_code() -> None:
    code = """
import flambeau.train.predictor
print(json.dumps([name for name in sys.modules if name.startswith("flambeau.train.")]))
"""
    loaded = in_a_fresh_process(code)
    assert not [name for name in loaded if name.split(".")[2] in ("learner", "loop", "callback", "callbacks")]


# a stranger's file


def header_of(tmp_path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    return read_tensors(exportable(path=tmp_path).export(), FORMAT)


@pytest.mark.parametrize(
    "place",
    [
        "os:system",
        "builtins:eval",
        "flambeau.train.recipe:importlib.create",
        "flambeau.data.transform:Transform.__class__",
        "flambeau.data.transform:Transform.__init__.__globals__",
        "flambeau.__main__:app",
        "flambeau.data.download:untar_data",
        "flambeau.cli.main:demo",
        "flambeau.data.transform:Transform",
        "flambeau.train.learner:Learner",
        "flambeau.data.nothing:Here",
        "flambeau..data:x",
        3,
        None,
        ["flambeau.data.transform:Transform"],
    ],
)
@pytest.mark.parametrize("key", ["class", "function"])
def test_a_place_that_is_no_part_to_build_is_refused(tmp_path: Path, place: Any, key: str) -> None:
    tensors, header = header_of(tmp_path)
    for part in ("kinds", "item_tfms", "columns"):
        hostile = copy.deepcopy(header)
        recipe = {key: place, "settings": {}}
        hostile[part] = [[recipe], [recipe]] if part == "columns" else [recipe, *header[part][1:]]
        path = write_tensors(tmp_path / "hostile", tensors, hostile)
        with pytest.raises(ExportError):
            Predictor(path)


def test_modules_outside_are_not_imported(tmp_path: Path) -> None:
    tensors, header = header_of(tmp_path)
    path = write_tensors(tmp_path / "hostile", tensors, {**header, "kinds": [{"class": "antigravity:fly"}] * 2})
    with pytest.raises(ExportError, match="no part of flambeau; nothing of it was run"):
        Predictor(path)
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kinds", []),
        ("kinds", 3),
        ("kinds", [{"class": "flambeau.data.kinds:Category", "settings": {"vocab": 3}}] * 2),
        ("kinds", [{"class": "flambeau.data.kinds:Category", "settings": {"words": []}}] * 2),
        ("kinds", [{"class": "flambeau.data.categorize:Categorize", "settings": {}}] * 2),
        ("columns", "no"),
        ("n_inp", 0),
        ("n_inp", 99),
        ("n_inp", "one"),
        ("n_inp", None),
        ("c", 1e400),
        ("bs", -1),
        ("bs", [4]),
        ("model", 3),
        ("model", {}),
        ("model", {"layers": {"class": "os.system"}}),
        ("model", {"layers": {"class": "torch.nn.Linear", "arguments": {"in_features": 10**9, "out_features": 10**9}}}),
        ("model", {"settings": {"model": "eval"}}),
        ("model", {"settings": {"model": "vision"}}),
        ("model", {"settings": 3}),
        ("model", {"settings": {"model": "xresnet", "name": "xresnet18", "n_out": 10**12, "act_cls": "ReLU"}}),
        ("model", {"settings": {"model": "xresnet", "name": "xresnet18", "widen": 1e9, "act_cls": "ReLU"}}),
        ("model", {"settings": {"model": "xresnet", "name": "xresnet18", "n_out": "ten", "act_cls": "ReLU"}}),
        ("loss", 3),
        ("loss", {}),
        ("loss", {"function": "system"}),
        ("loss", {"function": ["x"]}),
        ("loss", {"torch": "Linear"}),
        ("loss", {"torch": "CrossEntropyLoss", "settings": {"no": 1}}),
        ("loss", {"class": "flambeau.nn.losses:CrossEntropyLossFlat", "settings": {"reduction": 5}}),
        ("loss", {"class": "flambeau.nn.losses:unreduced", "settings": {}}),
        ("item_tfms", [{"class": "flambeau.vision.resize:Resize", "settings": {"size": 10**9}}]),
        ("item_tfms", [{"class": "flambeau.vision.resize:Resize", "settings": {"size": "big"}}]),
        ("batch_tfms", [{"class": "flambeau.data.normalize:Normalize", "settings": {"nothing": 1}}]),
        ("batch_tfms", [3]),
        ("format_version", "new"),
        ("versions", "new"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    tensors, header = header_of(tmp_path)
    path = write_tensors(tmp_path / "hostile", tensors, {**header, key: value})
    with pytest.raises(ExportError):
        Predictor(path)


def test_each_missing_key_is_told(tmp_path: Path) -> None:
    tensors, header = header_of(tmp_path)
    for key in ("columns", "kinds", "item_tfms", "batch_tfms", "n_inp", "c", "bs", "model", "loss"):
        path = write_tensors(tmp_path / "hostile", tensors, {k: v for k, v in header.items() if k != key})
        with pytest.raises(ExportError, match=f"'{key}' is missing"):
            Predictor(path)


def test_a_newer_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    tensors, header = header_of(tmp_path)
    path = write_tensors(tmp_path / "new", tensors, {**header, "format_version": 99})
    with pytest.raises(ExportError, match="newer flambeau"):
        load_learner(path)


def test_files_that_are_no_exports_are_refused(tmp_path: Path) -> None:
    learn = exportable(path=tmp_path)
    checkpoint = learn.save("weights")
    with pytest.raises(ExportError, match=r"load reads what learn\.save wrote"):
        load_learner(checkpoint)
    learn.export("model.safetensors")
    with pytest.raises(ExportError, match=r"Did you mean 'model\.safetensors'"):
        load_learner(tmp_path / "modl.safetensors")
    (tmp_path / "fastai.pkl").write_bytes(pickle.dumps({"learner": 1}))
    with pytest.raises(ExportError, match=r"write it anew with learn\.export"):
        load_learner(tmp_path / "fastai.pkl")


def test_a_failed_export_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn = exportable(path=tmp_path)
    before = learn.export().read_bytes()

    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="could not write"):
        learn.export()
    assert (tmp_path / "export.safetensors").read_bytes() == before


def test_several_targets_are_predicted_by_a_learner_only(tmp_path: Path) -> None:
    learn = exportable(loss_func=MSELossFlat(), path=tmp_path)
    tensors, header = read_tensors(learn.export(), FORMAT)
    twice = {**header, "columns": [*header["columns"], []], "kinds": [*header["kinds"], header["kinds"][1]]}
    with pytest.raises(ArgumentError, match="has 2"):
        Predictor(write_tensors(tmp_path / "two", tensors, twice))
    assert sign_learner().dls.c == 2
