"""Tokens: documents per second of the one pass, against a bare pass with the same rules, and against fastai's."""

from __future__ import annotations

import html
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
from timing import compare, has_fastai

from flambeau.text.word_tokenizer import WordsWithRules

IMDB = Path(__file__).resolve().parents[2] / "shared" / "data" / "imdb" / "train.csv.xz"
DRAWN_OUT = re.compile(r"(\S)\1{2,}")
SAID_AGAIN = re.compile(r"(?:\s|^)(\w+)\s+((?:\1\s+)+)\1(\s|\W|$)")
SIGNS = re.compile(r"[/#\\]")
CHUNK = re.compile(r"\S+|\n+")
WORD = re.compile(r"\w+(?=n't)|n't|'\w+|\w+|[^\w\s]")


def bare_pass(texts: list[str], known: dict[str, list[str]]) -> list[list[str]]:
    """Tokenize with the rules as regular expressions, a simple expression for words, and a dictionary of chunks."""
    tokenized = []
    for text in texts:
        text = html.unescape(text.replace("<br />", "\n").replace("...", " …"))
        text = DRAWN_OUT.sub(lambda found: f" xxrep {len(found[0])} {found[1]} ", text)
        text = SAID_AGAIN.sub(lambda found: f" xxwrep {len(found[2].split()) + 2} {found[1]} {found[3]}", text)
        text = SIGNS.sub(r" \g<0> ", text)
        tokens = ["xxbos"]
        for chunk in CHUNK.findall(text):
            words = known.get(chunk)
            if words is None:
                mark = ["xxup"] if chunk.isupper() and len(chunk) > 1 else ["xxmaj"] if chunk[0].isupper() else []
                words = known[chunk] = mark + (WORD.findall(chunk.lower()) or [chunk])
            tokens += words
        tokenized.append(tokens)
    return tokenized


def main() -> None:
    """Print the table of ratios: first with nothing known, as at the start of a corpus, then with chunks known."""
    texts = pd.read_csv(IMDB).text.sample(2_000, random_state=1).tolist()
    sides: dict[str, Callable[[], object]] = {}
    if has_fastai():
        from fastai.text.core import SpacyTokenizer, TokenizeWithRules

        theirs = TokenizeWithRules(SpacyTokenizer("en"))
        agreement = [list(a) == b for a, b in zip(theirs(texts), WordsWithRules()(texts), strict=True)]
        print(f"documents with the same tokens as fastai's: {statistics.mean(agreement):.2%}")
        sides["fastai"] = lambda: [list(tokens) for tokens in theirs(texts)]

    known: dict[str, list[str]] = {}
    words = WordsWithRules()
    sides |= {"bare": lambda: bare_pass(texts, known), "flambeau": lambda: list(words(texts))}
    compare(f"{len(texts)} reviews, chunks known", "1.3", 3, **sides)
    sides |= {"bare": lambda: bare_pass(texts, {}), "flambeau": lambda: list(WordsWithRules()(texts))}
    compare(f"{len(texts)} reviews, none known", "1.3", 3, **sides)


if __name__ == "__main__":
    main()
