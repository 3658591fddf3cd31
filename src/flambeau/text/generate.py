"""Writing text: after reading it you know how a language model's next word is drawn, and what each setting forbids.

The model gives a number for each word; `temperature` divides these numbers before they become chances (below 1: safer,
above 1: wilder). `top_k`, `top_p` and `min_p` then leave out words that are unlikely.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from flambeau.data.kinds import joined_tokens
from flambeau.foundation.errors import ArgumentError
from flambeau.text.special_tokens import BOS, EOS, FLD, PAD, TK_MAJ, TK_REP, TK_UP, TK_WREP

WRITE_TOGETHER = "n't", "'s", "'re", "'ve", "'ll", "'d", "'m"
MOST_REPEATS = 100


def choose(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    generator: torch.Generator | None = None,
) -> int:
    """Draw the number of the next word from a model's numbers (words,); with `temperature=0` the likeliest.

    `top_k` keeps the k likeliest words, `top_p` the fewest that have this chance together (Holtzman 2020), `min_p`
    those whose chance is at least this one.

    Raises:
        ArgumentError: a setting is out of its range.
    """
    if temperature < 0 or (top_k is not None and top_k < 1):
        raise ArgumentError(f"temperature is at least 0 and top_k at least 1; got {temperature!r} and {top_k!r}.")
    for name, share in (("top_p", top_p), ("min_p", min_p)):
        if share is not None and not 0 < share <= 1:
            raise ArgumentError(f"{name} is a chance, above 0 and at most 1; got {share!r}.")
    if temperature == 0:
        return int(logits.argmax())
    chances = torch.softmax(logits.float() / temperature, dim=0)
    sorted_chances, order = chances.sort(descending=True)
    keep = torch.ones_like(sorted_chances, dtype=torch.bool)
    if top_k is not None:
        keep[top_k:] = False
    if top_p is not None:
        keep &= sorted_chances.cumsum(0) - sorted_chances < top_p
    if min_p is not None:
        keep &= sorted_chances >= min_p
    keep[0] = True
    drawn = torch.multinomial(sorted_chances * keep, 1, generator=generator)
    return int(order[drawn])


@torch.no_grad()
def continue_text(
    step: Callable[[Tensor], Tensor],
    ids: Sequence[int],
    n_words: int,
    draw: Callable[[Tensor], int],
    forbidden: Iterable[int] = (),
    stop: int | None = None,
) -> list[int]:
    """Return `ids` with up to `n_words` more; it ends early at the number `stop`.

    `step` takes the numbers not yet read (1, time) and returns the model's numbers for the next word (words,).
    """
    written, unread = list(ids), torch.tensor([list(ids)], dtype=torch.int64)
    banned = torch.tensor(sorted(set(forbidden)), dtype=torch.int64)
    for _ in range(n_words):
        logits = step(unread).float().cpu().clone()
        logits[banned] = -torch.inf
        new = draw(logits)
        if new == stop:
            break
        written.append(new)
        unread = torch.tensor([[new]], dtype=torch.int64)
    return written


def decode_spec_tokens(tokens: Iterable[str]) -> list[str]:
    """Return tokens as a person would write them: `xxmaj the` is "The", `xxrep 3 !` is "!!!"; `xxbos`, `xxfld 1` go."""
    found: list[str] = []
    waiting: list[tuple[str, int]] = []
    count: str | None = None
    before: str | None = None
    for token in tokens:
        of_field, before = before == FLD and token.isdecimal(), token
        if token in (BOS, EOS, PAD, FLD) or of_field:
            continue
        if token in (TK_REP, TK_WREP):
            count = token
        elif count is not None:
            number = int(token) if token.isdecimal() else 1
            waiting.append((count, min(number, MOST_REPEATS)))
            count = None
        elif token in (TK_MAJ, TK_UP):
            waiting.append((token, 1))
        else:
            for mark, number in reversed(waiting):
                token = _marked(token, mark, number)
            waiting = []
            found.append(token)
    return found


def written(tokens: Sequence[str], joiner: str = " ") -> str:
    """Return tokens as a text, with no blank before what is written together with the word before it."""
    together: list[str] = []
    for token in tokens:
        if together and token in WRITE_TOGETHER:
            together[-1] += token
        else:
            together.append(token)
    return joined_tokens(together, joiner)


def _marked(token: str, mark: str, number: int) -> str:
    if mark == TK_MAJ:
        return token.capitalize()
    if mark == TK_UP:
        return token.upper()
    return token * number if mark == TK_REP else " ".join([token] * number)
