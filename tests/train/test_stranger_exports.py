"""A stranger's export: it contacts nobody, takes no memory of its own choice, and tells the same classes everywhere."""

from __future__ import annotations

import copy
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_learners import sign_learner
from test_export import SOURCE, exportable, picture_loaders
from torch import nn

from flambeau.foundation.errors import ArgumentError, ExportError
from flambeau.train.checkpoint import read_tensors, write_tensors
from flambeau.train.ensemble import Ensemble
from flambeau.train.export import FORMAT
from flambeau.train.learner import Learner
from flambeau.train.load_learner import load_learner
from flambeau.train.predictor import Predictor
from flambeau.train.recipe import describe_model, rebuild_model
from flambeau.vision.architectures import Architecture
from flambeau.vision.learner import vision_learner
from flambeau.vision.models import create_vision_model
from flambeau.vision.resize import Resize
from flambeau.vision.xresnet import xresnet18

HEAD = {"lin_ftrs": None, "ps": 0.5, "pool": True, "concat_pool": True, "first_bn": True, "bn_final": False}
VISION = {"model": "vision", "n_out": 2, "n_in": 3, "cut": None, "image_size": None, "custom_head": None}


def vision(name: str, source: str = "timm", **changes: Any) -> dict[str, Any]:
    head = {**HEAD, "lin_first": False, "y_range": None}
    return {"settings": {**VISION, "architecture": {"source": source, "name": name}, "head": head, **changes}}


def xresnet(**changes: Any) -> dict[str, Any]:
    usual = {"n_out": 2, "p": 0.0, "c_in": 3, "stem_szs": [8, 8, 16], "widen": 1.0, "sa": False, "groups": 1}
    named = {"model": "xresnet", "name": "xresnet18", "act_cls": "ReLU", "reduction": None}
    return {"settings": {**usual, **named, **changes}}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    return read_tensors(exportable(path=tmp_path_factory.mktemp("export")).export(), FORMAT)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("hf-hub:attacker/evil", "timm"),
        ("hf_hub:attacker/evil", "timm"),
        ("local-dir:/tmp", "timm"),
        ("resnet18.no_such_weights", "timm"),
        ("https://host/resnet18", "timm"),
        ("resnet18_of_mine", "torchvision"),
        ("xresnet19", "flambeau"),
    ],
)
def test_an_architecture_that_no_library_lists_is_not_looked_for(
    tmp_path: Path, honest: Any, name: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: Any, **__: Any) -> None:
        raise AssertionError("a server was asked")

    monkeypatch.setattr(socket, "getaddrinfo", asked)
    monkeypatch.setattr("timm.create_model", asked)
    path = write_tensors(tmp_path / "hostile", honest[0], {**honest[1], "model": vision(name, source)})
    with pytest.raises(ExportError, match=f"is no architecture that {source} lists.*nothing was built or fetched"):
        load_learner(path)


def test_a_network_of_a_folder_is_given_back_by_its_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "config.json").write_text(json.dumps({"architecture": "resnet18", "pretrained_cfg": {}}))
    arch = Architecture(f"local-dir:{tmp_path / 'net'}", "timm")
    learn = vision_learner(picture_loaders(tmp_path / "p", item_tfms=Resize(32)), arch, pretrained=False, path=tmp_path)
    path = learn.export()
    assert "is not among those that timm lists); give load_learner model=" in capsys.readouterr().out
    with pytest.raises(ExportError, match="not its code"):
        load_learner(path)
    again = load_learner(path, model=create_vision_model(arch, 2, pretrained=False))
    item = learn.dls.valid_ds.items[0]
    torch.testing.assert_close(again.predict(item)[2], learn.predict(item)[2], atol=1e-6, rtol=0)


def test_an_address_given_as_a_name_is_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="There is no architecture 'hf-hub:owner/net'"):
        vision_learner(picture_loaders(tmp_path, item_tfms=Resize(32)), "hf-hub:owner/net", pretrained=False)


@pytest.mark.parametrize("activation", ["Transformer", "Module", "Sequential", "LSTM", 3, None, ["ReLU"]])
def test_an_activation_is_one_of_a_list(tmp_path: Path, honest: Any, activation: Any) -> None:
    recipe = xresnet(act_cls=activation)
    path = write_tensors(tmp_path / "hostile", honest[0], {**honest[1], "model": recipe})
    with pytest.raises(ExportError, match=r"There is no activation of torch\.nn"):
        load_learner(path)


