"""Says what can be measured in the two frames, and invents nothing: no model, no network, the same words each time."""

import re
from typing import Protocol

from kf2v.rewriting import Report
from kf2v.rewriting.language import Language, language_of
from kf2v.rewriting.rules.chinese import Chinese
from kf2v.rewriting.rules.english import English
from kf2v.rewriting.rules.findings import Findings, findings
from kf2v.rewriting.rules.sight import Scene, look
from kf2v.video import Frame
from kf2v.wire.v1.text import PROMPT_LIMIT, cut


class Tongue(Protocol):
    """How findings are said in one language; empty where there is nothing to say."""

    stop: str
    gap: str

    def move(self, findings: Findings) -> str: ...
    def amounts(self, findings: Findings) -> str: ...
    def scene(self, findings: Findings) -> str: ...
    def look(self, findings: Findings) -> str: ...


TONGUES: dict[Language, Tongue] = {"en": English(), "zh": Chinese()}

#: who speaks of the camera has decided about it
_CAMERA = re.compile(
    r"\b(?:camera\w*|shots?|lens|pov|handheld|(?:zoom|pann?|tilt|orbit|doll[iy]|crane|pull|push)(?:e?s|ing|ed|y)?)\b"
    r"|镜头|机位|运镜|相机|摄像|摄影机|视角|固定|航拍|手持|[推拉]近|拉远|[推移升降摇甩]镜|环绕",
    re.IGNORECASE,
)
_ENDED = re.compile(r"[.!?。！？…~～]['\"”’』」)）]*$")


class Rules:
    """The rewriter that needs nothing."""

    name = "rules"

    def __init__(self, language: Language = "en") -> None:
        """``language`` is what an empty prompt is written in."""
        self._language: Language = language

    def rewrite(self, prompt: str, first: Frame, last: Frame, report: Report) -> str:
        """The caller's words as they are, then up to two sentences of ours; of an empty prompt, a full description.

        Sentences that would make the whole too long are left away. A caller who speaks of the camera is not told
        about it.
        """
        if not prompt.strip():
            return self.describe(first, last, self._language)
        tongue, seen = TONGUES[language_of(prompt) or "en"], findings(look(first, last))
        report(1.0)
        if seen.scene in (Scene.EQUAL, Scene.OTHER):
            happens = tongue.scene(seen)
        else:
            happens = "" if _CAMERA.search(prompt) else tongue.move(seen)
        text = prompt
        for sentence in filter(None, (happens, tongue.look(seen))):
            longer = _joined(text, sentence, tongue)
            text = longer if cut(longer, PROMPT_LIMIT) == longer else text
        return text

    def describe(self, first: Frame, last: Frame, language: Language) -> str:
        """All that was found, in ``language``; empty for a pair that tells nothing."""
        tongue, seen = TONGUES[language], findings(look(first, last))
        said = (tongue.move(seen), tongue.amounts(seen), tongue.scene(seen), tongue.look(seen))
        return tongue.gap.join(filter(None, said))


def _joined(text: str, sentence: str, tongue: Tongue) -> str:
    said = text.rstrip()
    stop = "" if _ENDED.search(said) else tongue.stop
    gap = tongue.gap or (" " if said.isascii() else "")
    return f"{said.rstrip(',;:，；：、') if stop else said}{stop}{gap}{sentence}"
