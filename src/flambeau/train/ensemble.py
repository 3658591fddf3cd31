"""Ensembles: after reading it you know how the average of several models predicts, and how to tell what it gains.

Each member answers with probabilities (or numbers), from items prepared as that member wants them; the average of the
answers is the ensemble's. Models that err in different places gain most (Hansen and Salamon 1990).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path as AnyPath
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flambeau.data.bootstrap import bagging
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.dataset import Datasets
from flambeau.data.kinds import Kind
from flambeau.data.loaders import DataLoader
from flambeau.foundation.errors import ArgumentError
from flambeau.foundation.paths import Path
from flambeau.nn.losses import activation_of, unreduced
from flambeau.train.answers import require_numbers
from flambeau.train.export import export_members
from flambeau.train.learner import Learner
from flambeau.train.monitor import smaller_is_better

if TYPE_CHECKING:
    import pandas as pd

INTERVAL = (0.025, 0.975)
PROBE = torch.tensor([[-1.0, 0.0, 2.0]])  # what an activation makes of these three numbers tells which one it is


class Ensemble:
    """The weighted average of several learners' predictions, with the verbs of a learner to predict.

        ensemble = Ensemble([learn_1, learn_2, learn_3])
        preds, targets = ensemble.get_preds()
        ensemble.report()                        # what the average gains over each of them
        ensemble.export("ensemble.safetensors")  # load_learner gives it back

    The members may have different architectures, input sizes and losses, but must answer the same question: the same
    targets, classes in the same order, and answers of the same sort (probabilities, say). `weights` None: all alike.
    Losses and metrics are those of the first member.

    Raises:
        ArgumentError: there is no member, they answer different questions, or the weights do not fit.
    """

    def __init__(self, members: Sequence[Learner], weights: Sequence[float] | None = None) -> None:
        given: Any = members
        members = list(given) if isinstance(given, list | tuple) else [given]
        wrong = [member for member in members if not isinstance(member, Learner)]
        if wrong or not members:
            what = f"{wrong[0]!r}" if wrong else "an empty list"
            raise ArgumentError(f"An ensemble is a list of learners, [learn_1, learn_2, ...]; got {what}.")
        _check_same_question(members)
        self.members: list[Learner] = members
        self.weights = _normalized(weights, len(members))

    # what it shares with a learner

    @property
    def dls(self) -> DataLoaders:
        """The loaders of the first member; `dls.test_dl(items)` makes a loader that all members can predict."""
        return self.members[0].dls

    @property
    def activation(self) -> Callable[[Tensor], Tensor]:
        """What turns the members' numbers into what they mean."""
        return self.members[0].activation

    @property
    def decodes(self) -> Callable[[Tensor], Tensor]:
        """What turns averaged predictions into answers."""
        return self.members[0].decodes

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, place: int) -> Learner:
        return self.members[place]

    # predicting

    def get_preds(
        self, ds_idx: int = 1, dl: Any = None, with_decoded: bool = False, with_loss: bool = False
    ) -> tuple[Any, ...]:
        """Return the averaged predictions and the targets of a loader, in the items' order.

        Without `dl` each member reads its own loader; the items of a `dl` are prepared by each member in its own way.
        With `with_decoded` and `with_loss` the answers and the loss of each item are appended.

        Raises:
            ArgumentError: the members' own loaders hold different items, or a model does not give one tensor.
        """
        each, targets = self._each(ds_idx, dl, lambda member, loader: member.get_preds(ds_idx, loader))
        found = [self._average(each), targets]
        if with_decoded:
            models = [member.model for member in self.members]
            require_numbers(found[0], (), models, lambda place: f"item {place}")
            found.append(self.decodes(found[0]))
        if with_loss:
            found.append(_item_losses(self._raw_of(found[0]), _as_tuple(targets), self.members[0].loss_func))
        return tuple(found)

    def tta(
        self, ds_idx: int = 1, dl: Any = None, n: int = 4, beta: float | None = 0.25, use_max: bool = False
    ) -> tuple[Any, Any]:
        """Return the average of the members' predictions over augmented views, and targets; see `Learner.tta`."""
        each, targets = self._each(ds_idx, dl, lambda member, loader: member.tta(ds_idx, loader, n, beta, use_max))
        if beta is None and not use_max:
            return (self._average([pair[0] for pair in each]), self._average([pair[1] for pair in each])), targets
        return self._average(each), targets

    def predict(self, item: Any) -> tuple[Any, ...]:
        """Return the answer for one item as (decoded label, its tensor, averaged probabilities)."""
        averaged = self._average([member.predict(item)[2] for member in self.members])
        answer = self.decodes(averaged[None])[0]
        target = self.dls.kinds[self.dls.n_inp]
        return target.decoded(answer), answer, averaged

    def validate(self, ds_idx: int = 1, dl: Any = None) -> list[float]:
        """Return the loss and the metrics of the averaged predictions over a loader."""
        preds, targets = self.get_preds(ds_idx, dl)
        return self._measured(self._raw_of(preds), _as_tuple(targets))

    def _each(self, ds_idx: int, dl: Any, call: Callable[[Learner, Any], tuple[Any, ...]]) -> tuple[list[Any], Any]:
        """Return every member's predictions, and the targets, which must be the same for all of them."""
        if dl is None:
            _check_same_items([member.dls[ds_idx] for member in self.members if -1 <= ds_idx < len(member.dls)])
        found = [call(member, None if dl is None else _served_by(member, dl)) for member in self.members]
        targets = found[0][1]
        for place, (_, others) in enumerate(found[1:], start=1):
            if not _same(targets, others):
                raise ArgumentError(
                    f"Members 0 and {place} see different targets, so their predictions are of different items. Give "
                    "both the same split (a seed for the splitter), or name the items: dl=learn.dls.test_dl(items, "
                    "with_labels=True)."
                )
        return [answer[0] for answer in found], targets

    def _average(self, predictions: Sequence[Any]) -> Tensor:
        for place, answer in enumerate(predictions):
            if not isinstance(answer, Tensor):
                raise ArgumentError(
                    f"Member {place} gives a {type(answer).__name__} instead of one tensor of equal items, and only "
                    "tensors can be averaged."
                )
            if answer.shape != predictions[0].shape:
                raise ArgumentError(
                    f"Member {place} gives predictions of shape {tuple(answer.shape)}, member 0 of shape "
                    f"{tuple(predictions[0].shape)}: they cannot be averaged."
                )
        # in double precision, so that the order of the members does not matter
        total = sum(weight * answer.double() for weight, answer in zip(self.weights, predictions, strict=True))
        return torch.as_tensor(total).to(predictions[0].dtype)

    # measuring

    def _raw_of(self, activated: Tensor) -> Tensor:
        """Return numbers that the activation turns into `activated`: what losses and metrics take."""
        least = torch.finfo(activated.dtype).tiny
        sort = _sort_of_activation(self.members[0])
        if sort == "probabilities of classes":
            return activated.clamp_min(least).log()
        if sort == "probabilities of labels":
            return activated.clamp(least, 1 - torch.finfo(activated.dtype).eps).logit()
        if sort == "numbers":
            return activated
        raise ArgumentError(
            f"The loss {_name_of(self.members[0].loss_func)} has an activation of its own, which cannot be undone, so "
            "averaged predictions cannot be scored by it. Use get_preds and score them yourself."
        )

    def _measured(self, raw: Tensor, targets: tuple[Any, ...]) -> list[float]:
        first = self.members[0]
        if not targets:
            raise ArgumentError("These items have no targets to compare with. Use test_dl(..., with_labels=True).")
        raw, targets = raw.to(first.device), tuple(target.to(first.device) for target in targets)
        with torch.no_grad():
            loss = float(first.loss_func(raw, *targets))
        return [loss, *(_metric_value(metric, raw, targets) for metric in first.metrics)]

    def report(self, ds_idx: int = 1, dl: Any = None, n_resamples: int = 300, seed: int = 0) -> pd.DataFrame:
        """Return a table of the members and the ensemble: loss and metrics, and what the ensemble gains over each.

        A gain is positive where the ensemble is better. `low` and `high` bound it with 95 % confidence, by a paired
        bootstrap: the items are drawn anew, with replacement, and both sides are measured on the same ones. An interval
        without 0 is a gain that other items of this kind would show too. All members are scored by the loss and metrics
        of the first.
        """
        import pandas as pd

        each, targets = self._each(ds_idx, dl, lambda member, loader: member.get_preds(ds_idx, loader))
        columns, names = _as_tuple(targets), ["loss", *(metric.name for metric in self.members[0].metrics)]
        raws = [self._raw_of(answer) for answer in [*each, self._average(each)]]
        n = len(raws[0])
        values = [self._measured(raw, columns) for raw in raws]
        chance = torch.Generator().manual_seed(seed)
        resampled: list[list[list[float]]] = []  # draw, member, measure
        for _ in range(n_resamples):
            drawn = torch.randint(n, (n,), generator=chance)
            resampled.append([self._measured(raw[drawn], tuple(c[drawn] for c in columns)) for raw in raws])
        rows = []
        for place, own in enumerate(values):
            row: dict[str, Any] = {"weight": self.weights[place] if place < len(self) else math.nan}
            for at, name in enumerate(names):
                sign = 1 if smaller_is_better(name) else -1
                row[name] = own[at]
                if place < len(self):
                    gains = [sign * (draw[place][at] - draw[-1][at]) for draw in resampled]
                    row[f"{name} gain"] = sign * (own[at] - values[-1][at])
                    row[f"{name} low"], row[f"{name} high"] = _quantiles(gains)
            rows.append(row)
        labels = [f"{place} {_name_of_model(member)}" for place, member in enumerate(self.members)]
        return pd.DataFrame(rows, index=[*labels, "ensemble"])

    # keeping

    def export(self, fname: str | AnyPath = "ensemble.safetensors") -> Path:
        """Write everything that predicting needs to one safetensors file under the first member's path.

        `load_learner`, `Predictor` and `flambeau predict` read it.
        """
        return export_members(self.members, self.weights, fname)

    def __repr__(self) -> str:
        told = [
            f"{weight:.3f} {_name_of_model(member)}" for member, weight in zip(self.members, self.weights, strict=True)
        ]
        return f"Ensemble of {len(self)}: {', '.join(told)}"


