"""Keeping trees: after reading it you know why reading an estimator from a stranger's file runs no code of theirs.

An estimator is written by skops: a zip archive of numpy arrays and a schema in JSON that names classes, and what builds
each. Before anything is built, every pair of these must be on the list below, and every array as large as it says. What
was built is then looked through: the compiled code of scikit-learn and LightGBM follows the branches of a tree wherever
the file says, beyond its end too.
"""

from __future__ import annotations

import ctypes
import io
import json
import math
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from flambeau.foundation.errors import ExportError
from flambeau.trees.lightgbm_text import check_booster_text

SCHEMA = "schema.json"
BOOSTING = "sklearn.ensemble._hist_gradient_boosting"
LOSSES = ("HalfBinomialLoss", "HalfMultinomialLoss", "HalfSquaredError")
# What may build what: most builders call the class that the file names with values of the file.
ALLOWED: dict[str, set[str]] = {
    "JsonNode": {"builtins.str"},
    "DictNode": {"builtins.dict", "collections.OrderedDict"},
    "DefaultDictNode": {"collections.defaultdict"},
    "ListNode": {"builtins.list"},
    "TupleNode": {"builtins.tuple"},
    "TypeNode": {"builtins.str", "builtins.int", "builtins.float", "numpy.int64", "collections.OrderedDict"},
    "NdArrayNode": {f"numpy.{name}" for name in ("ndarray", "int32", "int64", "uint64", "float32", "float64", "bool")},
    "RandomStateNode": {"numpy.random.mtrand.RandomState"},
    "RandomGeneratorNode": {"numpy.random._generator.Generator"},
    "TreeNode": {"sklearn.tree._tree.Tree"},
    "LossNode": {f"sklearn._loss._loss.Cy{name}" for name in LOSSES},
    "ObjectNode": {
        *(f"sklearn.tree._classes.{kind}Tree{use}" for kind in ("Decision", "Extra")
          for use in ("Classifier", "Regressor")),
        *(f"sklearn.ensemble._forest.{kind}{use}" for kind in ("RandomForest", "ExtraTrees")
          for use in ("Classifier", "Regressor")),
        *(f"sklearn.ensemble._bagging.Bagging{use}" for use in ("Classifier", "Regressor")),
        *(f"{BOOSTING}.gradient_boosting.HistGradientBoosting{use}" for use in ("Classifier", "Regressor")),
        f"{BOOSTING}.predictor.TreePredictor", f"{BOOSTING}.binning._BinMapper",
        *(f"sklearn._loss.loss.{name}" for name in LOSSES),
        *(f"sklearn._loss.link.{name}" for name in ("Interval", "LogitLink", "MultinomialLogit", "IdentityLink")),
        "sklearn.preprocessing._label.LabelEncoder",
        *(f"sklearn.multioutput.MultiOutput{use}" for use in ("Classifier", "Regressor")),
        *(f"flambeau.trees.one_rule.OneR{use}" for use in ("Classifier", "Regressor")),
        "lightgbm.basic.Booster", *(f"lightgbm.sklearn.LGBM{use}" for use in ("Classifier", "Regressor")),
    },
}  # fmt: skip
THREADS = ("num_threads", "num_thread", "nthread", "nthreads")  # LightGBM's other names of n_jobs


def kept_bytes(estimator: Any) -> bytes:
    """Return a fitted estimator as bytes.

    Raises:
        ExportError: it holds what a file of flambeau does not carry, or could not be read again.
    """
    from skops.io import dumps

    name = type(estimator).__name__
    use_instead = "Use one of the models by name, or keep it with skops or joblib by yourself: learn.model.estimator."
    try:
        data = bytes(dumps(estimator))
    except Exception as error:  # an estimator of the user's own may hold anything
        raise ExportError(
            f"A {name} cannot be kept in a file ({type(error).__name__}: {error}). {use_instead}"
        ) from error
    data, strange = _rewritten(data)
    if strange:
        raise ExportError(
            f"A {name} cannot be kept in a file: {', '.join(strange[:3])} is on no list of what is safe to read again. "
            f"{use_instead}"
        )
    try:
        _built(data)
    except ExportError as error:
        unsafe = f"This {name} cannot be kept in a file that is safe to read."
        raise ExportError(f"{unsafe} {error} {use_instead}") from error
    return data


def _rewritten(data: bytes) -> tuple[bytes, list[str]]:
    """Return an archive of skops without what only its writing needed, and what it names that is not on the list.

    Numbers of objects go: by them a file could have something else built than was looked at.
    """
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(written, "w") as shorter:
        schema = json.loads(archive.read(SCHEMA))
        files: dict[str, str] = {}
        for node in _nodes(schema):
            node.pop("__id__", None)
            if "file" in node:
                node["file"] = files.setdefault(node["file"], f"{len(files)}.npy")
        for old, new in files.items():
            shorter.writestr(zipfile.ZipInfo(new), archive.read(old))
        shorter.writestr(zipfile.ZipInfo(SCHEMA), json.dumps(schema, separators=(",", ":")))
    return written.getvalue(), _strange(schema)


