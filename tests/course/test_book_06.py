"""Book, chapter 6: any number of labels a picture, and a point in it."""

from __future__ import annotations

import random as chances
from collections.abc import Callable

import PIL.ImageDraw
import pytest

from flambeau.vision.all import *


@pytest.fixture
def pascal(place_archive: Callable[[str, Path], None], tmp_path: Path) -> None:
    """Place a table like PASCAL's: file name, labels in one cell, and which rows validate."""
    chance, root = chances.Random(3), Path(tmp_path) / "pascal_2007"
    (root / "train").mkdir(parents=True)
    rows = []
    for number in range(24):
        labels = sorted(chance.sample(["car", "dog", "person"], chance.randint(1, 2)))
        picture = PIL.Image.new("RGB", (44, 40), (110, 110, 110))
        for label in labels:
            place, colour = {"car": (2, "red"), "dog": (16, "green"), "person": (30, "blue")}[label]
            PIL.ImageDraw.Draw(picture).rectangle((place, 12, place + 12, 28), fill=colour)
        picture.save(root / "train" / f"{number:06}.jpg")
        rows.append({"fname": f"{number:06}.jpg", "labels": " ".join(labels), "is_valid": number % 4 == 0})
    pd.DataFrame(rows).to_csv(root / "train.csv", index=False)
    place_archive(URLs.PASCAL_2007, root)


@pytest.mark.usefixtures("pascal")
def test_many_labels_a_picture() -> None:
    path = untar_data(URLs.PASCAL_2007)
    df = pd.read_csv(path / "train.csv")
    dblock = DataBlock()
    dsets = dblock.datasets(df)
    assert len(dsets.train) + len(dsets.valid) == 24
    x, y = dsets.train[0]
    assert x["fname"] == y["fname"]

    dblock = DataBlock(get_x=lambda r: r["fname"], get_y=lambda r: r["labels"])
    fname, labels = dblock.datasets(df).train[0]
    assert fname.endswith(".jpg")
    assert isinstance(labels, str)

    def get_x(r):
        return path / "train" / r["fname"]

    def get_y(r):
        return r["labels"].split(" ")

    dblock = DataBlock(blocks=(ImageBlock, MultiCategoryBlock), get_x=get_x, get_y=get_y)
    dsets = dblock.datasets(df)
    idxs = torch.where(dsets.train[0][1] == 1.0)[0]
    assert set(dsets.train.vocab[idxs]) <= {"car", "dog", "person"}

    def splitter(df):
        train = df.index[~df["is_valid"]].tolist()
        valid = df.index[df["is_valid"]].tolist()
        return train, valid

    dblock = DataBlock(
        blocks=(ImageBlock, MultiCategoryBlock),
        splitter=splitter,
        get_x=get_x,
        get_y=get_y,
        item_tfms=RandomResizedCrop(32, min_scale=0.35),
    )
    dls = dblock.dataloaders(df, bs=6)
    dls.show_batch(nrows=1, ncols=3)

    learn = cnn_learner(dls, resnet18, pretrained=False)
    x, y = to_cpu(dls.train.one_batch())
    activs = learn.model(x)
    assert activs.shape == (6, 3)
    loss_func = nn.BCEWithLogitsLoss()
    assert loss_func(activs, y).item() == pytest.approx(learn.loss_func(activs, y).item(), abs=1e-5)

    learn = cnn_learner(dls, resnet18, metrics=partial(accuracy_multi, thresh=0.2), pretrained=False)
    learn.fine_tune(1, base_lr=3e-3, freeze_epochs=1)
    learn.metrics = partial(accuracy_multi, thresh=0.1)
    low = learn.validate()
    assert len(low) == 2
    learn.metrics = partial(accuracy_multi, thresh=0.99)
    learn.validate()
    preds, targs = learn.get_preds()
    assert preds.shape == targs.shape == (6, 3)
    assert low[1] == pytest.approx(accuracy_multi(preds, targs, thresh=0.1, sigmoid=False).item(), abs=1e-5)
    xs = torch.linspace(0.05, 0.95, 29)
    accs = [accuracy_multi(preds, targs, thresh=i, sigmoid=False) for i in xs]
    plt.plot(xs, accs)


@pytest.fixture
def biwi(place_archive: Callable[[str, Path], None], tmp_path: Path) -> None:
    """Place people's folders: frames with a bright head, its place in space in a text file, the camera in another."""
    chance, root = chances.Random(5), Path(tmp_path) / "biwi_head_pose"
    for person in ("01", "02", "13"):
        (root / person).mkdir(parents=True)
        (root / person / "rgb.cal").write_text("40 0 32\n0 40 24\n0 0 1\n" + "\n0 0 0\n" * 3 + "1 0 0\n0 1 0\n0 0 1\n")
        for number in range(6):
            x, y = chance.randint(16, 48), chance.randint(14, 34)
            picture = PIL.Image.new("RGB", (64, 48), (60, 60, 60))
            PIL.ImageDraw.Draw(picture).ellipse((x - 6, y - 6, x + 6, y + 6), fill="white")
            frame = root / person / f"frame_{number:05}"
            picture.save(f"{frame}_rgb.jpg")
            pose = f"1 0 0\n0 1 0\n0 0 1\n\n{(x - 32) / 40 * 100} {(y - 24) / 40 * 100} 100\n"
            Path(f"{frame}_pose.txt").write_text(pose)
    place_archive(URLs.BIWI_HEAD_POSE, root)


@pytest.mark.usefixtures("biwi")
def test_a_point_in_each_picture() -> None:
    path = untar_data(URLs.BIWI_HEAD_POSE)
    assert [p.name for p in path.ls().sorted()] == ["01", "02", "13"]
    img_files = get_image_files(path)

    def img2pose(x):
        return Path(f"{str(x)[:-7]}pose.txt")

    assert img2pose(img_files[0]).exists()
    im = PILImage.create(img_files[0])
    assert im.shape == (48, 64)
    cal = np.genfromtxt(path / "01" / "rgb.cal", skip_footer=6)

    def get_ctr(f):
        ctr = np.genfromtxt(img2pose(f), skip_header=3)
        c1 = ctr[0] * cal[0][0] / ctr[2] + cal[0][2]
        c2 = ctr[1] * cal[1][1] / ctr[2] + cal[1][2]
        return tensor([c1, c2])

    assert 0 < get_ctr(img_files[0])[0] < 64
    biwi = DataBlock(
        blocks=(ImageBlock, PointBlock),
        get_items=get_image_files,
        get_y=get_ctr,
        splitter=FuncSplitter(lambda o: o.parent.name == "13"),
        batch_tfms=[*aug_transforms(size=(48, 64)), Normalize.from_stats(*imagenet_stats)],
    )
    dls = biwi.dataloaders(path, bs=4)
    dls.show_batch(max_n=4, figsize=(8, 6))
    xb, yb = dls.one_batch()
    assert (xb.shape, yb.shape) == ((4, 3, 48, 64), (4, 1, 2))
    assert yb.abs().max() <= 1.5

    learn = cnn_learner(dls, resnet18, y_range=(-1, 1), pretrained=False)
    plot_function(partial(sigmoid_range, low=-1, high=1), min=-4, max=4)
    assert "MSE" in repr(dls.loss_func)
    learn.lr_find(num_it=10)
    learn.fine_tune(1, 1e-2)
    learn.show_results(ds_idx=1, nrows=3, figsize=(6, 8))
    preds, _ = learn.get_preds()
    assert preds.abs().max() <= 1
