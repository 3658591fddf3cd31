"""Late imports: after reading it you know why `pd` and `plt` are there at once and cost nothing until they are used."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

# A notebook or a documentation tool looks these up in every name it sees; that should import nothing.
_ASKED_BY_TOOLS = ("__wrapped__", "__path__", "__spec__", "__loader__", "__package__")


class LazyModule(ModuleType):
    """Stand for the module `name`, and import it when one of its attributes is first asked for."""

    def __getattr__(self, attribute: str) -> Any:
        if attribute in _ASKED_BY_TOOLS or attribute.startswith(("_repr_", "_ipython_")):
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self.__name__), attribute)

    def __setattr__(self, attribute: str, value: Any) -> None:
        setattr(importlib.import_module(self.__name__), attribute, value)

    def __dir__(self) -> list[str]:
        return dir(importlib.import_module(self.__name__))

    def __reduce__(self) -> tuple[type[LazyModule], tuple[str]]:
        return LazyModule, (self.__name__,)

    def __repr__(self) -> str:
        state = "imported" if self.__name__ in sys.modules else "imported when first used"
        return f"<module {self.__name__!r} ({state})>"
