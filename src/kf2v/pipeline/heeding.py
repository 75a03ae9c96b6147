"""Waiting that can be called off, whatever is waited for."""

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import TypeVar

#: seconds between two questions whether the work is called off
OFTEN = 0.2

T = TypeVar("T")


def heeding(ask: Callable[[], T], heed: Callable[[], None]) -> T:
    """What ``ask`` returns or raises, asked in a thread of its own while ``heed`` is called again and again.

    What ``heed`` raises ends the waiting; the thread ends when ``ask`` does, and nobody listens.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:  # noqa: BLE001  all of it is the answer
            answer.set_exception(error)

    Thread(target=run, name="heeding", daemon=True).start()
    while True:
        heed()
        wait([answer], OFTEN)
        if answer.done():
            return answer.result()


def rest(seconds: float, heed: Callable[[], None], sleep: Callable[[float], None] = time.sleep) -> None:
    """Sleep so long, and call ``heed`` meanwhile."""
    while seconds > 0:
        heed()
        sleep(min(OFTEN, seconds))
        seconds -= OFTEN
    heed()
