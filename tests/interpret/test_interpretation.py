"""Interpretation: the same numbers as scikit-learn, the right items behind them, and little memory."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from flambeau.data.block import CategoryBlock, DataBlock, MultiCategoryBlock, RegressionBlock, TransformBlock
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.loaders import DataLoader
from flambeau.data.splitters import IndexSplitter
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError
from flambeau.interpret.interpretation import ClassificationInterpretation, Interpretation, SegmentationInterpretation
from flambeau.train.learner import Learner

# scores of each item (as its input), and what it is
SCORES = [[3.0, 0, 0], [0, 3, 0], [0, 1.5, 0], [0, 0, 3], [1, 0, 0], [0, 0, 2], [0, 5, 0], [4, 0, 0], [0, 0, 1]]
LABELS = ["a", "b", "a", "c", "c", "b", "a", "a", "c"]


class Same(nn.Module):
    """Answer with the input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def as_row(item: Any) -> Any:
    return np.array(item[0], dtype=np.float32)


def learner(block: Any = CategoryBlock, labels: Any = None, bs: int = 4, **options: Any) -> Learner:
    """Return a learner whose training and validation items are the nine above, and whose answers are its inputs."""
    items = [(scores, label) for scores, label in zip(SCORES, labels or LABELS, strict=True)] * 2
    data = DataBlock((TransformBlock, block), getters=[as_row, lambda item: item[1]],
                     splitter=IndexSplitter(list(range(9, 18))))  # fmt: skip
    return Learner(data.dataloaders(items, bs=bs, device="cpu"), Same(), **options)


def test_the_confusion_matrix_is_that_of_sklearn() -> None:
    from sklearn.metrics import confusion_matrix

    found = ClassificationInterpretation.from_learner(learner())
    answers = ["abc"[np.argmax(scores)] for scores in SCORES]
    assert found.confusion_matrix().tolist() == confusion_matrix(LABELS, answers).tolist()
    assert found.vocab == ["a", "b", "c"]


def test_most_confused_pairs_come_first() -> None:
    found = ClassificationInterpretation.from_learner(learner())
    assert found.most_confused() == [("a", "b", 2), ("b", "c", 1), ("c", "a", 1)]
    assert found.most_confused(min_val=2) == [("a", "b", 2)]


def test_the_report_has_the_numbers_of_sklearn(capsys: pytest.CaptureFixture[str]) -> None:
    from sklearn.metrics import classification_report

    found = ClassificationInterpretation.from_learner(learner())
    answers = ["abc"[np.argmax(scores)] for scores in SCORES]
    expected = classification_report(LABELS, answers, digits=3)
    assert found.classification_report().split() == expected.split()
    found.print_classification_report()
    assert capsys.readouterr().out.split() == expected.split()


def test_the_largest_losses_come_first_with_their_items() -> None:
    found = Interpretation.from_learner(learner())
    losses, places, items = found.top_losses(3, items=True)
    targets = torch.tensor(["abc".index(label) for label in LABELS])
    by_hand = nn.functional.cross_entropy(torch.tensor(SCORES), targets, reduction="none")
    assert places.tolist() == [6, 5, 2]
    assert torch.allclose(losses, by_hand[places], atol=1e-6)
    assert list(items) == [(SCORES[i], LABELS[i]) for i in (6, 5, 2)]
    assert found.top_losses(1, largest=False)[1].tolist() == [7]
    assert len(found.top_losses()[0]) == 9
    assert len(found.top_losses(99)[0]) == 9


@pytest.mark.parametrize("options", [{"shuffle": True}, {"shuffle": True, "drop_last": True},
                                     {"order": lambda n, chance: reversed(range(n))}])  # fmt: skip
def test_a_loader_in_another_order_names_the_same_items(options: dict[str, Any]) -> None:
    learn = learner()
    found = Interpretation.from_learner(learn, dl=learn.dls.valid.new(**options))
    assert found.top_losses(3)[1].tolist() == [6, 5, 2]
    assert found.item(6) == (SCORES[6], LABELS[6])


