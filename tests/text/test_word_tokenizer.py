"""Words: what spaCy and fastai give for the same text, written out, and the one fast pass against the slow one."""

# ruff: noqa: RUF001 (signs of many scripts are cut here)

from __future__ import annotations

import pickle
import time
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.foundation.errors import ArgumentError
from flambeau.text import word_tokenizer
from flambeau.text.english_exceptions import english_exceptions
from flambeau.text.rules import text_proc_rules
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
        ("https://a.bc/d?e#f 20°C. @end.the", "https://a.bc/d?e#f 20 ° C . @end.the"),
        ("US$5 is 3+4 or +5 or +x", "US$ 5 is 3 + 4 or +5 or + x"),
    ],
)
def test_a_text_is_cut_into_words_and_signs(text: str, tokens: str) -> None:
    assert WordTokenizer().tokens(text) == tokens.split()


@pytest.mark.parametrize("end", [*",!?;:)\".", "("])
def test_a_word_with_a_sign_at_its_end_is_cut_as_any_chunk(end: str) -> None:
    tokenizer = WordTokenizer({"fine!": ["fin", "e!"]})
    for word in ["word", "WORD", "Word", "fine", "xxbos", *filter(str.isalpha, english_exceptions())]:
        as_any = tokenizer._joined(tokenizer._cut(word + end, tokenizer._whole))
        assert tokenizer.cut(word + end) == as_any


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


@cache
def fast() -> WordsWithRules:
    """Return the tokenizer as it is by default."""
    return WordsWithRules()


@cache
def slow(tokenizer: WordTokenizer | None = None) -> WordsWithRules:
    """Return the same rules and words, but one after the other: a rule that changes nothing turns the one pass off."""
    return WordsWithRules(tokenizer, rules=[*text_proc_rules, str])


@pytest.mark.parametrize(
    "text, tokens",
    [
        ("", "xxbos"),
        (" \n ", "xxbos"),
        ("WOW, I loved it!!!! Don't miss it.", "xxbos xxup wow , i loved it xxrep 4 ! xxmaj do n't miss it ."),
        ("It was very very very good, sooo good", "xxbos xxmaj it was xxwrep 3 very good , s xxrep 3 o good"),
        ("No way.<br /><br />Next", "xxbos xxmaj no way . \n\n xxmaj next"),
        ("One.<br /><br />/two", "xxbos xxmaj one . \n\n▁ / two"),
        ("a\nb \n c", "xxbos a \n b \n▁ c"),
        ("333 3", "xxbos xxrep xxwrep 3 3"),
        ("no no no,", "xxbos xxwrep 3 no ,"),
        ("aaa a a", "xxbos xxrep 3 xxwrep 3 a"),
        ("McDonald's U.S. 1990S ÉTÉ", "xxbos mcdonald 's xxup u.s . 1990s été"),
    ],
)
def test_a_document_becomes_the_tokens_that_fastai_gives(text: str, tokens: str) -> None:
    assert fast().tokens(text) == tokens.split(" ")


PARTS = [
    *"aA1!./#'\"-_@ \n\té…",
    *("the", "The", "THE", "don't", " no", "No ", "NO", " a", "aaa", "333", "...", "!!!", "***", "  ", "\n\n"),
    *("<br />", "<b>", "&amp;", "&lt;", "#39;", "nbsp;", "\\n", " @.@ ", " @-@ ", "<unk>", "xxbos", ":)", "www.a.com"),
    *("U.S.", "10km", " \n", "\\", "$5", "İ", "Σ", "ß", "中文", "ال", "\u0301"),
    *("👩\u200d👧", "\u200d", "\x00", "\xa0", "\u2028", "\x1c"),
]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=14).map("".join))
def test_the_one_pass_and_the_rules_one_by_one_give_the_same(text: str) -> None:
    assert fast().tokens(text) == slow().tokens(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=14).map("".join))
def test_no_character_is_lost_or_made_up(text: str) -> None:
    assert "".join("".join(fast().tokenizer.tokens(text)).split()) == "".join(text.split())


def test_rules_of_a_user_are_applied_in_their_order() -> None:
    shouting = WordsWithRules(rules=[str.upper, lambda text: text + "!"], post_rules=[str.lower, str.strip])
    assert list(shouting(["Don't", "go"])) == [["don't", "!"], ["go", "!"]]
    assert WordsWithRules(rules=[], post_rules=[]).tokens("Don't \n go") == ["Do", "n't", "\n ", "go"]


def test_a_rule_that_is_added_to_the_list_of_defaults_is_applied() -> None:
    text_proc_rules.append(lambda text: text.replace("colour", "color"))
    try:
        assert WordsWithRules().tokens("Colour") == ["xxbos", "xxmaj", "color"]
    finally:
        text_proc_rules.pop()


def test_any_function_from_texts_to_tokens_may_cut() -> None:
    by_blanks = WordsWithRules(lambda texts: (text.split(" ") for text in texts))
    assert by_blanks.tokens("Well-known, NO!") == ["xxbos", "xxmaj", "well-known,", "xxup", "no!"]


def test_what_changes_the_lists_of_rules_later_changes_no_tokenizer() -> None:
    rules = list(text_proc_rules)
    words = WordsWithRules(rules=rules)
    rules.clear()
    assert words.tokens("A B") == ["xxbos", "a", "b"]


def test_a_tokenizer_comes_back_from_another_process() -> None:
    words = WordsWithRules(WordTokenizer(["t-shirt"]))
    words.tokens("some words are known by now")
    same = pickle.loads(pickle.dumps(words))
    assert len(pickle.dumps(words)) < 2_000  # what is known is not sent along
    assert same.tokens("A t-shirt") == words.tokens("A t-shirt") == ["xxbos", "a", "t-shirt"]


def test_what_is_known_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_tokenizer, "_MOST_CHUNKS", 100)
    words = WordsWithRules()
    for number in range(1_000):
        assert words.tokens(f"The {number * 7 % 1_000}x is")[:3] == ["xxbos", "xxmaj", "the"]
    assert len(words._raw) + len(words._raw.older) <= 200
    words.tokens("x" * 65)
    assert "x" * 65 not in words._raw


@pytest.mark.parametrize(
    "text",
    [
        "ab" * 500_000,
        "AB" * 100_000 + "a",
        "(" * 60_000 + "a)" * 60_000,
        "a." * 100_000,
        "a@" * 100_000 + ".",
        "a:" * 100_000,
        "a-1+" * 40_000,
        "://" * 60_000 + "@a.b",
        ":)" * 100_000,
        "!!!???" * 10_000 + "a",
        "1.2e" * 40_000,
        "xx xx" * 40_000,
        "a\n" * 60_000,
        "é\u0301…👩\u200d👧" * 20_000,
    ],
    ids=lambda text: repr(text[:8]),
)
def test_a_text_without_end_takes_time_in_proportion(text: str) -> None:
    fast()
    start = time.process_time()
    fast().tokens(text)
    WordTokenizer().tokens(text)
    assert time.process_time() - start < 10  # what grows with the square would take hours


def test_what_is_no_text_is_told() -> None:
    with pytest.raises(ArgumentError, match="expected a text, got nan of type float; turn the items"):
        list(WordsWithRules()([float("nan")]))  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match="expected a text"):
        slow().tokens(None)  # type: ignore[arg-type]