def bag(
    dls: DataLoaders,
    make_learner: Callable[[DataLoaders], Learner],
    train: Callable[[Learner], Any],
    n: int = 5,
    seed: int = 0,
) -> Ensemble:
    """Return an ensemble of `n` learners, each trained on a bootstrap sample of its own (Breiman 1996).

        bag(dls, lambda dls: vision_learner(dls, resnet18), lambda learn: learn.fine_tune(3))

    `member.dls.train.order.out_of_bag(len(member.dls.train_ds))` are the training items that a member has not seen.

    Raises:
        ArgumentError: `n` is no number of learners, or the loaders take no order.
    """
    if not isinstance(n, int) or n < 1:
        raise ArgumentError(f"bag needs a number of learners, 1 or more; got n={n!r}.")
    members = []
    for place in range(n):
        learn = make_learner(bagging(dls, seed + place))
        train(learn)
        members.append(learn)
    return Ensemble(members)


# do they answer the same question?


def _normalized(weights: Sequence[float] | None, n: int) -> list[float]:
    given = [1.0] * n if weights is None else [float(weight) for weight in weights]
    if len(given) != n:
        raise ArgumentError(f"There are {n} members but {len(given)} weights; give one weight a member.")
    if not all(math.isfinite(weight) and weight >= 0 for weight in given) or not sum(given):
        raise ArgumentError(f"Weights are numbers of 0 or more, and not all of them 0; got {given}.")
    return [weight / sum(given) for weight in given]


