"""Waiting that can be called off, whatever is waited for."""

import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from threading import Lock, Thread
from typing import TypeVar

#: seconds between two questions whether the work is called off
OFTEN = 0.2
#: seconds that what is waited for gets to end, when nobody wants it any more: little, because whoever does not let go
#: of a canceled task within a grace is killed, and half of that is gone until he hears of it
LEAVE = 0.2

T = TypeVar("T")


def heeding(ask: Callable[[], T], heed: Callable[[], None], *, cut_off: bool = True) -> T:
    """What ``ask`` returns or raises, asked in a thread of its own while ``heed`` is called again and again, and once
    before.

    What ``heed`` raises ends the waiting, or lets it not begin. ``ask`` gets a moment to be done with what it uses, and
    else goes on unheard: until the process ends, or, not to be ``cut_off``, even a little longer, for the process waits
    for it.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:  # noqa: BLE001  all of it is the answer
            answer.set_exception(error)

    heed()
    Thread(target=run, name="heeding", daemon=cut_off).start()
    while wait([answer], OFTEN).not_done:
        try:
            heed()
        except BaseException:
            wait([answer], LEAVE)
            raise
    return answer.result()


@contextmanager
def taken(lock: Lock, heed: Callable[[], None]) -> Generator[None]:
    """``lock``, once it is free; ``heed`` is called meanwhile."""
    heed()
    while not lock.acquire(timeout=OFTEN):
        heed()
    try:
        yield
    finally:
        lock.release()


def rest(seconds: float, heed: Callable[[], None], sleep: Callable[[float], None] = time.sleep) -> None:
    """Sleep so long, and call ``heed`` meanwhile."""
    while seconds > 0:
        heed()
        sleep(min(OFTEN, seconds))
        seconds -= OFTEN
    heed()