def estimator_of(kept: Tensor) -> Any:
    """Return the estimator that bytes hold. Nothing in them is executed.

    Raises:
        ExportError: they hold something else, or another version of scikit-learn wrote them.
    """
    try:
        return _built(kept.cpu().numpy().tobytes())
    except ExportError as error:
        raise ExportError(f"{error} Nothing of the file was run.") from error
    except Exception as error:  # what a stranger wrote can go wrong anywhere
        raise ExportError(
            f"The trees of this export cannot be read ({type(error).__name__}: {str(error)[:300]}). The file was "
            "changed, or another version of scikit-learn wrote it: install the version that the export's .run.json "
            "names."
        ) from error


def _built(data: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sizes = _sizes(archive, len(data))
        schema = json.loads(archive.read(SCHEMA))
    strange = _strange(schema)
    if strange:
        raise ExportError(f"The export's trees name {', '.join(strange[:3])}, which is not allowed there.")
    _check_schema(schema, sizes, len(data))
    found = _load(data)
    _check_estimator(found, int(found.n_features_in_))
    return found


def _load(data: bytes) -> Any:
    import sklearn.exceptions
    from skops.io import loads

    with warnings.catch_warnings():
        # other versions read well where the arrays are alike; where not, an error tells
        warnings.simplefilter("ignore", sklearn.exceptions.InconsistentVersionWarning)
        return loads(data, trusted=sorted(set().union(*ALLOWED.values())))


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
    """Return what a schema names that is not on the list."""
    found: dict[str, None] = {}
    for node in _nodes(schema):
        builder, place = str(node.get("__loader__")), f"{node.get('__module__')}.{node.get('__class__')}"
        if place not in ALLOWED.get(builder, ()):
            known = any(place in places for places in ALLOWED.values())
            found[f"{place} by {builder}" if known else place] = None
    return list(found)


def _sizes(archive: zipfile.ZipFile, n_bytes: int) -> dict[str, int]:
    """Return how large the parts of an archive are.

    Raises:
        ExportError: they would take more memory than the file does.
    """
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
    return {part.filename: part.file_size for part in parts}


def _check_schema(schema: Any, sizes: Mapping[str, int], n_bytes: int) -> None:
    """Raise an ExportError where a schema says other things than what would be built of it, or would grow."""
    n_arrays = 0
    for node in _nodes(schema):
        if "__id__" in node:  # skops would build the first node of this number, whatever the others say
            raise ExportError("The export's trees number their parts, which flambeau never does.")
        if node["__loader__"] == "NdArrayNode" and node.get("type") == "numpy":
            n_arrays += sizes[node["file"]]
        if node["__loader__"] == "JsonNode" and node["content"].lstrip()[:1] in ("[", "{"):
            raise ExportError("The export's trees hold a list where one value was expected.")
        if node["__class__"] == "Booster":
            # LightGBM's compiled code reads this text as soon as it is built
            for inner in _nodes(node.get("content")):
                text = json.loads(inner["content"]) if inner["__loader__"] == "JsonNode" else None
                if isinstance(text, str) and "\n" in text:
                    check_booster_text(text)
    if n_arrays > n_bytes:
        raise ExportError("The export's trees hold the same array many times, and are larger than the file.")


# whether trees are trees


def _require(is_so: Any, what: str) -> None:
    if not bool(is_so):
        raise ExportError(f"The export's trees are misshapen: {what}.")


def _check_estimator(estimator: Any, n_features: int) -> None:
    """Raise an ExportError where an estimator, or one in it, looks beyond its columns or nodes.

    `n_features` is how many columns it is given: a forest does not check that its trees look at no more.
    """
    name = type(estimator).__name__
    _require(getattr(estimator, "n_features_in_", None) == n_features, f"a {name} of other columns")
    if getattr(estimator, "n_jobs", None) not in (None, -1, 0, 1):
        estimator.n_jobs = -1  # as many threads as this machine has, not as the file says
    counts = getattr(estimator, "n_classes_", None)
    if counts is not None:
        classes = estimator.classes_
        known = [len(one) for one in classes] if isinstance(classes, list) else len(classes)
        _require(np.array_equal(counts, known), f"a {name} that counts other classes than it names")
    if hasattr(estimator, "tree_"):
        _check_tree(estimator, n_features)
    if hasattr(estimator, "_predictors"):
        _check_boosting(estimator, n_features)
    if hasattr(estimator, "_Booster"):
        _check_lightgbm(estimator, n_features)
    if hasattr(estimator, "stump_"):
        _require(0 <= estimator.column_ < n_features, f"a {name} of other columns")
        _check_estimator(estimator.stump_, 1)
    inner = getattr(estimator, "estimators_", [])
    _require(isinstance(inner, list | np.ndarray), f"a {name} whose trees are no list")
    bags = getattr(estimator, "estimators_features_", None)
    for place, part in enumerate(np.ravel(np.asarray(inner, dtype=object))):
        if bags is not None:
            own = np.asarray(bags[place])
            there = own.ndim == 1 and own.dtype.kind in "iu" and (own >= 0).all() and (own < n_features).all()
            _require(there, "a bag of other columns")
        _check_estimator(part, n_features if bags is None else len(bags[place]))


def _check_tree(estimator: Any, n_features: int) -> None:
    tree, name = estimator.tree_, type(estimator).__name__
    _require(tree.n_features == n_features, f"a {name} of {tree.n_features} features")
    # all arrays of a tree are as long as it says, whatever was allocated
    _require(tree.node_count == tree.capacity, f"a {name} of {tree.node_count} nodes, with room for {tree.capacity}")
    inner = tree.children_left != -1
    depth = _depth_of(tree.children_left, tree.children_right, tree.feature, inner, n_features)
    # what a way through the tree is written into is as long as this says
    _require(depth <= tree.max_depth <= tree.node_count, f"a {name} of the depth {tree.max_depth}, which is {depth}")
    width = len(estimator.classes_) if hasattr(estimator, "classes_") and tree.n_outputs == 1 else None
    _require(width is None or tree.value.shape[2] == width, f"a {name} with other classes than its leaves")


def _check_boosting(estimator: Any, n_features: int) -> None:
    name, width = type(estimator).__name__, int(estimator.n_trees_per_iteration_)
    _require(np.shape(estimator._baseline_prediction) == (1, width), f"a {name} without its beginning")
    _require(estimator._preprocessor is None, f"a {name} that prepares its rows")
    _require(not np.any(estimator._bin_mapper.is_categorical_), f"a {name} with splits on categories")
    for trees in estimator._predictors:
        _require(len(trees) == width, f"a round of {len(trees)} trees")
        for tree in trees:
            nodes = tree.nodes
            _require(nodes.ndim == 1 and not nodes["is_categorical"].any(), f"odd nodes in a {name}")
            inner = nodes["is_leaf"] == 0
            _depth_of(nodes["left"], nodes["right"], nodes["feature_idx"], inner, n_features)


def _check_lightgbm(estimator: Any, n_features: int) -> None:
    # without a text, LightGBM would be asked about a model at the address 0
    handle = getattr(estimator._Booster, "_handle", None)
    _require(isinstance(handle, ctypes.c_void_p) and handle, f"a {type(estimator).__name__} without trees")
    _require(estimator._Booster.num_feature() == n_features, f"a {type(estimator).__name__} of other columns")
    for name in THREADS:
        estimator._other_params.pop(name, None)
        estimator.__dict__.pop(name, None)


def _depth_of(left: Any, right: Any, feature: Any, inner: Any, n_features: int) -> int:
    """Return how many levels below its root a tree has, after a look whether it is one."""
    n, own = len(left), np.flatnonzero(inner)
    _require(n > 0, "a tree without a node")
    children = np.concatenate([np.asarray(side, dtype=np.int64)[own] for side in (left, right)])
    # both libraries number a node after the one above it: so no way through the tree is endless
    _require(((children > np.tile(own, 2)) & (children < n)).all(), "a branch that leads nowhere")
    _require(len(np.unique(children)) == len(children) == n - 1, "a branch that is no branch of one split")
    asked = np.asarray(feature, dtype=np.int64)[own]
    _require(((asked >= 0) & (asked < n_features)).all(), "a split on a column that is not there")
    depth, level = 0, np.flatnonzero(inner[:1])
    while len(level):
        below = np.concatenate([np.asarray(side, dtype=np.int64)[level] for side in (left, right)])
        depth, level = depth + 1, below[inner[below]]
    return depth


def check_estimator_fits(estimator: Any, n_features: int, answers: str, n_out: int) -> None:
    """Raise an ExportError where an estimator does not answer the rows of its table.

    It is asked for one row of zeros, which also shows that it can answer at all.
    """
    found = estimator.n_features_in_
    _require(found == n_features, f"they look at {found} columns, and the table has {n_features}")
    row = np.zeros((1, n_features), dtype=np.float32)
    try:
        if answers == "numbers":
            size = np.size(estimator.predict(row))
        elif answers == "classes":
            known = np.asarray(estimator.classes_)
            there = known.dtype.kind in "iu" and known.min() >= 0 and known.max() < n_out and (np.diff(known) > 0).all()
            _require(there, "classes that are not there")
            size = n_out if estimator.predict_proba(row).shape == (1, len(known)) else -1
        else:
            _require(all(set(map(int, one)) <= {0, 1} for one in estimator.classes_), "labels that are not there")
            shares = estimator.predict_proba(row)
            fitting = [np.shape(own) == (1, len(known)) for own, known in zip(shares, estimator.classes_, strict=True)]
            size = len(shares) if all(fitting) else -1
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(f"The export's trees cannot answer ({type(error).__name__}: {error}).") from error
    _require(size == n_out, f"they give {size} answers a row, not {n_out}")
