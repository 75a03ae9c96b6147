import asyncio
from typing import Any

import pytest

from assignments import a_job, a_task
from kf2v.admission.routing import Routing
from kf2v.clock import HOUR, SECOND, ManualClock
from kf2v.server.desk import SUSPECT, Desk, Terms
from kf2v.server.watchkeeper import keep_watch
from kf2v.store import Settled
from kf2v.store.memory import MemoryStore
from kf2v.tasks import Failure, Lease, Outcome, State, Task, Usage, Video

STILL = frozenset({"still"})
LEASE, TIMEOUT, CAP, GRACE = 30 * SECOND, HOUR, 3, 1_000
PATIENCE = 20.0
MADE = Outcome(
    video=Video(key="videos/a/1-b.mp4", digest="0" * 64, size=1, width=832, height=480),
    usage=Usage(video_duration=5, video_count=1, sr=480),
)
FAILED = Outcome(failure=Failure(code="InternalError.Algo", message="no"))


class Office:
    """A desk and what it works with."""

    def __init__(self, *, patience: float = 0.01) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore()
        self.patience = patience
        self.desk = self.reopened()

    def reopened(self) -> Desk:
        """Another desk over the same rows, as after a restart."""
        self.routing = Routing({"*": ("still", "morph")}, clock=self.clock, failures=1)
        self.desk = Desk(
            self.store,
            clock=self.clock,
            routing=self.routing,
            terms=Terms(lease=LEASE, max_attempts=CAP, task_timeout=TIMEOUT),
            patience=self.patience,
        )
        return self.desk

    async def order(self, *, fallbacks: tuple[str, ...] = ()) -> Task:
        task = a_task(submitted_at=self.clock.now(), job=a_job(fallbacks=fallbacks))
        await self.store.insert(task)
        self.desk.work_arrived()
        return task

    async def row(self, task: Task) -> Task:
        found = await self.store.get(task.id)
        assert found is not None
        return found

    async def claimed(self, worker: str) -> Lease:
        lease = await self.desk.claim(worker, engines=STILL)
        assert lease is not None
        return lease


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


pytestmark = pytest.mark.anyio


async def test_an_expired_lease_is_taken_back_and_its_worker_is_unwelcome() -> None:
    office = Office()
    task = await office.order()
    await office.claimed("w1")
    office.clock.advance(LEASE)
    assert await office.desk.look_after() == {"w1"}
    row = await office.row(task)
    assert (row.state, row.charged) == (State.REQUEUED, 1)
    assert await office.desk.look_after() == frozenset()


async def test_a_lease_holds_until_its_very_end_and_heartbeats_move_that() -> None:
    office = Office()
    task = await office.order()
    lease = await office.claimed("w1")
    office.clock.advance(LEASE - 1)
    assert await office.desk.look_after() == frozenset()
    assert await office.desk.renew(lease.task_id, lease.attempt, phase="render", progress=0.5)
    office.clock.advance(LEASE - 1)
    assert await office.desk.look_after() == frozenset()
    assert (await office.row(task)).state is State.RUNNING


async def test_a_task_that_kills_its_workers_fails_at_the_cap_and_not_before() -> None:
    office = Office()
    task = await office.order()
    for attempt in range(1, CAP + 1):
        assert (await office.claimed(f"w{attempt}")).attempt == attempt
        assert (await office.row(task)).state is State.RUNNING
        await office.desk.worker_died(f"w{attempt}")
    row = await office.row(task)
    assert row.state is State.FAILED
    assert row.outcome is not None
    assert row.outcome.failure is not None
    assert row.outcome.failure.code == "InternalError.Algo"
    assert await office.desk.claim("w9", engines=STILL) is None


async def test_the_death_of_a_worker_concerns_its_own_task_only() -> None:
    office = Office()
    one, other = await office.order(), await office.order()
    await office.claimed("w1")
    await office.claimed("w2")
    await office.desk.worker_died("w1")
    assert (await office.row(one)).state is State.REQUEUED
    assert (await office.row(other)).state is State.RUNNING


