"""Book, chapter 4: threes and sevens, from pixels in a table to a Learner with one's own optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from flambeau.vision.all import *


@pytest.fixture
def mnist(place_archive: Callable[[str, Path], None], tmp_path: Path) -> None:
    """Place 'digits': bright at the left for a 3, at the right for a 7, 28 pixels a side."""
    root = Path(tmp_path) / "mnist_sample"
    chance = np.random.default_rng(0)
    for folder, n in (("train", 40), ("valid", 12)):
        for digit, columns in (("3", slice(3, 12)), ("7", slice(16, 25))):
            (root / folder / digit).mkdir(parents=True)
            for number in range(n):
                pixels = chance.integers(0, 60, (28, 28)).astype(np.uint8)
                pixels[5:23, columns] += 150
                PIL.Image.fromarray(pixels).save(root / folder / digit / f"{number}.png")
    place_archive(URLs.MNIST_SAMPLE, root)


@pytest.fixture
def path(mnist: None) -> Iterator[Path]:
    path = untar_data(URLs.MNIST_SAMPLE)
    Path.BASE_PATH = path
    yield path
    Path.BASE_PATH = None


def stacked(folder: Path) -> tuple[Tensor, Tensor]:
    threes = torch.stack([tensor(Image.open(o)) for o in (folder / "3").ls().sorted()]).float() / 255
    sevens = torch.stack([tensor(Image.open(o)) for o in (folder / "7").ls().sorted()]).float() / 255
    return threes, sevens


def test_paths_are_short_and_pixels_are_numbers(path: Path) -> None:
    assert repr(path.ls()) == "(#2) [Path('train'),Path('valid')]"
    threes = (path / "train" / "3").ls().sorted()
    im3 = Image.open(threes[1])
    assert array(im3)[4:10, 4:10].shape == (6, 6)
    im3_t = tensor(im3)
    assert im3_t[4:10, 4:10].shape == (6, 6)
    df = pd.DataFrame(im3_t[4:15, 4:22])
    assert df.shape == (11, 18)
    show_image(im3_t)
    stacked_threes, stacked_sevens = stacked(path / "train")
    mean3, mean7 = stacked_threes.mean(0), stacked_sevens.mean(0)
    show_image(mean3)
    a_3 = stacked_threes[1]
    assert F.l1_loss(a_3.float(), mean3) < F.l1_loss(a_3, mean7)
    assert F.mse_loss(a_3, mean3).sqrt() < F.mse_loss(a_3, mean7).sqrt()
    assert (array([[1, 2, 3], [4, 5, 6]]) == tensor([[1, 2, 3], [4, 5, 6]]).numpy()).all()


def mnist_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    predictions = predictions.sigmoid()
    return torch.where(targets == 1, 1 - predictions, predictions).mean()


def batch_accuracy(xb: Tensor, yb: Tensor) -> Tensor:
    return ((xb.sigmoid() > 0.5) == yb).float().mean()


def loaders(path: Path) -> tuple[DataLoader, DataLoader]:
    halves = []
    for folder in ("train", "valid"):
        threes, sevens = stacked(path / folder)
        x = torch.cat([threes, sevens]).view(-1, 28 * 28)
        y = tensor([1] * len(threes) + [0] * len(sevens)).unsqueeze(1)
        halves.append(list(zip(x, y, strict=True)))
    return DataLoader(halves[0], batch_size=16, shuffle=True), DataLoader(halves[1], batch_size=16)


def test_the_loop_by_hand_and_by_learner(path: Path) -> None:
    coll = range(15)
    assert len(list(DataLoader(coll, batch_size=5, shuffle=True))) == 3
    ds = L(enumerate("abcdefghij"))
    numbers, letters = first(DataLoader(ds, batch_size=6, shuffle=True))
    assert numbers.shape == (6,)
    assert len(letters) == 6

    dl, valid_dl = loaders(path)
    xb, yb = first(dl)
    assert (xb.shape, yb.shape) == ((16, 784), (16, 1))
    linear_model = nn.Linear(28 * 28, 1)
    opt = SGD(linear_model.parameters(), 1.0)
    for xb, yb in dl:
        loss = mnist_loss(linear_model(xb), yb)
        loss.backward()
        opt.step()
        opt.zero_grad()
    accs = [batch_accuracy(linear_model(xb), yb) for xb, yb in valid_dl]
    assert round(torch.stack(accs).mean().item(), 4) > 0.9

    dls = DataLoaders(dl, valid_dl)
    learn = Learner(dls, nn.Linear(28 * 28, 1), opt_func=SGD, loss_func=mnist_loss, metrics=batch_accuracy)
    learn.fit(2, lr=1.0)
    simple_net = nn.Sequential(nn.Linear(28 * 28, 30), nn.ReLU(), nn.Linear(30, 1))
    learn = Learner(dls, simple_net, opt_func=SGD, loss_func=mnist_loss, metrics=batch_accuracy)
    learn.fit(3, 0.1)
    plt.plot(L(learn.recorder.values).itemgot(2))
    assert learn.recorder.values[-1][2] == L(learn.recorder.values).itemgot(2)[-1] > 0.8


def test_a_network_of_the_library(path: Path) -> None:
    dls = ImageDataLoaders.from_folder(path)
    learn = cnn_learner(dls, resnet18, pretrained=False, loss_func=F.cross_entropy, metrics=accuracy)
    learn.fit_one_cycle(1, 0.1)
    assert len(learn.recorder.values) == 1
