"""The pair of loaders: made from data sets, asked for new items, and told what it cannot do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from flambeau.data.block import CategoryBlock, DataBlock, RegressionBlock
from flambeau.data.categorize import Categorize
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.dataset import Datasets
from flambeau.data.kinds import Picture
from flambeau.data.loaders import DataLoader
from flambeau.data.normalize import Normalize
from flambeau.data.splitters import IndexSplitter
from flambeau.data.transform import Transform
from flambeau.foundation.errors import ArgumentError, EmptyError, UnknownNameError
from flambeau.vision.tensor_types import TensorImage

VALID = list(range(15, 20))


def numbers_by_parity(**options: Any) -> DataLoaders:
    """Return loaders of the numbers below 20 with their parity."""
    columns = [[float], [lambda i: "odd" if i % 2 else "even", Categorize()]]
    datasets = Datasets(list(range(20)), columns, splits=(list(range(15)), VALID))
    return DataLoaders.from_datasets(datasets, **{"bs": 4, "device": "cpu", **options})


def test_training_is_shuffled_and_full_validation_in_order_and_whole() -> None:
    dls = numbers_by_parity()
    assert [batch.n_items for batch in dls.train] == [4, 4, 4]
    assert [x for batch in dls.valid for x in batch[0].tolist()] == VALID
    assert (dls.train.training, dls.valid.training, len(dls), dls.bs) == (True, False, 2, 4)
    assert (dls.vocab, dls.c, dls.n_inp) == (["even", "odd"], 2, 1)
    assert (len(dls.train_ds), len(dls.valid_ds)) == (15, 5)


def test_no_validation_items_make_no_validation_loader() -> None:
    dls = DataLoaders.from_datasets(Datasets([1.0, 2.0, 3.0], [[float], [float]]), bs=2, device="cpu")
    assert len(dls) == 1
    with pytest.raises(EmptyError, match=r"no validation loader.*Choose a splitter"):
        _ = dls.valid


def test_new_items_are_served_in_order_without_or_with_their_labels() -> None:
    dls = numbers_by_parity(order=lambda n, chance: [0] * n)
    plain, labelled = dls.test_dl([7, 4, 9]), dls.test_dl([7, 4, 9], with_labels=True)
    assert [x.tolist() for batch in plain for x in batch] == [[7, 4, 9]]
    assert [column.tolist() for column in labelled.one_batch()] == [[7, 4, 9], [1, 0, 1]]
    assert [batch.n_items for batch in dls.test_dl(list(range(6)), bs=4)] == [4, 2]
    with pytest.raises(EmptyError, match="no items to predict"):
        dls.test_dl([])
    with pytest.raises(UnknownNameError, match="Did you mean 'shuffle'"):
        dls.test_dl([1], shufle=True)


def test_loaders_that_know_no_items_cannot_take_new_ones() -> None:
    pairs = [(torch.zeros(1), 0)] * 4
    with pytest.raises(ArgumentError, match=r"test_dl needs loaders made from a data block.*get_preds"):
        DataLoaders.from_dsets(pairs, pairs, bs=2, device="cpu").test_dl([1])


def test_new_loaders_keep_everything_but_what_is_named() -> None:
    dls = numbers_by_parity()
    other = dls.new(bs=5)
    assert [loader.bs for loader in other] == [5, 5]
    assert [loader.bs for loader in dls] == [4, 4]
    assert [loader.shuffle for loader in other] == [True, False]
    with pytest.raises(ArgumentError, match="A list cannot be made anew"):
        DataLoaders([(1, 2)]).new(bs=2)


def test_plain_data_sets_lower_a_batch_size_that_nobody_chose(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [(torch.zeros(1), 0)] * 40
    assert [loader.bs for loader in DataLoaders.from_dsets(pairs, pairs[:9], device="cpu")] == [40, 40]
    assert "Only 40 training items: the batch is lowered from 64 to 40." in capsys.readouterr().out
    with pytest.raises(ArgumentError, match="batch of 64 is larger than the data set of 40 items"):
        DataLoaders.from_dsets(pairs, bs=64)
    assert DataLoaders.from_dsets(pairs * 2, device="cpu").bs == 64
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("make", [numbers_by_parity, lambda **options: DataLoaders.from_dsets([(1, 2)] * 9, **options)])
def test_an_unknown_option_proposes_the_nearest(make: Any) -> None:
    with pytest.raises(UnknownNameError, match=r"no option of a loader 'num_worker'. Did you mean 'num_workers'"):
        make(num_worker=2)


def test_plain_data_sets_get_their_transforms_by_either_name() -> None:
    pairs = [(torch.ones(2), 0)] * 6
    dls = DataLoaders.from_dsets(pairs, pairs, bs=3, item_tfms=lambda x: x * 2, device="cpu", shuffle=False)
    assert dls.one_batch()[0].sum() == 12
    assert [loader.shuffle for loader in dls] == [False, False]
    assert [loader.drop_last for loader in dls] == [True, False]


def pictures(n: int, mean: float) -> list[tuple[Tensor, int]]:
    """Return `n` pictures whose pixels have a mean."""
    generator = torch.Generator().manual_seed(0)
    made = [TensorImage(torch.rand(3, 8, 8, generator=generator) * 0.2 + mean - 0.1) for _ in range(n)]
    return [(picture, place % 2) for place, picture in enumerate(made)]


@pytest.mark.parametrize("given", [Normalize, Normalize()])
def test_a_transform_that_learns_sees_a_batch_and_serves_both_halves(given: Any) -> None:
    dls = DataLoaders.from_dsets(pictures(8, 0.5), pictures(8, 0.5), bs=8, after_batch=given, device="cpu")
    assert isinstance(dls.kinds[0], Picture)
    for loader in dls:
        x = loader.one_batch()[0]
        assert abs(float(x.mean())) < 1e-4
        assert abs(float(x.std()) - 1) < 0.05


def test_added_transforms_are_sorted_shared_and_learn() -> None:
    dls = DataLoaders.from_dsets(pictures(8, 0.5), pictures(8, 0.5), bs=8, device="cpu")
    dls.add_tfms([Normalize, Transform(lambda x: x * 2)])
    assert [type(transform) for transform in dls.after_batch] == [Transform, Normalize]
    assert dls[0].after_batch[1] is dls[1].after_batch[1]
    assert abs(float(dls.one_batch()[0].mean())) < 1e-4
    with pytest.raises(ArgumentError, match="'after_item' or 'after_batch', not at 'before_all'"):
        dls.add_tfms([len], "before_all")
    with pytest.raises(ArgumentError, match="Loader 0 is a list"):
        DataLoaders([1]).add_tfms([len])


def test_what_one_pile_of_pictures_taught_does_not_serve_the_next() -> None:
    block = DataBlock(
        (lambda: CategoryBlock(), RegressionBlock), get_x=lambda i: i % 2, get_y=float, splitter=IndexSplitter([0])
    )

    class Learns(Transform):
        seen = 0

        def setups(self, items: Any) -> None:
            self.seen += 1

    learns = Learns()
    block = block.new(batch_tfms=learns)
    made = [block.dataloaders(list(range(9)), bs=4, device="cpu").after_batch[0] for _ in range(2)]
    assert [transform.seen for transform in made] == [1, 1]  # type: ignore[attr-defined]
    assert learns.seen == 0


def test_plain_loaders_say_what_they_do_not_know() -> None:
    dls = DataLoaders([(torch.zeros(4, 2), torch.zeros(4))], device="cpu")
    assert (dls.n_inp, dls.c, dls.one_batch().n_items) == (1, 1, 4)
    with pytest.raises(ArgumentError, match=r"The training loader is a list.*show_images"):
        dls.show_batch()
    with pytest.raises(ArgumentError, match="no vocabulary"):
        _ = dls.vocab
    with pytest.raises(ArgumentError, match="needs at least a training loader"):
        DataLoaders()


def test_batches_move_with_the_loaders() -> None:
    dls = numbers_by_parity().to("meta")
    assert dls.one_batch()[0].device.type == "meta"
    assert dls.cpu().device.type == "cpu"
    assert "15 items" in repr(dls)
    assert "5 items" in repr(dls)


def test_a_loader_class_of_ones_own_is_used() -> None:
    class Mine(DataLoader):
        """A loader of one's own."""

    dls = numbers_by_parity(dl_type=Mine)
    assert type(dls.train) is Mine
    assert type(dls.test_dl([1])) is Mine
