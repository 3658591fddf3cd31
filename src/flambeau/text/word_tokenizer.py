"""Cutting English text into words: after reading it you know how "don't" becomes "do" and "n't", and how it is fast.

A document is cut at its white space into chunks. From a chunk, signs are taken off at the front and at the back until
nothing more comes off or a known exception is left; what remains is an address of the web, or is cut at the signs
inside it. The results are those of spaCy's blank tokenizer for English, which published language models have seen.

The same chunks come again and again, so each distinct one is worked out once, together with what the text rules make
of it; then most of the work on a document is a look-up in a dictionary.
"""

# ruff: noqa: RUF001 (signs of many scripts are what this file is about)

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from operator import eq

from flambeau.foundation.errors import ArgumentError
from flambeau.text.english_exceptions import english_exceptions
from flambeau.text.rules import (
    TextRule,
    fix_html,
    mark_case,
    replace_rep,
    replace_wrep,
    rm_useless_spaces,
    spec_add_spaces,
    text_postproc_rules,
    text_proc_rules,
)
from flambeau.text.special_tokens import BOS, SPECIAL_TOKENS, UNK

Tokens = tuple[str, ...]

_QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉〈〉⟦⟧"
_PUNCTUATION = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
_CURRENCIES = "$£€¥฿﷼" + "".join(map(chr, range(0x20A0, 0x20C0)))
_UNITS = """
km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph hPa Pa mbar
mb MB kb KB gb GB tb TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг м/с км/ч кПа Па мбар
Кб КБ кб Мб МБ мб Гб ГБ гб Тб ТБ тб كم كم² كم³ م م² م³ سم سم² سم³ مم مم² مم³ كم غرام جرام جم كغ ملغ كوب اكواب
"""
_PREFIXES = frozenset(_QUOTES + _PUNCTUATION + _CURRENCIES + "§%=—–")
_SUFFIXES = frozenset(_QUOTES + _PUNCTUATION + "—–")
_BEFORE_FULL_STOP = frozenset(_QUOTES + _PUNCTUATION + "0123456789%²-+|")
_DIGITS = frozenset("0123456789")
_USUAL_ENDS = frozenset(",!?;:)\"")  # of these a word of ASCII letters loses one, and no more
_DOLLARS = ("US$", "C$", "A$")

_MEASURE = re.compile(rf"(?<=[0-9])(?:{'|'.join(map(re.escape, [*_UNITS.split(), *_DOLLARS, *_CURRENCIES]))})\Z")
_LONGEST_MEASURE = 6  # with the digit before it

_LETTER = r"[^\W\d_]"
_INSIDE = re.compile(
    rf"\.\.+|…|(?<=[0-9])[+\-*^](?=[0-9-])|(?<={_LETTER}),(?={_LETTER})|(?<=[^\W_])(?:---?|——|[-–—~:<>=/])(?={_LETTER})"
    rf"|(?P<stop>(?<={_LETTER}|[{_QUOTES}])\.(?={_LETTER}|[{_QUOTES}]))|(?P<symbol>[^\w\s\x00-\xa5])"
)

_IN_LABEL = r"0-9A-Za-z\u00a1-\uffff"
# a label is bounded in length, so that no text makes the search slow
_ADDRESS = re.compile(
    rf"(?:(?:[{_IN_LABEL}](?:[{_IN_LABEL}_-]{{0,62}}[{_IN_LABEL}])?\.)+[^\W\d_A-Z]{{2,63}}|\d{{1,3}}(?:\.\d{{1,3}}){{3}})"
    r"(?::\d{2,5})?(?:[/?#]\S*)?"
)
_SCHEME = re.compile(r"[\w+.-]{2,}+://")

