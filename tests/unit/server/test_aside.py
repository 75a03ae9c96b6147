"""Blocking work beside the event loop: so many at a time, bounded in number and time, and in nobody's way."""

import asyncio
import threading
import time

import pytest

from kf2v.errors import RateExceeded, TaskTimeout
from kf2v.server.aside import Aside


def test_what_the_work_returns_or_raises_comes_back() -> None:
    async def main() -> None:
        aside = Aside(at_once=1, waiting=0, seconds=20)
        assert await aside.run(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await aside.run(lambda: 1 // 0)
        assert await aside.run(lambda: 8) == 8

    asyncio.run(main())


def test_no_more_run_at_once_than_may() -> None:
    lock, running, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    async def main() -> None:
        aside = Aside(at_once=2, waiting=8, seconds=20)
        await asyncio.gather(*(aside.run(work) for _ in range(8)))

    asyncio.run(main())
    assert most == 2


def test_whoever_comes_when_all_places_are_taken_is_sent_away_with_a_time() -> None:
    go = threading.Event()

    async def main() -> None:
        aside = Aside(at_once=1, waiting=1, seconds=20)
        inside = [asyncio.create_task(aside.run(go.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(RateExceeded) as refused:
            await aside.run(lambda: None)
        assert refused.value.retry_after
        go.set()
        await asyncio.gather(*inside)
        async with asyncio.timeout(20):
            while True:  # a place is free a moment after its answer is
                try:
                    assert await aside.run(lambda: 1) == 1
                except RateExceeded:
                    await asyncio.sleep(0.01)
                else:
                    break

    asyncio.run(main())


def test_nobody_waits_for_ever_and_what_was_not_begun_is_not_done() -> None:
    go, done = threading.Event(), []

    async def main() -> None:
        aside = Aside(at_once=1, waiting=1, seconds=0.2)
        hanging = asyncio.create_task(aside.run(go.wait))
        await asyncio.sleep(0)
        with pytest.raises(TaskTimeout):
            await aside.run(lambda: done.append("too late"))
        with pytest.raises(TaskTimeout):
            await hanging
        go.set()
        patient = Aside(at_once=1, waiting=1, seconds=20)
        await patient.run(lambda: None)

    asyncio.run(main())
    deadline = time.monotonic() + 20
    while any(thread.name == "kf2v-aside" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert done == []


def test_work_that_hangs_keeps_nobody_from_leaving() -> None:
    go = threading.Event()

    async def main() -> None:
        with pytest.raises(TaskTimeout):
            await Aside(at_once=1, waiting=0, seconds=0.05).run(go.wait)

    asyncio.run(main())  # would not return if the loop waited for its threads
    assert [thread.daemon for thread in threading.enumerate() if thread.name == "kf2v-aside"] == [True]
    go.set()
