"""Ensembles: averages worked out by hand, members that do not fit, the gain, and an export that predicts the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_learners import line_learner, sign_items, sign_learner, sign_loaders
from torch import Tensor, nn

from flambeau.data.block import CategoryBlock, DataBlock, TransformBlock
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.splitters import IndexSplitter
from flambeau.foundation.errors import ArgumentError, ExportError
from flambeau.interpret.interpretation import ClassificationInterpretation
from flambeau.nn.losses import BCEWithLogitsLossFlat, LabelSmoothingCrossEntropy
from flambeau.nn.metrics import accuracy, accuracy_multi
from flambeau.train.ensemble import Ensemble, bag
from flambeau.train.export import read_export
from flambeau.train.learner import Learner
from flambeau.train.load_learner import load_learner
from flambeau.train.predictor import Predictor

ROOT = Path(__file__).resolve().parents[2]


class Fixed(nn.Module):
    """Answer every item with the same logits."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.expand(len(x), -1)


def fixed(*probabilities: float, **options: Any) -> Learner:
    """Return a learner of signs whose probabilities are always these."""
    return sign_learner(model=Fixed(*torch.tensor(probabilities).log().tolist()), metrics=[accuracy], **options)


def trained(width: int, seed: int, **options: Any) -> Learner:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 2))
    learn = sign_learner(model=model, metrics=["accuracy"], **options)
    learn.model.load_state_dict({k: v + 0.3 * torch.randn(v.shape) for k, v in model.state_dict().items()})
    with learn.no_logging():
        learn.fit(3, 0.05)
    return learn


@pytest.fixture(scope="module")
def pair() -> Ensemble:
    return Ensemble([trained(4, 0), trained(8, 1, loss_func=LabelSmoothingCrossEntropy())])


def test_probabilities_are_averaged() -> None:
    ensemble = Ensemble([fixed(0.9, 0.1), fixed(0.5, 0.5)])
    preds, targets = ensemble.get_preds()
    assert torch.allclose(preds, torch.tensor([0.7, 0.3]).expand(8, 2))
    assert torch.equal(targets, fixed(0.5, 0.5).get_preds()[1])


def test_weights_are_shares() -> None:
    ensemble = Ensemble([fixed(0.9, 0.1), fixed(0.5, 0.5)], weights=[3, 1])
    assert ensemble.weights == [0.75, 0.25]
    assert torch.allclose(ensemble.get_preds()[0][0], torch.tensor([0.8, 0.2]))
    assert torch.allclose(ensemble.predict([0.0, 0.0])[2], torch.tensor([0.8, 0.2]))


def test_the_loss_is_that_of_the_average() -> None:
    ensemble = Ensemble([fixed(0.9, 0.1), fixed(0.5, 0.5)])
    targets = ensemble.get_preds()[1]
    share = float((targets == 0).float().mean())
    expected = -(share * torch.tensor(0.7).log() + (1 - share) * torch.tensor(0.3).log())
    loss, right = ensemble.validate()
    assert loss == pytest.approx(float(expected), rel=1e-5)
    assert right == pytest.approx(share)
    _, _, answers, losses = ensemble.get_preds(with_decoded=True, with_loss=True)
    assert answers.tolist() == [0] * 8
    assert float(losses.mean()) == pytest.approx(loss)


def test_a_lone_member_answers_as_the_learner_does() -> None:
    learn = trained(4, 0)
    ensemble = Ensemble([learn])
    assert torch.allclose(ensemble.get_preds()[0], learn.get_preds()[0])
    assert ensemble.validate() == pytest.approx(list(learn.validate()), rel=1e-4)
    label, index, raw = ensemble.predict([1.0, 0.5])
    expected = learn.predict([1.0, 0.5])
    assert (label, int(index)) == (expected[0], int(expected[1]))
    assert torch.allclose(raw, expected[2])


def many_labels(*logits: float) -> Learner:
    batches = [(torch.zeros(4, 1), torch.tensor([[1.0, 0.0, 1.0]] * 4))] * 2
    dls = DataLoaders(batches, batches, device="cpu")
    return Learner(dls, Fixed(*logits), BCEWithLogitsLossFlat(), metrics=[accuracy_multi])


