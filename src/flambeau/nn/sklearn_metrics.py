"""After this page you can use any of scikit-learn's measures as a metric over the whole validation set.

Plain forms read one class per item (the likeliest output), `...Multi` forms read several labels per item (a sigmoid
and a threshold for each output).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.foundation.errors import ArgumentError, ShapeError
from flambeau.nn.metric import NOT_ASKED, CollectingMetric, require_tensor, snake_case


class ActivationType(StrEnum):
    """What a metric does to raw predictions first; `BinarySoftmax` keeps the probability of the last class."""

    No = "no"
    Sigmoid = "sigmoid"
    Softmax = "softmax"
    BinarySoftmax = "binarysoftmax"


class AccumMetric(CollectingMetric):
    """Call `func` once on the predictions and targets of the whole set.

    `dim_argmax` reads the likeliest class on that axis, and leaves out targets of -100; `activation`, then `thresh`,
    apply otherwise. `invert_arg` calls `func(targets, predictions)`; `to_np` hands over numpy arrays; `settings` go to
    `func`. `average=None` among them becomes "binary" where there are two outputs and "macro" where there are more.
    """

    def __init__(
        self,
        func: Callable[..., Any] | str,
        dim_argmax: int | None = None,
        activation: str = ActivationType.No,
        thresh: float | None = None,
        to_np: bool = False,
        invert_arg: bool = False,
        flatten: bool = True,
        name: str | None = None,
        **settings: Any,
    ) -> None:
        self._func, self.settings = func, settings
        self.dim_argmax, self.activation, self.thresh = dim_argmax, ActivationType(activation), thresh
        self.to_np, self.invert_arg, self.flatten = to_np, invert_arg, flatten
        self._n_outputs = 0
        own_name = func if isinstance(func, str) else getattr(func, "__name__", snake_case(type(func).__name__))
        super().__init__(self._evaluate, name or own_name.lstrip("_"))

    def prepare(self, prediction: Any, *targets: Tensor) -> tuple[Any, ...]:
        """Return what to keep of a batch: classes or probabilities, and the targets."""
        require_tensor(prediction, self.name)
        target = targets[0]
        if self.dim_argmax is not None:
            self._n_outputs = prediction.shape[self.dim_argmax]
            prediction = prediction.argmax(self.dim_argmax)
        elif self.activation == ActivationType.Sigmoid:
            prediction = prediction.sigmoid()
        elif self.activation == ActivationType.Softmax:
            prediction = prediction.softmax(-1)
        elif self.activation == ActivationType.BinarySoftmax:
            prediction = prediction.softmax(-1)[..., -1]
        if self.thresh is not None:
            prediction = prediction > self.thresh
        if self.flatten:
            prediction, target = prediction.reshape(-1), target.reshape(-1)
            if self.dim_argmax is not None and len(prediction) != len(target):
                target = target[target != NOT_ASKED]  # a masked language model answers what it was asked alone
            if len(prediction) != len(target):
                raise ShapeError(
                    f"{self.name} got {len(prediction)} predictions for {len(target)} targets. Several labels per "
                    "item need a ...Multi metric; classes on another axis need axis=."
                )
        return prediction, target

    def _evaluate(self, prediction: Tensor, target: Tensor) -> float:
        settings = dict(self.settings)
        if self.dim_argmax is not None and prediction.shape == target.shape:
            counted = target != NOT_ASKED
            prediction, target = prediction[counted], target[counted]
        if "average" in settings and settings["average"] is None:
            settings["average"] = "binary" if self._n_outputs == 2 else "macro"
        columns: list[Any] = [c.float() if c.dtype == torch.bfloat16 else c for c in (prediction, target)]
        if self.to_np:
            columns = [column.cpu().numpy() for column in columns]
        if self.invert_arg:
            columns.reverse()
        return float(self._function_itself()(*columns, **settings))

    def function_name(self) -> str | None:
        """Return the name in `SCORES` of the function that is called; None for one of the user's own."""
        return next((name for name, known in SCORES.items() if known is self._func or known == self._func), None)

    def _function_itself(self) -> Callable[..., Any]:
        if not isinstance(self._func, str):
            return self._func
        import sklearn.metrics

        found: Callable[..., Any] = getattr(sklearn.metrics, self._func)
        return found


def skm_to_fastai(
    func: Callable[..., Any] | str,
    is_class: bool = True,
    thresh: float | None = None,
    axis: int = -1,
    activation: str | None = None,
    **settings: Any,
) -> AccumMetric:
    """Make a metric of a scikit-learn function `func(targets, predictions, **settings)`.

    With `is_class` the predictions become the likeliest class on `axis`, or labels whose sigmoid exceeds `thresh` where
    that is given; otherwise they stay numbers.
    """
    if activation is None:
        activation = ActivationType.Sigmoid if is_class and thresh is not None else ActivationType.No
    return AccumMetric(
        func,
        dim_argmax=axis if is_class and thresh is None else None,
        activation=activation,
        thresh=thresh,
        to_np=True,
        invert_arg=True,
        **settings,
    )


Labels = Sequence[int] | None


