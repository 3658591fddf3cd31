"""All a notebook on ratings needs: `from flambeau.collab.all import *` is the only line that changes in course code."""

import itertools
import json
import math
import os
import random
import re
import time
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy import array
from torch import Tensor, nn, optim

from flambeau.collab.cold_measure import cold_start_table
from flambeau.collab.cold_start import ColdStart
from flambeau.collab.data_loaders import CollabDataLoaders
from flambeau.collab.implicit import BPRLoss, implicit_learner
from flambeau.collab.learner import CollabLearner, collab_learner
from flambeau.collab.models import EmbeddingDotBias, EmbeddingNN, get_emb_sz
from flambeau.collab.splits import LeaveLastOutSplitter
from flambeau.collab.taste import Taste
from flambeau.course.names import load_pickle, save_pickle
from flambeau.data.archives import file_extract
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.download import download_url, untar_data
from flambeau.data.loaders import DataLoader
from flambeau.data.splitters import ColSplitter, GroupSplitter, IndexSplitter, RandomSplitter, TimeSplitter
from flambeau.data.urls import URLs
from flambeau.foundation.devices import default_device
from flambeau.foundation.lazy import LazyModule
from flambeau.foundation.lists import L, first, listify, noop, range_of
from flambeau.foundation.paths import Path
from flambeau.foundation.seeds import no_random, set_seed
from flambeau.foundation.show_install import show_install
from flambeau.foundation.tensors import one_hot, pca, tensor, to_np
from flambeau.nn.layers import Embedding, LinBnDrop, Module, SigmoidRange, sequential, sigmoid_range
from flambeau.nn.losses import BCEWithLogitsLossFlat, L1LossFlat, MSELossFlat
from flambeau.nn.metric import Metric
from flambeau.nn.metrics import mae, mse, rmse
from flambeau.nn.optimizers import SGD, Adam
from flambeau.nn.param_groups import params
from flambeau.train.callback import Callback
from flambeau.train.callbacks.lr_find import minimum, slide, steep, valley
from flambeau.train.callbacks.tracker import EarlyStoppingCallback, SaveModelCallback
from flambeau.train.learner import Learner
from flambeau.train.load_learner import load_learner

pd = LazyModule("pandas")
plt = LazyModule("matplotlib.pyplot")

__all__ = [
    "itertools", "json", "math", "os", "random", "re", "time", "partial", "np", "torch", "F", "array", "Tensor", "nn",
    "optim", "cold_start_table", "ColdStart", "CollabDataLoaders", "BPRLoss", "implicit_learner", "CollabLearner",
    "collab_learner", "EmbeddingDotBias", "EmbeddingNN", "get_emb_sz", "LeaveLastOutSplitter", "Taste", "load_pickle",
    "save_pickle", "file_extract", "DataLoaders", "download_url", "untar_data", "DataLoader", "ColSplitter",
    "GroupSplitter", "IndexSplitter", "RandomSplitter", "TimeSplitter", "URLs", "default_device", "LazyModule", "L",
    "first", "listify", "noop", "range_of", "Path", "no_random", "set_seed", "show_install", "one_hot", "pca",
    "tensor", "to_np", "Embedding", "LinBnDrop", "Module", "SigmoidRange", "sequential", "sigmoid_range",
    "BCEWithLogitsLossFlat", "L1LossFlat", "MSELossFlat", "Metric", "mae", "mse", "rmse", "SGD", "Adam", "params",
    "Callback", "minimum", "slide", "steep", "valley", "EarlyStoppingCallback", "SaveModelCallback", "Learner",
    "load_learner", "pd", "plt",
]  # fmt: skip
