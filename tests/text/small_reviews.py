"""Made-up reviews whose words tell their label, for tests that need texts on any machine."""

from __future__ import annotations

import random
from pathlib import Path

import pandas as pd

GOOD, BAD = ["wonderful", "great", "lovely", "superb"], ["awful", "boring", "terrible", "dull"]
PLAIN = ["the", "film", "was", "with", "a", "story", "about", "actors", "and", "scenes", "in", "town"]


def review(label: str, n_words: int, chance: random.Random) -> str:
    """Return a review of about `n_words` words, one in four of which tells its label."""
    telling = GOOD if label == "pos" else BAD
    words = [chance.choice(telling if place % 4 == 0 else PLAIN) for place in range(n_words)]
    return " ".join(words).capitalize() + "."


def reviews(n: int = 80, longest: int = 40, seed: int = 0) -> pd.DataFrame:
    """Return a table of `n` reviews, text and label, of different lengths."""
    chance = random.Random(seed)
    labels = ["pos" if place % 2 else "neg" for place in range(n)]
    texts = [review(label, chance.randint(4, longest), chance) for label in labels]
    return pd.DataFrame({"text": texts, "label": labels})


def write_reviews(folder: Path, n: int = 80, seed: int = 0) -> Path:
    """Write reviews as `folder/{train,test}/{pos,neg}/*.txt`, one in four for testing, and return the folder."""
    for place, (text, label) in enumerate(reviews(n, seed=seed).itertuples(index=False)):
        half = folder / ("test" if place % 8 in (6, 7) else "train") / label
        half.mkdir(parents=True, exist_ok=True)
        (half / f"{place}.txt").write_text(text, encoding="utf-8")
    return folder
