"""After this page you know the everyday metrics, and how any function, object or name becomes one (`as_metric`).

Every function here also works by itself on whole tensors: `error_rate(predictions, targets)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.foundation.errors import ArgumentError, ShapeError, unknown_name
from flambeau.nn import overlap_metrics, sklearn_metrics
from flambeau.nn.metric import NOT_ASKED, CollectingMetric, MeanMetric, Metric, snake_case


def _same_shape(name: str, answer: Tensor, target: Tensor) -> Tensor:
    if answer.shape == target.shape:
        return target
    if answer.numel() == target.numel() and answer.shape[:1] == target.shape[:1]:
        return target.reshape(answer.shape)
    raise ShapeError(
        f"{name} compares answers of shape {tuple(answer.shape)} with targets of shape {tuple(target.shape)}. Classes "
        "on another axis need axis=; several labels per item need accuracy_multi."
    )


def _asked(name: str, answer: Tensor, target: Tensor) -> Tensor:
    """Return the targets of answers, which may be those to what is asked for alone, as of a masked language model."""
    if answer.ndim == 1 and target.ndim == 2 and len(answer) != target.numel():
        target = target[target != NOT_ASKED]
    return _same_shape(name, answer, target)


def _share(hits: Tensor, target: Tensor) -> Tensor:
    counted = target != NOT_ASKED
    return (hits & counted).sum() / counted.sum()


def accuracy(pred: Tensor, targ: Tensor, axis: int = -1) -> Tensor:
    """Return the share of right answers, the answer being the likeliest class on `axis`.

    Targets of -100 do not count, as in the losses: tokens that carry no tag, or that nothing was asked about.
    """
    answer = pred.argmax(axis)
    target = _asked("accuracy", answer, targ)
    return _share(answer == target, target)


def error_rate(pred: Tensor, targ: Tensor, axis: int = -1) -> Tensor:
    """Return the share of wrong answers: 1 - accuracy."""
    answer = pred.argmax(axis)
    target = _asked("error_rate", answer, targ)
    return _share(answer != target, target)


def top_k_accuracy(pred: Tensor, targ: Tensor, k: int = 5, axis: int = -1) -> Tensor:
    """Return the share of items whose true class is among the `k` likeliest; targets of -100 do not count."""
    if k > pred.shape[axis]:
        raise ArgumentError(f"top_k_accuracy with k={k} needs more than {pred.shape[axis]} classes; pass a smaller k.")
    best = pred.movedim(axis, -1).topk(k)[1]
    target = _asked("top_k_accuracy", best[..., 0], targ)
    return _share((best == target.unsqueeze(-1)).any(-1), target)


def accuracy_multi(pred: Tensor, targ: Tensor, thresh: float = 0.5, sigmoid: bool = True) -> Tensor:
    """Return the share of right labels, a label being given where its probability exceeds `thresh`."""
    answer = (pred.sigmoid() if sigmoid else pred) > thresh
    return (answer == _same_shape("accuracy_multi", answer, targ).bool()).float().mean()


def foreground_acc(pred: Tensor, targ: Tensor, bkg_idx: int = 0, axis: int = 1) -> Tensor:
    """Return the share of right pixels among those that are not background."""
    answer = pred.argmax(axis)
    target = _same_shape("foreground_acc", answer, targ)
    foreground = target != bkg_idx
    return ((answer == target) & foreground).sum() / foreground.sum()


def _numbers(name: str, pred: Tensor, targ: Tensor) -> tuple[Tensor, Tensor]:
    prediction = pred if pred.dtype == torch.float64 else pred.float()
    return prediction, _same_shape(name, prediction, targ).to(prediction.dtype)


def mse(pred: Tensor, targ: Tensor) -> Tensor:
    """Return the mean squared error."""
    return F.mse_loss(*_numbers("mse", pred, targ))


def mae(pred: Tensor, targ: Tensor) -> Tensor:
    """Return the mean absolute error."""
    return F.l1_loss(*_numbers("mae", pred, targ))


def msle(pred: Tensor, targ: Tensor) -> Tensor:
    """Return the mean squared error of `log(1 + value)`."""
    prediction, target = _numbers("msle", pred, targ)
    return F.mse_loss(prediction.log1p(), target.log1p())


def rmse(pred: Tensor, targ: Tensor) -> Tensor:
    """Return the root of the mean squared error."""
    return mse(pred, targ).sqrt()


def _squared_percentage_error_of_exp(pred: Tensor, targ: Tensor) -> Tensor:
    prediction, target = _numbers("exp_rmspe", pred, targ)
    return (1 - (prediction - target).exp()).square().mean()


def exp_rmspe(pred: Tensor, targ: Tensor) -> Tensor:
    """Return the root of the mean squared relative error of `exp(prediction)` to `exp(target)`."""
    return _squared_percentage_error_of_exp(pred, targ).sqrt()


def _mean_cross_entropy(pred: Tensor, targ: Tensor, *_: Any, axis: int, ignore_index: int) -> Tensor:
    scores = pred.movedim(axis, -1)
    return F.cross_entropy(scores.reshape(-1, scores.shape[-1]).float(), targ.reshape(-1), ignore_index=ignore_index)


def _n_counted(pred: Tensor, targ: Tensor, *_: Any, ignore_index: int) -> Tensor:
    return (targ != ignore_index).sum()


class Perplexity(MeanMetric):
    """Measure a language model: the exponential of its mean cross entropy; as if it chose among that many words.

    A learner has computed its loss already, so there the value is the exponential of the mean loss, whatever loss that
    is; `ignore_index` must be that of the loss. By hand, `update` takes raw predictions `(batch, ..., words)` and word
    numbers `(batch, ...)`.
    """

    def __init__(self, axis: int = -1, ignore_index: int = -100) -> None:
        mean = partial(_mean_cross_entropy, axis=axis, ignore_index=ignore_index)
        super().__init__(mean, "perplexity", partial(_n_counted, ignore_index=ignore_index), _exp)

    def update_with_loss(self, loss: Tensor, prediction: Any, *targets: Tensor) -> None:
        """Take in one batch by its mean loss, which is not computed a second time."""
        self._add(loss, self._count(prediction, *targets))


def _exp(mean: float) -> float:
    try:
        return math.exp(mean)
    except OverflowError:  # a loss beyond 709
        return math.inf


def _n_targets(pred: Tensor, targ: Tensor, *_: Any, **__: Any) -> int:
    return targ.numel()


def _n_asked(pred: Tensor, targ: Tensor, *_: Any, **__: Any) -> Tensor:
    return (targ != NOT_ASKED).sum()


def _n_foreground(pred: Tensor, targ: Tensor, bkg_idx: int = 0, axis: int = 1) -> Tensor:
    return (targ != bkg_idx).sum()


@dataclass(frozen=True)
class MeanRule:
    """How a function of a batch adds up to the set: the mean to keep, over what, and what follows at the end."""

    count: Callable[..., int | Tensor] = _n_targets
    mean: Callable[..., Tensor] | None = None
    finish: Callable[[float], float] | None = None


MEANS: dict[Callable[..., Any], MeanRule] = {
    accuracy: MeanRule(count=_n_asked),
    error_rate: MeanRule(count=_n_asked),
    top_k_accuracy: MeanRule(count=_n_asked),
    accuracy_multi: MeanRule(),
    foreground_acc: MeanRule(count=_n_foreground),
    mse: MeanRule(),
    mae: MeanRule(),
    msle: MeanRule(),
    rmse: MeanRule(mean=mse, finish=math.sqrt),
    exp_rmspe: MeanRule(mean=_squared_percentage_error_of_exp, finish=math.sqrt),
}


class _Adapted(Metric):
    """Drive an object of another library that has reset, update and compute, such as those of torchmetrics."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        if hasattr(inner, "sync_on_compute"):
            # of several processes each sees all items already: torchmetrics would count them once a process
            inner.sync_on_compute = False

    @property
    def name(self) -> str:
        """Its own name, or that of its class."""
        own = getattr(self._inner, "name", None)
        return own if isinstance(own, str) else snake_case(type(self._inner).__name__)

    def reset(self) -> None:
        """Forget all batches."""
        self._inner.reset()

    def update(self, prediction: Tensor, *targets: Tensor) -> None:
        """Take in one batch."""
        if isinstance(self._inner, nn.Module):
            self._inner.to(prediction.device)
        self._inner.update(prediction, *targets)

    def compute(self) -> float | Tensor:
        """Return the value over all batches."""
        value: float | Tensor = self._inner.compute()
        return value


