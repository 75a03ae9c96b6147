"""Words and patterns that may not be in a text, however it is spelled.

Text and words are brought to one form first: compatibility forms made plain (full width, ligatures), case folded,
invisible characters taken out, every space one space. A word counts where it stands alone in scripts that put spaces
between words, and anywhere in those that do not.

Words are looked for once more with disguises taken off that no ordinary text wears: letters of another alphabet that
look the same, marks set upon letters, and what stands between Chinese or Japanese characters without ending or parting
a sentence. Patterns are not: they mean what they say.
"""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias
from unicodedata import normalize

import regex

from kf2v.moderation import Objection, Undecided
from kf2v.moderation.lists.kept import BrokenLine

Ground: TypeAlias = Literal["inappropriate", "ip"]

#: what stands before an entry that is about rights
RIGHTS = "ip:"
#: seconds that one pattern may take on a text, and all of them together; a prompt has 800 characters at most
PATTERN_TIME, ALL_TIME = 0.2, 2.0
#: the product of all counts in a pattern: the library writes what is repeated so often out, within one another
MOST_REPEATED = 100_000

_COUNT = regex.compile(r"\{([0-9]{1,18})")
_INVISIBLE = regex.compile(r"[[\p{Cf}\p{Variation_Selector}\p{Default_Ignorable_Code_Point}\p{Cc}]--\s]", regex.V1)
_SPACES = regex.compile(r"\s+")
#: letters that do not end a word written in these scripts, or in front of them
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER = rf"[[\w]--[_{_UNSPACED}]]"
_IS_LETTER = regex.compile(_LETTER, regex.V1)

#: Letters drawn like Latin ones, Cyrillic and then Greek. They count as those inside a word that has Latin letters as
#: well, which no ordinary word has: "сор" and "ρ" are what they are.
_TWINS = str.maketrans(
    "АВЕЅІЈКМНОРСТУХаеѕіјкорсухһԁѵԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧαικνορυχ",
    "ABESIJKMHOPCTYXaesijkopcyxhdvqwABEZHIKMNOPTYXaikvopux",
)
_WRITTEN = regex.compile(r"[\p{Latin}\p{Cyrillic}\p{Greek}]+", regex.V1)
_LATIN = regex.compile(r"\p{Latin}")
#: Chinese and Japanese; in others that put no spaces between words, a space ends a sentence
_CJ = r"[\p{Han}\p{Hiragana}\p{Katakana}ー]"
#: neither the signs that end or part sentences nor brackets, quotation marks and dashes
_BETWEEN = r"[[\s\p{P}\p{S}]--[\p{Terminal_Punctuation}\p{Dash}\p{Ps}\p{Pe}\p{Pi}\p{Pf}\p{Quotation_Mark}]]"
_FILLER = regex.compile(rf"(?<={_CJ}){_BETWEEN}+(?={_CJ})|(?<={_CJ})\s+(?=\w)|(?<=\w)\s+(?={_CJ})", regex.V1)
_MARKS = regex.compile(rf"(?<=[\p{{Latin}}\p{{Cyrillic}}\p{{Greek}}{_CJ}])\p{{M}}+", regex.V1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word, or several with a space between them."""

    #: in the file
    number: int
    ground: Ground
    #: in the form that texts are brought to
    text: str
    #: the same with disguises taken off
    bare: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A regular expression."""

    number: int
    ground: Ground
    pattern: "regex.Pattern[str]"


def plain(text: str) -> str:
    """``text`` in the form in which it is compared."""
    folded = normalize("NFKC", normalize("NFKC", _INVISIBLE.sub("", text)).casefold())
    return _SPACES.sub(" ", _INVISIBLE.sub("", folded)).strip()


def bare(text: str) -> str:
    """``text`` in the form in which words are looked for once more."""
    visible = _MARKS.sub("", normalize("NFKC", _INVISIBLE.sub("", text)))
    return _FILLER.sub("", plain(_WRITTEN.sub(lambda word: _in_one_alphabet(word[0]), visible)))


def _in_one_alphabet(word: str) -> str:
    """``word`` without the twins of Latin letters, if it has real ones."""
    return word.translate(_TWINS) if _LATIN.search(word) else word


def parse(line: str, number: int) -> Word | Pattern:
    """An entry. Raises BrokenLine."""
    ground, entry = split_ground(line)
    if entry.startswith("/"):
        return Pattern(number=number, ground=ground, pattern=_compiled(entry))
    word = plain(entry)
    if not word:
        raise BrokenLine("there is no word in it")
    return Word(number=number, ground=ground, text=word, bare=bare(entry))


def split_ground(line: str) -> tuple[Ground, str]:
    """What an entry objects to, and the entry itself."""
    if line[: len(RIGHTS)].lower() == RIGHTS:
        return "ip", line[len(RIGHTS) :].strip()
    return "inappropriate", line


def objection(text: str, entries: Iterable[Word | Pattern], file: str) -> Objection | None:
    """What the first of ``entries`` that is in ``text`` has against it.

    Raises Undecided where a pattern did not come to an end in time and no other entry was found.
    """
    here, below, end, slow = plain(text), bare(text), time.monotonic() + ALL_TIME, list[int]()
    for entry in entries:
        if isinstance(entry, Word):
            found = _has(here, entry.text) or _has(below, entry.bare)
        else:
            left = min(PATTERN_TIME, end - time.monotonic())
            try:
                # the lock of the interpreter is let go, or one slow pattern would hold up everything else
                found = left > 0 and entry.pattern.search(here, timeout=left, concurrent=True)
            except TimeoutError:
                found, left = None, 0.0
            if left <= 0:
                slow.append(entry.number)
        if found:
            return Objection(ground=entry.ground, reason=f"line {entry.number} of {file}")
    if slow:
        raise Undecided(f"the pattern in line {slow[0]} of {file} takes longer than {PATTERN_TIME:g} s")
    return None


def _compiled(entry: str) -> "regex.Pattern[str]":
    if len(entry) < 3 or not entry.endswith("/"):
        raise BrokenLine("a pattern should stand between two slashes")
    if math.prod(max(1, int(count)) for count in _COUNT.findall(entry)) > MOST_REPEATED:
        raise BrokenLine(f"its counts multiply to more than {MOST_REPEATED}")
    try:
        pattern = regex.compile(entry[1:-1], regex.IGNORECASE | regex.V1)
        everywhere = pattern.search("", timeout=PATTERN_TIME)
    except (regex.error, ValueError, RecursionError, OverflowError, MemoryError) as error:
        raise BrokenLine(f"it is no regular expression: {error or type(error).__name__}") from error
    except TimeoutError as error:
        raise BrokenLine(f"it takes longer than {PATTERN_TIME:g} s on no text at all") from error
    if everywhere:
        raise BrokenLine("it is found in every text")
    return pattern


def _has(text: str, word: str) -> bool:
    """Whether ``word`` stands in ``text`` for itself."""
    return bool(word) and word in text and _alone(word).search(text) is not None


def _alone(word: str) -> "regex.Pattern[str]":
    before = rf"(?<!{_LETTER})" if _IS_LETTER.match(word[0]) else ""
    after = rf"(?!{_LETTER})" if _IS_LETTER.match(word[-1]) else ""
    return regex.compile(before + regex.escape(word, literal_spaces=True) + after, regex.V1)
