"""Asks a language model for the prompt, over the chat-completions protocol that most of them speak.

Knows no brand. Where the model can see it is shown both frames; where it cannot, it is told what was measured in them.
"""

import time
from collections.abc import Callable
from typing import Literal, TypeAlias

from kf2v.errors import RewriteFailed
from kf2v.net.call import Unanswered
from kf2v.rewriting import Report
from kf2v.rewriting.chat import instructions
from kf2v.rewriting.chat.answer import Nonsense, tidy
from kf2v.rewriting.chat.endpoint import Endpoint, Message
from kf2v.rewriting.language import Language, language_of
from kf2v.video import Frame
from kf2v.video.glance import data_url

Vision: TypeAlias = Literal["auto", "yes", "no"]
#: says in words of a language what can be measured in two frames
Notes: TypeAlias = Callable[[Frame, Frame, Language], str]

#: how often a model is asked for one prompt: once, and once more
TRIES = 2
#: seconds before asking again where the endpoint names no time, and the most it may name
PAUSE, LONGEST_PAUSE = 0.5, 20.0
#: letters of a prompt that nobody else comes up with by chance
REPEATING = 12
#: statuses by which an endpoint may mean that pictures are not for it
_UNSEEING = frozenset({400, 404, 413, 415, 422, 500, 501})


class Chat:
    """One model at one endpoint."""

    name = "openai"

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        vision: Vision = "auto",
        timeout: float = 60.0,
        language: Language = "en",
        notes: Notes | None = None,
        pause: float = PAUSE,
    ) -> None:
        """``timeout`` is in seconds and covers everything, a second try too; ``language`` is what an empty prompt is
        written in. ``vision`` auto shows pictures until they are refused once and words alone are not.
        """
        self._endpoint = endpoint
        self._timeout = timeout
        self._language: Language = language
        self._notes = notes
        self._pause = pause
        self._auto = vision == "auto"
        #: whether the model is shown pictures, as far as is known
        self.sees = vision != "no"

    def rewrite(self, prompt: str, first: Frame, last: Frame, report: Report) -> str:
        """What the model makes of ``prompt``. Raises RewriteFailed, from an Unanswered that says why."""
        asking = _Asking(self._timeout, report)
        try:
            return self._rewritten(prompt, first, last, asking)
        except Unanswered as error:
            raise RewriteFailed from _discreet(error, prompt)

    def probe(self, seconds: float) -> str:
        """Whether it answers at all: the first words of what it says. Raises Unanswered."""
        messages: list[Message] = [{"role": "user", "content": "Answer with one word: ready"}]
        return self._endpoint.ask(messages, seconds=seconds, tick=lambda: None).text.strip()[:40]

    def _rewritten(self, prompt: str, first: Frame, last: Frame, asking: "_Asking") -> str:
        language = language_of(prompt)
        wordless = not any(map(str.isalpha, prompt))
        spoken: Language = language or (self._language if wordless else "en")
        shown, tries = self.sees, TRIES
        while True:
            messages = self._messages(prompt, spoken, (first, last), shown=shown, empty=wordless)
            try:
                reply = self._endpoint.ask(messages, seconds=asking.left, tick=asking.tick)
                text = tidy(
                    reply.text,
                    prompt=prompt,
                    language=spoken if language or wordless else None,
                    cut_short=reply.cut_short,
                )
            except Nonsense as error:
                trouble = Unanswered(f"its answer is no prompt: {error}", passing=True)
            except Unanswered as error:
                if self._auto and shown and _is_unseeing(error):
                    shown = False
                    continue
                trouble = error
            else:
                self.sees = self.sees and shown
                return text
            tries -= 1
            if not tries or not trouble.passing:
                raise trouble
            asking.pause(min(trouble.wait or self._pause, LONGEST_PAUSE))

    def _messages(
        self, prompt: str, language: Language, frames: tuple[Frame, Frame], *, shown: bool, empty: bool
    ) -> list[Message]:
        told: Message = {"role": "system", "content": instructions.system(language, empty=empty)}
        if not shown:
            notes = self._notes(*frames, language) if self._notes else ""
            return [told, {"role": "user", "content": instructions.order(prompt, language, notes)}]
        parts: list[Message] = []
        for label, frame in zip(instructions.LABELS[language], frames, strict=True):
            parts.append({"type": "text", "text": label})
            parts.append({"type": "image_url", "image_url": {"url": data_url(frame)}})
        parts.append({"type": "text", "text": instructions.order(prompt, language, "")})
        return [told, {"role": "user", "content": parts}]


class _Asking:
    """The time that one rewrite has, and whoever follows it."""

    def __init__(self, seconds: float, report: Report) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._report = report

    @property
    def left(self) -> float:
        """Seconds. Raises Unanswered where there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise Unanswered(f"no answer within {self._seconds:.0f} s")
        return left

    def tick(self) -> None:
        self._report(min(1.0, max(0.0, 1 - (self._end - time.monotonic()) / self._seconds)))

    def pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0:
            self.tick()
            time.sleep(min(rest, 0.2, self.left))


def _discreet(error: Unanswered, prompt: str) -> Unanswered:
    """``error``, fit for a log: endpoints like to repeat what they were sent."""
    for said in (prompt.strip(), prompt.strip().encode("unicode_escape").decode("ascii")):
        length = min(len(said), REPEATING)
        if length and any(said[at : at + length] in error.reason for at in range(len(said) - length + 1)):
            return Unanswered(f"it answers {error.status}, and its message repeats the prompt", status=error.status)
    return error


def _is_unseeing(error: Unanswered) -> bool:
    """Whether it may be the pictures that were refused; a server's own fault only where it speaks of them."""
    if error.status not in _UNSEEING:
        return False
    return error.status < 500 or any(
        word in error.reason.lower() for word in ("image", "vision", "multimodal", "mmproj")
    )
