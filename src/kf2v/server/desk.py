"""The server's side of leases: gives work out, hears from those who do it, and notices when they fall silent.

What a lease is worth. A claim raises the task's ``attempt``, and ``(task_id, attempt)`` is named in every later
write, so a worker that lost its lease without knowing can change nothing any more. A lease is lost in three ways:

* the worker's process ends: the pool sees it and calls :meth:`Desk.worker_died`, milliseconds later;
* the worker falls silent (stopped, hung, cut off): :meth:`Desk.look_after` finds the lease expired;
* the server itself died: whoever starts next calls :meth:`Desk.recover`, because workers end with their server.

The first two are charged to the task, so that one which kills its workers fails in the end; the third is not, unless
it happens so often that the task must be suspected of killing servers too.

A claim may be asked again: an answer can get lost on its way, and its lease would then be held by nobody. So the desk
remembers what it gave to whom last, and gives the same again to a worker that asks while holding it.

A task that is stopped while it runs (:meth:`Desk.stop`) has ended for everybody there and then. What is due of its
worker, and of one that holds nothing, is told in ``roster``.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from kf2v.admission.routing import Routing
from kf2v.clock import SECOND, Clock
from kf2v.errors import AlgorithmError, ApiError, TaskTimeout
from kf2v.server.bell import Bell
from kf2v.server.journal import Journal
from kf2v.server.roster import Roster
from kf2v.store import Settled, Store
from kf2v.tasks import Failure, Lease, Outcome, State, Task
from kf2v.tasks.turns import Caps, unlimited

#: claims in all, as a multiple of the charged ones allowed, after which not even a restart excuses a task
SUSPECT = 10
#: characters of a worker's note that are kept
NOTE_LIMIT = 500

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What those who take a task have to keep to. Durations are milliseconds."""

    lease: int
    #: how often a task may be lost before it fails
    max_attempts: int
    #: from a task's first start to its end
    task_timeout: int
    #: how long a worker may go on with a task that was stopped
    grace: int = 1_000


