"""A learner of ratings trains, recommends, compares, ranks, and does the same after an export."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from flambeau.collab.data_loaders import CollabDataLoaders
from flambeau.collab.implicit import BPRLoss, implicit_learner
from flambeau.collab.learner import CollabLearner, collab_learner
from flambeau.collab.models import EmbeddingDotBias, EmbeddingNN, get_emb_sz
from flambeau.collab.ranking import ranked_values
from flambeau.data.splitters import IndexSplitter
from flambeau.foundation.errors import ArgumentError, EmptyError, TableError, UnknownNameError
from flambeau.foundation.seeds import set_seed
from flambeau.train.load_learner import load_learner

pd = pytest.importorskip("pandas")


def two_tastes(n_users: int = 40, n_items: int = 20) -> Any:
    """Return ratings of users who like either the even or the odd films, two films of each user left out in turn."""
    rows = [
        (f"u{u}", f"film {i}", 5.0 if (u + i) % 2 == 0 else 1.0)
        for u in range(n_users)
        for i in range(n_items)
        if (u // 2 + i) % 7
    ]
    return pd.DataFrame(rows, columns=["user", "title", "rating"])


def trained(use_nn: bool = False, n_epoch: int = 8, path: Any = ".") -> CollabLearner:
    """Return a learner that has seen through the two tastes."""
    set_seed(3)
    dls = CollabDataLoaders.from_df(two_tastes(), bs=16, seed=1, device="cpu", path=path)
    learn = collab_learner(dls, n_factors=5, use_nn=use_nn, y_range=(0, 5.5))
    with learn.no_logging():
        learn.fit_one_cycle(n_epoch, 0.1 if not use_nn else 0.02)
    return learn


@pytest.mark.parametrize("use_nn", [False, True])
def test_a_learner_finds_the_two_tastes(use_nn: bool) -> None:
    learn = trained(use_nn)
    assert learn.validate()[0] < 0.3
    found = learn.recommend("u0", 3)
    assert list(found.columns) == ["title", "prediction", "ratings"]
    seen = {learn.items[int(item)] for item in learn.seen.of(learn.user_row("u0"))}
    assert not set(found.title) & seen
    assert int(found.title[0].split()[1]) % 2 == 0
    alike = learn.similar_items("film 3", 4)
    assert all(int(title.split()[1]) % 2 == 1 for title in alike.title)


def test_all_users_get_the_same_as_each_alone() -> None:
    learn = trained(n_epoch=1)
    table = learn.recommend_all(n=2)
    own = table[table.user == "u7"]
    assert own.title.tolist() == learn.recommend("u7", 2).title.tolist()
    assert own["rank"].tolist() == [1, 2]
    seen = {learn.items[int(item)] for item in learn.seen.of(learn.user_row("u7"))}
    assert not set(own.title) & seen


def test_weights_and_biases_are_found_by_name() -> None:
    model = trained(n_epoch=1).model
    assert model.bias(["film 2", "film 0"]).tolist() == model.i_bias.weight.squeeze()[[13, 1]].tolist()
    assert model.weight(["u0"], is_item=False).shape == (1, 5)
    with pytest.raises(UnknownNameError, match=r"'film2'\. Did you mean 'film 2'"):
        model.bias(["film2"])


def test_an_unknown_user_is_predicted_as_the_mean_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    learn = trained(n_epoch=1)
    weights = learn.model.u_weight.weight
    assert torch.allclose(weights[0], weights[1:].mean(0), atol=1e-6)
    known, unknown = learn.predict(("u1", "film 2"))[0], learn.predict({"user": "nobody", "title": "film 2"})[0]
    assert known != unknown
    assert "1 of column 'user' not in training ('nobody'): predicted as the mean user." in capsys.readouterr().out
    with pytest.raises(UnknownNameError, match="nobody"):
        learn.recommend("nobody")


def test_a_name_of_another_type_is_told_not_taken_for_an_unknown_one() -> None:
    frame = two_tastes().assign(user=lambda rows: rows.user.str[1:].astype(int))
    learn = collab_learner(CollabDataLoaders.from_df(frame, bs=16, device="cpu"), 3)
    with pytest.raises(UnknownNameError, match=r"'7' \(str\) was 7 \(int\) in the training ratings"):
        learn.recommend("7")
    with pytest.raises(TableError, match=r"astype\(\{'user': 'int'\}\)"):
        learn.get_preds(dl=learn.dls.test_dl(frame.astype({"user": str})))
    with pytest.raises(UnknownNameError, match="7"):
        learn.recommend([7])


def test_what_is_asked_for_must_make_sense() -> None:
    learn = trained(n_epoch=1)
    with pytest.raises(EmptyError, match="no user"):
        learn.recommend_all([])
    assert set(learn.recommend_all("u7", n=2).user) == {"u7"}
    for ask in (learn.ranking, lambda n: learn.recommend("u7", n)):
        with pytest.raises(ArgumentError, match="at least 1; got 0"):
            ask(0)


def test_rows_of_a_table_are_predicted_in_order() -> None:
    learn = trained(n_epoch=1)
    frame = two_tastes().iloc[[5, 90, 3]]
    preds, targets = learn.get_preds(dl=learn.dls.test_dl(frame, with_labels=True))
    assert targets.tolist() == frame.rating.tolist()
    assert preds[1].item() == pytest.approx(learn.predict(frame.iloc[1])[0], abs=1e-5)
    assert torch.equal(learn.get_preds(dl=learn.dls.test_dl(frame))[0], preds)


def test_ranges_that_do_not_hold_the_ratings_are_refused() -> None:
    dls = CollabDataLoaders.from_df(two_tastes(), bs=16, device="cpu")
    with pytest.raises(ArgumentError, match=r"reach from 1 to 5, but .*y_range=\(0, 4\).*\(0\.6, 5\.4\)"):
        collab_learner(dls, y_range=(0, 4))
    with pytest.raises(ArgumentError, match="low below high"):
        collab_learner(dls, y_range=(5, 0))
    with pytest.raises(ArgumentError, match="low below high; got 5"):
        collab_learner(dls, y_range=5)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="use_nn=True"):
        collab_learner(dls, layers=[10])


def test_a_network_has_factors_by_rule_or_as_given() -> None:
    dls = CollabDataLoaders.from_df(two_tastes(), bs=16, device="cpu")
    assert get_emb_sz(dls) == [(41, 13), (21, 9)]  # 1.6 * 41 ** 0.56 = 12.8, 1.6 * 21 ** 0.56 = 8.8
    model = EmbeddingNN(get_emb_sz(dls, {"user": 3}), [7], (0, 5.5))
    assert model.layers[0][0].in_features == 3 + 9
    pairs = torch.tensor([[1, 2, 3], [4, 5, 6]])
    model.eval()
    assert torch.allclose(model(pairs)[:, 1], model(pairs[:, [0, 2]]))


def test_one_user_and_several_items_are_scored_like_pairs() -> None:
    model = EmbeddingDotBias(4, 5, 6, (0, 5.5))
    x = torch.tensor([[1, 2, 3], [4, 5, 0]])
    assert torch.allclose(model(x)[:, 1], model(x[:, [0, 2]]))


def test_ranks_are_counted_by_hand() -> None:
    top = torch.tensor([[3, 1], [2, 4]])
    wanted = (torch.tensor([0, 0, 1]), torch.tensor([1, 5, 7]))
    values = ranked_values(top, torch.ones(2, 2, dtype=torch.bool), wanted, torch.tensor([2, 1]), 2)
    # the first user finds one of two at place 2, the second nothing
    assert values["hit rate at 2"] == 0.5
    assert values["recall at 2"] == 0.25
    assert values["NDCG at 2"] == pytest.approx((0.6309 / 1.6309) / 2, abs=1e-4)


def ranked(valid: list[tuple[int, int, float]], k: int) -> dict[str, float]:
    """Return the ranking of a model for which user 0 has one item left to find, 5."""
    train = [(u, i, 3.0 + (u + i) % 3) for u in range(4) for i in range(6) if (u, i) != (0, 5)]
    frame = pd.DataFrame([*train, *valid], columns=["user", "item", "rating"])
    splitter = IndexSplitter(list(range(len(train), len(frame))))
    dls = CollabDataLoaders.from_df(frame, bs=4, device="cpu", splitter=splitter)
    return dict(collab_learner(dls, 3, y_range=(0, 5.5)).ranking(k).loc["model"])


def test_what_is_not_recommended_is_no_hit() -> None:
    unknown = ranked([(0, 99, 5.0)], 5)  # an item of validation only: "#na#" fills the places that are left
    assert unknown["hit rate at 5"] == unknown["NDCG at 5"] == 0
    seen = ranked([(0, 2, 5.0)], 6)  # rated in training, so never recommended
    assert seen["hit rate at 6"] == seen["recall at 6"] == 0
    assert ranked([(0, 5, 5.0)], 6)["NDCG at 6"] == pytest.approx(1)


def test_an_item_rated_twice_is_wanted_once() -> None:
    twice = ranked([(0, 5, 5.0), (0, 5, 4.0)], 5)
    assert twice["recall at 5"] == twice["NDCG at 5"] == pytest.approx(1)


def test_settings_that_make_no_sense_are_told() -> None:
    dls = CollabDataLoaders.from_df(two_tastes(), bs=16, device="cpu")
    with pytest.raises(ArgumentError, match="n_factors is a whole number"):
        collab_learner(dls, 0)
    with pytest.raises(UnknownNameError, match="'usr'. Did you mean 'user'"):  # noqa: RUF043
        collab_learner(dls, use_nn=True, emb_szs={"usr": 3})
    with pytest.raises(ArgumentError, match="whole number, at least 1; got True"):
        collab_learner(dls, 3).recommend("u0", True)


def test_ranking_shows_the_most_popular_beside() -> None:
    table = trained(n_epoch=1).ranking(5, min_rating=4)
    assert list(table.index) == ["model", "most popular"]
    assert ((table.iloc[:, :3] >= 0) & (table.iloc[:, :3] <= 1)).all().all()


def test_bpr_scores_what_was_taken_above_the_others() -> None:
    loss = BPRLoss()(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.zeros(2))
    assert loss.item() == pytest.approx((0.126928 + 0.693147) / 2, abs=1e-5)
    with pytest.raises(ArgumentError, match="implicit_learner"):
        BPRLoss()(torch.zeros(3), torch.zeros(3))


def test_a_ranking_is_learnt_from_what_was_taken() -> None:
    set_seed(1)
    frame = two_tastes().query("rating == 5")
    dls = CollabDataLoaders.from_df(frame, bs=16, seed=2, device="cpu")
    learn = implicit_learner(dls, 5, n_others=3)
    taken = set(map(tuple, dls.train_ds.pairs.tolist()))
    batch = learn.dls.one_batch()[0]
    assert batch.shape == (16, 5)
    assert not any((user, other) in taken for user, _, *others in batch.tolist() for other in others)
    with learn.no_logging():
        learn.fit_one_cycle(8, 0.05)
    table = learn.ranking(3)
    assert table.loc["model", "recall at 3"] > 1.3 * table.loc["most popular", "recall at 3"]
    assert learn.predict(("u0", "film 0"))[0] > learn.predict(("u0", "film 1"))[0]


def test_other_items_follow_from_the_seed() -> None:
    dls = CollabDataLoaders.from_df(two_tastes(), bs=16, seed=2, device="cpu")
    first, again = (implicit_learner(dls, 5).dls for _ in range(2))
    assert torch.equal(first.one_batch()[0], again.one_batch()[0])
    epochs = [next(iter(first.train))[0] for _ in range(2)]
    assert not torch.equal(*epochs)
    assert torch.equal(*(next(iter(first.valid))[0] for _ in range(2)))


@pytest.mark.parametrize("use_nn", [False, True])
def test_an_export_predicts_and_recommends_in_a_fresh_process(tmp_path: Path, use_nn: bool) -> None:
    learn = trained(use_nn, 1, tmp_path)
    file = learn.export("ratings.safetensors")
    code = (
        "import sys; from flambeau.train.load_learner import load_learner; learn = load_learner(sys.argv[1]); "
        "print(learn.recommend('u3', 3).to_csv(index=False)); print(repr(learn.predict(('u3', 'film 4'))[0]))"
    )
    source = str(Path(__file__).resolve().parents[2] / "src")
    result = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        env={**os.environ, "PYTHONPATH": source}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    expected = f"{learn.recommend('u3', 3).to_csv(index=False)}\n{learn.predict(('u3', 'film 4'))[0]!r}\n"
    assert result.stdout == expected
    loaded = load_learner(file)
    assert loaded.similar_items("film 1", 2).equals(learn.similar_items("film 1", 2))
    if not use_nn:
        assert loaded.model.bias(["film 1"]).equal(learn.model.bias(["film 1"]))


def test_factors_are_drawn_with_their_titles() -> None:
    drawing = trained(n_epoch=1).plot_factors(6)
    assert len(drawing.axes[0].texts) == 6
    drawing.close()


def test_names_of_drawn_factors_do_not_lie_on_each_other() -> None:
    learn = trained(n_epoch=1)
    learn.model.i_weight.weight.data[1:11] = torch.randn(5)  # ten films at one place
    drawing = learn.plot_factors(20)
    shown = [name.get_window_extent() for name in drawing.axes[0].texts if name.get_visible()]
    assert 2 <= len(shown) <= 11
    assert not any(box.overlaps(other) for place, box in enumerate(shown) for other in shown[:place])
    drawing.close()