def test_the_training_half_can_be_interpreted() -> None:
    found = ClassificationInterpretation.from_learner(learner(), ds_idx=0)
    assert len(found.losses) == 9
    assert found.top_losses(3)[1].tolist() == [6, 5, 2]


def test_probabilities_are_those_of_the_answers() -> None:
    found = Interpretation.from_learner(learner())
    expected = torch.tensor(SCORES, dtype=torch.float32).softmax(1).max(1).values
    assert found.measured.probabilities is not None
    assert torch.allclose(found.measured.probabilities, expected)


def test_inputs_and_predictions_are_not_kept() -> None:
    seen: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    class Watch(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answer = x * 1
            seen.extend([weakref.ref(x), weakref.ref(answer)])
            alive.append(sum(each() is not None for each in seen))
            return answer

    learn = learner(bs=1)
    learn.model = Watch()
    data = [(torch.randn(3), torch.tensor(0)) for _ in range(12)]
    stream = DataLoader(data, 1, device="cpu", cache="none")
    found = Interpretation.from_learner(learn, dl=stream)
    assert len(found.losses) == 12
    assert max(alive) <= 6


def test_plain_loaders_have_losses_but_no_items() -> None:
    batches = [(torch.ones(2, 1), torch.zeros(2, 1)), (torch.zeros(2, 1), torch.zeros(2, 1))]
    learn = Learner(DataLoaders(batches, batches, device="cpu"), Same(), loss_func=nn.functional.mse_loss)
    found = Interpretation.from_learner(learn)
    assert found.losses.tolist() == [1, 1, 0, 0]
    with pytest.raises(ArgumentError, match="plain loader"):
        found.item(0)


def test_a_loss_that_cannot_tell_items_apart_is_told() -> None:
    learn = learner(loss_func=lambda pred, target: pred.mean())
    with pytest.raises(ArgumentError, match="loss of a single item is unknown"):
        Interpretation.from_learner(learn)


def test_numbers_have_top_losses_and_a_table_of_results() -> None:
    learn = learner(RegressionBlock, labels=[[float(sum(s)), 0.0, 0.0] for s in SCORES])
    found = Interpretation.from_learner(learn)
    losses, places = found.top_losses(2)
    assert (losses[0].item(), places[0].item()) == (pytest.approx((5**2 + 5**2) / 3), 6)  # (0, 5, 0) for (5, 0, 0)
    table = found.plot_top_losses(2)
    assert list(table.columns) == ["input 1", "actual", "predicted", "note"]
    with pytest.raises(ArgumentError, match="target is a Number"):
        ClassificationInterpretation.from_learner(learn)


def test_several_labels_have_top_losses() -> None:
    learn = learner(MultiCategoryBlock, labels=[[label, "c"] for label in LABELS])
    found = Interpretation.from_learner(learn)
    assert len(found.top_losses()[0]) == 9
    with pytest.raises(ArgumentError, match="target is a MultiCategory"):
        ClassificationInterpretation.from_learner(learn)


def picture_learner(folder: Path) -> Learner:
    from flambeau.vision.data_loaders import ImageDataLoaders
    from flambeau.vision.resize import Resize

    chance = np.random.default_rng(0)
    for label, channel in (("red", 0), ("blue", 2)):
        (folder / label).mkdir(parents=True)
        for i in range(6):
            pixels = chance.integers(0, 90, (16, 16, 3), dtype=np.uint8)
            pixels[..., channel] += 120
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
    dls = ImageDataLoaders.from_folder(folder, valid_pct=0.5, seed=1, bs=4, item_tfms=Resize(16), device="cpu")
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    return Learner(dls, net, metrics="accuracy", path=folder)


def test_plots_are_drawn_to_files(tmp_path: Path) -> None:
    found = ClassificationInterpretation.from_learner(picture_learner(tmp_path / "pictures"))
    for drawing in (
        found.plot_confusion_matrix(),
        found.plot_confusion_matrix(normalize=True, figsize=(3, 3), cmap="Greens"),
        found.plot_top_losses(4, nrows=2),
        found.show_results([0, 1]),
    ):
        assert isinstance(drawing, Drawing)
        assert drawing.save(tmp_path / "plot.png").stat().st_size > 1000
        drawing.close()


def test_the_confusion_matrix_shows_counts_or_shares() -> None:
    found = ClassificationInterpretation.from_learner(learner())
    counts = found.plot_confusion_matrix()
    assert [t.get_text() for t in counts.axes[0].texts] == ["2", "2", "1", "1", "1", "2"]
    shares = found.plot_confusion_matrix(normalize=True, norm_dec=1, plot_txt=True)
    assert [t.get_text() for t in shares.axes[0].texts] == ["0.5", "0.5", "0.5", "0.5", "0.3", "0.7"]
    bare = found.plot_confusion_matrix(plot_txt=False)
    assert not bare.axes[0].texts
    for drawing in (counts, shares, bare):
        drawing.close()


def test_top_losses_tell_loss_and_probability(tmp_path: Path) -> None:
    learn = picture_learner(tmp_path / "pictures")
    drawing = ClassificationInterpretation.from_learner(learn).plot_top_losses(2)
    titles = [ax.get_title() for ax in drawing.axes]
    assert all("loss " in title and "sure " in title for title in titles[:2])
    drawing.close()


def test_a_huge_loss_stays_within_the_title_of_its_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Interpretation.from_learner(learner())
    found.losses[:2] = torch.tensor([1.25e9, 7.0])
    notes: list[str] = []
    monkeypatch.setattr(Interpretation, "show_results", lambda self, idxs, notes, **options: notes)
    notes = found.plot_top_losses(2)
    assert [words.split(",")[0] for words in notes] == ["loss 1.25e+09", "loss 7.00"]


def test_nothing_to_show_is_told() -> None:
    with pytest.raises(ArgumentError, match="no places"):
        Interpretation.from_learner(learner()).show_results([])


def test_pixels_of_masks_are_counted() -> None:
    from flambeau.data.kinds import Mask, Plain

    class Masks:
        kinds = (Plain(), Mask(("sky", "sea")))
        n_inp = 1

        def __len__(self) -> int:
            return 2

        def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
            scores = torch.tensor([[[9.0, 0.0]], [[0.0, 9.0]]])  # (class, 1, 2): sky, sea
            return scores, torch.tensor([[0, i]])

    loaders = [DataLoader(Masks(), 2, device="cpu") for _ in range(2)]
    found = SegmentationInterpretation.from_learner(Learner(DataLoaders(*loaders), Same()))
    assert found.confusion_matrix().tolist() == [[2, 1], [0, 1]]
    assert found.vocab == ["sky", "sea"]
    assert found.losses.shape == (2,)


def test_metrics_and_callbacks_of_the_learner_are_as_before() -> None:
    learn = learner(metrics="accuracy")
    cbs = list(learn.cbs)
    Interpretation.from_learner(learn)
    assert [metric.name for metric in learn.metrics] == ["accuracy"]
    assert learn.cbs == cbs




@pytest.mark.parametrize("n", [12, 77])
def test_a_confusion_matrix_of_many_classes_keeps_its_names_apart(n: int) -> None:
    names = [f"{place:02} a rather long name of a class"[: 12 + place % 20] for place in range(n)]
    labels = [names[place % n] for place in range(2 * n)]
    block = DataBlock((TransformBlock(), CategoryBlock(vocab=names)), get_y=lambda at: labels[at],
                      get_x=lambda at: torch.zeros(2), splitter=IndexSplitter(range(n, 2 * n)))  # fmt: skip
    learn = Learner(block.dataloaders(list(range(2 * n)), bs=n, device="cpu"), nn.Linear(2, n))
    drawing = ClassificationInterpretation.from_learner(learn).plot_confusion_matrix()
    drawing.figure.canvas.draw()
    ax = drawing.axes[0]
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert [label.get_text() for label in ax.get_yticklabels()] == names
    heights, step = [box.height for box in boxes], abs(boxes[1].y0 - boxes[0].y0)
    assert max(heights) < 1.35 * step
    assert all(label.get_fontsize() > 5 for label in ax.get_yticklabels())
    assert bool(ax.texts) == (n == 12)
    assert len(drawing.axes) == (1 if n == 12 else 2)  # colours instead of numbers need a scale
    drawing.close()
