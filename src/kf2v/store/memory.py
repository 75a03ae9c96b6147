"""Rows in dictionaries: the public double, for tests and for trying things out. Gone with the process."""

from collections import Counter
from dataclasses import replace
from operator import attrgetter, itemgetter

from kf2v.store import IdTaken, Key, Page, Settled, TaskQuery, Upload
from kf2v.tasks import Lease, Outcome, State, Task, moves


class MemoryStore:
    """Keeps the promises of ``Store`` for as long as it lives, on one event loop: no method ever waits."""

    def __init__(self) -> None:
        #: in the order of their insertion, as all three are
        self._tasks: dict[str, Task] = {}
        self._keys: dict[str, Key] = {}
        self._uploads: dict[str, Upload] = {}
        self._closed = False

    async def insert(self, task: Task) -> None:
        self._check_open()
        if task.id in self._tasks:
            raise IdTaken(task.id)
        self._tasks[task.id] = task

    async def get(self, task_id: str) -> Task | None:
        self._check_open()
        return self._tasks.get(task_id)

    async def find(self, query: TaskQuery) -> Page:
        self._check_open()
        found = [task for task in self._tasks.values() if _answers(task, query)]
        found.reverse()
        found.sort(key=lambda task: task.submitted_at, reverse=True)
        start = (query.page_no - 1) * query.page_size
        return Page(total=len(found), tasks=tuple(found[start : start + query.page_size]))

    async def cancel(self, task_id: str, *, now: int) -> bool:
        task = self._task(task_id)
        return task is not None and self._keep(moves.cancel(task, now=now))

    async def claim(self, worker: str, *, engines: frozenset[str], now: int, until: int) -> Lease | None:
        self._check_open()
        waiting = (task for task in self._tasks.values() if task.state.waiting and task.job.engine in engines)
        first = min(waiting, key=lambda task: task.submitted_at, default=None)
        claimed = None if first is None else moves.claim(first, worker=worker, now=now, until=until)
        if claimed is None:
            return None
        self._keep(claimed)
        return moves.lease_of(claimed)

    async def renew(self, task_id: str, attempt: int, *, until: int, phase: str, progress: float) -> bool:
        task = self._task(task_id)
        return task is not None and self._keep(moves.renew(task, attempt, until=until, phase=phase, progress=progress))

    async def settle(self, task_id: str, attempt: int, outcome: Outcome, *, now: int) -> Settled:
        task = self._task(task_id)
        if task is None:
            return Settled.LOST
        if self._keep(moves.settle(task, attempt, outcome, now=now)):
            return Settled.RECORDED
        return Settled.REPEATED if moves.repeats(task, attempt, outcome) else Settled.LOST

    async def hand_back(self, task_id: str, attempt: int) -> bool:
        task = self._task(task_id)
        return task is not None and self._keep(moves.hand_back(task, attempt))

    async def lose(self, task_id: str, attempt: int, *, now: int, cap: int, exhausted: Outcome) -> State | None:
        task = self._task(task_id)
        if task is None:
            return None
        moved = moves.lose(task, attempt, now=now, cap=cap, exhausted=exhausted)
        self._keep(moved)
        return None if moved is None else moved.state

    async def time_out(self, task_id: str, attempt: int, outcome: Outcome, *, now: int) -> bool:
        task = self._task(task_id)
        return task is not None and self._keep(moves.time_out(task, attempt, outcome, now=now))

    async def unfinished(self) -> tuple[Task, ...]:
        self._check_open()
        return tuple(task for task in self._tasks.values() if task.state in {State.RUNNING, State.REQUEUED})

    async def forget(self, *, ended_before: int, limit: int) -> tuple[Task, ...]:
        self._check_open()
        ended = [(task.ended_at, task) for task in self._tasks.values() if task.ended_at is not None]
        ended.sort(key=itemgetter(0))
        gone = tuple(task for ended_at, task in ended if ended_at <= ended_before)[:limit]
        for task in gone:
            del self._tasks[task.id]
        return gone

    async def counts(self) -> dict[State, int]:
        self._check_open()
        return dict(Counter(task.state for task in self._tasks.values()))

    async def put_key(self, key: Key) -> None:
        self._check_open()
        if any(known.digest == key.digest for known in self._keys.values()):
            return
        if key.id in self._keys:
            raise IdTaken(key.id)
        self._keys[key.id] = key

    async def key_by_digest(self, digest: str) -> Key | None:
        self._check_open()
        return next((key for key in self._keys.values() if key.digest == digest), None)

    async def keys(self) -> tuple[Key, ...]:
        self._check_open()
        return tuple(sorted(self._keys.values(), key=lambda key: key.created_at))

    async def revoke_key(self, key_id: str, *, now: int) -> bool:
        self._check_open()
        key = self._keys.get(key_id)
        if key is None or key.revoked_at is not None:
            return False
        self._keys[key_id] = replace(key, revoked_at=now)
        return True

    async def put_upload(self, upload: Upload) -> bool:
        self._check_open()
        if upload.key in self._uploads:
            return False
        self._uploads[upload.key] = upload
        return True

    async def get_upload(self, key: str) -> Upload | None:
        self._check_open()
        return self._uploads.get(key)

    async def forget_uploads(self, *, created_before: int, limit: int) -> tuple[Upload, ...]:
        self._check_open()
        oldest = sorted(self._uploads.values(), key=attrgetter("created_at"))
        gone = tuple(upload for upload in oldest if upload.created_at <= created_before)[:limit]
        for upload in gone:
            del self._uploads[upload.key]
        return gone

    async def probe(self) -> None:
        self._check_open()

    async def close(self) -> None:
        self._check_open()
        self._closed = True

    def _task(self, task_id: str) -> Task | None:
        self._check_open()
        return self._tasks.get(task_id)

    def _keep(self, moved: Task | None) -> bool:
        if moved is None:
            return False
        self._tasks[moved.id] = moved
        return True

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the store is closed")


def _answers(task: Task, query: TaskQuery) -> bool:
    return (
        task.account == query.account
        and (task.ended_at is None or task.ended_at > query.forgotten_before)
        and query.task_id in (None, task.id)
        and (query.since is None or task.submitted_at >= query.since)
        and (query.until is None or task.submitted_at <= query.until)
        and query.model in (None, task.job.model)
        and query.status in (None, task.state.shown)
        and query.key_id in (None, task.key_id)
        and query.region in (None, task.region)
    )
