"""Rows: tasks, keys, uploads, charges and what is to be told. The task row is the queue.

This module is the protocol and what travels through it; ``memory`` and ``sqlite`` are variants. One suite,
``tests/contract/test_store.py``, runs on all of them.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from kf2v.metering import Charge, Footage, UsageLine, UsageQuery
from kf2v.tasks import Lease, Outcome, Page, State, Task, TaskQuery
from kf2v.tasks.news import Delivery, Webhook
from kf2v.tasks.turns import Caps, Line, unlimited

__all__ = [
    "Charge",
    "Delivery",
    "Footage",
    "IdTaken",
    "Key",
    "Line",
    "Note",
    "Once",
    "OnceTaken",
    "Page",
    "QueueFull",
    "Rights",
    "Settled",
    "Store",
    "TaskQuery",
    "Upload",
    "UsageLine",
    "UsageQuery",
    "Webhook",
    "Workspace",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What a key may do."""

    #: values of ``admission.keys.Scope``; empty: the ordinary ones
    scopes: frozenset[str] = frozenset()
    #: models it may ask for; empty: all
    models: tuple[str, ...] = ()
    #: addresses it may be used from, as ``192.0.2.0/24``; empty: all
    networks: tuple[str, ...] = ()
    #: a name in ``catalog.regions``; None goes with whatever region is asked
    region: str | None = None
    #: the workspace all its tasks belong to; None: any of the account's
    workspace: str | None = None
    #: of the tasks it submits, see ``tasks.turns``
    priority: int = 0