_RUNS = re.compile(r"\S+|\s+")
_CHUNKS = re.compile(r"\S+|[^\S ]\s*")
_REPEATED = re.compile(r"(\S)\1\1")
_REPEATED_SIGNS_ONLY_AT_THE_END = re.compile(r"(?:(\S)(?!\1\1))*?(?:([^\w\s])\2{2,}+)++[^\w\s]*+")
# signs around which a rule puts blanks, so that a line break before them becomes a line break with a blank
_SIGN_AFTER_BREAK = re.compile(r"[^\S ](?:[/#\\]|(\S)\1\1)")
_SIGN_AFTER_PARAGRAPH = re.compile(r"\n\n(?:[/#\\]|(\S)\1\1)")

# what the one pass does; the lists of the rules are a user's to change
_RULES_IN_ONE_PASS = tuple(text_proc_rules), tuple(text_postproc_rules)

_MOST_CHUNKS = 1 << 17
_LONGEST_CHUNK = 64


class WordTokenizer:
    """Cuts English text into words and signs; no text rules.

    `special_cases` are words with the tokens they become, or a list of words that stay whole. An exception that
    spaCy's tokenizer knows is known already; the special tokens stay whole always.

    >>> list(WordTokenizer()(["The U.S. dollar $1 is $1.00."]))
    [['The', 'U.S.', 'dollar', '$', '1', 'is', '$', '1.00', '.']]
    """

    def __init__(self, special_cases: Mapping[str, Sequence[str]] | Iterable[str] = ()) -> None:
        self.special_cases = _special_cases(special_cases)
        self._prepare()

    def __call__(self, texts: Iterable[str]) -> Iterator[list[str]]:
        """Yield the tokens of each text."""
        for text in texts:
            yield self.tokens(text)

    def tokens(self, text: str) -> list[str]:
        """Return the tokens of a text; white space that is more than one blank between words is a token too."""
        tokens: list[str] = []
        for run in _RUNS.findall(_checked(text)):
            if not run.isspace():
                tokens.extend(self._chunks[run])
            elif tokens and run[0] == " ":
                tokens.extend([run[1:]] if len(run) > 1 else ())
            else:
                tokens.append(run)
        return tokens

    def cut(self, chunk: str) -> Tokens:
        """Return the tokens of a chunk of text without white space, worked out anew."""
        if not chunk.isascii():
            tokens = self._cut(chunk, self._whole)
        elif chunk.isalpha():
            return self._whole.get(chunk) or (chunk,)
        elif (word := chunk[:-1]).isalpha() and (chunk[-1] in _USUAL_ENDS or (chunk[-1] == "." and word[-1].islower())):
            tokens = self._whole.get(chunk) or (*(self._whole.get(word) or (word,)), chunk[-1])
        else:
            tokens = self._cut(chunk, self._whole)
        return self._joined(tokens) if len(tokens) > 1 and not self._sizes_from.keys().isdisjoint(tokens) else tokens

    def __getstate__(self) -> dict[str, object]:
        return {"special_cases": self.special_cases}

    def __setstate__(self, state: dict[str, dict[str, Tokens]]) -> None:
        self.special_cases = state["special_cases"]
        self._prepare()

    def _prepare(self) -> None:
        self._whole = english_exceptions() | {token: (token,) for token in SPECIAL_TOKENS} | self.special_cases
        self._longest = max(map(len, self._whole))
        self._chunks = _KnownChunks(self.cut)
        # an exception of signs (":)") is also found where the rules had cut it up, as in "fine:)"
        cut = ((self._cut(word, {}), tokens) for word, tokens in self._whole.items() if not word.isalpha())
        self._sequences = {parts: tokens for parts, tokens in cut if len(parts) > 1}
        sizes: dict[str, set[int]] = {}
        for parts in self._sequences:
            sizes.setdefault(parts[0], set()).add(len(parts))
        self._sizes_from = {first: tuple(own) for first, own in sizes.items()}

    def _cut(self, chunk: str, whole: Mapping[str, Tokens]) -> Tokens:
        start, end = 0, len(chunk)
        front: list[str] = []
        back: list[str] = []

        def is_whole(start: int, end: int) -> bool:
            return start < end <= start + self._longest and chunk[start:end] in whole

        while start < end and not is_whole(start, end):
            prefix = _prefix_length(chunk, start, end)
            if prefix and is_whole(start + prefix, end):
                front.append(chunk[start : start + prefix])
                start += prefix
                break
            suffix = _suffix_length(chunk, start + prefix, end)
            if suffix and is_whole(start, end - suffix):
                back.append(chunk[end - suffix : end])
                end -= suffix
                break
            if not prefix + suffix:
                break
            if prefix:
                front.append(chunk[start : start + prefix])
            if suffix:
                back.append(chunk[end - suffix : end])
            start, end = start + prefix, end - suffix
        middle = chunk[start:end]
        if middle:
            front += whole.get(middle) or ([middle] if _is_address(middle) else _cut_inside(middle))
        return (*front, *reversed(back))

    def _joined(self, tokens: Tokens) -> Tokens:
        """Put the exceptions in place of the tokens that make one up, the longest first."""
        matches: list[tuple[int, int]] = []  # how long, negative for sorting, and where
        for start, token in enumerate(tokens):
            for size in self._sizes_from.get(token, ()):
                if start + size <= len(tokens) and tokens[start : start + size] in self._sequences:
                    matches.append((-size, start))
        if not matches:
            return tokens
        found: dict[int, int] = {}
        taken = [False] * len(tokens)
        for negative, start in sorted(matches):
            size = -negative
            if not taken[start] and not taken[start + size - 1]:
                found[start] = size
            taken[start : start + size] = [True] * size
        joined: list[str] = []
        place = 0
        while place < len(tokens):
            size = found.get(place, 1)
            part = tokens[place : place + size]
            joined += self._sequences[part] if place in found else part
            place += size
        return tuple(joined)


