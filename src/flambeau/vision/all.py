"""All a vision notebook needs: `from flambeau.vision.all import *` is the only line that changes in course code."""

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

from flambeau.course.names import Inf, fastuple, load_pickle, save_pickle
from flambeau.course.plots import plot_function
from flambeau.data.archives import file_extract
from flambeau.data.block import CategoryBlock, DataBlock, MultiCategoryBlock, RegressionBlock, TransformBlock
from flambeau.data.bootstrap import Bootstrap, bagging
from flambeau.data.categorize import (
    Categorize,
    EncodedMultiCategorize,
    MultiCategorize,
    OneHotEncode,
    RegressionSetup,
)
from flambeau.data.data_loaders import DataLoaders, get_c
from flambeau.data.dataset import Datasets, TfmdLists, decode_at, show_at
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
from flambeau.data.getters import (
    get_image_files as get_image_files_sorted,  # the book's name; they are sorted anyway
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
from flambeau.nn.hooks import Hook, Hooks, dummy_eval, hook_output, hook_outputs, model_sizes, num_features_model
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
    foreground_acc,
    mae,
    mse,
    msle,
    rmse,
    top_k_accuracy,
)
from flambeau.nn.optimizers import SGD, Adam, OptimWrapper, RAdam, RMSProp
from flambeau.nn.overlap_metrics import Dice, DiceMulti, JaccardCoeff, JaccardCoeffMulti
from flambeau.nn.param_groups import params
from flambeau.nn.pooling import AdaptiveConcatPool1d, AdaptiveConcatPool2d, PixelShuffle_ICNR, PoolFlatten, icnr_init
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
from flambeau.train.callbacks.channels_last import ChannelsLast
from flambeau.train.callbacks.gradients import GradientAccumulation, GradientClip
from flambeau.train.callbacks.loggers import CSVLogger, TensorBoardCallback, Track
from flambeau.train.callbacks.lr_find import minimum, slide, steep, valley
from flambeau.train.callbacks.mixup import CutMix, MixUp
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
from flambeau.vision.architectures import (
    alexnet,
    available_architectures,
    convnext_base,
    convnext_large,
    convnext_small,
    convnext_tiny,
    densenet121,
    densenet161,
    densenet169,
    densenet201,
    efficientnet_b0,
    mobilenet_v2,
    mobilenet_v3_large,
    mobilenet_v3_small,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    squeezenet1_0,
    squeezenet1_1,
    swin_b,
    swin_s,
    swin_t,
    vgg11_bn,
    vgg13_bn,
    vgg16_bn,
    vgg19_bn,
    vit_b_16,
)
from flambeau.vision.augment import aug_transforms, setup_aug_tfms
from flambeau.vision.backbones import create_body
from flambeau.vision.blocks import BBoxBlock, BBoxLblBlock, ImageBlock, MaskBlock, PointBlock
from flambeau.vision.boxes import get_annotations
from flambeau.vision.coordinates import AffineCoord, Dihedral, Flip, RandomResizedCropGPU, Rotate, Warp, Zoom
from flambeau.vision.data_loaders import ImageDataLoaders, SegmentationDataLoaders
from flambeau.vision.erasing import RandomErasing
from flambeau.vision.files import download_images, resize_image, resize_images, verify_image, verify_images
from flambeau.vision.geometry import PadMode
from flambeau.vision.heads import create_head
from flambeau.vision.images import (
    Image,
    PILImage,
    PILImageBW,
    PILMask,
    cifar_stats,
    image2tensor,
    imagenet_stats,
    load_image,
    mnist_stats,
    to_image,
)
from flambeau.vision.learner import cnn_learner, vision_learner
from flambeau.vision.lighting import Brightness, Contrast, Hue, Saturation
from flambeau.vision.models import create_vision_model, model_meta
from flambeau.vision.resize import (
    CropPad,
    DihedralItem,
    FlipItem,
    RandomCrop,
    RandomResizedCrop,
    RatioResize,
    Resize,
    ResizeMethod,
)
from flambeau.vision.tensor_types import PointScaler, TensorBBox, TensorImage, TensorImageBW, TensorMask, TensorPoint
from flambeau.vision.xresnet import XResNet, xresnet18, xresnet34, xresnet50, xresnet101, xresnet152

pd = LazyModule("pandas")
plt = LazyModule("matplotlib.pyplot")

