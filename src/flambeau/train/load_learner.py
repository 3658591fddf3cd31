"""Loading a learner: after reading it you know what an export gives back, and what it does not."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path as AnyPath
from typing import Any

from torch import nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.devices import default_device
from flambeau.foundation.errors import ExportError
from flambeau.foundation.paths import Path
from flambeau.train.checkpoint import SUFFIX
from flambeau.train.ensemble import Ensemble
from flambeau.train.export import Exported, read_exports
from flambeau.train.learner import Learner


def load_learner(
    fname: str | AnyPath,
    cpu: bool = True,
    *,
    model: nn.Module | Sequence[nn.Module | None] | None = None,
    transforms: Mapping[str, Any] | None = None,
    loss_func: Any = None,
) -> Any:
    """Return a learner that predicts as the exported one did.

    `predict(item)`, `get_preds(dl=learn.dls.test_dl(items))` and `tta(dl=...)` are there, and the metrics, for
    `validate(dl=learn.dls.test_dl(items, with_labels=True))`. Nothing in the file is executed. Parts that were code of
    the user's own are given back by `model`, `transforms` (by name) and `loss_func`.
    An exported ensemble comes back as an `Ensemble`, which predicts by the same verbs; its `model` is a list.
    The learner has no training items; to train further, make a new learner and `load` weights.
    Where there is no such file, one of the same name that ends in .safetensors is taken, and a printed line says so.

    Raises:
        ExportError: the file is no export of flambeau, is damaged, or lacks a part that was not given back.
    """
    device = "cpu" if cpu else default_device()
    path = Path(fname)
    # course code asks for export.pkl, the name that other libraries give an export
    if not path.exists() and path.with_suffix(SUFFIX).is_file():
        print(f"There is no {path}; loading {path.with_suffix(SUFFIX)}.")
        path = path.with_suffix(SUFFIX)
    members, weights = read_exports(path, device, model, transforms, loss_func)
    learners = [_learner(exported, path) for exported in members]
    lost = dict.fromkeys(name for exported in members for name in exported.lost_metrics)
    if lost:
        print(f"Metrics of your own, not in the export: {', '.join(lost)}. Set learn.metrics to see them.")
    return learners[0] if len(learners) == 1 else Ensemble(learners, weights)


# a learner that can do more than predict names its class by `export_as`
LEARNERS = {
    "collab": "flambeau.collab.learner:CollabLearner",
    "language_model": "flambeau.text.learner:LMLearner",
    "trees": "flambeau.trees.learner:TreeLearner",
    "transformer": "flambeau.text.transformer_learner:TransformerLearner",
}


def _learner(exported: Exported, path: Path) -> Learner:
    special = exported.header.get("learner")
    if special is not None:
        if special not in LEARNERS:
            raise ExportError(f"{path} holds a learner of the kind {special!r}, unknown to this version of flambeau.")
        module_name, _, name = LEARNERS[special].partition(":")
        made: Learner = getattr(importlib.import_module(module_name), name).from_export(exported, path)
        return made
    train = exported.loader.new(training=True)
    dls = DataLoaders(train, exported.loader, path=path.parent, n_inp=exported.n_inp)
    return Learner(dls, exported.model, loss_func=exported.loss_func, metrics=exported.metrics)
