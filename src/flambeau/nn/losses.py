"""After this page you know each loss, and why it carries the activation and the decoding of the predictions it trains.

A model ends in raw numbers. The loss says what they mean: `activation` turns them into probabilities (or leaves them),
`decodes` turns activated predictions into answers. That is how predictions come back as classes.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.foundation.errors import ArgumentError, ShapeError

Reduction = Literal["mean", "sum", "none"]
LossFunction = Callable[..., Tensor]


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


class Loss(nn.Module, ABC):
    """Measure how wrong predictions are, and know how to read them.

    `target_kind` says what targets it wants: "classes" (integer class indices) or "numbers" (floats shaped like the
    prediction). `reduction` may be changed at any time; "none" keeps one loss per element.
    """

    target_kind: Literal["classes", "numbers"] = "numbers"
    weight: Tensor | None

    def __init__(self, reduction: Reduction = "mean", weight: Tensor | Sequence[float] | None = None) -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ArgumentError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}.")
        self.reduction: Reduction = reduction
        self.register_buffer("weight", None if weight is None else torch.as_tensor(weight, dtype=torch.float32))

    def _weight_for(self, prediction: Tensor) -> Tensor | None:
        return None if self.weight is None else self.weight.to(prediction)

    def _reduce(self, losses: Tensor) -> Tensor:
        if self.reduction == "mean":
            return losses.mean()
        return losses.sum() if self.reduction == "sum" else losses

    @abstractmethod
    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss; raise `ShapeError` where the two do not fit."""

    def activation(self, prediction: Tensor) -> Tensor:
        """Turn raw predictions into what they mean; this one leaves them as they are."""
        return prediction

    def decodes(self, prediction: Tensor) -> Tensor:
        """Turn activated predictions into answers; this one leaves them as they are."""
        return prediction


def _class_pairs(prediction: Tensor, target: Tensor, axis: int, name: str) -> tuple[Tensor, Tensor, torch.Size]:
    """Arrange for torch's cross entropy (classes on axis 1); return also the shape of the elementwise losses."""
    if prediction.ndim < 2:
        raise ShapeError(
            f"{name} needs predictions of shape (items, classes), got {_shape(prediction)}. "
            "Let the model end in one output per class."
        )
    n_classes = prediction.shape[axis]
    if n_classes == 1:
        raise ShapeError(
            f"{name} got predictions of shape {_shape(prediction)}: one output can only ever be class 0. "
            f"Give the model n_out=2 or more, or use BCEWithLogitsLossFlat for yes or no."
        )
    wanted = prediction.shape[:axis] + (prediction.shape[axis + 1 :] if axis != -1 else ())
    if target.is_floating_point():
        # one-hot and mixed-up targets are distributions over the classes
        if target.shape == prediction.shape:
            return prediction.movedim(axis, 1), target.movedim(axis, 1), wanted
        raise ShapeError(
            f"{name} needs class numbers (integers) of shape {tuple(wanted)} as targets, got {target.dtype} of shape "
            f"{_shape(target)}. For numbers use MSELossFlat; for classes give int64 targets."
        )
    if target.numel() * n_classes != prediction.numel():
        hint = ""
        if target.shape == prediction.shape:
            hint = " The targets look one-hot: use BCEWithLogitsLossFlat for several labels per item, or target.argmax."
        elif prediction.ndim > 2 and target.ndim > 1:
            hint = f" Classes were read on axis {axis}; for masks use CrossEntropyLossFlat(axis=1)."
        raise ShapeError(
            f"{name} got predictions of shape {_shape(prediction)} ({n_classes} classes on axis {axis}), so targets of "
            f"shape {tuple(wanted)} were expected, but they are {_shape(target)}.{hint}"
        )
    if target.dtype != torch.int64:
        target = target.long()
    if axis in (1, 1 - prediction.ndim) and target.shape == wanted:
        return prediction, target, wanted
    return prediction.movedim(axis, -1).reshape(-1, n_classes), target.reshape(-1), wanted


