"""The AWD-LSTM: a training step of a language model and of a classifier against the same layers written by hand.

By hand is a stack of `nn.LSTM` with the same dropouts and no module of its own: masks, dropped weights and the carried
state are lines in a function. Both sides see the same batches, and regularise as `text_classifier_learner` does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent))
from timing import compare, has_fastai

from flambeau.data.data_loaders import DataLoaders
from flambeau.nn.losses import CrossEntropyLossFlat
from flambeau.text.awd_lstm import AWD_LSTM
from flambeau.text.models import get_language_model, get_text_classifier
from flambeau.text.rnn_callbacks import rnn_cbs
from flambeau.train.learner import Learner

Hidden = list[tuple[Tensor, Tensor]]


def mask(x: Tensor, *size: int, p: float) -> Tensor:
    """Return a dropout mask."""
    return x.new_empty(size).bernoulli_(1 - p).div_(1 - p)


class Bare:
    """A language model's parts without modules of its own, and a step on it."""

    def __init__(self, vocab_sz: int, emb_sz: int, n_hid: int, n_layers: int = 3) -> None:
        widths = [emb_sz, *[n_hid] * (n_layers - 1), emb_sz]
        self.table = nn.Embedding(vocab_sz, emb_sz, padding_idx=1)
        self.layers = [nn.LSTM(a, b, batch_first=True) for a, b in pairwise(widths)]
        self.bias = nn.Parameter(torch.zeros(vocab_sz))
        self.parameters = [*self.table.parameters(), *(p for rnn in self.layers for p in rnn.parameters()), self.bias]
        self.hidden: list[Any] = [None] * n_layers

    def features(self, ids: Tensor, embed_p: float, input_p: float, hidden_p: float, weight_p: float) -> Tensor:
        """Return the last layer's features; the state goes on from the batch before."""
        x = self.table(ids) * F.embedding(ids, mask(self.bias.detach(), self.table.num_embeddings, 1, p=embed_p))
        x = x * mask(x.detach(), len(x), 1, x.shape[2], p=input_p)
        for place, rnn in enumerate(self.layers):
            weights = [rnn.weight_ih_l0, F.dropout(rnn.weight_hh_l0, weight_p), rnn.bias_ih_l0, rnn.bias_hh_l0]
            before = self.hidden[place] or [x.new_zeros(1, len(x), rnn.hidden_size)] * 2
            x, h, c = torch.lstm(x, before, weights, True, 1, 0.0, True, False, True)
            self.hidden[place] = h.detach(), c.detach()
            if place < len(self.layers) - 1:
                x = x * mask(x.detach(), len(x), 1, x.shape[2], p=hidden_p)
        return x

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of next words, regularised."""
        raw = self.features(ids, 0.02, 0.25, 0.15, 0.2)
        dropped = raw * mask(raw.detach(), len(raw), 1, raw.shape[2], p=0.1)
        logits = F.linear(dropped, self.table.weight, self.bias)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return loss + 2 * dropped.pow(2).mean() + (raw[:, 1:] - raw[:, :-1]).pow(2).mean()


def bare_epoch(bare: Bare, batches: list[tuple[Tensor, Tensor]], optimizer: torch.optim.Optimizer) -> None:
    """Train a language model by hand."""
    bare.hidden = [None] * len(bare.layers)
    for ids, targets in batches:
        bare.loss(ids, targets).backward()
        optimizer.step()
        optimizer.zero_grad()


class BareClassifier:
    """A classifier of documents of one length, by hand: windows of 72 words, pooling, a head."""

    def __init__(self, vocab_sz: int, emb_sz: int, n_hid: int) -> None:
        self.bare = Bare(vocab_sz, emb_sz, n_hid)
        head: list[nn.Module] = [nn.BatchNorm1d(3 * emb_sz), nn.Dropout(0.2), nn.Linear(3 * emb_sz, 50, bias=False)]
        head += [nn.ReLU(), nn.BatchNorm1d(50), nn.Dropout(0.1), nn.Linear(50, 2, bias=False)]
        self.head = nn.Sequential(*head)
        self.parameters = [*self.bare.parameters[:-1], *self.head.parameters()]

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of classes, regularised."""
        self.bare.hidden = [None] * len(self.bare.layers)
        x = torch.cat([self.bare.features(part, 0.025, 0.2, 0.15, 0.25) for part in ids.split(72, 1)], 1)
        loss = F.cross_entropy(self.head(torch.cat([x[:, -1], x.amax(1), x.mean(1)], 1)), targets)
        return loss + 2 * x.pow(2).mean() + (x[:, 1:] - x[:, :-1]).pow(2).mean()


