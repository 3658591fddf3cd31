"""The learner's training verbs: which rates, momenta and layers each of them trains with."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from small_learners import line_batches, line_learner, sign_learner, sign_loaders
from torch import nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.errors import ArgumentError, TrainingError, UnknownNameError
from flambeau.nn.losses import CrossEntropyLossFlat
from flambeau.nn.optimizers import SGD, get_hyper
from flambeau.nn.param_groups import params
from flambeau.train.callback import Callback
from flambeau.train.learner import Learner


class Rates(Callback):
    """Write down each training batch's rates and momenta, one a layer group, and what trains."""

    run_valid = False

    def __init__(self) -> None:
        self.fits: list[dict[str, Any]] = []

    def before_fit(self) -> None:
        trains = [p.requires_grad for p in self.learn.model.parameters()]
        self.fits.append({"lr": [], "mom": [], "wd": [], "n_epoch": self.learn.n_epoch, "trains": trains})

    def before_step(self) -> None:
        for name in ("lr", "mom", "wd"):
            self.fits[-1][name].append(get_hyper(self.learn.optimizer, name))


def fitted(verb: str, *args: Any, n_train: int = 20, learn: Learner | None = None, **options: Any) -> Rates:
    learn = learn or line_learner(n_train, 0)
    rates = Rates()
    learn.add_cb(rates)
    with learn.no_logging():
        getattr(learn, verb)(*args, **options)
    return rates


def three_groups() -> Learner:
    model = nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2), nn.Linear(2, 2), nn.Linear(2, 1))
    groups = lambda net: [params(nn.Sequential(net[0], net[1])), params(net[2]), params(net[3])]  # noqa: E731
    return Learner(DataLoaders(line_batches(20), device="cpu"), model, nn.functional.mse_loss, splitter=groups)


def cosine(start: float, end: float, progress: float) -> float:
    return start + (1 - math.cos(math.pi * progress)) / 2 * (end - start)


def test_fit_keeps_one_rate() -> None:
    assert fitted("fit", 1, 0.1).fits[0]["lr"] == [[0.1]] * 20
    assert fitted("fit", 1).fits[0]["lr"] == [[1e-3]] * 20


def test_fit_learns_the_line() -> None:
    learn = line_learner(16)
    with learn.no_logging():
        learn.fit(20, 0.05)
    assert learn.model.weight.item() == pytest.approx(2, abs=0.02)
    assert learn.model.bias.item() == pytest.approx(1, abs=0.02)


def test_one_cycle_begins_peaks_and_ends_as_the_formula_says() -> None:
    one = fitted("fit_one_cycle", 1, 0.1).fits[0]
    lrs, moms = [lr for (lr,) in one["lr"]], [mom for (mom,) in one["mom"]]
    assert lrs[0] == pytest.approx(0.1 / 25)
    assert lrs[5] == pytest.approx(0.1)  # 25 % of 20 steps
    assert lrs[19] == pytest.approx(cosine(0.1, 0.1 / 1e5, 14 / 15))
    assert lrs[2] == pytest.approx(cosine(0.1 / 25, 0.1, 2 / 5))
    assert [moms[0], moms[5]] == pytest.approx([0.95, 0.85])
    assert moms[19] == pytest.approx(cosine(0.85, 0.95, 14 / 15))


def test_one_cycle_runs_over_all_epochs() -> None:
    lrs = [lr for (lr,) in fitted("fit_one_cycle", 4, 0.1, n_train=5).fits[0]["lr"]]
    assert lrs.index(max(lrs)) == 5
    assert len(lrs) == 20


def test_each_layer_group_has_a_cycle_of_its_own() -> None:
    one = fitted("fit_one_cycle", 1, slice(1e-3, 1e-1), learn=three_groups()).fits[0]
    assert one["lr"][5] == pytest.approx([1e-3, 1e-2, 1e-1])
    assert one["lr"][0] == pytest.approx([1e-3 / 25, 1e-2 / 25, 1e-1 / 25])


