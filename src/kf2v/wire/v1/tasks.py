"""A task as the API shows it, field by field as its state allows.

Reference: "Step 2: Query task result". Absent is absent, never null: the Java SDK stumbles over null.
"""

from kf2v.tasks import State, Task, Usage
from kf2v.wire.v1 import times


def output(task: Task, *, video_url: str | None) -> dict[str, object]:
    """``output`` of a known task; ``video_url``, if there is one, is shown once it has SUCCEEDED."""
    shown: dict[str, object] = {
        "task_id": task.id,
        "task_status": task.state.shown,
        "submit_time": times.render(task.submitted_at),
    }
    if task.scheduled_at is not None:
        shown["scheduled_time"] = times.render(task.scheduled_at)
    if task.ended_at is not None:
        shown["end_time"] = times.render(task.ended_at)
    if task.outcome is None:
        return shown
    if task.state is State.SUCCEEDED:
        if video_url is not None:
            shown["video_url"] = video_url
        shown["orig_prompt"] = task.job.prompt
        if task.outcome.actual_prompt is not None:
            shown["actual_prompt"] = task.outcome.actual_prompt
    elif task.outcome.failure is not None:
        shown["code"] = task.outcome.failure.code
        shown["message"] = task.outcome.failure.message
    return shown


def unknown(task_id: str) -> dict[str, object]:
    """``output`` for an id that is unknown, malformed, expired or somebody else's."""
    return {"task_id": task_id, "task_status": "UNKNOWN"}


def usage(counted: Usage) -> dict[str, object]:
    """``usage`` of a successful task: the 2.2 family says ``SR``, the 2.1 family ``video_ratio``."""
    shown: dict[str, object] = {"video_duration": counted.video_duration, "video_count": counted.video_count}
    if counted.sr is not None:
        shown["SR"] = counted.sr
    if counted.video_ratio is not None:
        shown["video_ratio"] = counted.video_ratio
    return shown
