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
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from flambeau.foundation.errors import ArgumentError, ExportError, FlambeauError, ShapeError, unknown_name
from flambeau.nn.hooks import evaluating
from flambeau.nn.layers import TargetScale
from flambeau.text.transformer_files import (
    WEIGHT_FILES,
    find_transformer,
    import_transformers,
    quiet_transformers,
    unreadable,
)
from flambeau.text.transformer_recipe import (
    MAX_POSITIONS,
    FewCalls,
    attention_of,
    auto_class,
    leave_out_pooler,
    make_net,
    plain_config,
    read_config,
)
from flambeau.text.transformer_tokenizer import TransformerTokenizer
from flambeau.text.transformer_windows import LONG, cut_windows, in_groups, per_document, per_token, split_pairs
from flambeau.train.answers import in_part, spoilt_weights

OF_TOKENS = ("token classification", "masked_lm", "causal_lm")
LANGUAGE = ("masked_lm", "causal_lm")
OTHER_IDS = 0.1  # of a tokenizer's tokens: more are another model's, fewer were added to it
NEW_HEAD = (  # MiniLM on 2,000 reviews, then on 1,000 labels: 57 % right, without the masked step 84 %
    "{name} comes without the layers that guess hidden words. While they learn from chance they can spoil what the "
    "network knows: begin with fine_tune, which holds all but them and the norms at first, give it many texts, and "
    "compare the classifier with one that was not adapted."
)
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


def create_transformer(
    name_or_folder: str | Path,
    task: str,
    n_out: int,
    tokenizer: TransformerTokenizer,
    *,
    pairs: bool = False,
    window: int | None = None,
    long: str = "windows",
    dropout: float | None = None,
    targets: Tensor | None = None,
) -> TransformerModel:
    """Return a pretrained transformer with a head for a task; a printed line tells which weights are new.

    The weights are in float32 whatever the file holds: what is trained in 16 bits loses small steps.

    Args:
        name_or_folder: a folder, a name of the hub, or "minilm" (see transformer_files.py).
        task: see `TransformerModel`; n_out: how many numbers it answers with (of a language model: leave it 0).
        tokenizer: the model's own; tokens that were added to it get new vectors.
        pairs: documents come in pairs. window: how many ids are read at once (None: as many as the model can).
        dropout: the share of activations left out in training, everywhere; None: as the model was pretrained.
        targets: the numbers (n,) or (n, n_out) of a regression's training documents: a new head begins at their scale.

    Raises:
        ArgumentError: there is no such model, it has no such head, or the tokenizer is another model's.
        DownloadError: the hub cannot be asked.
    """
    transformers = import_transformers("A transformer")
    source = find_transformer(name_or_folder, WEIGHT_FILES)
    name = str(name_or_folder)
    try:
        with quiet_transformers():
            read = transformers.AutoConfig.from_pretrained(
                source.place, local_files_only=source.local, trust_remote_code=False
            )
    except OSError as error:
        raise unreadable(source, name, _first_line(error)) from error
    except Exception as error:  # a model that brings code along, or is newer than this transformers
        raise ArgumentError(f"The configuration of {name!r} cannot be read ({_first_line(error)}).") from error
    described, rotary = plain_config(read)
    described["pad_token_id"] = tokenizer.pad_id
    if dropout is not None:
        _set_dropout(described, dropout)
    config = read_config(described, rotary)
    auto = auto_class(task, config)
    n_out = n_out if task not in LANGUAGE else max(config.vocab_size, tokenizer.vocab_size)
    if task not in LANGUAGE:
        config.num_labels = n_out
    if task == "similarity" and (n_out != 1 or not pairs or tokenizer.ids["sep"] is None):
        raise ArgumentError(
            f"task='similarity' answers two texts with one number, how alike they are; got n_out={n_out}, "
            f"pairs={pairs}, and a tokenizer {'without' if tokenizer.ids['sep'] is None else 'with'} a separator. For "
            "classes of pairs there is task='classification'."
        )
    config.use_cache = False  # of keys and values, which only generating looks up again
    try:
        with quiet_transformers():
            net, report = auto.from_pretrained(
                source.place, config=config, local_files_only=source.local, trust_remote_code=False,
                dtype=torch.float32, attn_implementation=attention_of(auto, config), output_loading_info=True,
                ignore_mismatched_sizes=True,
            )  # fmt: skip
    except OSError as error:
        raise unreadable(source, name, _first_line(error)) from error
    except Exception as error:  # safetensors, torch and transformers raise their own
        # what torch goes on to say is how to run code out of the file
        told = _first_line(error).partition(". ")[0]
        raise ExportError(
            f"The weights of {name!r} do not load ({told}). The file is damaged or cut short: fetch or copy it again."
        ) from error
    if task == "similarity":
        leave_out_pooler(net)
    new = _tell_new(net, report, name)
    if task == "masked_lm" and any(not key.startswith(_body_prefix(net)) for key in new):
        print(NEW_HEAD.format(name=name))
    _fit_vocabulary(net, tokenizer, name)
    _require_own(tokenizer, name_or_folder)
    described["vocab_size"] = int(net.get_input_embeddings().num_embeddings)
    model = TransformerModel(
        net, task, n_out, described, rotary, pad_id=tokenizer.pad_id, pad_is_real=not tokenizer.has_pad,
        edges=tokenizer.edges, separator=tokenizer.ids["sep"] if pairs else None,
        window=_window(net, tokenizer, window), long=long,
        scale=None if targets is None else _scale(task, net, targets.reshape(len(targets), -1), new),
    )  # fmt: skip
    _try(model, tokenizer, name)
    return model


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
    body, stacks = _body_prefix(net), tuple(f"{name}." for name, _ in lists)
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