class Desk:
    """Where workers come for work. All methods belong to one event loop."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        terms: Terms,
        routing: Routing | None = None,
        patience: float = 5.0,
        caps: Caps = unlimited,
        on_end: Callable[[], None] = lambda: None,
        journal: Journal | None = None,
    ) -> None:
        #: ``patience`` is how many seconds a claim waits for work; real ones, whatever ``clock`` says.
        #: ``on_end`` is called whenever tasks have ended here
        self._store = store
        self._clock = clock
        self._terms = terms
        self._routing = routing
        self._patience = patience
        self._caps = caps
        self._on_end = on_end
        self._journal = journal or Journal()
        #: the workers there are
        self.roster = Roster(clock, lease_ms=terms.lease, grace_ms=terms.grace)
        self._bell = Bell()
        self._draining = False
        self._given: dict[str, Lease] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        #: when leases were looked after last; None if not yet, or too long ago
        self._looked_at: int | None = None

    @property
    def draining(self) -> bool:
        return self._draining

    def drain(self) -> None:
        """Give out nothing from now on. What is running may be settled or handed back as before."""
        self._draining = True
        self.work_arrived()

    def work_arrived(self) -> None:
        """Wake the claims that wait: a task was inserted, or came back, or made room for another of its account."""
        self._bell.ring()

    async def claim(self, worker: str, *, engines: frozenset[str]) -> Lease | None:
        """The task of one of ``engines`` whose turn it is, waiting ``patience`` seconds for one; None if none came."""
        self.roster.asked(worker)
        async with self._turns[worker]:
            self.roster.waits(worker)
            try:
                return await self._still_held(worker) or await self._next(worker, engines)
            finally:
                self.roster.answered(worker)

    async def _still_held(self, worker: str) -> Lease | None:
        lease = self._given.pop(worker, None)
        if lease is None or not await self.renew(lease.task_id, lease.attempt, phase="", progress=0.0):
            return None
        log.warning("lease given again", task_id=lease.task_id, attempt=lease.attempt, worker=worker)
        self._given[worker] = lease
        return lease

    async def _next(self, worker: str, engines: frozenset[str]) -> Lease | None:
        loop = asyncio.get_running_loop()
        enough = loop.time() + self._patience
        while not self._draining and not self.roster.is_dead(worker):
            bell = self._bell.listen()
            lease = await self._take(worker, engines)
            if lease is not None:
                return lease
            try:
                async with asyncio.timeout_at(enough):
                    await bell.wait()
            except TimeoutError:
                break
        return None

    async def _take(self, worker: str, engines: frozenset[str]) -> Lease | None:
        now = self._clock.now()
        until = now + self._terms.lease
        lease = await self._store.claim(worker, engines=engines, now=now, until=until, caps=self._caps)
        if lease is None:
            return None
        if self.roster.is_dead(worker):
            await self.hand_back(lease.task_id, lease.attempt)
            return None
        self._given[worker] = lease
        log.info("task claimed", task_id=lease.task_id, attempt=lease.attempt, worker=worker)
        await self._tell(lease.task_id, f"Attempt {lease.attempt} began at worker {worker}.")
        return lease

    async def renew(
        self, task_id: str, attempt: int, *, phase: str, progress: float, notes: tuple[str, ...] = ()
    ) -> bool:
        """A heartbeat; False when the lease is gone and the work must stop. ``progress`` is 0 … 1."""
        until = self._clock.now() + self._terms.lease
        if not await self._store.renew(task_id, attempt, until=until, phase=phase, progress=progress):
            return False
        task = await self._tell(task_id, notes=notes)
        if task is not None and task.worker is not None:
            self.roster.heard_of(task.worker)
        return True

    async def settle(self, task_id: str, attempt: int, outcome: Outcome, *, notes: tuple[str, ...] = ()) -> Settled:
        """The worker's last word."""
        settled = await self._store.settle(task_id, attempt, outcome, now=self._clock.now())
        code = outcome.failure.code if outcome.failure else None
        log.info("task settled", task_id=task_id, attempt=attempt, settled=settled.value, code=code)
        if settled is Settled.LOST:
            return settled
        if self._routing is not None and settled is Settled.RECORDED and outcome.video is not None:
            task = await self._store.get(task_id)
            if task is not None:
                self._routing.worked(task.job.engine, task.job.model)
        end = "Failed" if code else "Succeeded"
        await self._ended(task_id, f"{end} in attempt {attempt}{f' with {code}' if code else ''}.", notes=notes)
        return settled

    async def reroute(self, task_id: str, attempt: int, reason: str) -> bool:
        """The engine of the task is out of order: it waits for the next one its job names, uncharged.

        False if there is none, or the lease is gone.
        """
        task = await self._store.get(task_id)
        if task is None or task.attempt != attempt or task.state is not State.RUNNING:
            return False
        if self._routing is not None:
            self._routing.failed(task.job.engine, task.job.model)
        moved = await self._store.reroute(task_id, attempt)
        if moved is None:
            return False
        engine, instead = task.job.engine, moved.job.engine
        log.warning("task rerouted", task_id=task_id, engine=engine, instead=instead, reason=reason)
        await self._tell(task_id, f"{engine} cannot make this, {instead} does.")
        self.work_arrived()
        return True

    async def over(self, task_id: str) -> bool:
        """Whether nobody will work on the task any more."""
        task = await self._store.get(task_id)
        return task is None or task.state.final

    async def cancel(self, task_id: str) -> bool:
        """End a task that is PENDING; False if it is not, or there is none."""
        if not await self._store.cancel(task_id, now=self._clock.now()):
            return False
        await self._ended(task_id, "Canceled.")
        return True

    async def stop(self, task_id: str) -> bool:
        """End a task that has not ended, running or not; False if it has, or there is none.

        Its worker is called off and has a moment to let go, see ``Roster.overstayers``.
        """
        before = await self._store.stop(task_id, now=self._clock.now())
        if before is None:
            return False
        log.info("task stopped", task_id=task_id, attempt=before.attempt, worker=before.worker)
        if before.state is State.RUNNING and before.worker is not None:
            self.roster.dismiss(before.worker)
            given = self._given.get(before.worker)
            if given is not None and given.task_id == task_id:
                del self._given[before.worker]
        await self._ended(task_id, "Canceled." if before.state is State.PENDING else "Canceled while it ran.")
        return True

    async def hand_back(self, task_id: str, attempt: int) -> bool:
        """The worker has to go; the task waits again, uncharged. False if the lease was gone."""
        if not await self._store.hand_back(task_id, attempt):
            return False
        log.info("task handed back", task_id=task_id, attempt=attempt)
        await self._tell(task_id, f"Attempt {attempt} was given back by its worker; the task waits for another.")
        self.work_arrived()
        return True

    async def worker_died(self, worker: str) -> bool:
        """Its process ended, and with it whatever it was doing; whether there was something.

        While draining that is nobody's fault.
        """
        dismissed = self.roster.died(worker)
        self._given.pop(worker, None)
        self._turns.pop(worker, None)
        self.work_arrived()
        lost = [task for task in await self._store.unfinished() if (task.state, task.worker) == (State.RUNNING, worker)]
        for task in lost:
            await (self.hand_back(task.id, task.attempt) if self._draining else self._lose(task, "worker died"))
        return dismissed or bool(lost)

    async def recover(self) -> None:
        """At start, before the first claim: whoever was working did so for a server that is gone."""
        for task in await self._store.unfinished():
            if task.state is not State.RUNNING:
                continue
            if task.attempt >= SUSPECT * self._terms.max_attempts:
                await self._lose(task, "too many restarts", cap=task.charged)
            else:
                await self.hand_back(task.id, task.attempt)

    async def look_after(self) -> frozenset[str]:
        """End what takes too long and take back what nobody is heard of about.

        Returns the workers that must be killed: they hold leases no longer, but may not know or not care.

        Who did not look for a whole lease was away himself, suspended with the machine or paused, and what was said
        meanwhile may be yet to be heard: nothing is judged until the next look.
        """
        now, last = self._clock.now(), self._looked_at
        if last is not None and now >= last + self._terms.lease:
            self._looked_at = None  # the next look judges, come what may
            log.warning("the watch was away", seconds=(now - last) / SECOND)
            return frozenset()
        self._looked_at = now
        tasks = await self._store.unfinished()
        busy = {task.worker for task in tasks if task.worker is not None}
        unwelcome = set(self.roster.fallen_silent(busy=busy))
        for task in tasks:
            running = task.state is State.RUNNING
            if task.scheduled_at is not None and now >= task.scheduled_at + self._terms.task_timeout:
                ended = await self._time_out(task)
            elif running and task.lease_until is not None and now >= task.lease_until:
                ended = await self._lose(task, "lease expired")
            else:
                continue
            if ended and running and task.worker is not None:
                unwelcome.add(task.worker)
        return frozenset(unwelcome)

    async def _lose(self, task: Task, why: str, *, cap: int | None = None) -> bool:
        now, exhausted, cap = self._clock.now(), _failed(AlgorithmError()), cap or self._terms.max_attempts
        state = await self._store.lose(task.id, task.attempt, now=now, cap=cap, exhausted=exhausted)
        if state is None:
            return False
        log.warning("lease lost", why=why, task_id=task.id, attempt=task.attempt, worker=task.worker, state=state.value)
        lost = f"Attempt {task.attempt} was lost ({why})"
        if state.final:
            await self._ended(task.id, f"{lost}; the task has failed, as no attempt is left.")
        else:
            self.work_arrived()
            await self._tell(task.id, f"{lost}; the task waits for another worker.")
        return True

    async def _time_out(self, task: Task) -> bool:
        now = self._clock.now()
        if not await self._store.time_out(task.id, task.attempt, _failed(TaskTimeout()), now=now):
            return False
        log.warning("task timed out", task_id=task.id, attempt=task.attempt, worker=task.worker)
        await self._ended(task.id, "Failed because it took too long.")
        return True

    async def _ended(self, task_id: str, said: str, *, notes: Iterable[str] = ()) -> None:
        """A task has ended: another may run instead, and all who wait for its end hear of it."""
        self.work_arrived()
        self._on_end()
        await self._tell(task_id, said, notes=notes)

    async def _tell(self, task_id: str, *said: str, notes: Iterable[str] = ()) -> Task | None:
        """Let the task's owner know how it is now, what was ``said`` and what its worker ``notes``.

        A worker may have to say a thing twice, so what it notes is written down once. Nothing of this may keep a
        change that is made already from being answered.
        """
        try:
            texts = [note[:NOTE_LIMIT] for note in notes]
            known = {note.text for note in await self._store.notes(task_id)} if texts else set[str]()
            for text in (*(text for text in texts if text not in known), *said):
                await self._store.note(task_id, text, now=self._clock.now())
            task = await self._store.get(task_id)
        except Exception:
            log.exception("a task's owner could not be told", task_id=task_id)
            return None
        if task is not None:
            self._journal.publish(task)
        return task


def _failed(error: ApiError) -> Outcome:
    return Outcome(failure=Failure(code=error.code, message=error.message))
