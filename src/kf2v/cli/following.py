"""Listening to a kf2v server's events, through its restarts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kf2v.cli.target import segment

if TYPE_CHECKING:
    from kf2v.net.dashscope import DashScope

#: seconds before a stream that ended is asked for again, and how often in a row that may fail
PAUSE, PATIENCE = 1.0, 30


def follow(
    client: DashScope, task_id: str | None, *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What happens, as kinds of events and what they tell; of one task up to its end, of all without one.

    A task is told first as it is now. Raises RemoteError.
    """
    from kf2v.net.remote_error import RemoteError, TimedOut, Unreachable

    after: str | None = None
    failed = PATIENCE
    while True:
        try:
            for event in client.events(task_id, after=after):
                failed, after = 0, event.id
                if event.kind in ("hello", "resync") and task_id is not None:
                    task = client.own_object("GET", f"tasks/{segment(task_id)}")["task"]
                    yield "task", task
                    if _ended(task):
                        return
                elif event.kind != "hello":
                    yield event.kind, event.told
                    if task_id is not None and (event.kind == "deleted" or _ended(event.told)):
                        return
        except RemoteError as error:
            failed += 1
            passing = isinstance(error, Unreachable | TimedOut) or (error.status or 0) >= 500
            if failed > PATIENCE or not passing:
                raise
        sleep(PAUSE)


def _ended(task: Mapping[str, Any]) -> bool:
    return task.get("task_status") in ("SUCCEEDED", "FAILED", "CANCELED")
