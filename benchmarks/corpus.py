"""A corpus larger than memory may be: how fast it is tokenised into a `TokenStore`, and how much memory that takes.

    python benchmarks/corpus.py [megabytes [folder]]

The corpus is IMDb's reviews over and over, their sentences in a new order each time and with rare words of their own,
as in any large corpus: about one word in 500 was never seen before.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from flambeau.text.numericalize import Numericalize
from flambeau.text.token_store import TokenStore

REVIEWS = Path(__file__).resolve().parents[2] / "shared" / "data" / "imdb" / "train.csv.xz"
WORDS_PER_NEW_ONE = 500


def write_corpus(path: Path, megabytes: int) -> None:
    """Write documents, one a line, until the file is as large as asked for."""
    chance, size = random.Random(0), 0
    sentences = [part for text in pd.read_csv(REVIEWS)["text"] for part in text.replace("\n", " ").split(". ")]
    with path.open("w", encoding="utf-8") as file:
        while size < megabytes * 1_000_000:
            words = ". ".join(chance.choices(sentences, k=12)).split(" ")
            for place in range(0, len(words), WORDS_PER_NEW_ONE):
                words.insert(place, f"w{chance.getrandbits(40):x}")
            size += file.write(" ".join(words) + "\n")


def peak() -> float:
    """Return the largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print what was measured."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        corpus = Path(folder) / "corpus.txt"
        write_corpus(corpus, megabytes)
        before, start = peak(), time.perf_counter()
        store = TokenStore.build(corpus, Path(folder) / "tokens")
        seconds = time.perf_counter() - start
        print(
            f"{corpus.stat().st_size / 1e6:.0f} MB, {store.n_documents:,} documents, {store.n_tokens:,} tokens, "
            f"{store.n_words:,} different ones: {seconds:.0f} s, {store.n_tokens / seconds / 1e6:.2f} million tokens a "
            f"second, memory {peak():.0f} MB at most ({before:.0f} MB before)"
        )
        start = time.perf_counter()
        dls = store.dataloaders(Numericalize(max_vocab=60_000), valid_pct=0.01, seed=1)
        for _, _ in zip(range(100), dls.train, strict=False):
            pass
        print(f"vocabulary and 100 batches: {time.perf_counter() - start:.0f} s, memory {peak():.0f} MB at most")


if __name__ == "__main__":
    main()