#: of a key of which nothing was said
NOTHING_SAID = Rights()


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key as kept: never the key itself."""

    id: str
    account: str
    #: keyed hash of the key, hexadecimal
    digest: str
    #: the last four characters, to tell keys apart
    hint: str
    label: str = ""
    rights: Rights = NOTHING_SAID
    created_at: int
    #: when it ends by itself
    expires_at: int | None = None
    #: since when it is switched off, for a while
    disabled_at: int | None = None
    #: since when it is gone, for good
    revoked_at: int | None = None
    #: about when it was used last, as ``touch_keys`` was told
    used_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A part of an account, with models and a bill of its own."""

    id: str
    account: str
    label: str = ""
    #: models that may be asked for in it; empty: all
    models: tuple[str, ...] = ()
    created_at: int


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """A caller's word that a submission is to be counted once, however often it arrives."""

    #: ``Idempotency-Key``, within an account
    key: str
    #: tells this submission from others under the same key
    digest: str
    #: what was said before this, milliseconds, is no longer remembered
    since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something worth knowing about a task, for its owner to read."""

    at: int
    text: str


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


class QueueFull(Exception):
    """As many tasks of the account and model wait as may."""


class OnceTaken(Exception):
    """Another submission came under the same ``Once.key``."""


class Store(Protocol):
    """Where rows are kept.

    The end of a task brings three things, in the transaction that ends it and by ``tasks.news`` and ``metering``: its
    charge, a delivery for every address that is to hear of it, and its state.

    Binding for every variant: a method that returns has its change on stable storage (as far as the variant has
    any); what one caller wrote, every later read sees; nobody sees half of a change; transitions follow
    ``tasks.lifecycle`` and are conditional on the row's state and, where a lease is named, on its attempt.

    A change that cannot be kept right now (a full or failing disk) raises ``errors.Unavailable`` and leaves the store
    usable. A caller cancelled while it waits does not know whether its change was made. Methods are called from one
    event loop.
    """

    async def insert(self, task: Task, *, once: Once | None = None, room: int | None = None) -> str:
        """Add a new task and return its id; the caller may promise it to a client as soon as this returns.

        With ``once`` the id is that of the task which came under the same key with the same digest before, if there
        is one, and nothing is added. Raises OnceTaken if it came with another digest, QueueFull if ``room`` tasks of
        its account and model wait already (REQUEUED ones included), and IdTaken.
        """
        ...

    async def once(self, account: str, key: str, *, since: int) -> tuple[str, str] | None:
        """Digest and task id that came under ``key`` at or after ``since``; None if none did."""
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

    async def stop(self, task_id: str, *, now: int) -> Task | None:
        """End a task that has not ended, running or not; the task as it was before, None if it ended or is missing."""
        ...

    async def claim(
        self, worker: str, *, engines: frozenset[str], now: int, until: int, caps: Caps = unlimited
    ) -> Lease | None:
        """Give the task of one of ``engines`` whose turn it is, see ``tasks.turns``, to ``worker``; None if none is.

        Within an account and priority that is the one first submitted, then first inserted; a REQUEUED task has kept
        its place. Raises ``attempt`` and ``charged`` by one and sets ``scheduled_at`` the first time.
        """
        ...

    async def place(self, task_id: str) -> int | None:
        """About how many tasks start before this one on its engine, see ``tasks.turns``; None if it does not wait."""
        ...

    async def lines(self) -> tuple[Line, ...]:
        """How much waits and runs, by account, model and engine; none where both are nothing."""
        ...

    async def promised(self, account: str) -> tuple[Footage, ...]:
        """What an account's tasks that have not ended come to if all are made, sorted by the members in their order."""
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

    async def reroute(self, task_id: str, attempt: int) -> Task | None:
        """Return a RUNNING task to the queue uncharged, for the next engine its job names.

        The task as it is now; None if the lease is gone or there is no next engine.
        """
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
        """Remove up to ``limit`` tasks that ended at or before then, the first to end first, and return them.

        Tasks that are kept stay.
        """
        ...

    async def keep(self, task_id: str, *, kept: bool) -> bool:
        """Say whether a task is kept beyond its time; False if there is none."""
        ...

    async def delete(self, task_id: str) -> Task | None:
        """Remove a task that has ended, kept or not, and return it; None if it has not ended or is missing."""
        ...

    async def note(self, task_id: str, text: str, *, now: int) -> None:
        """Write something down about a task; nothing if there is none. Gone with the task."""
        ...

    async def notes(self, task_id: str) -> tuple[Note, ...]:
        """What was noted about a task, in the order it was."""
        ...

    async def usage(self, query: UsageQuery) -> tuple[UsageLine, ...]:
        """Charges added up, sorted by day and then by the other members of a line in their order."""
        ...

    async def runs(self, engine: str, resolution: str, *, limit: int = 20) -> tuple[int, ...]:
        """How many milliseconds the newest videos of that engine and resolution took, the newest first."""
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

    async def change_key(self, key_id: str, change: Callable[[Key], Key | None]) -> Key | None:
        """Replace a key by what ``change`` makes of it; None from there, or where there is no key, changes nothing.

        ``change`` is pure, is called in whatever thread, perhaps twice, and keeps ``id`` and ``account``.
        Returns the new key. Raises IdTaken if its ``digest`` is another's.
        """
        ...

    async def touch_keys(self, used: Mapping[str, int]) -> None:
        """Note when keys were used last, by id; an older date than the one there is changes nothing."""
        ...

    async def put_workspace(self, workspace: Workspace) -> None:
        """Add a workspace. Raises IdTaken."""
        ...

    async def workspaces(self, account: str | None = None) -> tuple[Workspace, ...]:
        """All workspaces, or an account's, oldest first."""
        ...

    async def remove_workspace(self, workspace_id: str) -> bool:
        """False if there is none of that id."""
        ...

    async def put_webhook(self, webhook: Webhook) -> None:
        """Add a webhook. Raises IdTaken."""
        ...

    async def webhooks(self, account: str | None = None) -> tuple[Webhook, ...]:
        """All webhooks, or an account's, oldest first."""
        ...

    async def change_webhook(self, webhook_id: str, change: Callable[[Webhook], Webhook | None]) -> Webhook | None:
        """As ``change_key``."""
        ...

    async def remove_webhook(self, webhook_id: str) -> bool:
        """False if there is none of that id. What is on its way to it is abandoned by whoever delivers."""
        ...

    async def due(self, *, now: int, limit: int, besides: Collection[str] = ()) -> tuple[Delivery, ...]:
        """Deliveries on their way whose time has come, the longest due first, without those of the ids ``besides``."""
        ...

    async def undelivered(self) -> int:
        """How many deliveries are on their way, due or not."""
        ...

    async def keep_delivery(self, delivery: Delivery) -> None:
        """Write down how far a delivery is; nothing if it is gone."""
        ...

    async def delivery(self, delivery_id: str) -> Delivery | None:
        """The delivery, on its way or not; None if there is none."""
        ...

    async def deliveries(
        self, account: str | None, *, task_id: str | None = None, webhook_id: str | None = None, limit: int = 100
    ) -> tuple[Delivery, ...]:
        """An account's deliveries or all, the newest first; of one task or to one webhook only."""
        ...

    async def forget_deliveries(self, *, created_before: int, limit: int) -> int:
        """Remove up to ``limit`` deliveries created at or before then that are on their way no longer; how many."""
        ...

    async def forget_onces(self, *, created_before: int, limit: int) -> int:
        """Remove up to ``limit`` of what was said once at or before then; how many."""
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
