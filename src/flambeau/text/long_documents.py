"""Long documents: after reading it you know what each model does with a text that is longer than it can see at once.

A transformer sees a window of some hundred tokens. A longer document is read in windows, whose answers are averaged by
their length; or only its beginning is read. An AWD-LSTM reads on without end and pools its last words.
"""

from __future__ import annotations

from typing import Any

from flambeau.data.data_loaders import DataLoaders
from flambeau.text.documents import Ints

MANY_WINDOWS = 8  # from here on averaging windows blurs what a document says


def lengths_of(dls: DataLoaders) -> Ints | None:
    """Return the number of tokens of each training document, None where the loaders do not know it."""
    found: Any = getattr(getattr(dls.train, "dataset", None), "lengths", None)
    return found


def tell_of_windows(lengths: Ints | None, window: int, long: str) -> None:
    """Print what becomes of the documents that are longer than a transformer's window, and what else could be done."""
    if lengths is None or not len(lengths) or lengths.max() <= window:
        return
    n_long, longest = int((lengths > window).sum()), int(lengths.max())
    share = f"{n_long:,} of {len(lengths):,} documents ({n_long / len(lengths):.0%})"
    if long == "truncate":
        print(
            f"{share} are longer than the {window} tokens that the model sees: only their beginning is read, as "
            "long='truncate' says. long='windows' reads all of each."
        )
        return
    advice = (
        f" The longest has {longest:,} tokens; for texts so long text_classifier_learner(dls, AWD_LSTM) reads each in "
        "one go."
        if longest > MANY_WINDOWS * window
        else ""
    )
    print(
        f"{share} are longer than the {window} tokens that the model sees: they are read in windows, whose answers are "
        f"averaged (long='truncate' reads the beginning alone, which is faster).{advice}"
    )


def tell_of_last_words(lengths: Ints | None, max_len: int | None) -> None:
    """Print how many documents are longer than what a recurrent classifier pools."""
    if lengths is None or max_len is None or not len(lengths):
        return
    n_long = int((lengths > max_len).sum())
    if n_long:
        print(
            f"{n_long:,} of {len(lengths):,} documents are longer than {max_len:,} tokens: they are read whole, and "
            "the answer is drawn from their last ones. Pass max_len=None to draw it from all, which takes more memory."
        )
