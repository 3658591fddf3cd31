"""Everything a vision notebook needs: `from flambeau.vision.all import *` is the only line that changes in course code."""

import itertools
import json
import math
import os
import random
import re
import shutil
import time
import warnings
from collections import Counter, defaultdict
from functools import partial
from types import SimpleNamespace

import numpy as np
import PIL
import torch
import torch.nn.functional as F
from numpy import array
from torch import Tensor, nn, optim

from flambeau.course.names import Inf, defaults, fastuple, load_pickle, save_pickle
from flambeau.data.block import CategoryBlock, DataBlock, MultiCategoryBlock, RegressionBlock, TransformBlock
from flambeau.data.categorize import (
    Categorize,
    EncodedMultiCategorize,
    MultiCategorize,
    OneHotEncode,
    RegressionSetup,
)
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.dataset import Datasets, TfmdLists
from flambeau.data.archives import file_extract
from flambeau.data.download import download_data, download_url, untar_data
from flambeau.data.getters import (
    AttrGetter,
    FileGetter,
    ImageGetter,
    ItemGetter,
    get_files,
    get_image_files,
    get_text_files,
    image_extensions,
)
from flambeau.data.labels import CategoryMap, ColReader, RegexLabeller, parent_label, using_attr
from flambeau.data.loaders import DataLoader
from flambeau.data.normalize import IntToFloatTensor, Normalize, ToTensor
from flambeau.data.pipeline import Pipeline
from flambeau.data.splitters import (
    ColSplitter,
    EndSplitter,
    FileSplitter,
    FuncSplitter,
    GrandparentSplitter,
    GroupSplitter,
    IndexSplitter,
    KFoldSplitter,
    MaskSplitter,
    RandomSplitter,
    RandomSubsetSplitter,
    TimeSplitter,
    TrainTestSplitter,
)
from flambeau.data.transform import ItemTransform, Transform
from flambeau.data.urls import URLs
from flambeau.foundation.devices import default_device
from flambeau.foundation.lazy import LazyModule
from flambeau.foundation.lists import L, coll_repr, first, listify, noop, range_of
from flambeau.foundation.nested import to_cpu, to_detach, to_device, to_float, to_half
from flambeau.foundation.parallel import parallel
from flambeau.foundation.paths import Path
from flambeau.foundation.plotting import get_grid, show_image, show_images, show_titled_image, subplots
from flambeau.foundation.seeds import no_random, set_seed
from flambeau.foundation.show_install import show_install
from flambeau.foundation.tensors import one_hot, tensor, to_np
from flambeau.interpret.interpretation import (
    ClassificationInterpretation,
    Interpretation,
    SegmentationInterpretation,
)
from flambeau.nn.attention import SelfAttention, SimpleSelfAttention
from flambeau.nn.blocks import ResBlock, SEBlock, SimpleCNN
from flambeau.nn.hooks import Hook, Hooks, hook_output, hook_outputs, model_sizes, num_features_model
from flambeau.nn.init import apply_init
from flambeau.nn.layers import BatchNorm, ConvLayer, Embedding, Flatten, LinBnDrop, Module, NormType, sequential, sigmoid_range
from flambeau.nn.losses import (
    BCELossFlat,
    BCEWithLogitsLossFlat,
    CrossEntropyLossFlat,
    DiceLoss,
    FocalLoss,
    FocalLossFlat,
    L1LossFlat,
    LabelSmoothingCrossEntropy,
    LabelSmoothingCrossEntropyFlat,
    MSELossFlat,
)
from flambeau.nn.metrics import (
    accuracy,
    accuracy_multi,
    error_rate,
    exp_rmspe,
    foreground_acc,
    mae,
    mse,
    msle,
    rmse,
    top_k_accuracy,
)
from flambeau.nn.optimizers import SGD, Adam, OptimWrapper, RAdam, RMSProp
from flambeau.nn.param_groups import params
from flambeau.nn.pooling import AdaptiveConcatPool2d
from flambeau.nn.schedules import SchedCos, SchedExp, SchedLin, SchedNo, SchedPoly, combine_scheds, combined_cos
from flambeau.train.callback import (
    Callback,
    CancelBackwardException,
    CancelBatchException,
    CancelEpochException,
    CancelFitException,
    CancelStepException,
    CancelTrainException,
    CancelValidException,
)
from flambeau.train.callbacks.lr_find import minimum, slide, steep, valley
from flambeau.train.callbacks.precision import MixedPrecision
from flambeau.train.callbacks.recorder import Recorder
from flambeau.train.callbacks.schedule import ParamScheduler
from flambeau.train.learner import Learner
from flambeau.train.load_learner import load_learner
from flambeau.train.predictor import Prediction, Predictor
from flambeau.vision.blocks import ImageBlock, MaskBlock
from flambeau.vision.data_loaders import ImageDataLoaders, SegmentationDataLoaders
from flambeau.vision.images import Image, PILImage, PILImageBW, PILMask
from flambeau.vision.learner import cnn_learner, vision_learner

pd = LazyModule("pandas")
plt = LazyModule("matplotlib.pyplot")
