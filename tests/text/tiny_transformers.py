"""Transformers of a few thousand random weights, with tokenizers of their own, in folders of this machine."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from flambeau.data.categorize import Categorize
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.dataset import Datasets, Getter
from flambeau.text.transformer_tokenizer import TransformerTokenizer

transformers = pytest.importorskip("transformers")

GOOD, BAD = ("good", "fine", "great", "lovely"), ("bad", "awful", "poor", "boring")
SENTENCES = [
    f"the {noun} was {feeling}, and the {other} {feeling} too"
    for feeling in (*GOOD, *BAD)
    for noun, other in (("film", "music"), ("book", "story"), ("actor", "light"), ("end", "film"))
]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
POSITIONS = 48
_ROOT = tempfile.TemporaryDirectory()


@cache
def tiny_folder(kind: str) -> Path:
    """Return a folder with a model of a kind (bert, distilbert, roberta, gpt2, llama, ...) and its tokenizer."""
    folder = Path(_ROOT.name) / kind
    bytewise = kind in ("roberta", "gpt2", "llama")
    tokenizer = _bytewise(kind) if bytewise else _wordpiece()
    tokenizer.save_pretrained(folder)
    config = transformers.CONFIG_MAPPING[kind](
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **_sizes(kind)
    )
    torch.manual_seed(3)
    auto = transformers.AutoModelForMaskedLM
    if kind in ("gpt2", "llama", "t5"):
        auto = transformers.AutoModelForSeq2SeqLM if kind == "t5" else transformers.AutoModelForCausalLM
    auto.from_config(config).save_pretrained(folder)
    return folder


def _sizes(kind: str) -> dict[str, Any]:
    if kind == "gpt2":
        return {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": POSITIONS, "bos_token_id": 0, "eos_token_id": 0}
    if kind == "distilbert":
        return {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48, "max_position_embeddings": POSITIONS}
    if kind == "t5":
        return {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2}
    reach = POSITIONS + 2 if kind == "roberta" else 200_000 if kind == "llama" else POSITIONS
    types = {"roberta": {"type_vocab_size": 1}, "bert": {"type_vocab_size": 2}}
    return {**SIZES, "max_position_embeddings": reach, **types.get(kind, {})}


def _wordpiece() -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    markers = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(SENTENCES, trainers.WordPieceTrainer(vocab_size=120, special_tokens=markers))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=POSITIONS,
    )  # fmt: skip


def _bytewise(kind: str) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    markers = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if kind == "roberta" else ["<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=markers, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    made.train_from_iterator(SENTENCES, trainer)
    if kind != "roberta":
        return transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|endoftext|>")
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>", cls_token="<s>",
        sep_token="</s>", mask_token="<mask>",
    )  # fmt: skip


def label_of(item: Any) -> str:
    """Return the label of a sentence or pair."""
    return "good" if any(word in str(item) for word in GOOD) else "bad"


def padded(samples: Sequence[tuple[Any, ...]], pad_id: int) -> list[tuple[Any, ...]]:
    """Return samples whose first columns are filled up at the end."""
    whole = pad_sequence([sample[0] for sample in samples], batch_first=True, padding_value=pad_id)
    return [(row, *sample[1:]) for row, sample in zip(whole, samples, strict=True)]


def loaders(
    tokenizer: TransformerTokenizer, items: Sequence[Any] = SENTENCES, targets: Any = None, **options: Any
) -> DataLoaders:
    """Return loaders of items, the last quarter of which validates; `targets` are the transforms of the labels."""
    n_train = 3 * len(items) // 4
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(1)).tolist()
    made = Datasets(
        list(items),
        [[tokenizer], [Getter(label_of, "get_y"), Categorize()] if targets is None else targets],
        splits=[order[:n_train], order[n_train:]],
    )
    pad = partial(padded, pad_id=tokenizer.pad_id)
    return DataLoaders.from_datasets(made, **{"bs": 8, "before_batch": pad, "device": "cpu", "seed": 1, **options})


def batch_of(tokenizer: TransformerTokenizer, texts: Sequence[Any]) -> Tensor:
    """Return ids (batch, time), filled up at the end."""
    ids = [tokenizer(text) for text in texts]
    return pad_sequence(ids, batch_first=True, padding_value=tokenizer.pad_id)


def config_of(folder: Path) -> dict[str, Any]:
    """Return what config.json holds."""
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found