def _explain_index(name: str, target: Tensor, n_classes: int, ignore_index: int | None) -> ShapeError | None:
    counted = target if ignore_index is None else target[target != ignore_index]
    wrong = counted[(counted < 0) | (counted >= n_classes)]
    if wrong.numel() == 0:
        return None
    index = int(wrong[0])
    hint = f" If {index} marks what should not count, pass ignore_index={index}." if index in (255, -1) else ""
    return ShapeError(
        f"{name} met class {index}, but the model has {n_classes} outputs, so classes are 0 to {n_classes - 1}. "
        f"Give the model n_out={index + 1} or more, or mend the labels.{hint}"
        if index >= 0
        else f"{name} met class {index}; classes are 0 to {n_classes - 1}.{hint}"
    )


class CrossEntropyLossFlat(Loss):
    """Score one class out of several: minus the log of the probability given to the true class.

    Prediction `(batch, ..., classes)` with the classes on `axis` (1 for segmentation), target `(batch, ...)` of class
    numbers, or floats shaped like the prediction (distributions). Elements equal to `ignore_index` do not count.
    `label_smoothing` spreads that much of the target evenly over all classes (Szegedy 2016).
    """

    target_kind = "classes"

    def __init__(
        self,
        axis: int = -1,
        weight: Tensor | Sequence[float] | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction, weight)
        self.axis, self.ignore_index, self.label_smoothing = axis, ignore_index, label_smoothing

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the cross entropy."""
        scores, wanted, shape = _class_pairs(prediction, target, self.axis, "Cross entropy")
        try:
            loss = F.cross_entropy(
                scores,
                wanted,
                weight=self._weight_for(prediction),
                ignore_index=self.ignore_index,
                reduction=self.reduction,
                label_smoothing=self.label_smoothing,
            )
        except (IndexError, RuntimeError) as error:
            # asked only now, because looking at the targets before would make every step wait for the device
            explained = _class_error(self, prediction, wanted)
            if explained is None:
                raise
            raise explained from error
        return loss.reshape(shape) if self.reduction == "none" else loss

    def activation(self, prediction: Tensor) -> Tensor:
        """Return probabilities that sum to 1 over the classes (softmax)."""
        return prediction.softmax(self.axis)

    def decodes(self, prediction: Tensor) -> Tensor:
        """Return the likeliest class."""
        return prediction.argmax(self.axis)


def _class_error(loss: CrossEntropyLossFlat | FocalLossFlat, prediction: Tensor, target: Tensor) -> ShapeError | None:
    n_classes = prediction.shape[loss.axis]
    if loss.weight is not None and loss.weight.numel() != n_classes:
        return ShapeError(f"Cross entropy got {loss.weight.numel()} class weights for {n_classes} classes.")
    # after a failed kernel a GPU can no longer be asked
    if target.is_floating_point() or target.device.type != "cpu":
        return None
    return _explain_index("Cross entropy", target, n_classes, getattr(loss, "ignore_index", None))


def LabelSmoothingCrossEntropy(
    eps: float = 0.1, weight: Tensor | Sequence[float] | None = None, reduction: Reduction = "mean"
) -> CrossEntropyLossFlat:
    """Make a cross entropy over axis 1 whose targets give `eps` evenly to all classes (Szegedy 2016)."""
    return CrossEntropyLossFlat(axis=1, weight=weight, reduction=reduction, label_smoothing=eps)


def LabelSmoothingCrossEntropyFlat(
    axis: int = -1, eps: float = 0.1, weight: Tensor | Sequence[float] | None = None, reduction: Reduction = "mean"
) -> CrossEntropyLossFlat:
    """Make a cross entropy over `axis` whose targets give `eps` evenly to all classes."""
    return CrossEntropyLossFlat(axis=axis, weight=weight, reduction=reduction, label_smoothing=eps)


class FocalLossFlat(Loss):
    """Score classes with less weight on what is already right: `-(1 - p)^gamma log p` (Lin 2017, equation 4).

    `weight` is the paper's alpha, one per class; it does not enter p. Shapes as in `CrossEntropyLossFlat`.
    """

    target_kind = "classes"

    def __init__(
        self,
        gamma: float = 2.0,
        axis: int = -1,
        weight: Tensor | Sequence[float] | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction, weight)
        self.gamma, self.axis = gamma, axis

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the focal loss."""
        scores, wanted, shape = _class_pairs(prediction, target, self.axis, "Focal loss")
        if wanted.is_floating_point():
            raise ShapeError("Focal loss needs class numbers (integers) as targets, not distributions over classes.")
        try:
            log_of_true = -F.cross_entropy(scores, wanted, reduction="none")
        except (IndexError, RuntimeError) as error:
            explained = _class_error(self, prediction, wanted)
            if explained is None:
                raise
            raise explained from error
        losses = -((1 - log_of_true.exp()) ** self.gamma) * log_of_true
        weight = self._weight_for(prediction)
        if weight is not None:
            losses = losses * weight[wanted]
        return self._reduce(losses.reshape(shape))

    def activation(self, prediction: Tensor) -> Tensor:
        """Return probabilities that sum to 1 over the classes (softmax)."""
        return prediction.softmax(self.axis)

    def decodes(self, prediction: Tensor) -> Tensor:
        """Return the likeliest class."""
        return prediction.argmax(self.axis)


