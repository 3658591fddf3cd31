"""Small models and texts of numbers for the tests of language models and classifiers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flambeau.data.data_loaders import DataLoaders
from flambeau.nn.losses import CrossEntropyLossFlat
from flambeau.text.awd_lstm import AWD_LSTM
from flambeau.text.models import SequentialRNN, get_language_model, get_text_classifier
from flambeau.text.rnn_callbacks import rnn_cbs
from flambeau.train.learner import Learner

SMALL = {"emb_sz": 8, "n_hid": 12, "n_layers": 2}


def small_language_model(vocab_sz: int = 20, drop_mult: float = 1.0, **config: Any) -> SequentialRNN:
    """Return a language model of two small layers."""
    torch.manual_seed(0)
    return get_language_model(AWD_LSTM, vocab_sz, {**SMALL, **config}, drop_mult)


def small_classifier(n_class: int = 3, **settings: Any) -> SequentialRNN:
    """Return a classifier of two small layers that reads windows of five words, of the last twenty."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"seq_len": 5, "max_len": 20, "config": SMALL, **settings}
    return get_text_classifier(AWD_LSTM, 50, n_class, **options)


def documents(*lengths: int) -> list[Tensor]:
    """Return documents of so many words each."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(2, 50, (length,), generator=generator) for length in lengths]


def padded(texts: list[Tensor], before: int = 10**9, window: int = 1) -> Tensor:
    """Return documents as one batch: padding before them in whole windows, `before` at most, the rest behind them."""
    longest = max(map(len, texts))
    rows = []
    for text in texts:
        missing = longest - len(text)
        n_before = min(before, missing // window * window)
        rows.append(torch.cat([torch.ones(n_before).long(), text, torch.ones(missing - n_before).long()]))
    return torch.stack(rows)


def periodic_batches(period: int = 5, n_batches: int = 8, bs: int = 4, time: int = 6) -> list[tuple[Tensor, Tensor]]:
    """Return batches of a text that repeats the words 2, 3, ...; each goes on from the one before."""
    stream = torch.arange(bs * (n_batches * time + 1)) % period + 2
    rows = stream.view(bs, -1)
    return [(rows[:, t * time : (t + 1) * time], rows[:, t * time + 1 : (t + 1) * time + 1]) for t in range(n_batches)]


def language_learner(cbs: Any = None, n_valid: int = 2, model: Any = None, **options: Any) -> Learner:
    """Return a learner of a language model on `periodic_batches`."""
    batches = periodic_batches()
    loaders = [batches, *([batches[:n_valid]] if n_valid else [])]
    network = small_language_model() if model is None else model
    settings: dict[str, Any] = {"loss_func": CrossEntropyLossFlat(), "cbs": rnn_cbs() if cbs is None else cbs}
    return Learner(DataLoaders(*loaders, device="cpu"), network, **{**settings, **options})