@cache
def named_metrics() -> dict[str, Callable[..., Any]]:
    """Return every metric of flambeau by its name: functions, and what makes a metric when called."""
    by_name: dict[str, Callable[..., Any]] = {function.__name__: function for function in MEANS}
    makers = [
        Perplexity,
        *(getattr(overlap_metrics, name) for name in ("Dice", "DiceMulti", "JaccardCoeff", "JaccardCoeffMulti")),
        *(getattr(sklearn_metrics, name) for name in _SKLEARN_NAMES),
    ]
    return by_name | {snake_case(maker.__name__): maker for maker in makers}


_SKLEARN_NAMES = (
    *("F1Score", "FBeta", "Precision", "Recall", "Jaccard", "BalancedAccuracy", "CohenKappa", "HammingLoss"),
    *("MatthewsCorrCoef", "FBetaMulti"),
    *("BrierScore", "RocAuc", "RocAucBinary", "APScoreBinary", "ExplainedVariance", "R2Score"),
    *("F1ScoreMulti", "PrecisionMulti", "RecallMulti", "JaccardMulti", "HammingLossMulti", "RocAucMulti"),
    *("APScoreMulti", "MatthewsCorrCoefMulti", "BrierScoreMulti", "PearsonCorrCoef", "SpearmanCorrCoef"),
)


