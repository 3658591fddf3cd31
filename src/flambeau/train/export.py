"""Export: after reading it you know what one file must hold to predict anywhere, and that it holds no code.

An export is a safetensors file: the model's weights, and in its header a JSON recipe of the columns, the transforms,
the classes, the architecture and the loss. The label function, the splitter and the training items are not in it: they
are needed to train, never to predict.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as AnyPath
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

import flambeau
from flambeau.data.dataset import Datasets
from flambeau.data.kinds import Category, Kind, MultiCategory
from flambeau.data.loaders import DataLoader
from flambeau.data.pipeline import Pipeline
from flambeau.foundation.errors import ExportError
from flambeau.foundation.paths import Path
from flambeau.nn.metric import Metric
from flambeau.nn.metric_recipes import describe_metric, rebuild_metrics
from flambeau.train.answers import in_part, n_classes_of, n_outputs_of, odd_outputs, spoilt_weights
from flambeau.train.checkpoint import distinct_state, load_state, read_tensors, write_tensors
from flambeau.train.recipe import (
    check_numbers,
    datasets_class,
    describe_column,
    describe_datasets,
    describe_loss,
    describe_model,
    describe_part,
    rebuild_loss,
    rebuild_model,
    rebuild_part,
)
from flambeau.train.run_record import write_run_record

if TYPE_CHECKING:
    from flambeau.train.learner import Learner

FORMAT, FORMAT_VERSION = "flambeau-export", 1
ENSEMBLE_VERSION = 2  # of an export with several members, which a flambeau that knows version 1 alone must not read
MAX_MEMBERS = 1024


def export(learn: Learner, fname: str | AnyPath) -> Path:
    """Write what predicting needs to one file under the learner's path; say what the file cannot carry.

    The record of the training is written beside it: see train/run_record.py.

    Raises:
        ExportError: the loaders do not know how an item becomes a sample.
    """
    header, tensors = describe_learner(learn)
    path = Path(fname)
    path = path if path.is_absolute() else learn.path / path
    written = write_tensors(path, tensors, {**head(FORMAT_VERSION), **header})
    write_run_record(learn, written)
    for line in [*left_out(header), *doubts(learn, header)]:
        print(line)
    return written


def export_members(learners: Sequence[Learner], weights: Sequence[float], fname: str | AnyPath) -> Path:
    """Write several learners, whose predictions are averaged, to one file; see `export`.

    Raises:
        ExportError: the loaders of a learner do not know how an item becomes a sample.
    """
    headers, tensors = [], {}
    for place, learn in enumerate(learners):
        header, own = describe_learner(learn)
        headers.append(header)
        tensors.update({f"{place}.{name}": value for name, value in own.items()})
    path = Path(fname)
    path = path if path.is_absolute() else learners[0].path / path
    whole = {**head(ENSEMBLE_VERSION), "members": headers, "weights": [float(weight) for weight in weights]}
    written = write_tensors(path, tensors, whole)
    told = [*(left_out(h) for h in headers), *(doubts(one, h) for one, h in zip(learners, headers, strict=True))]
    for line in dict.fromkeys(line for lines in told for line in lines):
        print(line)
    return written


def head(version: int) -> dict[str, Any]:
    """Return what every export's header begins with."""
    versions = {"flambeau": flambeau.__version__, "torch": torch.__version__}
    return {"format": FORMAT, "format_version": version, "versions": versions}


def describe_learner(learn: Learner) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the recipe and the weights of a learner.

    Raises:
        ExportError: the loaders do not know how an item becomes a sample.
    """
    loader = learn.dls[1] if len(learn.dls) > 1 else learn.dls[0]
    dataset = getattr(loader, "dataset", None)
    if not isinstance(loader, DataLoader) or not isinstance(dataset, Datasets):
        raise ExportError(
            "export needs loaders made from a data block or Datasets, which know how an item becomes a sample. "
            "These are plain loaders: keep the weights with learn.save instead."
        )
    kinds = learn.dls.kinds
    header: dict[str, Any] = {
        "model": describe_model(learn.model),
        "loss": describe_loss(learn.loss_func),
        "columns": [describe_column(pipeline.transforms) for pipeline in dataset.pipelines],
        "kinds": [describe_part(kind) for kind in kinds],
        "n_inp": learn.dls.n_inp,
        "c": learn.dls.c,
        "dataset": describe_datasets(dataset),
        "bs": loader.bs,
        "item_tfms": [describe_part(transform) for transform in loader.after_item],
        "batch_tfms": [describe_part(transform) for transform in loader.after_batch],
        "spare_outputs": odd_outputs(learn.model, kinds[learn.dls.n_inp :], learn.loss_func),
        "metrics": [describe_metric(metric) for metric in learn.metrics],
        "last_values": [float(value) for value in learn.recorder.final_record],
    }
    # a model that is built by its settings ties its weights again; one that is built layer by layer does not
    weights = distinct_state(learn.model) if "settings" in header["model"] else learn.model.state_dict()
    tensors = {f"model.{name}": value for name, value in weights.items()}
    if learn.export_as:
        header["learner"] = learn.export_as
        tensors.update({f"extra.{name}": value for name, value in learn.export_tensors().items()})
    return header, tensors


def left_out(header: Mapping[str, Any]) -> list[str]:
    """Return lines that tell which code of the user's an export does not carry, and which folder it names."""
    parts = [*header["item_tfms"], *header["batch_tfms"], *(part for column in header["columns"] for part in column)]
    names = sorted({part["custom"] for part in parts if "custom" in part})
    told = [f"Not in the export: your own transform {n!r}; load_learner takes it back in transforms=." for n in names]
    if "custom" in header["model"]:
        told.append(f"Not in the export: the model's code ({header['model']['custom']}); give load_learner model=.")
    if "custom" in header["loss"]:
        told.append(f"Not in the export: your own loss {header['loss']['custom']!r}; predictions will come back raw.")
    folders = {part["reader"]["pref"] for column in header["columns"] for part in column if part.get("reader")}
    told += [f"The export names the folder {f}, for rows of tables." for f in sorted(folders) if os.path.isabs(f)]
    own = ", ".join(repr(recipe["custom"]) for recipe in header["metrics"] if "custom" in recipe)
    if own:
        told.append(f"Not in the export: metrics of your own, {own}; set learn.metrics after load_learner.")
    return told