def test_labels_and_numbers_are_averaged_too() -> None:
    ensemble = Ensemble([many_labels(4.0, -4.0, 0.0), many_labels(0.0, 0.0, -4.0)])
    expected = (torch.tensor([4.0, -4.0, 0.0]).sigmoid() + torch.tensor([0.0, 0.0, -4.0]).sigmoid()) / 2
    assert torch.allclose(ensemble.get_preds()[0][0], expected)
    assert ensemble.validate()[1] == pytest.approx(2 / 3)  # the third label is missed
    lines = [line_learner(), line_learner()]
    nn.init.constant_(lines[0].model.bias, 1.0)
    both = (lines[0].get_preds()[0] + lines[1].get_preds()[0]) / 2
    assert torch.allclose(Ensemble(lines).get_preds()[0], both)
    assert Ensemble(lines).validate()[0] == pytest.approx(float(((both - lines[0].get_preds()[1]) ** 2).mean()))


def test_members_prepare_the_items_of_a_loader_in_their_own_way() -> None:
    def scaled(factor: float) -> Learner:
        block = DataBlock(
            blocks=(TransformBlock(type_tfms=[torch.tensor, lambda x: x * factor]), CategoryBlock),
            get_x=lambda item: item[0] if isinstance(item, tuple) else item,
            get_y=lambda item: item[1],
            splitter=IndexSplitter([0, 1, 2]),
        )
        dls = block.dataloaders(sign_items(), bs=4, device="cpu")
        torch.manual_seed(0)
        return Learner(dls, nn.Linear(2, 2), metrics=[accuracy])

    one, other = scaled(1.0), scaled(5.0)
    ensemble = Ensemble([one, other])
    items = sign_items()[:5]
    expected = [member.get_preds(dl=member.dls.test_dl(items, with_labels=True))[0] for member in (one, other)]
    assert not torch.allclose(expected[0], expected[1])
    preds, targets = ensemble.get_preds(dl=ensemble.dls.test_dl(items, with_labels=True))
    assert torch.allclose(preds, (expected[0] + expected[1]) / 2)
    assert len(targets) == 5
    assert ensemble.get_preds(dl=ensemble.dls.test_dl([x for x, _ in items]))[1] is None
    with pytest.raises(ArgumentError, match="no targets to compare with"):
        ensemble.validate(dl=ensemble.dls.test_dl([x for x, _ in items]))


# members that do not fit


def test_members_must_be_learners_with_weights() -> None:
    learn = fixed(0.5, 0.5)
    for words, members, weights in (
        ("an empty list", [], None),
        ("An ensemble is a list of learners", ["learn.pkl"], None),
        ("2 members but 1 weights", [learn, learn], [1.0]),
        ("Weights are numbers of 0 or more", [learn, learn], [1.0, -1.0]),
        ("not all of them 0", [learn, learn], [0, 0]),
        ("Weights are numbers", [learn, learn], [float("nan"), 1]),
    ):
        with pytest.raises(ArgumentError, match=words):
            Ensemble(members, weights)


def with_vocab(vocab: list[str], items: Any = None) -> Learner:
    block = DataBlock(
        blocks=(TransformBlock(type_tfms=torch.tensor), CategoryBlock(vocab=vocab, sort=False)),
        get_x=lambda item: item[0],
        get_y=lambda item: item[1],
        splitter=IndexSplitter([0, 1, 2, 3]),
    )
    return Learner(block.dataloaders(items or sign_items(), bs=4, device="cpu"), nn.Linear(2, len(vocab)))


def test_classes_must_be_the_same_in_the_same_order() -> None:
    first = with_vocab(["minus", "plus"])
    with pytest.raises(ArgumentError, match=r"Members 0 and 1 .* in another order \(\['minus', 'plus'\] and"):
        Ensemble([first, with_vocab(["plus", "minus"])])
    with pytest.raises(ArgumentError, match=r"only the first knows: \[\]; that only the other knows: \['zero'\]"):
        Ensemble([first, with_vocab(["minus", "plus", "zero"])])
    with pytest.raises(ArgumentError, match="answer different questions"):
        Ensemble([first, line_learner()])


