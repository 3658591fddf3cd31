"""The AWD-LSTM: after reading it you know a language model's encoder, and the four dropouts that keep it from rote.

Merity, Keskar and Socher 2017: an LSTM stack is regularised by dropping whole words (embedding), features for all steps
of a document at once (input, between layers), and weights from one step to the next. Howard and Ruder 2018 (ULMFiT)
carry what it learnt of a language over to a classifier. In shapes, b is the batch, t the time, e the vector size.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from flambeau.foundation.errors import ArgumentError

State = tuple[Tensor, Tensor]  # hidden and cell of one layer, each (directions, b, features)
INIT_RANGE = 0.1

# dropouts of ULMFiT at drop_mult=1: a language model has plenty of text, a classifier few labels
awd_lstm_lm_config: dict[str, Any] = {
    "emb_sz": 400, "n_hid": 1152, "n_layers": 3, "pad_token": 1, "bidir": False, "output_p": 0.1, "hidden_p": 0.15,
    "input_p": 0.25, "embed_p": 0.02, "weight_p": 0.2, "tie_weights": True, "out_bias": True,
}  # fmt: skip
awd_lstm_clas_config: dict[str, Any] = {
    "emb_sz": 400, "n_hid": 1152, "n_layers": 3, "pad_token": 1, "bidir": False, "output_p": 0.4, "hidden_p": 0.3,
    "input_p": 0.4, "embed_p": 0.05, "weight_p": 0.5,
}  # fmt: skip


def dropout_mask(x: Tensor, sz: Sequence[int], p: float) -> Tensor:
    """Return a mask of shape `sz` that is 0 with chance `p`, else 1 / (1 - p); of the type and device of `x`."""
    return x.new_empty(*sz).bernoulli_(1 - p).div_(1 - p)


class RNNDropout(nn.Module):
    """Drop features of `(b, t, e)`, the same ones at all steps of a document."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = _share(p, "p")

    def forward(self, x: Tensor) -> Tensor:
        """Return the thinned features; in evaluation the features as they are."""
        if not self.training or self.p == 0:
            return x
        return x * dropout_mask(x.detach(), (x.shape[0], 1, *x.shape[2:]), self.p)

    def extra_repr(self) -> str:
        """Show the share in the model's printout."""
        return f"p={self.p:g}"


class EmbeddingDropout(nn.Module):
    """Look up `(b, t)` word ids in `emb`; in training drop words: one that is dropped is so wherever it stands."""

    def __init__(self, emb: nn.Embedding, embed_p: float) -> None:
        super().__init__()
        self.emb, self.embed_p = emb, _share(embed_p, "embed_p")

    def forward(self, words: Tensor) -> Tensor:
        """Return the vectors of the words, `(b, t, e)`."""
        vectors: Tensor = self.emb(words)
        if not self.training or self.embed_p == 0:
            return vectors
        mask = dropout_mask(vectors.detach(), (self.emb.num_embeddings, 1), self.embed_p)
        # masking what was looked up is masking the table's rows, without a copy of the table
        return vectors * F.embedding(words, mask)

    def extra_repr(self) -> str:
        """Show the share in the model's printout."""
        return f"embed_p={self.embed_p:g}"


class WeightDropout(nn.Module):
    """Call `module` with a share `weight_p` of some of its weights dropped, drawn anew for each call in training."""

    def __init__(self, module: nn.Module, weight_p: float, layer_names: str | Sequence[str] = "weight_hh_l0") -> None:
        super().__init__()
        self.module, self.weight_p = module, _share(weight_p, "weight_p")
        self.layer_names = [layer_names] if isinstance(layer_names, str) else list(layer_names)
        own = dict(module.named_parameters(recurse=False))
        lost = [name for name in self.layer_names if name not in own]
        if lost:
            raise ArgumentError(
                f"WeightDropout was to drop {', '.join(lost)}, which {type(module).__name__} has not; its weights are "
                f"{', '.join(own)}."
            )

    def forward(self, *inputs: Any) -> Any:
        """Return what the module answers."""
        if not self.training or self.weight_p == 0:
            return self.module(*inputs)
        weights: dict[str, Tensor] = dict(self.module.named_parameters(recurse=False))
        for name in self.layer_names:
            weights[name] = F.dropout(weights[name], self.weight_p)
        if isinstance(self.module, nn.RNNBase) and next(iter(weights.values())).is_cuda:
            weights = _side_by_side(weights)
        return functional_call(self.module, weights, inputs)

    def extra_repr(self) -> str:
        """Show the share and the weights in the model's printout."""
        return f"weight_p={self.weight_p:g}, layer_names={self.layer_names}"


