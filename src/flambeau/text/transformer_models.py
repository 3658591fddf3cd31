"""The model of a transformer learner: after reading it you know what stands between padded ids and an answer.

    ids (batch, time) ─ mask of the padding, types of a pair ─ network of transformers ─ numbers of the task

A document longer than the network's window is cut into windows, each between markers of its own; they run together,
and their numbers are averaged, by tokens. For "similarity" the two documents of a pair are read apart, and the averages
of their tokens' vectors are compared by the cosine (Reimers 2019, Sentence-BERT).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from flambeau.foundation.errors import ArgumentError, ShapeError, unknown_name
from flambeau.nn.layers import TargetScale
from flambeau.text.transformer_recipe import MAX_POSITIONS, FewCalls, make_net, read_config
from flambeau.text.transformer_windows import LONG, cut_windows, in_groups, per_document, per_token, split_pairs

OF_TOKENS = ("token classification", "masked_lm", "causal_lm")
LANGUAGE = ("masked_lm", "causal_lm")
LAYER_BLOCKS = 4  # layer groups between the embeddings and the head: enough for rates that rise step by step


class TransformerModel(nn.Module):
    """A network of transformers for one task: ids (batch, time), padded at the end, to numbers.

    (batch, n_out) for "classification" and "regression", (batch, 1) for "similarity", (batch, time, n_out) for "token
    classification", and (batch, time, vocabulary) for "masked_lm" and "causal_lm".

    Args:
        net: the network, as `make_net` builds it; `config` and `rotary` describe it: see transformer_recipe.py.
        pad_id: the id that fills up; `pad_is_real` where it also stands in documents (an end of text).
        edges: the markers before and after each document; `separator`: the marker between a pair, None without pairs.
        window: how many ids the network takes at once; long: "windows", or "truncate" to read the beginning alone.
        scale: brings the numbers of "regression" and "similarity" to those of the targets.
    """

    net: Any
    settings: dict[str, Any]
    remembers: bool | None = None
    """Whether what `next_token` remembers leads to the numbers of reading all again; None: not known yet."""

    def __init__(
        self,
        net: nn.Module,
        task: str,
        n_out: int,
        config: Mapping[str, Any],
        rotary: Mapping[str, Any],
        *,
        pad_id: int,
        pad_is_real: bool = False,
        edges: tuple[Sequence[int], Sequence[int]] = ((), ()),
        separator: int | None = None,
        window: int,
        long: str = "windows",
        scale: TargetScale | None = None,
    ) -> None:
        super().__init__()
        if long not in LONG:
            raise unknown_name("way with long documents", long, LONG)
        if long == "truncate" and task in OF_TOKENS:
            raise ArgumentError(f"{task} answers for each token, so none can be cut off; pass long='windows'.")
        before, after = [int(number) for number in edges[0]], [int(number) for number in edges[1]]
        if window <= len(before) + len(after):
            raise ArgumentError(f"A window of {window} ids has no room beside {len(before) + len(after)} markers.")
        self.net, self.task, self.window, self.long = net, task, window, long
        self.scale = scale
        self.pad_id, self.pad_is_real = pad_id, pad_is_real
        self.before, self.after, self.separator = before, after, separator
        self.likeness = None if task != "similarity" else likeness_layer()
        accepted = inspect.signature(net.forward).parameters
        n_types = getattr(net.config, "type_vocab_size", 0) or 0
        of_pairs = separator is not None and self.likeness is None
        self._has_types = of_pairs and n_types > 1 and "token_type_ids" in accepted
        self.settings = {
            "model": "transformer",
            "task": task,
            "n_out": n_out,
            "config": dict(config),
            "pad_id": pad_id,
            "pad_is_real": pad_is_real,
            "edges": [before, after],
            "separator": separator,
            "long": long,
            "scaled": scale is not None,
            # what sizes no weights: see `build_transformer`
            "positions": {"window": window, "rotary": dict(rotary)},
        }

    @property
    def body(self) -> nn.Module:
        """The network without the head of its task."""
        body: nn.Module = self.net.base_model
        return body

    def cause_of_misfit(self, missing: Sequence[str], extra: Sequence[str]) -> str | None:
        """Return why weights of these names differ from the model's, where it is no more than the targets' scale."""
        if not all(name.startswith("scale.") for name in (*missing, *extra)):
            return None
        scaled = "a head that was new, whose answers are brought to the targets' mean and spread"
        whole = "a head that answers in the targets' numbers itself, as one that was trained before"
        there, here = (whole, scaled) if missing else (scaled, whole)
        return (
            f"The architecture is the same, but the weights are of {there}, and this model has {here}. Make the "
            "learner from the same pretrained model and from loaders with targets, as the one that was saved; or keep "
            "all of it: learn.export and load_learner."
        )

    def forward(self, x: Tensor, asked: Tensor | None = None) -> Tensor:
        """Return the numbers of a batch; with `asked` (batch, time) those of its true places alone, (n, n_out).

        Of a masked language model few tokens are asked for, and what the vocabulary costs is most of a step.
        """
        found = self._numbers(x, asked)
        return found if self.scale is None else self.scale(found)

    def next_token(self, x: Tensor, past: Any = None) -> tuple[Tensor, Any]:
        """Return the numbers (vocabulary,) of the token after ids (1, time), and what is remembered of all read so far.

        `past` is what was remembered of the ids before these, or None. Where an architecture remembers nothing, None
        comes back, and all ids have to be given again.
        """
        # only after what is remembered may the mask be left out: an id that also fills up would be warned of
        mask = torch.ones_like(x) if past is None else None
        answered = self.net(input_ids=x, attention_mask=mask, past_key_values=past, use_cache=True)
        return answered.logits[0, -1], answered.get("past_key_values")

    def _numbers(self, x: Tensor, asked: Tensor | None) -> Tensor:
        if self.likeness is not None:
            first, second = self._averages(split_pairs(x, self.real(x).sum(1).tolist(), self)).chunk(2)
            return self.likeness(torch.cosine_similarity(first, second)[:, None])
        if x.ndim != 2 or x.is_floating_point():
            raise ShapeError(
                f"A transformer takes ids (batch, time) of whole numbers, got {x.dtype} of shape {tuple(x.shape)}."
            )
        types = self._types(x) if self._has_types else None
        if x.shape[1] > self.window:
            return self._run_long(x, types, asked)
        return self._run(x, types, asked)

    def _run(self, x: Tensor, types: Tensor | None, asked: Tensor | None = None) -> Tensor:
        if asked is not None:
            with _head_sees(self.body, asked):
                return self._run(x, types)[0]
        if self.task == "causal_lm":  # what comes later, padding too, is hidden from every token anyway
            return self.net(input_ids=x, attention_mask=torch.ones_like(x)).logits
        options = {} if types is None else {"token_type_ids": types}
        return self.net(input_ids=x, attention_mask=self.real(x), **options).logits

    def _averages(self, documents: Sequence[Tensor]) -> Tensor:
        """Return the average (document, features) of the vectors of each document's tokens, its markers included."""
        x = pad_sequence(list(documents), batch_first=True, padding_value=self.pad_id)
        pieces = cut_windows(x, [len(document) for document in documents], self)
        ids = pad_sequence([piece.ids for piece in pieces], batch_first=True, padding_value=self.pad_id)
        found = self._in_groups(len(documents), self._average, ids)
        return per_document(found, pieces, len(documents))

    def _average(self, ids: Tensor) -> Tensor:
        real = self.real(ids)
        vectors = self.net(input_ids=ids, attention_mask=real).last_hidden_state
        shares = (real / real.sum(1, keepdim=True)).to(vectors)
        return (vectors * shares[..., None]).sum(1)

    def _in_groups(self, n: int, run: Callable[..., Tensor], *parts: Tensor | None) -> Tensor:
        return in_groups(n if self.training else None, run, *parts)

    def real(self, x: Tensor) -> Tensor:
        """Return where ids (batch, time) are no padding: 1, else 0."""
        there = x.ne(self.pad_id)
        if self.pad_is_real:  # what stands before the last other token is no padding
            there = there.flip(1).cummax(1).values.flip(1)
        return there.long()

    def _types(self, x: Tensor) -> Tensor:
        """Return 1 for the tokens after the first separator, the second document of a pair, else 0."""
        ends = x.eq(self.separator or 0).long()
        return ((ends.cumsum(1) - ends) > 0).long() * (x != self.pad_id)

    def _run_long(self, x: Tensor, types: Tensor | None, asked: Tensor | None) -> Tensor:
        pieces = cut_windows(x, self.real(x).sum(1).tolist(), self)
        ids = pad_sequence([piece.ids for piece in pieces], batch_first=True, padding_value=self.pad_id)
        piece_types = None
        if types is not None:
            piece_types = pad_sequence([piece.of(types) for piece in pieces], batch_first=True)
        if asked is not None:  # never of a marker, so all of them stand in the windows, in their order
            seen = pad_sequence([piece.asked(asked) for piece in pieces], batch_first=True)
            return self._in_groups(len(x), self._run, ids, piece_types, seen)
        found = self._in_groups(len(x), self._run, ids, piece_types)
        return per_token(found, pieces, x) if self.task in OF_TOKENS else per_document(found, pieces, len(x))


