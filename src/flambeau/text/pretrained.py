"""Pretrained language models: after reading it you know how what one text taught a network serves for another.

A published language model is two files: its weights, and the list of the words that its embedding's rows stand for. Of
words that both vocabularies have, the rows are copied; a word that is new begins as the mean of all rows (Howard and
Ruder 2018). Nothing in the files is executed, though both may have been written by Python's pickle.
"""

from __future__ import annotations

import json
import pickletools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path as AnyPath
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from flambeau.data.download import untar_data
from flambeau.foundation.errors import ArgumentError, DownloadError, ExportError, nearest
from flambeau.foundation.paths import Path
from flambeau.text.awd_lstm import AWD_LSTM
from flambeau.text.models import LinearDecoder, architecture
from flambeau.train.checkpoint import read_tensors, tied_names, write_tensors

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt")
VOCAB_SUFFIXES = (".json", ".txt", ".pkl")
ENCODER_FORMAT = "flambeau-encoder"
# those whose rows stand for words
EMBEDDING, EMBEDDING_AGAIN = "0.encoder.weight", "0.encoder_dp.emb.weight"
DECODER, DECODER_BIAS = "1.decoder.weight", "1.decoder.bias"
BY_WORD = (EMBEDDING, EMBEDDING_AGAIN, DECODER, DECODER_BIAS)


# ---- the files


def pretrained_files(arch: Any, backwards: bool = False) -> list[Path]:
    """Return the files of an encoder's published language model, weights and words; they are downloaded once.

    It was trained on the English Wikipedia, or with `backwards` on its texts turned round.

    Raises:
        DownloadError: they cannot be fetched.
        ExportError: the archive lacks one of them.
    """
    about = architecture(arch)
    try:
        return files_in(untar_data(about.url_bwd if backwards else about.url, c_key="models"))
    except DownloadError as error:
        raise DownloadError(
            f"{error} Or begin without it: pretrained=False, with load_encoder where you have an encoder of your own; "
            "or with a language model that `flambeau pretrain` made: pretrained_fnames=(weights, words)."
        ) from error


def files_in(folder: AnyPath) -> list[Path]:
    """Return the weights and the words in a folder or its subfolders.

    Raises:
        ExportError: one of them is not there.
    """
    found = []
    for what, suffixes in (("weights", WEIGHT_SUFFIXES), ("words", VOCAB_SUFFIXES)):
        fitting = sorted(path for path in folder.rglob("*") if path.suffix in suffixes)
        if not fitting:
            raise ExportError(
                f"The language model in {folder} is incomplete: it has no {what} ({', '.join(suffixes)}). Delete the "
                "folder and run again, which fetches it anew."
            )
        found.append(Path(fitting[0]))
    return found


def named_files(fnames: Sequence[str | AnyPath], folder: AnyPath) -> list[Path]:
    """Return the weights and the words that `pretrained_fnames` names; those without a folder lie in `folder`.

    A name may lack its suffix.

    Raises:
        ArgumentError: there are not two names, or no such file.
    """
    if isinstance(fnames, str) or len(fnames) != 2:
        raise ArgumentError(f"pretrained_fnames is two names, of the weights and of the words; got {fnames!r}.")
    return [_named(folder / fnames[0], WEIGHT_SUFFIXES), _named(folder / fnames[1], VOCAB_SUFFIXES)]


def _named(path: AnyPath, suffixes: Sequence[str]) -> Path:
    tried = [path, *(path.with_name(path.name + suffix) for suffix in suffixes)]
    found = next((Path(candidate) for candidate in tried if candidate.is_file()), None)
    if found is None:
        beside = [p.name for p in path.parent.glob("*") if p.suffix in suffixes] if path.parent.is_dir() else []
        close = nearest(path.name, beside, n=1) or beside[:5]
        raise ArgumentError(
            f"There is no file {path} with one of {', '.join(suffixes)}. In {path.parent} are: "
            f"{', '.join(close) or 'none of them'}."
        )
    return found


# ---- weights


def read_weights(path: str | AnyPath) -> dict[str, Tensor]:
    """Return the weights in a file by this library's names: a .safetensors, or what fastai or torch saved.

    Raises:
        ExportError: the file holds something else, or is damaged. It was not executed.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a stranger wrote can go wrong anywhere
        raise ExportError(
            f"{path} cannot be read as weights, and was not executed ({type(error).__name__}: {str(error)[:200]})."
        ) from error
    if isinstance(found, Mapping) and isinstance(found.get("model"), Mapping):
        found = found["model"]  # saved with an optimizer
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ExportError(f"{path} holds no table of weights, but a {type(found).__name__}.")
    return our_names({str(name): value for name, value in found.items()})


def our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under this library's names.

    In fastai's files a dropped weight stands beside its layer, `rnns.0.weight_hh_l0_raw`, and may stand in it once
    more, as it was after the last dropout. In checkpoints of this library all stand under `model.`.
    """
    named = {name.removeprefix("model."): value for name, value in weights.items() if name[:10] != "optimizer."}
    raw = {name: _of_layer(name) for name in named if name.endswith("_raw")}
    return {raw.get(name, name): value for name, value in named.items() if name not in raw.values()}