def test_a_slice_with_one_end_gives_the_others_a_tenth() -> None:
    assert fitted("fit", 1, slice(1e-1), learn=three_groups()).fits[0]["lr"][0] == pytest.approx([1e-2, 1e-2, 1e-1])


def test_start_epoch_goes_on_in_the_schedule() -> None:
    whole = fitted("fit_one_cycle", 4, 0.1, n_train=5).fits[0]["lr"]
    rest = fitted("fit_one_cycle", 4, 0.1, n_train=5, start_epoch=2).fits[0]["lr"]
    assert rest == whole[10:]


def test_flat_cos_is_flat_and_then_falls() -> None:
    lrs = [lr for (lr,) in fitted("fit_flat_cos", 1, 0.1).fits[0]["lr"]]
    assert lrs[:15] == [0.1] * 15
    assert lrs[19] == pytest.approx(cosine(0.1, 0.1 / 1e5, 4 / 5))


def test_sgdr_restarts_with_cycles_of_growing_length() -> None:
    one = fitted("fit_sgdr", 2, 1, 0.1, n_train=10).fits[0]
    lrs = [lr for (lr,) in one["lr"]]
    assert one["n_epoch"] == 3
    assert [lrs[0], lrs[10]] == pytest.approx([0.1, 0.1])
    assert lrs[9] == pytest.approx(cosine(0.1, 0, 9 / 10))
    assert lrs[29] == pytest.approx(cosine(0.1, 0, 19 / 20))


def test_sgdr_needs_a_cycle() -> None:
    with pytest.raises(ArgumentError, match="n_cycles=0"):
        line_learner().fit_sgdr(0, 1)


def test_fine_tune_trains_the_head_and_then_everything() -> None:
    learn = three_groups()
    first, second = fitted("fine_tune", 2, 1e-2, learn=learn).fits
    assert first["n_epoch"] == 1
    assert second["n_epoch"] == 2
    # linear weight and bias are frozen, the norm's weight and bias train, then the second linear, then the head
    assert first["trains"] == [False, False, True, True, False, False, True, True]
    assert all(second["trains"])
    assert first["lr"][0] == pytest.approx([1e-3 / 25, 1e-3 / 25, 1e-2 / 25])
    assert max(group[2] for group in first["lr"]) == pytest.approx(1e-2, rel=0.05)
    assert second["lr"][0] == pytest.approx([5e-5 / 5, 5e-4 / 5, 5e-3 / 5])
    assert second["lr"][12] == pytest.approx([5e-5, 5e-4, 5e-3])  # 30 % of 40 steps


def test_fine_tune_wants_one_rate() -> None:
    with pytest.raises(ArgumentError, match="one learning rate above 0"):
        line_learner().fine_tune(1, slice(1e-3))  # type: ignore[arg-type]


def test_freezing_and_unfreezing() -> None:
    learn = three_groups()

    def trains() -> list[bool]:
        return [learn.model[i].weight.requires_grad for i in range(4)]

    learn.freeze()
    assert trains() == [False, True, False, True]
    learn.freeze_to(1)
    assert trains() == [False, True, True, True]
    learn.freeze_to(-2)
    assert trains() == [False, True, True, True]
    learn.unfreeze()
    assert trains() == [True] * 4
    with pytest.raises(ArgumentError, match="3 layer groups"):
        learn.freeze_to(3)


def test_norm_layers_of_a_frozen_body_stay_frozen_without_train_bn() -> None:
    learn = three_groups()
    learn.train_bn = False
    learn.freeze()
    assert not learn.model[1].weight.requires_grad


def test_frozen_weights_do_not_change() -> None:
    learn = three_groups()
    learn.freeze()
    before = [p.clone() for p in learn.model.parameters()]
    with learn.no_logging():
        learn.fit(1, 0.1)
    same = [torch.equal(a, b) for a, b in zip(before, learn.model.parameters(), strict=True)]
    assert same == [True, True, False, False, True, True, False, False]


