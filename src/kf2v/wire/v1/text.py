"""Length of a prompt as the reference counts it: one per character or letter, and one per emoji.

Most emoji are several code points (a base, a skin tone, a joiner, another base); cutting between them would turn a
family into a man, so a whole emoji counts as one. The pattern is that of Unicode UTS #51, section 1.4.9.
"""

import regex

#: reference, "prompt": "Maximum length: 800 characters"
PROMPT_LIMIT = 800
#: reference, "negative_prompt": "Maximum length: 500 characters"
NEGATIVE_PROMPT_LIMIT = 500

_ELEMENT = r"\p{Emoji}(?:\p{Emoji_Modifier}|\uFE0F\u20E3?|[\U000E0020-\U000E007E]+\U000E007F)?"
_CHARACTER = regex.compile(rf"\p{{Regional_Indicator}}{{2}}|{_ELEMENT}(?:\u200D{_ELEMENT})*|.", regex.DOTALL | regex.V1)


def cut(text: str, limit: int) -> str:
    """The first ``limit`` characters of ``text``."""
    if len(text) <= limit:
        return text
    end = 0
    for count, character in enumerate(_CHARACTER.finditer(text), start=1):
        end = character.end()
        if count == limit:
            break
    return text[:end]
