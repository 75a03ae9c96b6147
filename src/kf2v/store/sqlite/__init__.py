"""Rows in one SQLite file, owned by one process. The only package that knows SQLite.

Every change goes through ``commit.GroupCommit``: it reads the row, asks ``tasks.moves`` what becomes of it and writes
the answer, in one transaction, because nobody else writes. Reads by key run where they are asked, in a few
microseconds; a page of a list may take longer and runs in a thread.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import apsw

from kf2v.store import IdTaken, Key, Page, Settled, TaskQuery, Upload
from kf2v.store.sqlite import rows
from kf2v.store.sqlite.commit import GroupCommit
from kf2v.store.sqlite.connections import SqliteTooOld, connect_reader, connect_writer
from kf2v.store.sqlite.listing import find
from kf2v.store.sqlite.ownership import Ownership, StoreInUse
from kf2v.store.sqlite.schema import SchemaMismatch, migrate, shipped
from kf2v.tasks import Lease, Outcome, State, Task, moves

__all__ = ["SchemaMismatch", "SqliteStore", "SqliteTooOld", "StoreInUse"]

GET_TASK = f"SELECT {rows.TASK_COLUMNS} FROM task WHERE id = ?"  # noqa: S608
#: literal states, because only so does SQLite see that ``task_waiting`` covers them
FIRST_WAITING = """
SELECT submitted_at, seq, id FROM task WHERE state IN ('PENDING', 'REQUEUED') AND engine = ?
ORDER BY submitted_at, seq LIMIT 1
"""
UNFINISHED = f"SELECT {rows.TASK_COLUMNS} FROM task WHERE state IN ('RUNNING', 'REQUEUED')"  # noqa: S608
FORGET = f"""
DELETE FROM task WHERE seq IN (SELECT seq FROM task WHERE ended_at <= ? ORDER BY ended_at, seq LIMIT ?)
RETURNING {rows.TASK_COLUMNS}
"""  # noqa: S608
COUNTS = "SELECT state, tasks FROM tally WHERE tasks > 0"
INSERT_KEY = f"""
INSERT INTO key ({rows.KEY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING
"""  # noqa: S608
GET_KEY = f"SELECT {rows.KEY_COLUMNS} FROM key WHERE digest = ?"  # noqa: S608
KEYS = f"SELECT {rows.KEY_COLUMNS} FROM key ORDER BY created_at, seq"  # noqa: S608
REVOKE_KEY = "UPDATE key SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
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

    async def insert(self, task: Task) -> None:
        row = rows.row_of_task(task)

        def change(db: apsw.Connection) -> None:
            try:
                db.execute(rows.INSERT_TASK, row)
            except apsw.ConstraintError as error:
                raise IdTaken(task.id) from error

        await self._commits.write(change)

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
        loop = asyncio.get_running_loop()
        page = await loop.run_in_executor(self._list_thread, find, self._connections.lister, query)
        for task in page.tasks:  # the page may be newer than what is remembered, for the length of a thread switch
            self._remembered.pop(task.id, None)
        return page

    async def cancel(self, task_id: str, *, now: int) -> bool:
        return await self._move(task_id, lambda task: moves.cancel(task, now=now)) is not None

    async def claim(self, worker: str, *, engines: frozenset[str], now: int, until: int) -> Lease | None:
        def change(db: apsw.Connection) -> Task | None:
            task = _first_waiting(db, engines)
            return None if task is None else self._keep(db, moves.claim(task, worker=worker, now=now, until=until))

        claimed = await self._commits.write(change)
        return None if claimed is None else moves.lease_of(claimed)

    async def renew(self, task_id: str, attempt: int, *, until: int, phase: str, progress: float) -> bool:
        def move(task: Task) -> Task | None:
            return moves.renew(task, attempt, until=until, phase=phase, progress=progress)

        return await self._move(task_id, move) is not None

    async def settle(self, task_id: str, attempt: int, outcome: Outcome, *, now: int) -> Settled:
        def change(db: apsw.Connection) -> Settled:
            task = _task(db, task_id)
            if task is None:
                return Settled.LOST
            if self._keep(db, moves.settle(task, attempt, outcome, now=now)) is not None:
                return Settled.RECORDED
            return Settled.REPEATED if moves.repeats(task, attempt, outcome) else Settled.LOST

        return await self._commits.write(change)

    async def hand_back(self, task_id: str, attempt: int) -> bool:
        return await self._move(task_id, lambda task: moves.hand_back(task, attempt)) is not None

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

    async def counts(self) -> dict[State, int]:
        return {State(state): tasks for state, tasks in self._reader.execute(COUNTS)}

    async def put_key(self, key: Key) -> None:
        def change(db: apsw.Connection) -> None:
            try:
                db.execute(INSERT_KEY, rows.row_of_key(key))
            except apsw.ConstraintError as error:
                raise IdTaken(key.id) from error

        await self._commits.write(change)

    async def key_by_digest(self, digest: str) -> Key | None:
        row = self._reader.execute(GET_KEY, (digest,)).get
        return None if row is None else rows.key_of_row(row)

    async def keys(self) -> tuple[Key, ...]:
        return tuple(map(rows.key_of_row, self._reader.execute(KEYS)))

    async def revoke_key(self, key_id: str, *, now: int) -> bool:
        return await self._commits.write(lambda db: _changes(db, REVOKE_KEY, (now, key_id)) == 1)

    async def put_upload(self, upload: Upload) -> bool:
        row = rows.row_of_upload(upload)
        return await self._commits.write(lambda db: _changes(db, INSERT_UPLOAD, row) == 1)

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
            return None if task is None else self._keep(db, move(task))

        return await self._commits.write(change)

    def _keep(self, db: apsw.Connection, moved: Task | None) -> Task | None:
        if moved is not None:
            db.execute(rows.MOVE_TASK, rows.move_of_task(moved))
            self._changed.append(moved.id)
        return moved

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


def _first_waiting(db: apsw.Connection, engines: frozenset[str]) -> Task | None:
    firsts = (db.execute(FIRST_WAITING, (engine,)).get for engine in engines)
    found = [first for first in firsts if first is not None]
    return _task(db, min(found)[-1]) if found else None


def _changes(db: apsw.Connection, statement: str, values: rows.Row) -> int:
    db.execute(statement, values)
    return db.changes()
