"""Book, chapter 14: residual networks, built from the library's bricks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flambeau.vision.all import *


@pytest.fixture
def dls(place_archive: Callable[[str, Path], None], shapes: Callable[..., None], tmp_path: Path) -> DataLoaders:
    root = Path(tmp_path) / "imagenette2-160"
    for folder, n in (("train", 10), ("val", 4)):
        for name, colour in (("church", "red"), ("pump", "blue")):
            shapes(root / folder / name, "{}.JPEG", n, colour)
    place_archive(URLs.IMAGENETTE_160, root)
    return get_data(URLs.IMAGENETTE_160, 48, 32)


def get_data(url, presize, resize):
    path = untar_data(url)
    return DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_items=get_image_files,
        splitter=GrandparentSplitter(valid_name="val"),
        get_y=parent_label,
        item_tfms=Resize(presize),
        batch_tfms=[*aug_transforms(min_scale=0.5, size=resize), Normalize.from_stats(*imagenet_stats)],
    ).dataloaders(path, bs=5)


def _conv_block(ni, nf, stride):
    return nn.Sequential(
        ConvLayer(ni, nf // 4, 1),
        ConvLayer(nf // 4, nf // 4, stride=stride),
        ConvLayer(nf // 4, nf, 1, act_cls=None, norm_type=NormType.BatchZero),
    )


class OwnBlock(Module):
    def __init__(self, ni, nf, stride=1):
        self.convs = _conv_block(ni, nf, stride)
        self.idconv = noop if ni == nf else ConvLayer(ni, nf, 1, act_cls=None)
        self.pool = noop if stride == 1 else nn.AvgPool2d(2, ceil_mode=True)

    def forward(self, x):
        return F.relu(self.convs(x) + self.idconv(self.pool(x)))


def _resnet_stem(*sizes):
    return [
        ConvLayer(sizes[i], sizes[i + 1], 3, stride=2 if i == 0 else 1) for i in range(len(sizes) - 1)
    ] + [nn.MaxPool2d(kernel_size=3, stride=2, padding=1)]


class ResNet(nn.Sequential):
    def __init__(self, n_out, layers, expansion=1):
        stem = _resnet_stem(3, 8, 8, 16)
        self.block_szs = [16, 16, 32, 32, 64]
        for i in range(1, 5):
            self.block_szs[i] *= expansion
        blocks = [self._make_layer(*o) for o in enumerate(layers)]
        super().__init__(*stem, *blocks, nn.AdaptiveAvgPool2d(1), Flatten(), nn.Linear(self.block_szs[-1], n_out))

    def _make_layer(self, idx, n_layers):
        stride = 1 if idx == 0 else 2
        ch_in, ch_out = self.block_szs[idx : idx + 2]
        return nn.Sequential(
            *[OwnBlock(ch_in if i == 0 else ch_out, ch_out, stride if i == 0 else 1) for i in range(n_layers)]
        )


def get_learner(dls, m):
    return Learner(dls, m, loss_func=nn.CrossEntropyLoss(), metrics=accuracy).to_fp16()


def test_a_plain_network_of_convolutions(dls: DataLoaders) -> None:
    dls.show_batch(max_n=4)

    def block(ni, nf):
        return ConvLayer(ni, nf, stride=2)

    model = nn.Sequential(
        block(3, 8), block(8, 16), block(16, 32), nn.AdaptiveAvgPool2d(1), Flatten(), nn.Linear(32, dls.c)
    )
    learn = get_learner(dls, model)
    learn.lr_find(num_it=10)
    learn.fit_one_cycle(1, 3e-3)
    assert dls.c == 2
    assert len(learn.recorder.values) == 1


def test_a_residual_network_of_ones_own(dls: DataLoaders) -> None:
    rn = ResNet(dls.c, [1, 2, 1, 1], 4)
    assert (OwnBlock(16, 16).convs[2][1].weight == 0).all()
    learn = get_learner(dls, rn)
    learn.fit_one_cycle(1, 3e-3)
    assert len(learn.recorder.values) == 1
