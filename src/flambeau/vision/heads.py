"""After this page you know the head of a picture network: what turns a feature map into the wanted numbers.

    map ─ max pooling and average pooling, side by side ─ flatten ─ [batch norm, dropout, linear, ReLU] x n ─ linear

The maximum answers "is it anywhere?", the average "how much of it is there?"; both together cost nothing and serve most
tasks better than one. The extra hidden layer lets a new task recombine the features before the body is unfrozen.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from flambeau.foundation.errors import ArgumentError
from flambeau.nn.layers import Flatten, LinBnDrop, SigmoidRange
from flambeau.nn.pooling import AdaptiveConcatPool2d

HIDDEN_FEATURES = 512


def create_head(
    nf: int,
    n_out: int,
    lin_ftrs: Sequence[int] | None = None,
    ps: float | Sequence[float] = 0.5,
    pool: bool = True,
    concat_pool: bool = True,
    first_bn: bool = True,
    bn_final: bool = False,
    lin_first: bool = False,
    y_range: tuple[float, float] | None = None,
) -> nn.Sequential:
    """Build a head from `nf` features to `n_out` numbers a picture.

    With `pool` it takes a map (batch, nf, height, width), without it pooled features (batch, nf). `lin_ftrs` holds the
    widths of the hidden layers (one of 512 by default; an empty list for none). One number for `ps` drops out before
    the last layer, and half of it before the others; a list names each. `lin_first` puts each linear layer before its
    batch norm. `y_range` squeezes the output between two numbers.
    """
    if pool and concat_pool:
        nf *= 2
    widths = [nf, *([HIDDEN_FEATURES] if lin_ftrs is None else lin_ftrs), n_out]
    n_layers = len(widths) - 1
    drops = _dropouts(ps, n_layers)
    layers: list[nn.Module] = []
    if pool:
        layers += [AdaptiveConcatPool2d() if concat_pool else nn.AdaptiveAvgPool2d(1), Flatten()]
    if lin_first:
        layers.append(nn.Dropout(drops.pop(0)))
    # the output layer, the only one without activation, stands alone where linear layers come first
    n_blocks = n_layers - 1 if lin_first else n_layers
    for position in range(n_blocks):
        layers += LinBnDrop(
            widths[position],
            widths[position + 1],
            bn=first_bn if position == 0 else True,
            p=drops[position],
            act=nn.ReLU(inplace=True) if position < n_layers - 1 else None,
            lin_first=lin_first,
        )
    if lin_first:
        layers.append(nn.Linear(widths[-2], n_out))
    if bn_final:
        layers.append(nn.BatchNorm1d(n_out, momentum=0.01))
    if y_range is not None:
        layers.append(SigmoidRange(*y_range))
    return nn.Sequential(*layers)


def _dropouts(ps: float | Sequence[float], n_layers: int) -> list[float]:
    if isinstance(ps, (int, float)):
        return [ps / 2] * (n_layers - 1) + [ps]
    given = [float(p) for p in ps]
    if len(given) == 1:
        return [given[0] / 2] * (n_layers - 1) + given
    if len(given) != n_layers:
        raise ArgumentError(
            f"ps holds {len(given)} dropout probabilities for {n_layers} linear layers; give one number or {n_layers}."
        )
    return given
