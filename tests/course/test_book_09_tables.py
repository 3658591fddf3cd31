"""Book, chapter 9: an auction's table prepared, its dates taken apart, and the net; the trees have tests of their own.

The houses of Ames stand in for the bulldozers: their ordered qualities for ProductSize, the month sold for saledate.
"""

from __future__ import annotations

import pytest

from flambeau.foundation.errors import ArgumentError
from flambeau.tabular.all import *


@pytest.fixture
def path(shared_data: Path, tmp_path: Path) -> Path:
    df = pd.read_csv(shared_data / "tabular" / "ames_housing.csv.gz")
    df["saledate"] = pd.to_datetime({"year": df["Yr Sold"], "month": df["Mo Sold"], "day": 1}).dt.strftime("%Y-%m-%d")
    df = df.drop(columns=["Order", "PID", "Yr Sold", "Mo Sold"])
    df.to_csv(tmp_path / "TrainAndValid.csv", index=False)
    df.drop(columns="SalePrice").head(100).to_csv(tmp_path / "Test.csv", index=False)
    return tmp_path


def rmse_of(pred, y):
    return round(math.sqrt(((pred - y) ** 2).mean()), 6)


def prepared(path):
    df = pd.read_csv(path / "TrainAndValid.csv", low_memory=False)
    sizes = "Ex", "Gd", "TA", "Fa", "Po"
    df["Exter Qual"] = df["Exter Qual"].astype("category")
    df["Exter Qual"] = df["Exter Qual"].cat.set_categories(sizes, ordered=True)
    dep_var = "SalePrice"
    df[dep_var] = np.log(df[dep_var])
    df = add_datepart(df, "saledate")
    cond = (df.saleYear < 2010) | (df.saleMonth < 4)
    splits = (list(np.where(cond)[0]), list(np.where(~cond)[0]))
    return df, dep_var, splits


def test_a_table_of_sales_is_prepared(path: Path) -> None:
    df, dep_var, splits = prepared(path)
    df_test = add_datepart(pd.read_csv(path / "Test.csv", low_memory=False), "saledate")
    assert set(df.columns) - set(df_test.columns) == {dep_var}
    assert " ".join(o for o in df.columns if o.startswith("sale")).startswith("saleYear saleMonth saleWeek saleDay")
    procs = [Categorify, FillMissing]
    cont, cat = cont_cat_split(df, 1, dep_var=dep_var)
    to = TabularPandas(df, procs, cat, cont, y_names=dep_var, splits=splits)
    assert (len(to.train), len(to.valid)) == (len(splits[0]), len(splits[1]))
    assert to.show(3)["Exter Qual"].tolist() == df["Exter Qual"].head(3).tolist()
    assert to.items.head(3)["Exter Qual"].tolist() == [3, 3, 3]
    assert list(to.classes["Exter Qual"]) == ["#na#", "Ex", "Gd", "TA", "Fa", "Po"]
    to1 = TabularPandas(df, procs, ["Neighborhood", "Bldg Type"], [], y_names=dep_var, splits=splits)
    assert to1.show(3).columns.tolist() == ["Neighborhood", "Bldg Type", dep_var]
    assert to1.items[["Neighborhood", "Bldg Type"]].head(3).dtypes.map(str).tolist() == ["int8", "int8"]
    with pytest.raises(ArgumentError, match="TabularPandas would not come back"):  # reading it would run code
        save_pickle(path / "to.pkl", to)
    xs, y = to.train.xs, to.train.y
    valid_xs, valid_y = to.valid.xs, to.valid.y
    assert xs.isna().sum().sum() == valid_xs.isna().sum().sum() == 0
    assert rmse_of(np.full(len(valid_y), y.mean()), valid_y) < 0.6
    assert to.new(df_test).xs.columns.tolist() == xs.columns.tolist()
    valid_xs["Exter Qual"].value_counts(sort=False).plot.barh()
    c = to.classes["Exter Qual"]
    plt.yticks(range(len(c)), c)


def test_the_net_of_the_chapter(path: Path) -> None:
    df, dep_var, splits = prepared(path)
    to_keep = ["Overall Qual", "Gr Liv Area", "Year Built", "Neighborhood", "Exter Qual", "Garage Area", "saleElapsed"]
    df_nn_final = df[[*to_keep, dep_var]]
    cont_nn, cat_nn = cont_cat_split(df_nn_final, max_card=9000, dep_var=dep_var)
    cont_nn.append("saleElapsed")
    cat_nn.remove("saleElapsed")
    assert df_nn_final[cat_nn].nunique()["Overall Qual"] == 10
    procs_nn = [Categorify, FillMissing, Normalize]
    to_nn = TabularPandas(df_nn_final, procs_nn, cat_nn, cont_nn, splits=splits, y_names=dep_var)
    dls = to_nn.dataloaders(1024)
    y = to_nn.train.y
    assert 9 < y.min() < y.max() < 14
    learn = tabular_learner(dls, y_range=(9, 14), layers=[500, 250], n_out=1, loss_func=F.mse_loss)
    learn.lr_find()
    learn.fit_one_cycle(5, 1e-2)
    preds, targs = learn.get_preds()
    assert rmse_of(preds, targs) < 0.5
    learn.save("nn")
    rf_preds = np.full(len(targs), y.mean())
    ens_preds = (to_np(preds.squeeze()) + rf_preds) / 2
    assert ens_preds.shape == (len(splits[1]),)
