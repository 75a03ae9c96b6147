"""A moderator that is a service elsewhere: asked within a time, and once more where that may help."""

import time
from typing import TYPE_CHECKING, Protocol

from kf2v.moderation import Exhibit, Objection, Tick, Undecided
from kf2v.net.call import Unanswered, call_within

if TYPE_CHECKING:
    from kf2v.video import Frame

#: how often it is asked: once, and once more
TRIES = 2
#: seconds before asking again where it names no time, and the most it may name
PAUSE, LONGEST_PAUSE = 0.5, 5.0


class Service(Protocol):
    """One kind of service. ``seconds`` is for each step of an answer; all of it is timed by whoever asks."""

    name: str

    async def ask(self, shown: "str | bytes", exhibit: Exhibit, *, seconds: float) -> Objection | None:
        """What it has against a text or a JPEG. Raises net.call.Unanswered."""
        ...


class Outside:
    """Asks ``service``; ``timeout`` is in seconds and covers everything, a second try too."""

    elsewhere = True

    def __init__(self, service: Service, *, timeout: float, pause: float = PAUSE) -> None:
        self.name = service.name
        self._service = service
        self._timeout = timeout
        self._pause = pause

    def reads(self) -> bool:
        return True

    def looks(self) -> bool:
        return True

    def read(self, text: str, exhibit: Exhibit, tick: Tick) -> Objection | None:
        return self._asked(text, exhibit, tick)

    def look(self, picture: "Frame", exhibit: Exhibit, tick: Tick) -> Objection | None:
        from kf2v.video.glance import jpeg

        return self._asked(jpeg(picture), exhibit, tick)

    def _asked(self, shown: str | bytes, exhibit: Exhibit, tick: Tick) -> Objection | None:
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


def _pause(seconds: float, tick: Tick) -> None:
    until = time.monotonic() + seconds
    while (rest := until - time.monotonic()) > 0:
        tick()
        time.sleep(min(rest, 0.2))
