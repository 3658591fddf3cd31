"""Texts: loaders of a language model and of a classifier against the work by hand, and what sorting saves.

    python benchmarks/texts.py [documents]
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from timing import compare, has_fastai
from tokens import bare_pass

from flambeau.text.data_loaders import TextDataLoaders

REVIEWS = Path(__file__).resolve().parents[2] / "shared" / "data" / "imdb" / "train.csv.xz"
BS, SEQ_LEN = 32, 72


def fastai_loaders(frame: pd.DataFrame) -> Any:
    """Return fastai's loaders of a language model."""
    from fastai.text.all import TextDataLoaders as FastaiText

    return FastaiText.from_df(frame.copy(), text_col="text", is_lm=True, bs=BS, seq_len=SEQ_LEN, valid_pct=0.1, seed=1)


def bare_numbers(texts: list[str]) -> Tensor:
    """Return all documents as one row of numbers, by a fresh pass, a counter and a dictionary."""
    documents = bare_pass(texts, {})
    count = Counter(token for document in documents for token in document)
    numbers = {word: place for place, (word, n) in enumerate(count.most_common(60_000)) if n >= 3}
    return torch.tensor([numbers.get(token, 0) for document in documents for token in document])


def bare_batches(stream: Tensor) -> int:
    """Go through a language model's batches: slices of one matrix."""
    length = (len(stream) - 1) // BS
    x, y = stream[: BS * length].view(BS, length), stream[1 : BS * length + 1].view(BS, length)
    n = 0
    for start in range(0, length, SEQ_LEN):
        pair = x[:, start : start + SEQ_LEN].contiguous(), y[:, start : start + SEQ_LEN].contiguous()
        n += len(pair)
    return n


def main() -> None:
    """Print the table of ratios."""
    torch.set_num_threads(1)
    n_documents = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    frame = pd.read_csv(REVIEWS).sample(n_documents, random_state=0).reset_index(drop=True)
    texts = frame["text"].tolist()

    def build() -> Any:
        options = {"text_col": "text", "is_lm": True, "bs": BS, "seq_len": SEQ_LEN, "valid_pct": 0.1, "seed": 1}
        return TextDataLoaders.from_df(frame, device="cpu", **options)  # type: ignore[arg-type]

    sides: dict[str, Any] = {"bare": lambda: bare_numbers(texts), "flambeau": build}
    if has_fastai():
        sides["fastai"] = lambda: fastai_loaders(frame)
    compare(f"language model of {n_documents} documents", "fastai / 7", repeats=2, **sides)

    few = frame.head(600)
    dls, stream = TextDataLoaders.from_df(few, text_col="text", is_lm=True, bs=BS, seed=1), bare_numbers(texts[:600])
    sides = {"bare": lambda: bare_batches(stream), "flambeau": lambda: sum(1 for _ in dls.train)}
    if has_fastai():
        theirs = fastai_loaders(few)
        sides["fastai"] = lambda: sum(1 for _ in theirs.train)
    compare("its batches, 600 documents", "fastai / 40", **sides)

    labelled = TextDataLoaders.from_df(frame, text_col="text", label_col="label", bs=64, seed=1)
    padding = places = 0
    for batch in labelled.train:
        lengths = labelled.train.lengths[np.asarray(batch.indices)]
        padding, places = padding + batch[0].numel() - int(lengths.sum()), places + batch[0].numel()
    print(f"padding in sorted batches of 64: {padding / places:.1%} (aim 5 %)")


if __name__ == "__main__":
    main()
