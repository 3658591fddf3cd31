"""A pipeline encodes forwards, decodes backwards, learns in order, and names the item that failed."""

from __future__ import annotations

from typing import Any

import pytest

from flambeau.data.categorize import Categorize
from flambeau.data.kinds import Category, Number
from flambeau.data.pipeline import EncodedItems, Pipeline
from flambeau.data.transform import Transform
from flambeau.foundation.errors import DataError, LabelError


def test_a_pipeline_encodes_forwards_and_decodes_backwards() -> None:
    pipeline = Pipeline([Transform(lambda x: x + 1, lambda x: x - 1), Transform(lambda x: x * 2, lambda x: x / 2)])
    assert pipeline(3) == 8
    assert pipeline.decode(8) == 3
    assert len(pipeline) == 2


def test_each_transform_learns_from_what_those_before_it_made() -> None:
    pipeline = Pipeline([str.upper, Categorize()])
    pipeline.setup(["b", "a", "b"])
    assert pipeline[1].vocab == ["A", "B"]  # type: ignore[attr-defined]
    assert pipeline("b") == 1
    assert pipeline.kind(1) == Category(("A", "B"))
    assert Pipeline([len]).kind(1) == Number()


def test_a_pipeline_says_its_steps() -> None:
    assert repr(Pipeline([str.upper, Categorize])) == "Pipeline: upper -> Categorize"


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (KeyError("colour"), DataError, "Reading the third failed: KeyError: 'colour'"),
        (LabelError("No label."), LabelError, "No label. This was the third."),
        (LabelError("No label in the third."), LabelError, "^No label in the third.$"),
    ],
)
def test_an_error_while_items_are_read_names_the_item(error: Exception, raised: type[Exception], words: str) -> None:
    def fail(x: Any) -> Any:
        if x == 2:
            raise error
        return x

    items = EncodedItems([0, 1, 2], [Transform(fail)], lambda place: ["the first", "the second", "the third"][place])
    with pytest.raises(raised, match=words):
        list(items)
