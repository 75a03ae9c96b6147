"""Forecasts are what the newest videos took and who is before; where that is not known, there is none."""

import asyncio
from collections.abc import Awaitable, Iterator
from typing import TypeVar

import pytest

from kf2v.clock import SECOND, ManualClock
from kf2v.server.forecast import Forecast
from kf2v.store.memory import MemoryStore
from kf2v.tasks import FrameSource, Job, Outcome, Task, Usage, Video
from kf2v.tasks.identity import new_id

T = TypeVar("T")


class Yard:
    """A store, a clock and so many workers."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore()
        self.workers = 1
        self.forecast = Forecast(self.store, clock=self.clock, workers=lambda: self.workers)
        self._runner = runner

    def run(self, work: Awaitable[T]) -> T:
        async def waiting() -> T:
            return await work

        return self._runner.run(waiting())

    def order(self, account: str = "a", resolution: str = "480P") -> Task:
        nowhere = FrameSource(kind="url", place="https://example.com/a.png")
        job = Job(
            model="wan2.2-kf2v-flash",
            engine="still",
            first=nowhere,
            last=nowhere,
            prompt="",
            negative_prompt="",
            resolution=resolution,
            area=1,
            seed=0,
            prompt_extend=False,
            watermark=False,
        )
        now = self.clock.now()
        task = Task(
            id=new_id(now), account=account, key_id="1", request_id="r", region="local", job=job, submitted_at=now
        )
        self.run(self.store.insert(task))
        self.clock.advance(1)
        return task

    def start(self) -> tuple[str, int]:
        now = self.clock.now()
        lease = self.run(self.store.claim(f"w-{now}", engines=frozenset({"still"}), now=now, until=now + 10**9))
        assert lease is not None
        return lease.task_id, lease.attempt

    def make(self, seconds: float, resolution: str = "480P") -> None:
        """A video that takes so long."""
        self.order(resolution=resolution)
        task_id, attempt = self.start()
        self.clock.advance(round(seconds * SECOND))
        outcome = Outcome(
            video=Video(key=f"v/{task_id}", digest="d", size=1, width=16, height=16),
            usage=Usage(video_duration=5, video_count=1, sr=480),
        )
        self.run(self.store.settle(task_id, attempt, outcome, now=self.clock.now()))

    def wait(self, task: Task) -> float | None:
        return self.run(self.forecast.wait_seconds(task))


@pytest.fixture
def yard() -> Iterator[Yard]:
    with asyncio.Runner() as runner:
        yield Yard(runner)


def test_nobody_knows_how_long_the_first_video_takes(yard: Yard) -> None:
    assert yard.run(yard.forecast.run_seconds("still", "480P")) is None
    yard.order()
    yard.start()
    assert yard.wait(yard.order()) is None


def test_a_run_takes_what_most_took_however_long_one_did(yard: Yard) -> None:
    for seconds in (10, 12, 900):
        yard.make(seconds)
    assert yard.run(yard.forecast.run_seconds("still", "480P")) == 12.0
    assert yard.run(yard.forecast.run_seconds("still", "720P")) is None
    assert yard.run(yard.forecast.run_seconds("morph", "480P")) is None


def test_what_was_slow_long_ago_is_forgotten(yard: Yard) -> None:
    for seconds in (*[500] * 20, *[10] * 20):
        yard.make(seconds)
    assert yard.run(yard.forecast.run_seconds("still", "480P")) == 10.0


def test_a_free_worker_starts_it_at_once_whatever_is_known(yard: Yard) -> None:
    assert yard.wait(yard.order()) == 0.0


def test_nobody_who_works_is_no_forecast(yard: Yard) -> None:
    yard.make(10)
    yard.workers = 0
    assert yard.wait(yard.order()) is None


def test_a_task_waits_for_what_is_left_of_the_one_that_runs_and_for_all_before_it(yard: Yard) -> None:
    yard.make(10)
    yard.order()
    yard.start()
    yard.clock.advance(4 * SECOND)
    first, second = yard.order(), yard.order()
    assert yard.wait(first) == pytest.approx(6.0, abs=0.1)
    assert yard.wait(second) == pytest.approx(16.0, abs=0.1)


def test_two_workers_halve_the_line(yard: Yard) -> None:
    yard.make(10)
    yard.workers = 2
    waits = [yard.wait(task) for task in [yard.order() for _ in range(5)]]
    assert waits == [0.0, 0.0, 10.0, 10.0, 20.0]


def test_one_that_runs_longer_than_usual_may_end_any_moment(yard: Yard) -> None:
    yard.make(10)
    yard.order()
    yard.start()
    yard.clock.advance(60 * SECOND)
    assert yard.wait(yard.order()) == 0.0


@pytest.mark.parametrize(("seconds", "progress", "left"), [(9, 0.3, 7.0), (1, 0.9, 1.0)])
def test_what_waits_is_foretold_by_how_far_what_runs_is(yard: Yard, seconds: int, progress: float, left: float) -> None:
    yard.make(10)
    running = yard.order()
    task_id, attempt = yard.start()
    yard.clock.advance(seconds * SECOND)
    yard.run(yard.store.renew(task_id, attempt, until=yard.clock.now() + 10**9, phase="render", progress=progress))
    as_it_is = yard.run(yard.store.get(running.id))
    assert as_it_is is not None
    assert yard.run(yard.forecast.end_seconds(as_it_is)) == pytest.approx(left)
    waiting = yard.order()
    assert yard.wait(waiting) == pytest.approx(left)
    assert yard.run(yard.forecast.end_seconds(waiting)) == pytest.approx(left + 10)


def test_what_has_ended_is_not_foretold_to_end(yard: Yard) -> None:
    yard.make(10)
    task = yard.order()
    assert yard.run(yard.store.cancel(task.id, now=yard.clock.now()))
    canceled = yard.run(yard.store.get(task.id))
    assert canceled is not None
    assert yard.run(yard.forecast.end_seconds(canceled)) is None


def test_what_runs_or_has_ended_waits_for_nothing(yard: Yard) -> None:
    yard.make(10)
    task = yard.order()
    yard.start()
    assert yard.wait(task) is None


def test_a_new_task_waits_for_its_own_account_and_its_share_of_others(yard: Yard) -> None:
    yard.make(10)
    yard.order("busy")
    yard.start()
    for _ in range(50):
        yard.order("busy")
    busy = yard.run(yard.forecast.wait_seconds_of_new("busy", "still", "480P"))
    fresh = yard.run(yard.forecast.wait_seconds_of_new("fresh", "still", "480P"))
    assert busy is not None
    assert fresh is not None
    assert busy == pytest.approx(510, abs=1)
    assert fresh <= 10


def test_the_forecast_of_a_new_task_is_the_one_it_gets_when_it_is_there(yard: Yard) -> None:
    yard.make(10)
    for _ in range(7):
        yard.order("a")
    told = yard.run(yard.forecast.wait_seconds_of_new("a", "still", "480P"))
    assert told == yard.wait(yard.order("a"))
