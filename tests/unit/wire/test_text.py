"""Lengths as the reference counts them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kf2v.wire.v1.text import cut

FAMILY = "👨‍👩‍👧‍👦"
WAVE = "👋🏽"
FLAG = "🇨🇳"
KEYCAP = "1️⃣"
HEART = "❤️‍🔥"


@pytest.mark.parametrize("character", ["a", "猫", "😀", FAMILY, WAVE, FLAG, KEYCAP, HEART, "\n", "\x00"])
def test_a_letter_a_chinese_character_and_an_emoji_count_one(character: str) -> None:
    assert cut(character * 801, 800) == character * 800
    assert cut(character * 800, 800) == character * 800
    assert cut(character, 1) == character


def test_an_emoji_is_never_cut_in_two() -> None:
    assert cut("ab" + FAMILY + "cd", 3) == "ab" + FAMILY


def test_a_combining_mark_counts_like_the_letter_it_is() -> None:
    assert cut("e\u0301" * 3, 4) == "e\u0301" * 2


@given(st.text(max_size=60), st.integers(1, 40))
def test_a_cut_is_a_beginning_and_cutting_again_changes_nothing(text: str, limit: int) -> None:
    short = cut(text, limit)
    assert text.startswith(short)
    assert cut(short, limit) == short
    if len(text) <= limit:
        assert short == text
    else:
        assert len(short) >= limit
