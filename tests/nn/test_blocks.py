"""After this page you know the shapes that residual blocks give, and that they begin as their shortcut."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flambeau.foundation.errors import ArgumentError
from flambeau.nn.attention import SelfAttention, SimpleSelfAttention
from flambeau.nn.blocks import (
    Cat,
    MergeLayer,
    ResBlock,
    SEBlock,
    SEModule,
    SeparableBlock,
    SequentialEx,
    SEResNeXtBlock,
    SimpleCNN,
)
from flambeau.nn.layers import NormType

X = torch.randn(2, 8, 9, 9, generator=torch.Generator().manual_seed(0))


def test_a_merge_layer_sees_the_beginning_of_its_chain() -> None:
    doubled = SequentialEx(nn.Identity(), MergeLayer())
    torch.testing.assert_close(doubled(X), 2 * X)
    joined = SequentialEx(nn.ReLU(), MergeLayer(dense=True))(X)
    torch.testing.assert_close(joined, torch.cat([X.relu(), X], 1))
    assert len(doubled) == 2
    assert isinstance(doubled[1], MergeLayer)


def test_cat_joins_the_outputs_of_all_its_layers() -> None:
    torch.testing.assert_close(Cat([nn.Identity(), nn.ReLU()])(X), torch.cat([X, X.relu()], 1))
    assert Cat([nn.Identity(), nn.ReLU()], dim=0)(X).shape == (4, 8, 9, 9)


def test_a_residual_block_begins_as_its_shortcut() -> None:
    block = ResBlock(1, 8, 8).eval()
    # the last norm has weight 0 and bias 1e-3
    torch.testing.assert_close(block(X), (X + 1e-3).relu())


@pytest.mark.parametrize(
    "block, shape",
    [
        (ResBlock(1, 8, 16, stride=2), (2, 16, 5, 5)),
        (ResBlock(4, 2, 4), (2, 16, 9, 9)),
        (ResBlock(4, 2, 4, stride=2, pool_first=False), (2, 16, 5, 5)),
        (ResBlock(1, 8, 8, sa=True, sym=True, reduction=2), (2, 8, 9, 9)),
        (ResBlock(1, 8, 8, dw=True, norm_type=NormType.Instance, act_cls=nn.Mish, ks=5), (2, 8, 9, 9)),
        (ResBlock(1, 8, 8, norm_type=None), (2, 8, 9, 9)),
        (SEBlock(1, 8, 8, reduction=4), (2, 8, 9, 9)),
        (SEResNeXtBlock(1, 8, 32, groups=2, base_width=32), (2, 32, 9, 9)),
        (SeparableBlock(1, 8, 8), (2, 8, 9, 9)),
    ],
)
def test_blocks_give_expansion_times_their_filters(block: nn.Module, shape: tuple[int, ...]) -> None:
    assert block(X).shape == shape


def test_a_bottleneck_has_the_widths_of_a_resnet50() -> None:
    block = ResBlock(4, 64, 64)
    widths = [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in block.modules() if isinstance(m, nn.Conv2d)]
    assert widths == [(256, 64, 1), (64, 64, 3), (64, 256, 1)]


def test_a_block_over_time_has_one_dimension() -> None:
    assert ResBlock(1, 4, 8, stride=2, ndim=1)(torch.zeros(2, 4, 10)).shape == (2, 8, 5)


def test_squeeze_and_excitation_scales_whole_channels() -> None:
    ratio = SEModule(8, 4)(X) / X
    torch.testing.assert_close(ratio, ratio[..., :1, :1].expand_as(ratio))
    assert 0 < ratio.min() <= ratio.max() < 1


@pytest.mark.parametrize("attention", [SelfAttention(8), SimpleSelfAttention(8), SimpleSelfAttention(8, sym=True)])
def test_attention_begins_as_nothing_and_gathers_when_gamma_grows(attention: nn.Module) -> None:
    torch.testing.assert_close(attention(X), X)
    nn.init.ones_(attention.gamma)  # type: ignore[arg-type]
    assert attention(X).shape == X.shape
    assert not torch.allclose(attention(X), X)


def test_self_attention_shares_sum_to_one() -> None:
    attention = SelfAttention(8).eval()
    nn.init.ones_(attention.gamma)
    same = torch.ones(1, 8, 2, 2)  # where all pixels are alike, each gathers the common value
    gathered = attention(same) - same
    torch.testing.assert_close(gathered, attention.value(same.flatten(2)).view(1, 8, 2, 2))


def test_a_simple_cnn_halves_at_each_step() -> None:
    model = SimpleCNN([3, 8, 4])
    assert model(torch.zeros(2, 3, 16, 16)).shape == (2, 4)
    assert nn.Sequential(model[0], model[1])(torch.zeros(2, 3, 16, 16)).shape == (2, 4, 4, 4)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == 1


def test_a_simple_cnn_wants_as_many_kernels_as_steps() -> None:
    with pytest.raises(ArgumentError, match="got 3 filters, 1 kernel sizes, 2 strides"):
        SimpleCNN([3, 8, 4], kernel_szs=[3])
