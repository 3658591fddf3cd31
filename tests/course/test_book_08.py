"""Chapter 8 of the book and lesson 7 of the course: ratings, the dot product from scratch, and the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flambeau.collab.all import *
from flambeau.collab.all import (
    CollabDataLoaders,
    Embedding,
    EmbeddingNN,
    L,
    Learner,
    Module,
    MSELossFlat,
    collab_learner,
    get_emb_sz,
    nn,
    one_hot,
    set_seed,
    sigmoid_range,
    torch,
)

pd = pytest.importorskip("pandas")


class DotProduct(Module):
    """The book's first model: users, films and nothing else."""

    def __init__(self, n_users: int, n_movies: int, n_factors: int, y_range: tuple[float, float] = (0, 5.5)) -> None:
        self.user_factors = Embedding(n_users, n_factors)
        self.movie_factors = Embedding(n_movies, n_factors)
        self.y_range = y_range

    def forward(self, x: Any) -> Any:
        """Return ratings."""
        users = self.user_factors(x[:, 0])
        movies = self.movie_factors(x[:, 1])
        return sigmoid_range((users * movies).sum(dim=1), *self.y_range)


def create_params(size: list[int]) -> nn.Parameter:
    """Return what an Embedding holds."""
    return nn.Parameter(torch.zeros(*size).normal_(0, 0.01))


class DotProductBias(Module):
    """The book's own embeddings, with biases."""

    def __init__(self, n_users: int, n_movies: int, n_factors: int, y_range: tuple[float, float] = (0, 5.5)) -> None:
        self.user_factors = create_params([n_users, n_factors])
        self.user_bias = create_params([n_users])
        self.movie_factors = create_params([n_movies, n_factors])
        self.movie_bias = create_params([n_movies])
        self.y_range = y_range

    def forward(self, x: Any) -> Any:
        """Return ratings."""
        users = self.user_factors[x[:, 0]]
        movies = self.movie_factors[x[:, 1]]
        res = (users * movies).sum(dim=1)
        res += self.user_bias[x[:, 0]] + self.movie_bias[x[:, 1]]
        return sigmoid_range(res, *self.y_range)


class CollabNN(Module):
    """The book's network."""

    def __init__(self, user_sz: Any, item_sz: Any, y_range: tuple[float, float] = (0, 5.5), n_act: int = 100) -> None:
        self.user_factors = Embedding(*user_sz)
        self.item_factors = Embedding(*item_sz)
        self.layers = nn.Sequential(nn.Linear(user_sz[1] + item_sz[1], n_act), nn.ReLU(), nn.Linear(n_act, 1))
        self.y_range = y_range

    def forward(self, x: Any) -> Any:
        """Return ratings (batch, 1)."""
        embs = self.user_factors(x[:, 0]), self.item_factors(x[:, 1])
        x = self.layers(torch.cat(embs, dim=1))
        return sigmoid_range(x, *self.y_range)


@pytest.fixture(scope="module")
def ratings(shared_data: Path) -> Any:
    """Return the ratings of MovieLens by its hundred busiest users, with titles."""
    folder = shared_data / "movielens_latest_small"
    frame = pd.read_csv(folder / "ratings.csv.gz")
    movies = pd.read_csv(folder / "movies.csv.gz", usecols=(0, 1), header=0, names=("movieId", "title", "genres"))
    frame = frame.merge(movies).rename(columns={"userId": "user", "movieId": "movie"})
    return frame[frame.user.isin(frame.user.value_counts().index[:100])]


@pytest.fixture(scope="module")
def dls(ratings: Any) -> CollabDataLoaders:
    """Return the book's loaders."""
    return CollabDataLoaders.from_df(ratings[["user", "title", "rating"]], item_name="title", bs=256, seed=42)


def test_the_loaders_are_the_books(dls: CollabDataLoaders) -> None:
    dls.show_batch()
    n_users, n_movies = len(dls.classes["user"]), len(dls.classes["title"])
    assert n_users == 101
    x, _ = dls.one_batch()
    assert x.shape == (256, 2)
    one_hot_3 = one_hot(3, n_users).float()
    assert (torch.randn(n_users, 5).t() @ one_hot_3).shape == (5,)
    assert int(x[:, 1].max()) < n_movies


@pytest.mark.parametrize("kind", [DotProduct, DotProductBias])
def test_the_dot_product_from_scratch_learns(dls: CollabDataLoaders, kind: Any) -> None:
    set_seed(1)
    model = kind(len(dls.classes["user"]), len(dls.classes["title"]), 50)
    learn = Learner(dls, model, loss_func=MSELossFlat())
    with learn.no_logging():
        before = learn.validate()[0]
        learn.fit_one_cycle(2, 5e-3, wd=0.1)
    assert learn.validate()[0] < before


def test_the_collab_learner_is_asked_as_the_book_does(dls: CollabDataLoaders) -> None:
    set_seed(1)
    learn = collab_learner(dls, n_factors=50, y_range=(0, 5.5))
    with learn.no_logging():
        learn.fit_one_cycle(3, 5e-3, wd=0.1)
    assert learn.recorder.values[-1][1] < 0.85
    assert learn.model.i_weight.weight.shape[1] == 50
    movie_bias = learn.model.i_bias.weight.squeeze()
    idxs = movie_bias.argsort(descending=True)[:5]
    assert len([dls.classes["title"][i] for i in idxs]) == 5
    movie_w = learn.model.weight(["Toy Story (1995)", "Heat (1995)"], is_item=True)
    movie_pca = learn.model.i_weight.weight.cpu().detach()
    assert movie_w.shape == (2, 50)
    assert L(*movie_pca[:3].t()) is not None
    movie_factors = learn.model.i_weight.weight
    idx = dls.classes["title"].o2i["Silence of the Lambs, The (1991)"]
    distances = nn.CosineSimilarity(dim=1)(movie_factors, movie_factors[idx][None])
    assert distances.argsort(descending=True)[0] == idx


def test_the_networks_learn(dls: CollabDataLoaders) -> None:
    set_seed(1)
    embs = get_emb_sz(dls)
    own = Learner(dls, CollabNN(*embs), loss_func=MSELossFlat())
    learn = collab_learner(dls, use_nn=True, y_range=(0, 5.5), layers=[100, 50])
    assert isinstance(learn.model, EmbeddingNN)
    for each in (own, learn):
        with each.no_logging():
            each.fit_one_cycle(1, 5e-3, wd=0.01)
        assert each.validate()[0] < 1.1


def test_chapter_1_fine_tunes_ratings(ratings: Any, tmp_path: Path) -> None:
    ratings[["user", "movie", "rating"]].iloc[:3000].to_csv(tmp_path / "ratings.csv", index=False)
    dls = CollabDataLoaders.from_csv(tmp_path / "ratings.csv")
    learn = collab_learner(dls, y_range=(0.5, 5.5))
    with learn.no_logging():
        learn.fine_tune(1)
    table = learn.show_results()
    assert list(table.columns) == ["input 1", "actual", "predicted"]