async def test_a_running_task_past_its_time_fails_and_its_worker_is_unwelcome() -> None:
    office = Office()
    task = await office.order()
    lease = await office.claimed("w1")
    for _ in range(TIMEOUT // LEASE + 1):
        office.clock.advance(LEASE - 1)
        await office.desk.renew(lease.task_id, lease.attempt, phase="render", progress=0.5)
    assert await office.desk.look_after() == {"w1"}
    row = await office.row(task)
    assert row.outcome is not None
    assert row.outcome.failure is not None
    assert (row.state, row.outcome.failure.code) == (State.FAILED, "InternalError.Timeout")
    assert await office.desk.settle(lease.task_id, lease.attempt, FAILED) is Settled.LOST


async def test_a_requeued_task_past_its_time_fails_and_nobody_is_unwelcome() -> None:
    office = Office()
    task = await office.order()
    await office.claimed("w1")
    await office.desk.worker_died("w1")
    office.clock.advance(TIMEOUT)
    assert await office.desk.look_after() == frozenset()
    assert (await office.row(task)).state is State.FAILED


async def test_a_task_that_still_waits_for_its_first_worker_has_all_the_time_there_is() -> None:
    office = Office()
    task = await office.order()
    office.clock.advance(10 * TIMEOUT)
    assert await office.desk.look_after() == frozenset()
    assert (await office.row(task)).state is State.PENDING


async def test_a_worker_without_work_that_asks_for_none_is_unwelcome_after_the_time_of_a_lease() -> None:
    office = Office()
    assert await office.desk.claim("w1-a", engines=STILL) is None
    office.clock.advance(LEASE - 1)
    assert await office.desk.look_after() == frozenset()
    office.clock.advance(1)
    assert await office.desk.look_after() == {"w1-a"}
    assert await office.desk.look_after() == frozenset(), "once is enough"


async def test_a_worker_that_asks_or_works_or_has_just_finished_is_welcome() -> None:
    office = Office(patience=PATIENCE)
    asking = asyncio.create_task(office.desk.claim("w1-a", engines=STILL))
    await asyncio.sleep(0)
    office.clock.advance(LEASE)
    assert await office.desk.look_after() == frozenset(), "it asks"
    await office.order()
    lease = await asking
    assert lease is not None
    for _ in range(3):
        office.clock.advance(LEASE - 1)
        assert await office.desk.renew(lease.task_id, lease.attempt, phase="", progress=0.0)
        assert await office.desk.look_after() == frozenset(), "it works"
    await office.desk.settle(lease.task_id, lease.attempt, FAILED)
    office.clock.advance(LEASE - 1)
    assert await office.desk.look_after() == frozenset(), "it has just finished"
    office.clock.advance(1)
    assert await office.desk.look_after() == {"w1-a"}


async def test_the_end_of_a_worker_tells_whether_it_had_work() -> None:
    office = Office()
    await office.order()
    await office.claimed("w1-a")
    assert await office.desk.worker_died("w1-b") is False
    assert await office.desk.worker_died("w1-a") is True
    lease = await office.claimed("w1-c")
    await office.desk.settle(lease.task_id, lease.attempt, FAILED)
    assert await office.desk.worker_died("w1-c") is False


async def test_nobody_waits_for_a_dead_worker_to_ask() -> None:
    office = Office()
    assert await office.desk.claim("w1-a", engines=STILL) is None
    await office.desk.worker_died("w1-a")
    office.clock.advance(LEASE)
    assert await office.desk.look_after() == frozenset()


async def test_a_restart_takes_running_work_back_uncharged_and_fences_the_old_worker() -> None:
    office = Office()
    task = await office.order()
    old = await office.claimed("w1")
    await office.reopened().recover()
    row = await office.row(task)
    assert (row.state, row.charged) == (State.REQUEUED, 0)
    new = await office.claimed("w2")
    assert new.attempt > old.attempt
    assert await office.desk.settle(old.task_id, old.attempt, FAILED) is Settled.LOST


async def test_a_task_that_takes_the_server_down_again_and_again_fails_some_day() -> None:
    office = Office()
    task = await office.order()
    for _ in range(SUSPECT * CAP):
        assert (await office.row(task)).state.waiting
        await office.claimed("w1")
        await office.reopened().recover()
    row = await office.row(task)
    assert row.outcome is not None
    assert row.outcome.failure is not None
    assert (row.state, row.outcome.failure.code) == (State.FAILED, "InternalError.Algo")


async def test_a_restart_leaves_waiting_work_as_it_is() -> None:
    office = Office()
    pending, requeued = await office.order(), await office.order()
    office.clock.advance(1)
    await office.claimed("w1")
    await office.desk.worker_died("w1")
    before = {await office.row(pending), await office.row(requeued)}
    await office.reopened().recover()
    assert {await office.row(pending), await office.row(requeued)} == before


@pytest.mark.parametrize("again", ["insert", "hand back", "death"])
async def test_a_waiting_claim_is_woken_by_whatever_brings_work(again: str) -> None:
    office = Office(patience=PATIENCE)
    lease: Lease | None = None
    if again != "insert":
        await office.order()
        lease = await office.claimed("w1")
    claim = asyncio.create_task(office.desk.claim("w2", engines=STILL))
    await asyncio.sleep(0)
    assert not claim.done()
    if lease is None:
        await office.order()
    elif again == "death":
        await office.desk.worker_died("w1")
    else:
        await office.desk.hand_back(lease.task_id, lease.attempt)
    assert await asyncio.wait_for(claim, PATIENCE / 2) is not None


async def test_one_task_wakes_all_but_goes_to_one() -> None:
    office = Office(patience=0.2)
    claims = [asyncio.create_task(office.desk.claim(f"w{n}", engines=STILL)) for n in range(5)]
    await asyncio.sleep(0)
    await office.order()
    assert len([lease for lease in await asyncio.gather(*claims) if lease is not None]) == 1


async def test_two_claims_of_one_worker_at_once_get_one_lease() -> None:
    office = Office(patience=PATIENCE)
    forgotten = asyncio.create_task(office.desk.claim("w1", engines=STILL))
    repeated = asyncio.create_task(office.desk.claim("w1", engines=STILL))
    await asyncio.sleep(0)
    task, other = await office.order(), await office.order()
    assert await forgotten == await repeated
    assert (await office.row(task)).state is State.RUNNING
    assert (await office.row(other)).state is State.PENDING


async def test_a_claim_of_a_dead_worker_takes_no_work() -> None:
    office = Office(patience=PATIENCE)
    claim = asyncio.create_task(office.desk.claim("w1", engines=STILL))
    await asyncio.sleep(0)
    await office.desk.worker_died("w1")
    task = await office.order()
    assert await claim is None
    assert await office.desk.claim("w1", engines=STILL) is None
    assert (await office.row(task)).state is State.PENDING


class SlowStore(MemoryStore):
    """A claim takes effect, but its caller hears of it only when told."""

    def __init__(self) -> None:
        super().__init__()
        self.claimed, self.tell = asyncio.Event(), asyncio.Event()

    async def claim(self, worker: str, **asked: Any) -> Lease | None:
        lease = await super().claim(worker, **asked)
        self.claimed.set()
        await self.tell.wait()
        return lease


async def test_a_worker_that_dies_while_its_claim_is_written_leaves_no_lease_behind() -> None:
    office = Office()
    office.store = store = SlowStore()
    office.reopened()
    task = await office.order()
    claim = asyncio.create_task(office.desk.claim("w1", engines=STILL))
    await store.claimed.wait()
    await office.desk.worker_died("w1")
    store.tell.set()
    assert await claim is None
    assert (await office.row(task)).state is State.REQUEUED


async def test_a_draining_desk_gives_nothing_and_sends_waiting_claims_away() -> None:
    office = Office(patience=PATIENCE)
    claim = asyncio.create_task(office.desk.claim("w1", engines=STILL))
    await asyncio.sleep(0)
    office.desk.drain()
    await office.order()
    assert await asyncio.wait_for(claim, PATIENCE / 2) is None
    assert await office.desk.claim("w2", engines=STILL) is None


async def test_while_draining_a_lost_worker_costs_its_task_nothing() -> None:
    office = Office()
    task = await office.order()
    await office.claimed("w1")
    office.desk.drain()
    await office.desk.worker_died("w1")
    row = await office.row(task)
    assert (row.state, row.charged) == (State.REQUEUED, 0)


class TroubledStore(MemoryStore):
    """Fails when it is looked through for the first time."""

    trouble = True

    async def unfinished(self) -> tuple[Task, ...]:
        if self.trouble:
            self.trouble = False
            raise OSError("disk on fire")
        return await super().unfinished()


async def test_a_watch_that_was_away_itself_hears_everybody_before_it_judges() -> None:
    office = Office()
    task = await office.order()
    lease = await office.claimed("w1")
    assert await office.desk.claim("w2", engines=STILL) is None
    assert await office.desk.look_after() == frozenset()
    office.clock.advance(10 * LEASE)  # the lid was closed
    assert await office.desk.look_after() == frozenset()
    assert await office.desk.renew(lease.task_id, lease.attempt, phase="render", progress=0.5)
    assert await office.desk.claim("w2", engines=STILL) is None
    assert await office.desk.look_after() == frozenset()
    assert (await office.row(task)).charged == 1
    assert (await office.row(task)).state is State.RUNNING


async def test_who_is_silent_after_that_too_is_judged() -> None:
    office = Office()
    await office.order()
    await office.claimed("w1")
    await office.desk.look_after()
    office.clock.advance(LEASE)
    assert await office.desk.look_after() == frozenset()
    assert await office.desk.look_after() == {"w1"}


async def test_the_watch_kills_whoever_is_unwelcome_and_survives_a_round_that_fails() -> None:
    office = Office()
    office.store = TroubledStore()
    office.reopened()
    await office.order()
    await office.claimed("w1")
    office.clock.advance(LEASE)
    killed: asyncio.Queue[str] = asyncio.Queue()
    watch = asyncio.create_task(keep_watch(office.desk, killed.put_nowait, every=0.001))
    assert await asyncio.wait_for(killed.get(), PATIENCE) == "w1"
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch


async def test_a_task_whose_engine_is_out_of_order_waits_for_the_next_one_and_says_so() -> None:
    office = Office()
    task = await office.order(fallbacks=("morph",))
    lease = await office.claimed("w1")
    assert await office.desk.reroute(lease.task_id, lease.attempt, "nobody answers")
    row = await office.row(task)
    assert (row.state, row.job.engine, row.job.fallbacks, row.charged) == (State.REQUEUED, "morph", (), 0)
    noted = [note.text for note in await office.store.notes(task.id)]
    assert noted == ["Attempt 1 began at worker w1.", "still cannot make this, morph does."]
    assert await office.desk.claim("w1", engines=STILL) is None
    assert await office.desk.claim("w2", engines=frozenset({"morph"})) is not None


async def test_without_a_next_one_it_stays_where_it_is() -> None:
    office = Office()
    task = await office.order()
    lease = await office.claimed("w1")
    assert not await office.desk.reroute(lease.task_id, lease.attempt, "nobody answers")
    assert (await office.row(task)).state is State.RUNNING
    assert await office.desk.settle(lease.task_id, lease.attempt, FAILED) is Settled.RECORDED


async def test_whoever_lost_the_lease_reroutes_nothing_and_accuses_nobody() -> None:
    office = Office()
    await office.order(fallbacks=("morph",))
    lease = await office.claimed("w1")
    await office.desk.worker_died("w1")
    assert not await office.desk.reroute(lease.task_id, lease.attempt, "late")
    assert not await office.desk.reroute("no-such-task", 1, "late")
    assert office.routing.state()["still"] == "closed"


async def test_the_breaker_hears_of_failures_and_of_videos() -> None:
    office = Office()
    await office.order()
    lease = await office.claimed("w1")
    await office.desk.reroute(lease.task_id, lease.attempt, "nobody answers")
    assert office.routing.state()["still"] == "open"
    await office.desk.settle(lease.task_id, lease.attempt, FAILED)
    assert office.routing.state()["still"] == "open"
    await office.order()
    lease = await office.claimed("w1")
    await office.desk.settle(lease.task_id, lease.attempt, MADE)
    assert office.routing.state()["still"] == "closed"


async def test_a_task_is_over_when_it_has_ended_or_is_gone() -> None:
    office = Office()
    task = await office.order()
    lease = await office.claimed("w1")
    assert not await office.desk.over(task.id)
    await office.desk.hand_back(lease.task_id, lease.attempt)
    assert not await office.desk.over(task.id)
    await office.store.stop(task.id, now=office.clock.now())
    assert await office.desk.over(task.id)
    assert await office.desk.over("no-such-task")


async def texts(office: Office, task: Task) -> list[str]:
    return [note.text for note in await office.store.notes(task.id)]


async def test_a_stopped_task_ends_at_once_and_its_worker_hears_of_it_at_the_next_heartbeat() -> None:
    office = Office()
    task = await office.order()
    lease = await office.claimed("w1")
    assert await office.desk.stop(task.id)
    assert (await office.row(task)).state is State.CANCELED
    assert not await office.desk.renew(lease.task_id, lease.attempt, phase="render", progress=0.5)
    assert await office.desk.settle(lease.task_id, lease.attempt, FAILED) is Settled.LOST
    assert (await office.row(task)).state is State.CANCELED
    assert (await texts(office, task))[-1] == "Canceled while it ran."


async def test_what_has_ended_cannot_be_stopped() -> None:
    office = Office()
    task = await office.order()
    assert await office.desk.stop(task.id)
    assert not await office.desk.stop(task.id)
    assert not await office.desk.stop("nobody's")


async def test_a_worker_that_lets_go_in_time_is_left_alone() -> None:
    office = Office()
    task, other = await office.order(), await office.order()
    await office.claimed("w1")
    await office.desk.stop(task.id)
    office.clock.advance(GRACE - 1)
    assert office.desk.roster.overstayers() == frozenset()
    assert (await office.claimed("w1")).task_id == other.id, "it must not be given the stopped one again"
    office.clock.advance(GRACE)
    assert office.desk.roster.overstayers() == frozenset()


async def test_a_worker_that_does_not_let_go_is_named_once_and_its_end_is_not_its_fault() -> None:
    office = Office()
    task = await office.order()
    await office.claimed("w1")
    await office.desk.stop(task.id)
    office.clock.advance(GRACE)
    assert office.desk.roster.overstayers() == {"w1"}
    assert office.desk.roster.overstayers() == frozenset()
    assert await office.desk.worker_died("w1"), "work was to blame, so its successor need not wait"
    assert (await office.row(task)).state is State.CANCELED


async def test_a_worker_is_dismissed_until_it_asks_for_other_work_or_ends() -> None:
    office = Office()
    tasks = [await office.order() for _ in range(2)]
    for task, worker in zip(tasks, ("w1", "w2"), strict=True):
        await office.claimed(worker)
        await office.desk.stop(task.id)
    assert office.desk.roster.dismissed == {"w1", "w2"}
    await office.desk.worker_died("w1")
    assert office.desk.roster.dismissed == {"w2"}
    await office.order()
    await office.claimed("w2")
    assert office.desk.roster.dismissed == frozenset()


class FatalStore(MemoryStore):
    """Stops no task before its worker has died."""

    def __init__(self, office: "Office") -> None:
        super().__init__()
        self.office = office

    async def stop(self, task_id: str, *, now: int) -> Task | None:
        before = await super().stop(task_id, now=now)
        if before is not None and before.worker is not None:
            await self.office.desk.worker_died(before.worker)
        return before


async def test_a_worker_that_dies_while_its_task_is_stopped_is_not_waited_for() -> None:
    office = Office()
    office.store = FatalStore(office)
    office.reopened()
    task = await office.order()
    await office.claimed("w1")
    assert await office.desk.stop(task.id)
    assert office.desk.roster.dismissed == frozenset()


async def test_the_watch_sees_to_understudies_as_long_as_somebody_is_dismissed() -> None:
    office = Office()
    task = await office.order()
    await office.claimed("w1")
    await office.desk.stop(task.id)
    wanted: asyncio.Queue[frozenset[str]] = asyncio.Queue()
    watch = asyncio.create_task(keep_watch(office.desk, pytest.fail, understudy=wanted.put_nowait, every=0.01))
    assert await asyncio.wait_for(wanted.get(), PATIENCE) == {"w1"}
    await office.order()
    await office.claimed("w1")
    async with asyncio.timeout(PATIENCE):
        while await wanted.get():
            pass
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch


async def test_the_watch_kills_whoever_does_not_let_go() -> None:
    office = Office()
    task = await office.order()
    await office.claimed("w1")
    await office.desk.stop(task.id)
    office.clock.advance(GRACE)
    killed: asyncio.Queue[str] = asyncio.Queue()
    watch = asyncio.create_task(keep_watch(office.desk, killed.put_nowait, every=0.01))
    assert await asyncio.wait_for(killed.get(), PATIENCE) == "w1"
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch


async def test_the_watch_goes_on_when_somebody_could_not_be_killed() -> None:
    office = Office()
    killed: asyncio.Queue[str] = asyncio.Queue()

    def kill(worker: str) -> None:
        killed.put_nowait(worker)
        raise PermissionError(worker)

    watch = asyncio.create_task(keep_watch(office.desk, kill, every=0.01))
    for worker in ("w1", "w2"):
        task = await office.order()
        await office.claimed(worker)
        await office.desk.stop(task.id)
        office.clock.advance(GRACE)
        assert await asyncio.wait_for(killed.get(), PATIENCE) == worker
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch


async def test_the_life_of_a_task_is_noted() -> None:
    office = Office()
    task = await office.order()
    lease = await office.claimed("w1")
    await office.desk.hand_back(lease.task_id, lease.attempt)
    await office.claimed("w2")
    await office.desk.worker_died("w2")
    lease = await office.claimed("w3")
    await office.desk.settle(lease.task_id, lease.attempt, FAILED)
    assert await texts(office, task) == [
        "Attempt 1 began at worker w1.",
        "Attempt 1 was given back by its worker; the task waits for another.",
        "Attempt 2 began at worker w2.",
        "Attempt 2 was lost (worker died); the task waits for another worker.",
        "Attempt 3 began at worker w3.",
        "Failed in attempt 3 with InternalError.Algo.",
    ]


async def test_what_a_worker_notes_is_written_down_once_however_often_it_is_said() -> None:
    office = Office()
    task = await office.order()
    lease = await office.claimed("w1")
    for _ in range(2):
        await office.desk.renew(lease.task_id, lease.attempt, phase="rewrite", progress=0.1, notes=("Hm.",))
    await office.desk.settle(lease.task_id, lease.attempt, FAILED, notes=("Hm.", "x" * 10_000))
    noted = await texts(office, task)
    assert noted[1] == "Hm."
    assert noted[2:] == ["x" * 500, "Failed in attempt 1 with InternalError.Algo."]


async def test_nobody_notes_anything_about_a_task_that_is_somebody_elses_by_now() -> None:
    office = Office()
    task = await office.order()
    lease = await office.claimed("w1")
    await office.desk.worker_died("w1")
    assert not await office.desk.renew(lease.task_id, lease.attempt, phase="", progress=0.0, notes=("late",))
    assert await office.desk.settle(lease.task_id, lease.attempt, FAILED, notes=("late",)) is Settled.LOST
    assert "late" not in await texts(office, task)


async def test_a_store_that_takes_no_notes_spoils_no_work() -> None:
    class Full(MemoryStore):
        async def note(self, task_id: str, text: str, *, now: int) -> None:
            raise OSError("no room")

    office = Office()
    office.store = Full()
    office.reopened()
    task = await office.order()
    lease = await office.claimed("w1")
    assert await office.desk.settle(lease.task_id, lease.attempt, FAILED) is Settled.RECORDED
    assert (await office.row(task)).state is State.FAILED


async def test_workers_are_present_from_their_first_claim_to_their_end() -> None:
    office = Office()
    await office.order()
    lease = await office.claimed("w1")
    came = office.clock.now()
    office.clock.advance(SECOND)
    await office.desk.renew(lease.task_id, lease.attempt, phase="render", progress=0.5)
    (presence,) = office.desk.roster.present()
    assert (presence.name, presence.since, presence.heard) == ("w1", came, came + SECOND)
    await office.desk.worker_died("w1")
    assert office.desk.roster.present() == ()
