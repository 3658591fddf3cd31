"""Book, chapter 13: convolutions; what the activations do while a small network learns digits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flambeau.vision.all import *


@pytest.fixture
def path(place_archive: Callable[[str, Path], None], tmp_path: Path) -> Path:
    """Place 'digits' of 28 pixels in training and testing folders: each class is bright in another corner."""
    root, chance = Path(tmp_path) / "mnist_png", np.random.default_rng(1)
    for folder, n in (("training", 20), ("testing", 6)):
        for digit, (row, column) in enumerate(((2, 2), (2, 15), (15, 2))):
            (root / folder / str(digit)).mkdir(parents=True)
            for number in range(n):
                pixels = chance.integers(0, 60, (28, 28)).astype(np.uint8)
                pixels[row : row + 10, column : column + 10] += 180
                PIL.Image.fromarray(pixels).save(root / folder / str(digit) / f"{number}.png")
    place_archive(URLs.MNIST, root)
    return untar_data(URLs.MNIST)


def get_dls(path: Path, bs: int = 16) -> DataLoaders:
    return DataBlock(
        blocks=(ImageBlock(cls=PILImageBW), CategoryBlock),
        get_items=get_image_files,
        splitter=GrandparentSplitter("training", "testing"),
        get_y=parent_label,
        batch_tfms=Normalize(),
    ).dataloaders(path, bs=bs)


def conv(ni, nf, ks=3, act=True):
    layers = [nn.Conv2d(ni, nf, stride=2, kernel_size=ks, padding=ks // 2)]
    if act:
        layers.append(nn.ReLU())
    layers.append(nn.BatchNorm2d(nf))
    return nn.Sequential(*layers)


def simple_cnn():
    return sequential(conv(1, 8, ks=5), conv(8, 8), conv(8, 16), conv(16, 16), conv(16, 3, act=False), Flatten())


def test_kernels_find_edges(path: Path) -> None:
    im3 = Image.open(path / "training" / "1" / "12.png")
    im3_t = tensor(im3)
    top_edge = tensor([[-1, -1, -1], [0, 0, 0], [1, 1, 1]]).float()
    assert (im3_t[0:3, 16:19] * top_edge).sum() > 300
    dls = DataBlock(
        (ImageBlock(cls=PILImageBW), CategoryBlock),
        get_items=get_image_files,
        splitter=GrandparentSplitter("training", "testing"),
        get_y=parent_label,
    ).dataloaders(path, bs=16)
    xb, yb = first(dls.valid)
    assert xb.shape == (16, 1, 28, 28)
    xb, yb = to_cpu(xb), to_cpu(yb)
    batch_features = F.conv2d(xb, torch.stack([top_edge, top_edge.T]).unsqueeze(1))
    assert batch_features.shape == (16, 2, 26, 26)
    show_image(batch_features[0, 0])

    learn = Learner(dls, simple_cnn(), loss_func=F.cross_entropy, metrics=accuracy)
    words = str(learn.summary())
    assert "Conv2d" in words
    assert "16 x 1 x 28 x 28" in words
    learn.fit_one_cycle(2, 0.01)
    assert len(learn.recorder.values) == 2
    m = learn.model[0]
    assert m[0].weight.shape == (8, 1, 5, 5)


def test_colours_are_channels(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (8, 6), (255, 128, 0)).save(tmp_path / "bear.png")
    im = image2tensor(Image.open(tmp_path / "bear.png"))
    assert im.shape == (3, 6, 8)
    show_image(im)
    _, axs = subplots(1, 3)
    for bear, ax, color in zip(im, axs, ("Reds", "Greens", "Blues"), strict=True):
        show_image(255 - bear, ax=ax, cmap=color)


def test_activations_are_watched(path: Path) -> None:
    dls = get_dls(path)
    dls.show_batch(max_n=9, figsize=(4, 4))
    learn = Learner(
        dls, simple_cnn(), loss_func=F.cross_entropy, metrics=accuracy, cbs=ActivationStats(with_hist=True)
    )
    learn.fit(1, 0.06)
    learn.activation_stats.plot_layer_stats(0)
    learn.activation_stats.plot_layer_stats(-2)
    means, deviations, near_zero = learn.activation_stats.layer_stats(-2)
    assert len(means) == len(deviations) == len(near_zero) == 3
    assert all(0 <= share <= 1 for share in near_zero)

    learn.fit_one_cycle(1, 0.06)
    learn.recorder.plot_sched()
    learn.activation_stats.color_dim(-2)
    assert learn.activation_stats.hist(-2).shape == (40, 3)
