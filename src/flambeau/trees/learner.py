"""The learner of trees: after reading it you know how a forest is trained, measured and kept by the usual verbs."""

from __future__ import annotations

import time
from pathlib import Path as AnyPath
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from flambeau.data.data_loaders import DataLoaders
from flambeau.data.kinds import Category, Kind, MultiCategory, Number
from flambeau.foundation.errors import ArgumentError, ExportError
from flambeau.foundation.lists import L
from flambeau.foundation.numbers import number_words
from flambeau.nn.metrics import accuracy, accuracy_multi, rmse
from flambeau.tabular.data_loaders import TabularDataLoaders
from flambeau.tabular.dataset import TableDataset
from flambeau.tabular.learner import table_parts
from flambeau.tabular.procs import Categorify, FillMissing
from flambeau.tabular.tabular_pandas import TabularPandas
from flambeau.train.callbacks.progress import Progress
from flambeau.train.callbacks.recorder import Recorder
from flambeau.train.checkpoint import checkpoint_path, load_state, read_tensors
from flambeau.train.export import Exported
from flambeau.train.learner import Learner
from flambeau.trees.asking import drawn_rows
from flambeau.trees.estimators import make_estimator
from flambeau.trees.features import Feature, features_of
from flambeau.trees.models import TreeModel, raw_of

if TYPE_CHECKING:
    import pandas as pd

    from flambeau.foundation.drawing import Drawing
    from flambeau.trees.dependence import Dependence
    from flambeau.trees.importance import Importance
    from flambeau.trees.waterfall import Explanation

ROWS_AT_ONCE = 16_384  # a call of an estimator costs as much as answering hundreds of rows
WITHOUT_GRADIENTS = (
    "A tree learns from all rows at once, without steps of a gradient: call learn.fit(). Its settings are given to "
    "tree_learner, such as n_estimators=300 or min_samples_leaf=5."
)


