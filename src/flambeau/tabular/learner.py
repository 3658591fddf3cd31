"""The learner of tables: after reading it you know how loaders become a net, and what its embeddings are good for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path as AnyPath
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.data.kinds import Category, MultiCategory, Number
from flambeau.foundation.errors import ArgumentError, unknown_name
from flambeau.foundation.seeds import no_random
from flambeau.nn.layers import TargetScale
from flambeau.nn.optimizers import Adam
from flambeau.tabular.data_loaders import numbers_apart
from flambeau.tabular.dataset import TableDataset
from flambeau.tabular.models import USUAL_LAYERS, TabularModel, get_emb_sz, tabular_config
from flambeau.tabular.tabm import USUAL_WIDTHS, MembersApart, TabM, quantile_edges
from flambeau.train.learner import Learner, Moms, all_in_one

if TYPE_CHECKING:
    import pandas as pd

MODELS = ("plain", "tabm")


class TabularLearner(Learner):
    """A learner of tables, which can also give away the vectors of its categories."""

    def show_results(
        self, ds_idx: int = 1, dl: Any = None, max_n: int = 9, shuffle: bool = True, **options: Any
    ) -> pd.DataFrame:
        """Return (a notebook draws it) some rows with their targets and predictions."""
        shown = super().show_results(ds_idx, dl, max_n, shuffle, **options)
        y_names = self.dls.train_ds.reader.y_names
        return numbers_apart(shown, y_names, ("actual", "predicted")) if len(y_names) > 1 else shown

    def embeddings(self) -> dict[Any, pd.DataFrame]:
        """Return the learnt vectors of each category: a frame with a row a level."""
        return embeddings(self)

    def embed(self, df: Any) -> pd.DataFrame:
        """Return a table's rows with categories as their vectors, beside the processed numbers: input for a forest."""
        return embed(self, df)


def embeddings(learn: Learner) -> dict[Any, pd.DataFrame]:
    """Return the learnt vectors of each category of any learner of tables, loaded ones too: a frame with a row a level.

    Raises:
        ArgumentError: the learner is not one of tables.
    """
    import pandas as pd

    dataset, model = table_parts(learn)
    kind = dataset.kinds[0]
    names, vocabs = getattr(kind, "names", ()), getattr(kind, "vocabs", ())
    weights = [embed.weight.detach().cpu().numpy() for embed in model.embeds]
    return {
        name: pd.DataFrame(weight, pd.Index(list(vocab), name=name), [f"{name}_{i}" for i in range(weight.shape[1])])
        for name, vocab, weight in zip(names, vocabs, weights, strict=True)
    }


def embed(learn: Learner, df: Any) -> pd.DataFrame:
    """Return a table's rows with categories as the learner's vectors, beside the processed numbers.

    Raises:
        ArgumentError: the learner is not one of tables. TableError: the table lacks a column.
    """
    import numpy as np
    import pandas as pd

    dataset, model = table_parts(learn)
    new = dataset.with_items(df, 2)
    cats, conts = new.tensors[:2]
    names = [f"{name}_{i}" for name, e in zip(new.cat_names, model.embeds, strict=True) for i in range(e.embedding_dim)]
    with torch.no_grad():
        vectors = model.embed(cats.to(learn.device)).cpu().numpy() if len(model.embeds) else np.empty((len(new), 0))
    index = df.index if isinstance(df, pd.DataFrame) else None
    return pd.DataFrame(np.concatenate([vectors, conts.numpy()], 1), index, [*names, *new.cont_names])


def table_parts(learn: Learner) -> tuple[TableDataset, Any]:
    """Return the training rows and the net of a learner of tables.

    Raises:
        ArgumentError: the learner is not one of tables.
    """
    dataset = getattr(learn.dls.train, "dataset", None)
    if not isinstance(dataset, TableDataset) or not isinstance(learn.model, TabularModel | TabM):
        raise ArgumentError("Embeddings are those of a learner of tables: tabular_learner(dls).")
    return dataset, learn.model