def FocalLoss(
    gamma: float = 2.0, weight: Tensor | Sequence[float] | None = None, reduction: Reduction = "mean"
) -> FocalLossFlat:
    """Make a focal loss whose classes lie on axis 1."""
    return FocalLossFlat(gamma, 1, weight, reduction)


class DiceLoss(Loss):
    """Score the overlap of classes: `1 - 2 |A and B| / (|A| + |B|)` per item and class (Milletari 2016).

    Prediction `(batch, classes, height, width)`, target `(batch, height, width)`. The default is a sum over items and
    classes. With `square_in_union` the predictions are squared below the line, as in the paper.
    """

    target_kind = "classes"

    def __init__(
        self, axis: int = 1, smooth: float = 1e-6, reduction: Reduction = "sum", square_in_union: bool = False
    ) -> None:
        super().__init__(reduction)
        self.axis, self.smooth, self.square_in_union = axis, smooth, square_in_union

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss; without reduction one value per item and class."""
        probabilities = prediction.softmax(self.axis).movedim(self.axis, 1)  # (batch, classes, ...)
        n_classes = probabilities.shape[1]
        if prediction.ndim < 3 or target.shape != probabilities.shape[:1] + probabilities.shape[2:]:
            raise ShapeError(
                f"Dice loss needs predictions (batch, classes, height, width) and targets (batch, height, width), "
                f"got {_shape(prediction)} and {_shape(target)}."
            )
        classes = torch.arange(n_classes, device=target.device).view(1, -1, *[1] * (target.ndim - 1))
        truth = (target.unsqueeze(1) == classes).to(probabilities)  # a class out of range matches none
        dims = tuple(range(2, prediction.ndim))
        overlap = (probabilities * truth).sum(dims)
        total = ((probabilities**2 if self.square_in_union else probabilities) + truth).sum(dims)
        return self._reduce(1 - (2 * overlap + self.smooth) / (total + self.smooth))

    def activation(self, prediction: Tensor) -> Tensor:
        """Return probabilities that sum to 1 over the classes (softmax)."""
        return prediction.softmax(self.axis)

    def decodes(self, prediction: Tensor) -> Tensor:
        """Return the likeliest class."""
        return prediction.argmax(self.axis)


def _like(prediction: Tensor, target: Tensor, name: str, floatify: bool) -> Tensor:
    """Shape `target` as `prediction` where both hold as many numbers per item: (n, 9, 2) as (n, 18).

    With `floatify` it takes the prediction's dtype, too.
    """
    if target.shape[:1] == prediction.shape[:1] and target.numel() == prediction.numel():
        return target.reshape(prediction.shape).to(prediction.dtype if floatify else target.dtype)
    hint = ""
    if target.shape[:1] != prediction.shape[:1]:
        hint = " The numbers of items differ."
    elif target.numel() == target.shape[0] and not target.is_floating_point():
        hint = " The targets look like class numbers: use CrossEntropyLossFlat, or one-hot targets."
    else:
        per_item = target[0].numel() if target.shape[0] else 0
        hint = f" Give the model n_out={per_item}." if per_item else ""
    raise ShapeError(
        f"{name} needs as many numbers in the targets as in the predictions, got predictions of shape "
        f"{_shape(prediction)} and targets of shape {_shape(target)}.{hint}"
    )


class BCEWithLogitsLossFlat(Loss):
    """Score independent yes-or-no answers from raw predictions: `-(y log s(x) + (1 - y) log(1 - s(x)))`, s the sigmoid.

    Prediction and target `(batch, labels)`; `pos_weight` multiplies the loss of the yeses, one number per label.
    """

    pos_weight: Tensor | None

    def __init__(
        self,
        axis: int = -1,
        floatify: bool = True,
        thresh: float = 0.5,
        weight: Tensor | Sequence[float] | None = None,
        reduction: Reduction = "mean",
        pos_weight: Tensor | Sequence[float] | None = None,
    ) -> None:
        super().__init__(reduction, weight)
        self.axis, self.floatify, self.thresh = axis, floatify, thresh
        self.register_buffer(
            "pos_weight", None if pos_weight is None else torch.as_tensor(pos_weight, dtype=torch.float32)
        )

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the binary cross entropy."""
        return F.binary_cross_entropy_with_logits(
            prediction,
            _like(prediction, target, "Binary cross entropy", self.floatify),
            weight=self._weight_for(prediction),
            reduction=self.reduction,
            pos_weight=None if self.pos_weight is None else self.pos_weight.to(prediction),
        )

    def activation(self, prediction: Tensor) -> Tensor:
        """Return a probability for each label (sigmoid)."""
        return prediction.sigmoid()

    def decodes(self, prediction: Tensor) -> Tensor:
        """Return which labels are likelier than `thresh`."""
        return prediction > self.thresh