class WordsWithRules:
    """Text rules, then a tokenizer, then rules for each token: what a document becomes before it becomes numbers.

    With the rules that are there by default, and a `WordTokenizer`, all is done in one pass with a memory of distinct
    chunks; with a list of rules of your own (functions from text to text), or a tokenizer of your own (a function
    from texts to lists of tokens), one after the other. The results are the same.

    >>> list(WordsWithRules()(["WOW, I loved it!!!! Don't miss it."]))[0][:12]
    ['xxbos', 'xxup', 'wow', ',', 'i', 'loved', 'it', 'xxrep', '4', '!', 'xxmaj', 'do']
    """

    def __init__(
        self,
        tokenizer: Callable[[Iterable[str]], Iterable[list[str]]] | None = None,
        rules: Sequence[TextRule] | None = None,
        post_rules: Sequence[TextRule] | None = None,
    ) -> None:
        self.tokenizer = WordTokenizer() if tokenizer is None else tokenizer
        self.rules = list(text_proc_rules if rules is None else rules)
        self.post_rules = list(text_postproc_rules if post_rules is None else post_rules)
        self._prepare()

    def __call__(self, texts: Iterable[str]) -> Iterator[list[str]]:
        """Yield the tokens of each text."""
        if self._one_pass:
            return map(self._tokens_in_one_pass, texts)
        return map(self._after_rules, self.tokenizer(map(self.ruled, texts)))

    def tokens(self, text: str) -> list[str]:
        """Return the tokens of one text."""
        return next(iter(self([text])))

    def __getstate__(self) -> dict[str, object]:
        return {"tokenizer": self.tokenizer, "rules": self.rules, "post_rules": self.post_rules}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._prepare()

    def _prepare(self) -> None:
        self._one_pass = (
            type(self.tokenizer) is WordTokenizer and (tuple(self.rules), tuple(self.post_rules)) == _RULES_IN_ONE_PASS
        )
        self._raw = _KnownChunks(self._chunk_with_rules)
        self._ready = _KnownChunks(self._chunk)

    def ruled(self, text: str) -> str:
        """Return a text after the rules, before it is cut into tokens."""
        _checked(text)
        for rule in self.rules:
            text = rule(text)
        return text

    def _after_rules(self, tokens: list[str]) -> list[str]:
        for rule in self.post_rules:
            tokens = [rule(token) for token in tokens]
        return tokens

    def _tokens_in_one_pass(self, text: str) -> list[str]:
        text = _without_html(_checked(text))
        words = text.split()
        if _has_word_said_again(words):
            return self._step_by_step(text)
        pieces = _pieces(text, words)
        if pieces is None:
            return self._step_by_step(text)
        try:
            return [BOS, *chain.from_iterable(map(self._raw.__getitem__, pieces))]
        except _NotByChunkError:
            return self._step_by_step(text)

    def _step_by_step(self, text: str) -> list[str]:
        """Apply the rules to the whole text where they look further than one chunk; its HTML is mended already."""
        for rule in (replace_rep, replace_wrep, spec_add_spaces, rm_useless_spaces, str.strip):
            text = rule(text)
        return [BOS, *chain.from_iterable(map(self._ready.__getitem__, _CHUNKS.findall(text)))]

    def _chunk_with_rules(self, chunk: str) -> Tokens:
        """Return what all rules and the tokenizer make of a chunk; refuse where it depends on its neighbours."""
        if _REPEATED.search(chunk):
            if not _REPEATED_SIGNS_ONLY_AT_THE_END.fullmatch(chunk):
                raise _NotByChunkError
            chunk = replace_rep(chunk)
        elif chunk.isalpha():
            return self._chunk(chunk)
        elif chunk.isspace():
            return self._chunk(rm_useless_spaces(chunk))
        parts = spec_add_spaces(chunk).split()
        return self._chunk(parts[0]) if len(parts) == 1 else tuple(chain.from_iterable(map(self._chunk, parts)))

    def _chunk(self, chunk: str) -> Tokens:
        if chunk.isspace():
            return (chunk.replace(" ", "▁"),)
        mark, word = mark_case(chunk)
        tokens = self.tokenizer.cut(word)  # type: ignore[attr-defined]
        return (mark, *tokens) if mark else tokens


