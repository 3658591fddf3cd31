"""After this page you know which networks can be written down as JSON, and that a hostile page builds nothing."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from flambeau.foundation.errors import ExportError
from flambeau.nn import describe
from flambeau.nn.blocks import Cat, MergeLayer, ResBlock, SEBlock, SequentialEx, SimpleCNN
from flambeau.nn.describe import NotDescribable, build_module, describe_module
from flambeau.nn.init import GeneralRelu
from flambeau.nn.layers import (
    ConvLayer,
    Embedding,
    Flatten,
    Lambda,
    LinBnDrop,
    NormType,
    SigmoidRange,
    TimeDistributed,
    View,
    sequential,
)
from flambeau.nn.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat
from flambeau.nn.pooling import AdaptiveConcatPool2d, PoolFlatten


class OwnHead(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(Flatten(), nn.Linear(4, 2))


class OwnBlock(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class OwnLinear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return -super().forward(input)


PICTURE = (2, 3, 16, 16)


@pytest.mark.parametrize(
    "model, shape",
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"), nn.ReLU(), Flatten(), nn.Linear(1024, 2)), PICTURE),
        (nn.Sequential(ConvLayer(3, 8, stride=2), ResBlock(1, 8, 16, stride=2, reduction=4), PoolFlatten()), PICTURE),
        (nn.Sequential(SEBlock(1, 3, 8), AdaptiveConcatPool2d(), Flatten(), LinBnDrop(16, 2, p=0.1)), PICTURE),
        (nn.Sequential(ResBlock(4, 3, 4, act_cls=nn.Mish, norm_type=NormType.Instance, dw=True)), (2, 12, 16, 16)),
        (SimpleCNN([3, 8, 4]), PICTURE),
        (OwnHead(), (3, 4)),
        (SequentialEx(nn.Linear(4, 4), MergeLayer(dense=True)), (3, 4)),
        (nn.Sequential(Cat([nn.Linear(4, 1), nn.Identity()], dim=-1), SigmoidRange(0, 5.5)), (3, 4)),
        (TimeDistributed(nn.Linear(4, 2), tdim=1), (2, 3, 4)),
        (nn.Sequential(View(-1, 20000), GeneralRelu(leak=0.1, sub=0.4)), (2, 20000)),
        (
            nn.Sequential(
                nn.ConvTranspose2d(3, 6, 2, stride=2, bias=False),
                nn.GroupNorm(2, 6),
                nn.PReLU(6),
                nn.MaxPool2d(2, ceil_mode=True),
                nn.LayerNorm([6, 16, 16], bias=False),
                nn.Upsample(scale_factor=2, mode="bilinear"),
                nn.GELU("tanh"),
                nn.PixelUnshuffle(2),
                nn.AdaptiveAvgPool2d((None, 4)),
                nn.Unflatten(1, (4, 6)),
                nn.Softmax(dim=1),
            ),
            PICTURE,
        ),
        (nn.Sequential(nn.BatchNorm2d(3, affine=False), nn.BatchNorm2d(3, momentum=None), nn.RMSNorm(16)), PICTURE),
    ],
)
def test_a_described_network_gives_the_same_outputs(model: nn.Module, shape: tuple[int, ...]) -> None:
    model.train()(torch.randn(shape))  # moves the running statistics
    twin = build_module(json.loads(json.dumps(describe_module(model))))
    twin.load_state_dict(model.state_dict())
    x = torch.randn(shape)
    assert twin.eval()(x).equal(model.eval()(x))


def test_an_embedding_is_described() -> None:
    model = nn.Sequential(Embedding(10, 3), nn.Embedding(3, 2, padding_idx=0))
    twin = build_module(describe_module(model))
    assert [(type(m), m.num_embeddings, m.padding_idx) for m in twin] == [
        (nn.Embedding, 10, None),
        (nn.Embedding, 3, 0),
    ]


def test_losses_keep_their_settings_and_weights() -> None:
    loss = build_module(describe_module(CrossEntropyLossFlat(axis=1, weight=[1.0, 3.0], label_smoothing=0.1)))
    assert isinstance(loss, CrossEntropyLossFlat)
    assert (loss.axis, loss.weight.tolist(), loss.label_smoothing) == (1, [1.0, 3.0], 0.1)  # type: ignore[union-attr]
    labels = build_module(describe_module(BCEWithLogitsLossFlat(thresh=0.2, pos_weight=[2.0])))
    assert (labels.thresh, labels.pos_weight.tolist()) == (0.2, [2.0])  # type: ignore[union-attr, operator]


def test_names_of_layers_and_shared_layers_stay() -> None:
    shared = nn.Linear(2, 2)
    model = sequential({"first": shared, "again": shared})
    twin = build_module(describe_module(model))
    assert list(twin.state_dict()) == list(model.state_dict())


@pytest.mark.parametrize(
    "model, words",
    [
        (nn.Sequential(nn.ReLU(), nn.Sequential(OwnBlock())), r"layer 1.0 \(OwnBlock\) is your own class"),
        (OwnBlock(), r"the model \(OwnBlock\) is your own class"),
        (nn.Sequential(OwnLinear(1, 1)), r"layer 0 \(OwnLinear\) is your own class"),
        (nn.Sequential(Lambda(torch.relu)), r"layer 0 \(Lambda\) calls the function 'relu'"),
        (
            nn.Sequential(nn.LSTM(2, 2)),
            r"\(LSTM\) is a class of torch that is not on the list",
        ),
        (ConvLayer(1, 1, norm_type=NormType.Weight), r"layer 0 \(ParametrizedConv2d\) computes its weight"),
        (ResBlock(1, 2, 2, sa=True), r"layer convpath.2 \(SimpleSelfAttention\)"),
    ],
)
def test_what_cannot_be_written_down_is_named_with_its_path(model: nn.Module, words: str) -> None:
    found = describe_module(model)
    assert isinstance(found, NotDescribable)
    assert re.search(words, str(found))


def test_a_network_changed_after_it_was_built_is_refused() -> None:
    hooked = nn.Sequential(nn.ReLU())
    hooked[0].register_forward_hook(lambda m, i, o: -o)
    assert str(describe_module(hooked)) == "layer 0 (ReLU) had its forward pass changed by a hook or an assignment"
    replaced = nn.Sequential(nn.Linear(2, 2))
    replaced[0].weight = nn.Parameter(torch.zeros(2, 5))
    assert "'0.weight' would have another shape" in str(describe_module(replaced))


def _leaf(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"class": kind, "arguments": arguments}


@pytest.mark.parametrize(
    "description, words",
    [
        (_leaf("os.system", command="true"), "'os.system', which is not on the list"),
        (_leaf("torch.nn.Module"), "not on the list"),
        (_leaf("__class__"), "not on the list"),
        (_leaf("flambeau.nn.Lambda", func="print"), "not on the list"),
        (_leaf("torch.nn.Linear", in_features=2, out_features=2, device="cuda"), "no argument 'device'"),
        (_leaf("torch.nn.Linear", in_features=2, out_features=2, __class__="x"), "no argument '__class__'"),
        (_leaf("torch.nn.Linear", in_features=2), "Linear does not fit: .*out_features"),
        (_leaf("torch.nn.Linear", in_features="two", out_features=2), "does not fit"),
        (_leaf("torch.nn.Linear", in_features=10**12, out_features=1), "in_features = 1e[+]12, which is beyond reason"),
        (_leaf("torch.nn.Linear", in_features=10**6, out_features=10**6), "asks for 1,000,001,000,000 weights"),
        (_leaf("torch.nn.Upsample", scale_factor=1e5), "scale_factor = 100000, which is beyond reason"),
        (_leaf("torch.nn.GELU", approximate="x" * 1000), "a value that no layer takes"),
        (_leaf("torch.nn.Conv2d", in_channels=1, out_channels=1, kernel_size=1, groups=0), "does not fit"),
        ({"class": "torch.nn.Sequential", "children": [["__init__", _leaf("torch.nn.ReLU")]]}, "underscore"),
        ({"class": "torch.nn.Sequential", "children": [["forward", _leaf("torch.nn.ReLU")]]}, "forward"),
        ({"class": "torch.nn.Sequential", "children": [["a.b", _leaf("torch.nn.ReLU")]]}, "does not fit"),
        ({"class": "torch.nn.Sequential", "children": "ab"}, "pairs of a name and a description"),
        ({"class": "torch.nn.Sequential", "children": [["0", _leaf("torch.nn.ReLU")]] * 2}, "two children of one name"),
        ({"class": ["torch.nn.ReLU"]}, 'a table with "class"'),
        ([], 'a table with "class"'),
        ({"class": "torch.nn.ReLU", "arguments": []}, "must be a table"),
    ],
)
def test_a_hostile_description_builds_nothing(description: Any, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        build_module(description)


def test_depth_and_number_of_layers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    nested = _leaf("torch.nn.ReLU")
    for _ in range(5000):
        nested = {"class": "torch.nn.Sequential", "children": [["0", nested]]}
    with pytest.raises(ExportError, match="nested more than 64 deep"):
        build_module(nested)
    monkeypatch.setattr(describe, "MAX_LAYERS", 3)
    with pytest.raises(ExportError, match="more than 3 layers"):
        build_module(describe_module(nn.Sequential(*(nn.ReLU() for _ in range(3)))))


def test_the_weights_at_hand_bound_the_size() -> None:
    with pytest.raises(ExportError, match="asks for 6 weights; at most 5"):
        build_module(describe_module(nn.Linear(2, 2)), max_parameters=5)