def F1Score(axis: int = -1, labels: Labels = None, pos_label: int = 1, average: str | None = None) -> AccumMetric:
    """Measure the harmonic mean of precision and recall; `average` is "binary" for two classes, else "macro"."""
    return skm_to_fastai("f1_score", axis=axis, labels=labels, pos_label=pos_label, average=average)


def FBeta(
    beta: float, axis: int = -1, labels: Labels = None, pos_label: int = 1, average: str | None = None
) -> AccumMetric:
    """Measure the F score that values recall `beta` times as much; `average` as in `F1Score`."""
    return skm_to_fastai("fbeta_score", axis=axis, beta=beta, labels=labels, pos_label=pos_label, average=average)


def Precision(axis: int = -1, labels: Labels = None, pos_label: int = 1, average: str | None = None) -> AccumMetric:
    """Measure how many of the finds are right; `average` is "binary" for two classes, else "macro"."""
    return skm_to_fastai("precision_score", axis=axis, labels=labels, pos_label=pos_label, average=average)


def Recall(axis: int = -1, labels: Labels = None, pos_label: int = 1, average: str | None = None) -> AccumMetric:
    """Measure how many of those to find were found; `average` is "binary" for two classes, else "macro"."""
    return skm_to_fastai("recall_score", axis=axis, labels=labels, pos_label=pos_label, average=average)


def Jaccard(axis: int = -1, labels: Labels = None, pos_label: int = 1, average: str | None = None) -> AccumMetric:
    """Measure intersection over union of the classes; `average` is "binary" for two classes, else "macro"."""
    return skm_to_fastai("jaccard_score", axis=axis, labels=labels, pos_label=pos_label, average=average)


def BalancedAccuracy(axis: int = -1, adjusted: bool = False) -> AccumMetric:
    """Measure the accuracy of each class and average: rare classes count as much as common ones."""
    return skm_to_fastai("balanced_accuracy_score", axis=axis, adjusted=adjusted)


def CohenKappa(axis: int = -1, labels: Labels = None, weights: str | None = None) -> AccumMetric:
    """Measure agreement beyond chance; `weights="quadratic"` for ordered grades."""
    return skm_to_fastai("cohen_kappa_score", axis=axis, labels=labels, weights=weights)


def HammingLoss(axis: int = -1) -> AccumMetric:
    """Measure the share of wrong answers."""
    return skm_to_fastai("hamming_loss", axis=axis)


def MatthewsCorrCoef(axis: int = -1) -> AccumMetric:
    """Measure the correlation of true and predicted classes, fair to unequal class sizes."""
    return skm_to_fastai("matthews_corrcoef", axis=axis)


def BrierScore(pos_label: int = 1) -> AccumMetric:
    """Measure the squared error of the probability of class 1 of two."""
    return skm_to_fastai(
        "brier_score_loss", is_class=False, activation=ActivationType.BinarySoftmax, pos_label=pos_label
    )


def _roc_auc_score(targets: np.ndarray, probabilities: np.ndarray, **settings: Any) -> float:
    from sklearn.metrics import roc_auc_score

    n_classes = probabilities.shape[-1]
    missing = n_classes - len(np.unique(targets))
    if missing > 0:
        warnings.warn(
            f"roc_auc_score is undefined: {missing} of {n_classes} classes have no item in the set.",
            stacklevel=2,
        )
        return float("nan")
    return float(roc_auc_score(targets, probabilities[:, 1] if n_classes == 2 else probabilities, **settings))


def RocAuc(
    axis: int = -1, average: str = "macro", max_fpr: float | None = None, multi_class: str = "ovr"
) -> AccumMetric:
    """Measure the area under the ROC curve of one class out of several; nan where a class never occurs."""
    if axis not in (-1, 1):
        raise ArgumentError(f"RocAuc reads predictions (items, classes), so axis must be 1 or -1, got {axis}.")
    return AccumMetric(
        _roc_auc_score,
        activation=ActivationType.Softmax,
        to_np=True,
        invert_arg=True,
        flatten=False,
        average=average,
        max_fpr=max_fpr,
        multi_class=multi_class,
    )


def RocAucBinary(axis: int = -1, average: str = "macro", max_fpr: float | None = None) -> AccumMetric:
    """Measure the area under the ROC curve of the second of two classes."""
    return skm_to_fastai(
        "roc_auc_score",
        is_class=False,
        axis=axis,
        activation=ActivationType.BinarySoftmax,
        max_fpr=max_fpr,
        average=average,
    )


def APScoreBinary(axis: int = -1, average: str = "macro", pos_label: int = 1) -> AccumMetric:
    """Measure the average precision (area under the precision-recall curve) of the second of two classes."""
    return skm_to_fastai(
        "average_precision_score",
        is_class=False,
        axis=axis,
        activation=ActivationType.BinarySoftmax,
        average=average,
        pos_label=pos_label,
    )


def ExplainedVariance() -> AccumMetric:
    """Measure the share of the targets' variance that the predictions explain."""
    return skm_to_fastai("explained_variance_score", is_class=False)


def R2Score() -> AccumMetric:
    """Measure 1 minus the squared error over the targets' variance: 0 is as good as always saying the mean."""
    return skm_to_fastai("r2_score", is_class=False)