def test_probabilities_and_raw_numbers_are_not_mixed() -> None:
    raw = fixed(0.5, 0.5, loss_func=lambda pred, target: pred.sum())
    with pytest.raises(ArgumentError, match=r"Member 0 answers with probabilities of classes .* member 1 with numbers"):
        Ensemble([fixed(0.5, 0.5), raw])


def test_different_validation_items_are_told() -> None:
    other = with_vocab(["minus", "plus"], sign_items()[::-1])
    with pytest.raises(ArgumentError, match="Members 0 and 1 see different targets"):
        Ensemble([with_vocab(["minus", "plus"]), other]).get_preds()


# the gain


def test_the_report_sets_each_member_against_the_ensemble(pair: Ensemble) -> None:
    report = pair.report(n_resamples=50)
    assert list(report.index) == ["0 Sequential", "1 Sequential", "ensemble"]
    assert report.loc["ensemble", ["loss", "accuracy"]].tolist() == pytest.approx(pair.validate())
    own = report.iloc[0]
    assert own["loss gain"] == pytest.approx(own["loss"] - report.loc["ensemble", "loss"])
    assert own["accuracy gain"] == pytest.approx(report.loc["ensemble", "accuracy"] - own["accuracy"])
    for name in ("loss", "accuracy"):
        assert (report[f"{name} low"][:2] <= report[f"{name} gain"][:2] + 0.1).all()
        assert (report[f"{name} low"][:2] <= report[f"{name} high"][:2]).all()
    assert pair.report(n_resamples=50).equals(report)


def test_the_gain_over_oneself_is_nothing() -> None:
    learn = trained(4, 0)
    report = Ensemble([learn, learn]).report(n_resamples=20)
    for column in ("loss gain", "loss low", "loss high", "accuracy gain", "accuracy low", "accuracy high"):
        assert report[column][:2].tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def test_a_sure_gain_has_an_interval_above_zero() -> None:
    right = sign_learner(model=nn.Linear(2, 2), metrics=[accuracy])
    with torch.no_grad():
        right.model.weight.copy_(torch.tensor([[-9.0, 0.0], [9.0, 0.0]]))
        right.model.bias.zero_()
    report = Ensemble([right, fixed(0.5, 0.5)], [0.9, 0.1]).report(n_resamples=50)
    assert report["loss low"].iloc[1] > 0
    assert report["loss high"].iloc[0] < 0


# bags


def test_bags_train_on_samples_of_their_own() -> None:
    seen: list[list[int]] = []

    def train(learn: Learner) -> None:
        seen.append(sorted(int(i) for batch in learn.dls.train for i in batch.indices))

    ensemble = bag(sign_loaders(24, bs=2), lambda dls: Learner(dls, nn.Linear(2, 2)), train, n=3, seed=5)
    assert len(ensemble) == 3
    assert seen == [sorted(member.dls.train.order.drawn(16)) for member in ensemble.members]
    assert len({tuple(indices) for indices in seen}) == 3
    assert len(ensemble.get_preds()[0]) == 8
    with pytest.raises(ArgumentError, match="bag needs a number of learners"):
        bag(sign_loaders(), lambda dls: Learner(dls, nn.Linear(2, 2)), train, n=0)


def test_training_items_are_predicted_whole_also_in_a_bag() -> None:
    ensemble = bag(sign_loaders(24, bs=2), lambda dls: Learner(dls, nn.Linear(2, 2)), lambda learn: None, n=1)
    assert len(ensemble[0].get_preds(ds_idx=0)[0]) == 16
    assert torch.equal(ensemble[0].get_preds(ds_idx=0)[1], sign_learner(24).get_preds(ds_idx=0)[1])


# keeping


