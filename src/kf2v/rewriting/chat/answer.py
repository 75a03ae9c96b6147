"""What a model answered, made a prompt; or the reason why it is none.

Whatever comes back is text for a video model and stays that: no markup is read, no call is made, nothing is run.
"""

import re
import unicodedata

from kf2v.rewriting.language import Language, language_of
from kf2v.wire.v1.text import PROMPT_LIMIT, cut

#: characters beyond which an answer is no prompt that ran over but something else
FAR_TOO_LONG = 4 * PROMPT_LIMIT

#: The beginning of a thought is often in the chat template, and its end alone in the answer.
_THOUGHT_BEGINS = re.compile(r"<(?:think|thinking|thought|reasoning)\b[^<>]*>", re.IGNORECASE)
_THOUGHT_ENDS = re.compile(r"</(?:think|thinking|thought|reasoning)\s*>", re.IGNORECASE)
_FENCE = re.compile(r"^```\w*\n(.*?)\n?```$", re.DOTALL)
_LABEL = re.compile(
    r"^(?:\*\*|#+ )?(?:(?:here(?:'s| is| are)|sure|certainly|of course|okay)\b[^\n]{0,80}:\s*\n+"
    r"|(?:(?:final|rewritten|revised|expanded|optimi[sz]ed|video|new|actual)[ _]){0,3}prompt(?:\*\*)?\s*[:：]"
    r"(?:\*\*)?\s*|(?:好的|当然)[^\n]{0,40}[:：]\s*\n+"
    r"|(?:改写|优化|扩写|最终|润色)?后?的?提示词(?:如下)?(?:\*\*)?\s*[:：](?:\*\*)?\s*)",
    re.IGNORECASE,
)
_MARKS = re.compile(r"</?\s*prompt\s*>", re.IGNORECASE)
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "「": "」", "『": "』", "《": "》", "`": "`", "*": "*", "_": "_"}
_REFUSAL = re.compile(
    r"^(?:(?:i'?m|i am) (?:really |very |so )?sorry|sorry\b|i (?:can(?:'|no)t|can not)\b"
    r"|i (?:am unable|am not able|won't|will not)\b"
    r"|i'm (?:unable|not able)\b|unfortunately,? i\b|my apologies|i apologi[sz]e|as an ai\b|as a language model"
    r"|(?:很|非常)?抱歉|对不起|我(?:无法|不能|没有办法|没法)|作为(?:一个|一名)?(?:AI|人工智能|语言模型))",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[。！？]")


class Nonsense(ValueError):
    """An answer that is no prompt; says what it is instead."""


def tidy(text: str, *, prompt: str, language: Language | None, cut_short: bool = False) -> str:
    """The prompt in ``text``, one line of at most ``PROMPT_LIMIT`` characters. Raises Nonsense.

    ``prompt`` is the customer's, ``language`` what the answer must be written in, None accepts any. ``cut_short`` means
    that the model was stopped in the middle.
    """
    bare = _without_thoughts(_plain(text))
    if len(bare) > FAR_TOO_LONG:
        raise Nonsense(f"it has {len(bare)} characters")
    said = _unwrapped(bare)
    if not any(map(str.isalpha, said)):
        raise Nonsense("it is empty")
    if _REFUSAL.match(said) and not _REFUSAL.match(prompt):
        raise Nonsense("it is a refusal")
    if language is not None and language_of(said) != language:
        raise Nonsense("it is in another language than the prompt")
    return _shortened(said, cut_short=cut_short)


def _plain(text: str) -> str:
    """Without what is not text: controls, surrogates, private characters and invisible marks of direction."""
    return "".join(map(_visible, text)).strip()


def _visible(mark: str) -> str:
    if mark in "\n\u200d":  # a joiner makes one emoji of several
        return mark
    match unicodedata.category(mark):
        case "Cf":
            return ""
        case "Cc" | "Cs" | "Co":
            return " "
        case _:
            return mark


def _without_thoughts(text: str) -> str:
    """What comes after the last thought, up to one that was never ended."""
    answer = _THOUGHT_ENDS.split(text)[-1]
    return _THOUGHT_BEGINS.split(answer, maxsplit=1)[0].strip()


def _unwrapped(text: str) -> str:
    """Without fences, titles, marks and quotes around it, as often as there are any, on one line."""
    before = None
    while before != text:
        before = text
        if fenced := _FENCE.match(text):
            text = fenced[1]
        text = _MARKS.sub("", _LABEL.sub("", text.strip(), count=1)).strip()
        if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
            text = text[1:-1].strip()
        text = text.removeprefix("**").removesuffix("**").strip()
    return re.sub(r"\s+", " ", text)


def _shortened(text: str, *, cut_short: bool) -> str:
    """Cut after the last whole sentence that fits. Raises Nonsense where that would leave less than half."""
    fitting = cut(text, PROMPT_LIMIT)
    if fitting == text and not cut_short:
        return text
    ends = [found.end() for found in _SENTENCE_END.finditer(fitting)]
    if not ends or ends[-1] < len(fitting) // 2:
        raise Nonsense(f"it has {len(text)} characters and no sentence that could end it earlier")
    return fitting[: ends[-1]]
