"""The list of tasks: its query inwards, its rows outwards.

Here times are epoch-millisecond integers, other than in a task: the vendor's own inconsistency, which the Java SDK
insists on. Rules of the time span: both bounds empty is the last 24 hours, one bound is 24 hours from or to it, and a
longer span than that is refused.
"""

from collections.abc import Mapping

from kf2v.clock import HOUR, SECOND
from kf2v.errors import InvalidParameter
from kf2v.tasks import Page, Task, TaskQuery
from kf2v.wire.v1 import tasks, times
from kf2v.wire.v1.fields import choices, misfit

SPAN = 24 * HOUR
STATUSES = ("PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED", "UNKNOWN")
#: rows a page may have; the vendor documents no bound
PAGE_LIMIT = 1000


def parse(query: Mapping[str, str], *, account: str, now: int, forgotten_before: int) -> TaskQuery:
    """Read the query string of a list call; what it does not know it ignores. Raises InvalidParameter."""
    task_id = query.get("task_id") or None
    since, until = (None, None) if task_id else _span(query, now)
    status = query.get("status") or None
    if status is not None and status not in STATUSES:
        raise misfit("status", status, choices(STATUSES))
    page_no, page_size = page_of(query)
    return TaskQuery(
        account=account,
        task_id=task_id,
        since=since,
        until=until,
        forgotten_before=forgotten_before,
        model=query.get("model_name") or None,
        status=status,
        key_id=query.get("api_key_id") or None,
        region=query.get("region") or None,
        page_no=page_no,
        page_size=page_size,
    )


def page_of(query: Mapping[str, str], *, most: int = PAGE_LIMIT) -> tuple[int, int]:
    """``page_no`` and ``page_size``, which may be ``most``. Raises InvalidParameter."""
    return (
        _number(query, "page_no", default=1, high=1_000_000),
        _number(query, "page_size", default=10, high=most),
    )


def _span(query: Mapping[str, str], now: int) -> tuple[int, int]:
    """First and last millisecond to list."""
    since, until = _bound(query, "start_time"), _bound(query, "end_time")
    if since is None and until is None:
        return now - SPAN, now
    if since is None:
        assert until is not None
        return until - SPAN, _whole_second(query, until)
    if until is None:
        return since, since + SPAN
    if until < since:
        raise InvalidParameter(f"Input should not be before start_time: end_time, but got '{query['end_time']}'.")
    if until - since > SPAN:
        raise InvalidParameter(
            "Input should span at most 24 hours: start_time and end_time, "
            f"but got '{query['start_time']}' and '{query['end_time']}'."
        )
    return since, _whole_second(query, until)


def _whole_second(query: Mapping[str, str], until: int) -> int:
    """An end given to the second means all of that second: a task made in it belongs to the list."""
    return until + SECOND - 1 if len(query["end_time"].strip()) == times.COMPACT_LENGTH else until


def _bound(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "").strip()
    if not text:
        return None
    bound = times.parse_bound(text)
    if bound is None:
        raise misfit(name, text, "a time as YYYYMMDDhhmmss or in epoch milliseconds")
    return bound


def _number(query: Mapping[str, str], name: str, *, default: int, high: int) -> int:
    text = query.get(name, "").strip()
    if not text:
        return default
    if text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= high:
        return int(text)
    raise misfit(name, text, f"an integer between 1 and {high}")


def render(page: Page, query: TaskQuery) -> dict[str, object]:
    """The answer's members beside ``request_id``. ``tasks`` is a courtesy to the Python SDK's 2.x client, which
    reads that and not ``data``."""
    return {
        "total": page.total,
        "total_page": -(-page.total // query.page_size),
        "page_no": query.page_no,
        "page_size": query.page_size,
        "data": [_row(task) for task in page.tasks],
        "tasks": [tasks.output(task, video_url=None) | _brief(task) for task in page.tasks],
    }


def _brief(task: Task) -> dict[str, object]:
    return {"model_name": task.job.model}


def _row(task: Task) -> dict[str, object]:
    model = task.job.model
    row: dict[str, object] = {
        "api_key_id": task.key_id,
        "caller_parent_id": task.account,
        "caller_uid": task.account,
        "gmt_create": task.submitted_at,
        "model_name": model,
        "region": task.region,
        "request_id": task.request_id,
        "status": task.state.shown,
        "task_id": task.id,
        "user_api_unique_key": f"apikey:v1:aigc:image2video:video-synthesis:{model}",
    }
    if task.scheduled_at is not None:
        row["start_time"] = task.scheduled_at
    if task.ended_at is not None:
        row["end_time"] = task.ended_at
    return row
