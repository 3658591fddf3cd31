"""Processes: what they learn, what they make of new tables, and what they write down."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from small_tables import PROCS, cleaned, people

from flambeau.foundation.errors import ArgumentError, TableError
from flambeau.tabular.procs import Categorify, Dummies, FillMissing, FillStrategy, Normalize, TabularProc


def test_levels_are_sorted_after_an_unknown_one_at_0() -> None:
    to = cleaned()
    assert list(to.classes["city"]) == ["#na#", "Bern", "Lyon", "Oslo"]
    assert to.cats["city"].tolist()[:3] == [2, 1, 3]


def test_unseen_levels_and_empty_cells_are_unknown() -> None:
    new = people().head(3).assign(city=["Rome", None, "Oslo"])
    assert cleaned().new(new).cats["city"].tolist() == [0, 0, 3]


def test_ordered_levels_keep_their_order_also_those_not_in_training() -> None:
    sizes = pd.Categorical(["mid"] * 6 + ["big"] * 6, ["small", "mid", "big"], ordered=True)
    to = cleaned(people().assign(city=sizes))
    assert list(to.classes["city"]) == ["#na#", "small", "mid", "big"]


def test_levels_that_only_validation_has_are_unknown_there() -> None:
    frame = people()
    frame.loc[11, "city"] = "Rome"
    assert cleaned(frame).valid.cats["city"].tolist()[-1] == 0


def test_numbers_and_words_in_one_column_are_levels_of_their_own() -> None:
    to = cleaned(people().assign(city=[1, "1", 2.5] * 4))
    assert list(to.classes["city"]) == ["#na#", 1, 2.5, "1"]


def test_gaps_get_the_training_median_and_a_flag() -> None:
    to = cleaned(procs=[Categorify, FillMissing])
    assert to.items["age"].iloc[3] == 29  # of 20, 22, 24, 28, 30, 32, 34, 36
    assert to.decode()["age_na"].tolist()[:4] == [False, False, False, True]


def test_a_column_complete_in_training_has_a_median_too() -> None:
    new = people().head(2).assign(height=[np.nan, 151])
    assert cleaned(procs=[Categorify, FillMissing]).new(new).xs["height"].tolist() == [154, 151]


@pytest.mark.parametrize(("strategy", "filled"), [(FillStrategy.constant, 7), (FillStrategy.mode, 20), ("median", 29)])
def test_gaps_are_filled_as_asked(strategy: object, filled: float) -> None:
    proc = FillMissing(strategy, add_col=False, fill_vals={"age": 7})  # type: ignore[arg-type]
    to = cleaned(procs=[Categorify, proc])
    assert to.items["age"].iloc[3] == filled
    assert list(to.cat_names) == ["city"]


def test_numbers_are_scaled_by_the_training_rows() -> None:
    heights = cleaned().train.xs["height"].to_numpy()
    assert heights.mean() == pytest.approx(0, abs=1e-6)
    assert heights.std() == pytest.approx(1, abs=1e-5)


def test_a_constant_column_becomes_zeros() -> None:
    assert cleaned(people().assign(height=170.1)).xs["height"].abs().max() == 0


def test_dummy_columns_replace_a_category() -> None:
    to = cleaned(procs=[*PROCS, Dummies(["city"])])
    assert list(to.cont_names) == ["age", "height", "city_Bern", "city_Lyon", "city_Oslo"]
    assert to.xs[["city_Bern", "city_Lyon", "city_Oslo"]].iloc[0].tolist() == [0, 1, 0]
    assert to.new(people().head(1).assign(city="Rome")).xs[["city_Bern", "city_Lyon"]].iloc[0].tolist() == [0, 0]


def test_dummy_columns_need_levels() -> None:
    with pytest.raises(ArgumentError, match="Dummies needs Categorify too"):
        cleaned(cat_names=[], procs=[Dummies])


@pytest.mark.parametrize("proc", [Categorify(), FillMissing(), Normalize()])
def test_a_process_is_built_again_from_its_settings(proc: TabularProc) -> None:
    to = cleaned(procs=[proc, *(other for other in PROCS if not isinstance(proc, other))])
    learnt = next(own for own in to.procs if type(own) is type(proc))
    assert type(proc)(**learnt.settings()).settings() == learnt.settings()


def test_a_column_empty_in_training_is_told() -> None:
    with pytest.raises(TableError, match=r"'age' is empty in all 9 training rows"):
        cleaned(people().assign(age=np.nan))


def test_a_process_of_the_users_own_sees_columns() -> None:
    class Taller(TabularProc):
        order = 1

        def encodes(self, x):  # type: ignore[no-untyped-def]
            x.columns["height"] = x.numbers("height") + 10
            return x

    assert cleaned(procs=[Categorify, FillMissing, Taller]).xs["height"].iloc[0] == 160


def test_cells_that_are_no_levels_are_told() -> None:
    with pytest.raises(TableError, match=r"'city' holds '\[1, 2\]', which cannot be a level"):
        cleaned(people().assign(city=[[1, 2]] * 12))


def test_a_flag_does_not_replace_a_column_of_the_same_name() -> None:
    with pytest.raises(TableError, match=r"column 'age_na' where 'age' was empty, but the table has a column"):
        cleaned(people().assign(age_na="x"), cat_names=["city", "age_na"])


def test_a_word_where_training_had_numbers_is_told_also_in_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    to = cleaned(people().assign(city=[1, 2, 3] * 4))
    to.new(people().head(1).assign(city=4)).process()
    assert "is known from training" not in capsys.readouterr().out
    to.new(people().head(1).assign(city="2")).process()
    assert "No value of column 'city' is known from training (first: '2'; known: 1, 2, 3)." in capsys.readouterr().out


def test_numbers_too_large_are_told_instead_of_becoming_infinite() -> None:
    frame = people().assign(height=lambda f: f["height"] * 1e200)
    with pytest.raises(TableError, match=r"'height' are too large to be scaled"):
        cleaned(frame)
    with pytest.raises(TableError, match=r"'height' holds a number too large for a net at row 0. Add Normalize"):
        cleaned(frame, procs=PROCS[:2])