def doubts(learn: Learner, header: Mapping[str, Any]) -> list[str]:
    """Return lines that tell what makes the predictions of an export doubtful."""
    told = []
    spoilt = spoilt_weights(learn.model)
    if spoilt:
        told.append(
            f"The exported weights are no finite numbers ({in_part(spoilt)}): the training diverged, and nothing can "
            "be predicted. Train anew with a lower learning rate."
        )
    spare = header["spare_outputs"]
    if spare:
        more = "more" if spare > 0 else "fewer"
        told.append(f"The model gives {abs(spare)} {more} numbers than there are classes; is its last layer as wanted?")
    return told


@dataclass
class Exported:
    """What an export holds, built again: enough to predict."""

    model: nn.Module
    loss_func: Any
    loader: DataLoader
    header: dict[str, Any]
    metrics: list[Metric]
    lost_metrics: list[str]
    """The names of metrics that were code of the user's own."""
    extra: dict[str, Tensor] = field(default_factory=dict)
    """Tensors of a learner of a special kind, which are no weights."""

    @property
    def kinds(self) -> list[Kind]:
        """The kinds of the columns, inputs first."""
        return self.loader.kinds

    @property
    def n_inp(self) -> int:
        """How many columns are inputs."""
        return int(self.header["n_inp"])


def read_export(
    path: str | AnyPath,
    device: torch.device | str = "cpu",
    model: nn.Module | None = None,
    transforms: Mapping[str, Any] | None = None,
    loss_func: Any = None,
) -> Exported:
    """Build again what an export holds. Nothing in the file is executed.

    Raises:
        ExportError: the file is no export, is damaged, or needs parts of the user's own that were not given.
    """
    exported, _ = read_exports(path, device, model, transforms, loss_func)
    if len(exported) > 1:
        raise ExportError(f"{path} is an export of an ensemble of {len(exported)} learners. Use load_learner.")
    return exported[0]


def read_exports(
    path: str | AnyPath,
    device: torch.device | str = "cpu",
    model: nn.Module | Sequence[nn.Module | None] | None = None,
    transforms: Mapping[str, Any] | None = None,
    loss_func: Any = None,
) -> tuple[list[Exported], list[float]]:
    """Build again the members of an export, one or several, and return them with their weights in the average.

    Of an ensemble, `model` gives one model a member, None where the file holds its recipe.

    Raises:
        ExportError: see `read_export`; or there are not as many models as members.
    """
    path = Path(path)
    tensors, header = read_tensors(path, FORMAT)
    _check_version(path, header)
    if "members" not in header:
        if model is not None and not isinstance(model, nn.Module):
            raise ExportError(f"{path} holds one learner; give load_learner one model, not {model!r}.")
        return [_build(path, tensors, header, device, model, transforms, loss_func)], [1.0]
    headers, weights = _listed(header["members"], dict), _listed(header.get("weights"), float | int)
    if not 0 < len(headers) == len(weights) <= MAX_MEMBERS or not all(0 <= weight <= 1 for weight in weights):
        raise ExportError(f"{path} is no complete export: its members and their weights do not fit together.")
    models = [None] * len(headers) if model is None else [model] if isinstance(model, nn.Module) else list(model)
    if len(models) != len(headers):
        raise ExportError(
            f"{path} holds {len(headers)} learners; model= takes a list of as many models, None for those whose "
            "recipe the file holds."
        )
    members = []
    for place, (own, given) in enumerate(zip(headers, models, strict=True)):
        start = f"{place}."
        mine = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
        members.append(_build(path, mine, own, device, given, transforms, loss_func))
    asked = [member.kinds[member.n_inp :] for member in members]
    if any(kinds != asked[0] for kinds in asked):
        raise ExportError(f"{path} is no complete export: its members have different targets or classes.")
    return members, [float(weight) for weight in weights]