class TreeLearner(Learner):
    """A learner of trees: `fit()` trains it, and all verbs that measure, predict, interpret and keep are a learner's.

    `model.estimator` is scikit-learn's own, fitted.
    """

    export_as: ClassVar[str | None] = "trees"
    model: TreeModel

    # training

    def fit(
        self,
        n_epoch: int | None = None,
        lr: Any = None,
        wd: float | None = None,
        cbs: Any = None,
        reset_opt: bool = False,
        start_epoch: int = 0,
        checkpoint: bool | int = False,
        resume: bool = False,
    ) -> None:
        """Fit the estimator anew to all training rows, and print what it is worth.

        To the learner's callbacks it is one epoch of no batches.

        Raises:
            ArgumentError: epochs, rates or other settings of gradient descent are given.
        """
        given = (lr, wd, cbs, reset_opt or None, start_epoch or None, checkpoint or None, resume or None)
        if n_epoch not in (None, 1) or any(setting is not None for setting in given):
            raise ArgumentError(WITHOUT_GRADIENTS)
        if len(self.rows) == 0:
            raise ArgumentError("A loaded learner has no rows to learn from: make a new one with tree_learner.")
        tensors = drawn_rows(self)
        self.n_epoch, self.epoch = 1, 0
        self._call("before_fit")
        if self.keep_logging:
            rows = f"{len(tensors[0]):,} rows x {self.model.n_features} columns"
            print(f"{type(self.estimator).__name__} on {rows}: ", end="", flush=True)
        started = time.perf_counter()
        self.model.learn_from(*tensors)
        seconds = time.perf_counter() - started
        names = ["valid_loss", *(metric.name for metric in self.metrics)]
        with self.no_bar(), self.no_logging():
            train_loss = self.validate(0)[0]
            values = self.validate() if len(self.dls) > 1 else []
        self._record(train_loss, values, names, seconds)
        if self.keep_logging:
            print(self._told(dict(zip(names, values, strict=False)), seconds))
        self._call("after_epoch")
        self._call("after_fit")

    def _call(self, event: str) -> None:
        """Call the callbacks that wait for an event, without the recorder and the bar, which count batches."""
        for cb in sorted(self.cbs, key=lambda cb: cb.order):
            if not isinstance(cb, Recorder | Progress):
                getattr(cb, event)()

    def create_opt(self) -> None:
        """Say that there is nothing to optimize by gradients.

        Raises:
            ArgumentError: always.
        """
        raise ArgumentError(WITHOUT_GRADIENTS)

    def compile(self, **options: Any) -> Learner:
        """Say that `torch.compile` makes no tree faster.

        Raises:
            ArgumentError: always.
        """
        raise ArgumentError("A tree is compiled code of scikit-learn already, which torch.compile cannot look into.")

    def _record(self, train_loss: float, values: list[float], names: list[str], seconds: float) -> None:
        recorder = self.recorder
        recorder.n_fits += 1
        recorder.n_completed += 1
        recorder.final_record = L([train_loss, *values])
        recorder.values = L([recorder.final_record])
        numbers = {"train_loss": train_loss, **dict(zip(names, values, strict=False))}
        recorder.rows.append({"fit": recorder.n_fits, "epoch": 0, **numbers, "time": round(seconds, 2)})
        recorder.fits.append({"estimator": repr(self.estimator)})

    def _told(self, values: dict[str, float], seconds: float) -> str:
        told = ", ".join([f"{seconds:.1f} s", *(f"{name} {number_words(value)}" for name, value in values.items())])
        if self.metrics and self._has_oob:
            measured = self.oob_values()
            told += f"; out of bag: {', '.join(f'{name} {number_words(value)}' for name, value in measured.items())}"
        return told

    # parts

    @property
    def estimator(self) -> Any:
        """The estimator of scikit-learn."""
        return self.model.estimator

    @property
    def rows(self) -> TableDataset:
        """The training rows."""
        found: TableDataset = self.dls.train_ds
        return found

    @property
    def features(self) -> list[Feature]:
        """The columns of the matrix that the estimator sees."""
        return features_of(self.dls.kinds, self.model.embedded)

    def matrix(self, ds_idx: int = 0) -> pd.DataFrame:
        """Return what the estimator sees of the rows of a loader (default: training), under the columns' names."""
        import pandas as pd

        tensors = self.dls[ds_idx].dataset.tensors
        return pd.DataFrame(self.model.matrix(*tensors[:2]), columns=[one.name for one in self.features])

    # out of bag

    @property
    def _has_oob(self) -> bool:
        kept = any(hasattr(self.estimator, f"oob_{what}_") for what in ("decision_function", "prediction"))
        # of rows that are drawn several times, a tree may have seen one that is out of its bag
        return kept and self.dls.train.order is None

    def oob_preds(self) -> tuple[Tensor, Tensor]:
        """Return predictions and targets of the training rows, each by the trees that did not learn from it.

        Activated, as `get_preds` returns them. Rows that every tree learnt from are left out (of 100 trees: none).

        Raises:
            ArgumentError: the model draws no bootstrap samples, or the rows are others than those of training.
        """
        raw, targets = self._oob_raw()
        return self.activation(raw), targets

    def oob_values(self) -> dict[str, float]:
        """Return the metrics of the out-of-bag predictions: honest, and without a validation set."""
        raw, targets = self._oob_raw()
        found = {}
        for metric in self.metrics:
            metric.reset()
            metric.update(raw, targets)
            found[metric.name] = float(metric.compute())
            metric.reset()
        return found

    def _oob_raw(self) -> tuple[Tensor, Tensor]:
        estimator, model = self.estimator, self.model
        if not self._has_oob:
            raise ArgumentError(
                f"A {type(estimator).__name__} has no predictions out of bag here: use model='forest' or 'bagging', "
                "with oob_score=True, and loaders that draw each row once."
            )
        n = len(self.rows)
        if n != len(estimator.oob_prediction_ if model.answers == "numbers" else estimator.oob_decision_function_):
            raise ArgumentError(
                f"The rows that the model learnt from are not here ({n} are), and no others are out of bag. Fit a "
                "learner to measure it, or measure this one on other rows: learn.validate(dl=...)."
            )
        used = np.zeros(n, dtype=np.int64)
        for places in estimator.estimators_samples_:
            used[np.unique(places)] += 1
        known = np.flatnonzero(used < len(estimator.estimators_))
        targets = self.rows.tensors[2]
        if model.answers == "numbers":
            raw = np.asarray(estimator.oob_prediction_, dtype=np.float32).reshape(n, model.n_out)[known]
        else:
            shares = estimator.oob_decision_function_[known]
            # of several labels (rows, classes, labels)
            parts = shares if model.answers == "classes" else [shares[:, :, at] for at in range(model.n_out)]
            raw = raw_of(model.answers, model.n_out, parts, estimator.classes_)
        return torch.from_numpy(raw), targets[torch.from_numpy(known)]

    # looking

    def feature_importance(
        self, method: str = "permutation", ds_idx: int = 1, metric: str | None = None, n_repeats: int = 5, seed: int = 0
    ) -> Importance:
        """Return how much each column matters; see `flambeau.trees.importance`."""
        from flambeau.trees.importance import feature_importance

        return feature_importance(self, method, ds_idx, metric, n_repeats, seed)

    def partial_dependence(self, columns: Any, ds_idx: int = 1, n_points: int = 30, of: Any = None) -> Dependence:
        """Return how predictions move with a column, all else as it is; see `flambeau.trees.dependence`."""
        from flambeau.trees.dependence import partial_dependence

        return partial_dependence(self, columns, ds_idx, n_points, of)

    def explain(self, row: Any, of: Any = None) -> Explanation:
        """Return what each column adds to the prediction of one row; see `flambeau.trees.waterfall`."""
        from flambeau.trees.waterfall import explain

        return explain(self, row, of)

    def draw_tree(self, number: int = 0, max_depth: int = 3, figsize: tuple[float, float] | None = None) -> Drawing:
        """Draw the first levels of one of its trees."""
        from flambeau.trees.drawing import draw_learner

        return draw_learner(self, number, max_depth, figsize)

    # keeping

    def load(
        self,
        file: str | AnyPath,
        with_opt: bool = True,
        device: torch.device | str | None = None,
        strict: bool = True,
    ) -> Learner:
        """Take back the trees that `save` kept, whatever their settings, for a table of the same columns.

        Raises:
            ExportError: there is no such file, it is damaged, or its trees are those of another table.
        """
        if device is not None:
            self.to(device)
        tensors, _ = read_tensors(checkpoint_path(self, file), "flambeau-checkpoint")
        weights = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
        model = self.model.alike(weights["kept"].numel() if "kept" in weights else 0)
        load_state(model, weights, strict, str(file))
        model.read()
        self.model = model
        return self

    @classmethod
    def from_export(cls, exported: Exported, path: AnyPath) -> TreeLearner:
        """Return the learner of an export: it predicts and explains, and has no rows to train on.

        Raises:
            ExportError: its trees are none, or are those of another table.
        """
        model, levels = exported.model, getattr(exported.kinds[0], "vocabs", ())
        if not isinstance(model, TreeModel):
            raise ExportError(f"The export is of trees, but its model is a {type(model).__name__}.")
        known = [len(vocab) for vocab in levels]
        fitting = model.n_cat == len(known) and model.n_cont == len(getattr(exported.kinds[1], "names", ()))
        if not fitting or (model.vectors is not None and [len(table) for table in model.vectors] != known):
            raise ExportError("The export's trees look at other columns or levels than its table has.")
        model.read()
        train = exported.loader.new(training=True)
        dls = TabularDataLoaders(train, exported.loader, path=path.parent, n_inp=exported.n_inp)
        return cls(dls, model, loss_func=exported.loss_func, metrics=exported.metrics)

    def __repr__(self) -> str:
        state = "" if self.model.is_fitted else ", not fitted"
        return f"TreeLearner: {type(self.estimator).__name__} of {self.model.n_features} columns{state}\n{self.dls!r}"


