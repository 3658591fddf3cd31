"""A body gives features, knows their number, divides itself in groups, and adapts to channels and sizes."""

from __future__ import annotations

from itertools import chain

import pytest
import timm
import torch
import torchvision
from torch import nn

from flambeau.foundation.errors import ArgumentError, ShapeError
from flambeau.vision import architectures
from flambeau.vision.backbones import create_body

FAMILIES = [
    # architecture, side of the pictures, n_features, side of the map (0 for pooled features)
    (architectures.resnet18, 64, 512, 2),
    (architectures.squeezenet1_1, 64, 512, 3),
    (architectures.densenet121, 64, 1024, 2),
    (architectures.vgg11_bn, 64, 512, 2),
    (architectures.mobilenet_v2, 64, 1280, 2),
    (architectures.swin_t, 64, 768, 2),
    ("resnet26d", 64, 2048, 2),
    ("efficientnet_b0", 64, 1280, 2),
    ("mobilenetv3_small_050", 64, 1024, 2),
    ("convnext_atto", 64, 320, 2),
    ("caformer_s18", 64, 512, 2),
    ("vit_tiny_patch16_224", 224, 192, 0),
    ("swin_tiny_patch4_window7_224", 224, 768, 7),
    ("xresnet18", 64, 512, 2),
]


@pytest.mark.parametrize(("arch", "side", "n_features", "map_side"), FAMILIES, ids=[str(row[0]) for row in FAMILIES])
def test_a_body_gives_its_features_and_divides_its_parameters(arch, side, n_features, map_side) -> None:
    body = create_body(arch, pretrained=False)
    features = body(torch.randn(2, 3, side, side))
    assert features.shape == ((2, n_features, map_side, map_side) if map_side else (2, n_features))
    assert (body.n_features, body.pooled) == (n_features, not map_side)

    groups = body.groups()
    assert len(groups) == 2
    assert sorted(map(id, chain(*groups))) == sorted(map(id, body.parameters()))

    features.sum().backward()
    assert all(parameter.grad is not None for parameter in body.parameters())


def late_names(body: nn.Module) -> list[str]:
    return [name for name, _ in body.named_parameters() if name not in body.early_names]


def test_a_resnet_divides_before_its_third_stage_in_both_libraries() -> None:
    body = create_body(architectures.resnet18, pretrained=False)
    assert body.groups()[0] == list(body[:6].parameters())
    assert body.groups()[1] == list(body[6:].parameters())
    assert late_names(create_body("resnet26d", pretrained=False))[0] == "0.model.layer3.0.conv1.weight"


def test_a_transformer_divides_in_the_middle_of_its_blocks() -> None:
    body = create_body("vit_tiny_patch16_224", pretrained=False)
    assert late_names(body)[0] == "0.model.blocks.6.norm1.weight"
    assert {"0.model.cls_token", "0.model.pos_embed", "0.model.patch_embed.proj.weight"} <= body.early_names


def test_the_names_of_the_weights_are_those_of_a_plain_cut_network() -> None:
    body = create_body(architectures.resnet18, pretrained=False)
    plain = nn.Sequential(*list(torchvision.models.resnet18(weights=None).children())[:-2])
    assert list(body.state_dict()) == list(plain.state_dict())


def test_a_transformers_body_gives_what_its_own_classifier_would_see() -> None:
    model = timm.create_model("vit_tiny_patch16_224").eval()
    pictures = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(pictures), pre_logits=True)
        assert torch.equal(create_body(model).eval()(pictures), expected)


def test_torchvisions_transformer_gives_its_class_token() -> None:
    model = torchvision.models.VisionTransformer(32, 16, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=8)
    body = create_body(model)
    assert body(torch.randn(2, 3, 32, 32)).shape == (2, 8)
    assert late_names(body)[0] == "0.encoder.layers.encoder_layer_1.ln_1.weight"


