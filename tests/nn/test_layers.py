"""After this page you know what each layer makes of a shape, and how its weights begin."""

from __future__ import annotations

import copy
from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.foundation.errors import ArgumentError
from flambeau.nn.blocks import SimpleCNN
from flambeau.nn.layers import (
    BatchNorm,
    BatchNorm1dFlat,
    ConvLayer,
    Embedding,
    Flatten,
    InstanceNorm,
    Lambda,
    LinBnDrop,
    Mish,
    Module,
    NormType,
    ResizeBatch,
    SigmoidRange,
    Swish,
    TargetScale,
    TimeDistributed,
    View,
    flatten_model,
    in_channels,
    sequential,
    sigmoid_range,
)


def _kinds(module: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in module.children()]


class NoSuper(Module):
    def __init__(self, n: int) -> None:
        self.linear = nn.Linear(n, 1)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.scale


class WithSuper(Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)


def test_a_module_needs_no_super_init() -> None:
    model = NoSuper(3)
    assert [name for name, _ in model.named_parameters()] == ["scale", "linear.weight", "linear.bias"]
    assert model(torch.ones(2, 3)).shape == (2, 1)
    assert len(list(WithSuper().parameters())) == 2
    assert torch.equal(copy.deepcopy(model)(torch.ones(1, 3)), model(torch.ones(1, 3)))


def test_sequential_makes_layers_of_functions() -> None:
    model = sequential(nn.Linear(4, 2), torch.relu, Flatten())
    assert _kinds(model) == ["Linear", "Lambda", "Flatten"]
    assert model(torch.ones(3, 4)).min() >= 0
    assert list(dict(sequential(OrderedDict(body=nn.ReLU())).named_children())) == ["body"]


def test_reshaping_layers_keep_the_numbers() -> None:
    x = torch.arange(12.0).view(2, 3, 2)
    assert Flatten()(x).shape == (2, 6)
    assert Flatten(full=True)(x).tolist() == x.flatten().tolist()
    assert View(3, -1)(x).shape == (3, 4)
    assert ResizeBatch(6)(x).shape == (2, 6)
    assert Lambda(torch.neg)(x).equal(-x)


def test_sigmoid_range_squeezes_between_its_bounds() -> None:
    x = torch.tensor([-100.0, 0.0, 100.0])
    assert sigmoid_range(x, 0, 5.5).tolist() == pytest.approx([0, 2.75, 5.5])
    assert SigmoidRange(-1, 1)(x).tolist() == pytest.approx([-1, 0, 1])


def test_an_embedding_begins_near_zero_and_within_two_deviations() -> None:
    weight = Embedding(1000, 20).weight
    assert weight.abs().max() <= 0.02
    assert weight.std().item() == pytest.approx(0.0088, abs=2e-4)  # a normal cut at two deviations has 0.88 of it
    assert Embedding(10, 2, std=1.0).weight.abs().max() > 0.1


@pytest.mark.parametrize("norm_type, weight", [(NormType.Batch, 1.0), (NormType.BatchZero, 0.0)])
def test_batch_norm_begins_with_a_small_bias(norm_type: NormType, weight: float) -> None:
    norm = BatchNorm(4, ndim=1, norm_type=norm_type)
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.weight.tolist() == [weight] * 4
    assert norm.bias.tolist() == pytest.approx([1e-3] * 4)


def test_instance_norm_begins_at_zero_on_demand() -> None:
    norm = InstanceNorm(2, norm_type=NormType.InstanceZero)
    assert isinstance(norm, nn.InstanceNorm2d)
    assert norm.weight.tolist() == [0.0, 0.0]


def test_a_conv_layer_chains_convolution_norm_and_activation() -> None:
    layer = ConvLayer(3, 8, stride=2)
    assert _kinds(layer) == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert layer[0].bias is None
    assert layer(torch.zeros(2, 3, 9, 9)).shape == (2, 8, 5, 5)
    assert _kinds(ConvLayer(3, 8, bn_1st=False)) == ["Conv2d", "ReLU", "BatchNorm2d"]
    assert _kinds(ConvLayer(3, 8, act_cls=None, norm_type=None, xtra=nn.Dropout())) == ["Conv2d", "Dropout"]


