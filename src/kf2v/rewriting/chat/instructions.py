"""What a language model is told: our own text, in files beside this one, and the customer's words between marks."""

import re
from functools import cache
from importlib.resources import files

from kf2v.rewriting.language import Language

#: how long an answer should be, in words of the instructions; a Chinese character is about two thirds of a word
LENGTHS: dict[Language, str] = {"en": "80 to 120 words", "zh": "120至180个字"}
#: what to call the language of an empty prompt, and the prompt's own
LANGUAGES: dict[Language, str] = {"en": "English", "zh": "简体中文"}
SAME_LANGUAGE: dict[Language, str] = {"en": "the language of the customer's text", "zh": "与用户文字相同的中文"}

_MARKS = re.compile(r"</?\s*prompt\b[^>]*>?", re.IGNORECASE)


@cache
def _template(language: Language) -> str:
    return (
        files(__name__.rpartition(".")[0]).joinpath(f"instructions.{language}.txt").read_text(encoding="utf-8").strip()
    )


def system(language: Language, *, empty: bool) -> str:
    """The instructions in ``language``; ``empty`` says that there is no prompt whose language could be followed."""
    named = LANGUAGES[language] if empty else SAME_LANGUAGE[language]
    return _template(language).format(language=named, length=LENGTHS[language])


def order(prompt: str, language: Language, notes: str) -> str:
    """What is asked: the prompt, unable to leave its marks, and ``notes`` about the frames for those who cannot see."""
    asked = f"<prompt>{_MARKS.sub(' ', prompt)}</prompt>"
    if not notes:
        return asked
    known = {
        "en": "You are not shown the frames. This much was measured in them:",
        "zh": "你看不到这两帧画面。以下是对它们的测量结果：",
    }
    return f"{asked}\n\n{known[language]} {notes}"


#: what is said before each picture
LABELS: dict[Language, tuple[str, str]] = {"en": ("First frame:", "Last frame:"), "zh": ("首帧：", "尾帧：")}
