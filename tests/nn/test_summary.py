"""After this page you know what the table of a model says."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flambeau.nn.layers import ConvLayer, NormType
from flambeau.nn.summary import LayerRow, module_summary


def test_a_summary_lists_layers_as_they_ran() -> None:
    model = nn.Sequential(nn.Linear(4, 3).requires_grad_(False), nn.ReLU(), nn.Linear(3, 2, bias=False)).train()
    table = module_summary(model, torch.zeros(5, 4))
    assert table.rows == (
        LayerRow("Linear", "5 x 3", 15, False),
        LayerRow("ReLU", "5 x 3", 0, None),
        LayerRow("Linear", "5 x 2", 6, True),
    )
    assert (table.n_params, table.n_trainable, table.n_frozen) == (21, 6, 15)
    assert model.training


def test_a_summary_prints_as_text_and_html() -> None:
    table = module_summary(nn.Sequential(nn.Linear(1000, 10)), torch.zeros(2, 1000), notes=("Loss function: <mse>",))
    assert "Sequential (Input shape: 2 x 1000)" in str(table)
    assert "Linear                2 x 10                          10,010  True" in str(table)
    assert "Total params: 10,010" in str(table)
    assert str(table).endswith("Loss function: <mse>")
    assert "<td>Linear</td><td>2 x 10</td>" in table._repr_html_()
    assert "&lt;mse&gt;" in table._repr_html_()


class Biased(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.shift = nn.Parameter(torch.zeros(7))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.linear(self.linear(x)), x


def test_parameters_of_a_model_itself_are_counted_once() -> None:
    table = module_summary(Biased(), torch.zeros(1, 2))
    assert [(row.layer, row.n_params) for row in table.rows] == [("Linear", 6), ("Linear", 0), ("Biased", 7)]
    assert table.rows[-1].shape == "1 x 2, 1 x 2"
    assert table.n_params == 13


def test_a_layer_that_stands_in_two_places_is_one_row() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    model.again = nn.ModuleList([model[0]])
    model.forward = lambda x: model[1](model[0](x))  # type: ignore[method-assign]
    assert [row.layer for row in module_summary(model, torch.zeros(1, 2)).rows] == ["Linear", "ReLU"]


def test_a_layer_with_a_computed_weight_is_one_row() -> None:
    table = module_summary(ConvLayer(1, 2, norm_type=NormType.Spectral, act_cls=None), torch.zeros(1, 1, 4, 4))
    assert [(row.shape, row.n_params) for row in table.rows] == [("1 x 2 x 4 x 4", 20)]