def _targets(member: Learner) -> list[Kind]:
    return list(member.dls.kinds[member.dls.n_inp :])


def _check_same_question(members: Sequence[Learner]) -> None:
    first, sort = _targets(members[0]), _sort_of_activation(members[0])
    for place, member in enumerate(members[1:], start=1):
        own = _targets(member)
        if own != first:
            raise ArgumentError(f"Members 0 and {place} answer different questions: {_difference(first, own)}")
        if member.dls.c != members[0].dls.c:
            raise ArgumentError(
                f"Member 0 gives {members[0].dls.c} numbers an item and member {place} {member.dls.c}: their answers "
                "cannot be averaged."
            )
        if _sort_of_activation(member) != sort:
            raise ArgumentError(
                f"Member 0 answers with {sort} (loss {_name_of(members[0].loss_func)}), member {place} with "
                f"{_sort_of_activation(member)} (loss {_name_of(member.loss_func)}): their average would mean nothing. "
                "Train with losses of the same sort, or give load_learner the loss_func."
            )


def _difference(first: Sequence[Kind], other: Sequence[Kind]) -> str:
    if len(first) == len(other) == 1 and type(first[0]) is type(other[0]):
        classes = [_classes(kind) for kind in (first[0], other[0])]
        if classes[0] and sorted(map(str, classes[0])) == sorted(map(str, classes[1])):
            return (
                f"the same classes in another order ({classes[0][:5]} and {classes[1][:5]}). Make the loaders of both "
                "with the same vocab=[...]."
            )
        lost = [name for name in classes[0] if name not in classes[1]]
        new = [name for name in classes[1] if name not in classes[0]]
        if lost or new:
            return f"classes that only the first knows: {lost[:5]}; that only the other knows: {new[:5]}."
    return f"targets {[type(kind).__name__ for kind in first]} and {[type(kind).__name__ for kind in other]}."


