"""Numbers for a reader: after reading it you know how a number is written where people look at it."""

from __future__ import annotations

LARGE, TOO_LARGE = 10_000, 1e15


def number_words(number: float, precision: int = 4, sign: bool = False) -> str:
    """Return a number as a person would write it: large ones whole, with commas, small ones to so many digits.

    >>> number_words(45669.857), number_words(0.123456), number_words(2.5, sign=True)
    ('45,670', '0.1235', '+2.5')
    """
    plus = "+" if sign else ""
    if LARGE <= abs(number) < TOO_LARGE:
        return f"{number:{plus},.0f}"
    return f"{number:{plus}.{precision}g}"
