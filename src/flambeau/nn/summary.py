"""After this page you can read a model as a table: each layer's output shape and parameters, and whether they train."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from flambeau.nn.hooks import Hooks, evaluating
from flambeau.nn.layers import flatten_model


@dataclass(frozen=True)
class LayerRow:
    """One layer that ran: its class, the shape it gave, its number of parameters, and whether they train."""

    layer: str
    shape: str
    n_params: int
    trainable: bool | None


@dataclass(frozen=True)
class ModuleSummary:
    """A model as a table; prints as text, shows as HTML in a notebook. `notes` are lines put below."""

    title: str
    input_shape: str
    rows: tuple[LayerRow, ...]
    n_params: int
    n_trainable: int
    notes: tuple[str, ...] = ()

    @property
    def n_frozen(self) -> int:
        """The number of parameters that do not train."""
        return self.n_params - self.n_trainable

    def _totals(self) -> list[str]:
        return [
            f"Total params: {self.n_params:,}",
            f"Total trainable params: {self.n_trainable:,}",
            f"Total non-trainable params: {self.n_frozen:,}",
        ]

    def __str__(self) -> str:
        lines = [f"{self.title} (Input shape: {self.input_shape})", "=" * 72]
        lines += [f"{'Layer (type)':<22}{'Output shape':<26}{'Param #':>12}  {'Trainable':<10}".rstrip(), "=" * 72]
        lines += [f"{r.layer:<22}{r.shape:<26}{_count(r):>12}  {_yes(r):<10}".rstrip() for r in self.rows]
        return "\n".join([*lines, "=" * 72, *self._totals(), *self.notes])

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{html.escape(r.layer)}</td><td>{html.escape(r.shape)}</td>"
            f"<td style='text-align:right'>{_count(r)}</td><td>{_yes(r)}</td></tr>"
            for r in self.rows
        )
        below = "<br>".join(html.escape(line) for line in [*self._totals(), *self.notes])
        return (
            f"<p>{html.escape(self.title)}, input shape {html.escape(self.input_shape)}</p><table><thead><tr>"
            "<th>Layer</th><th>Output shape</th><th>Params</th><th>Trainable</th></tr></thead>"
            f"<tbody>{cells}</tbody></table><p>{below}</p>"
        )


def _count(row: LayerRow) -> str:
    return f"{row.n_params:,}" if row.n_params else ""


def _yes(row: LayerRow) -> str:
    return "" if row.trainable is None else str(row.trainable)


def _shape_of(value: Any) -> str:
    if isinstance(value, Tensor):
        return " x ".join(str(size) for size in value.shape)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return ", ".join(_shape_of(item) for item in value)
    return "?"


def _own(layer: nn.Module) -> Iterator[nn.Parameter]:
    return layer.parameters(recurse=False)


def module_summary(model: nn.Module, *inputs: Any, notes: tuple[str, ...] = ()) -> ModuleSummary:
    """Run `inputs` through `model` once, in evaluation mode, and tabulate the layers in the order in which they ran."""
    rows: list[LayerRow] = []
    owned: set[int] = set()
    # a layer that stands in two places is one
    leaves = [layer for layer in dict.fromkeys(flatten_model(model)) if type(layer) is not nn.Sequential]
    whole = {id(layer) for layer in leaves}
    inside = {id(part) for layer in leaves for part in layer.modules()}
    partly = [layer for layer in model.modules() if id(layer) not in inside and any(True for _ in _own(layer))]

    def record(layer: nn.Module, given: Any, output: Any) -> None:
        # a layer that runs twice owns its parameters once
        parameters = list(layer.parameters() if id(layer) in whole else _own(layer))
        new = [parameter for parameter in parameters if id(parameter) not in owned]
        owned.update(id(parameter) for parameter in new)
        flags = [parameter.requires_grad for parameter in parameters]
        n_params = sum(parameter.numel() for parameter in new)
        rows.append(LayerRow(type(layer).__name__, _shape_of(output), n_params, any(flags) if flags else None))

    with Hooks([*leaves, *partly], record), evaluating(model):
        model(*inputs)
    parameters = list(model.parameters())
    return ModuleSummary(
        title=type(model).__name__,
        input_shape=_shape_of(inputs),
        rows=tuple(rows),
        n_params=sum(parameter.numel() for parameter in parameters),
        n_trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        notes=notes,
    )
