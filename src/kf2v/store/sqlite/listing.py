"""One page of an account's tasks."""

import apsw

from kf2v.store import Page, TaskQuery
from kf2v.store.sqlite import rows
from kf2v.tasks import State


def find(db: apsw.Connection, query: TaskQuery) -> Page:
    """The page that ``query`` asks for and how many tasks there are on all pages, both at one instant."""
    condition, values = _condition(query)
    start = (query.page_no - 1) * query.page_size
    page = (
        f"SELECT {rows.TASK_COLUMNS} FROM task WHERE {condition} ORDER BY submitted_at DESC, seq DESC LIMIT ? OFFSET ?"  # noqa: S608
    )
    db.execute("BEGIN")
    try:
        total = db.execute(f"SELECT count(*) FROM task WHERE {condition}", values).get  # noqa: S608
        tasks = tuple(map(rows.task_of_row, db.execute(page, (*values, query.page_size, start))))
    finally:
        db.execute("COMMIT")
    return Page(total=total, tasks=tasks)


def _condition(query: TaskQuery) -> tuple[str, list[str | int]]:
    """SQL of our own words only, and the values for its question marks."""
    asked: dict[str, str | int | None] = {
        "account = ?": query.account,
        "(coalesce(ended_at > ?, TRUE) OR kept)": query.forgotten_before,
        "id = ?": query.task_id,
        "submitted_at >= ?": query.since,
        "submitted_at <= ?": query.until,
        "model = ?": query.model,
        "key_id = ?": query.key_id,
        "region = ?": query.region,
        "engine = ?": query.engine,
        "instr(lower(CAST(job AS TEXT) ->> '$.prompt'), lower(?)) > 0": query.text,
    }
    terms = [term for term, value in asked.items() if value is not None]
    values = [value for value in asked.values() if value is not None]
    if query.status is not None:
        states = [state.value for state in State if state.shown == query.status]
        terms.append(f"state IN ({', '.join('?' * len(states))})")
        values.extend(states)
    return " AND ".join(terms), values
