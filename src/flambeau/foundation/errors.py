"""The family of flambeau's errors: after reading it you know what can go wrong and which `except` catches it.

    FlambeauError
    ├── ArgumentError (ValueError)          a call's arguments do not fit together
    │   └── UnknownNameError                a name that does not exist; the nearest ones are proposed
    │       └── UnknownAttributeError (AttributeError)  the same, behind a dot
    ├── DataError (ValueError)              what is on disk or in the table is not what was promised
    │   ├── EmptyError                      nothing found where items were expected
    │   ├── LabelError                      a label is missing, unreadable or unknown
    │   ├── ImageError                      a picture cannot be read
    │   ├── TableError                      a table lacks a column, a row or a value
    │   └── CollateError                    the samples of one batch do not stack
    ├── ShapeError (ValueError)             a tensor of the wrong shape
    ├── TrainingError (RuntimeError)        the training itself cannot go on
    ├── DownloadError (OSError)             a file could not be fetched, checked or unpacked
    ├── ExportError (ValueError)            an export or checkpoint cannot be written or read
    └── MissingDependencyError (ImportError)  an optional library is not installed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FlambeauError(Exception):
    """Any error that flambeau raises on purpose."""


class ArgumentError(FlambeauError, ValueError):
    """The arguments of a call do not fit together, or one is out of range."""


class UnknownNameError(ArgumentError):
    """A name (architecture, metric, transform, column) that does not exist."""


class UnknownAttributeError(UnknownNameError, AttributeError):
    """A name behind a dot that does not exist."""


class DataError(FlambeauError, ValueError):
    """What is on disk or in the table is not what was promised."""


class EmptyError(DataError):
    """No item was found where items were expected."""


class LabelError(DataError):
    """A label is missing, unreadable or not in the vocabulary."""


class ImageError(DataError):
    """A picture cannot be read."""


class TableError(DataError):
    """A table lacks a column, a row or a value."""


class CollateError(DataError):
    """The samples of one batch cannot be stacked."""


class ShapeError(FlambeauError, ValueError):
    """A tensor has the wrong shape."""


class TrainingError(FlambeauError, RuntimeError):
    """The training cannot go on."""


class DownloadError(FlambeauError, OSError):
    """A file could not be fetched, checked or unpacked."""


class ExportError(FlambeauError, ValueError):
    """An export or checkpoint cannot be written or read."""


class MissingDependencyError(FlambeauError, ImportError):
    """An optional library is not installed."""


def nearest(name: str, choices: Iterable[str], n: int = 3) -> list[str]:
    """Return up to `n` of `choices` that look like `name`, the nearest first."""
    by_lower = {choice.lower(): choice for choice in choices}
    return [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=n, cutoff=0.5)]


def unknown_name(what: str, name: object, choices: Iterable[str], advice: str = "") -> UnknownNameError:
    """Build the error for a name that does not exist, proposing the nearest of `choices`."""
    known = sorted({str(choice) for choice in choices})  # members of a StrEnum print as their values
    close = nearest(str(name), known)
    if close:
        hint = f" Did you mean {' or '.join(repr(match) for match in close)}?"
    elif len(known) <= 20:
        hint = f" Known: {', '.join(known)}."
    else:
        hint = f" {len(known)} are known, none of them near."
    return UnknownNameError(f"There is no {what} {str(name)!r}.{hint}{' ' + advice if advice else ''}")


def missing_dependency(library: str, extra: str, purpose: str) -> MissingDependencyError:
    """Build the error for an optional library that is absent: one line that says how to install it."""
    return MissingDependencyError(
        f'{purpose} needs {library}, which is not installed. Run: pip install "flambeau[{extra}]"'
    )
