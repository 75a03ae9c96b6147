"""A call of a service elsewhere that must not hold up whoever makes it: answered in time or given up."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import wait
from typing import Any, TypeVar

from kf2v import daemon

T = TypeVar("T")

#: seconds between two looks at whether the answer is wanted still
TICK = 0.2
#: statuses of those who may answer better the next time, beside 500 and above
_PASSING = frozenset({408, 409, 425, 429})


class Unanswered(Exception):
    """No answer that could be used; says why, without the key."""

    def __init__(self, reason: str, *, status: int = 0, passing: bool = False, wait: float = 0.0) -> None:
        """``passing`` means that asking again may help, after ``wait`` seconds; ``status`` is HTTP's, 0 for none."""
        self.reason = reason
        self.status = status
        self.passing = passing
        self.wait = wait
        super().__init__(reason)


def is_passing(status: int) -> bool:
    """Whether an HTTP answer of ``status`` may be another one the next time."""
    return status in _PASSING or status >= 500


def wished_pause(headers: Mapping[str, str]) -> float:
    """The seconds that ``Retry-After`` names; 0 where it is absent, a date, or nonsense."""
    try:
        return max(0.0, float(headers.get("retry-after", "0")))
    except ValueError:
        return 0.0


def call_within(
    seconds: float, work: Callable[[], Coroutine[Any, Any, T]], *, tick: Callable[[], None], name: str = "call"
) -> T:
    """What ``work`` returns, within ``seconds``. Raises what it raises, Unanswered when the time is over, and what
    ``tick`` raises, which is asked all the while.

    The work is done in a thread of its own, and whatever it hangs at, a name that does not resolve or an answer that
    comes by drops, this returns in time; the work is cancelled behind it.
    """
    deadline = time.monotonic() + seconds
    given_up = threading.Event()
    outcome = daemon.begin(lambda: asyncio.run(_unless(given_up, work)), name=name)
    try:
        while not outcome.done():
            tick()
            left = deadline - time.monotonic()
            if left <= 0:
                raise Unanswered(f"no answer within {seconds:.0f} s")
            wait({outcome}, timeout=min(TICK, left))
        return outcome.result()
    finally:
        given_up.set()


async def _unless(given_up: threading.Event, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    call = asyncio.create_task(work())
    while not call.done() and not given_up.is_set():
        await asyncio.wait({call}, timeout=TICK)
    call.cancel()
    return await call
