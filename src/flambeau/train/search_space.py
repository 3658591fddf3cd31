"""Search spaces: after reading it you know how a plain dictionary says what a study may try.

    {"arch": ["resnet18", "resnet34"],   a list: one of these
     "lr": (1e-4, 1e-1, "log"),          two numbers, one of them with a point: any number between them
     "epochs": (2, 6),                   two whole numbers: a whole number between them, both ends included
     "ps": (0.1, 0.5, 0.1),              a third number: in steps of so much
     "first_bn": bool}                   yes or no

Distributions of Optuna are taken as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flambeau.foundation.errors import ArgumentError, missing_dependency

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

LOG = "log"
FORMS = (
    "A list is one of its values; (low, high) a number between, whole where both are; (low, high, 'log') one on the "
    "logarithmic scale; (low, high, step) one in steps; bool yes or no."
)


def import_optuna() -> Any:
    """Return the module `optuna`.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise missing_dependency("optuna", "tune", "Searching hyper-parameters") from error
    return optuna


@dataclass(frozen=True)
class Dimension:
    """One searched parameter: its distribution, and the values behind the names that a study stores.

    A study stores words and numbers alone, so an architecture function or a loss is kept by its name.
    """

    distribution: BaseDistribution
    values: Mapping[str, Any] | None = None

    def value_of(self, stored: Any) -> Any:
        """Return the value that a stored one stands for."""
        return self.values[stored] if self.values is not None and stored in self.values else stored

    def suggest(self, trial: Trial, name: str) -> Any:
        """Return the value that a trial is to try."""
        distribution: Any = self.distribution
        if hasattr(distribution, "choices"):
            return self.value_of(trial.suggest_categorical(name, distribution.choices))
        suggest: Any = trial.suggest_int if type(distribution).__name__ == "IntDistribution" else trial.suggest_float
        return suggest(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


Space = dict[str, Dimension]


def read_space(space: Mapping[str, Any]) -> Space:
    """Return the dimensions that a dictionary describes.

    Raises:
        ArgumentError: it is empty, or an entry describes nothing to search; the message names the entry.
    """
    if not isinstance(space, Mapping):
        raise ArgumentError(f"A space is a dictionary from names to what they may be, got {space!r}. {FORMS}")
    if not space:
        raise ArgumentError('The space is empty, so there is nothing to search. Try {"lr": (1e-4, 1e-1, "log")}.')
    return {_name(name): _dimension(str(name), entry) for name, entry in space.items()}


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name.isidentifier():
        raise ArgumentError(f"The names of a space become arguments of functions; {name!r} cannot be one.")
    return name


def _dimension(name: str, entry: Any) -> Dimension:
    from optuna.distributions import BaseDistribution, CategoricalDistribution

    if isinstance(entry, BaseDistribution):
        return Dimension(entry)
    if entry is bool:
        return Dimension(CategoricalDistribution([False, True]))
    if isinstance(entry, list | set | frozenset):
        return _choices(name, list(entry) if isinstance(entry, list) else sorted(entry, key=str))
    if isinstance(entry, tuple):
        return _range(name, entry)
    raise ArgumentError(
        f"The space gives {name}={entry!r}, a single value with nothing to search. To keep it fixed write [{entry!r}]. "
        f"{FORMS}"
    )


def _choices(name: str, options: Sequence[Any]) -> Dimension:
    from optuna.distributions import CategoricalDistribution

    if not options:
        raise ArgumentError(f"The space gives {name}=[], an empty list: there is no value to choose.")
    if all(option is None or isinstance(option, bool | int | float | str) for option in options):
        names: list[Any] = list(options)
        values = None
    else:
        names = [option if isinstance(option, str) else _words(option) for option in options]
        values = dict(zip(names, options, strict=True))
    twice = [each for place, each in enumerate(names) if any(_same(each, other) for other in names[:place])]
    if twice:
        raise ArgumentError(f"The space gives {name} the choice {twice[0]!r} twice; name each of them once.")
    return Dimension(CategoricalDistribution(names), values)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _words(option: Any) -> str:
    """Return a name that says which value this is: of a function or class its own."""
    if isinstance(option, int | float | bool | tuple | list) or option is None:
        return repr(option)
    own = getattr(option, "__name__", None)
    return str(own) if isinstance(own, str) else type(option).__name__


def _range(name: str, entry: tuple[Any, ...]) -> Dimension:
    from optuna.distributions import FloatDistribution, IntDistribution

    ends, scale = entry[:2], entry[2] if len(entry) > 2 else None
    numbers = [*ends] if scale is None or scale == LOG else [*ends, scale]
    if not 2 <= len(entry) <= 3 or not all(_is_number(number) for number in numbers):
        raise ArgumentError(f"The space gives {name}={entry!r}, which is no range. {FORMS}")
    low, high = ends
    if not low < high:
        raise ArgumentError(f"The space gives {name}={entry!r}: the range must rise, from a low to a higher number.")
    is_log = scale == LOG
    if is_log and low <= 0:
        raise ArgumentError(
            f"The space gives {name}={entry!r}: a logarithmic scale has no {low}. Begin above 0, for example at "
            f"{1 if isinstance(low, int) and isinstance(high, int) else high / 1000!r}."
        )
    step = None if is_log else scale
    if step is not None and not 0 < step <= high - low:
        raise ArgumentError(f"The space gives {name}={entry!r}: the step must lie in 0..{high - low}, 0 excluded.")
    if all(isinstance(number, int) for number in numbers):
        return Dimension(IntDistribution(low, high, log=is_log, step=step or 1))
    return Dimension(FloatDistribution(float(low), float(high), log=is_log, step=step))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
