"""Each item is predicted once, by a learner that never saw it; a fold repeats with its seed; a misuse is told."""

from __future__ import annotations

import math
import statistics
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from small_learners import sign_items
from torch import nn
from torch.utils.data import DataLoader as TorchLoader
from torch.utils.data import TensorDataset

from flambeau.data.block import CategoryBlock, DataBlock, RegressionBlock, TransformBlock
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.splitters import EndSplitter, IndexSplitter, KFoldSplitter, RandomSplitter
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError, LabelError, ShapeError
from flambeau.foundation.lists import L
from flambeau.nn.metrics import accuracy
from flambeau.train.cross_validate import CrossValidation, Fold, cross_validate
from flambeau.train.learner import Learner

ITEMS = sign_items(30)


def block(splitter: Any) -> DataBlock:
    return DataBlock((TransformBlock(type_tfms=torch.tensor), CategoryBlock), get_x=lambda item: item[0],
                     get_y=lambda item: item[1], splitter=splitter)  # fmt: skip


def make_learner(fold: Fold) -> Learner:
    """Return a learner of the sign of a number, as a user would make it."""
    dls = block(fold).dataloaders(ITEMS, bs=5, device="cpu")
    return Learner(dls, nn.Linear(2, 2), metrics=accuracy)


def run(folds: Any = 3, make: Callable[[Fold], Any] = make_learner, items: Any = ITEMS, **options: Any) -> Any:
    settings: dict[str, Any] = {"train": lambda learn: learn.fit(2, 0.1), "verbose": False, **options}
    return cross_validate(make, items, folds, **settings)


# ---- what comes out


def test_every_item_has_one_prediction_in_the_items_order() -> None:
    found = run(KFoldSplitter(3, stratify=[label for _, label in ITEMS]))
    assert found.predictions.shape == (30, 2)
    assert torch.allclose(found.predictions.sum(1), torch.ones(30))
    assert found.validated.all()
    assert [found.vocab[target] for target in found.targets] == [label for _, label in ITEMS]
    assert sorted(place for fold in found.folds for place in fold.valid) == list(range(30))