def _body_prefix(net: Any) -> str:
    """Return how the names of a body's weights begin, "" where the network has no head."""
    return "" if net.base_model is net else f"{net.base_model_prefix}."


def _set_dropout(described: dict[str, Any], dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout is a share between 0 and 1, got {dropout}.")
    for name, value in described.items():
        if ("drop" in name) and "layerdrop" not in name and isinstance(value, float | int | None):
            described[name] = float(dropout)


def last_linear(net: Any) -> tuple[str, nn.Linear] | None:
    """Return the name and the layer that gives a network's answers, None where it has no head, or one without such."""
    heads = [
        (name, layer)
        for name, layer in net.named_modules()
        if isinstance(layer, nn.Linear) and not name.startswith(_body_prefix(net))
    ]
    found = heads[-1] if heads else None
    return found if found is not None and found[1].out_features == net.config.num_labels else None


def _scale(task: str, net: Any, targets: Tensor, new: Sequence[str]) -> TargetScale | None:
    """Return the scale of a new head's numbers, None where the head was trained for numbers already.

    It has to fit into the head when the network is written for transformers: a head without biases gets no mean.
    """
    if task == "similarity":
        return TargetScale.of(targets)
    head = last_linear(net)
    if head is None or f"{head[0]}.weight" not in new or targets.shape[1] != head[1].out_features:
        return None
    if head[1].bias is None:
        return TargetScale(targets.new_zeros(targets.shape[1]), targets.square().mean(0).sqrt().clamp(min=1e-12))
    return TargetScale.of(targets)


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


def _tell_new(net: Any, report: Mapping[str, Any], name: str) -> list[str]:
    """Print which weights the file did not hold, and return their names.

    Raises:
        ArgumentError: it lacks many of the body's: it belongs to another architecture.
    """
    mismatched = {key[0] if isinstance(key, tuple) else key for key in report["mismatched_keys"]}
    new = sorted({*report["missing_keys"], *mismatched}.intersection(net.state_dict()))
    body = _body_prefix(net)
    total = sum(key.startswith(body) for key in net.state_dict())
    lost = [key for key in new if key.startswith(body) and "pooler." not in key]
    if 2 * len(lost) > total:
        raise ArgumentError(
            f"{len(lost)} of {total} weights of the body are missing in {name!r}, such as {lost[0]}: its weights "
            "belong to another architecture than its config.json."
        )
    parts = sorted({key.removeprefix(body).rpartition(".")[0] or key for key in new})
    outer = [part for part in parts if not any(part.startswith(other + ".") for other in parts)]
    told = f"new, to be trained: {', '.join(outer)}" if outer else "all weights are pretrained"
    print(f"{type(net).__name__} of {name}: {told}.")
    if lost:
        print(
            f"{len(lost)} of {total} weights of the body are not in the file and begin at random, such as {lost[0]}: "
            "the model knows less than it was pretrained to. Is the file of this model, and whole?"
        )
    return new


def _try(model: TransformerModel, tokenizer: TransformerTokenizer, name: str) -> None:
    """Let a new model answer once, to learn before any training whether it can; print where padding changes answers.

    Raises:
        ArgumentError: it cannot, or it is to write on and sees what comes next.
    """
    before, after = tokenizer.edges
    n = max(min(6, model.window - len(before) - len(after)), 2)
    words = [
        number for number in range(tokenizer.vocab_size) if number not in {tokenizer.pad_id, *tokenizer.marker_ids}
    ]
    if model.task == "similarity":
        words[1] = int(model.separator or 0)
    ids = torch.tensor([[*before, *words[:n], *after]])
    try:
        with evaluating(model), torch.random.fork_rng(devices=[]):
            plain = model._numbers(ids, None)  # before a scale, whose numbers may be any
            if model.task == "causal_lm":
                other = model._numbers(ids.index_fill(1, torch.tensor([ids.shape[1] - 1]), words[-1]), None)
                sees_more = not torch.allclose(plain[:, :-1], other[:, :-1], atol=1e-4)
            padded = model._numbers(torch.nn.functional.pad(ids, (0, 3), value=model.pad_id), None)
    except Exception as error:  # architectures raise whatever they like
        raise ArgumentError(
            f"{name!r} cannot do {model.task} here ({_first_line(error)}). Choose a model that reads with an encoder "
            "(BERT, RoBERTa, ModernBERT, ...), or for 'causal_lm' one that writes (GPT-2, Llama, ...)."
        ) from error
    if not torch.isfinite(plain).all():
        raise ExportError(
            f"{name!r} answers with NaN: {in_part(spoilt_weights(model)) or 'its layers'} are no finite "
            "numbers. The file is damaged, or the training that wrote it diverged; take another one."
        )
    if model.task == "causal_lm":
        if sees_more:
            raise ArgumentError(
                f"{name!r} sees the words that come next, so it cannot learn to write them. Adapt it with "
                "task='masked_lm', or choose a model that writes (GPT-2, Llama, ...)."
            )
    elif not torch.allclose(plain, padded[:, : plain.shape[1]], atol=1e-4 + 0.01 * float(plain.abs().max())):
        print(f"{name}: padding changes this architecture's answers, which depend on what shares a batch.")


def _require_own(tokenizer: TransformerTokenizer, name_or_folder: str | Path) -> None:
    """Check that a tokenizer has the ids of a model's own, where the model brings one along.

    Raises:
        ArgumentError: most of its tokens have other ids there, so that the model would read other words.
    """
    if tokenizer.model == name_or_folder:
        return
    try:
        own = TransformerTokenizer.from_pretrained(name_or_folder)
    except FlambeauError:  # weights alone, or a tokenizer that is not read here
        return
    other, name = tokenizer.other_ids(own), str(name_or_folder)
    if len(other) > OTHER_IDS * tokenizer.vocab_size:
        raise ArgumentError(
            f"The tokenizer {tokenizer.model!r} is not that of {name!r}: of its {tokenizer.vocab_size} tokens "
            f"{len(other)} have another id there, or none, such as {other[0]!r}. Make the loaders with the model's "
            f"own: transformer={name!r}."
        )


def _fit_vocabulary(net: Any, tokenizer: TransformerTokenizer, name: str) -> None:
    """Give tokens that were added to a tokenizer vectors of their own.

    Raises:
        ArgumentError: the tokenizer has more ids of its own than the model has vectors.
    """
    rows = int(net.get_input_embeddings().num_embeddings)
    if tokenizer.vocab_size <= rows:
        return
    n_own = tokenizer.vocab_size - len(tokenizer.special_tokens)
    if n_own > rows:
        raise ArgumentError(
            f"The tokenizer {tokenizer.model!r} has {n_own} ids, but {name!r} has vectors for {rows}: it is another "
            f"model's. Tokenize with TransformerTokenizer.from_pretrained({name!r})."
        )
    with quiet_transformers():
        net.resize_token_embeddings(tokenizer.vocab_size)


def _window(net: Any, tokenizer: TransformerTokenizer, wanted: int | None) -> int:
    """Return how many ids fit into the network at once.

    Raises:
        ArgumentError: more are wanted.
    """
    limits = [tokenizer.max_len] if tokenizer.max_len is not None else []
    table = next((part for key, part in net.named_modules() if key.endswith("position_embeddings")), None)
    reach = getattr(net.config, "max_position_embeddings", None)
    if isinstance(table, nn.Embedding):
        # RoBERTa counts positions from beyond its padding index
        reach = table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    if isinstance(reach, int) and reach > 0:
        limits.append(reach)
    most = min(limits, default=MAX_POSITIONS)
    if wanted is not None and not 0 < wanted <= most:
        raise ArgumentError(f"window={wanted} ids was asked for, but the model takes 1 to {most} at once.")
    return most if wanted is None else wanted


def _first_line(error: BaseException) -> str:
    words = str(error).strip().splitlines()
    return f"{type(error).__name__}: {words[0] if words else 'no message'}"
