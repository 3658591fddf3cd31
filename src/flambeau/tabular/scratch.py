"""Small models, line by line: after reading it you know a perceptron, a linear model and a net, with nothing hidden.

All of them take rows of numbers: dummy columns for categories (`with_dummies`), numbers scaled to 0..1, and a column of
ones, which makes the bias a weight like any other (`with_bias_column`). They are modules like all others, so that a
`Learner` trains them, and small enough to train by hand:

    x, y = with_bias_column(rows), target
    model = LinearModel(x.shape[1], generator=torch.Generator().manual_seed(42))
    for _ in range(20):
        loss = (model(x) - y).abs().mean()
        loss.backward()
        gradient_step(model, lr=2.0)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from flambeau.data.tables import require_columns
from flambeau.foundation.errors import ArgumentError, ShapeError
from flambeau.tabular.table import as_frame

if TYPE_CHECKING:
    import pandas as pd


def with_dummies(df: Any, columns: Sequence[Any]) -> pd.DataFrame:
    """Return the table with each category as columns of zeros and ones, one a level: `Sex_female`, `Sex_male`.

    Raises:
        TableError: there is no such column.
    """
    import pandas as pd

    frame = as_frame(df)
    require_columns(list(columns), list(frame.columns))
    return pd.get_dummies(frame, columns=list(columns), dtype=float)


def with_bias_column(rows: Tensor) -> Tensor:
    """Return the rows with a last column of ones, whose weight is the bias: `(n, columns) -> (n, columns + 1)`."""
    return torch.cat([rows, rows.new_ones(len(rows), 1)], 1)


def gradient_step(model: nn.Module, lr: float) -> None:
    """Move each weight against its gradient, and forget the gradient."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.grad is not None:
                weight.sub_(lr * weight.grad)
                weight.grad = None


class LinearModel(nn.Module):
    """One weight a column, their products added up: `(n, columns) -> (n,)`; with `sigmoid` squeezed into 0..1."""

    def __init__(self, n_columns: int, sigmoid: bool = False, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(torch.rand(n_columns, generator=generator) - 0.5)
        self.sigmoid = sigmoid

    def forward(self, rows: Tensor) -> Tensor:
        """Return a number for each row."""
        answers = (rows * self.coefficients).sum(1)
        return torch.sigmoid(answers) if self.sigmoid else answers


class DeepModel(nn.Module):
    """Linear layers with a ReLU between: `(n, columns) -> (n,)`; one width is a net with one hidden layer.

    Hidden weights begin small and centred, so that neither all nor none of the ReLUs are on (He 2015 scales alike).
    """

    def __init__(
        self,
        n_columns: int,
        hidden: Sequence[int] = (20,),
        sigmoid: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = [n_columns, *hidden, 1]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for n_in, n_out in pairwise(sizes):
            drawn = torch.rand(n_in, n_out, generator=generator) - 0.5
            self.weights.append(nn.Parameter(drawn * (24 / n_in) ** 0.5))  # of variance 2 / n_in
            self.biases.append(nn.Parameter(torch.zeros(n_out)))
        self.sigmoid = sigmoid

    def forward(self, rows: Tensor) -> Tensor:
        """Return a number for each row."""
        last = len(self.weights) - 1
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            rows = rows @ weight + bias
            if place < last:
                rows = rows.clamp(min=0)
        answers = rows[:, 0]
        return torch.sigmoid(answers) if self.sigmoid else answers


class Perceptron:
    """Rosenblatt's perceptron of 1958: fires where the weighted sum is above 0, and learns from its mistakes alone.

    For a row that it gets wrong, the weights move by the row: towards it where it should have fired, away where it
    should not. Where a line divides the two classes this ends without mistakes (Novikoff 1962); where none does, as
    for XOR, it never ends: `fit` tells by returning False.
    """

    def __init__(self, n_columns: int) -> None:
        self.weights = torch.zeros(n_columns)
        self.bias = 0.0

    def predict(self, rows: Tensor) -> Tensor:
        """Return 1 where the perceptron fires, else 0: `(n, columns) -> (n,)`."""
        return (rows.float() @ self.weights + self.bias > 0).long()

    def fit(self, rows: Tensor, targets: Tensor, max_epochs: int = 100) -> bool:
        """Go through the rows until none is wrong, at most `max_epochs` times; return whether it came to that.

        Raises:
            ShapeError: there is not one target a row. ArgumentError: a target is neither 0 nor 1.
        """
        if rows.ndim != 2 or targets.shape != rows.shape[:1] or rows.shape[1] != len(self.weights):
            raise ShapeError(
                f"Expected rows (n, {len(self.weights)}) and targets (n,), got {tuple(rows.shape)} and "
                f"{tuple(targets.shape)}."
            )
        if not ((targets == 0) | (targets == 1)).all():
            raise ArgumentError(f"Targets must be 0 or 1, got {sorted(set(targets.tolist()))[:5]}.")
        for _ in range(max_epochs):
            n_wrong = 0
            for row, target in zip(rows.float(), targets, strict=True):
                wrong = int(target) - int(row @ self.weights + self.bias > 0)  # 1, 0 or -1
                if wrong:
                    self.weights += wrong * row
                    self.bias += wrong
                    n_wrong += 1
            if not n_wrong:
                return True
        return False
