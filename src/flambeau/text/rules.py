"""The text rules: after reading it you know what happens to a document before it is cut into words, and after.

A rule is a function from text to text, so that any function of a user is one too. What is lost when a text becomes a
list of known words (capital letters, a letter drawn out, a word said again) the rules keep as special tokens. The
rules, their names and their results are those of fastai, because published language models have learned such texts.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable

from flambeau.text.special_tokens import BOS, EOS, TK_MAJ, TK_REP, TK_UP, TK_WREP, UNK

TextRule = Callable[[str], str]

_LEFTOVERS = (
    ("#39;", "'"),
    ("amp;", "&"),
    ("#146;", "'"),
    ("nbsp;", " "),
    ("#36;", "$"),
    ("\\n", "\n"),
    ("quot;", "'"),
    ("<br />", "\n"),
    ('\\"', '"'),
    ("<unk>", UNK),
    (" @.@ ", "."),
    (" @-@ ", "-"),
    ("...", " …"),
)

_DRAWN_OUT = re.compile(r"(\S)\1{2,}")
# possessive: `\w` and `\s` share no character, so giving back would only cost time, never find more
_SAID_AGAIN = re.compile(r"(?:\s|^)(\w++)\s++((?:\1\s++)+)\1(\s|\W|$)")
_SPECIAL_SIGN = re.compile(r"[/#\\]")
_SPACES = re.compile(" {2,}")
_ALL_CAPITALS = re.compile(r"(?<!\S)[A-Z][^a-z\s]*+(?!\S)")
_ONE_CAPITAL = re.compile(r"(?<!\S)[A-Z][^A-Z\s]*+(?!\S)")


def fix_html(text: str) -> str:
    """Turn what is left of HTML, and the marks of prepared corpora, into the characters that they stand for.

    >>> fix_html("Salt amp; pepper<br />cost #36;3...")
    'Salt & pepper\\ncost $3 …'
    """
    for written, meant in _LEFTOVERS:
        text = text.replace(written, meant)
    return html.unescape(text)


def replace_rep(text: str) -> str:
    """Replace a character that stands three times or more by the token for it, how often, and the character.

    >>> replace_rep("I so loved it!!!!")
    'I so loved it xxrep 4 ! '
    """
    return _DRAWN_OUT.sub(lambda found: f" {TK_REP} {len(found[0])} {found[1]} ", text)


def replace_wrep(text: str) -> str:
    """Replace a word that is said three times or more by the token for it, how often, and the word.

    >>> replace_wrep("It was very very very good")
    'It was xxwrep 3 very  good'
    """
    return _SAID_AGAIN.sub(lambda found: f" {TK_WREP} {len(found[2].split()) + 2} {found[1]} {found[3]}", text)


def spec_add_spaces(text: str) -> str:
    """Put a blank on either side of the signs / # and \\.

    >>> spec_add_spaces("and/or")
    'and / or'
    """
    return _SPECIAL_SIGN.sub(r" \g<0> ", text)


def rm_useless_spaces(text: str) -> str:
    """Leave one blank where several follow each other; line breaks and tabs stay.

    >>> rm_useless_spaces("a   b")
    'a b'
    """
    return _SPACES.sub(" ", text)


def replace_all_caps(text: str) -> str:
    """Write words of capitals in small letters behind the token for capitals; a single capital gets no token.

    >>> replace_all_caps("I LOVE Paris")
    'i xxup love Paris'
    """
    return _ALL_CAPITALS.sub(lambda found: _marked(TK_UP, found[0]), text)


def replace_maj(text: str) -> str:
    """Write words with one capital, their first letter, in small letters behind the token for it.

    >>> replace_maj("I love Paris, not McDonald")
    'i love xxmaj paris, not McDonald'
    """
    return _ONE_CAPITAL.sub(lambda found: _marked(TK_MAJ, found[0]), text)


def lowercase(text: str, add_bos: bool = True, add_eos: bool = False) -> str:
    """Write all in small letters without blanks at the ends, and mark the beginning and, if asked, the end.

    >>> lowercase(" Hello ", add_eos=True)
    'xxbos hello xxeos'
    """
    return (f"{BOS} " if add_bos else "") + text.lower().strip() + (f" {EOS}" if add_eos else "")


def replace_space(token: str) -> str:
    """Write a blank inside a token as ▁, so that tokens joined by blanks can be told apart again."""
    return token.replace(" ", "▁")


def mark_case(word: str) -> tuple[str, str]:
    """Return what the rules for capitals and `lowercase` make of one word: its token ("" for none) and the word.

    >>> mark_case("GREAT!"), mark_case("Great"), mark_case("I"), mark_case("McCoy")
    (('xxup', 'great!'), ('xxmaj', 'great'), ('', 'i'), ('', 'mccoy'))
    """
    if len(word) > 1 and "A" <= word[0] <= "Z":
        if _ALL_CAPITALS.fullmatch(word):
            return TK_UP, word.lower()
        if _ONE_CAPITAL.fullmatch(word):
            return TK_MAJ, word.lower()
    return "", word.lower()


def _marked(token: str, word: str) -> str:
    return f"{token} {word.lower()}" if len(word) > 1 else word.lower()


text_proc_rules: list[TextRule] = [
    fix_html,
    replace_rep,
    replace_wrep,
    spec_add_spaces,
    rm_useless_spaces,
    replace_all_caps,
    replace_maj,
    lowercase,
]
text_postproc_rules: list[TextRule] = [replace_space]