def as_metric(source: Any) -> Metric:
    """Make a metric of a metric, a function, a `functools.partial`, a name, or an object with reset/update/compute.

    The functions of this page that are means add up exactly over the set; any other function of
    `(prediction, *targets)` is called once on the whole set.
    """
    if isinstance(source, Metric):
        return source
    if isinstance(source, str):
        known = named_metrics()
        if source not in known:
            raise unknown_name("metric", source, known)
        return as_metric(known[source] if known[source] in MEANS else known[source]())
    if isinstance(source, type):
        if issubclass(source, Metric):
            return source()
        raise ArgumentError(f"A metric was expected, got the class {source.__name__}; make one: {source.__name__}().")
    if all(callable(getattr(source, verb, None)) for verb in ("reset", "update", "compute")):
        return _Adapted(source)
    if not callable(source):
        raise ArgumentError(
            f"A metric is a function of (predictions, targets), a name such as 'accuracy', or a Metric; got {source!r}."
        )
    function = source
    while isinstance(function, partial):
        function = function.func
    name = getattr(function, "__name__", snake_case(type(function).__name__)).strip("<>")
    # by identity: a callable object of the user need not be hashable
    rule = next((rule for known_mean, rule in MEANS.items() if known_mean is function), None)
    if rule is None and any(function is maker for maker in named_metrics().values()):
        # F1Score without brackets, or partial(F1Score, average="macro")
        made: Metric = source()
        return made
    if rule is None:
        return CollectingMetric(source, name)
    if not isinstance(source, partial):
        return MeanMetric(rule.mean or source, name, rule.count, rule.finish)
    settings = source.keywords
    mean = source if rule.mean is None else partial(rule.mean, *source.args, **settings)
    return MeanMetric(mean, name, partial(rule.count, **settings), rule.finish)
