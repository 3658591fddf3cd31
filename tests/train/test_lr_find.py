"""The rate finder: what each suggester reads off a curve, and that a search leaves no trace."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from small_learners import line_batches, line_learner, sign_learner
from torch import nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.errors import ArgumentError, TrainingError
from flambeau.train.callbacks.lr_find import minimum, slide, steep, valley
from flambeau.train.learner import Learner

LRS = [10.0 ** (i / 10 - 5) for i in range(60)]
# flat, then falling from place 20 to place 40, then rising
CURVE = [2.0] * 20 + [2.0 - 0.05 * i for i in range(21)] + [1.0 + 0.3 * i for i in range(1, 20)]


def test_valley_is_half_way_through_the_middle_third_of_the_longest_fall() -> None:
    # 22 points fall, places 19 to 40; counted back from 40 the valley begins at 19: 19 + 7 + 3
    assert valley(LRS, CURVE) == pytest.approx(LRS[19 + 7 + 3], rel=0.3)


def test_valley_is_not_stretched_by_lucky_points_of_a_noisy_beginning() -> None:
    noisy = [2.0 + 0.01 * (-1) ** i - 0.001 * i for i in range(20)] + CURVE[20:]
    assert LRS[22] < valley(LRS, noisy) < LRS[35]


def test_minimum_is_a_tenth_of_the_best_rate() -> None:
    assert minimum(LRS, CURVE) == pytest.approx(LRS[40] / 10)


def test_steep_is_where_the_loss_falls_fastest() -> None:
    curve = [1.0] * 30 + [1.0, 0.9, 0.4, 0.1, 0.05] + [0.05] * 25
    assert steep(LRS, curve) == pytest.approx(LRS[32])


def test_slide_stops_where_the_slopes_agree() -> None:
    assert LRS[20] <= slide(LRS, CURVE) <= LRS[45]
    assert slide(LRS[:4], [1.0, 0.9, 0.8, 0.7]) == LRS[0]


def test_the_result_is_a_tuple_with_names() -> None:
    learn = line_learner(8)
    lrs = learn.lr_find(show_plot=False)
    assert lrs.valley == lrs[0]
    assert 1e-7 < lrs.valley < 10
    assert len(lrs.lrs) == len(lrs.losses)
    assert repr(lrs).startswith("SuggestedRates(valley=")
    lr_min, lr_steep = learn.lr_find(suggest_funcs=(minimum, steep), show_plot=False)
    assert lr_min > 0
    assert lr_steep > 0


def test_the_rates_grow_by_one_factor() -> None:
    lrs = line_learner(4).lr_find(1e-4, 1e-2, num_it=9, show_plot=False).lrs
    assert lrs[0] == pytest.approx(1e-4)
    assert lrs[8] == pytest.approx(1e-2)
    assert lrs[1] / lrs[0] == pytest.approx(lrs[8] / lrs[7])


def test_it_stops_when_the_loss_explodes() -> None:
    learn = line_learner(100, lr=1e-3, opt_func=torch.optim.SGD)
    rates = learn.lr_find(1e-3, 1e6, show_plot=False)
    assert len(rates.losses) < 100
    assert rates.losses[-1] > 4 * min(rates.losses) or not math.isfinite(rates.losses[-1])


@pytest.mark.parametrize("n_batches", [1, 3])
def test_few_batches_are_enough(n_batches: int) -> None:
    assert 1e-7 < line_learner(n_batches).lr_find(show_plot=False).valley < 10


@pytest.mark.parametrize("num_it", [6, 8, 20])
def test_few_steps_are_enough(num_it: int) -> None:
    assert line_learner(3).lr_find(num_it=num_it, show_plot=False).valley > 0


def test_a_search_leaves_everything_as_it_was() -> None:
    learn = sign_learner(metrics="accuracy")
    with learn.no_logging():
        learn.fit(2, 0.01)
    learn.model.train()
    weights = {k: v.clone() for k, v in learn.model.state_dict().items()}
    state = [{k: v.clone() for k, v in s.items()} for s in learn.opt.state.values()]
    rates = [group["lr"] for group in learn.opt.param_groups]
    losses, history, epochs = list(learn.recorder.losses), learn.recorder.history, [dl.epoch for dl in learn.dls]
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    chance = (random.getstate(), torch.get_rng_state())

    learn.lr_find(show_plot=False)

    assert all(torch.equal(weights[k], v) for k, v in learn.model.state_dict().items())
    for before, after in zip(state, learn.opt.state.values(), strict=True):
        assert all(torch.equal(before[k], after[k]) for k in before)
    assert [group["lr"] for group in learn.opt.param_groups] == rates
    assert learn.recorder.losses == losses
    assert learn.recorder.history.equals(history)
    assert [dl.epoch for dl in learn.dls] == epochs
    assert chance[0] == random.getstate()
    assert torch.equal(chance[1], torch.get_rng_state())
    assert learn.model.training
    assert len(learn.cbs) == 2


def test_the_generator_of_a_torch_loader_is_put_back() -> None:
    generator = torch.Generator().manual_seed(3)
    data = torch.utils.data.TensorDataset(torch.randn(8, 1), torch.randn(8, 1))
    loader = torch.utils.data.DataLoader(data, batch_size=2, shuffle=True, generator=generator)
    before = generator.get_state()
    Learner(DataLoaders(loader, device="cpu"), nn.Linear(1, 1), nn.MSELoss()).lr_find(show_plot=False)
    assert torch.equal(generator.get_state(), before)


def test_everything_is_put_back_when_the_search_breaks() -> None:
    learn = line_learner()
    learn.loss_func = lambda pred, target: (_ for _ in ()).throw(KeyboardInterrupt)
    before = learn.model.weight.clone()
    with pytest.raises(KeyboardInterrupt):
        learn.lr_find(show_plot=False)
    assert torch.equal(learn.model.weight, before)
    assert learn.keep_logging


def test_nan_at_once_is_told() -> None:
    batches = [(x * math.nan, y) for x, y in line_batches()]
    learn = Learner(DataLoaders(batches, device="cpu"), nn.Linear(1, 1), nn.functional.mse_loss)
    with pytest.raises(TrainingError, match="not a finite number"):
        learn.lr_find(show_plot=False)


def test_a_range_that_is_empty_is_told() -> None:
    with pytest.raises(ArgumentError, match="0 < start_lr < end_lr"):
        line_learner().lr_find(1.0, 0.1)
    with pytest.raises(ArgumentError, match="num_it >= 6"):
        line_learner().lr_find(num_it=5)


def test_the_curve_is_drawn() -> None:
    import matplotlib.pyplot as plt

    before = set(plt.get_fignums())
    line_learner().lr_find(suggest_funcs=(valley, slide))
    (made,) = set(plt.get_fignums()) - before
    legend = plt.figure(made).axes[0].get_legend()
    assert [text.get_text().split()[0] for text in legend.get_texts()] == ["valley", "slide"]
    plt.close(made)
