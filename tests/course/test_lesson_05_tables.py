"""Lessons 3 and 5: the spreadsheet's linear model, and a linear model and nets from scratch, line by line."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from flambeau.tabular.all import *


@pytest.fixture
def df(shared_data: Path) -> pd.DataFrame:
    df = pd.read_csv(shared_data / "tabular" / "titanic.csv")
    modes = df.mode().iloc[0]
    df.fillna(modes, inplace=True)
    df["LogFare"] = np.log(df["Fare"] + 1)
    return pd.get_dummies(df, columns=["Sex", "Pclass", "Embarked"], dtype=int)


ADDED = ["Sex_male", "Sex_female", "Pclass_1", "Pclass_2", "Pclass_3", "Embarked_C", "Embarked_Q", "Embarked_S"]


def calc_preds(coeffs, indeps):
    return torch.sigmoid((indeps * coeffs).sum(axis=1))


def calc_loss(coeffs, indeps, deps):
    return torch.abs(calc_preds(coeffs, indeps) - deps).mean()


def update_coeffs(coeffs, lr):
    coeffs.sub_(coeffs.grad * lr)
    coeffs.grad.zero_()


def test_a_linear_model_from_scratch(df: pd.DataFrame) -> None:
    from torch import tensor

    t_dep = tensor(df.Survived)
    indep_cols = ["Age", "SibSp", "Parch", "LogFare", *ADDED]
    t_indep = tensor(df[indep_cols].values, dtype=torch.float)
    vals, _indices = t_indep.max(dim=0)
    t_indep = t_indep / vals
    trn_split, val_split = RandomSplitter(seed=42)(df)
    trn_indep, val_indep = t_indep[trn_split], t_indep[val_split]
    trn_dep, val_dep = t_dep[trn_split], t_dep[val_split]
    assert (len(trn_indep), len(val_indep)) == (713, 178)
    coeffs = (torch.rand(t_indep.shape[1]) - 0.5).requires_grad_()
    for _ in range(18):
        loss = calc_loss(coeffs, trn_indep, trn_dep)
        loss.backward()
        with torch.no_grad():
            update_coeffs(coeffs, 100)
    assert (val_dep.bool() == (calc_preds(coeffs, val_indep) > 0.5)).float().mean() > 0.75


def test_a_deep_model_from_scratch(df: pd.DataFrame) -> None:
    t_dep = tensor(df.Survived)[:, None]
    t_indep = tensor(df[["Age", "SibSp", "Parch", "LogFare", *ADDED]].values).float()
    t_indep = t_indep / t_indep.max(dim=0).values
    trn_split, val_split = RandomSplitter(seed=42)(df)
    torch.manual_seed(442)
    sizes = [t_indep.shape[1], 10, 10, 1]
    layers = [(torch.rand(a, b) - 0.3) / b * 4 for a, b in itertools.pairwise(sizes)]
    consts = [(torch.rand(1)[0] - 0.5) * 0.1 for _ in layers]
    for part in (*layers, *consts):
        part.requires_grad_()

    def deep_preds(indeps):
        res = indeps
        for i, layer in enumerate(layers):
            res = res @ layer + consts[i]
            if i != len(layers) - 1:
                res = F.relu(res)
        return torch.sigmoid(res)

    for _ in range(40):
        loss = torch.abs(deep_preds(t_indep[trn_split]) - t_dep[trn_split]).mean()
        loss.backward()
        with torch.no_grad():
            for part in (*layers, *consts):
                part.sub_(part.grad * 4)
                part.grad.zero_()
    acc = (t_dep[val_split].bool() == (deep_preds(t_indep[val_split]) > 0.5)).float().mean()
    assert acc > 0.75


def test_the_spreadsheet_of_lesson_3_in_modules(df: pd.DataFrame) -> None:
    """Columns over their largest value, a column of ones, weights at random, the mean squared error."""
    columns = ["Age", "SibSp", "Parch", "LogFare", "Sex_male", "Pclass_1", "Pclass_2", "Embarked_C", "Embarked_S"]
    rows = tensor(df[columns].values).float()
    rows = with_bias_column(rows / rows.max(0).values)
    survived = tensor(df.Survived).float()
    losses = []
    for model in (LinearModel(10), DeepModel(10, (2,))):
        for _ in range(100):
            loss = ((model(rows) - survived) ** 2).mean()
            loss.backward()
            gradient_step(model, lr=0.1)
        losses.append(loss.item())
    assert max(losses) < 0.19
