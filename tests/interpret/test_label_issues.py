"""Confident learning: the joint by hand, planted wrong labels found, and silence about what the model has learnt."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch
from test_interpretation import LABELS, learner

from flambeau.foundation.errors import ArgumentError, ShapeError
from flambeau.interpret.interpretation import ClassificationInterpretation
from flambeau.interpret.label_issues import LabelIssues, confident_joint
from flambeau.train.cross_validate import CrossValidation

# thresholds by hand: class 0 (items 0, 1, 2): (0.9 + 0.7 + 0.2) / 3 = 0.6; class 1 (items 3, 4): (0.8 + 0.4) / 2 = 0.6
PROBABILITIES = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.2, 0.8], [0.6, 0.4]])
GIVEN = torch.tensor([0, 0, 0, 1, 1])


def test_the_confident_joint_is_that_of_the_paper() -> None:
    joint, suggested = confident_joint(PROBABILITIES, GIVEN)
    assert suggested.tolist() == [0, 0, 1, 1, 0]
    assert joint.tolist() == [[2, 1], [1, 1]]


def test_an_item_that_reaches_no_threshold_is_counted_nowhere() -> None:
    joint, suggested = confident_joint(torch.tensor([[0.9, 0.1], [0.55, 0.45], [0.3, 0.7]]), torch.tensor([0, 0, 1]))
    assert suggested.tolist() == [0, -1, 1]
    assert int(joint.sum()) == 2


def test_a_class_without_items_is_never_suggested() -> None:
    probabilities = torch.tensor([[0.1, 0.1, 0.8], [0.1, 0.8, 0.1]])
    assert 2 not in confident_joint(probabilities, torch.tensor([0, 1]))[1].tolist()


def test_candidates_come_with_the_most_doubtful_first() -> None:
    found = LabelIssues.from_predictions(PROBABILITIES, GIVEN, ["cat", "dog"], items=list("abcde"))
    assert (found.places, found.labels, found.suggested) == ([2, 4], ["cat", "dog"], ["dog", "cat"])
    assert found.p_label == pytest.approx([0.2, 0.4])
    assert found.to_frame()["item"].tolist() == ["c", "e"]
    # 3 cats, a third of the counted ones off; 2 dogs, half off: (1 + 1) / 5
    assert found.noise == pytest.approx(0.4)
    assert repr(found).startswith("2 candidates for a wrong label among 5 items (40.0%)")
    assert isinstance(found.show(), pd.DataFrame)


def test_one_probability_an_item_is_that_of_the_second_class() -> None:
    found = LabelIssues.from_predictions(PROBABILITIES[:, 1:], GIVEN, ["cat", "dog"])
    assert found.places == [2, 4]


def test_planted_wrong_labels_are_found() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.randint(0, 4, (400,), generator=generator)
    scores = torch.randn(400, 4, generator=generator)
    scores[torch.arange(400), true] += 5
    given = true.clone()
    given[:20] = (true[:20] + 1) % 4
    found = LabelIssues.from_predictions(scores.softmax(1), given, "abcd")
    assert len(set(found.places) & set(range(20))) >= 15
    assert len(found) <= 20
    assert 0.03 < found.noise < 0.07


def test_out_of_fold_predictions_are_taken_where_there_are_any() -> None:
    probabilities = torch.cat([PROBABILITIES, torch.full((1, 2), torch.nan)])
    targets = torch.cat([GIVEN, torch.tensor([-1])])
    validated = torch.tensor([True] * 5 + [False])
    found = CrossValidation([], [], probabilities, targets, validated, {}, ["cat", "dog"])
    assert LabelIssues.from_cross_validation(found).places == [2, 4]
    found.vocab = None
    with pytest.raises(ArgumentError, match="one class each; these have other targets"):
        LabelIssues.from_cross_validation(found)


def test_an_interpretation_names_its_items_and_warns_about_training_ones() -> None:
    found = ClassificationInterpretation.from_learner(learner()).label_issues()
    assert found.warning == ""
    assert {LABELS[place] for place in found.places} >= {"a"}
    assert all(label != other for label, other in zip(found.labels, found.suggested, strict=True))
    trained = ClassificationInterpretation.from_learner(learner(), 0).label_issues()
    assert "the model has learnt from these items" in repr(trained)


@pytest.mark.parametrize(
    ("probabilities", "labels", "error", "words"),
    [
        (torch.rand(4, 3), torch.zeros(4), ShapeError, r"\(items, 2 classes\).*got \(4, 3\) and \(4,\)"),
        (torch.rand(4, 2), torch.zeros(5), ShapeError, r"got \(4, 2\) and \(5,\)"),
        (torch.tensor([[3.0, -2.0]]), torch.zeros(1), ArgumentError, "got -2 to 3. Raw predictions need softmax"),
    ],
)
def test_wrong_predictions_are_told(probabilities: Any, labels: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        LabelIssues.from_predictions(probabilities, labels.long(), ["a", "b"])


def test_nothing_to_show_is_told() -> None:
    sure = LabelIssues.from_predictions(torch.eye(2), torch.tensor([0, 1]), ["a", "b"])
    assert len(sure) == 0
    with pytest.raises(ArgumentError, match="no candidate for a wrong label"):
        sure.show()
