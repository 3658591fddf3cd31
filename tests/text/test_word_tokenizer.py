"""Words: what spaCy and fastai give for the same text, written out, and the one fast pass against the slow one."""

# ruff: noqa: RUF001 (signs of many scripts are cut here)

from __future__ import annotations

import pytest

from flambeau.foundation.errors import ArgumentError
from flambeau.text.word_tokenizer import WordsWithRules, WordTokenizer


@pytest.mark.parametrize(
    "text, tokens",
    [
        ("The U.S. dollar $1 is $1.00.", "The U.S. dollar $ 1 is $ 1.00 ."),
        ("don't can't it's I'll we’ve cannot", "do n't ca n't it 's I 'll we ’ve can not"),
        ("its well, ill and hell", "its well , ill and hell"),
        ("a well-known 1990s actor's film", "a well - known 1990s actor 's film"),
        ("see www.fast.ai/INDEX (or me@fast.ai)", "see www.fast.ai/INDEX ( or me@fast.ai )"),
        ("fine:) really :-( 8)", "fine :) really :-( 8)"),
        ("10km in 50% at 9pm, 5'8\"", "10 km in 50 % at 9 pm , 5'8 \""),
        ("Mr. Smith left. So did Dr. Who.", "Mr. Smith left . So did Dr. Who ."),
        ("end.The next,one but end.the next", "end . The next , one but end.the next"),
        ("“quoted”—and… so-called--thing", "“ quoted”—and … so - called -- thing"),
        ("plan-c. I.B.M. NASA.", "plan - c. I.B.M. NASA ."),
        ("US$5 is 3+4 or +5 or +x", "US$ 5 is 3 + 4 or +5 or + x"),
    ],
)
def test_a_text_is_cut_into_words_and_signs(text: str, tokens: str) -> None:
    assert WordTokenizer().tokens(text) == tokens.split()


def test_white_space_beyond_a_single_blank_is_a_token() -> None:
    assert WordTokenizer().tokens(" a  b\n\nc \n d ") == [" ", "a", " ", "b", "\n\n", "c", "\n ", "d"]


def test_special_tokens_and_special_cases_stay_whole() -> None:
    assert WordTokenizer(["t-shirt"]).tokens("(xxbos t-shirt)") == ["(", "xxbos", "t-shirt", ")"]
    assert WordTokenizer({"lemme": ["lem", "me"]}).tokens("lemme!") == ["lem", "me", "!"]


@pytest.mark.parametrize("wrong", ["word", ["two words"], [""], {"lemme": ["let", "me"]}, {"ab": "ab"}])
def test_a_special_case_that_cannot_be_is_refused(wrong: object) -> None:
    with pytest.raises(ArgumentError, match="special"):
        WordTokenizer(wrong)  # type: ignore[arg-type]


def test_rules_words_and_capitals_come_together() -> None:
    text = "&copy;   Fast.ai www.fast.ai/INDEX"
    expected = ["xxbos", "©", "xxmaj", "fast.ai", "xxrep", "3", "w", ".fast.ai", "/", "xxup", "index"]
    assert WordsWithRules().tokens(text) == expected