def test_a_conv_layer_takes_torchs_settings_and_other_dimensions() -> None:
    assert ConvLayer(4, 8, groups=4, dilation=2, padding=2)[0].groups == 4
    assert ConvLayer(4, 8, ndim=1)(torch.zeros(1, 4, 7)).shape == (1, 8, 7)
    assert ConvLayer(4, 8, ndim=3, norm_type=NormType.Instance)(torch.zeros(1, 4, 4, 4, 4)).shape == (1, 8, 4, 4, 4)
    assert ConvLayer(4, 2, ks=2, stride=2, transpose=True)(torch.zeros(1, 4, 3, 3)).shape == (1, 2, 6, 6)


def test_a_conv_layer_begins_as_its_activation_wants() -> None:
    conv = ConvLayer(16, 64, norm_type=None)[0]
    bound = (6 / (16 * 9)) ** 0.5  # Kaiming's uniform rule, fan in 144
    assert 0.95 * bound < conv.weight.abs().max().item() <= bound
    assert conv.bias.std().item() == pytest.approx(0.01, rel=0.5)
    assert ConvLayer(16, 64, norm_type=None, bias_std=0)[0].bias.abs().max() == 0
    ones = ConvLayer(2, 2, init=nn.init.ones_)[0].weight
    assert ones.eq(1).all()


def test_weight_and_spectral_norm_compute_the_weight() -> None:
    weight = ConvLayer(3, 8, norm_type=NormType.Spectral)[0].eval().weight
    for _ in range(20):
        conv = ConvLayer(3, 8, norm_type=NormType.Weight)[0]
    assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.15)
    assert len(list(conv.parameters())) == 3  # bias, size and direction


def test_lin_bn_drop_orders_its_layers() -> None:
    assert _kinds(LinBnDrop(4, 2, p=0.1, act=nn.ReLU())) == ["BatchNorm1d", "Dropout", "Linear", "ReLU"]
    first = LinBnDrop(4, 2, p=0.1, act=nn.ReLU(), lin_first=True)
    assert _kinds(first) == ["Linear", "ReLU", "BatchNorm1d", "Dropout"]
    assert first[2].num_features == 2
    assert LinBnDrop(4, 2)[1].bias is None
    assert LinBnDrop(4, 2, bn=False)[0].bias is not None


def test_flat_batch_norm_takes_steps_as_items() -> None:
    x = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    expected = F.batch_norm(x.view(15, 4), None, None, training=True).view(3, 5, 4)
    torch.testing.assert_close(BatchNorm1dFlat(4)(x), expected)


@pytest.mark.parametrize("low_mem", [False, True])
def test_time_distributed_applies_a_layer_to_every_step(low_mem: bool) -> None:
    layer = nn.Conv2d(3, 5, 3, padding=1)
    x = torch.randn(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    output = TimeDistributed(layer, low_mem=low_mem)(x)
    assert output.shape == (2, 4, 5, 8, 8)
    torch.testing.assert_close(output[:, 1], layer(x[:, 1]))
    moved = TimeDistributed(layer, low_mem=low_mem, tdim=2)(x.movedim(1, 2))
    torch.testing.assert_close(moved, output.movedim(1, 2))


def test_swish_and_mish_are_torchs() -> None:
    x = torch.tensor([1.0])
    assert Swish()(x).item() == pytest.approx(torch.sigmoid(x).item())
    assert Mish()(x).item() == pytest.approx(torch.tanh(F.softplus(x)).item())


def test_a_model_is_flattened_to_its_layers() -> None:
    model = nn.Sequential(ConvLayer(3, 4, norm_type=NormType.Weight), nn.Sequential(nn.Flatten()))
    assert len(flatten_model(model)) == 3
    assert in_channels(model) == 3


def test_a_model_without_convolution_has_no_input_channels() -> None:
    with pytest.raises(ArgumentError, match="Linear has no convolution"):
        in_channels(nn.Linear(1, 1))


def test_four_dimensions_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"ndim must be 1 .*, got 4"):
        ConvLayer(1, 1, ndim=4)


@pytest.mark.parametrize("chain", [ConvLayer(3, 4), LinBnDrop(3, 4, p=0.1), SimpleCNN([3, 4, 5])])
def test_a_slice_of_a_chain_is_a_plain_sequential_of_the_same_layers(chain: nn.Sequential) -> None:
    part = chain[:2]
    assert type(part) is nn.Sequential
    assert list(part) == [chain[0], chain[1]]
    assert chain[-1] is list(chain)[-1]
    with pytest.raises(IndexError):
        chain[9]


def test_the_scale_of_constant_targets_has_deviation_one() -> None:
    assert TargetScale.of(torch.full((1001, 1), 0.1)).std.tolist() == [1.0]
    assert TargetScale.of(torch.full((37, 1), 3.3)).std.tolist() == [1.0]
