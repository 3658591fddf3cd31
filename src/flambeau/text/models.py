"""Language models and text classifiers: after reading it you know what stands on top of an encoder.

A language model turns the encoder's features into one number for each word of the vocabulary. A classifier reads a
whole document in windows, pools the features of its words and passes them to a small head. In shapes, b is the batch,
t the time, e the size of the features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from flambeau.data.urls import URLs
from flambeau.foundation.errors import ArgumentError, ShapeError
from flambeau.nn.layers import LinBnDrop, SigmoidRange
from flambeau.text.awd_lstm import (
    AWD_LSTM,
    INIT_RANGE,
    RNNDropout,
    awd_lstm_clas_config,
    awd_lstm_clas_split,
    awd_lstm_lm_config,
    awd_lstm_lm_split,
)

Keep = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True)
class TextArchitecture:
    """What belongs to an encoder: its usual settings, its layer groups, and where weights for it are published."""

    hid_name: str
    """Which setting says the size of its features."""
    config_lm: Mapping[str, Any]
    config_clas: Mapping[str, Any]
    split_lm: Callable[[Any], list[list[nn.Module]]]
    split_clas: Callable[[Any], list[list[nn.Module]]]
    url: str
    url_bwd: str


ARCHITECTURES: dict[Any, TextArchitecture] = {
    AWD_LSTM: TextArchitecture(
        "emb_sz", awd_lstm_lm_config, awd_lstm_clas_config, awd_lstm_lm_split, awd_lstm_clas_split,
        URLs.WT103_FWD, URLs.WT103_BWD,
    )
}  # fmt: skip


def architecture(arch: Any) -> TextArchitecture:
    """Return what belongs to an encoder's class.

    Raises:
        ArgumentError: it is no encoder that flambeau knows.
    """
    if arch not in ARCHITECTURES:
        known = ", ".join(cls.__name__ for cls in ARCHITECTURES)
        raise ArgumentError(
            f"arch is {arch!r}, but language models and classifiers are built on: {known}. Put a network of your own "
            "into a Learner, or into SequentialRNN(encoder, LinearDecoder(...))."
        )
    return ARCHITECTURES[arch]


class LinearDecoder(nn.Module):
    """Turn features `(b, t, n_hid)` into one number for each of `n_out` words; `tie_encoder` shares its weights."""

    def __init__(
        self,
        n_out: int,
        n_hid: int,
        output_p: float = 0.1,
        tie_encoder: nn.Embedding | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.decoder = nn.Linear(n_hid, n_out, bias=bias)
        self.output_dp = RNNDropout(output_p)
        if bias:
            nn.init.zeros_(self.decoder.bias)
        if tie_encoder is None:
            nn.init.uniform_(self.decoder.weight, -INIT_RANGE, INIT_RANGE)
        elif tie_encoder.weight.shape != self.decoder.weight.shape:
            raise ShapeError(
                f"The decoder's weights {tuple(self.decoder.weight.shape)} cannot be those of an embedding of shape "
                f"{tuple(tie_encoder.weight.shape)}: words and features must be as many. Or leave tie_encoder out."
            )
        else:
            # a word's vector is also what its prediction is measured by (Press and Wolf 2017)
            self.decoder.weight = tie_encoder.weight

    def forward(self, input: Tensor) -> Tensor:
        """Return the numbers before a softmax, `(b, t, n_out)`."""
        logits: Tensor = self.decoder(self.output_dp(input))
        return logits

    def watch(self, keep: Keep) -> RemovableHandle:
        """Call `keep(raw, dropped)` with the features of each forward: as they came, and after the dropout."""
        return self.output_dp.register_forward_hook(lambda _, inputs, output: keep(inputs[0], output))


class SequentialRNN(nn.Sequential):
    """Chain an encoder and what stands on it; `settings`, where there are any, tell how it was built."""

    settings: dict[str, Any]

    def reset(self) -> None:
        """Let each part that carries a state forget it."""
        for part in self.children():
            _reset(part)

    def watch(self, keep: Keep) -> RemovableHandle:
        """Call `keep(raw, dropped)` with the encoder's features `(b, t, e)` of each forward, for a regulariser."""
        watch = getattr(self[-1], "watch", None)
        if watch is None:
            raise ArgumentError(
                f"The last part, {type(self[-1]).__name__}, does not let its features be watched. End the model in a "
                "LinearDecoder or PoolingLinearClassifier, or train it without a regulariser (alpha=0, beta=0)."
            )
        handle: RemovableHandle = watch(keep)
        return handle


