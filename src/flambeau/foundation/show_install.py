"""What is installed: after reading it you know what to put into a report about a fault."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib import metadata

LIBRARIES = (
    *("flambeau", "torch", "torchvision", "timm", "numpy", "pandas", "scikit-learn", "pillow", "matplotlib"),
    *("safetensors", "tokenizers", "huggingface_hub", "transformers", "datasets", "accelerate", "diffusers"),
    *("gradio", "optuna", "lightgbm", "onnx", "onnxruntime"),
)


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


@cache
def installed_versions() -> dict[str, str]:
    """Return the versions of the libraries that matter to flambeau, of those that are installed."""
    return {library: version for library in LIBRARIES if (version := _version(library))}


def install_lines() -> list[str]:
    """Return the lines that `show_install` prints."""
    import torch

    from flambeau.foundation.devices import default_device

    versions = installed_versions()
    lines = [f"{'python':<16}{platform.python_version()}", f"{'system':<16}{platform.platform()}"]
    lines += [f"{library:<16}{version}" for library, version in versions.items()]
    lines.append(f"{'not installed':<16}{', '.join(library for library in LIBRARIES if library not in versions)}")
    lines.append(f"{'cpu cores':<16}{os.cpu_count()}, torch uses {torch.get_num_threads()}")
    lines.append(f"{'cuda':<16}{torch.version.cuda or 'torch was built without it'}")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        lines.append(f"{f'cuda:{index}':<16}{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    lines.append(f"{'mps':<16}{'available' if torch.backends.mps.is_available() else 'not available'}")
    lines.append(f"{'default device':<16}{default_device()}")
    return lines


def show_install() -> None:
    """Print versions and devices, for a report about a fault."""
    print("\n".join(install_lines()))
