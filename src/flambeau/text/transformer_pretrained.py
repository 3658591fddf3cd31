"""How a pretrained transformer is fetched for a task: after reading it you know what is checked before it is trained.

A head that the file does not hold begins at random, and a printed line says so; a tokenizer of another model, a file of
another architecture or with NaN, and a network that cannot do its task are told here, not after an epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.foundation.errors import ArgumentError, ExportError, FlambeauError
from flambeau.nn.hooks import evaluating
from flambeau.nn.layers import TargetScale
from flambeau.text.transformer_files import (
    WEIGHT_FILES,
    find_transformer,
    import_transformers,
    quiet_transformers,
    unreadable,
)
from flambeau.text.transformer_models import LANGUAGE, TransformerModel, body_prefix, last_linear
from flambeau.text.transformer_recipe import (
    MAX_POSITIONS,
    attention_of,
    auto_class,
    leave_out_pooler,
    plain_config,
    read_config,
)
from flambeau.text.transformer_tokenizer import TransformerTokenizer
from flambeau.train.answers import in_part, spoilt_weights

OTHER_IDS = 0.1  # of a tokenizer's tokens: more are another model's, fewer were added to it
NEW_HEAD = (  # what MiniLM lost by it is in docs/texts.md
    "{name} comes without the layers that guess hidden words. While they learn from chance they can spoil what the "
    "network knows: begin with fine_tune, which holds all but them and the norms at first, give it many texts, and "
    "compare the classifier with one that was not adapted."
)


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
    if hasattr(type(read)(), "pad_token_id"):  # CodeGen and RWKV know of no padding
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
    if task == "masked_lm" and any(not key.startswith(body_prefix(net)) for key in new):
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


def _set_dropout(described: dict[str, Any], dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout is a share between 0 and 1, got {dropout}.")
    for name, value in described.items():
        if ("drop" in name) and "layerdrop" not in name and isinstance(value, float | int | None):
            described[name] = float(dropout)


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


def _tell_new(net: Any, report: Mapping[str, Any], name: str) -> list[str]:
    """Print which weights the file did not hold, and return their names.

    Raises:
        ArgumentError: it lacks many of the body's: it belongs to another architecture.
    """
    mismatched = {key[0] if isinstance(key, tuple) else key for key in report["mismatched_keys"]}
    new = sorted({*report["missing_keys"], *mismatched}.intersection(net.state_dict()))
    body = body_prefix(net)
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