def bare_documents(model: BareClassifier, batches: list[Any], optimizer: torch.optim.Optimizer) -> None:
    """Train a classifier by hand."""
    for ids, targets in batches:
        model.loss(ids, targets).backward()
        optimizer.step()
        optimizer.zero_grad()


def adam(parameters: Any) -> torch.optim.Optimizer:
    """Return the optimizer that a Learner has."""
    return torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.99), eps=1e-5, fused=True)


def quiet_epoch(learn: Any) -> None:
    """Train for an epoch without a display."""
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-3)


def fastai_side(batches: list[Any], vocab_sz: int, config: dict[str, int], classes: bool) -> Callable[[], None]:
    """Return an epoch of fastai's learner of the same model."""
    from fastai.basics import CrossEntropyLossFlat as FastaiLoss
    from fastai.basics import DataLoaders as FastaiLoaders
    from fastai.text import all as theirs

    usual = theirs.awd_lstm_clas_config if classes else theirs.awd_lstm_lm_config
    if classes:
        model = theirs.get_text_classifier(theirs.AWD_LSTM, vocab_sz, 2, config={**usual, **config}, drop_mult=0.5)
    else:
        model = theirs.get_language_model(theirs.AWD_LSTM, vocab_sz, {**usual, **config})
    learn = theirs.TextLearner(FastaiLoaders(batches, batches[:0]), model, loss_func=FastaiLoss())
    return lambda: quiet_epoch(learn)


def main() -> None:
    """Print the table of ratios."""
    torch.set_num_threads(1)
    chance = torch.Generator().manual_seed(0)
    for vocab_sz, emb_sz, n_hid, bs, time, n_batches in (
        (1000, 64, 128, 16, 36, 20),
        (5000, 200, 400, 32, 72, 3),
        (10_000, 400, 1152, 32, 72, 1),
    ):
        shape = f"{emb_sz}-{n_hid}, {bs}x{time}"
        ids = torch.randint(2, vocab_sz, (n_batches, bs, time + 1), generator=chance)
        batches = [(batch[:, :-1].contiguous(), batch[:, 1:].contiguous()) for batch in ids]
        bare = Bare(vocab_sz, emb_sz, n_hid)
        steps = adam(bare.parameters)
        config = {"emb_sz": emb_sz, "n_hid": n_hid}
        model = get_language_model(AWD_LSTM, vocab_sz, config)
        learn = Learner(DataLoaders(batches, device="cpu"), model, CrossEntropyLossFlat(), cbs=rnn_cbs())
        sides: dict[str, Callable[[], object]] = {}
        if has_fastai():
            sides["fastai"] = fastai_side(batches, vocab_sz, config, classes=False)
        compare(
            f"language model {shape}", "1.05", 7,
            bare=lambda bare=bare, batches=batches, steps=steps: bare_epoch(bare, batches, steps),
            flambeau=lambda learn=learn: quiet_epoch(learn),
            **sides,
        )  # fmt: skip
    vocab_sz, config = 5000, {"emb_sz": 200, "n_hid": 400}
    documents = [
        (torch.randint(2, vocab_sz, (16, 288), generator=chance), torch.randint(0, 2, (16,), generator=chance))
        for _ in range(3)
    ]
    by_hand = BareClassifier(vocab_sz, 200, 400)
    classifier = get_text_classifier(AWD_LSTM, vocab_sz, 2, config=config, drop_mult=0.5)
    learn = Learner(DataLoaders(documents, device="cpu"), classifier, CrossEntropyLossFlat(), cbs=rnn_cbs())
    sides = {}
    if has_fastai():
        sides["fastai"] = fastai_side(documents, vocab_sz, config, classes=True)
    steps = adam(by_hand.parameters)
    compare(
        "classifier 200-400, 16x288", "1.1", 7,
        bare=lambda: bare_documents(by_hand, documents, steps),
        flambeau=lambda: quiet_epoch(learn),
        **sides,
    )  # fmt: skip


if __name__ == "__main__":
    main()