def tree_learner(
    data: Any,
    model: Any = "forest",
    *,
    metrics: Any = None,
    embeddings: Learner | None = None,
    loss_func: Any = None,
    path: str | AnyPath | None = None,
    model_dir: str | AnyPath = "models",
    seed: int | None = None,
    y_names: Any = None,
    cat_names: Any = None,
    cont_names: Any = None,
    y_block: Any = None,
    splits: Any = None,
    valid_idx: Any = None,
    valid_pct: float = 0.2,
    **params: Any,
) -> TreeLearner:
    """Return a learner of trees, not fitted yet.

        learn = tree_learner(dls, "forest", min_samples_leaf=3)
        learn.fit()
        learn.feature_importance().plot()

    Args:
        data: loaders of a table, a TabularPandas, or a table (pandas, polars, Arrow), whose columns are then chosen
            and split as by `TabularDataLoaders.from_df` with `y_names` ... `valid_pct`.
        model: "oner" (one split of one column), "tree", "bagging", "forest", "extra" (extremely randomized trees),
            "boosting" (histogram gradient boosting), "lightgbm"; or an estimator of scikit-learn.
        metrics: None: accuracy, or the root mean squared error of numbers.
        embeddings: a learner of tables whose learnt vectors stand for the categories (Guo and Berkhahn 2016).
        seed: makes training repeatable.
        params: settings of the estimator, such as `n_estimators=300`; see scikit-learn's page of it.

    Raises:
        ArgumentError: the data are none of a table, or have no target. UnknownNameError: no such model or setting.
    """
    dls = _loaders(data, y_names, cat_names, cont_names, y_block, splits, valid_idx, valid_pct, seed)
    dataset = dls.train_ds
    target = _target(dataset)
    answers = _answers(target)
    estimator = _for_columns(make_estimator(model, answers, params, seed), answers, dls.c)
    tree_model = TreeModel(
        estimator, answers, dls.c, len(dataset.cat_names), len(dataset.cont_names),
        vectors=None if embeddings is None else _vectors(dataset, embeddings),
    )  # fmt: skip
    usual = {"classes": accuracy, "labels": accuracy_multi, "numbers": rmse}[answers]
    return TreeLearner(
        dls, tree_model, loss_func=loss_func, metrics=usual if metrics is None else metrics, path=path,
        model_dir=model_dir,
    )  # fmt: skip


