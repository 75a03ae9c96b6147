"""Charges: booked when a task ends, added up when somebody asks."""

import apsw

from kf2v.metering import UsageLine, UsageQuery, charge_of
from kf2v.store.sqlite import rows
from kf2v.tasks import Task

BOOK = f"INSERT INTO charge ({rows.CHARGE_COLUMNS}) VALUES ({', '.join('?' * 12)})"  # noqa: S608
RUNS = "SELECT ran FROM charge WHERE engine = ? AND resolution = ? ORDER BY booked_at DESC, seq DESC LIMIT ?"
#: UTC+8, as ``wire.v1.times.day_of``
DAY = "date(booked_at / 1000 + 28800, 'unixepoch')"
GROUPS = "day, account, key_id, workspace, region, model, engine, resolution"


def book(db: apsw.Connection, task: Task) -> None:
    """Book what ``task``, which has ended, costs."""
    charge = charge_of(task)
    if charge is not None:
        db.execute(BOOK, rows.row_of_charge(charge))


def usage(db: apsw.Connection, query: UsageQuery) -> tuple[UsageLine, ...]:
    asked: dict[str, str | int | None] = {
        "account = ?": query.account,
        "key_id = ?": query.key_id,
        "workspace = ?": query.workspace,
        "model = ?": query.model,
        "booked_at >= ?": query.since,
        "booked_at < ?": query.until,
    }
    terms = [term for term, value in asked.items() if value is not None] or ["TRUE"]
    columns = GROUPS.replace("day", f"{DAY} AS day", 1)
    statement = (
        f"SELECT {columns}, sum(videos), sum(seconds) FROM charge WHERE {' AND '.join(terms)} "  # noqa: S608  our own words
        f"GROUP BY {GROUPS} ORDER BY {GROUPS}"
    )
    return tuple(
        UsageLine(
            day=row[0],
            account=row[1],
            key_id=row[2],
            workspace=row[3],
            region=row[4],
            model=row[5],
            engine=row[6],
            resolution=row[7],
            videos=row[8],
            seconds=row[9],
        )
        for row in db.execute(statement, [value for value in asked.values() if value is not None])
    )


def runs(db: apsw.Connection, engine: str, resolution: str, limit: int) -> tuple[int, ...]:
    return tuple(ran for (ran,) in db.execute(RUNS, (engine, resolution, limit)))