def _listed(value: Any, cls: Any) -> list[Any]:
    """Return a list as it is where all of it is of a class, else an empty one."""
    return value if isinstance(value, list) and all(isinstance(part, cls) for part in value) else []


def _build(
    path: AnyPath,
    tensors: Mapping[str, Tensor],
    header: dict[str, Any],
    device: torch.device | str,
    model: nn.Module | None,
    transforms: Mapping[str, Any] | None,
    loss_func: Any,
) -> Exported:
    weights: dict[str, Tensor] = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    given = dict(transforms or {})
    try:
        check_numbers([header["item_tfms"], header["batch_tfms"]])
        columns = [_pipeline(recipes, given) for recipes in header["columns"]]
        kinds = [rebuild_part(recipe, given) for recipe in header["kinds"]]
        n_inp = int(header["n_inp"])
        if not 1 <= n_inp <= len(columns) or len(kinds) != len(columns) or not all(isinstance(k, Kind) for k in kinds):
            raise ValueError(f"{n_inp} inputs of {len(columns)} columns and {len(kinds)} kinds")
        loader = DataLoader(
            datasets_class(header.get("dataset")).template(columns, kinds, n_inp, int(header["c"])),
            int(header["bs"]),
            after_item=[rebuild_part(recipe, given) for recipe in header["item_tfms"]],
            after_batch=[rebuild_part(recipe, given) for recipe in header["batch_tfms"]],
            device=device,
            training=False,
            seed=0,
        )
        built = rebuild_model(header["model"], model, weights)
        loss = rebuild_loss(header["loss"], loss_func)
        metrics, lost_metrics = rebuild_metrics(header.get("metrics", []))
    except ExportError:
        raise
    except Exception as error:  # what a stranger wrote into a header can go wrong anywhere
        raise ExportError(f"{path} is no complete export: {_words(error)}. Nothing in it was run.") from error
    load_state(built, weights, True, str(path))
    _require_same_classes(header, columns, kinds, built, loss)
    kinds = [_whole(kind, column) for kind, column in zip(kinds, columns, strict=True)]
    built.to(device).eval()
    loader.maker.kinds = kinds
    extra = {k.removeprefix("extra."): v for k, v in tensors.items() if k.startswith("extra.")}
    return Exported(built, loss, loader, header, metrics, lost_metrics, extra)


def _whole(kind: Kind, column: Pipeline) -> Kind:
    """Return a kind with what an export does not write twice: as the column's transforms tell it."""
    told = next((t.kind for t in reversed(column.transforms) if t.kind is not None), None)
    return told if kind.told_by_column and type(told) is type(kind) else kind


def _require_same_classes(
    header: Mapping[str, Any], columns: Sequence[Pipeline], kinds: Sequence[Kind], model: nn.Module, loss_func: Any
) -> None:
    """Raise an ExportError where an export does not tell the same classes everywhere, or its model gives others."""
    n_inp = int(header["n_inp"])
    targets = kinds[n_inp:]
    for kind, column in zip(targets, columns[n_inp:], strict=True):
        encoded = next((t.kind for t in reversed(column.transforms) if t.kind is not None), None)
        for one, other in ((kind, encoded), (encoded, kind)):
            if isinstance(one, Category | MultiCategory) and other is not None and one != other:
                raise ExportError("The export's labels are read with other classes than they are named with.")
    names = getattr(targets[0], "vocab", None) if len(targets) == 1 else None
    if names and int(header["c"]) != len(names):
        raise ExportError(f"The export names {len(names)} classes ({in_part(names)}) but counts {header['c']}.")
    spare = odd_outputs(model, targets, loss_func)
    if spare and spare != header.get("spare_outputs"):
        n_classes = n_classes_of(targets, loss_func)
        raise ExportError(
            f"The export's model gives {n_outputs_of(model)} numbers, but there are {n_classes} classes. A class list "
            "of another model was put into it, or model= or loss_func= is not what was trained: export it anew."
        )


def _check_version(path: AnyPath, header: Mapping[str, Any]) -> None:
    version, versions = header.get("format_version"), header.get("versions")
    if not isinstance(version, int) or not isinstance(versions, dict):
        raise ExportError(f"{path} is no complete export: it does not tell which version wrote it.")
    if version > ENSEMBLE_VERSION:
        raise ExportError(f"{path} was written by a newer flambeau ({versions.get('flambeau')}); upgrade to read it.")


def _words(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"


def _pipeline(recipes: list[Any], given: Mapping[str, Any]) -> Pipeline:
    pipeline = Pipeline()
    pipeline.transforms = [rebuild_part(recipe, given) for recipe in recipes]
    return pipeline