def _side_by_side(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights as parts of one piece of memory: cuDNN copies others at each call, and warns of it."""
    pieces = torch.cat([weight.flatten() for weight in weights.values()]).split([w.numel() for w in weights.values()])
    return {name: piece.view_as(w) for (name, w), piece in zip(weights.items(), pieces, strict=True)}


class AWD_LSTM(nn.Module):
    """Turn word ids `(b, t)` into the last layer's features `(b, t, emb_sz)`, and go on from the batch before.

    The state of each layer is carried from call to call, cut from the graph, until `reset`. It is the training's, not
    the model's: no weights file holds it. Batch row i goes on from row i; where a batch has fewer rows the others are
    let go, where it has more they begin anew.

    Args:
        vocab_sz: how many words there are; emb_sz: the size of a word's vector, and of the last layer.
        n_hid: features of the layers between; n_layers: how many LSTM layers.
        pad_token: the id whose vector learns nothing.
        hidden_p, input_p: dropout between layers, and of the input, one mask a document; embed_p: of whole words.
        weight_p: dropout of the weights from one step to the next.
        bidir: read in both directions, with half the features each.
    """

    def __init__(
        self,
        vocab_sz: int,
        emb_sz: int = 400,
        n_hid: int = 1152,
        n_layers: int = 3,
        pad_token: int = 1,
        hidden_p: float = 0.2,
        input_p: float = 0.6,
        embed_p: float = 0.1,
        weight_p: float = 0.5,
        bidir: bool = False,
    ) -> None:
        super().__init__()
        if n_layers < 1 or (bidir and (emb_sz % 2 or n_hid % 2)):
            raise ArgumentError(
                f"AWD_LSTM needs a layer or more, and even sizes for two directions; got n_layers={n_layers}, "
                f"emb_sz={emb_sz}, n_hid={n_hid}, bidir={bidir}."
            )
        self.emb_sz, self.n_hid, self.n_layers, self.pad_token = emb_sz, n_hid, n_layers, pad_token
        self.n_dir = 2 if bidir else 1
        self.encoder = nn.Embedding(vocab_sz, emb_sz, padding_idx=pad_token)
        nn.init.uniform_(self.encoder.weight, -INIT_RANGE, INIT_RANGE)
        self.encoder_dp = EmbeddingDropout(self.encoder, embed_p)
        self.input_dp = RNNDropout(input_p)
        widths = [emb_sz, *[n_hid] * (n_layers - 1), emb_sz]
        self.rnns = nn.ModuleList(
            WeightDropout(
                nn.LSTM(n_in, n_out // self.n_dir, batch_first=True, bidirectional=bidir),
                weight_p,
                ["weight_hh_l0", *(["weight_hh_l0_reverse"] if bidir else [])],
            )
            for n_in, n_out in pairwise(widths)
        )
        self.hidden_dps = nn.ModuleList(RNNDropout(hidden_p) for _ in range(n_layers))
        self.hidden: list[State] | None = None

    def forward(self, inp: Tensor, from_embeds: bool = False) -> Tensor:
        """Return the features of word ids, or with `from_embeds` of vectors `(b, t, emb_sz)` in their place."""
        if inp.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            # on CPUs without AVX-512 torch has no LSTM of 16 bits, and raises
            with torch.autocast("cpu", enabled=False):
                return self._features(inp, from_embeds)
        return self._features(inp, from_embeds)

    def _features(self, inp: Tensor, from_embeds: bool) -> Tensor:
        output = self.input_dp(inp if from_embeds else self.encoder_dp(inp))
        before = self._state_for(output)
        after: list[State] = []
        for place, (rnn, hidden_dp) in enumerate(zip(self.rnns, self.hidden_dps, strict=True)):
            output, (hidden, cell) = rnn(output, before[place] if before else None)
            after.append((hidden.detach(), cell.detach()))
            if place < self.n_layers - 1:  # what follows drops the last layer's as it needs
                output = hidden_dp(output)
        self.hidden = after
        return output

    def _state_for(self, x: Tensor) -> list[State] | None:
        """Return the carried state with as many rows as `x`, of its type and on its device."""
        if self.hidden is None:
            return None
        return [(_with_rows(hidden, x), _with_rows(cell, x)) for hidden, cell in self.hidden]

    def reset(self) -> None:
        """Forget what was read: the next batch begins new documents."""
        self.hidden = None


def _with_rows(state: Tensor, x: Tensor) -> Tensor:
    n_rows, n_here = len(x), state.shape[1]
    state = state.to(x)  # after another precision or device
    if n_rows < n_here:
        return state[:, :n_rows].contiguous()
    return state if n_rows == n_here else F.pad(state, (0, 0, 0, n_rows - n_here))


def _share(p: float, name: str) -> float:
    if not 0 <= p < 1:
        raise ArgumentError(
            f"{name} is the share that is dropped, from 0 to below 1; got {p}. A large drop_mult may have raised it."
        )
    return float(p)


def awd_lstm_lm_split(model: Any) -> list[list[nn.Module]]:
    """Split a language model into layer groups: each LSTM layer, then embedding and decoder."""
    encoder, decoder = model[0], model[1]
    return [*_layers(encoder), [encoder.encoder, encoder.encoder_dp, decoder]]


def awd_lstm_clas_split(model: Any) -> list[list[nn.Module]]:
    """Split a classifier into layer groups: embedding, each LSTM layer, head."""
    encoder = model[0].module
    return [[encoder.encoder, encoder.encoder_dp], *_layers(encoder), [model[1]]]


def _layers(encoder: AWD_LSTM) -> list[list[nn.Module]]:
    return [[rnn, dropout] for rnn, dropout in zip(encoder.rnns, encoder.hidden_dps, strict=True)]