def test_the_optimizer_remembers_between_fits_unless_reset() -> None:
    learn = line_learner()
    with learn.no_logging():
        learn.fit(1, 0.1)
        first = learn.opt
        learn.fit(1, 0.1)
        assert learn.opt is first
        learn.fit(1, 0.1, reset_opt=True)
    assert learn.opt is not first


def test_weight_decay_holds_for_one_fit_and_spares_biases() -> None:
    learn = line_learner(wd=0.01)
    rates = Rates()
    with learn.no_logging():
        learn.fit(1, 0.1, wd=0.3, cbs=rates)
        learn.fit(1, 0.1, cbs=rates)
    assert [fit["wd"][0] for fit in rates.fits] == [[0.3], [0.01]]
    assert [group["weight_decay"] for group in learn.opt.param_groups] == [0.01, 0.0]


def test_another_optimizer() -> None:
    learn = line_learner(opt_func=SGD)
    with learn.no_logging():
        learn.fit(1, 0.1)
    assert type(learn.opt).__name__ == "SGD"
    assert type(line_learner(opt_func=torch.optim.Adagrad).opt).__name__ == "Adagrad"


@pytest.mark.parametrize("n_epoch", [-1, 1.5, "2"])
def test_a_number_of_epochs_that_makes_no_sense(n_epoch: Any) -> None:
    with pytest.raises(ArgumentError, match="whole number, 0 or more"):
        line_learner().fit(n_epoch)


def test_an_empty_training_loader_is_told() -> None:
    learn = Learner(DataLoaders([], line_batches(), device="cpu"), nn.Linear(1, 1), nn.functional.mse_loss)
    with pytest.raises(TrainingError, match="no batch"):
        learn.fit(1)


def test_a_loader_without_length_is_told() -> None:
    learn = Learner(DataLoaders(iter(line_batches()), device="cpu"), nn.Linear(1, 1), nn.functional.mse_loss)
    with pytest.raises(ArgumentError, match="has no length"):
        learn.fit(1)


def test_something_else_as_loaders_or_model_is_told() -> None:
    with pytest.raises(ArgumentError, match=r"DataLoaders\(train, valid\)"):
        Learner(line_batches(), nn.Linear(1, 1), nn.functional.mse_loss)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"Make one: Linear\(...\)"):
        Learner(DataLoaders(line_batches()), nn.Linear, nn.functional.mse_loss)  # type: ignore[arg-type]


def test_the_loss_follows_from_the_targets_where_they_are_known() -> None:
    assert type(sign_learner().loss_func) is CrossEntropyLossFlat
    with pytest.raises(ArgumentError, match="loss cannot be guessed"):
        Learner(DataLoaders(line_batches(), device="cpu"), nn.Linear(1, 1))


def test_a_loss_class_is_called() -> None:
    assert isinstance(line_learner(loss_func=nn.MSELoss).loss_func, nn.MSELoss)


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="error_rate"):
        line_learner(metrics="eror_rate")


def test_what_it_shows_of_itself() -> None:
    assert repr(line_learner()).startswith("Learner: Linear of 2 parameters on cpu")
    assert "Linear" in str(sign_learner().summary())


def test_moving_keeps_the_loss_on_the_models_device() -> None:
    learn = sign_learner(dls=sign_loaders(), loss_func=CrossEntropyLossFlat(weight=[1.0, 2.0]))
    with learn.no_logging():
        learn.to("cpu").fit(1)
    assert learn.loss_func.weight.device == learn.device


def test_a_negative_learning_rate_is_refused() -> None:
    learn = line_learner()
    with pytest.raises(ArgumentError, match=r"below 0 climbs the loss.*got -1"):
        learn.fit(1, lr=-1.0)
