"""Rows in dictionaries: the public double, for tests and for trying things out. Gone with the process."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter, itemgetter
from typing import TypeVar

from kf2v.catalog.models import SECONDS
from kf2v.metering import Charge, Footage, UsageLine, UsageQuery, charge_of, line_of
from kf2v.store import (
    IdTaken,
    Key,
    Note,
    Once,
    OnceTaken,
    Page,
    QueueFull,
    Settled,
    TaskQuery,
    Upload,
    Workspace,
)
from kf2v.tasks import Lease, Outcome, State, Task, moves
from kf2v.tasks.news import Delivery, Webhook, deliveries_of
from kf2v.tasks.turns import Caps, Head, Line, choose, position, unlimited

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    digest: str
    task_id: str
    at: int


class MemoryStore:
    """Keeps the promises of ``Store`` for as long as it lives, on one event loop: no method ever waits."""

    def __init__(self) -> None:
        #: in the order of their insertion, as all of these are
        self._tasks: dict[str, Task] = {}
        self._keys: dict[str, Key] = {}
        self._uploads: dict[str, Upload] = {}
        self._workspaces: dict[str, Workspace] = {}
        self._webhooks: dict[str, Webhook] = {}
        self._deliveries: dict[str, Delivery] = {}
        self._charges: dict[str, Charge] = {}
        self._notes: defaultdict[str, list[Note]] = defaultdict(list)
        self._said: dict[tuple[str, str], _Said] = {}
        #: by account, when it was served last, in claims
        self._served: dict[str, int] = {}
        self._claims = 0
        self._closed = False

    async def insert(self, task: Task, *, once: Once | None = None, room: int | None = None) -> str:
        self._check_open()
        if once is not None and (known := await self.once(task.account, once.key, since=once.since)) is not None:
            digest, task_id = known
            if digest != once.digest:
                raise OnceTaken(once.key)
            return task_id
        if task.id in self._tasks:
            raise IdTaken(task.id)
        if room is not None and self._waiting(task.account, task.job.model) >= room:
            raise QueueFull
        self._tasks[task.id] = task
        if once is not None:
            self._said[task.account, once.key] = _Said(digest=once.digest, task_id=task.id, at=task.submitted_at)
        return task.id

    async def once(self, account: str, key: str, *, since: int) -> tuple[str, str] | None:
        self._check_open()
        said = self._said.get((account, key))
        return None if said is None or said.at < since else (said.digest, said.task_id)

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

    async def stop(self, task_id: str, *, now: int) -> Task | None:
        task = self._task(task_id)
        return task if task is not None and self._keep(moves.stop(task, now=now)) else None

    async def claim(
        self, worker: str, *, engines: frozenset[str], now: int, until: int, caps: Caps = unlimited
    ) -> Lease | None:
        first = choose(self._heads(engines), await self.lines(), served=self._served, caps=caps)
        claimed = first and moves.claim(self._tasks[first.task_id], worker=worker, now=now, until=until)
        if claimed is None:
            return None
        self._keep(claimed)
        self._claims += 1
        self._served[claimed.account] = self._claims
        return moves.lease_of(claimed)

    async def place(self, task_id: str) -> int | None:
        task = self._task(task_id)
        if task is None or not task.state.waiting:
            return None
        queue = [other for other in self._tasks.values() if other.state.waiting and other.job.engine == task.job.engine]
        own = sorted((other for other in queue if other.account == task.account), key=_turn)
        return position(task.account, own.index(task), Counter(t.account for t in queue), served=self._served)

    async def lines(self) -> tuple[Line, ...]:
        self._check_open()
        waiting, running = Counter[tuple[str, str, str]](), Counter[tuple[str, str, str]]()
        for task in self._tasks.values():
            line = task.account, task.job.model, task.job.engine
            waiting[line] += task.state.waiting
            running[line] += task.state is State.RUNNING
        return tuple(
            Line(account=line[0], model=line[1], engine=line[2], waiting=waiting[line], running=running[line])
            for line in sorted(waiting)
            if waiting[line] or running[line]
        )

    async def promised(self, account: str) -> tuple[Footage, ...]:
        self._check_open()
        open_ = Counter(
            (task.region, task.job.model, task.job.resolution)
            for task in self._tasks.values()
            if task.account == account and not task.state.final
        )
        return tuple(
            Footage(region=region, model=model, resolution=resolution, seconds=tasks * SECONDS)
            for (region, model, resolution), tasks in sorted(open_.items())
        )

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

    async def reroute(self, task_id: str, attempt: int) -> Task | None:
        task = self._task(task_id)
        moved = None if task is None else moves.reroute(task, attempt)
        return moved if self._keep(moved) else None

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
        ended = [(task.ended_at, task) for task in self._tasks.values() if task.ended_at is not None and not task.kept]
        ended.sort(key=itemgetter(0))
        gone = tuple(task for ended_at, task in ended if ended_at <= ended_before)[:limit]
        for task in gone:
            self._remove(task)
        return gone

    async def keep(self, task_id: str, *, kept: bool) -> bool:
        task = self._task(task_id)
        if task is None:
            return False
        self._tasks[task_id] = replace(task, kept=kept)
        return True

    async def delete(self, task_id: str) -> Task | None:
        task = self._task(task_id)
        if task is None or not task.state.final:
            return None
        self._remove(task)
        return task

    async def note(self, task_id: str, text: str, *, now: int) -> None:
        if self._task(task_id) is not None:
            self._notes[task_id].append(Note(at=now, text=text))

    async def notes(self, task_id: str) -> tuple[Note, ...]:
        self._check_open()
        return tuple(self._notes.get(task_id, ()))

    async def usage(self, query: UsageQuery) -> tuple[UsageLine, ...]:
        self._check_open()
        lines: dict[tuple[str | bool, ...], UsageLine] = {}
        for charge in self._charges.values():
            if query.covers(charge):
                line = line_of(charge)
                key = _line_key(line)
                there = lines.get(key)
                lines[key] = (
                    line
                    if there is None
                    else replace(there, videos=there.videos + line.videos, seconds=there.seconds + line.seconds)
                )
        return tuple(lines[key] for key in sorted(lines))

    async def runs(self, engine: str, resolution: str, *, limit: int = 20) -> tuple[int, ...]:
        self._check_open()
        newest = _newest_first(self._charges.values(), "booked_at")
        return tuple(c.ran for c in newest if c.engine == engine and c.resolution == resolution)[:limit]

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

    async def change_key(self, key_id: str, change: Callable[[Key], Key | None]) -> Key | None:
        self._check_open()
        return _change(
            self._keys,
            key_id,
            change,
            lambda new: any(k.digest == new.digest for k in self._keys.values() if k.id != key_id),
        )

    async def touch_keys(self, used: Mapping[str, int]) -> None:
        self._check_open()
        for key_id, at in used.items():
            key = self._keys.get(key_id)
            if key is not None and (key.used_at is None or key.used_at < at):
                self._keys[key_id] = replace(key, used_at=at)

    async def put_workspace(self, workspace: Workspace) -> None:
        self._check_open()
        _add(self._workspaces, workspace.id, workspace)

    async def workspaces(self, account: str | None = None) -> tuple[Workspace, ...]:
        self._check_open()
        return _of(self._workspaces.values(), account)

    async def remove_workspace(self, workspace_id: str) -> bool:
        self._check_open()
        return self._workspaces.pop(workspace_id, None) is not None

    async def put_webhook(self, webhook: Webhook) -> None:
        self._check_open()
        _add(self._webhooks, webhook.id, webhook)

    async def webhooks(self, account: str | None = None) -> tuple[Webhook, ...]:
        self._check_open()
        return _of(self._webhooks.values(), account)

    async def change_webhook(self, webhook_id: str, change: Callable[[Webhook], Webhook | None]) -> Webhook | None:
        self._check_open()
        return _change(self._webhooks, webhook_id, change)

    async def remove_webhook(self, webhook_id: str) -> bool:
        self._check_open()
        return self._webhooks.pop(webhook_id, None) is not None

    async def due(self, *, now: int, limit: int, besides: Collection[str] = ()) -> tuple[Delivery, ...]:
        self._check_open()
        due = [d for d in self._deliveries.values() if _on_its_way(d) and d.due_at <= now and d.id not in besides]
        return tuple(sorted(due, key=attrgetter("due_at"))[:limit])

    async def undelivered(self) -> int:
        self._check_open()
        return sum(map(_on_its_way, self._deliveries.values()))

    async def keep_delivery(self, delivery: Delivery) -> None:
        self._check_open()
        if delivery.id in self._deliveries:
            self._deliveries[delivery.id] = delivery

    async def delivery(self, delivery_id: str) -> Delivery | None:
        self._check_open()
        return self._deliveries.get(delivery_id)

    async def deliveries(
        self, account: str | None, *, task_id: str | None = None, webhook_id: str | None = None, limit: int = 100
    ) -> tuple[Delivery, ...]:
        self._check_open()
        newest = _newest_first(self._deliveries.values(), "created_at")
        mine = (d for d in newest if account in (None, d.news.account) and task_id in (None, d.news.task_id))
        return tuple(d for d in mine if webhook_id in (None, d.webhook_id))[:limit]

    async def forget_deliveries(self, *, created_before: int, limit: int) -> int:
        self._check_open()
        old = [d.id for d in self._deliveries.values() if not _on_its_way(d) and d.created_at <= created_before][:limit]
        for delivery_id in old:
            del self._deliveries[delivery_id]
        return len(old)

    async def forget_onces(self, *, created_before: int, limit: int) -> int:
        self._check_open()
        old = [key for key, said in self._said.items() if said.at <= created_before][:limit]
        for key in old:
            del self._said[key]
        return len(old)

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
        ended = moved.state.final and not self._tasks[moved.id].state.final
        self._tasks[moved.id] = moved
        if ended:
            if (charge := charge_of(moved)) is not None:
                self._charges[charge.task_id] = charge
            hooks = _of(self._webhooks.values(), moved.account)
            self._deliveries |= {delivery.id: delivery for delivery in deliveries_of(moved, hooks)}
        return True

    def _remove(self, task: Task) -> None:
        del self._tasks[task.id]
        self._notes.pop(task.id, None)

    def _waiting(self, account: str, model: str) -> int:
        return sum(
            task.state.waiting and task.account == account and task.job.model == model for task in self._tasks.values()
        )

    def _heads(self, engines: frozenset[str]) -> Iterable[Head]:
        heads: dict[tuple[str, str, str], Head] = {}
        for seq, task in enumerate(self._tasks.values()):
            line = task.account, task.job.model, task.job.engine
            if task.state.waiting and task.job.engine in engines:
                there = heads.get(line)
                if there is None or _turn(task) < (-there.priority, there.submitted_at):
                    heads[line] = Head(
                        task_id=task.id,
                        account=task.account,
                        model=task.job.model,
                        priority=task.priority,
                        submitted_at=task.submitted_at,
                        seq=seq,
                    )
        return heads.values()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the store is closed")


def _answers(task: Task, query: TaskQuery) -> bool:
    return (
        task.account == query.account
        and (task.ended_at is None or task.ended_at > query.forgotten_before or task.kept)
        and query.task_id in (None, task.id)
        and (query.since is None or task.submitted_at >= query.since)
        and (query.until is None or task.submitted_at <= query.until)
        and query.model in (None, task.job.model)
        and query.status in (None, task.state.shown)
        and query.key_id in (None, task.key_id)
        and query.region in (None, task.region)
        and query.engine in (None, task.job.engine)
        and (query.text is None or _small(query.text) in _small(task.job.prompt))
    )


def _small(text: str) -> bytes:
    """ASCII letters in lower case, all others as they are."""
    return text.encode("utf-8", "surrogatepass").lower()


def _turn(task: Task) -> tuple[int, int]:
    """Sorts an account's tasks; those that agree are in the order of their insertion."""
    return -task.priority, task.submitted_at


