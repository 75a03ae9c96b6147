"""Words and patterns: what is found in a text, however it is spelled."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kf2v.moderation import Undecided
from kf2v.moderation.lists.kept import BrokenLine
from kf2v.moderation.lists.words import objection, parse, plain


def found(text: str, *lines: str) -> str | None:
    """What it is refused for."""
    entries = [parse(line, number) for number, line in enumerate(lines, start=1)]
    said = objection(text, entries, "words.txt")
    return said and said.ground


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("gore", "A GORE film"),
        ("gore", "gore"),
        ("gore", "so much gore, really"),
        ("Gore", "ｇｏｒｅ"),
        ("gore", "go\u200bre"),
        ("gore", "g\u00ado\ufe0fr\u2060e"),
        ("gore", "看gore视频"),
        ("gore", "so_much_gore_"),
        ("mickey mouse", "Mickey\n  Mouse dances"),
        ("斩首", "他被斩首了"),
        ("米老鼠", "一只米老鼠在跳舞"),
        ("斬首", "城で斬首される"),
        ("처형", "처형하는 장면"),
        ("straße", "die STRASSE brennt"),
        ("c++", "he writes C++ code"),
        ("🔪", "a 🔪 in the dark"),
        ("ﬁre", "on FIRE"),
        ("café", "a cafe\u0301 burns"),
        (r"/\bnude\w*/", "NUDES on the beach"),
        (r"/裸.{0,3}照/", "她的裸体写照"),
        (r"/^a .* end$/", "A long\nEND"),
    ],
)
def test_a_listed_word_is_found_however_it_is_written(entry: str, text: str) -> None:
    assert found(text, entry) == "inappropriate"


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("敏感词", "有敏 感 词在里面"),
        ("敏感词", "敏\u3000感\n词"),
        ("敏感词", "敏\u200b 感\u2060词"),
        ("敏感词", "敏*感_词"),
        ("敏感词", "敏·感・词"),
        ("敏感词", "敏/感#词"),
        ("敏感词", "敏🐱感\u2800词"),
        ("敏 感词", "敏感词"),
        ("女优AV", "女优 AV"),
        ("18禁", "18 禁"),
        ("ミッキーマウス", "ミッキー・マウス"),
        ("斩首", "斩\u0336首\u0336"),
        ("gore", "g\u0336o\u0336r\u0336e\u0336"),
        ("gore", "so much g\N{CYRILLIC SMALL LETTER O}r\N{CYRILLIC SMALL LETTER IE}"),
        ("gore", "G\N{GREEK CAPITAL LETTER OMICRON}RE"),
        ("bomb", "b\N{CYRILLIC CAPITAL LETTER O}\N{CYRILLIC CAPITAL LETTER EM}B"),
        ("gore", "go\x08re"),
    ],
)
def test_a_listed_word_is_found_under_a_disguise(entry: str, text: str) -> None:
    assert found(text, entry) == "inappropriate"


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("斩首", "他拔刀一斩，首领倒下"),
        ("斩首", "他拔刀一斩。首领倒下"),
        ("斩首", "他拔刀一斩——首领倒下"),
        ("斩首", "他拔刀一斩……首领倒下"),
        ("斩首", "《斩》首映"),
        ("斩首", "“斩”首映"),
        ("斩首", "打斩、首饰"),
        ("처형", "우리 처 형제"),
        ("gore", "g o r e"),
        ("gore", "go*re"),
        # a Russian word of nothing but twins, next to an English one
        ("cop", "\N{CYRILLIC SMALL LETTER ES}\N{CYRILLIC SMALL LETTER O}\N{CYRILLIC SMALL LETTER ER} by name"),
        ("a", "\N{GREEK SMALL LETTER ALPHA} particles"),
        ("斬首", "斩首"),
    ],
)
def test_what_ordinary_texts_are_made_of_is_no_disguise(entry: str, text: str) -> None:
    assert found(text, entry) is None


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (r"/斩首/", "斩 首"),
        (r"/gore/", "g\N{CYRILLIC SMALL LETTER O}re"),
        (r"/gore/", "g\u0336ore"),
    ],
)
def test_a_pattern_means_what_it_says(entry: str, text: str) -> None:
    assert found(text, entry) is None


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (r"/斩\s首/", "斩 首"),
        (r"/斩\*首/", "斩*首"),
        (r"/\p{Cyrillic}/", "g\N{CYRILLIC SMALL LETTER O}re"),
    ],
)
def test_a_pattern_sees_what_words_look_past(entry: str, text: str) -> None:
    assert found(text, entry) == "inappropriate"


@pytest.mark.parametrize(
    ("entry", "text"), [("🔪", "用🔪杀"), ("*斩首", "看*斩首"), ("敏*感", "敏*感"), ("g\u0336", "ag g\u0336")]
)
def test_signs_of_an_entry_of_the_owners_are_no_disguise(entry: str, text: str) -> None:
    assert found(text, entry) == "inappropriate"


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("gore", "Gorée is an island"),
        ("gore", "the categoregore"),
        ("art", "a party in the cart"),
        ("mickey mouse", "mickeymouse"),
        ("斩首", "斩获首奖"),
        ("ass", "a glass of grass"),
        (r"/\bnude\w*/", "denuded hills"),
    ],
)
def test_a_word_inside_another_is_another_word(entry: str, text: str) -> None:
    assert found(text, entry) is None


def test_an_entry_may_be_about_rights() -> None:
    assert found("Mickey Mouse dances", "gore", "ip: mickey mouse") == "ip"
    assert found("米老鼠", "IP:米老鼠") == "ip"
    assert found("a mouse42", r"ip: /mouse\d+/") == "ip"


def test_the_first_entry_in_the_file_counts() -> None:
    assert found("gore of mickey mouse", "ip: mickey mouse", "gore") == "ip"


def test_a_refusal_names_the_line_and_not_the_words() -> None:
    said = objection("an unspeakable thing", [parse("unspeakable", 7)], "words.txt")
    assert said is not None
    assert said.reason == "line 7 of words.txt"


@pytest.mark.parametrize(
    "line",
    [
        *("/(/", "/", "//", "/half", "/a*/", "/x|/", "ip:", "\u200b", "/[[:nonsense:]/", "/(?P<a>x)(?P<a/"),
        *("/(?V0)gore/", "/(?u)(?L)gore/", "/\\N{2i<\\,&&(?L)||(?b)~/"),
    ],
)
def test_a_line_that_means_nothing_is_broken(line: str) -> None:
    with pytest.raises(BrokenLine):
        parse(line, 1)


def test_a_pattern_that_would_take_all_memory_is_not_even_tried() -> None:
    with pytest.raises(BrokenLine, match="multiply"):
        parse("/(?:(?:ab){400}){400}/", 1)
    assert found("2026-11-21 and 20 characters on: gore", r"/\d{4}-\d{2}-\d{2}.{20,500}gore/") == "inappropriate"


def test_a_pattern_that_would_take_centuries_is_given_up_and_the_others_are_asked() -> None:
    endless = "a" * 60 + "!"
    with pytest.raises(Undecided, match=r"line 1 of words\.txt"):
        found(endless, r"/(a|aa)+$/", "gore")
    assert found(endless + " gore", r"/(a|aa)+$/", "gore") == "inappropriate"


def test_many_endless_patterns_share_their_time() -> None:
    entries = [parse(r"/(a|aa)+$/", number) for number in range(1, 2001)]
    with pytest.raises(Undecided):
        objection("a" * 60 + "!", entries, "words.txt")


@given(st.text(max_size=60))
@example("ͅ")
@example("ﷺ")
def test_the_plain_form_is_a_form_and_stays_as_it_is(text: str) -> None:
    assert plain(plain(text)) == plain(text)
    assert not any(unicodedata.category(letter) == "Cf" for letter in plain(text))


@given(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1, max_size=20))
def test_every_word_of_letters_is_found_in_itself(word: str) -> None:
    try:
        assert found(word, word) == "inappropriate"
        assert found(f"« {word.upper()} »", word) is not None or plain(word.upper()) != plain(word)
    except BrokenLine:
        assert not plain(word)
