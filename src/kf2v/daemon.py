"""Blocking work in daemon threads: unlike those of ``asyncio.to_thread`` and of pools, no end of the process waits for
them, whatever they hang at."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def begin(work: Callable[[], T], *, name: str) -> Future[T]:
    """What ``work`` returns or raises, once it has. It cannot be called off; who waits may leave."""
    outcome = Future[T]()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  it is the waiting one's to handle
            outcome.set_exception(error)
        else:
            outcome.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return outcome
