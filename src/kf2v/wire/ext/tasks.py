"""A task with all there is to say about it: what the vendor's API tells, and what only the house knows.

Absent is absent, never null, as everywhere in this API.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from kf2v.errors import InvalidParameter
from kf2v.tasks import State, Task, TaskQuery
from kf2v.wire.v1 import tasks, times
from kf2v.wire.v1.fields import choices, misfit
from kf2v.wire.v1.listing import STATUSES, page_of

#: rows a page may have: each that waits is asked for its place
PAGE_LIMIT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a task's row does not say."""

    #: how many tasks start before it; None if it does not wait
    position: int | None = None
    #: seconds until it has probably ended; None where nobody can tell
    eta: float | None = None
    #: when it is forgotten, milliseconds
    expires_at: int | None = None
    video_url: str | None = None
    #: paths of the rough pictures there are of what is coming; None where nothing is, or nobody looked
    previews: tuple[str, ...] | None = None


def percent(task: Task) -> int:
    """How far it is, 0 … 100; 100 only for a video that is there."""
    if task.state is State.SUCCEEDED:
        return 100
    return 0 if task.state.waiting else min(99, int(100 * task.progress))


def brief(task: Task, around: Surroundings) -> dict[str, object]:
    """A row of the list, and what an event tells."""
    job = task.job
    members = tasks.output(task, video_url=around.video_url) | {
        "phase": _phase(task),
        "percent": percent(task),
        "position": around.position,
        "eta_seconds": None if around.eta is None else round(around.eta, 1),
        "worker": task.worker if task.state is State.RUNNING else None,
        "attempt": task.attempt,
        "model": job.model,
        "engine": job.engine,
        "resolution": job.resolution,
        "orig_prompt": job.prompt,
        "api_key_id": task.key_id,
        "workspace": task.workspace,
        "kept": task.kept,
        "expire_time": None if around.expires_at is None else times.render(around.expires_at),
        "previews": None if around.previews is None else list(around.previews),
    }
    return {name: value for name, value in members.items() if value is not None}


def detail(task: Task, around: Surroundings, log: Iterable[tuple[int, str]]) -> dict[str, object]:
    """One task, whole; ``log`` is what was noted about it, and when in milliseconds."""
    job, outcome = task.job, task.outcome
    members: dict[str, object] = brief(task, around) | {
        "create_request_id": task.request_id,
        "region": task.region,
        "priority": task.priority,
        "seed": job.seed,
        "prompt_extend": job.prompt_extend,
        "watermark": job.watermark,
        "log": [{"time": times.render(at), "text": text} for at, text in log],
    }
    if job.negative_prompt:
        members["negative_prompt"] = job.negative_prompt
    if outcome is not None and outcome.video is not None:
        video = outcome.video
        members["size"] = {"width": video.width, "height": video.height, "bytes": video.size}
        members["sha256"] = video.digest
    if outcome is not None and outcome.usage is not None:
        members["usage"] = tasks.usage(outcome.usage)
    return members


def parse_query(query: Mapping[str, str], *, account: str, forgotten_before: int) -> TaskQuery:
    """Read the query string of the list. Raises InvalidParameter."""
    status = query.get("status") or None
    if status is not None and status not in STATUSES:
        raise misfit("status", status, choices(STATUSES))
    page_no, page_size = page_of(query, most=PAGE_LIMIT)
    return TaskQuery(
        account=account,
        forgotten_before=forgotten_before,
        model=query.get("model") or None,
        status=status,
        key_id=query.get("api_key_id") or None,
        engine=query.get("engine") or None,
        text=query.get("text") or None,
        page_no=page_no,
        page_size=page_size,
    )


class _Keep(msgspec.Struct, forbid_unknown_fields=True):
    kept: bool


def parse_kept(body: bytes) -> bool:
    """``{"kept": true}`` or ``{"kept": false}``; an empty body means true. Raises InvalidParameter."""
    if not body.strip():
        return True
    try:
        return msgspec.json.decode(body, type=_Keep).kept
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidParameter('Input should be {"kept": true} or {"kept": false}.') from error


def _phase(task: Task) -> str | None:
    """``queued``, or what its worker is at; None once it has ended."""
    if task.state.waiting:
        return "queued"
    return (task.phase or "starting") if task.state is State.RUNNING else None
