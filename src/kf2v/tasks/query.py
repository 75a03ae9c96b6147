"""Which tasks to list, and one page of them."""

from dataclasses import dataclass

from kf2v.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQuery:
    """Which tasks of one account to list, newest first."""

    account: str
    task_id: str | None = None
    #: submitted at or after, milliseconds
    since: int | None = None
    #: submitted before or at, milliseconds
    until: int | None = None
    #: tasks that ended at or before this, unless kept, are forgotten and never listed
    forgotten_before: int
    model: str | None = None
    #: a ``task_status`` as shown to clients (REQUEUED lists under RUNNING)
    status: str | None = None
    key_id: str | None = None
    region: str | None = None
    engine: str | None = None
    #: somewhere in the prompt; ASCII letters match in either case
    text: str | None = None
    #: from 1
    page_no: int = 1
    page_size: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    #: matching tasks on all pages
    total: int
    tasks: tuple[Task, ...]