def likeness_layer() -> nn.Linear:
    """Return the layer from a cosine to a number: of two texts on anything it is near 0.5, with a deviation of 0.25."""
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, 4.0)
    nn.init.constant_(layer.bias, -2.0)
    return layer


@contextmanager
def _head_sees(body: nn.Module, asked: Tensor) -> Iterator[None]:
    """Let what follows a body see some of its tokens alone, as one document (1, n, features)."""

    def pick(layer: nn.Module, inputs: Any, output: Any) -> Any:
        output["last_hidden_state"] = output["last_hidden_state"][asked][None]
        return output

    handle = body.register_forward_hook(pick)
    try:
        yield
    finally:
        handle.remove()


def build_transformer(settings: Mapping[str, Any]) -> TransformerModel:
    """Build again, with random weights, the model that `settings` describe; no code and no file that they name is used.

    Raises:
        ArgumentError: the settings describe no architecture that transformers ships, or are beyond reason.
    """
    task, n_out, positions = settings["task"], settings["n_out"], settings["positions"]
    window = positions["window"]
    if type(n_out) is not int or type(window) is not int or not 0 < window <= MAX_POSITIONS or n_out < 1:
        raise ArgumentError(f"A transformer of {n_out!r} outputs that reads {window!r} ids at once is beyond reason.")
    config = read_config(settings["config"], positions["rotary"])
    config.use_cache = False
    with FewCalls():
        net = make_net(config, task, n_out)
    return TransformerModel(
        net, task, n_out, settings["config"], positions["rotary"],
        pad_id=settings["pad_id"], pad_is_real=settings["pad_is_real"],
        edges=(settings["edges"][0], settings["edges"][1]), separator=settings["separator"], window=window,
        long=settings["long"], scale=TargetScale.blank(n_out) if settings.get("scaled") else None,
    )  # fmt: skip


