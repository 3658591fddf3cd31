"""Using a trained model: after reading it you know how predictions are collected, decoded and averaged.

    prediction --activation of the loss--> probabilities --decodes of the loss--> index --kind of the target--> label
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flambeau.data.batch import Batch, item_of
from flambeau.data.kinds import Category, Kind, MultiCategory, Number, Plain
from flambeau.data.loaders import DataLoader
from flambeau.data.transform import Augment
from flambeau.foundation.errors import ArgumentError, EmptyError
from flambeau.foundation.nested import apply
from flambeau.nn.losses import unreduced
from flambeau.train.answers import item_words, require_numbers
from flambeau.train.callback import Callback

if TYPE_CHECKING:
    from flambeau.train.learner import Learner


def loader_for(learn: Learner, ds_idx: int, dl: Any) -> Any:
    """Return the loader that a call means: `dl` where given, else by its place (0 training in order, 1 validation).

    No item is left out: a loader that drops its last batch serves it here, and training items come in order and as in
    validation, without augmentation.

    Raises:
        ArgumentError: there is no such loader, or `dl` has no length.
        EmptyError: the loader has no batch.
    """
    loader = _at(learn, ds_idx) if dl is None else dl
    if not hasattr(loader, "__len__"):
        raise ArgumentError(f"dl must have a length, and a {type(dl).__name__} has none; make a list: dl=list(...).")
    if len(loader) == 0:
        raise EmptyError(
            "The loader has no batch. A loaded learner has no items of its own: give it new ones, as "
            "dl=learn.dls.test_dl(items)."
        )
    if isinstance(loader, DataLoader):
        if dl is None and loader.training:
            return loader.new(shuffle=False, drop_last=False, training=False, order=None)
        if loader.drop_last:
            return loader.new(shuffle=False, drop_last=False)
    return loader


def _at(learn: Learner, ds_idx: int) -> Any:
    if ds_idx == 1 and len(learn.dls) == 1:
        return learn.dls.valid  # which tells that there is none
    if not -len(learn.dls) <= ds_idx < len(learn.dls):
        raise ArgumentError(f"There are {len(learn.dls)} loaders, numbered from 0; ds_idx={ds_idx} is none of them.")
    return learn.dls[ds_idx]


class Collect(Callback):
    """Keep what the model answers, batch by batch, on the CPU."""

    order = 40

    def __init__(
        self,
        learn: Learner,
        act: Callable[[Tensor], Tensor] | None,
        with_input: bool,
        with_decoded: bool,
        with_loss: bool,
    ) -> None:
        self.act = act if act is not None else learn.activation
        self.with_input, self.with_decoded, self.with_loss = with_input, with_decoded, with_loss
        self.target_kinds = learn.dls.kinds[learn.dls.n_inp :] if with_decoded else []
        self.inputs: list[Any] = []
        self.preds: list[Any] = []
        self.targets: list[Any] = []
        self.decoded: list[Any] = []
        self.losses: list[Tensor] = []
        self.indices: list[int] | None = []

    def after_batch(self) -> None:
        learn = self.learn
        if learn.pred is None:  # a callback cancelled the batch
            return
        if self.with_loss:
            self.losses.append(losses_of_items(learn))
        activated = _mapped(self.act, learn.pred)
        if self.with_decoded:
            require_numbers(activated, learn.xb, learn.model, self._name)
            answers = _mapped(lambda tensor: learn.decodes(tensor).cpu(), activated)
            answers = by_item(learn.loss_func, answers, learn.yb)
            self.decoded.append(in_pixels(answers, self.target_kinds, learn.batch.picture_size))
        self.preds.append(by_item(learn.loss_func, _mapped(_kept, activated), learn.yb))
        self.targets.append(_mapped(_kept, learn.yb))
        if self.with_input:
            self.inputs.append(_mapped(_kept, learn.xb))
        if self.indices is not None:
            known = learn.batch.indices
            self.indices = None if known is None else [*self.indices, *(int(index) for index in known)]

    def _name(self, place: int) -> str:
        dl, indices = self.learn.dl, self.learn.batch.indices
        if indices is None or not isinstance(dl, DataLoader):
            return f"item {place} of batch {self.learn.iter}"
        return dl.maker.name(int(indices[place]))


def losses_of_items(learn: Learner) -> Tensor:
    """Return the loss of each item of the learner's batch, on the CPU.

    Raises:
        ArgumentError: there are no targets, or the loss cannot tell items apart.
    """
    if not learn.yb:
        raise ArgumentError("These items have no targets and so no losses. Use test_dl(..., with_labels=True).")
    with unreduced(learn.loss_func) as per_item:
        return per_item(learn.pred, *learn.yb).detach().cpu()


def by_item(loss_func: Any, answers: Any, targets: Sequence[Any]) -> Any:
    """Return a list of answers, one an item, where a model answers for what was asked for alone; else as they are.

    The loss tells: that of a masked language model has a `by_item`.
    """
    split = getattr(loss_func, "by_item", None)
    return answers if split is None or not targets else split(answers, targets[0].to(answers.device))


def as_asked(loss_func: Any, answers: Any, targets: Sequence[Any], kinds: Sequence[Kind]) -> Any:
    """Return the decoded answers of a batch, to be shown beside targets: nothing stands where nothing was asked for."""
    ignored = getattr(loss_func, "ignore_index", None)
    found = by_item(loss_func, answers, targets)
    if ignored is None or len(kinds) != 1 or not kinds[0].ragged or not isinstance(found, Tensor):
        return found
    target = targets[0].to(found.device)
    return found.masked_fill(target == ignored, ignored) if target.shape == found.shape else found


def _kept(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu()


def _mapped(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    return apply(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, value)


def _joined(parts: Sequence[Any]) -> Any:
    """Return the batches' values as one: tensors concatenated, tuples and dictionaries column by column.

    Items of different shapes come as a list.
    """
    first = parts[0] if parts else None
    if isinstance(first, Tensor):
        if len({part.shape[1:] for part in parts}) > 1:
            return [item for part in parts for item in part]
        return torch.cat(list(parts))
    if isinstance(first, dict):
        return {key: _joined([part[key] for part in parts]) for key in first}
    if isinstance(first, tuple):
        return tuple(_joined(column) for column in zip(*parts, strict=True))
    return [item for part in parts for item in part] if isinstance(first, list) else first


def _columns(parts: Sequence[tuple[Any, ...]]) -> Any:
    """Return the batches' columns as one value: None for none, a lone column by itself."""
    columns: tuple[Any, ...] = _joined(parts) or ()
    return columns[0] if len(columns) == 1 else columns or None


