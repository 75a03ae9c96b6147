"""From a submission to a promise: admitted, within its limits, counted once, and written down."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

import structlog

from kf2v.admission.admit import Admission
from kf2v.admission.keys import Caller
from kf2v.admission.limits import Limits
from kf2v.clock import HOUR, Clock
from kf2v.errors import ApiError, IdempotencyConflict, QuotaExceeded
from kf2v.store import Once, OnceTaken, QueueFull, Store
from kf2v.tasks import Task
from kf2v.wire import Envelope, Submission
from kf2v.wire.v1.fields import misfit

#: how long an ``Idempotency-Key`` is remembered
REMEMBERED = 24 * HOUR
#: characters of one
KEY_LIMIT = 255
#: seconds that a caller may ask to be kept waiting, as the vendor has them
WAITS = (3, 120)


log = structlog.get_logger(__name__)


def _nothing() -> WeakValueDictionary[tuple[str, str], asyncio.Lock]:
    return WeakValueDictionary()


def _nobody(task: Task) -> None:
    del task


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Takes submissions."""

    admission: Admission
    limits: Limits
    store: Store
    clock: Clock
    #: hears of every task that is new
    taken: Callable[[Task], None] = _nobody
    #: by account and ``Idempotency-Key``, as long as somebody holds it
    _under_way: WeakValueDictionary[tuple[str, str], asyncio.Lock] = field(default_factory=_nothing, init=False)

    async def take(self, submission: Submission, caller: Caller, envelope: Envelope) -> str:
        """The id of the task that now waits, or of the one that came under the same ``Idempotency-Key`` before.

        Raises what ``Admission.admit`` raises, InvalidParameter, IdempotencyConflict, RateExceeded and
        QuotaExceeded; nothing of a refused submission is kept or counted.
        """
        once = _once(envelope, self.clock.now())
        if once is None:
            return await self._new(submission, caller, envelope, None)
        # who lost patience and asks again while his first try is under way shall hear of its task
        async with self._under_way.setdefault((caller.account, once.key), asyncio.Lock()):
            known = await self._known(caller.account, once)
            return known or await self._new(submission, caller, envelope, once)

    async def _new(self, submission: Submission, caller: Caller, envelope: Envelope, once: Once | None) -> str:
        notes = list[str]()
        async with self.limits.turn(caller.account, submission.model, patience=_patience(envelope)) as count:
            task = await self.admission.admit(submission, caller, envelope, notes.append)
            try:
                task_id = await self._insert(task, once)
            except ApiError:  # nothing else is sure to have written nothing
                await self.admission.discard(task.job.first, task.job.last)
                raise
            if task_id == task.id:
                self.taken(task)
                await count()
                await self._write_down(task, notes)
            else:
                await self.admission.discard(task.job.first, task.job.last)
        return task_id

    async def _known(self, account: str, once: Once) -> str | None:
        said = await self.store.once(account, once.key, since=once.since)
        if said is None:
            return None
        digest, task_id = said
        if digest != once.digest:
            raise IdempotencyConflict
        return task_id

    async def _insert(self, task: Task, once: Once | None) -> str:
        room = self.limits.quota(task.account, task.job.model).waiting
        try:
            async with self.limits.afford(task):
                return await self.store.insert(task, once=once, room=room)
        except OnceTaken as error:
            raise IdempotencyConflict from error
        except QueueFull as error:
            raise QuotaExceeded(
                f"{QuotaExceeded.sentence} {room} tasks of {task.job.model} may wait, and as many do."
            ) from error

    async def _write_down(self, task: Task, notes: list[str]) -> None:
        """Nothing of this may keep a promise that is made from being answered."""
        try:
            for text in notes:
                await self.store.note(task.id, text, now=self.clock.now())
        except Exception:
            log.exception("a task's owner could not be told", task_id=task.id)


def _once(envelope: Envelope, now: int) -> Once | None:
    key = envelope.idempotency_key
    if key is None:
        return None
    if not 1 <= len(key) <= KEY_LIMIT:
        raise misfit("Idempotency-Key", key, f"1 to {KEY_LIMIT} characters")
    part = "" if envelope.part is None else f"\n{envelope.part}"  # a header has no line ends
    return Once(key=key + part, digest=envelope.digest, since=now - REMEMBERED)


def _patience(envelope: Envelope) -> float:
    """How many seconds the caller would rather wait than be refused."""
    asked, (least, most) = envelope.wait, WAITS
    if asked is None:
        return 0.0
    if not (asked.isascii() and asked.isdigit() and least <= int(asked[:9]) <= most):
        raise misfit("X-DashScope-Wait-Timeout", asked, f"a whole number of seconds from {least} to {most}")
    return float(asked)
