"""The text of a LightGBM model: after reading it you know what must be true of it before LightGBM may read it.

LightGBM reads its own text fast and believes it: lengths, offsets and branches are followed wherever they lead. So each
line is held against what LightGBM writes, and whatever else it may say is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from flambeau.foundation.errors import ExportError

TREE = re.compile(r"Tree=(\d+)\n((?:[a-z_]+=[-+0-9.einfa ]*\n)+)\n+")
HEAD = {
    "tree", "version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective",
    "feature_names", "feature_infos", "tree_sizes", "average_output", "monotone_constraints",
}  # fmt: skip
# of a tree: single numbers, and how many numbers fewer than leaves a line has
SINGLE = {"num_leaves", "num_cat", "is_linear", "shrinkage"}
FEWER = {
    **dict.fromkeys(("leaf_value", "leaf_weight", "leaf_count"), 0),
    **dict.fromkeys(
        ("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child", "internal_value",
         "internal_weight", "internal_count"), 1,
    ),
}  # fmt: skip
OBJECTIVE = re.compile(r"[a-z_0-9]+(?: sqrt)?((?: [a-z_]+:[-+0-9.e]+)*)")


def check_booster_text(text: str) -> None:
    """Raise an ExportError where the text of a LightGBM model says what LightGBM does not write."""
    trees, end, _ = text.partition("\nend of trees")
    head, start, body = trees.partition("\n\nTree=")
    _require(end and start and text.isascii() and not re.search(r"[^\n -~]", text), "no text of LightGBM")
    values = _values(head, HEAD)
    n_features = int(values["max_feature_idx"]) + 1
    n_classes = _n_classes(values)
    rest, sizes = f"Tree={body}\n", [int(size) for size in values["tree_sizes"].split()]
    _require(sizes and len(sizes) % n_classes == 0 and len(sizes) >= n_classes, "other trees than classes")
    _require(all(size > 0 for size in sizes) and sum(sizes) == len(rest), "trees of LightGBM of other sizes")
    at = 0
    for place, size in enumerate(sizes):
        found = TREE.fullmatch(rest, at, at + size)
        _require(found is not None and found[1] == str(place), "a tree of LightGBM with odd lines")
        assert found is not None
        _check_tree(_values(found[2], {*SINGLE, *FEWER}), n_features)
        at += size


def _require(is_so: object, what: str) -> None:
    if not is_so:
        raise ExportError(f"The export's trees are misshapen: {what}.")


def _values(lines: str, known: set[str]) -> dict[str, str]:
    """Return the values of lines such as `num_class=1` by their names."""
    found: dict[str, str] = {}
    for line in lines.strip("\n").split("\n"):
        name, _, value = line.partition("=")
        _require(name in known and name not in found, f"the line {name[:40]!r} of LightGBM")
        found[name] = value
    return found


def _n_classes(values: Mapping[str, str]) -> int:
    """Return how many answers a row gets, which three lines tell."""
    objective = OBJECTIVE.fullmatch(values.get("objective", "regression"))
    _require(objective, "an objective that LightGBM does not have")
    assert objective is not None
    settings = [setting.split(":") for setting in objective[1].split()]
    own = dict(setting for setting in settings if len(setting) == 2)
    counts = {int(values["num_class"]), int(values["num_tree_per_iteration"]), int(own.get("num_class", 1))}
    _require(len(counts) == 1 and len(own) == len(settings) and min(counts) > 0, "other classes of LightGBM")
    return counts.pop()


def _check_tree(values: Mapping[str, str], n_features: int) -> None:
    _require(values.keys() >= FEWER.keys() | {"num_leaves", "num_cat"}, "a tree of LightGBM without all its lines")
    n_leaves = int(values["num_leaves"])
    _require(n_leaves > 0, "a tree of LightGBM without a leaf")
    _require(int(values["num_cat"]) == 0, "a split of LightGBM on categories")
    _require(int(values.get("is_linear", 0)) == 0, "a leaf of LightGBM with a formula")
    numbers = {name: values[name].split() for name in FEWER}
    if n_leaves == 1:
        return
    for name, fewer in FEWER.items():
        _require(len(numbers[name]) == n_leaves - fewer, f"a tree of LightGBM with another number of {name}")
    _require(all(int(one) % 2 == 0 for one in numbers["decision_type"]), "a split of LightGBM on categories")
    asked = [int(one) for one in numbers["split_feature"]]
    _require(all(0 <= one < n_features for one in asked), "a split of LightGBM on a column that is not there")
    sides = [[int(one) for one in numbers[name]] for name in ("left_child", "right_child")]
    ways = [(own, child) for side in sides for own, child in enumerate(side)]
    # leaves are numbered from -1 down; all nodes but the first are below one split
    there = all(own < child < n_leaves - 1 or -n_leaves <= child < 0 for own, child in ways)
    _require(there and len({child for _, child in ways}) == len(ways), "a branch of LightGBM that leads nowhere")