def _of_layer(name: str) -> str:
    layer, _, weight = name.removesuffix("_raw").rpartition(".")
    return f"{layer}.module.{weight}"


# ---- words


def read_vocabulary(path: str | AnyPath) -> list[str]:
    """Return the words in a file: a JSON list, one word a line (.txt), or a list of words as Python pickles it (.pkl).

    Raises:
        ExportError: the file holds something else. It was not executed.
    """
    path = Path(path)
    content = path.read_bytes()
    if path.suffix == ".pkl":
        words = _pickled_words(content, path)
    else:
        try:
            text = content.decode("utf-8")
            words = json.loads(text) if path.suffix == ".json" else text.splitlines()
        except ValueError as error:
            raise ExportError(f"{path} holds no list of words: {error}.") from error
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise ExportError(f"{path} holds no list of words.")
    return words


# of pickle's operations those that make up a list of strings; there are others that import and call
WORDS = {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
PUTS, GETS = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}, {"GET", "BINGET", "LONG_BINGET"}


def _pickled_words(content: bytes, path: Path) -> Any:
    """Return the list of words that a pickle describes, by reading its operations; none is run."""
    stack: list[Any] = []
    marks: list[int] = []
    noted: dict[Any, Any] = {}
    place: int | None = 0
    try:
        for operation, value, place in pickletools.genops(content):
            name = operation.name
            if name in WORDS:
                stack.append(value)
            elif name in PUTS:
                noted[len(noted) if name == "MEMOIZE" else value] = stack[-1]
            elif name in GETS:
                stack.append(noted[value])
            elif name == "MARK":
                marks.append(len(stack))
            elif name == "EMPTY_LIST":
                stack.append([])
            elif name == "LIST":
                stack.append(_cut(stack, marks.pop()))
            elif name == "APPEND":
                word = stack.pop()
                stack[-1].append(word)
            elif name == "APPENDS":
                words = _cut(stack, marks.pop())
                stack[-1].extend(words)
            elif name == "STOP":
                return stack.pop()
            elif name not in ("PROTO", "FRAME"):
                _refuse(path, f"the operation {name} at byte {place}")
    except (ValueError, IndexError, KeyError, AttributeError) as error:
        raise ExportError(f"{path} is damaged behind byte {place} ({error}). Nothing in it was executed.") from error
    _refuse(path, "no end")


def _cut(stack: list[Any], start: int) -> list[Any]:
    found = stack[start:]
    del stack[start:]
    return found


def _refuse(path: Path, what: str) -> NoReturn:
    raise ExportError(
        f"{path} holds {what}, which no list of words has; nothing in it was executed. Where the file is your own, "
        "write the words as JSON: json.dump(list(vocab), open('vocab.json', 'w')), and name that file."
    )


# ---- from one vocabulary to another


def match_embeds(
    old_weights: Mapping[str, Tensor], old_vocab: Sequence[str], new_vocab: Sequence[str]
) -> dict[str, Tensor]:
    """Return the weights of a language model for another vocabulary, and print how many of its words were known.

    Rows of embedding and decoder are copied where both vocabularies have the word; other words get the mean row.

    Raises:
        ExportError: a weight has more or fewer rows than the old vocabulary has words.
    """
    places = {word: place for place, word in enumerate(old_vocab)}
    rows = torch.tensor([places.get(word, -1) for word in new_vocab])
    is_new = rows < 0
    weights = dict(old_weights)
    for name in BY_WORD:
        if name not in weights:
            continue
        old = weights[name]
        if len(old) != len(old_vocab):
            raise ExportError(
                f"The pretrained {name} has {len(old):,} rows, but its vocabulary {len(old_vocab):,} words: they do "
                "not belong together."
            )
        new = old[rows.clamp(min=0)]
        new[is_new] = old.mean(0)
        weights[name] = new
    n_known = len(new_vocab) - int(is_new.sum())
    print(f"Of {len(new_vocab):,} words, {n_known:,} were in the pretrained vocabulary of {len(old_vocab):,}.")
    return weights


def load_pretrained(model: Any, wgts_fname: str | AnyPath, vocab_fname: str | AnyPath, vocab: Sequence[str]) -> None:
    """Give a language model, or the encoder of a classifier, the weights of a pretrained language model.

    `vocab` is the model's own vocabulary: row i of its embedding stands for word i.

    Raises:
        ExportError: a file cannot be read, the two do not belong together, or the model has other sizes.
    """
    encoder = encoder_of(model)
    _require_words(encoder, vocab)
    old = read_weights(wgts_fname)
    _require_embedding(old, str(wgts_fname))
    new = match_embeds(old, read_vocabulary(vocab_fname), vocab)
    _load(encoder, _under(new, "0."), str(wgts_fname))
    if isinstance(model[-1], LinearDecoder):
        own = model[-1].decoder
        with torch.no_grad():
            if own.weight is not encoder.encoder.weight:
                own.weight.copy_(new.get(DECODER, new[EMBEDDING]))
            if own.bias is not None and DECODER_BIAS in new:
                own.bias.copy_(new[DECODER_BIAS])


