"""Made-up reviews whose words tell their label, and a transformer of random weights that knows these words."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pandas as pd
from typer.testing import CliRunner, Result

from flambeau.cli.main import app

GOOD, BAD = ["wonderful", "great", "lovely", "superb"], ["awful", "boring", "terrible", "dull"]
PLAIN = ["the", "film", "was", "with", "a", "story", "about", "actors", "and", "scenes", "in", "town"]


def said_by(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def reviews(n: int = 80, seed: int = 0) -> pd.DataFrame:
    """Return a table of `n` reviews, text and label, of 4 to 20 words, one in four of which tells the label."""
    chance = random.Random(seed)
    labels = ["pos" if place % 2 else "neg" for place in range(n)]
    telling = {"pos": GOOD, "neg": BAD}
    texts = [
        " ".join(chance.choice(PLAIN if place % 4 else telling[label]) for place in range(chance.randint(4, 20)))
        for label in labels
    ]
    return pd.DataFrame({"text": texts, "label": labels})


def tiny_transformer(folder: Path) -> Path:
    """Write a BERT of a few thousand random weights, and a tokenizer of whole words, to a folder; return it."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GOOD, *BAD, *PLAIN]
    made = Tokenizer(models.WordPiece({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=64,
    ).save_pretrained(folder)  # fmt: skip
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 48,
    }
    config = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=64, pad_token_id=0, **sizes)
    torch.manual_seed(3)
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    return folder