LIMITED = """
import resource
from flambeau.foundation.errors import ExportError
from flambeau.train.load_learner import load_learner
import timm, torchvision
status = open("/proc/self/statm").read().split()
limit = int(status[0]) * resource.getpagesize() + 2**29
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
told = []
for path in sys.argv[1:]:
    try:
        load_learner(path)
        told.append("loaded")
    except ExportError as error:
        told.append(str(error))
print(json.dumps(told))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit on memory is set as on Linux")
def test_a_small_file_takes_no_memory_of_its_own_choice(tmp_path: Path, honest: Any) -> None:
    recipes = [
        xresnet(stem_szs=[1000] * 300),
        xresnet(widen=1000),
        vision("vit_giant_patch14_224"),
        vision("regnet_y_128gf", "torchvision"),
    ]
    paths = [
        write_tensors(tmp_path / f"hostile{i}", honest[0], {**honest[1], "model": recipe})
        for i, recipe in enumerate(recipes)
    ]
    done = subprocess.run(
        [sys.executable, "-c", f"import json, sys\n{LIMITED}", *map(str, paths)],
        env={**os.environ, "PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert all("does not fit the weights beside it" in line and "was not built" in line for line in told), told


def test_what_is_cut_off_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = create_vision_model(Architecture("resnet18"), 2, pretrained=False, cut=4)
    recipe, weights = describe_model(model), model.state_dict()
    made: list[torch.device] = []
    original = nn.Conv2d.__init__

    def noted(self: nn.Conv2d, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        made.append(self.weight.device)

    monkeypatch.setattr(nn.Conv2d, "__init__", noted)
    again = rebuild_model(recipe, None, weights)
    assert {device.type for device in made} == {"meta"}
    again.load_state_dict(weights)
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(again.eval()(x), model.eval()(x))


@pytest.mark.parametrize("arch", ["swin_tiny_patch4_window7_224", Architecture("regnet_x_400mf")])
def test_networks_that_work_out_tables_or_widths_come_back(arch: Any) -> None:
    model = create_vision_model(arch, 2, pretrained=False, image_size=(224, 224)).eval()
    again = rebuild_model(describe_model(model), None, model.state_dict())
    again.load_state_dict(model.state_dict())
    x = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(again.eval()(x), model(x))


def test_a_part_cut_from_a_network_with_tables_is_given_back() -> None:
    model = create_vision_model("levit_128s", 2, pretrained=False, cut=lambda net: net.stem)
    assert "function of your own" in describe_model(model)["custom"]
    sketch = create_vision_model("swin_tiny_patch4_window7_224", 2, pretrained=False, cut=2, image_size=(224, 224))
    recipe = describe_model(sketch)
    assert "computes tables besides its weights" in recipe["custom"]
    with pytest.raises(ExportError, match=r"cut=2, pretrained=False"):
        rebuild_model(recipe, None, sketch.state_dict())
    with pytest.raises(ExportError, match=r"Give it back: load_learner\(path, model=\.\.\.\)"):
        rebuild_model({"settings": sketch.settings}, None, sketch.state_dict())


def test_a_changed_description_names_the_layers_that_differ(tmp_path: Path) -> None:
    learn = Learner(picture_loaders(tmp_path / "p", item_tfms=Resize(32)), xresnet18(n_out=2), path=tmp_path)
    tensors, header = read_tensors(learn.export(), FORMAT)
    header["model"]["settings"]["n_out"] = 3
    path = write_tensors(tmp_path / "hostile", tensors, header)
    words = r"11\.weight: \(3, 512\) by the description, \(2, 512\) in the file; .* 2 of \d+ differ"
    with pytest.raises(ExportError, match=words):
        load_learner(path)


# classes


def with_classes(header: dict[str, Any], names: list[str], places: str = "kinds columns c") -> dict[str, Any]:
    """Return a header whose classes were exchanged, at some of the places that tell them."""
    forged = copy.deepcopy(header)
    if "kinds" in places:
        forged["kinds"][1]["settings"]["vocab"] = names
    if "columns" in places:
        forged["columns"][1][-1]["settings"]["vocab"] = names
    if " c" in places:
        forged["c"] = len(names)
    return forged


@pytest.mark.parametrize("names", [["minus"], ["minus", "plus", "zero"]])
@pytest.mark.parametrize("read", [load_learner, Predictor])
def test_classes_that_are_not_as_many_as_the_outputs_are_refused(
    tmp_path: Path, honest: Any, names: list[str], read: Any
) -> None:
    path = write_tensors(tmp_path / "hostile", honest[0], with_classes(honest[1], names))
    with pytest.raises(ExportError, match=f"gives 2 numbers, but there are {len(names)} classes"):
        read(path)


def test_classes_must_be_the_same_wherever_they_are_told(tmp_path: Path, honest: Any) -> None:
    names = ["plus", "minus"]
    for places in ("kinds", "columns"):
        path = write_tensors(tmp_path / "hostile", honest[0], with_classes(honest[1], names, places))
        with pytest.raises(ExportError, match="read with other classes than they are named with"):
            load_learner(path)
    path = write_tensors(tmp_path / "hostile", honest[0], {**honest[1], "c": 7})
    with pytest.raises(ExportError, match=r"names 2 classes \(minus, plus\) but counts 7"):
        load_learner(path)


def test_the_members_of_an_ensemble_must_know_the_same_classes(tmp_path: Path) -> None:
    path = Ensemble([exportable(path=tmp_path), exportable()]).export()
    assert len(load_learner(path)) == 2
    tensors, header = read_tensors(path, FORMAT)
    header["members"][1] = with_classes(header["members"][1], ["plus", "minus"])
    forged = write_tensors(tmp_path / "hostile", tensors, header)
    with pytest.raises(ExportError, match="its members have different targets or classes"):
        Predictor(forged)
    header["members"][1] = with_classes(header["members"][1], ["plus"])
    with pytest.raises(ExportError, match="gives 2 numbers, but there are 1 classes"):
        load_learner(write_tensors(tmp_path / "hostile", tensors, header))


def test_a_model_given_back_must_fit_the_weights(tmp_path: Path) -> None:
    path = sign_learner(path=tmp_path).export()
    with pytest.raises(ExportError, match="do not fit this model"):
        load_learner(path, model=nn.Linear(2, 5), transforms={"tensor": torch.tensor})