class BCELossFlat(Loss):
    """Score independent yes-or-no answers from probabilities, for models that end in a sigmoid."""

    def __init__(
        self,
        axis: int = -1,
        floatify: bool = True,
        thresh: float = 0.5,
        weight: Tensor | Sequence[float] | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction, weight)
        self.axis, self.floatify, self.thresh = axis, floatify, thresh

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the binary cross entropy."""
        target = _like(prediction, target, "Binary cross entropy", self.floatify)
        try:
            return F.binary_cross_entropy(prediction, target, self._weight_for(prediction), reduction=self.reduction)
        except RuntimeError as error:
            if prediction.device.type != "cpu" or not bool(((prediction < 0) | (prediction > 1)).any()):
                raise
            raise ShapeError(
                f"BCELossFlat needs predictions between 0 and 1, got {prediction.min():.3g} to {prediction.max():.3g}. "
                "For raw predictions use BCEWithLogitsLossFlat."
            ) from error

    def decodes(self, prediction: Tensor) -> Tensor:
        """Return which labels are likelier than `thresh`."""
        return prediction > self.thresh


class _NumbersLoss(Loss):
    """Score numbers by their differences; prediction and target hold the same count per item."""

    def __init__(self, axis: int = -1, floatify: bool = True, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.axis, self.floatify = axis, floatify


class MSELossFlat(_NumbersLoss):
    """Score numbers by the mean of the squared differences; prediction and target hold the same count per item."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the squared error."""
        target = _like(prediction, target, "Mean squared error", self.floatify)
        return F.mse_loss(prediction, target, reduction=self.reduction)


class L1LossFlat(_NumbersLoss):
    """Score numbers by the mean of the absolute differences, which outliers pull less than squares."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the absolute error."""
        target = _like(prediction, target, "Mean absolute error", self.floatify)
        return F.l1_loss(prediction, target, reduction=self.reduction)


def _takes_reduction(loss_func: LossFunction) -> bool:
    try:
        return "reduction" in inspect.signature(loss_func).parameters
    except (TypeError, ValueError):
        return False


