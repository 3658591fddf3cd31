"""Tables of documents show their texts whole, in a page as in a terminal."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from flambeau.data.kinds import Category, Number, Tokens
from flambeau.data.show import as_table, show_results, show_samples
from flambeau.data.text_table import TextTable

VOCAB = ("a", "xxpad", "<b>", "word")
LONG = " ".join(["word <b>"] * 60)
IDS = [3, 2] * 60
KINDS = [Tokens(VOCAB), Category(("neg", "pos"))]


def test_columns_of_documents_have_names() -> None:
    assert list(show_samples([(IDS, 1)], KINDS).columns) == ["text", "label"]  # type: ignore[union-attr]
    assert list(as_table([(IDS, IDS)], [KINDS[0], KINDS[0]]).columns) == ["text", "text_"]
    assert list(as_table([(1.0, 1)], [Number(), KINDS[1]]).columns) == [0, 1]
    shown = show_results([(IDS,)], [(0,)], [(1,)], KINDS[:1], KINDS[1:])
    assert list(shown.columns) == ["text", "actual", "predicted"]  # type: ignore[union-attr]


@pytest.mark.parametrize(("trunc_at", "n"), [(None, 300), (20, 20), (10_000, len(LONG))])
def test_a_document_is_cut_where_asked(trunc_at: int | None, n: int) -> None:
    table = show_samples([(IDS, 1)], KINDS, trunc_at=trunc_at)
    words = table.iloc[0, 0]  # type: ignore[union-attr]
    assert words.removesuffix(" ...") == LONG[:n].rstrip()
    assert words.endswith(" ...") == (n < len(LONG))
    results = show_results([(IDS,)], [(0,)], [(1,)], KINDS[:1], KINDS[1:], trunc_at=trunc_at)
    assert results.iloc[0, 0] == words  # type: ignore[union-attr]


def results() -> TextTable:
    rows = [(LONG, "pos", "pos", 0.12345), (LONG, "pos", "neg", 2.0)]
    return TextTable(rows, columns=["text", "actual", "predicted", "loss"], index=["row 1", "row <2>"])


def test_a_page_holds_all_letters_wrapped_and_escaped_with_wrong_predictions_in_red() -> None:
    page = results()._repr_html_()
    assert page.count("word &lt;b&gt;") == 120
    assert "<b>" not in page
    assert "row &lt;2&gt;" in page
    assert re.findall(r"color: rgb\([\d, ]+\)'>(\w+)<", page) == ["neg"]
    assert page.count("pre-wrap") == 2
    assert "0.1235" in page or "0.1234" in page
    assert "row 1" not in results().as_html(index=False)


def test_a_terminal_shows_all_words_in_lines_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = str(results()).splitlines()
    assert lines[0] == "row 1  actual: pos, predicted: pos, loss: 0.1235"
    assert max(map(len, lines)) <= 60
    assert str(results()).count("word") == 120
    two = results().assign(other=LONG)
    assert "    text: word" in str(two)
    assert "    other: word" in str(two)


def test_a_table_of_short_texts_prints_as_usual() -> None:
    short = TextTable({"text": ["a", "b"], "label": ["x", "y"]})
    assert str(short) == str(pd.DataFrame(short))
    assert isinstance(short[["text"]], TextTable)
