from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightgbm import LGBMRegressor
from sklearn.ensemble import RandomForestClassifier
from skops.io import dumps
from small_forests import fitted, loaders, voyages
from torch import Tensor

from flambeau.foundation.errors import ExportError
from flambeau.train.checkpoint import read_tensors, write_tensors
from flambeau.train.load_learner import load_learner
from flambeau.trees.estimators import MODELS
from flambeau.trees.learner import tree_learner
from flambeau.trees.lightgbm_text import check_booster_text
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


@cache
def one_of_lightgbm() -> Any:
    """Return a fitted model of LightGBM, which takes a while."""
    return fitted("lightgbm").estimator


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


def lightgbm_text(data: bytes) -> str:
    """Return the text of the LightGBM model in an archive."""
    schema = json.loads(zipfile.ZipFile(io.BytesIO(data)).read("schema.json"))
    booster = schema["content"]["content"]["_Booster"]["content"]["content"]
    text: str = json.loads((booster.get("_handle") or booster["handle"])["content"])
    return text


def sized(text: str) -> str:
    """Return the text of a LightGBM model with its trees' sizes as they are."""
    body = "Tree=" + text.split("\nend of trees")[0].partition("\n\nTree=")[2] + "\n"
    places = [found.start() for found in re.finditer("Tree=", body)] + [len(body)]
    sizes = " ".join(str(end - start) for start, end in pairwise(places))
    return re.sub("tree_sizes=.*", f"tree_sizes={sizes}", text)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (r"split_feature=\d+", "split_feature=999", "a column that is not there"),
        (r"left_child=\d+", "left_child=0", "leads nowhere"),
        (r"right_child=\S+", "right_child=-999", "leads nowhere"),
        ("num_cat=0", "num_cat=1", "on categories"),
        ("num_cat=0", "num_cat =1", "odd lines"),
        ("num_cat=0", "num_cat=0\nnum_cat=1", "the line 'num_cat'"),
        ("num_cat=0", "num_cat=0\rnum_cat=1", "no text of LightGBM"),
        ("decision_type=2", "decision_type=3", "on categories"),
        ("is_linear=0", "is_linear=1", "a leaf of LightGBM with a formula"),
        (r"num_leaves=\d+", "num_leaves=2000000000", "another number of leaf_value"),
        (r"threshold=.*", "threshold=0.5", "another number of threshold"),
        (r"leaf_value=.*\n", "", "without all its lines"),
        (r"shrinkage=1\n", "shrinkage\n", "odd lines"),
        ("num_class=1", "num_class=1000000000", "other classes of LightGBM"),
        ("binary sigmoid:1", "multiclass num_class:100000", "other classes of LightGBM"),
        ("binary sigmoid:1", "binary ; :", "an objective that LightGBM does not have"),
        ("Column_0", "Column_\\0", "no text of LightGBM"),
    ],
)
def test_lines_that_lightgbm_would_not_write_are_refused(old: str, new: str, told: str) -> None:
    text = lightgbm_text(kept_bytes(one_of_lightgbm()))
    check_booster_text(sized(text))
    with pytest.raises(ExportError, match=told):
        check_booster_text(sized(re.sub(old, new.replace("\\0", "\0"), text, count=1)))


def test_sizes_of_lightgbm_trees_must_be_theirs() -> None:
    text = lightgbm_text(kept_bytes(one_of_lightgbm()))
    for wrong in ("99999999", "-5"):
        with pytest.raises(ExportError, match="of other sizes"):
            check_booster_text(re.sub(r"tree_sizes=\d+", f"tree_sizes={wrong}", text))


def test_a_lightgbm_model_without_a_text_is_refused() -> None:
    data = kept_bytes(one_of_lightgbm())

    def change(parts: dict[str, bytes]) -> None:
        schema = json.loads(parts["schema.json"])
        booster = schema["content"]["content"]["_Booster"]["content"]["content"]
        for name in ("handle", "_handle"):
            if name in booster:
                booster[name]["content"] = "null"
        parts["schema.json"] = json.dumps(schema).encode()

    with pytest.raises(ExportError, match="a LGBMClassifier without trees"):
        estimator_of(changed(data, change))


