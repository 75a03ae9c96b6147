"""Group commit: everything that arrives while the disk is busy shares the next flush.

A flush costs a disk about as much for sixty-four changes as for one. So a change is queued with a future, and a
single thread takes whatever is queued, runs it in one transaction, and comes back for what arrived meanwhile. No
timer is involved: alone, a change is flushed at once; under load, batches grow to what one flush takes.

The batch is shared, its failures are not. Changes first run side by side. If one raises, the whole batch is undone and
run again with a savepoint around each, so that a bad one fails its own future only. If the transaction itself
cannot begin or commit, nothing of it is kept and every future of the batch says so; the next batch starts afresh.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import apsw

from kf2v.errors import Unavailable

T = TypeVar("T")

#: runs in the writer's thread, inside a transaction; may run twice, the first time undone
Change: TypeAlias = Callable[[apsw.Connection], T]

#: what the disk or another process does to us, as opposed to our own mistakes
ADVERSITIES = (
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.FullError,
    apsw.IOError,
    apsw.LockedError,
    apsw.NoMemError,
    apsw.PermissionsError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
)


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


class GroupCommit:
    """Owns ``db``, the only connection that writes, and uses it in ``thread`` alone.

    ``committed`` is called on the event loop after every transaction, before anyone who waits for it goes on.
    """

    def __init__(self, db: apsw.Connection, thread: ThreadPoolExecutor, committed: Callable[[], None]) -> None:
        self._db = db
        self._thread = thread
        self._committed = committed
        self._queue: list[tuple[Change[Any], asyncio.Future[Any]]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._closed = False

    async def write(self, change: Change[T]) -> T:
        """Run ``change`` and return what it returned, once that is on the disk.

        Raises what ``change`` raised, and Unavailable where the disk or a lock is in the way.
        """
        if self._closed:
            raise RuntimeError("the store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.append((change, future))
        if self._flusher is None:
            self._flusher = loop.create_task(self._flush())
        return await future

    async def close(self) -> None:
        """Take no more changes and wait for those that were taken."""
        self._closed = True
        if self._flusher is not None:
            await asyncio.wait([self._flusher])

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        batch: list[tuple[Change[Any], asyncio.Future[Any]]] = []
        try:
            while self._queue:
                batch = [(change, future) for change, future in self._queue if not future.done()]
                self._queue = []
                answers = await loop.run_in_executor(self._thread, self._commit, [change for change, _ in batch])
                self._committed()
                for (_, future), answer in zip(batch, answers, strict=True):
                    _resolve(future, answer)
        finally:  # reached early only when the event loop ends
            self._flusher = None
            for _, future in batch + self._queue:
                future.cancel()

    def _commit(self, changes: list[Change[Any]]) -> list[Any]:
        """One answer per change, in order: what it returned, or _Failed."""
        try:
            self._undo()
            self._db.execute("BEGIN IMMEDIATE")
            answers = self._apply(changes)
            self._db.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  whatever it is, the callers are told and the next batch has its turn
            with contextlib.suppress(apsw.Error):
                self._undo()
            return [_Failed(_unavailable(error)) for _ in changes]
        return answers

    def _apply(self, changes: list[Change[Any]]) -> list[Any]:
        self._db.execute("SAVEPOINT batch")
        try:
            return [change(self._db) for change in changes]
        except Exception:  # noqa: BLE001  each comes again, alone
            self._back_to("batch")
            return [self._apply_alone(change) for change in changes]

    def _apply_alone(self, change: Change[Any]) -> Any:
        self._db.execute("SAVEPOINT one")
        try:
            answer = change(self._db)
        except Exception as error:  # noqa: BLE001  told to its caller
            self._back_to("one")
            answer = _Failed(_unavailable(error) if isinstance(error, ADVERSITIES) else error)
        self._db.execute("RELEASE one")
        return answer

    def _back_to(self, savepoint: str) -> None:
        """Within an ``except``: raises its error again where SQLite gave up the whole transaction over it."""
        if not self._db.in_transaction:
            raise
        self._db.execute(f"ROLLBACK TO {savepoint}")

    def _undo(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")


def _unavailable(error: Exception) -> Unavailable:
    unavailable = Unavailable()
    unavailable.__cause__ = error
    return unavailable


def _resolve(future: asyncio.Future[Any], answer: Any) -> None:
    if future.done():  # its caller was cancelled
        return
    if isinstance(answer, _Failed):
        future.set_exception(answer.error)
    else:
        future.set_result(answer)
