"""How fast the far side is asked: by all tasks together, and by one that waits."""

import random
import threading
import time
from collections.abc import Callable, Iterator

#: calls per second, of all tasks together; Model Studio allows an account 20 to its tasks
MOST = 10.0
#: seconds between two looks at one task, growing from the first to the second by the third
SOONEST, LATEST, GROWTH = 2.0, 15.0, 1.5
#: part of a pause that chance adds or takes, so that tasks which began together do not stay together
JITTER = 0.2


class Pace:
    """Lets calls pass one after the other, ``MOST`` of them a second. For any number of threads."""

    def __init__(
        self,
        most: float = MOST,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._apart = 1.0 / most
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = 0.0

    def turn(self) -> None:
        """Return when it is the caller's turn."""
        with self._lock:
            now = self._monotonic()
            mine = max(now, self._next)
            self._next = mine + self._apart
        if mine > now:
            self._sleep(mine - now)


def pauses(soonest: float = SOONEST, latest: float = LATEST) -> Iterator[float]:
    """Seconds to wait before the second, third, … try, for ever."""
    pause = soonest
    while True:
        yield pause * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  politeness, no secret
        pause = min(GROWTH * pause, latest)