def _in_order(value: Any, places: Sequence[int]) -> Any:
    if isinstance(value, tuple):
        return tuple(_in_order(column, places) for column in value)
    if isinstance(value, dict):
        return {key: _in_order(column, places) for key, column in value.items()}
    if isinstance(value, list):
        return [value[place] for place in places]
    return value[torch.tensor(places)] if isinstance(value, Tensor) else value


def run(learn: Learner, dl: Any, cbs: Sequence[Callback], metrics: bool = False) -> None:
    """Run the model over a loader without learning, with more callbacks, and with the metrics if asked for.

    May be called in the middle of a fit: what the loop and the recorder were at is put back.
    """
    own_metrics, log = learn.metrics, learn.recorder.log
    try:
        with learn.added_cbs(list(cbs)), learn.aside():
            learn.recorder.log = []
            if not metrics:
                learn.metrics = []
            learn.plan_events()
            learn.run_validation(dl)
    finally:
        learn.metrics, learn.recorder.log = own_metrics, log


def validate(learn: Learner, ds_idx: int = 1, dl: Any = None, cbs: Any = None) -> list[float]:
    """Return the loss and metrics over a loader."""
    run(learn, loader_for(learn, ds_idx, dl), _listed(cbs), metrics=True)
    return learn.recorder.validation_values()