def _reset(part: Any) -> None:
    if hasattr(part, "reset"):
        part.reset()


class SentenceEncoder(nn.Module):
    """Encode whole documents `(b, t)` with `module`, a window of `bptt` words at a time.

    Padding may stand before the words or after them: each document is read from its first word to its last, so that
    its features do not depend on what it is batched with. No gradient flows from one window to another, and none into
    words before the last `max_len`: they are read, but neither returned nor learnt from.
    """

    def __init__(self, bptt: int, module: nn.Module, pad_idx: int = 1, max_len: int | None = None) -> None:
        super().__init__()
        if bptt < 1 or (max_len is not None and max_len < bptt):
            raise ArgumentError(f"A window has a word or more, and max_len a window; got {bptt=}, {max_len=}.")
        self.bptt, self.module, self.pad_idx, self.max_len = bptt, module, pad_idx, max_len

    def forward(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """Return features `(b, t, e)` and a mask `(b, t)` that is True where there is no word.

        The documents end in the same window, whatever padding they came with.
        """
        if input.ndim != 2 or not input.numel():
            raise ShapeError(f"Expected word ids of shape (documents, time), got {tuple(input.shape)}.")
        words, mask, n_empty = _aligned(input, self.pad_idx, self.bptt)
        # documents that begin early first: those of each window are then the first rows
        order = sorted(range(len(n_empty)), key=n_empty.__getitem__)
        in_order = order == list(range(len(order)))
        if not in_order:
            words = words[torch.tensor(order, device=words.device)]
        n_windows = -(-words.shape[1] // self.bptt)
        n_kept = n_windows if self.max_len is None else self.max_len // self.bptt
        first = max(0, n_windows - n_kept)
        self.reset()
        outputs = []
        for window, part in enumerate(words.split(self.bptt, 1)):
            n_rows = sum(empty <= window for empty in n_empty)
            if window < first:
                with torch.no_grad():
                    self.module(part[:n_rows])
            else:
                outputs.append(_with_rows(self.module(part[:n_rows]), len(words)))
        self.reset()
        features = torch.cat(outputs, 1)
        if not in_order:
            features = features[torch.tensor(order, device=words.device).argsort()]
        return features, mask[:, first * self.bptt :]

    def reset(self) -> None:
        """Let the encoder forget what it read."""
        _reset(self.module)

    def extra_repr(self) -> str:
        """Show the window in the model's printout."""
        return f"bptt={self.bptt}, pad_idx={self.pad_idx}, max_len={self.max_len}"


def _aligned(ids: Tensor, pad_idx: int, bptt: int) -> tuple[Tensor, Tensor, list[int]]:
    """Move each document so that it begins with a window and ends in the last one.

    Return the words, the mask of padding, and how many windows before each document are empty.
    """
    n_time = ids.shape[1]
    is_word = ids != pad_idx
    # of a document without a word its first place counts as one
    begins = is_word.byte().argmax(1)
    ends = (n_time - is_word.flip(1).byte().argmax(1)).where(is_word.any(1), 1)
    spans = list(zip(*torch.stack([begins, ends]).tolist(), strict=True))
    n_filled = [-(-(end - begin) // bptt) for begin, end in spans]
    n_windows = max(n_filled)
    n_empty = [n_windows - n for n in n_filled]
    stays = n_time <= n_windows * bptt and all(b == n * bptt for (b, _), n in zip(spans, n_empty, strict=True))
    if not stays:
        used = max(n * bptt + end - begin for n, (begin, end) in zip(n_empty, spans, strict=True))
        shifts = begins - torch.tensor(n_empty, device=ids.device) * bptt
        places = torch.arange(used, device=ids.device) + shifts[:, None]
        outside = (places < begins[:, None]) | (places >= ends[:, None])
        ids = ids.gather(1, places.clamp(0, n_time - 1)).masked_fill(outside, pad_idx)
    mask = ids == pad_idx
    for row, (begin, end) in enumerate(spans):
        if end - begin == 1:
            mask[row, n_empty[row] * bptt] = False
    return ids, mask, n_empty


def _with_rows(features: Tensor, n_rows: int) -> Tensor:
    """Return features `(rows, t, e)` with rows of zeros for the documents that have not begun."""
    missing = n_rows - len(features)
    return features if not missing else torch.cat([features, features.new_zeros(missing, *features.shape[1:])])


def masked_concat_pool(output: Tensor, mask: Tensor, bptt: int) -> Tensor:
    """Return the last word's features, their maximum and their mean over all words, side by side: `(b, 3 * e)`.

    `output` is `(b, t, e)`, `mask` `(b, t)` is True where there is no word; a document's last word is looked for in the
    last `bptt` steps.
    """
    hidden = mask[:, :, None]
    n_words = (~mask).sum(1, keepdim=True)
    mean = output.masked_fill(hidden, 0).sum(1) / n_words
    largest = output.masked_fill(hidden, float("-inf")).amax(1)
    n_behind = (~mask[:, -bptt:]).flip(1).byte().argmax(1)
    last = output[torch.arange(len(output), device=output.device), output.shape[1] - 1 - n_behind]
    return torch.cat([last, largest, mean], 1)


class PoolingLinearClassifier(nn.Module):
    """Pool the features of a document's words and pass them through linear layers of the widths `dims`.

    Before each layer stand batch norm and dropout `ps`; `y_range` squeezes the outputs between two numbers.
    """

    def __init__(
        self, dims: Sequence[int], ps: Sequence[float], bptt: int, y_range: tuple[float, float] | None = None
    ) -> None:
        super().__init__()
        if len(ps) != len(dims) - 1:
            raise ArgumentError(f"The {len(dims) - 1} layers of the head need as many dropouts, but ps has {len(ps)}.")
        n_layers = len(ps)
        layers: list[nn.Module] = [
            LinBnDrop(n_in, n_out, p=p, act=nn.ReLU(inplace=True) if place < n_layers - 1 else None)
            for place, (n_in, n_out, p) in enumerate(zip(dims, dims[1:], ps, strict=False))
        ]
        if y_range is not None:
            layers.append(SigmoidRange(*y_range))
        self.layers, self.bptt = nn.Sequential(*layers), bptt

    def forward(self, input: tuple[Tensor, Tensor]) -> Tensor:
        """Return the outputs of documents from what a SentenceEncoder returns, features and mask."""
        answer: Tensor = self.layers(masked_concat_pool(*input, self.bptt))
        return answer

    def watch(self, keep: Keep) -> RemovableHandle:
        """Call `keep(raw, dropped)` with the features of each forward; nothing is dropped of them."""
        return self.register_forward_pre_hook(lambda _, inputs: keep(inputs[0][0], inputs[0][0]))


def get_language_model(
    arch: Any, vocab_sz: int, config: Mapping[str, Any] | None = None, drop_mult: float = 1.0
) -> SequentialRNN:
    """Build a language model: word ids `(b, t)` to numbers before a softmax `(b, t, vocab_sz)`.

    `config` holds settings that differ from `awd_lstm_lm_config`, and may hold `init`, a function that is applied to
    each layer; `drop_mult` multiplies the dropouts.

    Raises:
        ArgumentError: `config` has a setting that the model does not know.
    """
    about = architecture(arch)
    options, init = _config(about.config_lm, config or {}, drop_mult)
    settings = {"model": "awd_lstm_lm", "vocab_sz": vocab_sz, "config": dict(options)}
    if options["bidir"]:
        raise ArgumentError("bidir=True: a language model that reads in both directions sees the word to predict.")
    tie_weights, output_p, out_bias = (options.pop(name) for name in ("tie_weights", "output_p", "out_bias"))
    encoder = arch(vocab_sz, **options)
    decoder = LinearDecoder(
        vocab_sz, options[about.hid_name], output_p, encoder.encoder if tie_weights else None, out_bias
    )
    model = SequentialRNN(encoder, decoder)
    model.settings = settings
    return model if init is None else model.apply(init)


def get_text_classifier(
    arch: Any,
    vocab_sz: int,
    n_class: int,
    seq_len: int = 72,
    config: Mapping[str, Any] | None = None,
    drop_mult: float = 1.0,
    lin_ftrs: Sequence[int] | None = None,
    ps: Sequence[float] | None = None,
    pad_idx: int = 1,
    max_len: int | None = 72 * 20,
    y_range: tuple[float, float] | None = None,
) -> SequentialRNN:
    """Build a classifier of documents: word ids `(b, t)` to `n_class` numbers each, `(b, n_class)`.

    Args:
        seq_len: words in a window; max_len: how many last words of a document count, None for all.
        config: settings that differ from `awd_lstm_clas_config`, and `init`; drop_mult: multiplies its dropouts.
        lin_ftrs, ps: widths of the head's layers between ([50]) and their dropouts (0.1 each).
        pad_idx: the id that is no word; y_range: squeeze the outputs between two numbers.

    Raises:
        ArgumentError: `config` has a setting that the model does not know, or widths and dropouts do not fit.
    """
    about = architecture(arch)
    options, init = _config(about.config_clas, config or {}, drop_mult)
    widths = [50] if lin_ftrs is None else list(lin_ftrs)
    drops = [0.1] * len(widths) if ps is None else list(ps)
    settings = {
        "model": "awd_lstm_classifier",
        "vocab_sz": vocab_sz,
        "n_class": n_class,
        "seq_len": seq_len,
        "config": dict(options),
        "lin_ftrs": widths,
        "ps": drops,
        "pad_idx": pad_idx,
        "max_len": max_len,
        "head": {"y_range": None if y_range is None else list(y_range)},
    }
    if options["bidir"]:
        raise ArgumentError(
            "bidir=True: a classifier that reads backwards too would begin with the padding behind a document. Train "
            "one on the texts and one on the texts turned round (backwards=True), and average their predictions."
        )
    output_p = options.pop("output_p")
    encoder = SentenceEncoder(seq_len, arch(vocab_sz, **options), pad_idx, max_len)
    dims = [3 * options[about.hid_name], *widths, n_class]
    model = SequentialRNN(encoder, PoolingLinearClassifier(dims, [output_p, *drops], seq_len, y_range))
    model.settings = settings
    return model if init is None else model.apply(init)


def _config(
    usual: Mapping[str, Any], wanted: Mapping[str, Any], drop_mult: float
) -> tuple[dict[str, Any], Callable[[nn.Module], None] | None]:
    """Return the usual settings with those wanted, the dropouts (`..._p`) multiplied, and what `init` names."""
    unknown = [name for name in wanted if name not in usual and name != "init"]
    if unknown:
        raise ArgumentError(f"config has {', '.join(unknown)}, unknown to the model, which has {', '.join(usual)}.")
    settings = {**usual, **wanted}
    init = settings.pop("init", None)
    return {name: value * drop_mult if name.endswith("_p") else value for name, value in settings.items()}, init


def build_language_model(settings: Mapping[str, Any]) -> SequentialRNN:
    """Build the language model that `settings` describe, with random weights."""
    return get_language_model(AWD_LSTM, settings["vocab_sz"], settings["config"])


def build_text_classifier(settings: Mapping[str, Any]) -> SequentialRNN:
    """Build the classifier that `settings` describe, with random weights."""
    options = {name: value for name, value in settings.items() if name not in ("model", "head")}
    y_range = (settings.get("head") or {}).get("y_range")
    return get_text_classifier(AWD_LSTM, **options, y_range=None if y_range is None else tuple(y_range))