def _classes(kind: Kind) -> list[Any]:
    names: Any = getattr(kind, "vocab", None) or getattr(kind, "codes", None)
    return list(names or ())


def _sort_of_activation(member: Learner) -> str:
    """Return what a member's answers are, by what its activation makes of three numbers."""
    try:
        made = activation_of(member.loss_func)(PROBE)
    except Exception:  # an activation of the user's own may want another shape
        return f"numbers of {_name_of(member.loss_func)}"
    for sort, expected in (
        ("probabilities of classes", PROBE.softmax(1)),
        ("probabilities of labels", PROBE.sigmoid()),
        ("numbers", PROBE),
    ):
        if made.shape == PROBE.shape and torch.allclose(made.cpu(), expected):
            return sort
    return f"numbers of {_name_of(member.loss_func)}"


def _name_of(loss_func: Any) -> str:
    return getattr(loss_func, "__name__", type(loss_func).__name__)


def _name_of_model(member: Learner) -> str:
    settings = getattr(member.model, "settings", None) or {}
    known = settings.get("architecture") if isinstance(settings, dict) else None
    if isinstance(known, dict) and "name" in known:
        return str(known["name"])
    return str(getattr(member.model, "title", type(member.model).__name__))


# are they the same items?


def _served_by(member: Learner, dl: Any) -> Any:
    """Return a loader of the items of `dl` as this member wants them; loaders without items serve all alike."""
    dataset: Any = getattr(dl, "dataset", None)
    own = member.dls[1] if len(member.dls) > 1 else member.dls[0]
    if not isinstance(dl, DataLoader) or not hasattr(dataset, "with_items") or not hasattr(own, "dataset"):
        return dl
    return member.dls.test_dl(dataset.items, with_labels=len(dataset.pipelines) > dataset.n_inp, bs=dl.bs)


def _check_same_items(loaders: Sequence[Any]) -> None:
    """Raise an ArgumentError where loaders of files hold different ones: their targets may be alike by accident.

    Only the files' names are compared, as one member may read smaller copies from another folder.
    """
    named = []
    for loader in loaders:
        dataset: Any = getattr(loader, "dataset", None)
        if not isinstance(dataset, Datasets) or not len(dataset) or not isinstance(dataset.item(0), str | os.PathLike):
            return
        named.append([os.path.basename(item) for item in dataset.items])
    for place, names in enumerate(named[1:], start=1):
        if names != named[0]:
            lost = sorted(set(named[0]) - set(names))
            raise ArgumentError(
                f"Members 0 and {place} hold different items in their loaders ({len(named[0])} and {len(names)}"
                f"{f'; {lost[0]} is only in the first' if lost else ', in another order'}). Make both with the same "
                "split: a seed for the splitter, or train and valid folders."
            )


def _as_tuple(targets: Any) -> tuple[Any, ...]:
    return () if targets is None else targets if isinstance(targets, tuple) else (targets,)


def _same(one: Any, other: Any) -> bool:
    ones, others = list(_as_tuple(one)), list(_as_tuple(other))
    if len(ones) != len(others):
        return False
    pairs = [(a, b) for a, b in zip(ones, others, strict=True) if isinstance(a, Tensor)]
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)


def _metric_value(metric: Any, raw: Tensor, targets: tuple[Any, ...]) -> float:
    metric.reset()
    metric.update(raw, *targets)
    value = float(metric.compute())
    metric.reset()
    return value


def _item_losses(raw: Tensor, targets: tuple[Any, ...], loss_func: Any) -> Tensor:
    if not targets:
        raise ArgumentError("These items have no targets and so no losses. Use test_dl(..., with_labels=True).")
    with unreduced(loss_func) as per_item, torch.no_grad():
        return per_item(raw, *targets).detach()


def _quantiles(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return math.nan, math.nan
    low, high = torch.tensor(values, dtype=torch.float64).nanquantile(torch.tensor(INTERVAL, dtype=torch.float64))
    return float(low), float(high)
