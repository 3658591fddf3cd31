from __future__ import annotations

import pytest
import torch

from flambeau.foundation.errors import ArgumentError
from flambeau.text.generate import choose, continue_text, decode_spec_tokens

LOGITS = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()


def drawn(**settings) -> set[int]:
    generator = torch.Generator().manual_seed(0)
    return {choose(LOGITS, generator=generator, **settings) for _ in range(300)}


def test_all_words_are_drawn_without_limits():
    assert drawn() == {0, 1, 2, 3}


def test_temperature_0_takes_the_likeliest():
    assert drawn(temperature=0) == {0}


def test_a_low_temperature_draws_the_likeliest_more_often():
    generator = torch.Generator().manual_seed(0)
    counts = [sum(choose(LOGITS, t, generator=generator) == 0 for _ in range(300)) for t in (0.3, 1.0, 3.0)]
    assert counts[0] > counts[1] > counts[2]


def test_top_k_keeps_the_likeliest():
    assert drawn(top_k=2) == {0, 1}


def test_top_p_keeps_the_fewest_words_of_that_chance_together():
    assert drawn(top_p=0.75) == {0, 1}
    assert drawn(top_p=0.85) == {0, 1, 2}


def test_min_p_keeps_words_of_at_least_that_chance():
    assert drawn(min_p=0.1) == {0, 1, 2}


def test_the_likeliest_word_is_always_left():
    assert drawn(min_p=0.9) == drawn(top_p=0.01) == {0}


@pytest.mark.parametrize("setting", [{"temperature": -1}, {"top_k": 0}, {"top_p": 1.5}, {"min_p": 0}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ArgumentError, match=next(iter(setting))):
        choose(LOGITS, **setting)


def counting(ids: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot((ids[0, -1] + 1) % 10, 10).float()


def test_a_text_is_continued_word_by_word():
    assert continue_text(counting, [3, 4], 4, lambda logits: int(logits.argmax())) == [3, 4, 5, 6, 7, 8]


def test_it_stops_at_the_word_that_ends_a_text():
    assert continue_text(counting, [3], 9, lambda logits: int(logits.argmax()), stop=6) == [3, 4, 5]


def test_forbidden_words_are_never_written():
    def flat(ids: torch.Tensor) -> torch.Tensor:
        return torch.arange(10.0)

    assert continue_text(flat, [0], 2, lambda logits: int(logits.argmax()), forbidden=[9, 8]) == [0, 7, 7]


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ("xxbos xxmaj the film", ["The", "film"]),
        ("xxup wow", ["WOW"]),
        ("xxrep 3 !", ["!!!"]),
        ("xxwrep 3 bla", ["bla bla bla"]),
        ("xxmaj xxrep 2 a", ["Aa"]),
        ("the film xxmaj", ["the", "film"]),
        ("xxbos xxfld 1 the film xxfld 2 1 film", ["the", "film", "1", "film"]),
        ("xxrep", []),
        ("xxrep ² a", ["a"]),
        ("xxrep 99999999 a", ["a" * 100]),
    ],
)
def test_special_tokens_are_written_as_a_person_would(tokens, words):
    assert decode_spec_tokens(tokens.split()) == words