class _KnownChunks(dict[str, Tokens]):
    """What each distinct chunk becomes, worked out when it is first met.

    When there are too many, those that were not met since the last time are forgotten: what is kept is bounded,
    whatever the size of a corpus.
    """

    def __init__(self, work_out: Callable[[str], Tokens]) -> None:
        self.work_out = work_out
        self.older: dict[str, Tokens] = {}

    def __missing__(self, chunk: str) -> Tokens:
        tokens = self.older.get(chunk) or self.work_out(chunk)
        if len(chunk) <= _LONGEST_CHUNK:
            if len(self) >= _MOST_CHUNKS:
                self.older = dict(self)
                self.clear()
            self[chunk] = tokens
        return tokens


class _NotByChunkError(Exception):
    """A repetition may reach beyond its chunk, so that the text must go through the rules as a whole."""


def _without_html(text: str) -> str:
    """Do as `fix_html`, and nothing that a look at the text shows to be needless."""
    if ";" in text or "\\" in text or " @" in text:
        return fix_html(text)
    if "<" in text:
        text = text.replace("<br />", "\n").replace("<unk>", UNK)
    if "..." in text:
        text = text.replace("...", " …")
    return html.unescape(text) if "&" in text else text


def _pieces(text: str, words: list[str]) -> list[str] | None:
    """Return the chunks of a text and the line breaks between them; None where a rule would add blanks to a break."""
    text = text.strip()
    while "  " in text:
        text = text.replace("  ", " ")
    joined = " ".join(words)
    if joined == text:
        return words
    if joined == text.replace("\n\n", " "):  # nearly always, where HTML had two <br />
        if _SIGN_AFTER_PARAGRAPH.search(text):
            return None
        return text.replace("\n\n", " \n\n ").split(" ")
    return None if _SIGN_AFTER_BREAK.search(text) else _CHUNKS.findall(text)


def _has_word_said_again(pieces: list[str]) -> bool:
    if not any(map(eq, pieces, islice(pieces, 1, None))):
        return False
    threes = zip(pieces, islice(pieces, 1, None), islice(pieces, 2, None), strict=False)
    return any(first == second and third.startswith(first) for first, second, third in threes)


