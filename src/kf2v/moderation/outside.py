"""A moderator that is a service elsewhere: asked within a time, and once more where that may help.

A film is shown to it picture by picture, a chain prompt by prompt. So that one that hangs costs its time once and not
for each of them, it is left alone for a while by the task, or the call, that waited in vain. By nobody else: others may
find it well again, and nobody's silence lets anybody else's pictures pass.
"""

import time
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from kf2v.moderation import Exhibit, NotAsked, Objection, Tick, Undecided
from kf2v.net.call import Unanswered, call_within

if TYPE_CHECKING:
    from kf2v.video import Frame

#: how often it is asked: once, and once more
TRIES = 2
#: seconds before asking again where it names no time, and the most it may name
PAUSE, LONGEST_PAUSE = 0.5, 5.0
#: waiting in vain for this share of its time is what makes a task leave it alone, and for how many seconds; to be
#: refused quickly costs little, and may be the one picture's fault
LONG, REST = 0.1, 60.0


class Service(Protocol):
    """One kind of service. ``seconds`` is for each step of an answer; all of it is timed by whoever asks."""

    name: str

    async def ask(self, shown: "str | bytes", exhibit: Exhibit, *, seconds: float) -> Objection | None:
        """What it has against a text or a JPEG. Raises net.call.Unanswered."""
        ...


class Outside:
    """Asks ``service``; ``timeout`` is in seconds and covers everything, a second try too.

    Where it was waited for in vain, the rest of that task or call does without it for ``rest`` seconds.
    """

    elsewhere = True

    def __init__(self, service: Service, *, timeout: float, pause: float = PAUSE, rest: float = REST) -> None:
        self.name = service.name
        self._service = service
        self._timeout = timeout
        self._pause = pause
        self._rest = rest
        self._lock = Lock()
        #: until when it is left alone, in monotonic time, by what; see ``_errand``
        self._left_alone: dict[tuple[str, bool], float] = {}

    def reads(self) -> bool:
        return True

    def looks(self) -> bool:
        return True

    def read(self, text: str, exhibit: Exhibit, tick: Tick) -> Objection | None:
        return self._asked(lambda: text, exhibit, tick)

    def look(self, picture: "Frame", exhibit: Exhibit, tick: Tick) -> Objection | None:
        from kf2v.video.glance import jpeg

        return self._asked(lambda: jpeg(picture), exhibit, tick)

    def _asked(self, shown: Callable[[], str | bytes], exhibit: Exhibit, tick: Tick) -> Objection | None:
        began = time.monotonic()
        with self._lock:
            left_alone = began < self._left_alone.get(_errand(exhibit), 0.0)
        if left_alone:
            raise NotAsked(f"it was waited for in vain less than {self._rest:g} s ago")
        try:
            return self._answer(shown(), exhibit, tick)
        except Undecided:
            if _errand(exhibit)[0] and time.monotonic() - began >= LONG * self._timeout:
                self._leave_alone(exhibit)
            raise

    def _leave_alone(self, exhibit: Exhibit) -> None:
        now = time.monotonic()
        with self._lock:
            others = {errand: until for errand, until in self._left_alone.items() if until > now}
            self._left_alone = {**others, _errand(exhibit): now + self._rest}

    def _answer(self, shown: str | bytes, exhibit: Exhibit, tick: Tick) -> Objection | None:
        end = time.monotonic() + self._timeout
        tries = TRIES
        while True:
            left = max(0.001, end - time.monotonic())
            try:
                return call_within(
                    left,
                    lambda: self._service.ask(shown, exhibit, seconds=self._timeout),
                    tick=tick,
                    name="moderation",
                )
            except Unanswered as error:
                tries -= 1
                wait = min(error.wait or self._pause, LONGEST_PAUSE)
                if not tries or not error.passing or time.monotonic() + wait >= end:
                    raise Undecided(str(error)) from error
            _pause(wait, tick)


def _errand(exhibit: Exhibit) -> tuple[str, bool]:
    """What is done without it after it was silent: a task, or its previews, which never decide on the film; a call."""
    return exhibit.task_id or exhibit.request_id, exhibit.part == "preview"


def _pause(seconds: float, tick: Tick) -> None:
    until = time.monotonic() + seconds
    while (rest := until - time.monotonic()) > 0:
        tick()
        time.sleep(min(rest, 0.2))