def _listed(cbs: Any) -> list[Any]:
    return [] if cbs is None else list(cbs) if isinstance(cbs, list | tuple) else [cbs]


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
    collect = Collect(learn, act, with_input, with_decoded, with_loss)
    run(learn, loader_for(learn, ds_idx, dl), [collect, *_listed(cbs)])
    found: list[Any] = [_joined(collect.preds), _columns(collect.targets)]
    if with_input:
        found.insert(0, _columns(collect.inputs))
    if with_decoded:
        found.append(_joined(collect.decoded))
    if with_loss:
        found.append(_joined(collect.losses))
    order = collect.indices or []
    places = sorted(range(len(order)), key=order.__getitem__)
    if reorder and places != list(range(len(order))):
        found = [_in_order(value, places) for value in found]
    return tuple(found)


@torch.no_grad()
def predict_batch(learn: Learner, batch: Batch) -> Any:
    """Return the activated predictions of one prepared batch: no events, no progress.

    In full precision also after `to_fp16`, so that an export answers the same. A model that has a `reset`, because it
    carries a state from batch to batch, begins anew.
    """
    was_training = learn.model.training
    learn.model.eval()
    reset = getattr(learn.model, "reset", None)
    if callable(reset):
        reset()
    try:
        raw = learn.model(*batch.inputs)
    finally:
        learn.model.train(was_training)
    return _mapped(lambda tensor: learn.activation(tensor.float() if tensor.is_floating_point() else tensor).cpu(), raw)


def predict(learn: Learner, item: Any, with_input: bool = False) -> tuple[Any, ...]:
    """Return (decoded answer, its tensor, activated prediction) for one item.

    Raises:
        TrainingError: the prediction is NaN.

    Decoded points are in the pixels of the picture that the model sees, as `show_results` draws it: after Resize. Their
    tensor holds the same in -1..1 from edge to edge, so that after a squish `(tensor + 1) / 2 * picture.size` are the
    pixels of the picture that came in.
    """
    loader = learn.dls[1] if len(learn.dls) > 1 else learn.dls[0]
    if not isinstance(loader, DataLoader) or not hasattr(loader.dataset, "with_items"):
        raise ArgumentError(
            "predict needs loaders made from a data block or Datasets, which know how an item becomes a sample. "
            "Call learn.model on a tensor instead."
        )
    batch = loader.prepare([item])
    preds = predict_batch(learn, batch)
    require_numbers(preds, batch.inputs, learn.model, lambda _: item_words(item))
    first, answer = item_of(preds, 0), item_of(_mapped(learn.decodes, preds), 0)
    kinds = learn.dls.kinds[learn.dls.n_inp :]
    found = (_decoded(in_pixels(answer, kinds, batch.picture_size), kinds), answer, first)
    if not with_input:
        return found
    inputs = item_of(tuple(loader.decode(batch.inputs)), 0)
    return (inputs[0] if len(inputs) == 1 else inputs, *found)


def in_pixels(answers: Any, kinds: Sequence[Kind], size: tuple[int, int] | None) -> Any:
    """Return the answers for one item or many, points and boxes in the pixels of the batch's pictures."""
    return _by_kind(lambda kind, answer: kind.to_pixels(answer, size), answers, kinds)


def _decoded(answer: Any, kinds: Sequence[Kind]) -> Any:
    """Return an answer as a person would write it."""
    return _by_kind(lambda kind, part: kind.decoded(part), answer, kinds)


def _by_kind(function: Callable[[Kind, Any], Any], answer: Any, kinds: Sequence[Kind]) -> Any:
    """Apply a function to each target's answer, where the model gives one answer for each target."""
    if isinstance(answer, tuple) and len(answer) == len(kinds):
        return tuple(function(kind, part) for kind, part in zip(kinds, answer, strict=True))
    return function(kinds[0], answer) if isinstance(answer, Tensor) and len(kinds) == 1 else answer