def can_unreduce(loss_func: LossFunction) -> bool:
    """Tell whether `unreduced` can give this loss one value per item."""
    inner = loss_func.func if isinstance(loss_func, partial) else loss_func
    return isinstance(getattr(inner, "reduction", None), str) or _takes_reduction(loss_func)


@contextmanager
def unreduced(loss_func: LossFunction) -> Iterator[LossFunction]:
    """Give a function of `(prediction, *targets)` that returns one loss per item, shape `(batch,)`.

    A loss object is switched to `reduction="none"` until the block ends; a function is called with that argument. The
    elements of one item (pixels, tokens, columns) are averaged, without those that the loss's `ignore_index` marks.
    Raise `ArgumentError` for a loss that has neither.
    """
    name = getattr(loss_func, "__name__", type(loss_func).__name__)
    if not can_unreduce(loss_func):
        raise ArgumentError(
            f"{name} gives one number per batch and takes no 'reduction', so the loss of a single item is unknown. "
            "Add an argument reduction='mean' that 'none' turns off, or use a loss of torch or flambeau."
        )
    holder: Any = loss_func.func if isinstance(loss_func, partial) else loss_func
    before, ignored = getattr(holder, "reduction", None), getattr(holder, "ignore_index", None)
    elementwise = loss_func
    if isinstance(before, str):
        holder.reduction = "none"
    else:
        elementwise = partial(loss_func, reduction="none")

    def per_item(prediction: Tensor, *targets: Tensor) -> Tensor:
        losses = elementwise(prediction, *targets)
        n_items = len(losses) if ignored is not None and losses.ndim > 1 else prediction.shape[0]
        if losses.ndim == 0 or losses.numel() % n_items:
            raise ShapeError(
                f"{name} with reduction='none' gave shape {_shape(losses)} for {n_items} items; "
                "one or more losses per item were expected."
            )
        if losses.shape == (n_items,):
            return losses
        losses = losses.reshape(n_items, -1)
        if ignored is None or targets[0].numel() != losses.numel():
            return losses.mean(1)
        counted = targets[0].reshape(n_items, -1) != ignored
        return (losses * counted).sum(1) / counted.sum(1).clamp(min=1)

    try:
        yield per_item
    finally:
        if isinstance(before, str):
            holder.reduction = before


def _identity(prediction: Tensor) -> Tensor:
    return prediction


def _class_axis(prediction: Tensor) -> int:
    return 1 if prediction.ndim > 1 else 0  # where torch's own cross entropy looks for the classes


def _softmax(prediction: Tensor) -> Tensor:
    return prediction.softmax(_class_axis(prediction))


def _argmax(prediction: Tensor) -> Tensor:
    return prediction.argmax(_class_axis(prediction))


def _likelier_than_half(prediction: Tensor) -> Tensor:
    return prediction > 0.5


def _is_one_of(loss_func: LossFunction, function: LossFunction, module: type[nn.Module]) -> bool:
    inner = loss_func.func if isinstance(loss_func, partial) else loss_func
    return inner is function or isinstance(inner, module)


def activation_of(loss_func: LossFunction) -> Callable[[Tensor], Tensor]:
    """Return what turns raw predictions into probabilities for this loss; the identity where nothing is known."""
    own = getattr(loss_func, "activation", None)
    if callable(own):
        return own
    if _is_one_of(loss_func, F.cross_entropy, nn.CrossEntropyLoss):
        return _softmax
    if _is_one_of(loss_func, F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss):
        return torch.sigmoid
    return _identity


def decode_of(loss_func: LossFunction) -> Callable[[Tensor], Tensor]:
    """Return what turns activated predictions into answers for this loss; the identity where nothing is known."""
    own = getattr(loss_func, "decodes", None)
    if callable(own):
        return own
    if _is_one_of(loss_func, F.cross_entropy, nn.CrossEntropyLoss):
        return _argmax
    if _is_one_of(loss_func, F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss):
        return _likelier_than_half
    return _identity
