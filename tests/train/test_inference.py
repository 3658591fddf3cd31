"""Predictions: in the items' order, whole, decoded, averaged, and without keeping more than the result."""

from __future__ import annotations

import random
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from small_learners import line_batches, line_learner, sign_items, sign_learner
from torch import nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.data.kinds import Kind
from flambeau.data.loaders import DataLoader
from flambeau.data.transform import Augment
from flambeau.foundation.errors import ArgumentError, EmptyError
from flambeau.nn.losses import CrossEntropyLossFlat
from flambeau.train.callback import Callback, CancelBatchException
from flambeau.train.learner import Learner


class Same(nn.Module):
    """Answer with the input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def same_learner(n: int = 10, bs: int = 4, **options: Any) -> Learner:
    """Return a learner whose prediction for item i is i; its target is 10 i."""
    data = [(torch.tensor([float(i)]), torch.tensor([10.0 * i])) for i in range(n)]
    loaders = [DataLoader(data, bs, device="cpu", **options), DataLoader(data, bs, device="cpu", **options)]
    return Learner(DataLoaders(*loaders), Same(), loss_func=nn.functional.mse_loss)


def test_predictions_are_activated_and_come_with_targets() -> None:
    learn = sign_learner()
    probabilities, targets = learn.get_preds()
    assert probabilities.shape == (8, 2)
    assert torch.allclose(probabilities.sum(1), torch.ones(8))
    assert targets.tolist() == [int(label == "plus") for _, label in sign_items()[16:]]


def test_everything_that_can_be_asked_for() -> None:
    learn = sign_learner()
    inputs, probabilities, targets, decoded, losses = learn.get_preds(
        with_input=True, with_decoded=True, with_loss=True
    )
    assert torch.allclose(inputs, torch.tensor([point for point, _ in sign_items()[16:]]))
    assert decoded.tolist() == probabilities.argmax(1).tolist()
    assert torch.allclose(losses, -probabilities[range(8), targets].log(), atol=1e-6)


def test_another_activation() -> None:
    learn = sign_learner()
    raw = learn.get_preds(act=lambda x: x)[0]
    assert torch.allclose(raw.softmax(1), learn.get_preds()[0], atol=1e-6)


def test_the_training_half_is_predicted_in_order_and_whole() -> None:
    learn = sign_learner(22)
    preds, targets = learn.get_preds(ds_idx=0)
    assert len(preds) == 14
    assert targets.tolist() == [int(label == "plus") for _, label in sign_items(22)[:14]]


@pytest.mark.parametrize("options", [{"shuffle": True}, {"order": lambda n, chance: reversed(range(n))}])
def test_a_loader_in_another_order_is_put_in_the_items_order(options: dict[str, Any]) -> None:
    learn = same_learner(**options)
    inputs, preds, targets, losses = learn.get_preds(with_input=True, with_loss=True)
    assert preds[:, 0].tolist() == inputs[:, 0].tolist() == list(range(10))
    assert targets[:, 0].tolist() == [10.0 * i for i in range(10)]
    assert losses.tolist() == [81.0 * i * i for i in range(10)]


def test_the_loaders_own_order_can_be_kept() -> None:
    learn = same_learner(order=lambda n, chance: reversed(range(n)))
    assert learn.get_preds(reorder=False)[0][:, 0].tolist() == list(reversed(range(10)))


def test_a_loader_that_drops_its_last_batch_is_predicted_whole() -> None:
    learn = same_learner(shuffle=True, drop_last=True)
    assert learn.get_preds(dl=learn.dls.train)[0][:, 0].tolist() == list(range(10))


def test_a_list_of_one_batch_is_a_loader() -> None:
    learn = sign_learner()
    x, y = torch.randn(3, 2), torch.tensor([0, 1, 0])
    preds, targets = learn.get_preds(dl=[(x, y)])
    assert torch.allclose(preds, learn.model(x).softmax(1), atol=1e-6)
    assert targets.tolist() == [0, 1, 0]


def test_new_items_have_no_targets() -> None:
    learn = sign_learner()
    preds, targets = learn.get_preds(dl=learn.dls.test_dl([[1.0, 0.0], [-1.0, 0.0]]))
    assert preds.shape == (2, 2)
    assert targets is None
    with pytest.raises(ArgumentError, match="no targets and so no losses"):
        learn.get_preds(dl=learn.dls.test_dl([[1.0, 0.0]]), with_loss=True)


def test_items_of_different_sizes_come_as_a_list() -> None:
    batches = [(torch.zeros(2, n), torch.zeros(2, n)) for n in (3, 5)]
    learn = Learner(DataLoaders(batches, batches, device="cpu"), Same(), loss_func=nn.functional.mse_loss)
    preds, _ = learn.get_preds()
    assert [len(pred) for pred in preds] == [3, 3, 5, 5]


def test_a_cancelled_batch_is_left_out_everywhere() -> None:
    class Skip(Callback):
        def before_batch(self) -> None:
            if self.iter == 0:
                raise CancelBatchException

    learn = same_learner()
    preds, targets = learn.get_preds(cbs=Skip())
    assert len(preds) == len(targets) == 6


def test_predicting_leaves_mode_metrics_and_callbacks() -> None:
    learn = sign_learner(metrics="accuracy")
    learn.model.train()
    cbs = list(learn.cbs)
    learn.get_preds(), learn.predict([1.0, 0.0]), learn.validate()
    assert learn.model.training
    assert learn.cbs == cbs
    assert [metric.name for metric in learn.metrics] == ["accuracy"]
    assert learn.xb == ()


def test_inputs_are_not_kept_while_predicting() -> None:
    alive: list[int] = []
    inputs: list[weakref.ref[torch.Tensor]] = []

    class Stream:
        def __len__(self) -> int:
            return 6

        def __iter__(self) -> Iterator[Any]:
            for _ in range(6):
                x = torch.ones(4, 1)
                inputs.append(weakref.ref(x))
                yield x, torch.ones(4, 1)
                del x
                alive.append(sum(each() is not None for each in inputs))

    learn = line_learner()
    preds, _ = learn.get_preds(dl=Stream())
    assert len(preds) == 24
    assert max(alive) <= 2


def test_a_place_without_a_loader_is_told() -> None:
    with pytest.raises(ArgumentError, match="ds_idx=3"):
        line_learner().validate(ds_idx=3)
    with pytest.raises(EmptyError, match="no validation loader"):
        line_learner(n_valid=0).get_preds()
    with pytest.raises(EmptyError, match="no batch"):
        line_learner().get_preds(dl=[])
    with pytest.raises(ArgumentError, match="make a list"):
        line_learner().get_preds(dl=iter(line_batches()))


def test_predict_gives_label_number_and_probabilities() -> None:
    learn = sign_learner()
    with learn.no_logging():
        learn.fit(30, 0.03)
    label, index, probabilities = learn.predict([3.0, 0.0])
    assert (label, index.item()) == ("plus", 1)
    assert probabilities[1] > 0.9
    given, *_ = learn.predict([3.0, 0.0], with_input=True)
    assert given.tolist() == [3.0, 0.0]


def test_one_at_a_time_is_the_same_as_in_batches() -> None:
    learn = sign_learner()
    alone = torch.stack([learn.predict(point)[2] for point, _ in sign_items()[16:]])
    assert torch.allclose(alone, learn.get_preds()[0], atol=1e-6)


def test_predict_on_plain_loaders_tells_what_to_do() -> None:
    with pytest.raises(ArgumentError, match=r"learn\.model on a tensor"):
        line_learner().predict(torch.ones(1))


def test_a_loss_of_ones_own_still_gives_labels() -> None:
    def own(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(pred, target)

    learn = sign_learner(loss_func=own)
    label, index, raw = learn.predict([1.0, 0.0])
    assert label in ("plus", "minus")
    assert index == raw.argmax()


class Shift(Augment):
    """Add 1, 2, 3, ... to a view: the draw is the count of views so far."""

    def draw(self, chance: random.Random, sample: Any, kinds: Any, training: bool) -> float:
        return chance.choice([1.0, 3.0]) if training else 0.0

    def apply(self, value: Any, kind: Kind, drawn: Any) -> Any:
        return value + drawn if value.item() < 5 else value  # targets are 10 and more


def tta_learner() -> Learner:
    data = [(torch.tensor([0.0]), torch.tensor([10.0])) for _ in range(6)]
    loaders = [DataLoader(data, 4, device="cpu", training=t, after_item=Shift(), seed=1) for t in (True, False)]
    return Learner(DataLoaders(*loaders), Same(), loss_func=nn.functional.mse_loss)


def test_tta_mixes_augmented_and_plain_views() -> None:
    learn = tta_learner()
    (augmented, plain), targets = learn.tta(beta=None)
    assert plain.tolist() == [[0.0]] * 6
    assert targets.tolist() == [[10.0]] * 6
    assert set(augmented[:, 0].tolist()) <= {1.0, 1.5, 2.0, 2.5, 3.0}  # averages of four draws
    assert len(set(augmented[:, 0].tolist())) > 1
    assert torch.allclose(learn.tta()[0], 0.75 * augmented)
    assert torch.allclose(learn.tta(beta=1.0)[0], plain)


def test_tta_can_take_the_largest() -> None:
    largest = tta_learner().tta(use_max=True)[0]
    assert set(largest[:, 0].tolist()) <= {1.0, 3.0}
    assert largest.max() == 3


def test_tta_tells_what_it_needs() -> None:
    with pytest.raises(ArgumentError, match="n=0"):
        tta_learner().tta(n=0)
    with pytest.raises(ArgumentError, match="plain loader"):
        line_learner().tta()


def test_tta_refuses_views_that_are_all_alike() -> None:
    data = [(torch.tensor([0.0]), torch.tensor([10.0])) for _ in range(6)]
    loaders = [DataLoader(data, 4, device="cpu", training=training) for training in (True, False)]
    learn = Learner(DataLoaders(*loaders), Same(), loss_func=nn.functional.mse_loss)
    with pytest.raises(ArgumentError, match="augments nothing: all views would be alike"):
        learn.tta()


def test_results_without_pictures_are_a_table() -> None:
    table = sign_learner().show_results(max_n=3, shuffle=False)
    assert list(table.columns) == ["input 1", "actual", "predicted"]
    assert table["actual"].tolist() == [label for _, label in sign_items()[16:19]]


def test_the_class_weights_of_the_loss_show_in_the_items_losses() -> None:
    learn = sign_learner(loss_func=CrossEntropyLossFlat(weight=[1.0, 10.0]))
    probabilities, targets, losses = learn.get_preds(with_loss=True)
    weight = torch.where(targets == 1, 10.0, 1.0)
    assert torch.allclose(losses, -probabilities[range(8), targets].log() * weight, atol=1e-5)
