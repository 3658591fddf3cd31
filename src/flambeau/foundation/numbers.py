"""Numbers for a reader: after reading it you know how a number is written where people look at it."""

from __future__ import annotations

LARGE, TOO_LARGE = 10_000, 1e15


def number_words(number: float, precision: int = 4, sign: bool = False) -> str:
    """Return a number as a person would write it: large ones whole, with commas, small ones to so many digits.

    >>> number_words(1483.4, precision=3), number_words(9999.7)
    ('1483', '10,000')
    >>> number_words(45669.857), number_words(0.123456), number_words(2.5, sign=True)
    ('45,670', '0.1235', '+2.5')
    """
    plus = "+" if sign else ""
    if min(LARGE, 10**precision) - 0.5 <= abs(number) < TOO_LARGE:  # rounded to so many digits: a whole number
        return f"{number:{plus}{',' if round(abs(number)) >= LARGE else ''}.0f}"
    return f"{number:{plus}.{precision}g}"
