import asyncio
import threading
import time
from pathlib import Path

import pytest

from assignments import a_lease, a_task
from backroom import PATIENCE, Backroom, backroom
from gallery import COLD, WARM, picture
from kf2v.blobs.memory import MemoryBlobs
from kf2v.engines import Watch
from kf2v.engines.still import Still
from kf2v.moderation.panel import Panel
from kf2v.pipeline.recipe import Recipe
from kf2v.rewriting.verbatim import Verbatim
from kf2v.tasks import Lease, Outcome, State, Task
from kf2v.worker.ledger import LedgerLost
from kf2v.worker.pools.inline import InlineLedger, InlinePool

NOON = 1_760_000_000_000


class NoWeb:
    """Nothing can be fetched."""

    def fetch(self, url: str) -> bytes:
        raise AssertionError(url)


class Endless:
    """Works until it is called off."""

    engines = frozenset({"still"})

    def __init__(self) -> None:
        self.begun = threading.Event()

    def produce(self, lease: Lease, watch: Watch) -> Outcome:
        self.begun.set()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            watch.report("render", 0.5)
            time.sleep(0.001)
        raise AssertionError("nobody called it off")

    def discard(self, outcome: Outcome) -> None:
        raise AssertionError("there is nothing to discard")


def ended(room: Backroom, task: Task) -> Task:
    deadline = time.monotonic() + PATIENCE
    while not room.now(task).state.final:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return room.now(task)


def test_a_thread_does_what_a_process_would(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    blobs.put("uploads/first", picture(WARM))
    blobs.put("uploads/last", picture(COLD))
    recipe = Recipe(
        engines={"still": Still()},
        rewriter=Verbatim(),
        panel=Panel(),
        fetcher=NoWeb(),
        blobs=blobs,
        watermark_text="AI-generated",
        scratch=tmp_path,
    )
    with backroom() as room:
        pool = InlinePool(room.desk, recipe, heartbeat_every=0.01)
        assert pool.alive == 0
        room.run(pool.start())
        assert pool.alive == 1
        row = ended(room, room.order(a_task(submitted_at=NOON)))
        assert row.state is State.SUCCEEDED
        assert row.outcome is not None
        assert row.outcome.video is not None
        assert len(blobs.read(row.outcome.video.key)) == row.outcome.video.size
        room.run(pool.drain(PATIENCE))
        assert pool.alive == 0


def test_stopping_hands_running_work_back(tmp_path: Path) -> None:
    endless = Endless()
    with backroom() as room:
        pool = InlinePool(room.desk, endless, heartbeat_every=0.01)
        room.run(pool.start())
        task = room.order(a_task(submitted_at=NOON))
        assert endless.begun.wait(PATIENCE)
        room.run(pool.stop())
        row = room.now(task)
        assert (row.state, row.charged) == (State.REQUEUED, 0)
        assert pool.alive == 0


def test_a_pool_that_never_started_drains_at_once() -> None:
    with backroom() as room:
        room.run(InlinePool(room.desk, Endless(), heartbeat_every=0.01).drain(PATIENCE))


def test_a_ledger_whose_server_ended_is_lost() -> None:
    with backroom() as room:
        ledger = InlineLedger(room.desk, room.home)
    assert room.home.is_closed()
    with pytest.raises(LedgerLost):
        ledger.renew(a_lease(), "", 0.0)


def test_a_claim_that_waits_when_the_server_ends_is_lost() -> None:
    with backroom(patience=PATIENCE) as room:
        ledger = InlineLedger(room.desk, room.home)
        lost: list[BaseException] = []

        def claim() -> None:
            try:
                ledger.claim("w1", engines=frozenset({"still"}))
            except LedgerLost as error:
                lost.append(error)

        async def end() -> None:
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        waiting = threading.Thread(target=claim)
        waiting.start()
        while waiting.is_alive():
            room.run(end())
        assert len(lost) == 1