def _loaders(
    data: Any, y_names: Any, cats: Any, conts: Any, y_block: Any, splits: Any, valid_idx: Any, pct: float, seed: Any
) -> DataLoaders:
    given = {"y_names": y_names, "cat_names": cats, "cont_names": conts, "y_block": y_block, "splits": splits}
    if isinstance(data, DataLoaders | TabularPandas):
        twice = [name for name, value in {**given, "valid_idx": valid_idx}.items() if value is not None]
        if twice:
            raise ArgumentError(f"{', '.join(twice)} belong to the loaders, which are given: make them so.")
        dls = data.dataloaders(ROWS_AT_ONCE) if isinstance(data, TabularPandas) else data
    else:
        dls = TabularDataLoaders.from_df(
            data, procs=[Categorify, FillMissing], valid_idx=valid_idx, valid_pct=pct, seed=seed, **given
        )
    if not isinstance(getattr(dls.train, "dataset", None), TableDataset):
        raise ArgumentError("tree_learner needs loaders of a table: TabularDataLoaders.from_df(...).")
    return dls.new(bs=ROWS_AT_ONCE, drop_last=False)


def _target(dataset: TableDataset) -> Kind:
    if len(dataset.kinds) <= dataset.n_inp:
        raise ArgumentError("The table has no target: pass y_names=... when making the loaders.")
    return dataset.kinds[dataset.n_inp]


def _answers(target: Kind) -> str:
    if isinstance(target, Category):
        return "classes"
    if isinstance(target, MultiCategory):
        return "labels"
    if isinstance(target, Number):
        return "numbers"
    raise ArgumentError(f"Trees predict classes, labels or numbers; the target is a {type(target).__name__}.")


def _for_columns(estimator: Any, answers: str, n_out: int) -> Any:
    """Return an estimator that predicts all columns of the target: one that cannot is fitted to each by itself."""
    if answers == "classes" or (answers == "numbers" and n_out == 1):
        return estimator
    from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
    from sklearn.utils import get_tags

    if get_tags(estimator).target_tags.multi_output:
        return estimator
    return (MultiOutputClassifier if answers == "labels" else MultiOutputRegressor)(estimator)


def _vectors(dataset: TableDataset, net: Learner) -> list[Tensor]:
    """Return the vectors that a net has learnt for the levels of each category.

    Raises:
        ArgumentError: the net is of another table.
    """
    theirs, model = table_parts(net)
    if theirs.kinds[0] != dataset.kinds[0]:
        raise ArgumentError(
            "The net of `embeddings` has other categories or levels than this table. Make both from the same loaders."
        )
    return [embed.weight for embed in model.embeds]
