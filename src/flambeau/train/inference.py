"""Using a trained model: after reading it you know how predictions are collected, decoded and averaged.

    prediction --activation of the loss--> probabilities --decodes of the loss--> index --kind of the target--> label
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.data.loaders import DataLoader
from flambeau.foundation.errors import ArgumentError, EmptyError
from flambeau.nn.losses import unreduced
from flambeau.train.callback import Callback

if TYPE_CHECKING:
    from flambeau.train.learner import Learner


def loader_for(learn: Learner, ds_idx: int, dl: Any) -> Any:
    """Return the loader that a call means: `dl` where given, else by its place (0 training in order, 1 validation)."""
    if dl is not None:
        if len(dl) == 0:
            raise EmptyError("The loader has no batch to predict.")
        return dl
    if not -len(learn.dls) <= ds_idx < len(learn.dls):
        raise ArgumentError(f"There are {len(learn.dls)} loaders, numbered from 0; ds_idx={ds_idx} is none of them.")
    loader = learn.dls[ds_idx]
    if isinstance(loader, DataLoader) and loader.training:
        # predictions are wanted for each item, in order and without augmentation
        return loader.new(shuffle=False, drop_last=False, training=False)
    return loader


class Collect(Callback):
    """Keep what the model answers, batch by batch, on the CPU."""

    order = 40

    def __init__(self, learn: Learner, act: Callable[[Tensor], Tensor] | None, with_input: bool, with_loss: bool) -> None:
        self.act = act if act is not None else learn.activation
        self.with_input, self.with_loss = with_input, with_loss
        self.inputs: list[Any] = []
        self.preds: list[Any] = []
        self.targets: list[Any] = []
        self.losses: list[Tensor] = []
        self.indices: list[int] | None = []

    def after_pred(self) -> None:
        # before the loss: a loss must see what the model said, not what is collected
        learn = self.learn
        self.preds.append(_mapped(lambda tensor: self.act(tensor.detach()).cpu(), learn.pred))

    def after_batch(self) -> None:
        learn = self.learn
        if self.with_input:
            self.inputs.append(_mapped(lambda tensor: tensor.detach().cpu(), learn.xb))
        self.targets.append(_mapped(lambda tensor: tensor.detach().cpu(), learn.yb))
        if self.with_loss:
            with unreduced(learn.loss_func) as per_item:
                self.losses.append(per_item(learn.pred, *learn.yb).detach().cpu())
        if self.indices is not None:
            known = learn.batch.indices
            self.indices = None if known is None else [*self.indices, *(int(index) for index in known)]


def _mapped(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple | list):
        return tuple(_mapped(function, part) for part in value)
    return value


def _joined(parts: Sequence[Any]) -> Any:
    """Return the batches' values as one: tensors concatenated, tuples column by column."""
    first = parts[0] if parts else None
    if isinstance(first, Tensor):
        if len({part.shape[1:] for part in parts}) > 1:
            return [item for part in parts for item in part]
        return torch.cat(list(parts))
    if isinstance(first, tuple):
        columns = [_joined(column) for column in zip(*parts, strict=True)]
        return columns[0] if len(columns) == 1 else tuple(columns) if columns else None
    return first


def run(learn: Learner, dl: Any, cbs: Sequence[Callback]) -> None:
    """Run the model over a loader without learning, with more callbacks."""
    was_training = learn.model.training
    with learn.added_cbs(list(cbs)):
        learn.plan_events()
        try:
            learn.run_validation(dl)
        finally:
            learn.model.train(was_training)


def validate(learn: Learner, ds_idx: int = 1, dl: Any = None, cbs: Any = None) -> list[float]:
    """Return the loss and metrics over a loader."""
    run(learn, loader_for(learn, ds_idx, dl), cbs if isinstance(cbs, list | tuple) else [cbs] if cbs else [])
    return learn.recorder.validation_values()


def get_preds(
    learn: Learner,
    ds_idx: int = 1,
    dl: Any = None,
    with_input: bool = False,
    with_decoded: bool = False,
    with_loss: bool = False,
    act: Callable[[Tensor], Tensor] | None = None,
    reorder: bool = True,
    cbs: Any = None,
) -> tuple[Any, ...]:
    """Return predictions and targets of a loader; see `Learner.get_preds`."""
    loader = loader_for(learn, ds_idx, dl)
    collect = Collect(learn, act, with_input, with_loss)
    more = cbs if isinstance(cbs, list | tuple) else [cbs] if cbs else []
    metrics, learn.metrics = learn.metrics, []
    try:
        run(learn, loader, [collect, *more])
    finally:
        learn.metrics = metrics
    preds = _joined(collect.preds)
    found: list[Any] = [preds, _joined(collect.targets)]
    if with_input:
        found.insert(0, _joined(collect.inputs))
    if with_decoded:
        found.append(_mapped(learn.decodes, preds))
    if with_loss:
        found.append(torch.cat(collect.losses))
    order = collect.indices
    if reorder and order is not None and order != list(range(len(order))) and sorted(order) == list(range(len(order))):
        places = torch.argsort(torch.tensor(order))
        found = [_mapped(lambda tensor: tensor[places], value) for value in found]
    return tuple(found)


