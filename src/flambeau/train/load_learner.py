"""Loading a learner: after reading it you know what an export gives back, and what it does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as AnyPath
from typing import Any

from torch import nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.devices import default_device
from flambeau.foundation.paths import Path
from flambeau.train.export import read_export
from flambeau.train.learner import Learner


def load_learner(
    fname: str | AnyPath,
    cpu: bool = True,
    *,
    model: nn.Module | None = None,
    transforms: Mapping[str, Any] | None = None,
    loss_func: Any = None,
) -> Learner:
    """Return a learner that predicts as the exported one did: `predict`, `get_preds(dl=learn.dls.test_dl(items))`, `tta`.

    Nothing in the file is executed. Parts that were code of the user's own are given back by `model`, `transforms` (by
    name) and `loss_func`. The learner has no training items; to train further, make a new learner and `load` weights.

    Raises:
        ExportError: the file is no export of flambeau, is damaged, or lacks a part that was not given back.
    """
    device = "cpu" if cpu else default_device()
    exported = read_export(fname, device, model, transforms, loss_func)
    train = exported.loader.new(training=True)
    dls = DataLoaders(train, exported.loader, path=Path(fname).parent, n_inp=exported.n_inp)
    return Learner(dls, exported.model, loss_func=exported.loss_func)
