"""Keeping trees: after reading it you know why reading an estimator from a stranger's file runs no code of theirs.

An estimator is written by skops: a zip archive of numpy arrays and a schema in JSON that names classes. Before anything
is built, every class named must be on the list below, and every array as large as it says. What was built is then
looked through: a tree whose branches lead in a circle or beyond its end would make the compiled code of scikit-learn
read wherever the file says.
"""

from __future__ import annotations

import io
import json
import math
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from flambeau.foundation.errors import ExportError

SCHEMA = "schema.json"
# what skops builds things by: none of these calls a function that the file names
BUILDERS = {
    "DefaultDictNode", "DictNode", "JsonNode", "ListNode", "LossNode", "NdArrayNode", "ObjectNode",
    "RandomGeneratorNode", "RandomStateNode", "TreeNode", "TupleNode", "TypeNode",
}  # fmt: skip
BOOSTING = "sklearn.ensemble._hist_gradient_boosting"
ALLOWED = {
    *(f"builtins.{name}" for name in ("dict", "list", "tuple", "str", "int", "float", "bool")),
    *(f"numpy.{name}" for name in ("ndarray", "int32", "int64", "uint64", "float32", "float64")),
    "numpy.random.mtrand.RandomState", "numpy.random._generator.Generator",
    "collections.defaultdict", "collections.OrderedDict",
    *(f"sklearn.tree._classes.{kind}Tree{use}" for kind in ("Decision", "Extra")
      for use in ("Classifier", "Regressor")),
    "sklearn.tree._tree.Tree",
    *(f"sklearn.ensemble._forest.{kind}{use}" for kind in ("RandomForest", "ExtraTrees")
      for use in ("Classifier", "Regressor")),
    "sklearn.ensemble._bagging.BaggingClassifier", "sklearn.ensemble._bagging.BaggingRegressor",
    f"{BOOSTING}.gradient_boosting.HistGradientBoostingClassifier",
    f"{BOOSTING}.gradient_boosting.HistGradientBoostingRegressor",
    f"{BOOSTING}.predictor.TreePredictor", f"{BOOSTING}.binning._BinMapper",
    *(f"sklearn._loss._loss.Cy{name}" for name in ("HalfBinomialLoss", "HalfMultinomialLoss", "HalfSquaredError")),
    *(f"sklearn._loss.loss.{name}" for name in ("HalfBinomialLoss", "HalfMultinomialLoss", "HalfSquaredError")),
    *(f"sklearn._loss.link.{name}" for name in ("Interval", "LogitLink", "MultinomialLogit", "IdentityLink")),
    "sklearn.preprocessing._label.LabelEncoder",
    "sklearn.multioutput.MultiOutputClassifier", "sklearn.multioutput.MultiOutputRegressor",
    "flambeau.trees.one_rule.OneRClassifier", "flambeau.trees.one_rule.OneRRegressor",
    "lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier", "lightgbm.sklearn.LGBMRegressor",
}  # fmt: skip


def kept_bytes(estimator: Any) -> bytes:
    """Return a fitted estimator as bytes.

    Raises:
        ExportError: it holds classes that a file of flambeau does not carry.
    """
    from skops.io import dumps

    data = bytes(dumps(estimator))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        strange = _strange(json.loads(archive.read(SCHEMA)))
    if strange:
        raise ExportError(
            f"A {type(estimator).__name__} cannot be kept in a file: {', '.join(strange[:3])} is on no list of what is "
            "safe to read again. Use one of the models by name, or keep it with skops or joblib by yourself: "
            "learn.model.estimator."
        )
    return data


