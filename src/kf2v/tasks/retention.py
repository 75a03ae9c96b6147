"""When things are forgotten: a task and its video some time after it ended, an upload some time after it came."""

from dataclasses import dataclass

from kf2v.clock import HOUR
from kf2v.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long things are kept, in milliseconds."""

    #: after a task's end; reference: "task_id validity: 24 hours"
    task: int = 24 * HOUR
    #: after an upload; the vendor keeps temporary files 48 hours
    upload: int = 48 * HOUR

    def expires_at(self, task: Task) -> int | None:
        """When ``task`` is forgotten; None while it has not ended, and for one that is kept."""
        return None if task.ended_at is None or task.kept else task.ended_at + self.task

    def forgotten(self, task: Task, now: int) -> bool:
        """Whether ``task`` reads UNKNOWN at ``now``, swept already or not."""
        expires = self.expires_at(task)
        return expires is not None and expires <= now