def test_each_prediction_is_that_of_a_learner_which_did_not_see_the_item() -> None:
    class Told(nn.Module):
        """Answer with the number of the fold."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number, self.weight = number, nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.weight + torch.full((len(x), 2), float(self.number))

    def make(fold: Fold) -> Learner:
        dls = block(fold).dataloaders(ITEMS, bs=5, device="cpu")
        return Learner(dls, Told(fold.number), loss_func=lambda pred, y: pred.sum())

    found = run(make=make, train=lambda learn: None)
    for fold in found.folds:
        assert found.predictions[list(fold.valid)].unique().tolist() == [fold.number]
        assert set(fold.train).isdisjoint(fold.valid)


def test_mean_and_spread_are_those_of_the_folds() -> None:
    found = run()
    values = [row["accuracy"] for row in found.rows]
    assert found.mean("accuracy") == pytest.approx(statistics.mean(values))
    assert found.std("accuracy") == pytest.approx(statistics.stdev(values))
    assert found.standard_error("accuracy") == pytest.approx(statistics.stdev(values) / math.sqrt(3))
    assert found.summary().loc["accuracy", "mean"] == pytest.approx(statistics.mean(values))


def test_the_pooled_values_are_over_all_predictions_at_once() -> None:
    found = run([(list(range(5, 30)), list(range(5))), (list(range(5)), list(range(5, 30)))])
    right = (found.predictions.argmax(1) == found.targets).float().mean()
    loss = nn.functional.nll_loss(found.predictions.log(), found.targets)
    assert found.pooled["accuracy"] == pytest.approx(float(right))
    assert found.pooled["valid_loss"] == pytest.approx(float(loss), rel=1e-5)
    assert found.pooled["accuracy"] != pytest.approx(found.mean("accuracy"))


def test_a_seed_repeats_each_fold_and_puts_chance_back() -> None:
    torch.manual_seed(7)
    first, after = run(seed=3), torch.rand(1)
    torch.manual_seed(7)
    assert torch.rand(1) == after
    torch.manual_seed(8)
    assert torch.equal(run(seed=3).predictions, first.predictions)
    assert not torch.equal(run(seed=4).predictions, first.predictions)


def test_learners_are_let_go_between_folds() -> None:
    made: list[weakref.ref[Learner]] = []

    def make(fold: Fold) -> Learner:
        assert all(ref() is None for ref in made)
        learn = make_learner(fold)
        made.append(weakref.ref(learn))
        return learn

    run(make=make)
    assert len(made) == 3
    assert all(ref() is None for ref in made)


def test_groups_stay_together_and_rows_of_a_table_are_given() -> None:
    frame = pd.DataFrame({"group": [row // 3 for row in range(24)], "x": np.linspace(-1, 1, 24)})

    def make(fold: Fold) -> Learner:
        assert set(fold.train_items["group"]).isdisjoint(fold.valid_items["group"])
        sets = [TensorDataset(torch.tensor(part["x"].to_numpy(np.float32))[:, None],
                              torch.tensor(part["x"].to_numpy(np.float32))[:, None] * 2)
                for part in (fold.train_items, fold.valid_items)]  # fmt: skip
        return Learner(DataLoaders.from_dsets(*sets, bs=4, device="cpu"), nn.Linear(1, 1), nn.functional.mse_loss)

    found = run(KFoldSplitter(4, groups="group"), make, frame)
    assert torch.allclose(found.targets[:, 0], torch.tensor(frame["x"].to_numpy(np.float32)) * 2)
    assert found.vocab is None


@pytest.mark.parametrize("items", [torch.arange(12.0), np.arange(12.0), [*range(12)]], ids=["tensor", "array", "list"])
def test_a_fold_gives_items_of_the_class_that_came(items: Any) -> None:
    fold = Fold(0, 2, L([4, 5]), L([1]), items)
    assert type(fold.train_items) in (type(items), L)
    assert [float(item) for item in fold.train_items] == [4, 5]


def test_items_that_no_fold_validates_have_no_prediction() -> None:
    by_time = [(list(range(start)), list(range(start, start + 10))) for start in (10, 20)]
    found = run(by_time)
    assert found.predictions[:10].isnan().all()
    assert found.targets[:10].tolist() == [-1] * 10
    assert found.validated.tolist() == [False] * 10 + [True] * 20
    assert "20 of 30 items validated" in repr(found)


def test_a_result_reads_as_table_text_and_picture(capsys: pytest.CaptureFixture[str]) -> None:
    found = run(verbose=True)
    assert list(found.to_frame().columns) == ["n_train", "n_valid", "valid_loss", "accuracy", "seconds"]
    assert found.to_frame()["n_valid"].tolist() == [10, 10, 10]
    assert "standard error" in repr(found)
    assert "<table" in found._repr_html_()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("fold 0 (of 3): valid_loss ")
    drawing = found.plot()
    assert isinstance(drawing, Drawing)
    drawing.close()
    with pytest.raises(ArgumentError, match=r"no 'acuracy' among what was measured: valid_loss, accuracy"):
        found.mean("acuracy")


def test_several_outputs_are_put_together_each() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> dict[str, Any]:
            return {"scores": self.layer(x), "pair": (x[:, 0], x)}

    def make(fold: Fold) -> Learner:
        dls = block(fold).dataloaders(ITEMS, bs=5, device="cpu")
        return Learner(dls, Two(), loss_func=lambda pred, y: nn.functional.cross_entropy(pred["scores"], y))

    found = run(make=make)
    xs = torch.tensor([numbers for numbers, _ in ITEMS])
    assert torch.equal(found.predictions["pair"][1], xs)
    assert torch.equal(found.predictions["pair"][0], xs[:, 0])


# ---- misuse


def other_split(fold: Fold) -> Learner:
    return Learner(block(RandomSplitter(0.34, seed=1)).dataloaders(ITEMS, bs=5, device="cpu"), nn.Linear(2, 2))


def test_a_learner_that_ignores_its_fold_is_told() -> None:
    with pytest.raises(ArgumentError, match=r"fold 0 validates other items than the fold.*splitter=fold") as caught:
        run(make=other_split)
    assert caught.value.__notes__ == ["This was fold 0 (of 3, counted from 0)."]


def learner_of(items: Any, getters: Callable[[Fold], DataBlock] = block) -> Callable[[Fold], Learner]:
    return lambda fold: Learner(getters(fold).dataloaders(items, bs=5, device="cpu"), nn.Linear(2, 2))


def test_the_same_items_in_another_order_and_other_items_are_told() -> None:
    for items in (ITEMS[::-1], [([9.0, 9.0], label) for _, label in ITEMS]):
        with pytest.raises(ArgumentError, match=r"validates other items than the fold.*the same items in the same"):
            run(make=learner_of(items))


@pytest.mark.parametrize("kind", ["paths", "texts", "tensors"])
def test_files_texts_and_tensors_in_another_order_are_told(kind: str) -> None:
    names = [f"{'plus' if number % 2 else 'minus'}/{number}.png" for number in range(30)]
    items: list[Any] = {
        "paths": [Path("data") / name for name in names], "texts": names, "tensors": [*torch.arange(30.0)],
    }[kind]  # fmt: skip

    def of(fold: Any) -> DataBlock:
        return DataBlock((TransformBlock, CategoryBlock), get_x=lambda item: torch.zeros(2),
                         get_y=lambda item: ("plus", "minus")[len(str(item)) % 2], splitter=fold)  # fmt: skip

    def fitting(fold: Fold, own: Any) -> Learner:
        return Learner(of(fold).dataloaders(own, bs=5, device="cpu"), nn.Linear(2, 1), lambda pred, y: pred.sum())

    with pytest.raises(ArgumentError, match="validates other items than the fold"):
        run(make=lambda fold: fitting(fold, items[::-1]), items=items)
    assert run(make=lambda fold: fitting(fold, [*items]), items=items).validated.all()
    if kind == "paths":  # the name of a file and its path are one item
        assert run(make=lambda fold: fitting(fold, items), items=names).validated.all()


def test_a_table_that_was_sorted_and_numbered_anew_is_told_and_a_cleaned_one_is_not() -> None:
    frame = pd.DataFrame({"x": [float((7 * row) % 30) for row in range(30)], "y": ["plus", "minus"] * 15})

    def make(own: pd.DataFrame) -> Callable[[Fold], Learner]:
        def of(fold: Any) -> DataBlock:
            return DataBlock((TransformBlock, CategoryBlock), get_x=lambda row: torch.full((2,), row["x"]).float(),
                             get_y=lambda row: row["y"], splitter=fold)  # fmt: skip

        return learner_of(own, of)

    with pytest.raises(ArgumentError, match="validates other items than the fold"):
        run(make=make(frame.sort_values("x", ignore_index=True)), items=frame)
    with pytest.raises(ArgumentError, match="validates other items than the fold"):
        run(make=make(pd.DataFrame({"x": frame["x"] + 100, "y": frame["y"].map(str.upper)})), items=frame)
    assert run(make=make(frame.assign(x=frame["x"] / 30)), items=frame).validated.all()


def test_only_the_first_of_several_processes_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    run(verbose=True)
    assert "fold 0" not in capsys.readouterr().out


def test_a_learner_or_model_that_comes_again_is_told() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(ArgumentError, match="For fold 1, make_learner returned a learner or model of an earlier fold"):
        run(make=lambda fold: Learner(block(fold).dataloaders(ITEMS, bs=5, device="cpu"), model))


def test_training_on_the_validation_items_is_told() -> None:
    def make(fold: Fold) -> Learner:
        everything = block(lambda items: (list(range(30)), fold.valid))
        return Learner(everything.dataloaders(ITEMS, bs=5, device="cpu"), nn.Linear(2, 2))

    with pytest.raises(ArgumentError, match="trains on items that it validates"):
        run(make=make)


def test_a_plain_loader_must_give_each_item_in_order() -> None:
    x, y = torch.rand(30, 2), torch.zeros(30, dtype=torch.long)

    def make(fold: Fold, **options: Any) -> Learner:
        valid = TorchLoader(TensorDataset(x[list(fold.valid)], y[list(fold.valid)]), 4, **options)
        return Learner(DataLoaders([(x, y)], valid, device="cpu"), nn.Linear(2, 2), nn.functional.cross_entropy)

    with pytest.raises(ArgumentError, match="validation loader shuffles"):
        run(make=lambda fold: make(fold, shuffle=True))
    with pytest.raises(ArgumentError, match="gave 8 predictions for the 10 items that validate"):
        run(make=lambda fold: make(fold, drop_last=True))
    assert run(make=make).predictions.shape == (30, 2)


@pytest.mark.parametrize(
    ("folds", "words"),
    [
        (1, "2 or more"),
        (True, "2 or more"),
        (RandomSplitter(), "gives one split; cross-validation needs several. Use KFoldSplitter"),
        (IndexSplitter([1]), "gives one split"),
        ([([0, 1], [2])], "needs at least 2 folds, got 1"),
        ([([0, 1], [2]), ([0, 1], [2])], "position 2 validates in fold 0 and in fold 1"),
        ([([0, 1], [1]), ([0], [2])], "trains and validates on 1 same items, such as position 1"),
        ([([0, 1], []), ([0], [2])], "The validation half of fold 0 is empty"),
        ([([], [2]), ([0], [1])], "The training half of fold 0 is empty"),
        ([[0, 1, 2], [3, 4, 5]], r"Fold 0 must be two lists of positions, \(train, valid\)"),
        ([([0], [99]), ([0], [1])], "names position 99, but there are 30 items"),
    ],
)
def test_folds_that_make_no_sense_are_told(folds: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        run(folds)


def test_other_wrong_arguments_are_told() -> None:
    with pytest.raises(ArgumentError, match="items must have a length, and a generator has none"):
        run(items=(item for item in ITEMS))
    with pytest.raises(ArgumentError, match="make_learner must return a Learner, got a Linear"):
        run(make=lambda fold: nn.Linear(1, 1))
    with pytest.raises(ArgumentError, match="Fold 0 was cut from 30 items, and is asked to split 5"):
        run(make=lambda fold: block(fold).dataloaders(ITEMS[:5]))


def test_a_class_that_only_one_fold_holds_is_told_with_the_fold() -> None:
    items = [(numbers, "rare" if place == 4 else label) for place, (numbers, label) in enumerate(ITEMS)]

    def make(fold: Fold) -> Learner:
        return Learner(block(fold).dataloaders(items, bs=5, device="cpu"), nn.Linear(2, 3))

    with pytest.raises(LabelError, match="'rare'") as caught:
        run(make=make, items=items)
    assert "counted from 0" in caught.value.__notes__[0]


def test_learners_of_different_classes_cannot_be_pooled() -> None:
    def make(fold: Fold) -> Learner:
        vocab = ["minus", "plus"] if fold.number else ["plus", "minus"]
        named = DataBlock((TransformBlock(type_tfms=torch.tensor), CategoryBlock(vocab, sort=False)),
                          get_x=lambda item: item[0], get_y=lambda item: item[1], splitter=fold)  # fmt: skip
        return Learner(named.dataloaders(ITEMS, bs=5, device="cpu"), nn.Linear(2, 2))

    with pytest.raises(ArgumentError, match=r"Fold 1 has the classes \['minus', 'plus'\], and the folds before it"):
        run(make=make)


def test_predictions_of_different_widths_cannot_be_pooled() -> None:
    def make(fold: Fold) -> Learner:
        numbers = DataBlock((TransformBlock(type_tfms=torch.tensor), RegressionBlock),
                            get_x=lambda item: item[0], get_y=lambda item: 1.0, splitter=fold)  # fmt: skip
        dls = numbers.dataloaders(ITEMS, bs=5, device="cpu")
        return Learner(dls, nn.Linear(2, 1 + fold.number), loss_func=lambda pred, y: pred.sum())

    with pytest.raises(ShapeError, match=r"Fold 1 predicts \(2,\) for each item, and the folds before it \(1,\)"):
        run(make=make)


# ---- real data


def test_titanic_reaches_its_usual_accuracy_with_families_kept_together(shared_data: Path) -> None:
    frame = pd.read_csv(shared_data / "tabular" / "titanic.csv")
    frame["family"] = frame["Name"].str.split(",").str[0]

    def numbers(rows: pd.DataFrame) -> TensorDataset:
        columns = {
            "man": rows["Sex"].eq("male"), "age": rows["Age"].fillna(28) / 30, "fare": np.log1p(rows["Fare"]) / 3,
            "class": rows["Pclass"] - 2, "siblings": rows["SibSp"], "parents": rows["Parch"],
        }  # fmt: skip
        table = pd.DataFrame(columns).to_numpy(np.float32)
        return TensorDataset(torch.from_numpy(table), torch.tensor(rows["Survived"].to_numpy()))

    def make(fold: Fold) -> Learner:
        dls = DataLoaders.from_dsets(numbers(fold.train_items), numbers(fold.valid_items), bs=64, device="cpu")
        model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2))
        return Learner(dls, model, nn.CrossEntropyLoss(), metrics=accuracy)

    found: CrossValidation = run(KFoldSplitter(5, groups="family"), make, frame,
                                 train=lambda learn: learn.fit_one_cycle(8, 1e-2))  # fmt: skip
    assert 0.77 < found.mean("accuracy") < 0.86
    assert 0.005 < found.std("accuracy") < 0.07
    assert found.validated.all()


def test_a_single_splitter_is_no_list_of_folds_but_its_split_may_stand_in_one() -> None:
    late = EndSplitter(0.2)(ITEMS)
    early = EndSplitter(0.2, valid_last=False)(ITEMS)
    assert run([late, early]).validated.sum() == 12