def tta(
    learn: Learner, ds_idx: int = 1, dl: Any = None, n: int = 4, beta: float | None = 0.25, use_max: bool = False
) -> tuple[Any, Any]:
    """Return predictions averaged over augmented views; see `Learner.tta`.

    Raises:
        ArgumentError: the loader cannot augment, nothing in it is left to chance, or the answers are places in a
            picture that the augmentation moves.
    """
    if n < 1:
        raise ArgumentError(f"tta needs at least one augmented view, got n={n}.")
    loader = loader_for(learn, ds_idx, dl)
    if not isinstance(loader, DataLoader):
        raise ArgumentError("tta needs one of flambeau's loaders, which know the augmentations; a plain loader came.")
    train = learn.dls.train
    view = loader.new(
        shuffle=False, drop_last=False, training=True, after_item=train.after_item, after_batch=train.after_batch
    )
    _check_views(view, learn.dls.kinds[: learn.dls.n_inp], learn.dls.kinds[learn.dls.n_inp :])
    # a sum instead of a stack, so that memory does not grow with the number of views
    best: Any = None
    for epoch in range(n):
        view.epoch = epoch
        preds = get_preds(learn, dl=view)[0]
        best = preds if best is None else torch.maximum(best, preds) if use_max else best + preds
    plain, targets = get_preds(learn, dl=loader)
    if use_max:
        return torch.maximum(best, plain), targets
    augmented = best / n
    return ((augmented, plain) if beta is None else torch.lerp(augmented, plain, beta)), targets


def _check_views(view: DataLoader, inputs: Sequence[Kind], targets: Sequence[Kind]) -> None:
    """Raise an ArgumentError where augmented views would be all alike, or could not be laid upon each other."""
    steps = [step for step in (*view.after_item, *view.after_batch) if step.is_random(training=True)]
    placed = [kind for kind in targets if not isinstance(kind, Category | MultiCategory | Number | Plain)]
    if any(kind.column_name == "text" for kind in inputs) and (placed or not steps):
        why = "this learner answers for each of its tokens" if placed else "nothing changes a text by chance"
        raise ArgumentError(
            f"tta averages the answers to several views of an item, but {why}, so there are no views to average. Use "
            "get_preds; what helps with texts is the average of several models (of other seeds, or one that reads "
            "backwards): Ensemble([learn, other])."
        )
    if not steps:
        raise ArgumentError(
            "tta averages augmented views, but the training loader augments nothing: all views would be alike. Make "
            "the loaders with batch_tfms=aug_transforms(), or use get_preds."
        )
    moving = [step.name for step in steps if not isinstance(step, Augment) or step.is_moving(training=True)]
    if placed and moving:
        raise ArgumentError(
            f"tta cannot average {type(placed[0]).__name__} answers over views that {', '.join(moving)} moved: each "
            "view's answer lies where its own picture was moved to. Use get_preds, or an ensemble; changes of light "
            "and colour alone may be averaged."
        )


def show_results(
    learn: Learner, ds_idx: int = 1, dl: Any = None, max_n: int = 9, shuffle: bool = True, **options: Any
) -> Any:
    """Draw some items with targets and predictions; see `Learner.show_results`."""
    from flambeau.data.show import show_results as draw

    loader = loader_for(learn, ds_idx, dl)
    if not isinstance(loader, DataLoader):
        raise ArgumentError("show_results needs one of flambeau's loaders, which know what their columns mean.")
    batch = loader.new(shuffle=shuffle, bs=min(max_n, loader.n)).one_batch()
    columns = loader.decode(batch)
    preds = predict_batch(learn, batch)
    require_numbers(preds, batch.inputs, learn.model, lambda place: f"item {place} of those to draw")
    answers = as_asked(learn.loss_func, _mapped(learn.decodes, preds), batch.targets, batch.target_kinds)
    answers = answers if isinstance(answers, tuple) else (answers,)
    n, n_inp = min(max_n, batch.n_items), len(batch.inputs)
    return draw(
        [[item_of(column, i) for column in columns[:n_inp]] for i in range(n)],
        [[item_of(column, i) for column in columns[n_inp:]] for i in range(n)],
        [[item_of(answer, i) for answer in answers] for i in range(n)],
        batch.input_kinds,
        batch.target_kinds,
        **options,
    )
