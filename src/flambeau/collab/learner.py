"""The learner of ratings: after reading it you know how to train one, and what it can be asked afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from numbers import Real
from pathlib import Path as AnyPath
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from flambeau.collab.data_loaders import CollabDataLoaders
from flambeau.collab.models import EmbeddingDotBias, EmbeddingNN, get_emb_sz, row_of
from flambeau.collab.ranking import USERS_AT_ONCE, ranking
from flambeau.collab.ratings import EncodePair, Ratings, RatingValue
from flambeau.collab.taste import Seen, Taste, best, item_scores, scores, unknown_as_mean
from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.errors import ArgumentError, EmptyError, ExportError
from flambeau.nn.losses import MSELossFlat
from flambeau.nn.optimizers import Adam
from flambeau.train.callback import Callback
from flambeau.train.export import Exported
from flambeau.train.learner import Learner, Moms, all_in_one

if TYPE_CHECKING:
    import pandas as pd

    from flambeau.foundation.drawing import Drawing


class MeanForUnknown(Callback):
    """Keep the row "#na#" of every table at the mean of the rows in training: what is said of unknown names.

    It is in no training rating, so nothing else would ever move it from where chance put it.
    """

    order = 60
    run_lr_find = False

    def after_train(self) -> None:
        pairs = self.learn.dls.train_ds.pairs
        unknown_as_mean(self.learn.model, pairs[:, 0].unique(), pairs[:, 1].unique())


class CollabLearner(Learner):
    """A learner of ratings, which can also recommend, compare and rank.

    Its model takes x (batch, 2), the places of users and items, and returns one number a row.
    """

    export_as: ClassVar[str | None] = "collab"

    # what it knows

    @property
    def data(self) -> Ratings:
        """The training ratings; after `load_learner` there are none, but the vocabularies are there."""
        found: Ratings = self.dls.train_ds
        return found

    @property
    def users(self) -> Any:
        """The users in training, "#na#" at 0."""
        return self.data.encode.users

    @property
    def items(self) -> Any:
        """The items in training, "#na#" at 0."""
        return self.data.encode.items

    @cached_property
    def _training_pairs(self) -> Tensor:
        return self.data.pairs

    @cached_property
    def seen(self) -> Seen:
        """Which items each user rated in training."""
        return Seen(self._training_pairs, len(self.users))

    @cached_property
    def popularity(self) -> Tensor:
        """How many training ratings each item has (items,)."""
        return torch.bincount(self._training_pairs[:, 1], minlength=len(self.items))

    def user_row(self, user: Any) -> int:
        """Return the place of a user; an unknown name teaches the nearest."""
        return row_of(user, self.users, self.data.encode.user_name)

    def item_row(self, item: Any) -> int:
        """Return the place of an item; an unknown name teaches the nearest."""
        return row_of(item, self.items, self.data.encode.item_name)

    def item_factors(self) -> Tensor:
        """Return the factors of all items (items, factors), on the CPU."""
        table = self.model.i_weight if isinstance(self.model, EmbeddingDotBias) else self._embeds()[1]
        return table.weight.detach().cpu()

    def user_factors(self) -> Tensor:
        """Return the factors of all users (users, factors), on the CPU."""
        table = self.model.u_weight if isinstance(self.model, EmbeddingDotBias) else self._embeds()[0]
        return table.weight.detach().cpu()

    def _embeds(self) -> Sequence[Any]:
        if isinstance(self.model, EmbeddingNN):
            return list(self.model.embeds)
        raise ArgumentError(
            f"A {type(self.model).__name__} is code of your own, so where its factors are is not known here. "
            "recommend and ranking work with any model."
        )

    # what it can be asked

    def recommend(self, user: Any, n: int = 10, exclude_seen: bool = True) -> pd.DataFrame:
        """Return the `n` items with the highest predictions for a user: item, prediction, training ratings.

        `user` is a name from training, or a `Taste` of somebody new (see `ColdStart`).

        Raises:
            UnknownNameError: no such user was in training; the nearest are proposed.
        """
        import pandas as pd

        _check_n(n)
        if isinstance(user, Taste):
            model = dot_model(self)
            with torch.no_grad():
                factors = user.factors[None].to(model.i_weight.weight)
                scored = item_scores(model, factors, factors.new_tensor([[user.bias]])).cpu()
            rated = torch.tensor(user.rated, dtype=torch.int64)
        else:
            row = self.user_row(user)
            scored, rated = scores(self, [row]), self.seen.of(row)
        seen = (torch.zeros_like(rated), rated) if exclude_seen else None
        values, places = best(scored, n, seen)
        rows = [
            (self.items[place], value, int(self.popularity[place]))
            for place, value in zip(places[0].tolist(), values[0].tolist(), strict=True)
            if value > -math.inf
        ]
        return pd.DataFrame(rows, columns=[self.data.encode.item_name, "prediction", "ratings"])

    def recommend_all(
        self, users: Iterable[Any] | None = None, n: int = 10, exclude_seen: bool = True
    ) -> pd.DataFrame:
        """Return the `n` best items of many users (None: all in training): user, rank, item, prediction.

        Raises:
            UnknownNameError: a user was not in training; EmptyError: there is no user.
        """
        import pandas as pd

        _check_n(n)
        encode = self.data.encode
        if isinstance(users, str):
            users = [users]
        rows = [self.user_row(user) for user in users] if users is not None else range(1, len(self.users))
        places = torch.tensor(list(rows), dtype=torch.int64)
        if not len(places):
            raise EmptyError("recommend_all got no user. Leave users out to recommend to all.")
        values, items = [], []
        for start in range(0, len(places), USERS_AT_ONCE):
            some = places[start : start + USERS_AT_ONCE]
            found = best(scores(self, some), n, self.seen.of_all(some) if exclude_seen else None)
            values.append(found[0])
            items.append(found[1])
        value, item = torch.cat(values), torch.cat(items)
        keep = (value > -math.inf).flatten()
        user = places.repeat_interleave(value.shape[1])[keep]
        table = {
            encode.user_name: _named(self.users, user),
            "rank": torch.arange(1, value.shape[1] + 1).repeat(len(places))[keep].numpy(),
            encode.item_name: _named(self.items, item.flatten()[keep]),
            "prediction": value.flatten()[keep].numpy(),
        }
        return pd.DataFrame(table)

    def similar_items(self, item: Any, n: int = 10, min_ratings: int = 0) -> pd.DataFrame:
        """Return the `n` items whose factors point most nearly the same way (cosine): item, similarity, ratings.

        `min_ratings` leaves out items with fewer training ratings, whose factors say little.

        Raises:
            UnknownNameError: no such item was in training; the nearest are proposed.
        """
        import pandas as pd

        _check_n(n)
        row, factors = self.item_row(item), self.item_factors()
        alike = nn.functional.cosine_similarity(factors, factors[row][None])
        alike[[0, row]] = -torch.inf
        alike[self.popularity < min_ratings] = -torch.inf
        found = alike.topk(min(n, len(alike) - 2))
        rows = [
            (self.items[place], value, int(self.popularity[place]))
            for place, value in zip(found.indices.tolist(), found.values.tolist(), strict=True)
            if value > -math.inf
        ]
        return pd.DataFrame(rows, columns=[self.data.encode.item_name, "similarity", "ratings"])

    def ranking(self, k: int = 10, min_rating: float = -math.inf) -> pd.DataFrame:
        """Return hit rate, recall and NDCG at `k` on the validation ratings, the most popular items beside."""
        _check_n(k)
        return ranking(self, k, min_rating)

    def plot_factors(self, n: int = 50, figsize: tuple[float, float] = (12, 9)) -> Drawing:
        """Draw the `n` most rated items on the two directions in which item factors differ most."""
        from flambeau.collab.plots import plot_factors

        return plot_factors(self, n, figsize)

    # its export

    def export_tensors(self) -> dict[str, Tensor]:
        """Return what an export holds besides the weights: who rated what, so that it is not recommended again."""
        return {"pairs": self._training_pairs.to(torch.int32)}

    @classmethod
    def from_export(cls, exported: Exported, path: AnyPath) -> CollabLearner:
        """Return the learner of an export: it predicts and recommends, and has no ratings to train on.

        Raises:
            ExportError: the export holds no vocabularies, or pairs that do not fit them.
        """
        pipelines = exported.loader.dataset.pipelines
        parts = [part for pipeline in pipelines for part in pipeline]
        if len(parts) != 2 or not isinstance(parts[0], EncodePair) or not isinstance(parts[1], RatingValue):
            raise ExportError("The export says that it is of ratings, but holds no users and items.")
        encode, value = parts
        pairs = exported.extra.get("pairs", torch.zeros(0, 2)).to(torch.int64)
        sizes = torch.tensor([len(encode.users), len(encode.items)])
        if pairs.ndim != 2 or pairs.shape[1] != 2 or bool((pairs < 0).any() or (pairs >= sizes).any()):
            raise ExportError("The export's rated pairs do not fit its users and items.")
        data = Ratings(torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0), encode, value)
        data.split_idx = 1
        valid = exported.loader.new(data)
        valid.maker.kinds = data.kinds
        train = valid.new(training=True)
        dls = CollabDataLoaders(train, valid, path=path.parent if hasattr(path, "parent") else path, n_inp=1)
        name_model(exported.model, encode)
        learn = cls(dls, exported.model, loss_func=exported.loss_func)
        learn._training_pairs = pairs
        return learn


def _check_n(n: int) -> None:
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ArgumentError(f"How many to return must be a whole number, at least 1; got {n!r}.")


def _named(vocab: Any, places: Tensor) -> Any:
    import numpy as np

    names = np.empty(len(vocab), dtype=object)
    names[:] = list(vocab)
    return names[places.numpy()]


def dot_model(learn: Learner) -> EmbeddingDotBias:
    """Return the learner's model where it is a dot product of factors.

    Raises:
        ArgumentError: it is another.
    """
    if not isinstance(learn.model, EmbeddingDotBias):
        raise ArgumentError(
            f"A taste is factors, which a {type(learn.model).__name__} does not multiply. Train with use_nn=False."
        )
    return learn.model


def name_model(model: nn.Module, encode: EncodePair) -> None:
    """Let a dot product know the names of its rows."""
    if isinstance(model, EmbeddingDotBias):
        classes = {encode.user_name: encode.users, encode.item_name: encode.items}
        model.name_rows(classes, encode.user_name, encode.item_name)


def collab_learner(
    dls: DataLoaders,
    n_factors: int = 50,
    use_nn: bool = False,
    emb_szs: dict[str, int] | None = None,
    layers: Sequence[int] | None = None,
    y_range: tuple[float, float] | None = None,
    loss_func: Any = None,
    opt_func: Callable[..., torch.optim.Optimizer] = Adam,
    lr: float = 1e-3,
    splitter: Callable[[nn.Module], Sequence[Any]] = all_in_one,
    cbs: Any = None,
    metrics: Any = None,
    path: str | AnyPath | None = None,
    model_dir: str | AnyPath = "models",
    wd: float | None = None,
    wd_bn_bias: bool = False,
    train_bn: bool = True,
    moms: Moms = (0.95, 0.85, 0.95),
    ps: float = 0.0,
    embed_p: float = 0.0,
    model: nn.Module | None = None,
) -> CollabLearner:
    """Return a learner of ratings: a dot product of factors with biases, or with `use_nn` a network over them.

    `y_range` bounds the predictions by a sigmoid; take its ends a little beyond the ratings, which a sigmoid never
    quite reaches: (0, 5.5) for ratings up to 5. Of a network, `emb_szs` gives factors by column name, `layers` its
    widths ([n_factors] where left out), `ps` and `embed_p` its dropout. `model` is one of your own.

    Raises:
        ArgumentError: the loaders hold no ratings, or ratings lie outside `y_range`.
    """
    if not isinstance(dls, CollabDataLoaders):
        raise ArgumentError(f"collab_learner needs CollabDataLoaders, got a {type(dls).__name__}.")
    check_y_range(dls, y_range)
    if not isinstance(n_factors, int) or n_factors < 1:
        raise ArgumentError(f"n_factors is a whole number, at least 1; got {n_factors!r}.")
    encode = dls.ratings.encode
    own = model is not None
    if model is None and use_nn:
        sizes = get_emb_sz(dls, emb_szs)
        model = EmbeddingNN(sizes, [n_factors] if layers is None else layers, y_range, ps, embed_p)
    elif model is None:
        if layers is not None or emb_szs is not None:
            raise ArgumentError("layers and emb_szs belong to the network: pass use_nn=True, or n_factors instead.")
        model = EmbeddingDotBias(n_factors, len(encode.users), len(encode.items), y_range)
    name_model(model, encode)
    learn = CollabLearner(
        dls, model, loss_func=MSELossFlat() if loss_func is None else loss_func, opt_func=opt_func, lr=lr,
        splitter=splitter, cbs=cbs, metrics=metrics, path=path, model_dir=model_dir, wd=wd, wd_bn_bias=wd_bn_bias,
        train_bn=train_bn, moms=moms,
    )  # fmt: skip
    if not own:
        learn.add_cb(MeanForUnknown())
    return learn


def check_y_range(dls: CollabDataLoaders, y_range: tuple[float, float] | None) -> None:
    """Raise an ArgumentError where ratings lie outside the range of predictions."""
    if y_range is None:
        return
    is_pair = isinstance(y_range, tuple | list) and len(y_range) == 2
    if not is_pair or not all(isinstance(end, Real) for end in y_range) or not y_range[0] < y_range[1]:
        raise ArgumentError(f"y_range is (low, high) with low below high; got {y_range!r}.")
    found = torch.cat([loader.dataset.ratings for loader in dls.loaders])
    low, high = float(found.min()), float(found.max())
    if low < y_range[0] or high > y_range[1]:
        margin = 0.1 * (high - low) or 1.0
        raise ArgumentError(
            f"The ratings reach from {low:g} to {high:g}, but predictions are bounded by y_range={tuple(y_range)}. A "
            "sigmoid does not quite reach its ends, so go a little beyond: "
            f"y_range=({low - margin:g}, {high + margin:g})."
        )
