"""All a notebook on trees and forests needs; `flambeau.tabular.all` has the same and the nets in full."""

import numpy as np

from flambeau.data.block import CategoryBlock, MultiCategoryBlock, RegressionBlock
from flambeau.data.download import download_url, untar_data
from flambeau.data.splitters import (
    ColSplitter,
    EndSplitter,
    GroupSplitter,
    IndexSplitter,
    KFoldSplitter,
    RandomSplitter,
    TimeSplitter,
    TrainTestSplitter,
)
from flambeau.data.urls import URLs
from flambeau.foundation.lazy import LazyModule
from flambeau.foundation.lists import L, range_of
from flambeau.foundation.paths import Path
from flambeau.foundation.plotting import subplots
from flambeau.foundation.seeds import set_seed
from flambeau.interpret.interpretation import ClassificationInterpretation, Interpretation
from flambeau.nn.metrics import accuracy, accuracy_multi, error_rate, exp_rmspe, mae, mse, msle, rmse
from flambeau.nn.sklearn_metrics import F1Score, Precision, R2Score, Recall, RocAuc, RocAucBinary
from flambeau.tabular.columns import cont_cat_split, df_shrink
from flambeau.tabular.data_loaders import TabularDataLoaders
from flambeau.tabular.dates import add_datepart, add_elapsed_times
from flambeau.tabular.learner import tabular_learner
from flambeau.tabular.procs import Categorify, Dummies, FillMissing, Normalize
from flambeau.tabular.tabular_pandas import TabularPandas
from flambeau.train.cross_validate import cross_validate
from flambeau.train.ensemble import Ensemble, bag
from flambeau.train.load_learner import load_learner
from flambeau.train.predictor import Predictor
from flambeau.train.tune import tune
from flambeau.trees.column_report import column_report
from flambeau.trees.compare import Comparison, compare_models
from flambeau.trees.dependence import partial_dependence
from flambeau.trees.domain import domain_check
from flambeau.trees.drawing import draw_tree
from flambeau.trees.importance import feature_importance
from flambeau.trees.learner import TreeLearner, tree_learner
from flambeau.trees.redundancy import cluster_columns, redundant_columns
from flambeau.trees.waterfall import explain

pd = LazyModule("pandas")
plt = LazyModule("matplotlib.pyplot")

__all__ = [
    "np", "pd", "plt", "CategoryBlock", "MultiCategoryBlock", "RegressionBlock", "download_url", "untar_data", "URLs",
    "ColSplitter", "EndSplitter", "GroupSplitter", "IndexSplitter", "KFoldSplitter", "RandomSplitter", "TimeSplitter",
    "TrainTestSplitter", "LazyModule", "L", "range_of", "Path", "subplots", "set_seed", "ClassificationInterpretation",
    "Interpretation", "accuracy", "accuracy_multi", "error_rate", "exp_rmspe", "mae", "mse", "msle", "rmse", "F1Score",
    "Precision", "R2Score", "Recall", "RocAuc", "RocAucBinary", "cont_cat_split", "df_shrink", "TabularDataLoaders",
    "add_datepart", "add_elapsed_times", "tabular_learner", "Categorify", "Dummies", "FillMissing", "Normalize",
    "TabularPandas", "cross_validate", "Ensemble", "bag", "load_learner", "Predictor", "tune", "column_report",
    "Comparison", "compare_models", "partial_dependence", "domain_check", "draw_tree", "feature_importance",
    "TreeLearner", "tree_learner", "cluster_columns", "redundant_columns", "explain",
]  # fmt: skip