def _under(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def encoder_of(model: Any) -> AWD_LSTM:
    """Return the encoder of a language model or of a classifier.

    Raises:
        ArgumentError: the model has none.
    """
    first = model[0] if isinstance(model, nn.Sequential) and len(model) else model
    encoder = getattr(first, "module", first)
    if not isinstance(encoder, AWD_LSTM):
        raise ArgumentError(
            f"The model, a {type(model).__name__}, has no encoder in its first place. Encoders are kept and loaded for "
            "what get_language_model and get_text_classifier build."
        )
    return encoder


def save_encoder(model: Any, path: str | AnyPath, vocab: Sequence[str]) -> Path:
    """Write a model's encoder, with the words that its rows stand for, to one file.

    Raises:
        ArgumentError: the model has no encoder, or another number of words.
    """
    encoder = encoder_of(model)
    _require_words(encoder, vocab)
    tied = tied_names(encoder)
    weights = {name: value for name, value in encoder.state_dict().items() if name not in tied}
    return write_tensors(path, weights, {"format": ENCODER_FORMAT, "format_version": 1, "vocab": list(vocab)})


def load_encoder(model: Any, path: str | AnyPath, vocab: Sequence[str]) -> None:
    """Give a model the encoder in a file: one of `save_encoder`, or of fastai (.pth), which has no words with it.

    Where the words are others than those of the model, rows are matched by word, and a printed line tells how many.

    Raises:
        ExportError: the file is no encoder, or one of other sizes.
    """
    encoder = encoder_of(model)
    _require_words(encoder, vocab)
    if AnyPath(path).suffix in (".pth", ".pt"):
        weights = {f"0.{name}": value for name, value in read_weights(path).items()}
        _require_embedding(weights, str(path))
        n_rows = len(weights[EMBEDDING])
        if n_rows != len(vocab):
            raise ExportError(
                f"{path} has a row for each of {n_rows:,} words, and the model's vocabulary {len(vocab):,} words. The "
                "file does not tell which words: make the classifier's loaders with the vocabulary of the language "
                "model (dls_lm.vocab)."
            )
    else:
        found, header = read_tensors(path, ENCODER_FORMAT)
        weights, words = {f"0.{name}": value for name, value in found.items()}, header.get("vocab")
        _require_embedding(weights, str(path))
        if not isinstance(words, list):
            raise ExportError(f"{path} is no complete encoder: it does not tell its words.")
        if words != list(vocab):
            weights = match_embeds(weights, words, vocab)
    _load(encoder, _under(weights, "0."), str(path))


def _require_words(encoder: AWD_LSTM, vocab: Sequence[str]) -> None:
    n_rows = encoder.encoder.num_embeddings
    if len(vocab) != n_rows:
        raise ArgumentError(f"The model has a row for each of {n_rows:,} words, but vocab has {len(vocab):,} words.")


def _require_embedding(weights: Mapping[str, Tensor], source: str) -> None:
    if EMBEDDING not in weights:
        names = ", ".join(list(weights)[:3])
        raise ExportError(f"{source} is no language model: it has no {EMBEDDING}, but {names or 'nothing'}.")


LAYER = re.compile(r"rnns\.(\d+)\.module\.weight_hh_l0")


def _load(encoder: AWD_LSTM, weights: dict[str, Tensor], source: str) -> None:
    """Load an encoder's weights, or say which sizes differ."""
    weights.pop("encoder_dp.emb.weight", None)  # the embedding once more
    tied = tied_names(encoder)
    own = {name: value for name, value in encoder.state_dict().items() if name not in tied}
    odd = [name for name in own if name not in weights or weights[name].shape != own[name].shape]
    odd += [name for name in weights if name not in own]
    if odd:
        there, here = _sizes(weights), _sizes(own)
        differing = {name: size for name, size in there.items() if size != here[name]}
        told = ", ".join(f"{name} {size} there and {here[name]} here" for name, size in differing.items())
        raise ExportError(
            f"The weights of {source} are of another encoder: {told or odd[0]} ({len(odd)} of "
            f"{len(own.keys() | weights.keys())} weights differ). Build the model with their sizes, "
            f"config={differing or there}, or without pretrained weights."
        )
    encoder.load_state_dict(weights, strict=False)


def encoder_sizes(path: str | AnyPath) -> dict[str, int]:
    """Return the settings (emb_sz, n_hid, n_layers) of the encoder in a language model's file of weights.

    Raises:
        ExportError: the file holds something else.
    """
    weights = read_weights(path)
    _require_embedding(weights, str(path))
    return _sizes(_under(weights, "0."))


def _sizes(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the settings of an encoder that its weights tell."""
    layers = {int(found[1]): value.shape[1] for name, value in weights.items() if (found := LAYER.fullmatch(name))}
    return {"emb_sz": weights["encoder.weight"].shape[1], "n_hid": layers.get(0, 0), "n_layers": len(layers)}