def estimator_of(kept: Tensor) -> Any:
    """Return the estimator that bytes hold. Nothing in them is executed.

    Raises:
        ExportError: they hold something else, or another version of scikit-learn wrote them.
    """
    data = kept.cpu().numpy().tobytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_archive(archive, len(data))
            schema = json.loads(archive.read(SCHEMA))
        strange = _strange(schema)
        if strange:
            raise ExportError(f"The export's trees name {', '.join(strange[:3])}, which is not allowed there.")
        for text in _boosters(schema):
            _check_booster(text)
        found = _load(data)
        for estimator in _parts(found):
            _check_tree(estimator)
    except ExportError as error:
        raise ExportError(f"{error} Nothing of the file was run.") from error
    except Exception as error:  # what a stranger wrote can go wrong anywhere
        raise ExportError(
            f"The trees of this export cannot be read ({type(error).__name__}: {error}). The file was changed, or "
            "another version of scikit-learn wrote it: install the version that the export's .run.json names."
        ) from error
    return found


def _load(data: bytes) -> Any:
    import sklearn.exceptions
    from skops.io import get_untrusted_types, loads

    with warnings.catch_warnings():
        # other versions read well where the arrays are alike; where not, an error tells
        warnings.simplefilter("ignore", sklearn.exceptions.InconsistentVersionWarning)
        return loads(data, trusted=[name for name in get_untrusted_types(data=data) if name in ALLOWED])


# what a file may hold


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if "__loader__" in part or "__class__" in part:
                yield part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _strange(schema: Any) -> list[str]:
    """Return what a schema names that is not on the lists."""
    found: dict[str, None] = {}
    for node in _nodes(schema):
        place = f"{node.get('__module__')}.{node.get('__class__')}"
        if place not in ALLOWED:
            found[place] = None
        elif node.get("__loader__") not in BUILDERS:
            found[f"{place} by {node.get('__loader__')}"] = None
    return list(found)


def _check_archive(archive: zipfile.ZipFile, n_bytes: int) -> None:
    """Raise an ExportError where the parts of an archive would take more memory than the file does."""
    parts = archive.infolist()
    if sum(part.file_size for part in parts) > n_bytes:
        raise ExportError("The export's trees say that they are larger than the file.")
    for part in parts:
        if part.compress_type != zipfile.ZIP_STORED:
            raise ExportError("The export's trees are compressed, which flambeau never writes.")
        if part.filename == SCHEMA:
            continue
        if not part.filename.endswith(".npy"):
            raise ExportError(f"The export's trees hold a part {part.filename!r}, which is no array.")
        with archive.open(part) as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize > part.file_size:
            raise ExportError(f"The array {part.filename!r} of the export's trees is not as large as it says.")


# whether trees are trees


def _parts(estimator: Any) -> Iterator[Any]:
    """Yield an estimator and all estimators in it."""
    yield estimator
    inner = getattr(estimator, "estimators_", None)
    for part in inner if inner is not None else [getattr(estimator, "stump_", None)]:
        if part is not None:
            yield from _parts(part)


def _require(is_so: Any, what: str) -> None:
    if not bool(is_so):
        raise ExportError(f"The export's trees are misshapen: {what}.")


def _check_tree(estimator: Any) -> None:
    """Raise an ExportError where the branches of an estimator's own trees lead astray."""
    name = type(estimator).__name__
    n_features = int(getattr(estimator, "n_features_in_", 0))
    counts, classes = getattr(estimator, "n_classes_", None), getattr(estimator, "classes_", None)
    if counts is not None and classes is not None:
        known = [len(one) for one in classes] if isinstance(classes, list) else len(classes)
        _require(np.array_equal(counts, known), f"a {name} that counts other classes than it names")
    if hasattr(estimator, "tree_"):
        tree = estimator.tree_
        inner = tree.children_left >= 0
        _check_branches(tree.children_left, tree.children_right, tree.feature, inner, n_features)
        width = len(estimator.classes_) if hasattr(estimator, "classes_") and tree.n_outputs == 1 else None
        _require(tree.n_features == n_features, f"a {name} of {tree.n_features} features")
        _require(width is None or tree.value.shape[2] == width, f"a {name} with other classes than its leaves")
    if hasattr(estimator, "estimators_features_"):
        for places in estimator.estimators_features_:
            _require(len(places) == 0 or (min(places) >= 0 and max(places) < n_features), "a bag of other columns")
    if hasattr(estimator, "_predictors"):
        width = int(estimator.n_trees_per_iteration_)
        _require(np.shape(estimator._baseline_prediction) == (1, width), f"a {name} without its beginning")
        _require(estimator._preprocessor is None, f"a {name} that prepares its rows")
        for trees in estimator._predictors:
            _require(len(trees) == width, f"a round of {len(trees)} trees")
            for tree in trees:
                nodes = tree.nodes
                _require(nodes.ndim == 1 and not nodes["is_categorical"].any(), f"odd nodes in a {name}")
                inner = nodes["is_leaf"] == 0
                _check_branches(nodes["left"], nodes["right"], nodes["feature_idx"], inner, n_features)
    if hasattr(estimator, "_Booster"):
        _require(estimator._Booster.num_feature() == n_features, f"a {name} of other columns")


