"""Blocking work that a request waits for: so many at a time, and nobody who wants to leave is kept by it."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from kf2v.errors import RateExceeded, TaskTimeout

T = TypeVar("T")


class Aside:
    """Threads that end with the process, whatever they are at: ``asyncio.to_thread`` would have it wait for them."""

    def __init__(self, *, at_once: int, waiting: int, seconds: float) -> None:
        #: ``seconds`` is how long anybody waits for his, the time until it is begun included
        self._turns = threading.Semaphore(at_once)
        self._room = threading.Semaphore(at_once + waiting)
        self._seconds = seconds

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises. Raises RateExceeded if too many wait already, and TaskTimeout."""
        if not self._room.acquire(blocking=False):
            raise RateExceeded(retry_after=1.0)
        done: Future[T] = Future()
        threading.Thread(target=self._do, args=(work, done), name="kf2v-aside", daemon=True).start()
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.wrap_future(done)
        except TimeoutError as error:
            raise TaskTimeout from error

    def _do(self, work: Callable[[], T], done: Future[T]) -> None:
        try:
            with self._turns:
                if not done.set_running_or_notify_cancel():
                    return
                try:
                    result = work()
                except BaseException as error:  # noqa: BLE001  it is the waiting one's to handle
                    done.set_exception(error)
                else:
                    done.set_result(result)
        finally:
            self._room.release()
