"""Lessons 3, 5, 6 and the book's chapters 1 and 9 on tables: the calls of their notebooks, on real data, few epochs."""

from __future__ import annotations

import pytest

from flambeau.tabular.all import *


@pytest.fixture
def titanic(shared_data: Path) -> pd.DataFrame:
    return pd.read_csv(shared_data / "tabular" / "titanic.csv")


def add_features(df):
    df["LogFare"] = np.log1p(df["Fare"])
    df["Deck"] = df.Cabin.str[0].map({"A": "ABC", "B": "ABC", "C": "ABC", "D": "DE", "E": "DE", "F": "FG", "G": "FG"})
    df["Family"] = df.SibSp + df.Parch
    df["Alone"] = df.Family == 0
    df["TicketFreq"] = df.groupby("Ticket")["Ticket"].transform("count")
    df["Title"] = df.Name.str.split(", ", expand=True)[1].str.split(".", expand=True)[0]
    df["Title"] = df.Title.map({"Mr": "Mr", "Miss": "Miss", "Mrs": "Mrs", "Master": "Master"})


def test_why_you_should_use_a_framework(titanic: pd.DataFrame) -> None:
    df, tst_df = titanic, titanic.drop(columns="Survived").tail(200).copy()
    tst_df.loc[tst_df.index[5], "Fare"] = np.nan
    add_features(df)
    splits = RandomSplitter(seed=42)(df)
    dls = TabularPandas(
        df, splits=splits,
        procs=[Categorify, FillMissing, Normalize],
        cat_names=["Sex", "Pclass", "Embarked", "Deck", "Title"],
        cont_names=["Age", "SibSp", "Parch", "LogFare", "Alone", "TicketFreq", "Family"],
        y_names="Survived", y_block=CategoryBlock(),
    ).dataloaders(path=".")  # fmt: skip
    learn = tabular_learner(dls, metrics=accuracy, layers=[10, 10])
    found = learn.lr_find(suggest_funcs=(slide, valley))
    assert 1e-6 < found.valley < 10
    learn.fit(6, lr=0.03)
    assert learn.recorder.values[-1][-1] > 0.75

    add_features(tst_df)
    tst_dl = learn.dls.test_dl(tst_df)
    preds, _ = learn.get_preds(dl=tst_dl)
    tst_df["Survived"] = (preds[:, 1] > 0.5).int()
    sub_df = tst_df[["PassengerId", "Survived"]]
    sub_df.to_csv("sub.csv", index=False)
    assert len(pd.read_csv("sub.csv")) == 200

    def ensemble():
        learn = tabular_learner(dls, metrics=accuracy, layers=[10, 10])
        with learn.no_bar(), learn.no_logging():
            learn.fit(2, lr=0.03)
        return learn.get_preds(dl=tst_dl)[0]

    learns = [ensemble() for _ in range(2)]
    ens_preds = torch.stack(learns).mean(0)
    assert ens_preds.shape == (200, 2)


def test_linear_models_and_nets_from_scratch(titanic: pd.DataFrame) -> None:
    df = titanic
    df.fillna(df.mode().iloc[0], inplace=True)
    df["LogFare"] = np.log(df["Fare"] + 1)
    df = with_dummies(df, ["Sex", "Pclass", "Embarked"])
    indep_cols = ["Age", "SibSp", "Parch", "LogFare", "Sex_male", "Pclass_1", "Pclass_2", "Embarked_C", "Embarked_Q"]
    t_indep = tensor(df[indep_cols].to_numpy(), dtype=torch.float)
    t_indep = with_bias_column(t_indep / t_indep.max(dim=0).values)
    t_dep = tensor(df.Survived.to_numpy())
    trn_split, val_split = RandomSplitter(seed=42)(df)
    chance = torch.Generator().manual_seed(442)
    models = (LinearModel(10, sigmoid=True, generator=chance), DeepModel(10, (10, 10), sigmoid=True, generator=chance))
    for model, lr in zip(models, (100, 2), strict=True):
        for _ in range(30):
            loss = (model(t_indep[trn_split]) - t_dep[trn_split]).abs().mean()
            loss.backward()
            gradient_step(model, lr)
        acc = (t_dep[val_split].bool() == (model(t_indep[val_split]) > 0.5)).float().mean()
        assert acc > 0.75


def test_the_first_chapters_table(shared_data: Path, tmp_path: Path) -> None:
    csv = shared_data / "tabular" / "adult_train.csv.gz"
    pd.read_csv(csv, nrows=6000).to_csv(tmp_path / "adult.csv", index=False)
    path = tmp_path
    dls = TabularDataLoaders.from_csv(
        path / "adult.csv", path=path, y_names="salary",
        cat_names=["workclass", "education", "marital-status", "occupation", "relationship", "race"],
        cont_names=["age", "fnlwgt", "education-num"],
        procs=[Categorify, FillMissing, Normalize],
    )  # fmt: skip
    learn = tabular_learner(dls, metrics=accuracy)
    learn.fit_one_cycle(3)
    assert learn.recorder.values[-1][-1] > 0.78


def test_the_net_of_the_ninth_chapter_on_bicycles(shared_data: Path) -> None:
    df = pd.read_csv(shared_data / "tabular" / "bike_sharing_hour.csv.gz")
    df = df.drop(columns=["instant", "casual", "registered"])
    dep_var = "cnt"
    df[dep_var] = np.log(df[dep_var])
    cond = df.dteday < "2012-10-01"
    train_idx = np.where(cond)[0]
    valid_idx = np.where(~cond)[0]
    splits = (list(train_idx), list(valid_idx))
    df = add_datepart(df, "dteday")
    cont, cat = cont_cat_split(df, max_card=9000, dep_var=dep_var)
    cont.append("dtedayElapsed")
    cat = [name for name in cat if name not in cont]
    procs = [Categorify, FillMissing, Normalize]
    to = TabularPandas(df, procs, cat, cont, splits=splits, y_names=dep_var)
    assert to.show(3).shape == (3, len(cat) + len(cont) + 1)
    assert list(to.classes["season"]) == ["#na#", 1, 2, 3, 4]
    xs, y = to.train.xs, to.train.y
    assert (len(xs), len(y)) == (len(train_idx), len(train_idx))
    dls = to.dataloaders(1024)
    assert 0 <= y.min() < y.max() < 8
    learn = tabular_learner(dls, y_range=(0, 8), layers=[500, 250], n_out=1, loss_func=F.mse_loss)
    learn.lr_find()
    learn.fit_one_cycle(3, 1e-2)
    preds, targs = learn.get_preds()
    assert math.sqrt(F.mse_loss(preds, targs)) < 1.0
    learn.save("nn")
    assert learn.path.joinpath("models").ls()