def _prefix_length(chunk: str, start: int, end: int) -> int:
    sign = chunk[start]
    if sign in _PREFIXES:
        return 1
    if sign == ".":
        place = start
        while place < end and chunk[place] == ".":
            place += 1
        return place - start if place - start > 1 else 0
    if sign == "+":
        return int(chunk[start + 1 : start + 2] not in _DIGITS)
    if sign in "UCA":
        return next((len(sign) for sign in _DOLLARS if chunk.startswith(sign, start, end)), 0)
    return int(_is_symbol(sign))


def _suffix_length(chunk: str, start: int, end: int) -> int:
    if start >= end:
        return 0
    sign = chunk[end - 1]
    before = chunk[end - 2] if end - 2 >= start else ""
    if sign == ".":
        return _stops_length(chunk, start, end)
    if sign in _SUFFIXES:
        return 2 if sign == before == "…" else 1
    if sign in "sS" and before and before in "'’":
        return 2
    if sign == "+" and before in _DIGITS:
        return 1
    if found := _MEASURE.search(chunk[max(start, end - _LONGEST_MEASURE) : end]):
        return len(found[0])
    return int(_is_symbol(sign))


def _stops_length(chunk: str, start: int, end: int) -> int:
    place = end
    while place > start and chunk[place - 1] == ".":
        place -= 1
    if end - place > 1:
        return end - place
    before = chunk[max(start, place - 2) : place]
    if not before:
        return 0
    if before[-1] in _BEFORE_FULL_STOP or (before[-1].isalpha() and not before[-1].isupper()):
        return 1
    if before[0] == "°":
        return int(before[1:] in ("F", "C", "K"))
    return int(len(before) == 2 and before.isalpha() and before.isupper())


def _is_symbol(sign: str) -> bool:
    return sign > "\xa5" and unicodedata.category(sign) == "So"


def _is_address(word: str) -> bool:
    """Tell whether a word is an address of the web or a mailbox, or looks like one: "end.the" does."""
    if "." not in word:
        return False
    starts = {0} | {at + 1 for at in (word.find("@"), word.rfind("@")) if at > 0}
    if scheme := _SCHEME.match(word):
        starts.add(scheme.end())
    return any(_ADDRESS.fullmatch(word, start) for start in starts)


def _cut_inside(word: str) -> list[str]:
    tokens = []
    start = 0
    for found in _INSIDE.finditer(word):
        place, end = found.span()
        if place == 0 or (found["symbol"] and not _is_symbol(found[0])):
            continue
        if found["stop"] and (word[place - 1].isupper() or word[end].islower()):
            continue
        if place > start:
            tokens.append(word[start:place])
        tokens.append(found[0])
        start = end
    return [*tokens, word[start:]] if start < len(word) else tokens


def _special_cases(special_cases: Mapping[str, Sequence[str]] | Iterable[str]) -> dict[str, Tokens]:
    if isinstance(special_cases, str):
        raise ArgumentError(f"special_cases is a list of words or a dictionary, got the text {special_cases!r}")
    if not isinstance(special_cases, Mapping):
        special_cases = {word: (word,) for word in special_cases}
    for word, tokens in special_cases.items():
        if not word or any(map(str.isspace, word)):
            raise ArgumentError(f"a special case is a word without white space, got {word!r}")
        if isinstance(tokens, str) or "".join(tokens) != word:
            raise ArgumentError(
                f"the tokens of a special case, joined, give the word; those of {word!r} are {tokens!r}: "
                f"write them as a list, for example {{{word!r}: {[word]!r}}}"
            )
    return {word: tuple(tokens) for word, tokens in special_cases.items()}


def _checked(text: str) -> str:
    if not isinstance(text, str):
        raise ArgumentError(
            f"expected a text, got {text!r} of type {type(text).__name__}; turn the items of a column into texts "
            'first, for example by frame[column].fillna("").astype(str)'
        )
    return text