@torch.no_grad()
def predict_batch(learn: Learner, batch: Batch) -> Any:
    """Return the activated predictions of one prepared batch: no events, no progress."""
    was_training = learn.model.training
    learn.model.eval()
    try:
        with learn.autocast():
            raw = learn.model(*batch.inputs)
    finally:
        learn.model.train(was_training)
    return _mapped(lambda tensor: learn.activation(tensor.float() if tensor.is_floating_point() else tensor).cpu(), raw)


def predict(learn: Learner, item: Any, with_input: bool = False) -> tuple[Any, ...]:
    """Return (decoded answer, its tensor, activated prediction) for one item."""
    loader = learn.dls[1] if len(learn.dls) > 1 else learn.dls[0]
    if not isinstance(loader, DataLoader) or not hasattr(loader.dataset, "with_items"):
        raise ArgumentError(
            "predict needs loaders made from a data block or Datasets, which know how an item becomes a sample. "
            "Call learn.model on a tensor instead."
        )
    batch = loader.prepare([item])
    preds = predict_batch(learn, batch)
    answers = _mapped(learn.decodes, preds)
    kinds = learn.dls.kinds[learn.dls.n_inp :]
    first, answer = _only(preds), _only(answers)
    decoded = answer
    if isinstance(answer, Tensor) and len(kinds) == 1:
        decoded = kinds[0].decoded(answer)
    found = (decoded, answer, first)
    if with_input:
        return (_only(loader.decode(batch.inputs)), *found)
    return found


def _only(values: Any) -> Any:
    """Return the single item of a batch of one."""
    if isinstance(values, tuple):
        return values[0][0] if len(values) == 1 else tuple(value[0] for value in values)
    return values[0]


def tta(
    learn: Learner, ds_idx: int = 1, dl: Any = None, n: int = 4, beta: float | None = 0.25, use_max: bool = False
) -> tuple[Any, ...]:
    """Return predictions averaged over augmented views; see `Learner.tta`.

    With `beta=None` the average of the augmented views and the plain predictions come apart.

    Raises:
        ArgumentError: the loader cannot augment.
    """
    if n < 1:
        raise ArgumentError(f"tta needs at least one augmented view, got n={n}.")
    loader = loader_for(learn, ds_idx, dl)
    if not isinstance(loader, DataLoader):
        raise ArgumentError("tta needs one of flambeau's loaders, which know the augmentations; a plain loader came.")
    train = learn.dls.train
    views = []
    for view in range(n):
        augmented = loader.new(
            shuffle=False, drop_last=False, training=True, after_item=train.after_item, after_batch=train.after_batch
        )
        augmented.epoch = view
        views.append(get_preds(learn, dl=augmented)[0])
    stacked = torch.stack(views)
    augmented_preds = stacked.max(0)[0] if use_max else stacked.mean(0)
    plain, targets = get_preds(learn, dl=loader)
    if use_max:
        return torch.stack([augmented_preds, plain]).max(0)[0], targets
    if beta is None:
        return augmented_preds, plain, targets
    return torch.lerp(augmented_preds, plain, beta), targets


def show_results(
    learn: Learner, ds_idx: int = 1, dl: Any = None, max_n: int = 9, shuffle: bool = True, **options: Any
) -> Any:
    """Draw some items with targets and predictions; see `Learner.show_results`."""
    from flambeau.data.show import show_results as draw

    loader = loader_for(learn, ds_idx, dl)
    if isinstance(loader, DataLoader):
        batch = loader.new(shuffle=shuffle, bs=min(max_n, loader.n)).one_batch()
        columns = loader.decode(batch)
    else:
        raise ArgumentError("show_results needs one of flambeau's loaders, which know what their columns mean.")
    answers = _mapped(learn.decodes, predict_batch(learn, batch))
    n_inp = len(batch.inputs)
    n = min(max_n, batch.n_items)
    answers = answers if isinstance(answers, tuple) else (answers,)
    rows = [[_cpu(column[i]) for column in columns] for i in range(n)]
    return draw(
        [row[:n_inp] for row in rows],
        [row[n_inp:] for row in rows],
        [[answer[i] for answer in answers] for i in range(n)],
        batch.input_kinds,
        batch.target_kinds,
        **options,
    )


def _cpu(value: Any) -> Any:
    return value.detach().cpu() if isinstance(value, Tensor) else value