def test_an_export_predicts_the_same_in_a_fresh_process(pair: Ensemble, tmp_path: Path) -> None:
    weighted = Ensemble(pair.members, [0.8, 0.2])
    points = [[0.3, -1.0], [-2.0, 0.5], [0.01, 0.0]]
    transforms = {"tensor": torch.tensor}
    file = weighted.export(tmp_path / "two.safetensors")
    code = f"""
import json, torch
from flambeau.train.load_learner import load_learner
learn = load_learner({str(file)!r}, transforms={{"tensor": torch.tensor}})
print(type(learn).__name__, learn.weights)
print(json.dumps(learn.get_preds(dl=learn.dls.test_dl({points}))[0].tolist()))
print(learn.predict({points[0]})[0])
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kind, numbers, label = done.stdout.splitlines()[-3:]
    assert kind == "Ensemble [0.8, 0.2]"
    expected = weighted.get_preds(dl=weighted.dls.test_dl(points))[0]
    assert torch.allclose(torch.tensor(json.loads(numbers)), expected, atol=1e-5)
    assert label == weighted.predict(points[0])[0]
    answers = Predictor(file, transforms=transforms).predict_batch(points)
    assert torch.allclose(torch.stack([answer.raw for answer in answers]), expected, atol=1e-5)
    assert answers[0].label == label
    assert answers[0].probability == pytest.approx(float(expected[0].max()), abs=1e-5)


def test_an_export_comes_back_whole(pair: Ensemble, tmp_path: Path) -> None:
    file = pair.export(tmp_path / "two")
    again = load_learner(file, transforms={"tensor": torch.tensor})
    file_again = again.export(tmp_path / "three")
    third = load_learner(file_again, transforms={"tensor": torch.tensor})
    points = [[0.3, -1.0], [-2.0, 0.5]]
    preds = [each.get_preds(dl=each.dls.test_dl(points))[0] for each in (pair, again, third)]
    assert torch.equal(preds[0], preds[1])
    assert torch.equal(preds[0], preds[2])
    assert [member.loss_func.label_smoothing for member in again.members] == [0.0, 0.1]
    with pytest.raises(ExportError, match=r"an ensemble of 2 learners. Use load_learner"):
        read_export(file, transforms={"tensor": torch.tensor})


def test_models_of_ones_own_are_given_back_one_a_member(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = Ensemble([fixed(0.9, 0.1), trained(4, 0)]).export(tmp_path / "own")
    assert "the model's code" in capsys.readouterr().out
    given = {"tensor": torch.tensor}
    again = load_learner(file, transforms=given, model=[Fixed(0.0, 0.0), None])
    assert torch.allclose(again[0].predict([0.0, 0.0])[2], torch.tensor([0.9, 0.1]))
    with pytest.raises(ExportError, match="Give the model back"):
        load_learner(file, transforms=given)
    with pytest.raises(ExportError, match="holds 2 learners; model= takes a list of as many models"):
        load_learner(file, transforms=given, model=Fixed(0.0, 0.0))
    single = sign_learner().export(tmp_path / "single")
    with pytest.raises(ExportError, match="holds one learner; give load_learner one model"):
        load_learner(single, transforms=given, model=[nn.Linear(2, 2)])


def test_a_damaged_export_of_an_ensemble_is_told(pair: Ensemble, tmp_path: Path) -> None:
    from flambeau.train.checkpoint import read_tensors, write_tensors

    tensors, header = read_tensors(pair.export(tmp_path / "two"), "flambeau-export")
    for change in (
        {"weights": [1.0]},
        {"weights": [1.0, "x"]},
        {"weights": [0.5, 2.0]},
        {"members": []},
        {"members": "two"},
        {"members": [{}, {}]},
    ):
        file = write_tensors(tmp_path / "bad", tensors, {**header, **change})
        with pytest.raises(ExportError, match="is no complete export"):
            load_learner(file, transforms={"tensor": torch.tensor})


def test_plain_loaders_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="export needs loaders made from a data block"):
        Ensemble([line_learner(), line_learner()]).export(tmp_path / "lines")


def test_an_ensemble_is_interpreted_like_a_learner(pair: Ensemble) -> None:
    seen = ClassificationInterpretation.from_learner(pair)
    answers = pair.get_preds(with_decoded=True)
    assert seen.confusion_matrix().trace() == int((answers[2] == answers[1]).sum())
    assert torch.allclose(seen.losses, pair.get_preds(with_loss=True)[2])
    assert seen.confusion_matrix().sum() == 8