def _check_branches(left: Any, right: Any, feature: Any, inner: Any, n_features: int) -> None:
    n, own = len(left), np.flatnonzero(inner)
    _require(n > 0, "a tree without a node")
    for child in (np.asarray(left, dtype=np.int64)[own], np.asarray(right, dtype=np.int64)[own]):
        # both libraries number a node after the one above it: so no way through the tree is endless
        _require(((child > own) & (child < n)).all(), "a branch that leads nowhere")
    asked = np.asarray(feature, dtype=np.int64)[own]
    _require(((asked >= 0) & (asked < n_features)).all(), "a split on a column that is not there")


def _boosters(schema: Any) -> Iterator[str]:
    """Yield the texts of LightGBM's models in a schema, which its compiled code reads as soon as they are built."""
    for node in _nodes(schema):
        if node.get("__class__") == "Booster":
            for inner in _nodes(node.get("content")):
                text = json.loads(inner["content"]) if inner.get("__loader__") == "JsonNode" else None
                if isinstance(text, str) and "num_leaves=" in text:
                    yield text


def _check_booster(text: str) -> None:
    """Raise an ExportError where the trees in the text of LightGBM lead astray."""
    n_features, n_leaves = 0, 1
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name == "max_feature_idx":
            n_features = int(value) + 1
        elif name == "num_leaves":
            n_leaves = int(value)
        elif name == "num_cat":
            _require(int(value) == 0, "a split of LightGBM on categories")
        elif name in ("left_child", "right_child"):
            children = [int(part) for part in value.split()]
            _require(len(children) == n_leaves - 1, "a tree of LightGBM without all its branches")
            # leaves are numbered from -1 down
            _require(
                all(own < child < n_leaves - 1 or -n_leaves <= child < 0 for own, child in enumerate(children)),
                "a branch of LightGBM that leads nowhere",
            )
        elif name == "split_feature":
            asked = [int(part) for part in value.split()]
            _require(
                len(asked) == n_leaves - 1 and all(0 <= one < n_features for one in asked),
                "a split of LightGBM on a column that is not there",
            )


def check_estimator_fits(estimator: Any, n_features: int, answers: str, n_out: int) -> None:
    """Raise an ExportError where an estimator does not answer the rows of its table.

    It is asked for one row of zeros, which also shows that it can answer at all.
    """
    found = getattr(estimator, "n_features_in_", None)
    _require(found == n_features, f"they look at {found} columns, and the table has {n_features}")
    row = np.zeros((1, n_features), dtype=np.float32)
    try:
        if answers == "numbers":
            size = np.size(estimator.predict(row))
        elif answers == "classes":
            known = np.asarray(estimator.classes_)
            there = known.dtype.kind in "iu" and known.min() >= 0 and known.max() < n_out
            _require(there, "classes that are not there")
            size = n_out if estimator.predict_proba(row).shape == (1, len(known)) else -1
        else:
            size = len(estimator.predict_proba(row))
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(f"The export's trees cannot answer ({type(error).__name__}: {error}).") from error
    _require(size == n_out, f"they give {size} answers a row, not {n_out}")

