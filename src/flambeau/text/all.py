"""All a notebook on texts needs: `from flambeau.text.all import *` is the only line that changes in course code."""

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
import torch
import torch.nn.functional as F
from numpy import array
from torch import Tensor, nn, optim

from flambeau.course.names import Inf, fastuple, load_pickle, save_pickle
from flambeau.course.plots import plot_function
from flambeau.data.archives import file_extract
from flambeau.data.block import CategoryBlock, DataBlock, MultiCategoryBlock, RegressionBlock, TransformBlock
from flambeau.data.bootstrap import Bootstrap, bagging
from flambeau.data.categorize import Categorize, EncodedMultiCategorize, MultiCategorize, OneHotEncode, RegressionSetup
from flambeau.data.data_loaders import DataLoaders, get_c
from flambeau.data.dataset import Datasets, TfmdLists, decode_at, show_at
from flambeau.data.download import download_data, download_url, untar_data
from flambeau.data.getters import AttrGetter, FileGetter, ItemGetter, get_files, get_text_files
from flambeau.data.labels import CategoryMap, ColReader, RegexLabeller, parent_label, using_attr
from flambeau.data.loaders import DataLoader
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
from flambeau.foundation.plotting import subplots
from flambeau.foundation.seeds import no_random, set_seed
from flambeau.foundation.show_install import show_install
from flambeau.foundation.tensors import one_hot, tensor, to_np
from flambeau.interpret.interpretation import ClassificationInterpretation, Interpretation
from flambeau.interpret.label_issues import LabelIssues
from flambeau.nn.attention import SelfAttention, SimpleSelfAttention
from flambeau.nn.blocks import (
    Cat,
    MergeLayer,
    ResBlock,
    SEBlock,
    SeparableBlock,
    SequentialEx,
    SEResNeXtBlock,
    SimpleCNN,
)
from flambeau.nn.hooks import Hook, Hooks, hook_output, hook_outputs, model_sizes, num_features_model
from flambeau.nn.init import apply_init
from flambeau.nn.layers import (
    BatchNorm,
    BatchNorm1dFlat,
    ConvLayer,
    Embedding,
    Flatten,
    InstanceNorm,
    Lambda,
    LinBnDrop,
    Mish,
    Module,
    NormType,
    ResizeBatch,
    SigmoidRange,
    Swish,
    TimeDistributed,
    View,
    emb_sz_rule,
    flatten_model,
    in_channels,
    sequential,
    sigmoid_range,
)
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
from flambeau.nn.metric import Metric
from flambeau.nn.metrics import (
    Perplexity,
    accuracy,
    accuracy_multi,
    error_rate,
    exp_rmspe,
    mae,
    mse,
    msle,
    rmse,
    top_k_accuracy,
)
from flambeau.nn.optimizers import SGD, Adam, OptimWrapper, RAdam, RMSProp
from flambeau.nn.param_groups import params
from flambeau.nn.schedules import SchedCos, SchedExp, SchedLin, SchedNo, SchedPoly, combine_scheds, combined_cos
from flambeau.nn.sklearn_metrics import (
    AccumMetric,
    APScoreBinary,
    APScoreMulti,
    BalancedAccuracy,
    BrierScore,
    BrierScoreMulti,
    CohenKappa,
    ExplainedVariance,
    F1Score,
    F1ScoreMulti,
    FBeta,
    FBetaMulti,
    HammingLoss,
    HammingLossMulti,
    Jaccard,
    JaccardMulti,
    MatthewsCorrCoef,
    MatthewsCorrCoefMulti,
    PearsonCorrCoef,
    Precision,
    PrecisionMulti,
    R2Score,
    Recall,
    RecallMulti,
    RocAuc,
    RocAucBinary,
    RocAucMulti,
    SpearmanCorrCoef,
    skm_to_fastai,
)
from flambeau.nn.summary import module_summary
from flambeau.text.attention import AttentionMap, attention
from flambeau.text.attribution import Attribution, attribute
from flambeau.text.awd_lstm import (
    AWD_LSTM,
    EmbeddingDropout,
    RNNDropout,
    WeightDropout,
    awd_lstm_clas_config,
    awd_lstm_lm_config,
    dropout_mask,
)
from flambeau.text.blocks import TextBlock
from flambeau.text.course_names import defaults
from flambeau.text.data_loaders import TextDataLoaders
from flambeau.text.dataset import LMDatasets, TextDatasets
from flambeau.text.documents import Documents
from flambeau.text.generate import decode_spec_tokens
from flambeau.text.learner import LMLearner, TextLearner, language_model_learner, text_classifier_learner
from flambeau.text.loaders import LMDataLoader, SortedDL, pad_input
from flambeau.text.masking import MaskTokens
from flambeau.text.models import (
    LinearDecoder,
    PoolingLinearClassifier,
    SentenceEncoder,
    SequentialRNN,
    get_language_model,
    get_text_classifier,
    masked_concat_pool,
)
from flambeau.text.numericalize import Numericalize, make_vocab
from flambeau.text.rnn_callbacks import ModelResetter, RNNCallback, RNNRegularizer, rnn_cbs
from flambeau.text.rules import (
    fix_html,
    lowercase,
    replace_all_caps,
    replace_maj,
    replace_rep,
    replace_wrep,
    rm_useless_spaces,
    spec_add_spaces,
)
from flambeau.text.special_tokens import BOS, EOS, FLD, PAD, TK_MAJ, TK_REP, TK_UP, TK_WREP, UNK
from flambeau.text.subword import SubwordTokenizer
from flambeau.text.token_store import TokenStore
from flambeau.text.token_tags import TokenTagsBlock, tag_words
from flambeau.text.tokenizer import Tokenizer
from flambeau.text.transformer_learner import TransformerLearner, transformer_learner
from flambeau.text.transformer_tokenizer import TransformerTokenizer
from flambeau.text.word_tokenizer import WordTokenizer
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
from flambeau.train.callbacks.activations import ActivationStats
from flambeau.train.callbacks.average import ModelAverage
from flambeau.train.callbacks.batch_size import AutoBatchSize
from flambeau.train.callbacks.gradients import GradientAccumulation, GradientClip
from flambeau.train.callbacks.loggers import CSVLogger, TensorBoardCallback, Track
from flambeau.train.callbacks.lr_find import minimum, slide, steep, valley
from flambeau.train.callbacks.mixup import MixUp
from flambeau.train.callbacks.precision import MixedPrecision
from flambeau.train.callbacks.pruning import PruningCallback
from flambeau.train.callbacks.recorder import Recorder
from flambeau.train.callbacks.schedule import ParamScheduler
from flambeau.train.callbacks.terminate import TerminateOnNaNCallback
from flambeau.train.callbacks.tracker import (
    EarlyStoppingCallback,
    ReduceLROnPlateau,
    SaveModelCallback,
    TrackerCallback,
)
from flambeau.train.cross_validate import CrossValidation, Fold, cross_validate
from flambeau.train.ensemble import Ensemble, bag
from flambeau.train.learner import Learner
from flambeau.train.load_learner import load_learner
from flambeau.train.predictor import Prediction, Predictor
from flambeau.train.tune import tune
from flambeau.train.tune_result import TuneResult

