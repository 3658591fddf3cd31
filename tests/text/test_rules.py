"""The text rules, each with what fastai's rule of the same name returns."""

from __future__ import annotations

import pytest

from flambeau.text import rules


@pytest.mark.parametrize(
    "name, text, expected",
    [
        ("fix_html", "ATamp;T #39;90s<br />quot;3 @.@ 5 a @-@ b <unk> &lt;", "AT&T '90s\n'3.5 a-b xxunk <"),
        ("fix_html", r"a\n\"b\" wait...", 'a\n"b" wait …'),
        ("replace_rep", "Soooo cool!!! no 11 but aa", "S xxrep 4 o  cool xxrep 3 !  no 11 but aa"),
        ("replace_wrep", "no no no! yes", " xxwrep 3 no ! yes"),
        ("replace_wrep", "ha\nha ha ha ho ho", " xxwrep 4 ha  ho ho"),
        ("replace_wrep", "the then theme", "the then theme"),
        ("spec_add_spaces", r"and/or #1 a\b", r"and / or  # 1 a \ b"),
        ("rm_useless_spaces", "a   b \n  c", "a b \n c"),
        ("replace_all_caps", "I'm SHOUTING, A B2 x", "I'm xxup shouting, a xxup b2 x"),
        ("replace_maj", "Hello World McCoy I ÉTÉ", "xxmaj hello xxmaj world McCoy i ÉTÉ"),
        ("lowercase", "  Été ", "xxbos été"),
        ("replace_space", "a b", "a▁b"),
    ],
)
def test_a_rule_gives_what_fastai_gives(name: str, text: str, expected: str) -> None:
    assert getattr(rules, name)(text) == expected


def test_the_ends_of_a_text_are_marked_as_asked() -> None:
    assert rules.lowercase("A", add_bos=False) == "a"
    assert rules.lowercase("A", add_eos=True) == "xxbos a xxeos"


def test_the_rules_stand_in_fastais_order() -> None:
    order = "fix_html replace_rep replace_wrep spec_add_spaces rm_useless_spaces replace_all_caps replace_maj lowercase"
    assert [rule.__name__ for rule in rules.text_proc_rules] == order.split()
    assert [rule.__name__ for rule in rules.text_postproc_rules] == ["replace_space"]


@pytest.mark.parametrize("word", ["GREAT!", "Great", "I", "McCoy", "iPod", "", "B2", "ÉTÉ", "Éa"])
def test_one_word_is_marked_as_the_rules_mark_a_text(word: str) -> None:
    ruled = rules.lowercase(rules.replace_maj(rules.replace_all_caps(word)), add_bos=False)
    assert " ".join(filter(None, rules.mark_case(word))) == ruled
