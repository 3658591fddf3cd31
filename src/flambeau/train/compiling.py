"""Compiling: after reading it you know what torch.compile does to a model, and what stays as it was.

At its first batch the model's Python code is traced and turned into few large kernels. That takes a minute and pays for
long trainings of models with many small steps. It happens in place: the layers, the names of the weights and all
exports stay the same, and a copy of the model is not compiled.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

from torch import nn

from flambeau.foundation.errors import MissingDependencyError

# in the order in which torch looks for them
COMPILERS = ("g++", "clang++", "c++", "cl")


def compile_in_place(model: nn.Module, **options: Any) -> None:
    """Let calls of the model run compiled; `options` are those of `torch.compile`.

    Raises:
        MissingDependencyError: torch's own backend is to be used, and there is no C++ compiler.
    """
    if options.get("backend", "inductor") == "inductor":
        wanted = os.environ.get("CXX")
        if not any(shutil.which(name) for name in ([wanted] if wanted else COMPILERS)):
            raise MissingDependencyError(
                "torch.compile writes C++ and needs a compiler for it; "
                + (f"CXX={wanted} is none." if wanted else f"none of {', '.join(COMPILERS)} is installed.")
                + " Install one (Debian: apt install g++; macOS: xcode-select --install; Windows: the Build Tools for "
                "Visual Studio), or train without compile."
            )
    model.compile(**options)
