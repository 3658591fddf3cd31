"""Chapter 12 of the book: a language model from scratch on numbers as words, up to the AWD-LSTM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flambeau.text.all import *
from flambeau.text.all import (
    CrossEntropyLossFlat,
    DataLoaders,
    F,
    L,
    Learner,
    ModelResetter,
    Module,
    RNNRegularizer,
    TextLearner,
    URLs,
    accuracy,
    nn,
    tensor,
    torch,
    untar_data,
)

ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.fixture
def numbers(home: Path) -> Path:
    """Place lines of numbers as words where `untar_data(URLs.HUMAN_NUMBERS)` finds them."""
    folder = home / "data" / "human_numbers"
    folder.mkdir(parents=True)
    lines = [" ".join(ONES[int(digit)] for digit in str(number)) + " \n" for number in range(1, 900)]
    (folder / "train.txt").write_text("".join(lines[:700]), encoding="utf-8")
    (folder / "valid.txt").write_text("".join(lines[700:]), encoding="utf-8")
    return folder


def read(path: Path) -> tuple[Any, Any, Any]:
    """Return the book's tokens, vocabulary and numbers."""
    lines = L()
    with open(path / "train.txt") as f:
        lines += L(*f.readlines())
    with open(path / "valid.txt") as f:
        lines += L(*f.readlines())
    text = " . ".join([line.strip() for line in lines])
    tokens = L(*text.split(" "))
    vocab = L(*tokens).unique()
    word2idx = {word: place for place, word in enumerate(vocab)}
    return tokens, vocab, L(word2idx[word] for word in tokens)


def test_three_words_predict_the_fourth(numbers: Path) -> None:
    tokens, vocab, nums = read(untar_data(URLs.HUMAN_NUMBERS))
    assert list(tokens[:4]) == ["one", ".", "two", "."]
    seqs = L((tensor(nums[i : i + 3]), nums[i + 3]) for i in range(0, len(nums) - 4, 3))
    bs, cut = 32, int(len(seqs) * 0.8)
    dls = DataLoaders.from_dsets(seqs[:cut], seqs[cut:], bs=bs, shuffle=False)

    class LMModel1(Module):
        def __init__(self, vocab_sz, n_hidden):
            self.i_h = nn.Embedding(vocab_sz, n_hidden)
            self.h_h = nn.Linear(n_hidden, n_hidden)
            self.h_o = nn.Linear(n_hidden, vocab_sz)

        def forward(self, x):
            h = 0
            for i in range(3):
                h = h + self.i_h(x[:, i])
                h = F.relu(self.h_h(h))
            return self.h_o(h)

    learn = Learner(dls, LMModel1(len(vocab), 32), loss_func=F.cross_entropy, metrics=accuracy)
    learn.fit_one_cycle(5, 1e-2)
    assert learn.validate()[1] > 0.3


def group_chunks(ds: Any, bs: int) -> Any:
    """Return the book's order of samples, in which row i of a batch goes on in the next one."""
    m = len(ds) // bs
    return L(ds[i + m * j] for i in range(m) for j in range(bs))


def test_a_state_that_is_kept_an_lstm_and_its_regularisation(numbers: Path) -> None:
    _, vocab, nums = read(untar_data(URLs.HUMAN_NUMBERS))
    sl, bs = 16, 16
    seqs = L((tensor(nums[i : i + sl]), tensor(nums[i + 1 : i + sl + 1])) for i in range(0, len(nums) - sl - 1, sl))
    cut = int(len(seqs) * 0.8)
    dls = DataLoaders.from_dsets(
        group_chunks(seqs[:cut], bs), group_chunks(seqs[cut:], bs), bs=bs, drop_last=True, shuffle=False
    )

    class LMModel4(Module):
        def __init__(self, vocab_sz, n_hidden):
            self.i_h = nn.Embedding(vocab_sz, n_hidden)
            self.h_h = nn.Linear(n_hidden, n_hidden)
            self.h_o = nn.Linear(n_hidden, vocab_sz)
            self.h = 0

        def forward(self, x):
            outs = []
            for i in range(sl):
                self.h = self.h + self.i_h(x[:, i])
                self.h = F.relu(self.h_h(self.h))
                outs.append(self.h_o(self.h))
            self.h = self.h.detach()
            return torch.stack(outs, dim=1)

        def reset(self):
            self.h = 0

    def loss_func(inp, targ):
        return F.cross_entropy(inp.view(-1, len(vocab)), targ.view(-1))

    learn = Learner(dls, LMModel4(len(vocab), 32), loss_func=loss_func, metrics=accuracy, cbs=ModelResetter)
    learn.fit_one_cycle(2, 3e-3)

    class LMModel7(Module):
        def __init__(self, vocab_sz, n_hidden, n_layers, p):
            self.i_h = nn.Embedding(vocab_sz, n_hidden)
            self.rnn = nn.LSTM(n_hidden, n_hidden, n_layers, batch_first=True)
            self.drop = nn.Dropout(p)
            self.h_o = nn.Linear(n_hidden, vocab_sz)
            self.h_o.weight = self.i_h.weight
            self.h = [torch.zeros(n_layers, bs, n_hidden) for _ in range(2)]

        def forward(self, x):
            raw, h = self.rnn(self.i_h(x), self.h)
            out = self.drop(raw)
            self.h = [h_.detach() for h_ in h]
            return self.h_o(out), raw, out

        def reset(self):
            for h in self.h:
                h.zero_()

    learn = Learner(
        dls, LMModel7(len(vocab), 32, 2, 0.5), loss_func=CrossEntropyLossFlat(), metrics=accuracy,
        cbs=[ModelResetter, RNNRegularizer(alpha=2, beta=1)],
    )  # fmt: skip
    learn.fit_one_cycle(1, 1e-2)
    learn = TextLearner(dls, LMModel7(len(vocab), 32, 2, 0.4), loss_func=CrossEntropyLossFlat(), metrics=accuracy)
    learn.fit_one_cycle(3, 1e-2, wd=0.1)
    assert learn.validate()[1] > 0.3
