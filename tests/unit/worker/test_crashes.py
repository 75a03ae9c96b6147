"""Workers that really die, under a desk that really notices: the parts of one service, without its front door."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from assignments import a_task
from backroom import PATIENCE, Backroom, backroom
from kf2v.tasks import State, Task
from kf2v.worker.pools.process import ProcessPool

NOON = 1_760_000_000_000

#: a worker process whose production is the function ``produce`` of the program before it
WORKER = """
from pathlib import Path
import os, signal, sys, time
from kf2v.worker.tether import tether
tether()
from kf2v.tasks import Failure, Outcome
from kf2v.worker.connection import Connection
from kf2v.worker.loop import Loop

class Production:
    engines = frozenset({"still"})
    def produce(self, lease, watch):
        return produce(lease, watch)
    def discard(self, outcome): ...

loop = Loop(
    sys.argv[3], ledger=Connection(Path(sys.argv[1])), production=Production(), heartbeat_every=0.05, may_end=True
)
signal.signal(signal.SIGTERM, lambda number, frame: loop.stop(0.0))
loop.run()
"""

POISON = """
def produce(lease, watch):
    os.kill(os.getpid(), signal.SIGKILL)
"""

POISON_ONCE = """
def produce(lease, watch):
    if lease.attempt == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    return Outcome(failure=Failure(code="done", message=str(lease.attempt)))
"""

RUINED_ONCE = """
from kf2v.errors import ProcessRuined
def produce(lease, watch):
    if lease.attempt == 1:
        raise ProcessRuined("cuda:0: an illegal memory access")
    return Outcome(failure=Failure(code="done", message=f"{lease.attempt} {os.getpid()}"))
"""

ENDLESS = """
def produce(lease, watch):
    while True:
        watch.report("render", 0.5)
        time.sleep(0.01)
"""

FROZEN_ONCE = """
def produce(lease, watch):
    if lease.attempt == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    return Outcome(failure=Failure(code="done", message=str(lease.attempt)))
"""


@contextmanager
def staffed(program: str, socket: Path) -> Iterator[tuple[Backroom, ProcessPool]]:
    """A backroom with one worker that runs ``program``."""
    with backroom(patience=0.2) as room:
        room.open(socket)
        pool = ProcessPool([sys.executable, "-c", program + WORKER, str(socket)], 1, room.desk.worker_died)
        room.run(pool.start())
        try:
            yield room, pool
        finally:
            room.run(pool.stop())


def until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ended(room: Backroom, task: Task) -> Task:
    until(lambda: room.now(task).state.final)
    return room.now(task)


def test_a_task_that_kills_three_workers_fails_and_the_next_one_is_begun(tmp_path: Path) -> None:
    with staffed(POISON, tmp_path / "s") as (room, _):
        poison, other = room.order(a_task(submitted_at=NOON)), room.order(a_task(submitted_at=NOON + 1))
        row = ended(room, poison)
        assert row.outcome is not None
        assert row.outcome.failure is not None
        assert (row.outcome.failure.code, row.attempt, row.charged) == ("InternalError.Algo", 3, 3)
        until(lambda: room.now(other).attempt > 0)


def test_a_crash_is_noticed_long_before_the_lease_ends(tmp_path: Path) -> None:
    with staffed(POISON_ONCE, tmp_path / "s") as (room, _):
        row = ended(room, room.order(a_task(submitted_at=NOON)))
        assert row.outcome is not None
        assert row.outcome.failure is not None
        assert (row.outcome.failure.code, row.outcome.failure.message) == ("done", "2")
        assert room.clock.now() == NOON, "no lease can have expired: the clock stood still"


def test_a_ruined_process_is_replaced_and_its_task_tried_again(tmp_path: Path) -> None:
    with staffed(RUINED_ONCE, tmp_path / "s") as (room, _):
        row = ended(room, room.order(a_task(submitted_at=NOON)))
        assert row.outcome is not None
        assert row.outcome.failure is not None
        assert row.outcome.failure.message.startswith("2 ")
        assert (row.attempt, row.charged) == (2, 2)
        assert room.clock.now() == NOON, "no lease can have expired: the clock stood still"


def test_a_frozen_worker_is_killed_and_its_task_done_by_another(tmp_path: Path) -> None:
    with staffed(FROZEN_ONCE, tmp_path / "s") as (room, pool):
        task = room.order(a_task(submitted_at=NOON))
        until(lambda: room.now(task).state is State.RUNNING)
        unwelcome: frozenset[str] = frozenset()
        while not unwelcome:  # a heartbeat may just have been on its way
            room.clock.advance(31_000)
            unwelcome = room.run(room.desk.look_after())
        for worker in unwelcome:
            room.home.call_soon_threadsafe(pool.kill, worker)
        row = ended(room, task)
        assert row.outcome is not None
        assert row.outcome.failure is not None
        assert row.outcome.failure.message == "2"


def test_work_that_cannot_end_in_time_is_handed_back_uncharged(tmp_path: Path) -> None:
    with staffed(ENDLESS, tmp_path / "s") as (room, pool):
        task = room.order(a_task(submitted_at=NOON))
        until(lambda: room.now(task).phase == "render")
        room.run(pool.drain(PATIENCE))
        row = room.now(task)
        assert (row.state, row.attempt, row.charged) == (State.REQUEUED, 1, 0)
