"""TabM: after reading it you know how one net answers as several, and why that beats one net on tables.

An ensemble of k nets is stronger than one, but costs k nets. Here the members share the large matrix of each layer and
own only two vectors and a bias: member i computes `s_i * (W (r_i * x)) + b_i` (BatchEnsemble, Wen 2020). All of them
are trained at once, each by its own loss; the answer is their average. TabM: Gorishniy, Kotelnikov and Babenko 2024,
arXiv 2410.24210. Numbers enter by piecewise linear embeddings (Gorishniy 2022, arXiv 2203.05556): a number becomes how
far it has come through each of the bins between its quantiles, so that a net can bend at each of them.

Letters: b rows, k members, d width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flambeau.foundation.errors import ArgumentError
from flambeau.nn.layers import Embedding, SigmoidRange, TargetScale
from flambeau.tabular.models import require_widths
from flambeau.train.callback import Callback

# The paper has 32 members of width 512. On Adult and California housing, with equal epochs, 8 of width 128 at a rate of
# 1e-2 were as accurate as 32 of width 256 at 2e-3 and 4e-3, in a tenth of the time; equal rates were not compared.
N_MEMBERS = 8
USUAL_WIDTHS = (128, 128)
AVERAGES = ("classes", "labels", "numbers")


class MemberLinear(nn.Module):
    """One linear layer of all members: `(b, k, n_in) -> (b, k, n_out)`.

    `signs` draws the first layer's input vectors from -1 and 1, which makes the members differ; all other vectors begin
    at 1 (the paper's initialisation).
    """

    def __init__(self, n_in: int, n_out: int, k: int, signs: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_out, n_in))
        self.r = nn.Parameter(torch.ones(k, n_in))
        self.s = nn.Parameter(torch.ones(k, n_out))
        bound = n_in**-0.5
        nn.init.uniform_(self.weight, -bound, bound)
        self.bias = nn.Parameter(torch.empty(k, n_out).uniform_(-bound, bound))
        if signs:
            with torch.no_grad():
                self.r.copy_(torch.randint(0, 2, self.r.shape, device=self.r.device) * 2 - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return each member's outputs."""
        return torch.addcmul(self.bias, F.linear(x * self.r, self.weight), self.s)


class MemberHeads(nn.Module):
    """One linear layer a member, nothing shared: `(b, k, n_in) -> (b, k, n_out)`."""

    def __init__(self, n_in: int, n_out: int, k: int) -> None:
        super().__init__()
        bound = n_in**-0.5
        self.weight = nn.Parameter(torch.empty(k, n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(k, n_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Return each member's outputs."""
        return torch.einsum("bki,kio->bko", x, self.weight) + self.bias


class PiecewiseLinear(nn.Module):
    """Turn each number into `d` numbers, linear between the edges of its bins: `(b, columns) -> (b, columns * d)`.

    `edges` (columns, bins + 1) are quantiles of the training rows, rising; a bin of no width adds nothing. At first the
    embedding is linear: the bins' weights begin at 0.
    """

    edges: Tensor

    def __init__(self, n_columns: int, n_bins: int, d: int, edges: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("edges", torch.zeros(n_columns, n_bins + 1) if edges is None else edges.clone())
        self.linear = nn.Parameter(torch.empty(n_columns, d).uniform_(-1, 1))
        self.bias = nn.Parameter(torch.empty(n_columns, d).uniform_(-1, 1))
        self.bends = nn.Parameter(torch.zeros(n_columns, n_bins, d))

    def forward(self, x: Tensor) -> Tensor:
        """Return the embedded numbers."""
        low, width = self.edges[:, :-1], self.edges.diff(dim=1)
        share = (x[:, :, None] - low) / torch.where(width > 0, width, torch.inf)  # (b, columns, bins)
        share = share.clamp(0, 1)
        bent = torch.einsum("bcn,cnd->bcd", share, self.bends)
        return torch.addcmul(self.bias + bent, x[:, :, None], self.linear).flatten(1)


def quantile_edges(numbers: Tensor, n_bins: int) -> Tensor:
    """Return the edges of bins that hold about as many rows each: `(rows, columns) -> (columns, n_bins + 1)`."""
    places = torch.linspace(0, len(numbers) - 1, n_bins + 1).long()
    return numbers.sort(0).values[places].T.contiguous()


class TabM(nn.Module):
    """An ensemble of `k` nets that share their matrices: `(b, categories), (b, numbers) -> (b, out_sz)`.

    In training it answers with all members, (b, k, out_sz), and `MembersApart` gives each its own loss. Otherwise with
    their average: of probabilities for "classes" and "labels" (put back as logarithms, so that the usual loss and
    activation apply), of the answers for "numbers".

    Raises:
        ArgumentError: `average` is none of these.
    """

    def __init__(
        self,
        emb_szs: Sequence[tuple[int, int]],
        n_cont: int,
        out_sz: int,
        layers: Sequence[int] = USUAL_WIDTHS,
        p: float = 0.1,
        k: int = N_MEMBERS,
        n_bins: int = 32,
        d_number: int = 12,
        average: str = "numbers",
        y_range: tuple[float, float] | None = None,
        edges: Tensor | None = None,
        scale: TargetScale | None = None,
    ) -> None:
        super().__init__()
        if average not in AVERAGES:
            raise ArgumentError(f"average must be one of {', '.join(AVERAGES)}; got {average!r}.")
        self.k, self.n_cont, self.average = k, n_cont, average
        # larger than the vectors of a plain net, whose batch norm makes up for small ones
        self.embeds = nn.ModuleList([Embedding(levels, size, std=size**-0.5) for levels, size in emb_szs])
        self.numbers = PiecewiseLinear(n_cont, n_bins, d_number, edges) if n_cont else None
        widths = [sum(size for _, size in emb_szs) + n_cont * d_number, *layers]
        blocks: list[nn.Module] = []
        for place, (n_in, n_out) in enumerate(pairwise(widths)):
            blocks += [MemberLinear(n_in, n_out, k, signs=place == 0), nn.ReLU(), nn.Dropout(p)]
        self.layers = nn.Sequential(*blocks)
        self.heads = MemberHeads(widths[-1], out_sz, k)
        self.squeeze = SigmoidRange(*y_range) if y_range is not None else scale
        self.settings = {
            "model": "tabm",
            "emb_szs": [[int(n), int(size)] for n, size in emb_szs],
            "n_cont": n_cont,
            "out_sz": out_sz,
            "layers": list(layers),
            "p": p,
            "k": k,
            "n_bins": n_bins,
            "d_number": d_number,
            "average": average,
            "head": {"y_range": None if y_range is None else list(y_range)},
            "scaled": scale is not None,
        }

    def forward(self, x_cat: Tensor, x_cont: Tensor) -> Tensor:
        """Return the members' answers in training, else their average."""
        require_widths(x_cat, x_cont, len(self.embeds), self.n_cont)
        parts = [self.embed(x_cat)] if len(self.embeds) else []
        if self.numbers is not None:
            parts.append(self.numbers(x_cont))
        rows = torch.cat(parts, 1)
        answers = self.heads(self.layers(rows[:, None].expand(-1, self.k, -1)))  # b k out
        if self.squeeze is not None:
            answers = self.squeeze(answers)
        return answers if self.training else self._averaged(answers.float())

    def embed(self, x_cat: Tensor) -> Tensor:
        """Return the vectors of rows' levels side by side, `(b, sum of sizes)`."""
        return torch.cat([embed(x_cat[:, place]) for place, embed in enumerate(self.embeds)], 1)

    def _averaged(self, answers: Tensor) -> Tensor:
        if self.average == "numbers":
            return answers.mean(1)
        if self.average == "classes":
            return answers.log_softmax(-1).logsumexp(1) - torch.log(torch.tensor(float(self.k)))
        # the log odds of the mean probability, from logarithms that do not underflow
        return F.logsigmoid(answers).logsumexp(1) - F.logsigmoid(-answers).logsumexp(1)


class MembersApart(Callback):
    """Give each member of a TabM its own loss in training: rows are repeated once a member."""

    order = -20  # before callbacks that look at the answer
    run_valid = False

    def after_pred(self) -> None:
        learn = self.learn
        if learn.pred.ndim == 3:
            k = learn.pred.shape[1]
            learn.pred = learn.pred.flatten(0, 1)
            learn.yb = tuple(target.repeat_interleave(k, 0) for target in learn.yb)


def build_tabm(settings: Mapping[str, Any]) -> TabM:
    """Build the ensemble that `settings` describe, with random weights."""
    options = {name: value for name, value in settings.items() if name not in ("model", "head", "scaled")}
    y_range = (settings.get("head") or {}).get("y_range")
    scale = TargetScale.blank(settings["out_sz"]) if settings.get("scaled") else None
    return TabM(**options, y_range=None if y_range is None else tuple(y_range), scale=scale)
