"""Models from scratch: what they learn, and what a perceptron cannot."""

from __future__ import annotations

import pytest
import torch

from flambeau.foundation.errors import ArgumentError, ShapeError
from flambeau.tabular.scratch import (
    DeepModel,
    LinearModel,
    Perceptron,
    gradient_step,
    with_bias_column,
    with_dummies,
)

CORNERS = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])


@pytest.mark.parametrize("targets", [[0, 0, 0, 1], [0, 1, 1, 1], [1, 1, 1, 0]], ids=["AND", "OR", "NAND"])
def test_a_perceptron_learns_what_a_line_divides(targets: list[int]) -> None:
    perceptron = Perceptron(2)
    assert perceptron.fit(CORNERS, torch.tensor(targets))
    assert perceptron.predict(CORNERS).tolist() == targets


def test_a_perceptron_never_learns_xor() -> None:
    perceptron = Perceptron(2)
    assert not perceptron.fit(CORNERS, torch.tensor([0, 1, 1, 0]), max_epochs=1000)
    assert perceptron.predict(CORNERS).tolist() != [0, 1, 1, 0]


def test_a_net_with_one_hidden_layer_learns_xor() -> None:
    rows, targets = CORNERS.float(), torch.tensor([0.0, 1.0, 1.0, 0.0])
    model = DeepModel(2, (8,), sigmoid=True, generator=torch.Generator().manual_seed(1))
    for _ in range(500):
        torch.nn.functional.binary_cross_entropy(model(rows), targets).backward()
        gradient_step(model, lr=0.5)
    assert model(rows).round().tolist() == [0, 1, 1, 0]


def test_the_bias_is_the_weight_of_a_column_of_ones() -> None:
    rows = with_bias_column(torch.tensor([[2.0], [3.0]]))
    assert rows.tolist() == [[2, 1], [3, 1]]
    model = LinearModel(2)
    model.coefficients.data = torch.tensor([10.0, 5.0])
    assert model(rows).tolist() == [25, 35]


def test_a_linear_model_finds_a_line() -> None:
    x = torch.linspace(0, 1, 20)[:, None]
    rows, targets = with_bias_column(x), 3 * x[:, 0] - 1
    model = LinearModel(2, generator=torch.Generator().manual_seed(0))
    for _ in range(500):
        ((model(rows) - targets) ** 2).mean().backward()
        gradient_step(model, lr=0.5)
    assert model.coefficients.tolist() == pytest.approx([3, -1], abs=1e-3)


def test_a_category_becomes_dummy_columns() -> None:
    frame = with_dummies({"n": [1, 2], "sex": ["male", "female"]}, ["sex"])
    assert frame.to_dict("list") == {"n": [1, 2], "sex_female": [0.0, 1.0], "sex_male": [1.0, 0.0]}


def test_wrong_rows_and_targets_of_a_perceptron_are_told() -> None:
    with pytest.raises(ShapeError, match=r"rows \(n, 3\)"):
        Perceptron(3).fit(CORNERS, torch.tensor([0, 1, 1, 0]))
    with pytest.raises(ArgumentError, match="0 or 1"):
        Perceptron(2).fit(CORNERS, torch.tensor([-1, 1, 1, -1]))
