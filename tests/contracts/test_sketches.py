"""What follows must fit on the data layer: tables, text, trees, diffusion, masks, pairs of pictures; ten lines each."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor, nn

from flambeau.course.names import fastuple
from flambeau.data.batch import Batch
from flambeau.data.block import CategoryBlock, DataBlock, RegressionBlock
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.dataset import Datasets, TfmdLists, show_at
from flambeau.data.getters import ItemGetter
from flambeau.data.kinds import Category, Number, Picture
from flambeau.data.labels import ColReader
from flambeau.data.loaders import DataLoader
from flambeau.data.normalize import IntToFloatTensor, Normalize, ToTensor
from flambeau.data.splitters import IndexSplitter
from flambeau.data.transform import ItemTransform, Transform
from flambeau.foundation.lists import L
from flambeau.train.learner import Learner
from flambeau.vision.augment import aug_transforms
from flambeau.vision.blocks import ImageBlock, MaskBlock
from flambeau.vision.images import PILImage, imagenet_stats
from flambeau.vision.resize import Resize

# tables and ratings: slices of tensors in memory


class Ratings:
    """Columns in memory; a batch is an index into them."""

    n_inp = 2

    def __init__(self, users: Tensor, movies: Tensor, stars: Tensor) -> None:
        self.columns, self.calls = (users, movies, stars), 0

    def __len__(self) -> int:
        return len(self.columns[0])

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        self.calls += 1
        places = torch.as_tensor(indices)
        return tuple(column[places] for column in self.columns)


def test_a_table_in_memory_gives_each_row_once_an_epoch_without_work_on_rows() -> None:
    ratings = Ratings(torch.arange(100), torch.arange(100) % 7, torch.rand(100))
    train = DataLoader(ratings, 32, shuffle=True, device="cpu", num_workers=2)
    for _ in range(2):
        rows = torch.cat([batch.inputs[0] for batch in train])
        assert sorted(rows.tolist()) == list(range(100))
    assert ratings.calls == 8
    assert [len(part) for part in (train.one_batch().inputs, train.one_batch().targets)] == [2, 1]


def test_a_table_in_memory_trains_a_learner_and_predicts_in_order() -> None:
    users = torch.arange(60)
    dls = DataLoaders.from_dsets(*(Ratings(users, users, users / 60) for _ in range(2)), bs=16, device="cpu")

    class Look(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(1))

        def forward(self, user: Tensor, movie: Tensor) -> Tensor:
            return user / 60 + self.bias

    learn = Learner(dls, Look(), loss_func=nn.functional.mse_loss)
    with learn.no_bar():
        learn.fit(1, 0.0)
        preds, targets = learn.get_preds()
    assert torch.equal(preds, users / 60)
    assert torch.equal(targets, users / 60)


def test_items_of_a_data_set_that_makes_batches_take_no_item_transforms() -> None:
    with pytest.raises(ValueError, match=r"A Ratings makes whole batches itself.*Use after_batch"):
        DataLoader(Ratings(*[torch.arange(4)] * 3), 2, after_item=[ToTensor])


# text: a stream cut into windows, and texts of like length together


class Stream:
    """One flat stream of tokens read by `bs` readers; item i is window i // bs of reader i % bs."""

    def __init__(self, tokens: Tensor, bs: int, length: int) -> None:
        self.n_windows = (len(tokens) - 1) // (bs * length)
        self.rows, self.bs, self.length = tokens[: self.n_windows * bs * length].view(bs, -1), bs, length
        self.next = tokens[1 : self.n_windows * bs * length + 1].view(bs, -1)

    def __len__(self) -> int:
        return self.n_windows * self.bs

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        start = indices[0] // self.bs * self.length
        return self.rows[:, start : start + self.length], self.next[:, start : start + self.length]


def test_batch_k_of_a_stream_is_window_k() -> None:
    stream = Stream(torch.arange(25), bs=3, length=4)
    windows = list(DataLoader(stream, 3, drop_last=True, training=True, device="cpu"))
    assert len(windows) == 2
    assert windows[0][0].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11], [16, 17, 18, 19]]
    assert windows[1][0].tolist() == [[4, 5, 6, 7], [12, 13, 14, 15], [20, 21, 22, 23]]
    assert torch.equal(windows[1][1], windows[1][0] + 1)


def pad(samples: list[Any]) -> list[Any]:
    """Fill up texts with zeros to the longest of the batch."""
    longest = max(len(sample[0]) for sample in samples)
    return [(nn.functional.pad(sample[0], (0, longest - len(sample[0]))), *sample[1:]) for sample in samples]


def test_texts_sorted_by_length_are_padded_and_predicted_in_the_order_of_items() -> None:
    lengths = [3, 9, 1, 5, 9, 2, 7]
    texts = [(torch.full((n,), place), place) for place, n in enumerate(lengths)]

    def longest_first(n: int, chance: random.Random) -> Iterable[int]:
        return sorted(range(n), key=lambda place: -lengths[place])

    valid = DataLoader(texts, 2, order=longest_first, before_batch=pad, device="cpu")
    assert [tuple(batch[0].shape) for batch in valid] == [(2, 9), (2, 7), (2, 3), (1, 1)]
    dls = DataLoaders(DataLoader(texts, 2, before_batch=pad, device="cpu"), valid)

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, tokens: Tensor) -> Tensor:
            return tokens[:, 0] * self.scale

    learn = Learner(dls, First(), loss_func=nn.functional.mse_loss)
    with learn.no_bar():
        preds, targets = learn.get_preds()
    assert preds.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert targets.tolist() == [0, 1, 2, 3, 4, 5, 6]