__all__ = [
    "itertools", "json", "math", "os", "random", "re", "shutil", "time", "warnings", "Counter", "defaultdict",
    "partial", "SimpleNamespace", "np", "PIL", "torch", "F", "array", "Tensor", "nn", "optim", "Inf",
    "fastuple", "load_pickle", "save_pickle", "plot_function", "get_c", "decode_at", "show_at",
    "get_image_files_sorted", "CategoryBlock", "DataBlock", "MultiCategoryBlock", "RegressionBlock",
    "TransformBlock", "Categorize", "EncodedMultiCategorize", "MultiCategorize", "OneHotEncode", "RegressionSetup",
    "DataLoaders", "Datasets", "TfmdLists", "file_extract", "download_data", "download_url", "untar_data",
    "AttrGetter", "FileGetter", "ImageGetter", "ItemGetter", "get_files", "get_image_files", "get_text_files",
    "image_extensions", "CategoryMap", "ColReader", "RegexLabeller", "parent_label", "using_attr", "DataLoader",
    "IntToFloatTensor", "Normalize", "ToTensor", "Pipeline", "ColSplitter", "EndSplitter", "FileSplitter",
    "FuncSplitter", "GrandparentSplitter", "GroupSplitter", "IndexSplitter", "KFoldSplitter", "MaskSplitter",
    "RandomSplitter", "RandomSubsetSplitter", "TimeSplitter", "TrainTestSplitter", "ItemTransform", "Transform",
    "URLs", "default_device", "LazyModule", "L", "coll_repr", "first", "listify", "noop", "range_of", "to_cpu",
    "to_detach", "to_device", "to_float", "to_half", "parallel", "Path", "get_grid", "show_image", "show_images",
    "show_titled_image", "subplots", "no_random", "set_seed", "show_install", "one_hot", "tensor", "to_np",
    "ClassificationInterpretation", "Interpretation", "SegmentationInterpretation", "SelfAttention",
    "SimpleSelfAttention", "ResBlock", "SEBlock", "SimpleCNN", "Hook", "Hooks", "hook_output", "hook_outputs",
    "model_sizes", "num_features_model", "apply_init", "BatchNorm", "ConvLayer", "Embedding", "Flatten",
    "LinBnDrop", "Module", "NormType", "sequential", "sigmoid_range", "BCELossFlat", "BCEWithLogitsLossFlat",
    "CrossEntropyLossFlat", "DiceLoss", "FocalLoss", "FocalLossFlat", "L1LossFlat", "LabelSmoothingCrossEntropy",
    "LabelSmoothingCrossEntropyFlat", "MSELossFlat", "accuracy", "accuracy_multi", "error_rate", "exp_rmspe",
    "foreground_acc", "mae", "mse", "msle", "rmse", "MergeLayer", "SequentialEx", "Cat", "SEResNeXtBlock",
    "SeparableBlock", "dummy_eval", "Swish", "Mish", "Lambda", "View", "ResizeBatch", "SigmoidRange",
    "InstanceNorm", "BatchNorm1dFlat", "TimeDistributed", "flatten_model", "in_channels", "Metric", "Perplexity",
    "Dice", "DiceMulti", "JaccardCoeff", "JaccardCoeffMulti", "AdaptiveConcatPool1d", "PoolFlatten", "icnr_init",
    "PixelShuffle_ICNR", "AccumMetric", "skm_to_fastai", "F1Score", "FBeta", "Precision", "Recall", "Jaccard",
    "BalancedAccuracy", "CohenKappa", "HammingLoss", "MatthewsCorrCoef", "BrierScore", "RocAuc", "RocAucBinary",
    "APScoreBinary", "ExplainedVariance", "R2Score", "PearsonCorrCoef", "SpearmanCorrCoef", "F1ScoreMulti",
    "FBetaMulti", "PrecisionMulti", "RecallMulti", "JaccardMulti", "HammingLossMulti", "RocAucMulti",
    "APScoreMulti", "MatthewsCorrCoefMulti", "BrierScoreMulti", "module_summary", "top_k_accuracy", "SGD", "Adam",
    "OptimWrapper", "RAdam", "RMSProp", "params", "AdaptiveConcatPool2d", "SchedCos", "SchedExp", "SchedLin",
    "SchedNo", "SchedPoly", "combine_scheds", "combined_cos", "Callback", "CancelBackwardException",
    "CancelBatchException", "CancelEpochException", "CancelFitException", "CancelStepException",
    "CancelTrainException", "CancelValidException", "minimum", "slide", "steep", "valley", "ActivationStats",
    "GradientAccumulation", "GradientClip", "MixedPrecision", "Recorder", "ParamScheduler",
    "AutoBatchSize", "ChannelsLast", "CSVLogger", "CutMix", "EarlyStoppingCallback", "MixUp", "ModelAverage",
    "ReduceLROnPlateau", "SaveModelCallback", "TensorBoardCallback", "TerminateOnNaNCallback", "Track",
    "TrackerCallback", "Learner",
    "load_learner", "Prediction", "Predictor", "alexnet", "available_architectures", "convnext_base",
    "convnext_large", "convnext_small", "convnext_tiny", "densenet121", "densenet161", "densenet169", "densenet201",
    "efficientnet_b0", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "resnet18", "resnet34",
    "resnet50", "resnet101", "resnet152", "squeezenet1_0", "squeezenet1_1", "swin_b", "swin_s", "swin_t",
    "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn", "vit_b_16", "aug_transforms", "setup_aug_tfms", "create_body",
    "ImageBlock", "MaskBlock", "PointBlock", "AffineCoord", "Dihedral", "Flip", "RandomResizedCropGPU", "Rotate",
    "Warp", "Zoom", "ImageDataLoaders", "SegmentationDataLoaders", "RandomErasing", "download_images",
    "resize_image", "resize_images", "verify_image", "verify_images", "PadMode", "create_head", "Image", "PILImage",
    "PILImageBW", "PILMask", "cifar_stats", "image2tensor", "imagenet_stats", "load_image", "mnist_stats",
    "to_image", "cnn_learner", "vision_learner", "Brightness", "Contrast", "Hue", "Saturation",
    "create_vision_model", "model_meta", "CropPad", "DihedralItem", "FlipItem", "RandomCrop", "RandomResizedCrop",
    "RatioResize", "Resize", "ResizeMethod", "PointScaler", "TensorBBox", "TensorImage", "TensorImageBW",
    "TensorMask", "TensorPoint", "XResNet", "xresnet18", "xresnet34", "xresnet50", "xresnet101", "xresnet152", "pd",
    "plt", "CrossValidation", "Fold", "cross_validate", "LabelIssues", "BBoxBlock", "BBoxLblBlock", "get_annotations",
    "Bootstrap", "bagging", "bag", "Ensemble", "PruningCallback", "tune", "TuneResult",
]  # fmt: skip