pd = LazyModule("pandas")
plt = LazyModule("matplotlib.pyplot")

__all__ = [
    "itertools", "json", "math", "os", "random", "re", "shutil", "time", "warnings", "Counter", "defaultdict",
    "partial", "SimpleNamespace", "np", "torch", "F", "array", "Tensor", "nn", "optim", "Inf", "fastuple",
    "load_pickle", "save_pickle", "plot_function", "file_extract", "CategoryBlock", "DataBlock", "MultiCategoryBlock",
    "RegressionBlock", "TransformBlock", "Bootstrap", "bagging", "Categorize", "EncodedMultiCategorize",
    "MultiCategorize", "OneHotEncode", "RegressionSetup", "DataLoaders", "get_c", "Datasets", "TfmdLists",
    "decode_at", "show_at", "download_data", "download_url", "untar_data", "AttrGetter", "FileGetter", "ItemGetter",
    "get_files", "get_text_files", "CategoryMap", "ColReader", "RegexLabeller", "parent_label", "using_attr",
    "DataLoader", "Pipeline", "ColSplitter", "EndSplitter", "FileSplitter", "FuncSplitter", "GrandparentSplitter",
    "GroupSplitter", "IndexSplitter", "KFoldSplitter", "MaskSplitter", "RandomSplitter", "RandomSubsetSplitter",
    "TimeSplitter", "TrainTestSplitter", "ItemTransform", "Transform", "URLs", "default_device", "LazyModule", "L",
    "coll_repr", "first", "listify", "noop", "range_of", "to_cpu", "to_detach", "to_device", "to_float", "to_half",
    "parallel", "Path", "subplots", "no_random", "set_seed", "show_install", "one_hot", "tensor", "to_np",
    "ClassificationInterpretation", "Interpretation", "LabelIssues", "SelfAttention", "SimpleSelfAttention", "Cat",
    "MergeLayer", "ResBlock", "SEBlock", "SeparableBlock", "SequentialEx", "SEResNeXtBlock", "SimpleCNN", "Hook",
    "Hooks", "hook_output", "hook_outputs", "model_sizes", "num_features_model", "apply_init", "BatchNorm",
    "BatchNorm1dFlat", "ConvLayer", "Embedding", "Flatten", "InstanceNorm", "Lambda", "LinBnDrop", "Mish", "Module",
    "NormType", "ResizeBatch", "SigmoidRange", "Swish", "TimeDistributed", "View", "emb_sz_rule", "flatten_model",
    "in_channels", "sequential", "sigmoid_range", "BCELossFlat", "BCEWithLogitsLossFlat", "CrossEntropyLossFlat",
    "DiceLoss", "FocalLoss", "FocalLossFlat", "L1LossFlat", "LabelSmoothingCrossEntropy",
    "LabelSmoothingCrossEntropyFlat", "MSELossFlat", "Metric", "Perplexity", "accuracy", "accuracy_multi",
    "error_rate", "exp_rmspe", "mae", "mse", "msle", "rmse", "top_k_accuracy", "SGD", "Adam", "OptimWrapper", "RAdam",
    "RMSProp", "params", "SchedCos", "SchedExp", "SchedLin", "SchedNo", "SchedPoly", "combine_scheds", "combined_cos",
    "AccumMetric", "APScoreBinary", "APScoreMulti", "BalancedAccuracy", "BrierScore", "BrierScoreMulti", "CohenKappa",
    "ExplainedVariance", "F1Score", "F1ScoreMulti", "FBeta", "FBetaMulti", "HammingLoss", "HammingLossMulti",
    "Jaccard", "JaccardMulti", "MatthewsCorrCoef", "MatthewsCorrCoefMulti", "PearsonCorrCoef", "Precision",
    "PrecisionMulti", "R2Score", "Recall", "RecallMulti", "RocAuc", "RocAucBinary", "RocAucMulti", "SpearmanCorrCoef",
    "skm_to_fastai", "module_summary", "AWD_LSTM", "EmbeddingDropout", "RNNDropout", "WeightDropout",
    "awd_lstm_clas_config", "awd_lstm_lm_config", "dropout_mask", "TextBlock", "defaults", "TextDataLoaders",
    "LMDatasets", "TextDatasets", "Documents", "decode_spec_tokens", "LMLearner", "TextLearner",
    "language_model_learner", "text_classifier_learner", "LMDataLoader", "SortedDL", "pad_input", "LinearDecoder",
    "PoolingLinearClassifier", "SentenceEncoder", "SequentialRNN", "get_language_model", "get_text_classifier",
    "masked_concat_pool", "Numericalize", "make_vocab", "ModelResetter", "RNNCallback", "RNNRegularizer", "rnn_cbs",
    "fix_html", "lowercase", "replace_all_caps", "replace_maj", "replace_rep", "replace_wrep", "rm_useless_spaces",
    "spec_add_spaces", "BOS", "EOS", "FLD", "PAD", "TK_MAJ", "TK_REP", "TK_UP", "TK_WREP", "UNK", "SubwordTokenizer",
    "Tokenizer", "WordTokenizer", "TransformerLearner", "transformer_learner", "TokenTagsBlock", "tag_words",
    "MaskTokens", "TransformerTokenizer", "Attribution", "attribute", "AttentionMap", "attention",
    "TokenStore", "Callback", "CancelBackwardException", "CancelBatchException", "CancelEpochException",
    "CancelFitException", "CancelStepException", "CancelTrainException", "CancelValidException", "ActivationStats",
    "ModelAverage", "AutoBatchSize", "GradientAccumulation", "GradientClip", "CSVLogger", "TensorBoardCallback",
    "Track", "minimum", "slide", "steep", "valley", "MixUp", "MixedPrecision", "PruningCallback", "Recorder",
    "ParamScheduler", "TerminateOnNaNCallback", "EarlyStoppingCallback", "ReduceLROnPlateau", "SaveModelCallback",
    "TrackerCallback", "CrossValidation", "Fold", "cross_validate", "Ensemble", "bag", "Learner", "load_learner",
    "Prediction", "Predictor", "tune", "TuneResult", "pd", "plt",
]  # fmt: skip
