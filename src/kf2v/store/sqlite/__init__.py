"""Rows in one SQLite file, owned by one process. The only package that knows SQLite.

Every change goes through ``commit.GroupCommit``: it reads the row, asks ``tasks.moves`` what becomes of it and writes
the answer, in one transaction, because nobody else writes. Reads by key run where they are asked, in a few
microseconds; a page of a list may take longer and runs in a thread.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import apsw

from kf2v.metering import Footage, UsageLine, UsageQuery
from kf2v.store import (
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
from kf2v.store.sqlite import accounts, bills, outbox, queue, rows
from kf2v.store.sqlite.commit import GroupCommit
from kf2v.store.sqlite.connections import SqliteTooOld, connect_reader, connect_writer
from kf2v.store.sqlite.listing import find
from kf2v.store.sqlite.ownership import Ownership, StoreInUse
from kf2v.store.sqlite.schema import SchemaMismatch, migrate, shipped
from kf2v.store.sqlite.statements import changes, insert
from kf2v.tasks import Lease, Outcome, State, Task, moves
from kf2v.tasks.news import Delivery, Webhook
from kf2v.tasks.turns import Caps, Line, unlimited

__all__ = ["SchemaMismatch", "SqliteStore", "SqliteTooOld", "StoreInUse"]

T = TypeVar("T")

GET_TASK = f"SELECT {rows.TASK_COLUMNS} FROM task WHERE id = ?"  # noqa: S608
UNFINISHED = f"SELECT {rows.TASK_COLUMNS} FROM task WHERE state IN ('RUNNING', 'REQUEUED')"  # noqa: S608
KEEP = "UPDATE task SET kept = ? WHERE id = ?"
DELETE = "DELETE FROM task WHERE id = ?"
FORGET = f"""
DELETE FROM task WHERE seq IN (SELECT seq FROM task WHERE ended_at <= ? AND NOT kept ORDER BY ended_at, seq LIMIT ?)
RETURNING {rows.TASK_COLUMNS}
"""  # noqa: S608
COUNTS = "SELECT state, tasks FROM tally WHERE tasks > 0"
ONCE = "SELECT digest, task_id FROM once WHERE account = ? AND key = ? AND said_at >= ?"
SAY_ONCE = "INSERT OR REPLACE INTO once VALUES (?, ?, ?, ?, ?)"
FORGET_ONCES = "DELETE FROM once WHERE (account, key) IN (SELECT account, key FROM once WHERE said_at <= ? LIMIT ?)"
NOTE = "INSERT INTO note (task_id, at, text) SELECT id, ?, ? FROM task WHERE id = ?"
NOTES = "SELECT at, text FROM note WHERE task_id = ? ORDER BY seq"
INSERT_UPLOAD = f"""
INSERT INTO upload ({rows.UPLOAD_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING
"""  # noqa: S608
GET_UPLOAD = f"SELECT {rows.UPLOAD_COLUMNS} FROM upload WHERE key = ?"  # noqa: S608
FORGET_UPLOADS = f"""
DELETE FROM upload WHERE seq IN (SELECT seq FROM upload WHERE created_at <= ? ORDER BY created_at, seq LIMIT ?)
RETURNING {rows.UPLOAD_COLUMNS}
"""  # noqa: S608
WRITE_PROBE = "UPDATE probe SET times = times + 1 WHERE id = 1 RETURNING times"
READ_PROBE = "SELECT times FROM probe WHERE id = 1"

#: tasks kept decoded for ``get``, a few kilobytes each
REMEMBERED = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class _Connections:
    #: changes, in their own thread
    writer: apsw.Connection
    #: rows by key, on the event loop
    reader: apsw.Connection
    #: lists, in their own thread
    lister: apsw.Connection


class SqliteStore:
    """Keeps the promises of ``Store`` in one file. Made by ``open``.

    ``get`` is asked far more often than tasks change, so it remembers what it read. A change forgets its task in the
    event loop's thread before its caller goes on, and ``get`` reads and remembers without a pause in that same
    thread; so nobody is told an older state than one that was told before, or than one he wrote himself.
    """

    def __init__(self, ownership: Ownership, connections: _Connections, thread: ThreadPoolExecutor) -> None:
        self._ownership = ownership
        self._connections = connections
        self._reader = connections.reader
        self._thread = thread
        self._list_thread = ThreadPoolExecutor(1, thread_name_prefix="kf2v-list")
        self._commits = GroupCommit(connections.writer, thread, self._forget_changed)
        self._remembered: dict[str, Task] = {}
        #: ids of tasks that the transaction under way changes; filled by the writer's thread
        self._changed: list[str] = []

    @classmethod
    async def open(cls, path: Path) -> "SqliteStore":
        """Own the file at ``path``, created if need be in a directory that exists, and bring it to this schema.

        Raises StoreInUse if another process owns it, SchemaMismatch if another kf2v wrote it, SqliteTooOld, and
        OSError or apsw.Error where the file cannot be used.
        """
        ownership = Ownership(path)
        thread = ThreadPoolExecutor(1, thread_name_prefix="kf2v-store")
        try:
            connections = await asyncio.get_running_loop().run_in_executor(thread, _connect, path)
        except BaseException:
            thread.shutdown()
            ownership.release()
            raise
        return cls(ownership, connections, thread)

    async def insert(self, task: Task, *, once: Once | None = None, room: int | None = None) -> str:
        row = rows.row_of_task(task)

        def change(db: apsw.Connection) -> str | OnceTaken | QueueFull:
            # what is refused here has written nothing; to raise it would undo what others wrote beside it
            if once is not None and (known := _once(db, task.account, once.key, once.since)) is not None:
                digest, task_id = known
                return task_id if digest == once.digest else OnceTaken(once.key)
            if room is not None and queue.waiting(db, task.account, task.job.model) >= room:
                return QueueFull()
            insert(db, rows.INSERT_TASK, row, task.id)
            if once is not None:
                db.execute(SAY_ONCE, (task.account, once.key, once.digest, task.id, task.submitted_at))
            return task.id

        answer = await self._commits.write(change)
        if not isinstance(answer, str):
            raise answer
        return answer

    async def once(self, account: str, key: str, *, since: int) -> tuple[str, str] | None:
        return _once(self._reader, account, key, since)

    async def get(self, task_id: str) -> Task | None:
        task = self._remembered.get(task_id)
        if task is None:
            row = self._reader.execute(GET_TASK, (task_id,)).get
            if row is None:
                return None
            task = rows.task_of_row(row)
            if len(self._remembered) >= REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[task_id] = task
        return task

    async def find(self, query: TaskQuery) -> Page:
        page = await self._list(lambda db: find(db, query))
        for task in page.tasks:  # the page may be newer than what is remembered, for the length of a thread switch
            self._remembered.pop(task.id, None)
        return page

    async def cancel(self, task_id: str, *, now: int) -> bool:
        return await self._move(task_id, lambda task: moves.cancel(task, now=now)) is not None

    async def stop(self, task_id: str, *, now: int) -> Task | None:
        def change(db: apsw.Connection) -> Task | None:
            task = _task(db, task_id)
            return None if task is None or self._keep(db, task, moves.stop(task, now=now)) is None else task

        return await self._commits.write(change)

    async def claim(
        self, worker: str, *, engines: frozenset[str], now: int, until: int, caps: Caps = unlimited
    ) -> Lease | None:
        def change(db: apsw.Connection) -> Task | None:
            task_id = queue.next_in_turn(db, engines, caps)
            task = None if task_id is None else _task(db, task_id)
            if task is None:
                return None
            queue.serve(db, task.account)
            return self._keep(db, task, moves.claim(task, worker=worker, now=now, until=until))

        claimed = await self._commits.write(change)
        return None if claimed is None else moves.lease_of(claimed)

    async def place(self, task_id: str) -> int | None:
        return await self._list(lambda db: queue.place(db, task_id))

    async def lines(self) -> tuple[Line, ...]:
        return queue.lines(self._reader)

    async def promised(self, account: str) -> tuple[Footage, ...]:
        return queue.promised(self._reader, account)

    async def renew(self, task_id: str, attempt: int, *, until: int, phase: str, progress: float) -> bool:
        def move(task: Task) -> Task | None:
            return moves.renew(task, attempt, until=until, phase=phase, progress=progress)

        return await self._move(task_id, move) is not None

    async def settle(self, task_id: str, attempt: int, outcome: Outcome, *, now: int) -> Settled:
        def change(db: apsw.Connection) -> Settled:
            task = _task(db, task_id)
            if task is None:
                return Settled.LOST
            if self._keep(db, task, moves.settle(task, attempt, outcome, now=now)) is not None:
                return Settled.RECORDED
            return Settled.REPEATED if moves.repeats(task, attempt, outcome) else Settled.LOST

        return await self._commits.write(change)

    async def hand_back(self, task_id: str, attempt: int) -> bool:
        return await self._move(task_id, lambda task: moves.hand_back(task, attempt)) is not None

    async def reroute(self, task_id: str, attempt: int) -> Task | None:
        return await self._move(task_id, lambda task: moves.reroute(task, attempt))

    async def lose(self, task_id: str, attempt: int, *, now: int, cap: int, exhausted: Outcome) -> State | None:
        def move(task: Task) -> Task | None:
            return moves.lose(task, attempt, now=now, cap=cap, exhausted=exhausted)

        moved = await self._move(task_id, move)
        return None if moved is None else moved.state

    async def time_out(self, task_id: str, attempt: int, outcome: Outcome, *, now: int) -> bool:
        return await self._move(task_id, lambda task: moves.time_out(task, attempt, outcome, now=now)) is not None

    async def unfinished(self) -> tuple[Task, ...]:
        return tuple(map(rows.task_of_row, self._reader.execute(UNFINISHED)))

    async def forget(self, *, ended_before: int, limit: int) -> tuple[Task, ...]:
        def change(db: apsw.Connection) -> tuple[Task, ...]:
            gone = tuple(map(rows.task_of_row, db.execute(FORGET, (ended_before, limit))))
            self._changed.extend(task.id for task in gone)
            return gone

        return await self._commits.write(change)

    async def keep(self, task_id: str, *, kept: bool) -> bool:
        def change(db: apsw.Connection) -> bool:
            self._changed.append(task_id)
            return changes(db, KEEP, (kept, task_id)) == 1

        return await self._commits.write(change)

    async def delete(self, task_id: str) -> Task | None:
        def change(db: apsw.Connection) -> Task | None:
            task = _task(db, task_id)
            if task is None or not task.state.final:
                return None
            self._changed.append(task_id)
            db.execute(DELETE, (task_id,))
            return task

        return await self._commits.write(change)

    async def note(self, task_id: str, text: str, *, now: int) -> None:
        await self._commits.write(lambda db: changes(db, NOTE, (now, text, task_id)))

    async def notes(self, task_id: str) -> tuple[Note, ...]:
        return tuple(Note(at=at, text=text) for at, text in self._reader.execute(NOTES, (task_id,)))

    async def usage(self, query: UsageQuery) -> tuple[UsageLine, ...]:
        return await self._list(lambda db: bills.usage(db, query))

    async def runs(self, engine: str, resolution: str, *, limit: int = 20) -> tuple[int, ...]:
        return bills.runs(self._reader, engine, resolution, limit)

    async def counts(self) -> dict[State, int]:
        return {State(state): tasks for state, tasks in self._reader.execute(COUNTS)}

    async def put_key(self, key: Key) -> None:
        await self._commits.write(lambda db: accounts.put_key(db, key))

    async def key_by_digest(self, digest: str) -> Key | None:
        return accounts.key_by_digest(self._reader, digest)

    async def keys(self) -> tuple[Key, ...]:
        return accounts.keys(self._reader)

    async def revoke_key(self, key_id: str, *, now: int) -> bool:
        return await self._commits.write(lambda db: accounts.revoke_key(db, key_id, now=now))

    async def change_key(self, key_id: str, change: Callable[[Key], Key | None]) -> Key | None:
        return await self._commits.write(lambda db: accounts.change_key(db, key_id, change))

    async def touch_keys(self, used: Mapping[str, int]) -> None:
        values = dict(used)
        await self._commits.write(lambda db: accounts.touch_keys(db, values))

    async def put_workspace(self, workspace: Workspace) -> None:
        await self._commits.write(lambda db: accounts.put_workspace(db, workspace))

    async def workspaces(self, account: str | None = None) -> tuple[Workspace, ...]:
        return accounts.workspaces(self._reader, account)

    async def remove_workspace(self, workspace_id: str) -> bool:
        return await self._commits.write(lambda db: accounts.remove_workspace(db, workspace_id))

    async def put_webhook(self, webhook: Webhook) -> None:
        await self._commits.write(lambda db: outbox.put_webhook(db, webhook))

    async def webhooks(self, account: str | None = None) -> tuple[Webhook, ...]:
        return outbox.webhooks(self._reader, account)

    async def change_webhook(self, webhook_id: str, change: Callable[[Webhook], Webhook | None]) -> Webhook | None:
        return await self._commits.write(lambda db: outbox.change_webhook(db, webhook_id, change))

    async def remove_webhook(self, webhook_id: str) -> bool:
        return await self._commits.write(lambda db: outbox.remove_webhook(db, webhook_id))

    async def due(self, *, now: int, limit: int, besides: Collection[str] = ()) -> tuple[Delivery, ...]:
        return outbox.due(self._reader, now=now, limit=limit, besides=besides)

    async def undelivered(self) -> int:
        return outbox.undelivered(self._reader)

    async def keep_delivery(self, delivery: Delivery) -> None:
        await self._commits.write(lambda db: outbox.keep(db, delivery))

    async def delivery(self, delivery_id: str) -> Delivery | None:
        return outbox.one(self._reader, delivery_id)

    async def deliveries(
        self, account: str | None, *, task_id: str | None = None, webhook_id: str | None = None, limit: int = 100
    ) -> tuple[Delivery, ...]:
        return await self._list(
            lambda db: outbox.newest(db, account, task_id=task_id, webhook_id=webhook_id, limit=limit)
        )

    async def forget_deliveries(self, *, created_before: int, limit: int) -> int:
        return await self._commits.write(lambda db: outbox.forget(db, created_before, limit))

    async def forget_onces(self, *, created_before: int, limit: int) -> int:
        return await self._commits.write(lambda db: changes(db, FORGET_ONCES, (created_before, limit)))

    async def put_upload(self, upload: Upload) -> bool:
        row = rows.row_of_upload(upload)
        return await self._commits.write(lambda db: changes(db, INSERT_UPLOAD, row) == 1)

    async def get_upload(self, key: str) -> Upload | None:
        row = self._reader.execute(GET_UPLOAD, (key,)).get
        return None if row is None else rows.upload_of_row(row)

    async def forget_uploads(self, *, created_before: int, limit: int) -> tuple[Upload, ...]:
        def change(db: apsw.Connection) -> tuple[Upload, ...]:
            return tuple(map(rows.upload_of_row, db.execute(FORGET_UPLOADS, (created_before, limit))))

        return await self._commits.write(change)

    async def probe(self) -> None:
        written = await self._commits.write(lambda db: db.execute(WRITE_PROBE).get)
        read = self._reader.execute(READ_PROBE).get
        if read < written:
            raise RuntimeError(f"The database answers {read} where {written} was written.")

    async def close(self) -> None:
        await self._commits.close()
        self._remembered.clear()
        self._list_thread.shutdown()
        self._connections.lister.close()
        self._reader.close()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connections.writer.close)
        self._thread.shutdown()
        self._ownership.release()

    async def _move(self, task_id: str, move: Callable[[Task], Task | None]) -> Task | None:
        def change(db: apsw.Connection) -> Task | None:
            task = _task(db, task_id)
            return None if task is None else self._keep(db, task, move(task))

        return await self._commits.write(change)

    def _keep(self, db: apsw.Connection, task: Task, moved: Task | None) -> Task | None:
        """Write what became of ``task``, and what its end brings."""
        if moved is None:
            return None
        db.execute(rows.MOVE_TASK, rows.move_of_task(moved))
        if moved.job is not task.job:
            db.execute(rows.REROUTE_TASK, rows.reroute_of_task(moved))
        if moved.state.final and not task.state.final:
            bills.book(db, moved)
            outbox.post(db, moved)
        self._changed.append(moved.id)
        return moved

    async def _list(self, read: Callable[[apsw.Connection], T]) -> T:
        """What may take longer than an event loop should be held up."""
        return await asyncio.get_running_loop().run_in_executor(self._list_thread, read, self._connections.lister)

    def _forget_changed(self) -> None:
        for task_id in self._changed:
            self._remembered.pop(task_id, None)
        self._changed.clear()


def _connect(path: Path) -> _Connections:
    writer = connect_writer(path)
    try:
        migrate(writer, shipped())
        return _Connections(writer=writer, reader=connect_reader(path), lister=connect_reader(path))
    except BaseException:
        writer.close()
        raise


def _task(db: apsw.Connection, task_id: str) -> Task | None:
    row = db.execute(GET_TASK, (task_id,)).get
    return None if row is None else rows.task_of_row(row)


def _once(db: apsw.Connection, account: str, key: str, since: int) -> tuple[str, str] | None:
    row = db.execute(ONCE, (account, key, since)).fetchone()
    return None if row is None else (row[0], row[1])
