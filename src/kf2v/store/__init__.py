"""Rows: tasks, keys and uploads. The task row is the queue.

This module is the protocol and what travels through it; ``memory`` and ``sqlite`` are variants. One suite,
``tests/contract/test_store.py``, runs on all of them.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from kf2v.tasks import Lease, Outcome, Page, State, Task, TaskQuery

__all__ = ["Key", "Page", "Settled", "Store", "TaskQuery", "Upload"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key as kept: never the key itself."""

    id: str
    account: str
    #: keyed hash of the key, hexadecimal
    digest: str
    #: the last four characters, to tell keys apart
    hint: str
    created_at: int
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file a client posted for use as a frame."""

    #: everything after ``oss://``, opaque
    key: str
    #: where its bytes are in ``blobs``
    blob: str
    account: str
    #: the model named when the policy was asked for
    model: str
    #: bytes
    size: int
    created_at: int


class Settled(Enum):
    """What became of a worker's last word."""

    #: written now
    RECORDED = "recorded"
    #: the very same outcome of the same attempt was written before: an answer got lost, nothing else did
    REPEATED = "repeated"
    #: the lease is gone; whatever the worker made must be thrown away
    LOST = "lost"


class IdTaken(Exception):
    """Something is kept under that id already. Ids are drawn at random, so it is a mistake of the caller."""


class Store(Protocol):
    """Where tasks, keys and uploads are kept.

    Binding for every variant: a method that returns has its change on stable storage (as far as the variant has
    any); what one caller wrote, every later read sees; nobody sees half of a change; transitions follow
    ``tasks.lifecycle`` and are conditional on the row's state and, where a lease is named, on its attempt.

    A change that cannot be kept right now (a full or failing disk) raises ``errors.Unavailable`` and leaves the store
    usable. A caller cancelled while it waits does not know whether its change was made. Methods are called from one
    event loop.
    """

    async def insert(self, task: Task) -> None:
        """Add a new task. The caller may promise it to a client as soon as this returns. Raises IdTaken."""
        ...

    async def get(self, task_id: str) -> Task | None:
        """The task, ended and expired ones included until they are swept; None if there is none."""
        ...

    async def find(self, query: TaskQuery) -> Page:
        """One page of an account's tasks, newest submission first."""
        ...

    async def cancel(self, task_id: str, *, now: int) -> bool:
        """End a PENDING task; False (and nothing changes) if it is in any other state or missing."""
        ...

    async def claim(self, worker: str, *, engines: frozenset[str], now: int, until: int) -> Lease | None:
        """Give the longest-waiting task of one of ``engines`` to ``worker``; None if nothing waits.

        Longest-waiting is first submitted, then first inserted; a REQUEUED task has kept its place. Raises
        ``attempt`` and ``charged`` by one and sets ``scheduled_at`` the first time.
        """
        ...

    async def renew(self, task_id: str, attempt: int, *, until: int, phase: str, progress: float) -> bool:
        """A heartbeat; False if the lease is gone."""
        ...

    async def settle(self, task_id: str, attempt: int, outcome: Outcome, *, now: int) -> Settled:
        """End a RUNNING task with what its leaseholder reports: SUCCEEDED if ``outcome`` has a video."""
        ...

    async def hand_back(self, task_id: str, attempt: int) -> bool:
        """Return a RUNNING task to the queue uncharged; False if the lease is gone."""
        ...

    async def lose(self, task_id: str, attempt: int, *, now: int, cap: int, exhausted: Outcome) -> State | None:
        """The leaseholder died: requeue, or FAILED with ``exhausted`` if ``charged`` reached ``cap``.

        Returns the new state, or None if the lease was gone already.
        """
        ...

    async def time_out(self, task_id: str, attempt: int, outcome: Outcome, *, now: int) -> bool:
        """End a RUNNING or REQUEUED task that took too long; False if it moved on meanwhile."""
        ...

    async def unfinished(self) -> tuple[Task, ...]:
        """Every RUNNING and REQUEUED task, for whoever looks after lost leases and stuck tasks."""
        ...

    async def forget(self, *, ended_before: int, limit: int) -> tuple[Task, ...]:
        """Remove up to ``limit`` tasks that ended at or before then, the first to end first, and return them."""
        ...

    async def counts(self) -> dict[State, int]:
        """How many tasks are in each state; states with none may be missing."""
        ...

    async def put_key(self, key: Key) -> None:
        """Add a key. Adding one whose ``digest`` is there already changes nothing. Raises IdTaken."""
        ...

    async def key_by_digest(self, digest: str) -> Key | None:
        """The key, revoked or not; None if unknown."""
        ...

    async def keys(self) -> tuple[Key, ...]:
        """All keys, oldest first."""
        ...

    async def revoke_key(self, key_id: str, *, now: int) -> bool:
        """Mark a key as revoked; False if there is none or it is revoked already."""
        ...

    async def put_upload(self, upload: Upload) -> bool:
        """Add an upload; False (and nothing changes) if its key is taken."""
        ...

    async def get_upload(self, key: str) -> Upload | None: ...

    async def forget_uploads(self, *, created_before: int, limit: int) -> tuple[Upload, ...]:
        """Remove up to ``limit`` uploads created at or before then, the oldest first, and return them."""
        ...

    async def probe(self) -> None:
        """Write and read back something small; raises whatever keeps that from working."""
        ...

    async def close(self) -> None:
        """Finish what was begun and let go. Later calls are an error."""
        ...
