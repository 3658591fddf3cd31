from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from small_forests import fitted, voyages
from torch import Tensor

from flambeau.foundation.errors import ExportError
from flambeau.train.checkpoint import read_tensors, write_tensors
from flambeau.train.load_learner import load_learner
from flambeau.trees.estimators import MODELS
from flambeau.trees.storage import estimator_of, kept_bytes


def as_tensor(data: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(data, dtype=np.uint8).copy())


def changed(data: bytes, change: Callable[[dict[str, bytes]], None], compression: int = zipfile.ZIP_STORED) -> Tensor:
    """Return the bytes of an archive whose parts were changed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", compression) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return as_tensor(written.getvalue())


def with_array(data: bytes, changes: Callable[[Any], None]) -> Tensor:
    """Return the bytes of a tree whose table of nodes was changed."""

    def change(parts: dict[str, bytes]) -> None:
        for name, part in parts.items():
            array = np.load(io.BytesIO(part)) if name.endswith(".npy") else None
            names = array.dtype.names if array is not None else None
            if names and ("left_child" in names or "left" in names):
                changes(array)
                written = io.BytesIO()
                np.save(written, array)
                parts[name] = written.getvalue()

    return changed(data, change)


def in_schema(old: str, new: str) -> Callable[[dict[str, bytes]], None]:
    def change(parts: dict[str, bytes]) -> None:
        assert old in parts["schema.json"].decode()
        parts["schema.json"] = parts["schema.json"].decode().replace(old, new).encode()

    return change


@pytest.mark.parametrize("model", MODELS)
def test_every_model_comes_back(model: str) -> None:
    learn = fitted(model)
    again = estimator_of(as_tensor(kept_bytes(learn.estimator)))
    matrix = learn.matrix(1).to_numpy()
    # threads add up the trees in an order of their own
    np.testing.assert_allclose(again.predict_proba(matrix), learn.estimator.predict_proba(matrix), rtol=1e-12)


@pytest.mark.parametrize(
    "place",
    [("builtins", "eval"), ("os", "system"), ("sklearn.preprocessing._function_transformer", "FunctionTransformer")],
)
def test_a_name_that_is_not_on_the_list_is_refused(place: tuple[str, str], tmp_path: Path) -> None:
    data = kept_bytes(fitted("tree").estimator)

    def change(parts: dict[str, bytes]) -> None:
        schema = json.loads(parts["schema.json"])
        schema["__module__"], schema["__class__"] = place
        parts["schema.json"] = json.dumps(schema).encode()

    with pytest.raises(ExportError, match=rf"{place[1]}.* not allowed.*Nothing of the file was run"):
        estimator_of(changed(data, change))


def test_a_builder_that_calls_functions_is_refused() -> None:
    data = kept_bytes(fitted("tree").estimator)
    with pytest.raises(ExportError, match=r"by PartialNode, which is not allowed"):
        estimator_of(changed(data, in_schema('"TreeNode"', '"PartialNode"')))


@pytest.mark.parametrize(
    ("model", "left", "feature"), [("forest", "left_child", "feature"), ("boosting", "left", "feature_idx")]
)
def test_branches_that_lead_astray_are_refused(model: str, left: str, feature: str) -> None:
    data = kept_bytes(fitted(model).estimator)

    def circle(nodes: Any) -> None:
        nodes[left][0] = 0

    def beyond(nodes: Any) -> None:
        nodes[left][0] = len(nodes) + 1000

    def column(nodes: Any) -> None:
        nodes[feature][0] = 10**6

    for change in (circle, beyond):
        with pytest.raises(ExportError, match="a branch that leads nowhere"):
            estimator_of(with_array(data, change))
    with pytest.raises(ExportError, match="a split on a column that is not there"):
        estimator_of(with_array(data, column))


def test_branches_of_lightgbm_that_lead_astray_are_refused() -> None:
    data = kept_bytes(fitted("lightgbm").estimator)
    text = json.loads(zipfile.ZipFile(io.BytesIO(data)).read("schema.json"))
    line = next(one for one in json.dumps(text).split("\\n") if "split_feature=" in one)
    asked = line.split("split_feature=")[1].split("\\")[0]
    wrong = " ".join(["999", *asked.split()[1:]])
    with pytest.raises(ExportError, match="a split of LightGBM on a column that is not there"):
        estimator_of(changed(data, in_schema(f"split_feature={asked}", f"split_feature={wrong}")))


def test_an_archive_that_would_swell_is_refused() -> None:
    data = kept_bytes(fitted("tree").estimator)
    with pytest.raises(ExportError, match=r"compressed|larger than the file"):
        estimator_of(changed(data, lambda parts: None, zipfile.ZIP_DEFLATED))

    def claim(parts: dict[str, bytes]) -> None:
        name = next(name for name in parts if name.endswith(".npy"))
        shape = str(np.load(io.BytesIO(parts[name])).shape).encode()
        huge = b"(99999999999,)"
        head = parts[name]
        at = head.index(shape)
        parts[name] = head[:at] + huge + head[at + len(huge) :]

    with pytest.raises(ExportError):
        estimator_of(changed(data, claim))


def test_damaged_bytes_are_refused() -> None:
    data = kept_bytes(fitted("tree").estimator)
    for broken in (data[:100], data[: len(data) // 2], b"no archive", b""):
        with pytest.raises(ExportError):
            estimator_of(as_tensor(broken))


def test_trees_of_another_table_are_refused(tmp_path: Path) -> None:
    path = fitted("forest").export(tmp_path / "one.safetensors")
    tensors, header = read_tensors(path, "flambeau-export")
    small = RandomForestClassifier(5).fit(np.zeros((4, 2)), [0, 1, 0, 1])
    tensors["model.kept"] = as_tensor(kept_bytes(small))
    header["model"]["settings"]["n_bytes"] = len(tensors["model.kept"])
    swapped = write_tensors(tmp_path / "swapped.safetensors", tensors, header)
    with pytest.raises(ExportError, match="they look at 2 columns, and the table has 3"):
        load_learner(swapped).predict(voyages().iloc[0])


def test_bytes_beyond_the_description_are_refused(tmp_path: Path) -> None:
    path = fitted("tree").export(tmp_path / "one.safetensors")
    tensors, header = read_tensors(path, "flambeau-export")
    header["model"]["settings"]["n_bytes"] -= 1
    swapped = write_tensors(tmp_path / "swapped.safetensors", tensors, header)
    with pytest.raises(ExportError, match="does not fit the weights beside it"):
        load_learner(swapped)
