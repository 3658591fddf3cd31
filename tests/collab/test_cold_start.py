"""Somebody new is guessed by a regression with a closed form, and asked what tells most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from flambeau.collab.cold_measure import cold_start_table, ordered
from flambeau.collab.cold_start import ColdStart
from flambeau.collab.data_loaders import CollabDataLoaders
from flambeau.collab.implicit import implicit_learner
from flambeau.collab.learner import CollabLearner, collab_learner
from flambeau.foundation.errors import ArgumentError, ShapeError, TableError, UnknownNameError
from flambeau.foundation.seeds import set_seed
from flambeau.train.load_learner import load_learner

pd = pytest.importorskip("pandas")


def tastes(users: range) -> Any:
    """Return ratings of users who like either the even or the odd films; the first ten films are rated by all."""
    rows = [
        (f"u{u}", f"film {i}", 5.0 if (u + i) % 2 == 0 else 1.0)
        for u in users
        for i in range(20)
        if i < 10 or (u + i) % 3 == 0
    ]
    return pd.DataFrame(rows, columns=["user", "title", "rating"])


@pytest.fixture(scope="module")
def learn() -> CollabLearner:
    """Train on forty users."""
    set_seed(0)
    dls = CollabDataLoaders.from_df(tastes(range(40)), bs=16, seed=1, device="cpu")
    learner = collab_learner(dls, n_factors=3, y_range=(0, 5.5))
    with learner.no_logging():
        learner.fit_one_cycle(8, 0.1)
    return learner


def test_no_ratings_give_the_mean_user(learn: CollabLearner) -> None:
    cold = ColdStart(learn)
    taste = cold.user_from_ratings({})
    assert taste.factors.tolist() == pytest.approx(learn.model.u_weight.weight[1:].mean(0).tolist(), abs=1e-6)
    assert taste.bias == cold.mean_user().bias


def test_two_ratings_tell_the_taste(learn: CollabLearner) -> None:
    cold = ColdStart(learn)
    taste = cold.user_from_ratings({"film 0": 5, "film 1": 1})
    predicted = cold.predict(taste)
    assert predicted[learn.item_row("film 2")] > 4
    assert predicted[learn.item_row("film 3")] < 2
    found = learn.recommend(taste, 3)
    assert "film 0" not in set(found.title)
    assert all(int(title.split()[1]) % 2 == 0 for title in found.title)


def test_the_closed_form_is_the_least_of_its_sum_of_squares(learn: CollabLearner) -> None:
    cold = ColdStart(learn, noise=0.5, widen=1.0)
    ratings = {"film 0": 4.0, "film 1": 2.0, "film 5": 3.0}
    taste = cold.user_from_ratings(ratings)
    best = torch.cat([taste.factors.double(), torch.tensor([taste.bias]).double()])
    rows = torch.tensor([learn.item_row(item) - 1 for item in ratings])
    rated = torch.tensor(list(ratings.values())).double()
    items = cold.items.table[rows]
    x = torch.cat([items[:, :-1], torch.ones(3, 1)], 1)

    share = (x @ cold.users.mean + items[:, -1]).sigmoid()  # what the mean user would give

    def cost(user: torch.Tensor) -> torch.Tensor:
        away = user - cold.users.mean
        misses = (rated - 5.5 * share - 5.5 * share * (1 - share) * (x @ away)) / 0.5
        return misses.square().sum() + away @ torch.linalg.solve(cold.users.spread, away)

    user = best.clone().requires_grad_()
    (slope,) = torch.autograd.grad(cost(user), user)
    assert slope.abs().max() < 1e-2 * torch.autograd.grad(cost(user + 1), user)[0].abs().max()


def test_a_high_rating_counts_as_much_as_one_in_the_middle(learn: CollabLearner) -> None:
    cold = ColdStart(learn)
    film, start = learn.item_row("film 4"), cold.predict(cold.mean_user())
    answers = [cold.predict(cold.user_from_ratings({"film 4": rating})) for rating in (start[film].item() + 1, 5.4)]
    steps = [float(answer[film] - start[film]) for answer in answers]
    assert steps[1] > 1.3 * steps[0]  # a sigmoid undone at 5.4 of 5.5 would leave next to nothing of it


def test_a_new_item_is_guessed_from_who_rated_it(learn: CollabLearner) -> None:
    cold = ColdStart(learn)
    row = cold.item_from_ratings({"u0": 5, "u2": 5, "u1": 1})
    liked = row[:-1] @ learn.model.u_weight.weight[learn.user_row("u4")].detach().double()
    disliked = row[:-1] @ learn.model.u_weight.weight[learn.user_row("u5")].detach().double()
    assert liked > disliked


def test_attributes_tell_factors(learn: CollabLearner) -> None:
    cold = ColdStart(learn)
    even = torch.tensor([[float(int(title.split()[1]) % 2 == 0)] for title in list(learn.items)[1:]])
    mapped = cold.attribute_map(even, ridge=0.1)
    row = cold.from_attributes(mapped, torch.tensor([1.0]))
    alike = torch.nn.functional.cosine_similarity(row[:-1].float(), learn.item_factors()[learn.item_row("film 4")], 0)
    assert alike > 0.7
    with pytest.raises(ShapeError, match="a row for each of the 20 items"):
        cold.attribute_map(even[:3])
    with pytest.raises(ShapeError, match="made from 1 attributes"):
        cold.from_attributes(mapped, torch.ones(2))


def test_questions_are_those_that_most_can_answer(learn: CollabLearner) -> None:
    cold = ColdStart(learn)
    asked = cold.questions(4)
    assert len(set(asked)) == 4
    assert all(int(title.split()[1]) < 10 for title in asked)  # the others are known to a third of the users
    assert not set(cold.questions(3, {asked[0]: 5.0}, skipped=asked[1:2])) & set(asked[:2])
    assert sorted(cold.questions(9, among=["film 3", "film 11"])) == ["film 11", "film 3"]


def error_after(cold: ColdStart, answered: list[str]) -> float:
    """Return the squared error of validation ratings when the users of the training are asked about some items."""
    train, valid = cold.learn.data, cold.learn.dls.valid_ds
    total = 0.0
    for user in valid.pairs[:, 0].unique().tolist():
        own = train.pairs[:, 0] == user
        rated = dict(zip(train.pairs[own, 1].tolist(), train.ratings[own].tolist(), strict=True))
        rows = [cold.learn.item_row(item) for item in answered]
        guess = cold.predict(cold.user_from_ratings({cold.learn.items[r]: rated[r] for r in rows if r in rated}))
        held = valid.pairs[:, 0] == user
        total += float(((guess[valid.pairs[held, 1]] - valid.ratings[held]).double() ** 2).sum())
    return total


def test_a_questionnaire_asks_what_would_have_helped_most(learn: CollabLearner) -> None:
    cold = ColdStart(learn)
    asked = cold.questionnaire(2)
    for place in range(2):
        others = [item for item in list(learn.items)[1:] if item not in asked[:place]]
        best = min(others, key=lambda item: error_after(cold, [*asked[:place], item]))
        least = error_after(cold, [*asked[:place], best])
        assert error_after(cold, asked[: place + 1]) == pytest.approx(least, rel=1e-4)


def test_a_questionnaire_goes_on_where_nothing_helps_any_more(learn: CollabLearner) -> None:
    asked = ColdStart(learn).questionnaire(20)
    assert sorted(asked) == sorted(list(learn.items)[1:])


def test_a_questionnaire_needs_ratings(learn: CollabLearner, tmp_path: Path) -> None:
    again = load_learner(learn.export(tmp_path / "films.safetensors"))
    cold = ColdStart(again, noise=0.5)
    with pytest.raises(ArgumentError, match="learnt from training and validation ratings"):
        cold.questionnaire(5)
    assert len(cold.questions(5)) == 5


def test_mistakes_are_told(learn: CollabLearner) -> None:
    cold = ColdStart(learn)
    with pytest.raises(UnknownNameError, match="film 99"):
        cold.user_from_ratings({"film 99": 3})
    with pytest.raises(ArgumentError, match=r"6 is outside the model's range 0 to 5\.5"):
        cold.user_from_ratings({"film 1": 6})
    for odd in (float("nan"), "good", None):
        with pytest.raises(ArgumentError, match="no finite number"):
            cold.user_from_ratings({"film 1": odd})
    with pytest.raises(ArgumentError, match="at least one; got k=0"):
        cold.questions(0)
    with pytest.raises(ArgumentError, match="k=0"):
        cold.questionnaire(0)
    with pytest.raises(ArgumentError, match=r"whole number of questions.*k=2\.5"):
        cold.questions(2.5)
    with pytest.raises(ArgumentError, match="use_nn=False"):
        ColdStart(collab_learner(learn.dls, use_nn=True))


def test_the_measure_takes_new_users_only(learn: CollabLearner) -> None:
    with pytest.raises(ArgumentError, match=r"40 of these users were in training, such as 'u0'"):
        cold_start_table(ColdStart(learn), tastes(range(50)), (2,))
    with pytest.raises(ArgumentError, match="at least 2; got 1"):
        cold_start_table(ColdStart(learn), tastes(range(40, 50)), (2,), fewest=1)
    with pytest.raises(TableError, match="lacks the column 'title'"):
        cold_start_table(ColdStart(learn), tastes(range(40, 50)).drop(columns="title"), (2,))


def test_scores_that_are_no_ratings_are_refused(learn: CollabLearner) -> None:
    with pytest.raises(ArgumentError, match="order items and are no ratings"):
        ColdStart(implicit_learner(learn.dls, 3), noise=0.5)


def test_a_new_item_is_rated_for_every_user(learn: CollabLearner) -> None:
    cold = ColdStart(learn)
    row = learn.item_row("film 4")
    own = torch.cat([learn.model.i_weight.weight[row], learn.model.i_bias.weight[row]]).detach().double()
    users = torch.arange(len(learn.users))
    expected = learn.model(torch.stack([users, torch.full_like(users, row)], 1)).detach()
    assert torch.allclose(cold.predict_item(own), expected, atol=1e-4)


def test_ratings_may_come_as_a_series(learn: CollabLearner) -> None:
    cold = ColdStart(learn)
    taste = cold.user_from_ratings(pd.Series({"film 0": 5.0, "film 1": 1.0}))
    assert torch.equal(taste.factors, cold.user_from_ratings({"film 0": 5.0, "film 1": 1.0}).factors)
    with pytest.raises(ArgumentError, match="Ratings come by name"):
        cold.user_from_ratings([("film 0", 5.0)])


def test_answers_beat_the_mean_on_users_held_out(learn: CollabLearner) -> None:
    table = cold_start_table(ColdStart(learn), tastes(range(40, 60)), (2,), fewest=10)
    assert list(table.index) == [
        "mean user", "2 questions", "2 of the questionnaire", "2 of those rated", "2 at random", "all answers",
    ]  # fmt: skip
    assert table.loc["2 questions", "RMSE"] < 0.5 * table.loc["mean user", "RMSE"]
    assert table.loc["mean user", "answers"] == 0


def test_an_order_is_worth_its_gains() -> None:
    truth = torch.tensor([2.0, 1.0], dtype=torch.float64)
    assert ordered(truth, truth) == 1
    # gains 3 and 1: (1 + 3 * 0.6309) / (3 + 0.6309)
    assert ordered(-truth, truth) == pytest.approx(0.7967, abs=1e-4)