def test_a_text_of_lightgbm_cannot_be_put_in_by_a_number() -> None:
    data = kept_bytes(fitted("tree").estimator)
    with pytest.raises(ExportError, match="number their parts"):
        estimator_of(changed(data, in_schema('"is_json":true', '"is_json":true,"__id__":5')))


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


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"node_count":{', '"_":{', "cannot be read"),
        ('"__class__":"list"', '"__class__":"ndarray"', r"builtins\.ndarray"),
        ('"ListNode"', '"LossNode"', r"builtins\.list by LossNode"),
        ('"content":"3"', '"content":"[3]"', "a list where one value was expected"),
    ],
)
def test_schemas_that_build_other_things_are_refused(old: str, new: str, told: str) -> None:
    with pytest.raises(ExportError, match=told):
        estimator_of(changed(kept_bytes(fitted("tree").estimator), in_schema(old, new)))


def in_node(name: str, value: Any) -> Callable[[dict[str, bytes]], None]:
    """Give a setting of every tree another value."""

    def change(parts: dict[str, bytes]) -> None:
        text = parts["schema.json"].decode()
        pattern = rf'("{name}":{{"__class__":"str","__module__":"builtins","__loader__":"JsonNode","content":")[^"]*'
        assert re.search(pattern, text)
        parts["schema.json"] = re.sub(pattern, rf"\g<1>{value}", text).encode()

    return change


@pytest.mark.parametrize(
    ("model", "name", "value", "told"),
    [
        ("tree", "node_count", 1, "with room for"),
        ("tree", "max_depth", 10**12, "the depth 1000000000000"),  # of a tree and of its estimator alike
        ("tree", "n_features_in_", 10_000, "of other columns|features"),
        ("oner", "column_", 99, "of other columns"),
        ("boosting", "n_trees_per_iteration_", 10**12, "without its beginning"),
    ],
)
def test_numbers_that_do_not_fit_the_arrays_are_refused(model: str, name: str, value: int, told: str) -> None:
    with pytest.raises(ExportError, match=told):
        estimator_of(changed(kept_bytes(fitted(model).estimator), in_node(name, value)))


def test_trees_that_look_at_more_columns_than_their_forest_are_refused() -> None:
    # a forest hands its rows to its trees unchecked
    data = kept_bytes(fitted("forest").estimator)

    def change(parts: dict[str, bytes]) -> None:
        text = parts["schema.json"].decode().split('"estimators_":')
        text[1] = re.sub(r'("n_features_in_":{[^}]*"content":")3', r"\g<1>9999", text[1])
        parts["schema.json"] = '"estimators_":'.join(text).encode()

    with pytest.raises(ExportError, match="a DecisionTreeClassifier of other columns"):
        estimator_of(changed(data, change))


def test_a_tree_below_a_leaf_of_another_number_is_refused() -> None:
    def odd(nodes: Any) -> None:
        nodes["left_child"][0] = -5  # scikit-learn's leaves have -1, and all else is followed

    with pytest.raises(ExportError, match="a branch that leads nowhere"):
        estimator_of(with_array(kept_bytes(fitted("tree").estimator), odd))


def test_a_stranger_does_not_choose_how_many_threads_start() -> None:
    data = kept_bytes(fitted("forest").estimator)
    assert estimator_of(changed(data, in_node("n_jobs", 10**9))).n_jobs == -1


def test_what_is_written_is_short_and_always_the_same() -> None:
    estimator = fitted("forest").estimator
    data = kept_bytes(estimator)
    assert data == kept_bytes(estimator)
    assert len(data) < 0.9 * len(dumps(estimator))


def test_an_estimator_that_could_not_be_read_again_is_refused_when_it_is_kept() -> None:
    learn = tree_learner(loaders("days"), LGBMRegressor(n_estimators=3, linear_tree=True, n_jobs=1, verbose=-1))
    learn.fit()
    with pytest.raises(ExportError, match=r"This LGBMRegressor cannot be kept .* the line 'leaf_const' of LightGBM"):
        kept_bytes(learn.estimator)


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