def transformer_splitter(model: nn.Module) -> list[list[nn.Parameter]]:
    """Return the layer groups of a transformer: embeddings, the layers in up to four blocks, head.

    What the body holds after its layers, a pooler or a last norm, belongs to the head; those of a decoder after an
    encoder, to the last block.

    Raises:
        ArgumentError: the model has no list of layers.
    """
    net: Any = model.net if isinstance(model, TransformerModel) else model
    lists = [(name, part) for name, part in net.named_modules() if isinstance(part, nn.ModuleList) and len(part)]
    if not lists:
        raise ArgumentError(f"A {type(net).__name__} has no list of layers; pass a splitter of your own.")
    place, layers = max(lists, key=lambda found: len(found[1]))
    n_blocks = min(LAYER_BLOCKS, len(layers))
    groups: list[list[nn.Parameter]] = [[] for _ in range(n_blocks + 2)]
    body, stacks = body_prefix(net), tuple(f"{name}." for name, _ in lists)
    reached, placed = False, set()
    named = list(net.named_parameters(remove_duplicate=False))
    # a head that is tied to the embeddings is theirs, wherever the network lists it
    for name, parameter in sorted(named, key=lambda found: not found[0].startswith(body)):
        if id(parameter) in placed:
            continue
        placed.add(id(parameter))
        if name.startswith(f"{place}."):
            reached = True
            number = int(name[len(place) + 1 :].split(".")[0])
            groups[1 + number * n_blocks // len(layers)].append(parameter)
        elif not name.startswith(body):
            groups[-1].append(parameter)
        elif reached and name.startswith(stacks):
            groups[-2].append(parameter)
        else:
            groups[-1 if reached else 0].append(parameter)
    likeness = getattr(model, "likeness", None)
    groups[-1] += [] if likeness is None else list(likeness.parameters())
    return [group for group in groups if group]


def body_prefix(net: Any) -> str:
    """Return how the names of a body's weights begin, "" where the network has no head."""
    return "" if net.base_model is net else f"{net.base_model_prefix}."


def last_linear(net: Any) -> tuple[str, nn.Linear] | None:
    """Return the name and the layer that gives a network's answers, None where it has no head, or one without such."""
    heads = [
        (name, layer)
        for name, layer in net.named_modules()
        if isinstance(layer, nn.Linear) and not name.startswith(body_prefix(net))
    ]
    found = heads[-1] if heads else None
    return found if found is not None and found[1].out_features == net.config.num_labels else None


@contextmanager
def scale_in_head(model: TransformerModel) -> Iterator[None]:
    """Let the network alone answer in the targets' scale, for as long as it is written down."""
    head = last_linear(model.net)
    if model.scale is None or head is None:
        yield
        return
    layer, scale = head[1], model.scale
    kept = {name: value.clone() for name, value in layer.state_dict().items()}
    with torch.no_grad():
        layer.weight.mul_(scale.std[:, None])
        if layer.bias is not None:
            layer.bias.copy_(scale(layer.bias))
    try:
        yield
    finally:
        layer.load_state_dict(kept)
