"""What every ledger promises a worker, over whatever it talks to the server."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from assignments import a_job, a_task
from backroom import PATIENCE, Backroom, backroom
from kf2v.clock import SECOND
from kf2v.store import Settled
from kf2v.tasks import Failure, Outcome, State, Usage, Video
from kf2v.worker.connection import Connection
from kf2v.worker.ledger import Ledger
from kf2v.worker.pools.inline import InlineLedger

STILL = frozenset({"still"})
NOON = 1_760_000_000_000

MADE = Outcome(
    video=Video(key="videos/a/1-b.mp4", digest="0" * 64, size=1234, width=832, height=480),
    actual_prompt="一只猫 🐈",
    usage=Usage(video_duration=5, video_count=1, sr=480),
)
FAILED = Outcome(failure=Failure(code="InternalError.Algo", message="no"))


class Shop:
    """A backroom and a way to open ledgers to it."""

    def __init__(self, kind: str, room: Backroom, socket: Path) -> None:
        self.room = room
        self._kind, self._socket = kind, socket
        if kind == "connection":
            room.open(socket)
        self.ledger = self.another()

    def another(self) -> Ledger:
        if self._kind == "inline":
            return InlineLedger(self.room.desk, self.room.home)
        return Connection(self._socket, limit=PATIENCE)


@pytest.fixture(params=["inline", "connection"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def shop_with(kind: str, tmp_path: Path) -> Iterator[Callable[[float], Shop]]:
    with ExitStack() as ends:

        def build(patience: float) -> Shop:
            room = ends.enter_context(backroom(patience=patience))
            return Shop(kind, room, tmp_path / "s")

        yield build


@pytest.fixture
def shop(shop_with: Callable[[float], Shop]) -> Shop:
    return shop_with(0.02)


def test_a_task_is_given_whole_and_to_one_worker_only(shop: Shop) -> None:
    task = shop.room.order(a_task(submitted_at=NOON, flaw=Failure(code="InvalidParameter", message="参数")))
    lease = shop.ledger.claim("w1", engines=STILL)
    assert lease is not None
    assert (lease.task_id, lease.attempt, lease.worker) == (task.id, 1, "w1")
    assert (lease.job, lease.flaw) == (task.job, task.flaw)
    assert lease.until == shop.room.clock.now() + 30 * SECOND
    assert shop.another().claim("w2", engines=STILL) is None


def test_without_work_a_claim_gives_nothing(shop: Shop) -> None:
    assert shop.ledger.claim("w1", engines=STILL) is None


def test_work_for_another_engine_is_left_alone(shop: Shop) -> None:
    task = shop.room.order(a_task(submitted_at=NOON, engine="morph"))
    assert shop.ledger.claim("w1", engines=STILL) is None
    assert shop.room.now(task).state is State.PENDING


def test_a_claim_that_waits_is_woken_by_work(shop_with: Callable[[float], Shop]) -> None:
    shop = shop_with(PATIENCE)
    with ThreadPoolExecutor(1) as pool:
        claim = pool.submit(shop.ledger.claim, "w1", engines=STILL)
        task = shop.room.order(a_task(submitted_at=NOON))
        lease = claim.result(PATIENCE / 2)
    assert lease is not None
    assert lease.task_id == task.id


def test_a_heartbeat_extends_the_lease_and_tells_how_far_it_is(shop: Shop) -> None:
    task = shop.room.order(a_task(submitted_at=NOON))
    lease = shop.ledger.claim("w1", engines=STILL)
    assert lease is not None
    shop.room.clock.advance(10 * SECOND)
    assert shop.ledger.renew(lease, "render", 0.25)
    row = shop.room.now(task)
    assert (row.phase, row.progress) == ("render", 0.25)
    assert row.lease_until == lease.until + 10 * SECOND


@pytest.mark.parametrize(("outcome", "state"), [(MADE, State.SUCCEEDED), (FAILED, State.FAILED)])
def test_a_settlement_is_recorded_once_and_may_be_repeated(shop: Shop, outcome: Outcome, state: State) -> None:
    task = shop.room.order(a_task(submitted_at=NOON))
    lease = shop.ledger.claim("w1", engines=STILL)
    assert lease is not None
    assert shop.ledger.settle(lease, outcome) is Settled.RECORDED
    assert shop.ledger.settle(lease, outcome) is Settled.REPEATED
    row = shop.room.now(task)
    assert (row.state, row.outcome) == (state, outcome)


def test_whoever_lost_the_lease_can_change_nothing(shop: Shop) -> None:
    task = shop.room.order(a_task(submitted_at=NOON))
    lost = shop.ledger.claim("w1", engines=STILL)
    assert lost is not None
    shop.room.run(shop.room.desk.worker_died("w1"))
    held = shop.another().claim("w2", engines=STILL)
    assert held is not None
    assert held.attempt > lost.attempt
    assert not shop.ledger.renew(lost, "render", 0.9)
    shop.ledger.hand_back(lost)
    assert shop.ledger.settle(lost, MADE) is Settled.LOST
    row = shop.room.now(task)
    assert (row.state, row.worker, row.outcome) == (State.RUNNING, "w2", None)


def test_what_is_handed_back_waits_again_uncharged(shop: Shop) -> None:
    task = shop.room.order(a_task(submitted_at=NOON))
    first = shop.ledger.claim("w1", engines=STILL)
    assert first is not None
    shop.ledger.hand_back(first)
    row = shop.room.now(task)
    assert (row.state, row.charged) == (State.REQUEUED, 0)
    second = shop.ledger.claim("w1", engines=STILL)
    assert second is not None
    assert second.attempt == 2


def test_what_an_engine_cannot_do_waits_for_the_next_one(shop: Shop) -> None:
    job = a_job(fallbacks=("morph",))
    task = shop.room.order(a_task(submitted_at=NOON, job=job))
    lease = shop.ledger.claim("w1", engines=STILL)
    assert lease is not None
    assert lease.job.fallbacks == ("morph",)
    assert shop.ledger.reroute(lease, "nobody answers: 参数")
    row = shop.room.now(task)
    assert (row.state, row.job.engine, row.charged) == (State.REQUEUED, "morph", 0)
    assert not shop.ledger.reroute(lease, "asked twice, because an answer got lost")


def test_where_no_other_engine_is_named_the_lease_stays(shop: Shop) -> None:
    shop.room.order(a_task(submitted_at=NOON))
    lease = shop.ledger.claim("w1", engines=STILL)
    assert lease is not None
    assert not shop.ledger.reroute(lease, "nobody answers")
    assert shop.ledger.settle(lease, FAILED) is Settled.RECORDED


def test_one_can_ask_whether_a_task_is_over(shop: Shop) -> None:
    task = shop.room.order(a_task(submitted_at=NOON))
    lease = shop.ledger.claim("w1", engines=STILL)
    assert lease is not None
    assert not shop.ledger.over(lease)
    shop.room.run(shop.room.store.stop(task.id, now=NOON + 1))
    assert shop.ledger.over(lease)


def test_a_worker_that_asks_again_while_it_holds_a_lease_gets_that_one(shop: Shop) -> None:
    shop.room.order(a_task(submitted_at=NOON))
    shop.room.order(a_task(submitted_at=NOON + 1))
    lease = shop.ledger.claim("w1", engines=STILL)
    assert lease is not None
    assert shop.ledger.claim("w1", engines=STILL) == lease
    assert shop.ledger.settle(lease, MADE) is Settled.RECORDED
    other = shop.ledger.claim("w1", engines=STILL)
    assert other is not None
    assert other.task_id != lease.task_id


def test_two_threads_may_talk_at_once(shop_with: Callable[[float], Shop]) -> None:
    shop = shop_with(PATIENCE)
    shop.room.order(a_task(submitted_at=NOON))
    lease = shop.ledger.claim("w1", engines=STILL)
    assert lease is not None
    waiting = threading.Thread(target=shop.ledger.claim, args=("w2",), kwargs={"engines": STILL})
    waiting.start()
    assert all(shop.ledger.renew(lease, "render", step / 20) for step in range(20))
    assert waiting.is_alive()
    shop.room.run(_drain(shop.room))
    waiting.join(PATIENCE)
    assert not waiting.is_alive()


async def _drain(room: Backroom) -> None:
    room.desk.drain()
