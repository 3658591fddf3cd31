"""English words that the general rules would cut wrongly: after reading it you know them, and into what they are cut.

The list is that of spaCy's tokenizer for English, which published language models have seen: contractions ("don't" is
"do" and "n't"), abbreviations that keep their full stop, times of day and emoticons.
"""

# ruff: noqa: RUF001 (signs of many scripts are what this file is about)

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

# words, and what may follow them; a bar parts the tokens; each is known without its apostrophes and with a capital too
_CONTRACTIONS = (
    ("i", "'m 'm|a"),
    ("i you he she it we they", "'ll 'll|'ve 'd 'd|'ve"),
    ("i you we they", "'ve"),
    ("you we they", "'re"),
    ("he she it", "'s"),
    ("who what when where why how there that this", "'s"),
    ("who what when where why how there these those", "'re 've"),
    ("who what when where why how there that this these those", "'ll 'll|'ve 'd 'd|'ve"),
    ("ca could do does did had may might must need ought sha should wo would", "n't n't|'ve"),
    ("could might must should would", "'ve"),
    ("ai are is was were have has dare", "n't"),
)
# these are words of their own when the apostrophe is missing
_NO_CONTRACTIONS = {"ill", "its", "hell", "shell", "shed", "were", "well", "whore"}

_PARTED = """
y'|all y|all how|'d|'y How|'d|'y not|'ve not|ve Not|'ve Not|ve can|not Can|not gon|na Gon|na got|ta Got|ta
let|'s Let|'s c'm|on C'm|on °|c|. °|f|. °|k|. °|C|. °|F|. °|K|.
"""

_WHOLE = r"""
doin goin nothin nuthin ol somethin lovin havin doin' goin' nothin' nuthin' ol' somethin' lovin' havin'
Doin Goin Nothin Nuthin Ol Somethin Lovin Havin Doin' Goin' Nothin' Nuthin' Ol' Somethin' Lovin' Havin'
em ll nuff 'em 'll 'nuff 'S 's ‘S ‘s 'd 're 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout
and/or w/o ma'am Ma'am o'clock O'clock
Mt. Ak. Ala. Apr. Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. Jun. Kan.
Kans. Ky. La. Mar. Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa. S.C.
Sep. Sept. Tenn. Va. Wash. Wis.
a.m. p.m. Adm. Bros. co. Co. Corp. D.C. Dr. e.g. E.g. E.G. Gen. Gov. i.e. I.e. I.E. Inc. Jr. Ltd. Md. Messrs. Mo.
Mont. Mr. Mrs. Ms. Ph.D. Prof. Rep. Rev. Sen. St. vs. v.s.
a. b. c. d. e. f. g. h. i. j. k. l. m. n. o. p. q. r. s. t. u. v. w. x. y. z. ä. ö. ü.
' \") <space> '' C++ \t \n —
"""

_EMOTICONS = r"""
:) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-; :( :-( :(( :-((
:((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p :-p :O :-O :o :-o :0 :-0 :() >:o :*
:-* :3 :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D xD XD xDD XDD 8D 8-D ^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__-
v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o 0.0 o.0 0.o @_@ <3 <33 <333 </3 (^_^) (-_-) (._.) (>_<)
(*_*) (¬_¬) ಠ_ಠ ಠ︵ಠ (ಠ_ಠ) ¯\(ツ)/¯ (╯°□°）╯︵┻━┻ ><(((*>
"""


@cache
def english_exceptions() -> dict[str, tuple[str, ...]]:
    """Return every word of the list with its tokens: 1,300 or so entries, the tokens of each joined give the word."""
    parted = [*_contractions(), *(tuple(word.split("|")) for word in _PARTED.split())]
    parted += [(word,) for word in (_WHOLE + _EMOTICONS).split()]
    parted += [(str(hour), half) for hour in range(1, 13) for half in ("a.m.", "am", "p.m.", "pm")]
    parted += [tuple(token.replace("'", "’") for token in tokens) for tokens in parted]
    return {"".join(tokens): tokens for tokens in parted}


def _contractions() -> Iterator[tuple[str, ...]]:
    for words, endings in _CONTRACTIONS:
        for small in words.split():
            for word in (small, small.title()):
                for ending in endings.split():
                    yield word, *ending.split("|")
                    plain = ending.replace("'", "")
                    if (word + plain).lower() not in _NO_CONTRACTIONS:
                        yield word, *plain.split("|")
