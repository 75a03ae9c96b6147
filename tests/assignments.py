"""Work for workers: jobs, tasks and leases, for tests that do not care which."""

import secrets
from typing import Any

from kf2v.tasks import FrameSource, Job, Lease, Task


def a_job(**changes: Any) -> Job:
    """A job for engine ``still``; ``changes`` are fields of ``Job``."""
    usual: dict[str, Any] = {
        "model": "wan2.2-kf2v-flash",
        "engine": "still",
        "first": FrameSource(kind="blob", place="uploads/first"),
        "last": FrameSource(kind="blob", place="uploads/last"),
        "prompt": "一只猫 turns its head 🐈",
        "negative_prompt": "",
        "resolution": "480P",
        "area": 832 * 480,
        "seed": 7,
        "prompt_extend": False,
        "watermark": False,
    }
    return Job(**{**usual, **changes})


def a_task(*, submitted_at: int, engine: str = "still", **changes: Any) -> Task:
    """A PENDING task with an id of its own; ``changes`` are fields of ``Task``."""
    usual: dict[str, Any] = {
        "id": secrets.token_hex(8),
        "account": "default",
        "key_id": "1",
        "request_id": secrets.token_hex(8),
        "region": "local",
        "job": a_job(engine=engine),
        "submitted_at": submitted_at,
    }
    return Task(**{**usual, **changes})


def a_lease(*, attempt: int = 1, task_id: str = "a-task", **changes: Any) -> Lease:
    """A lease of worker ``w1``; ``changes`` are fields of its ``Job``."""
    return Lease(task_id=task_id, attempt=attempt, worker="w1", until=0, job=a_job(**changes))