def tabular_learner(
    dls: DataLoaders,
    layers: Sequence[int] | None = None,
    emb_szs: Mapping[Any, int] | Sequence[tuple[int, int]] | None = None,
    config: Mapping[str, Any] | None = None,
    n_out: int | None = None,
    y_range: tuple[float, float] | None = None,
    *,
    model: str = "plain",
    loss_func: Any = None,
    opt_func: Callable[..., torch.optim.Optimizer] = Adam,
    lr: float = 1e-3,
    splitter: Callable[[nn.Module], Sequence[Any]] = all_in_one,
    cbs: Any = None,
    metrics: Any = None,
    path: str | AnyPath | None = None,
    model_dir: str | AnyPath = "models",
    wd: float | None = None,
    wd_bn_bias: bool = False,
    train_bn: bool = True,
    moms: Moms = (0.95, 0.85, 0.95),
    seed: int | None = None,
) -> TabularLearner:
    """Return a learner of a table: `model="plain"` is fastai's net, "tabm" an ensemble in one net, usually stronger.

    Args:
        layers: the widths between inputs and outputs: [200, 100], of TabM [128, 128].
        emb_szs: vector sizes by column, or (levels, size) of every category; None: by `emb_sz_rule`.
        config: `tabular_config(...)` of the plain net; settings of `TabM` (p, k, n_bins, d_number) for that.
        n_out: how many outputs; None: as the target asks.
        y_range: squeeze the outputs between two numbers.
        seed: makes the first weights repeatable.

    Raises:
        ArgumentError: the loaders are none of a table. UnknownNameError: no such model, category or setting.
    """
    dataset = getattr(dls.train, "dataset", None)
    if not isinstance(dataset, TableDataset):
        raise ArgumentError("tabular_learner needs loaders of a table: TabularDataLoaders.from_df(...).")
    if model not in MODELS:
        raise unknown_name("model of tables", model, MODELS)
    if n_out is None and len(dataset.kinds) <= dataset.n_inp:
        raise ArgumentError("The table has no target: pass y_names=... when making the loaders.")
    n_out = n_out if n_out is not None else dls.c
    sized = None if emb_szs is None or isinstance(emb_szs, Mapping) else [(int(n), int(size)) for n, size in emb_szs]
    sizes = sized if sized is not None else get_emb_sz(dls, emb_szs if isinstance(emb_szs, Mapping) else None)
    settings = dict(config or {})
    if y_range is not None:
        settings["y_range"] = y_range
    n_cont = len(dataset.cont_names)
    made: TabularModel | TabM
    scale = None if settings.get("y_range") is not None else _scale(dataset, n_out)
    with nullcontext() if seed is None else no_random(seed):
        if model == "plain":
            _check_settings(settings, tabular_config())
            made = TabularModel(
                sizes, n_cont, n_out, layers if layers is not None else USUAL_LAYERS, scale=scale, **settings
            )
        else:
            _check_settings(settings, dict.fromkeys(("p", "k", "n_bins", "d_number", "y_range")))
            edges = quantile_edges(dataset.tensors[1], settings.get("n_bins", 32)) if n_cont else None
            made = TabM(
                sizes, n_cont, n_out, layers if layers is not None else USUAL_WIDTHS, edges=edges, scale=scale,
                average=_average(dataset), **settings,
            )  # fmt: skip
    own: list[Any] = [MembersApart()] if model == "tabm" else []
    given = [] if cbs is None else list(cbs) if isinstance(cbs, list | tuple) else [cbs]
    learn = TabularLearner(
        dls, made, loss_func=loss_func, opt_func=opt_func, lr=lr, splitter=splitter, cbs=[*own, *given],
        metrics=metrics, path=path, model_dir=model_dir, wd=wd, wd_bn_bias=wd_bn_bias, train_bn=train_bn, moms=moms,
    )  # fmt: skip
    print(_summary_line(learn, model, sizes, n_cont, n_out))
    return learn


def _check_settings(given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for name in given:
        if name not in known:
            raise unknown_name("setting of the model", name, known)


def _scale(dataset: TableDataset, n_out: int) -> TargetScale | None:
    """Return the scale of a target of numbers, None where the outputs are something else."""
    of_numbers = len(dataset.kinds) > 2 and isinstance(dataset.kinds[2], Number)
    if not of_numbers or dataset.tensors[2].shape[1] != n_out:
        return None
    return TargetScale.of(dataset.tensors[2])


def _average(dataset: TableDataset) -> str:
    kind = dataset.kinds[2] if len(dataset.kinds) > 2 else None
    return "classes" if isinstance(kind, Category) else "labels" if isinstance(kind, MultiCategory) else "numbers"


def _summary_line(learn: Learner, model: str, sizes: Sequence[Any], n_cont: int, n_out: int) -> str:
    name = "TabularModel" if model == "plain" else f"TabM of {getattr(learn.model, 'k', 0)} members"
    loss = getattr(learn.loss_func, "__name__", type(learn.loss_func).__name__)
    counts = (_counted(len(sizes), "category", "categories"), _counted(n_cont, "number"), _counted(n_out, "output"))
    return f"{name}: {', '.join(counts)}, {loss}, on {learn.device}"


def _counted(n: int, one: str, several: str | None = None) -> str:
    return f"{n} {one if n == 1 else several or one + 's'}"