# trees: no batch at all


def test_a_tree_is_fitted_from_the_data_sets_without_any_batch() -> None:
    pd = pytest.importorskip("pandas")
    tree = pytest.importorskip("sklearn.tree")
    frame = pd.DataFrame({"size": range(20), "age": [3] * 20, "kind": ["small"] * 10 + ["big"] * 10})
    block = DataBlock(
        (RegressionBlock, CategoryBlock),
        get_x=ColReader(["size", "age"]),
        get_y=ColReader("kind"),
        splitter=IndexSplitter([2, 4, 12, 14]),
    )
    dls = block.dataloaders(frame, bs=4, device="cpu")
    (xs, y), (valid_xs, valid_y) = (
        (np.stack([x.numpy() for x, _ in data]), [label for _, label in data]) for data in (dls.train_ds, dls.valid_ds)
    )
    fitted = tree.DecisionTreeClassifier(max_depth=1).fit(xs, y)
    assert xs.shape == (16, 2)
    assert fitted.predict(valid_xs).tolist() == valid_y
    assert dls.vocab == ["big", "small"]


# diffusion: targets made from inputs


class AddNoise(ItemTransform):
    """Make the noisy picture and its time the inputs, and the noise the target."""

    order = 100

    def encodes(self, x: tuple[Any, ...]) -> Any:
        clean = x[0]
        noise, time = torch.randn_like(clean), torch.rand(len(clean))
        part = time[:, None, None, None]
        return Batch((clean * (1 - part) + noise * part, time), (noise,), (Picture(), Number(), Picture()))


def test_a_batch_transform_makes_its_own_targets() -> None:
    pictures = [(torch.rand(3, 8, 8),) for _ in range(12)]
    dls = DataLoaders.from_dsets(pictures, pictures, bs=4, after_batch=AddNoise(), device="cpu")
    batch = dls.one_batch()
    assert [tuple(x.shape) for x in batch.inputs] == [(4, 3, 8, 8), (4,)]
    assert [tuple(y.shape) for y in batch.targets] == [(4, 3, 8, 8)]

    class Denoise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, noisy: Tensor, time: Tensor) -> Tensor:
            return self.conv(noisy)

    learn = Learner(dls, Denoise(), loss_func=nn.functional.mse_loss)
    with learn.no_bar():
        learn.fit(1)
    assert len(learn.recorder.values) == 1


# masks that stay with their picture


@pytest.fixture
def pictures_with_masks(tmp_path: Path) -> list[Path]:
    """Write pictures with a bright square, and masks of class 1 there."""
    made = []
    for place in range(8):
        pixels = np.zeros((40, 60, 3), dtype=np.uint8)
        mask = np.zeros((40, 60), dtype=np.uint8)
        pixels[8:24, 5 + place : 25 + place] = 255
        mask[8:24, 5 + place : 25 + place] = 1
        made.append(tmp_path / f"{place}.png")
        PIL.Image.fromarray(pixels).save(made[-1])
        PIL.Image.fromarray(mask).save(tmp_path / f"{place}_mask.png")
    return made


def mask_of(path: Path) -> Path:
    """Return the path of a picture's mask."""
    return path.with_name(f"{path.stem}_mask.png")


@pytest.mark.parametrize("item_tfms", [Resize(32), [Resize(32), ToTensor()]], ids=["in one pass", "item, then batch"])
def test_a_mask_stays_with_its_picture_in_augmentation(pictures_with_masks: list[Path], item_tfms: Any) -> None:
    block = DataBlock(
        (ImageBlock, MaskBlock(["back", "square"])),
        get_y=mask_of,
        splitter=IndexSplitter([0]),
        item_tfms=item_tfms,
        batch_tfms=aug_transforms(size=24, max_lighting=0.0),
    )
    dls = block.dataloaders(pictures_with_masks, bs=7, device="cpu", seed=3)
    pictures, masks = dls.one_batch()
    assert pictures.shape == (7, 3, 24, 24)
    assert masks.shape == (7, 24, 24)
    assert masks.dtype == torch.int64
    agreeing = ((pictures.mean(1) > 0.5) == (masks == 1)).float().mean()
    assert agreeing > 0.97
    assert dls.c == 2


# points that stay with their picture