def _line_key(line: UsageLine) -> tuple[str | bool, ...]:
    return (
        line.day,
        line.account,
        line.key_id,
        line.workspace is not None,
        line.workspace or "",
        line.region,
        line.model,
        line.engine,
        line.resolution,
    )


def _on_its_way(delivery: Delivery) -> bool:
    return delivery.delivered_at is None and delivery.abandoned_at is None


H = TypeVar("H", Workspace, Webhook)


def _of(rows: Iterable[H], account: str | None) -> tuple[H, ...]:
    """Those of ``account``, or all."""
    return tuple(sorted((row for row in rows if account in (None, row.account)), key=attrgetter("created_at")))


def _add(rows: dict[str, T], name: str, row: T) -> None:
    if name in rows:
        raise IdTaken(name)
    rows[name] = row


def _change(
    rows: dict[str, T], name: str, change: Callable[[T], T | None], clashes: Callable[[T], bool] = lambda _: False
) -> T | None:
    row = rows.get(name)
    changed = None if row is None else change(row)
    if changed is None:
        return None
    if clashes(changed):
        raise IdTaken(name)
    rows[name] = changed
    return changed


def _newest_first(rows: Iterable[T], moment: str) -> list[T]:
    """Among those of the same moment, the last to come is first."""
    newest = [*rows]
    newest.reverse()
    newest.sort(key=attrgetter(moment), reverse=True)
    return newest
