"""Which of the two languages that prompts are written in."""

import re
from typing import Literal, TypeAlias

Language: TypeAlias = Literal["en", "zh"]

#: CJK ideographs, without Japanese syllables and Korean letters, which also come with ideographs
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_KANA_OR_HANGUL = re.compile(r"[\u3040-\u30ff\uac00-\ud7af\u1100-\u11ff]")
_WORD = re.compile(r"[^\W\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]+")


def language_of(text: str) -> Language | None:
    """The language of ``text``; None where there is no word in it, or it is surely another one.

    An ideograph counts as much as a Latin word does: "一只 golden retriever" is Chinese. Whatever is written in other
    letters than Chinese counts as English, for no picture of ours tells French from it.
    """
    if _KANA_OR_HANGUL.search(text):
        return None
    han, words = len(_HAN.findall(text)), len(_WORD.findall(text))
    if not han and not words:
        return None
    return "zh" if han >= words else "en"
