"""A task: a job, its owner, its state and its end. All times are milliseconds since the epoch."""

from dataclasses import dataclass

from kf2v.tasks.job import Job
from kf2v.tasks.lifecycle import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What is counted for one successful task."""

    #: seconds
    video_duration: int
    video_count: int
    #: 480, 720 or 1080; the 2.2 family counts by it
    sr: int | None = None
    #: ``standard``; the 2.1 family counts by it
    video_ratio: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """A finished file in ``blobs``."""

    key: str
    #: SHA-256 of the file, hexadecimal
    digest: str
    #: bytes
    size: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no video, in the API's words."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a task ended: exactly one of ``video`` and ``failure`` is there."""

    video: Video | None = None
    failure: Failure | None = None
    #: the prompt the engine saw, when rewriting was asked for
    actual_prompt: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One row of the ledger."""

    id: str
    account: str
    key_id: str
    #: of the request that created it
    request_id: str
    workspace: str | None = None
    #: as the list API names it
    region: str
    job: Job
    #: a mistake found at submission that ``validation = "cloud"`` reports inside the task
    flaw: Failure | None = None
    #: higher ones are served first, whoever's they are; 0 is everybody's
    priority: int = 0
    #: a URL that shall hear of the end of this task, beside the account's webhooks
    callback: str | None = None
    #: whether its owner wants it beyond the usual time
    kept: bool = False
    state: State = State.PENDING
    submitted_at: int
    scheduled_at: int | None = None
    ended_at: int | None = None
    #: how often it was claimed; with ``id`` the fencing token, so it only ever rises
    attempt: int = 0
    #: claims that count against the cap; a drained one is given back
    charged: int = 0
    worker: str | None = None
    lease_until: int | None = None
    phase: str = ""
    #: 0 … 1
    progress: float = 0.0
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on a task until ``until``; ``(task_id, attempt)`` fences every later write."""

    task_id: str
    attempt: int
    worker: str
    until: int
    job: Job
    flaw: Failure | None = None