def _labels_metric(func: str, thresh: float | None, sigmoid: bool, **settings: Any) -> AccumMetric:
    return AccumMetric(
        func,
        activation=ActivationType.Sigmoid if sigmoid else ActivationType.No,
        thresh=thresh,
        to_np=True,
        invert_arg=True,
        flatten=False,
        **settings,
    )


def F1ScoreMulti(
    thresh: float = 0.5, sigmoid: bool = True, labels: Labels = None, pos_label: int = 1, average: str = "macro"
) -> AccumMetric:
    """Measure the harmonic mean of precision and recall over labels."""
    return _labels_metric("f1_score", thresh, sigmoid, labels=labels, pos_label=pos_label, average=average)


def FBetaMulti(
    beta: float,
    thresh: float = 0.5,
    sigmoid: bool = True,
    labels: Labels = None,
    pos_label: int = 1,
    average: str = "macro",
) -> AccumMetric:
    """Measure the F score that values recall `beta` times as much, over labels."""
    return _labels_metric(
        "fbeta_score", thresh, sigmoid, beta=beta, labels=labels, pos_label=pos_label, average=average
    )


def PrecisionMulti(
    thresh: float = 0.5, sigmoid: bool = True, labels: Labels = None, pos_label: int = 1, average: str = "macro"
) -> AccumMetric:
    """Measure how many of the labels given are right."""
    return _labels_metric("precision_score", thresh, sigmoid, labels=labels, pos_label=pos_label, average=average)


def RecallMulti(
    thresh: float = 0.5, sigmoid: bool = True, labels: Labels = None, pos_label: int = 1, average: str = "macro"
) -> AccumMetric:
    """Measure how many of the true labels were given."""
    return _labels_metric("recall_score", thresh, sigmoid, labels=labels, pos_label=pos_label, average=average)


def JaccardMulti(
    thresh: float = 0.5, sigmoid: bool = True, labels: Labels = None, pos_label: int = 1, average: str = "macro"
) -> AccumMetric:
    """Measure intersection over union of labels."""
    return _labels_metric("jaccard_score", thresh, sigmoid, labels=labels, pos_label=pos_label, average=average)


def HammingLossMulti(thresh: float = 0.5, sigmoid: bool = True) -> AccumMetric:
    """Measure the share of wrong labels."""
    return _labels_metric("hamming_loss", thresh, sigmoid)


def RocAucMulti(sigmoid: bool = True, average: str = "macro", max_fpr: float | None = None) -> AccumMetric:
    """Measure the area under the ROC curve, averaged over labels."""
    return _labels_metric("roc_auc_score", None, sigmoid, average=average, max_fpr=max_fpr)


def APScoreMulti(sigmoid: bool = True, average: str = "macro", pos_label: int = 1) -> AccumMetric:
    """Measure the average precision, averaged over labels."""
    return _labels_metric("average_precision_score", None, sigmoid, average=average, pos_label=pos_label)


def MatthewsCorrCoefMulti(thresh: float = 0.5, sigmoid: bool = True) -> AccumMetric:
    """Measure the correlation of true and predicted labels, all labels taken together."""
    metric = _labels_metric("matthews_corrcoef", thresh, sigmoid)
    metric.flatten = True
    return metric


def BrierScoreMulti(sigmoid: bool = True, pos_label: int = 1) -> AccumMetric:
    """Measure the squared error of the probabilities of labels, all labels taken together."""
    metric = _labels_metric("brier_score_loss", None, sigmoid, pos_label=pos_label)
    metric.flatten = True
    return metric


def _pearsonr(predictions: np.ndarray, targets: np.ndarray) -> float:
    from scipy.stats import pearsonr

    return float(pearsonr(predictions, targets)[0])


def _spearmanr(predictions: np.ndarray, targets: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(predictions, targets)[0])


def PearsonCorrCoef(
    dim_argmax: int | None = None, activation: str = ActivationType.No, thresh: float | None = None
) -> AccumMetric:
    """Measure how far predictions and targets lie on one straight line."""
    return AccumMetric(_pearsonr, dim_argmax, activation, thresh, to_np=True)


def SpearmanCorrCoef(
    dim_argmax: int | None = None, activation: str = ActivationType.No, thresh: float | None = None
) -> AccumMetric:
    """Measure how far predictions and targets agree on the order of the items."""
    return AccumMetric(_spearmanr, dim_argmax, activation, thresh, to_np=True)


# what an export may name: scikit-learn's by their names, and the functions of this page
SCORES: dict[str, Callable[..., Any] | str] = {
    **{
        name: name
        for name in (
            *("f1_score", "fbeta_score", "precision_score", "recall_score", "jaccard_score", "hamming_loss"),
            *("balanced_accuracy_score", "cohen_kappa_score", "matthews_corrcoef", "brier_score_loss"),
            *("roc_auc_score", "average_precision_score", "explained_variance_score", "r2_score"),
        )
    },
    "roc_auc_of_classes": _roc_auc_score,
    "pearsonr": _pearsonr,
    "spearmanr": _spearmanr,
}