@pytest.mark.parametrize("arch", ["resnet18", "convnext_atto", "vit_tiny_patch16_224", "tf_efficientnet_lite0"])
@pytest.mark.parametrize("n_in", [1, 2, 4])
def test_other_numbers_of_channels_are_taken(arch, n_in: int) -> None:
    side = 224 if arch == "vit_tiny_patch16_224" else 32
    assert create_body(arch, n_in=n_in, pretrained=False)(torch.randn(2, n_in, side, side)).shape[0] == 2


@pytest.mark.parametrize(
    ("n_in", "expected"), [(1, [6.0]), (2, [1.5, 3.0]), (4, [1.0, 2.0, 3.0, 0.0])], ids=["grey", "two", "four"]
)
def test_the_first_convolution_keeps_what_it_has_learnt(n_in: int, expected: list[float]) -> None:
    first = nn.Conv2d(3, 1, 1, bias=False)
    first.weight.data = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    body = create_body(nn.Sequential(first, nn.ReLU(), nn.AdaptiveAvgPool2d(1)), n_in=n_in)
    assert body[0].weight.flatten().tolist() == expected


def test_the_cut_is_honoured() -> None:
    assert len(create_body(architectures.resnet18, pretrained=False, cut=-4)) == 6
    assert create_body(architectures.resnet18, pretrained=False, cut=6).n_features == 128
    stem = create_body("resnet26d", pretrained=False, cut=lambda model: nn.Sequential(model.conv1, model.layer1[:0]))
    assert stem.n_features == 64


def test_a_cut_that_leaves_nothing_or_does_not_run_is_explained() -> None:
    with pytest.raises(ArgumentError, match=r"cut=-10 leaves nothing of resnet18, which has 10 children"):
        create_body(architectures.resnet18, pretrained=False, cut=-10)
    with pytest.raises(ArgumentError, match="do not run one after the other"):
        create_body(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Linear(7, 2), nn.Linear(2, 2)))
    with pytest.raises(ArgumentError, match=r"extra classifiers.*timm"):
        create_body(torchvision.models.googlenet(weights=None, init_weights=False))


def test_the_trial_run_changes_neither_statistics_nor_modes() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1))
    body = create_body(model)
    assert int(body[1].num_batches_tracked) == 0
    assert body[1].training


def test_a_part_of_a_body_is_a_plain_sequential() -> None:
    body = create_body(architectures.resnet18, pretrained=False)
    assert type(body[:2]) is nn.Sequential
    assert isinstance(body[-2][0], torchvision.models.resnet.BasicBlock)


def test_wrong_channels_are_explained() -> None:
    body = create_body("convnext_atto", pretrained=False)
    with pytest.raises(ShapeError, match=r"Expected 3 channels, got 1 in a batch of shape \(2, 1, 64, 64\).*n_in=1"):
        body(torch.zeros(2, 1, 64, 64))


def test_a_network_of_one_size_explains_another_size() -> None:
    body = create_body("vit_tiny_patch16_224", pretrained=False)
    with pytest.raises(ShapeError, match=r"224x224 .* only, got 192x192.*Resize\(224\).*image_size=\(192, 192\)"):
        body(torch.zeros(1, 3, 192, 192))
    with pytest.raises(ShapeError, match=r"levit_128s takes .* only, got 192x192.*Resize\(224\), or choose"):
        create_body("levit_128s", pretrained=False, image_size=(192, 192))


@pytest.mark.parametrize(
    ("arch", "size", "shape"),
    [("vit_tiny_patch16_224", (96, 160), (1, 192)), ("swin_tiny_patch4_window7_224", (64, 96), (1, 768, 2, 3))],
)
def test_a_transformer_is_built_for_the_wanted_size(arch: str, size: tuple[int, int], shape: tuple[int, ...]) -> None:
    body = create_body(arch, pretrained=False, image_size=size)
    assert body.input_stats.size == size
    assert body(torch.randn(1, 3, *size)).shape == shape


def test_weights_and_a_refusal_of_weights_contradict_each_other() -> None:
    with pytest.raises(ArgumentError, match="drop one"):
        create_body("resnet26d", pretrained=False, weights="bt_in1k")