@pytest.mark.parametrize("item_tfms", [Resize(32), [Resize(32), ToTensor()]], ids=["in one pass", "item, then batch"])
def test_points_stay_with_their_picture_in_augmentation(pictures_with_masks: list[Path], item_tfms: Any) -> None:
    blocks = pytest.importorskip("flambeau.vision.blocks")
    if not hasattr(blocks, "PointBlock"):
        pytest.skip("PointBlock is not written yet")
    block = DataBlock(
        (ImageBlock, blocks.PointBlock),
        get_y=lambda path: torch.tensor([[15.0 + int(path.stem), 16.0]]),
        splitter=IndexSplitter([0]),
        item_tfms=item_tfms,
        batch_tfms=aug_transforms(size=24, max_lighting=0.0, max_warp=0.0),
    )
    pictures, points = block.dataloaders(pictures_with_masks, bs=7, device="cpu", seed=3).one_batch()
    for picture, point in zip(pictures, points.reshape(7, 2), strict=True):
        if point.abs().max() < 0.9:
            column, row = ((point + 1) / 2 * 24).long().tolist()
            assert picture[:, row, column].mean() > 0.9


# pairs of pictures: chapter 11 of the book


class SiameseImage(fastuple):
    """Two pictures and whether they show the same."""

    def show(self, ctx: Any = None, **options: Any) -> Any:
        first, second, same = self
        return PILImage.create(np.hstack([np.asarray(first), np.asarray(second)])).show(ctx=ctx, title=str(same))


class SiameseTransform(Transform):
    """Give each picture a partner, of its own class or of another; in validation always the same one."""

    def __init__(self, files: L[Path], label_func: Any, splits: Any) -> None:
        self.label_func, self.files = label_func, files
        self.valid = {file: self._draw(file) for file in files[splits[1]]}

    def encodes(self, f: Path) -> SiameseImage:
        other, same = self.valid.get(f, self._draw(f))
        return SiameseImage(PILImage.create(f), PILImage.create(other), same)

    def _draw(self, file: Path) -> tuple[Path, bool]:
        other = random.choice(self.files)
        return other, self.label_func(file) == self.label_func(other)


class Siamese(nn.Module):
    """Compare two pictures by the same numbers of each."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 2)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.head(torch.cat([first.mean((2, 3)), second.mean((2, 3))], 1))


def colour(path: Path) -> str:
    """Return the colour that a file is named after."""
    return path.stem.split("_")[0]


@pytest.fixture
def coloured(tmp_path: Path) -> L[Path]:
    """Write pictures of two colours and many sizes."""
    files = L([])
    for place in range(24):
        name = "red" if place % 2 else "blue"
        files.append(tmp_path / f"{name}_{place}.png")
        PIL.Image.new("RGB", (30 + place, 40), name).save(files[-1])
    return files


def test_pairs_of_pictures_are_shown_batched_and_learnt_from(coloured: L[Path]) -> None:
    splits = (list(range(18)), list(range(18, 24)))
    tls = TfmdLists(coloured, SiameseTransform(coloured, colour, splits), splits=splits)
    assert type(tls.valid[0]) is SiameseImage
    assert show_at(tls.valid, 0).get_title() in ("True", "False")
    dls = tls.dataloaders(
        bs=6,
        device="cpu",
        after_item=[Resize(24), ToTensor],
        after_batch=[IntToFloatTensor, Normalize.from_stats(*imagenet_stats)],
    )
    batch = dls.one_batch()
    assert [tuple(x.shape) for x in batch.inputs] == [(6, 3, 24, 24), (6, 3, 24, 24)]
    assert batch.targets[0].dtype == torch.int64
    assert [type(kind) for kind in dls.kinds] == [Picture, Picture, Category]
    assert dls.c == 2
    learn = Learner(dls, Siamese(), loss_func=nn.functional.cross_entropy)
    with learn.no_bar():
        learn.fit(1)
        preds, _ = learn.get_preds()
    assert preds.shape == (6, 2)


def test_partners_drawn_anew_are_never_frozen_by_the_cache(coloured: L[Path]) -> None:
    splits = (list(range(18)), list(range(18, 24)))
    tls = TfmdLists(coloured, SiameseTransform(coloured, colour, splits), splits=splits)
    tfms = [Resize(8, method="squish"), ToTensor]
    train = DataLoader(tls.train, 18, after_item=tfms, device="cpu")
    valid = DataLoader(tls.valid, 6, after_item=tfms, device="cpu")
    epochs = [[next(iter(loader))[2].tolist() for _ in range(6)] for loader in (train, valid)]
    assert len(set(map(tuple, epochs[0]))) > 1
    assert len(set(map(tuple, epochs[1]))) == 1


# pairs and triples by hand


def test_two_inputs_and_a_target_come_from_getters(coloured: L[Path]) -> None:
    triples = [(coloured[i], coloured[i - 1], float(i)) for i in range(1, 20)]
    block = DataBlock(
        (ImageBlock, ImageBlock, RegressionBlock),
        getters=[ItemGetter(0), ItemGetter(1), ItemGetter(2)],
        n_inp=2,
        item_tfms=Resize(16),
    )
    dls = block.dataloaders(triples, bs=4, device="cpu")
    batch = dls.one_batch()
    assert [tuple(x.shape) for x in batch.inputs] == [(4, 3, 16, 16)] * 2
    assert batch.targets[0].dtype == torch.float32
    assert Datasets(triples, [[ItemGetter(0)], [ItemGetter(2)]]).n_inp == 1
