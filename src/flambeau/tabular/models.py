"""The net for tables: after reading it you know how categories become vectors that are learnt, and what comes after.

Entity embeddings (Guo and Berkhahn 2016): each level of each category has a vector; the vectors and the numbers stand
side by side, and plain linear layers do the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.foundation.errors import ArgumentError, ShapeError, unknown_name
from flambeau.nn.layers import BatchNorm, Embedding, LinBnDrop, SigmoidRange, TargetScale, emb_sz_rule

ACTIVATIONS: dict[str, type[nn.Module]] = {
    kind.__name__: kind for kind in (nn.ReLU, nn.GELU, nn.SiLU, nn.LeakyReLU, nn.Tanh, nn.Mish, nn.ELU)
}
USUAL_LAYERS = (200, 100)


def get_emb_sz(to: Any, sz_dict: Mapping[Any, int] | None = None) -> list[tuple[int, int]]:
    """Return (levels, vector size) of each category of a table or loaders; `sz_dict` sets sizes by column.

    Raises:
        UnknownNameError: `sz_dict` names a column that is no category.
    """
    dataset = getattr(to, "train_ds", None) or to.dataset
    kind, wanted = dataset.kinds[0], dict(sz_dict or {})
    for name in wanted:
        if name not in kind.names:
            raise unknown_name("category", name, map(str, kind.names))
    counts = zip(kind.names, map(len, kind.vocabs), strict=True)
    return [(n, int(wanted.get(name, emb_sz_rule(n)))) for name, n in counts]


def tabular_config(
    ps: float | Sequence[float] | None = None,
    embed_p: float = 0.0,
    y_range: tuple[float, float] | None = None,
    use_bn: bool = True,
    bn_final: bool = False,
    bn_cont: bool = True,
    act_cls: type[nn.Module] = nn.ReLU,
    lin_first: bool = True,
) -> dict[str, Any]:
    """Return settings of a TabularModel for `tabular_learner(config=...)`, their names checked here."""
    return {
        "ps": ps, "embed_p": embed_p, "y_range": y_range, "use_bn": use_bn, "bn_final": bn_final, "bn_cont": bn_cont,
        "act_cls": act_cls, "lin_first": lin_first,
    }  # fmt: skip


class TabularModel(nn.Module):
    """Embeddings and normalised numbers through linear layers: `(n, categories) int64, (n, numbers) -> (n, out_sz)`.

    Args:
        emb_szs: (levels, vector size) of each category.
        n_cont: how many numbers a row has.
        out_sz: how many outputs; `layers`: the widths between.
        ps: dropout after each layer, one share or one a layer; embed_p: dropout of the embeddings.
        y_range: squeeze the outputs between two numbers.
        use_bn, bn_final, bn_cont: batch norm after the layers, of the output, of the numbers.
        lin_first: linear, activation, batch norm, dropout in this order; else batch norm and dropout come first.
        scale: brings the outputs to the scale of the target.
    """

    def __init__(
        self,
        emb_szs: Sequence[tuple[int, int]],
        n_cont: int,
        out_sz: int,
        layers: Sequence[int] = USUAL_LAYERS,
        ps: float | Sequence[float] | None = None,
        embed_p: float = 0.0,
        y_range: tuple[float, float] | None = None,
        use_bn: bool = True,
        bn_final: bool = False,
        bn_cont: bool = True,
        act_cls: type[nn.Module] = nn.ReLU,
        lin_first: bool = True,
        scale: TargetScale | None = None,
    ) -> None:
        super().__init__()
        drops = [0.0 if ps is None else ps] * len(layers) if ps is None or isinstance(ps, float | int) else list(ps)
        if len(drops) != len(layers):
            raise ArgumentError(f"ps gives {len(drops)} dropouts for {len(layers)} layers; give one, or one a layer.")
        self.embeds = nn.ModuleList([Embedding(levels, size) for levels, size in emb_szs])
        self.emb_drop = nn.Dropout(embed_p)
        self.bn_cont = BatchNorm(n_cont, ndim=1) if bn_cont and n_cont else None
        self.n_emb, self.n_cont = sum(embed.embedding_dim for embed in self._embeds()), n_cont
        widths = [self.n_emb + n_cont, *layers, out_sz]
        blocks: list[nn.Module] = []
        for place, (n_in, n_out, p) in enumerate(zip(widths, widths[1:], [*drops, 0.0], strict=False)):
            last = place == len(layers)
            act = None if last else act_cls()
            blocks.append(LinBnDrop(n_in, n_out, use_bn and (not last or bn_final), p, act, lin_first))
        if y_range is not None:
            blocks.append(SigmoidRange(*y_range))
        if scale is not None:
            blocks.append(scale)
        self.layers = nn.Sequential(*blocks)
        self.settings = {
            "model": "tabular",
            "emb_szs": [[int(n), int(size)] for n, size in emb_szs],
            "n_cont": n_cont,
            "out_sz": out_sz,
            "layers": list(layers),
            "ps": drops,
            "embed_p": embed_p,
            "head": {"y_range": None if y_range is None else list(y_range)},
            "use_bn": use_bn,
            "bn_final": bn_final,
            "bn_cont": bn_cont,
            "act_cls": act_cls.__name__,
            "lin_first": lin_first,
            "scaled": scale is not None,
        }

    def _embeds(self) -> list[nn.Embedding]:
        return [embed for embed in self.embeds if isinstance(embed, nn.Embedding)]

    def forward(self, x_cat: Tensor, x_cont: Tensor) -> Tensor:
        """Return the outputs of rows."""
        require_widths(x_cat, x_cont, len(self.embeds), self.n_cont)
        parts = []
        if self.n_emb:
            parts.append(self.emb_drop(self.embed(x_cat)))
        if self.n_cont:
            parts.append(x_cont if self.bn_cont is None else self.bn_cont(x_cont))
        return self.layers(parts[0] if len(parts) == 1 else torch.cat(parts, 1))

    def embed(self, x_cat: Tensor) -> Tensor:
        """Return the vectors of rows' levels side by side, `(n, sum of sizes)`."""
        return torch.cat([embed(x_cat[:, place]) for place, embed in enumerate(self.embeds)], 1)


def require_widths(x_cat: Tensor, x_cont: Tensor, n_cat: int, n_cont: int) -> None:
    """Raise a ShapeError when rows have other numbers of columns than the model."""
    if x_cat.shape[1] != n_cat or x_cont.shape[1] != n_cont:
        raise ShapeError(
            f"The model takes {n_cat} categories and {n_cont} numbers a row, got batches of shape "
            f"{tuple(x_cat.shape)} and {tuple(x_cont.shape)}."
        )


def build_tabular_model(settings: Mapping[str, Any]) -> TabularModel:
    """Build the net that `settings` describe, with random weights.

    Raises:
        UnknownNameError: the activation is none that flambeau knows.
    """
    options = {name: value for name, value in settings.items() if name not in ("model", "head", "act_cls", "scaled")}
    if settings["act_cls"] not in ACTIVATIONS:
        raise unknown_name("activation", settings["act_cls"], ACTIVATIONS)
    y_range = (settings.get("head") or {}).get("y_range")
    return TabularModel(
        **options,
        y_range=None if y_range is None else tuple(y_range),
        act_cls=ACTIVATIONS[settings["act_cls"]],
        scale=TargetScale.blank(settings["out_sz"]) if settings.get("scaled") else None,
    )
