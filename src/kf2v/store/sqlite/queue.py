"""What waits and runs: lines, their heads, and whose turn it is. The rule itself is ``tasks.turns``."""

import apsw

from kf2v.catalog.models import SECONDS
from kf2v.metering import Footage
from kf2v.store.sqlite.rows import Row
from kf2v.tasks.turns import Caps, Head, Line, choose, position

#: literal states here and below, because only so does SQLite see that ``task_waiting`` covers them
HEADS = """
SELECT task.id, task.account, task.model, priority, submitted_at, seq
FROM (SELECT DISTINCT account, model, engine FROM line WHERE engine = ? AND waiting > 0) AS line
JOIN task ON seq = (
  SELECT seq FROM task
  WHERE state IN ('PENDING', 'REQUEUED')
    AND engine = line.engine AND account = line.account AND model = line.model
  ORDER BY priority DESC, submitted_at, seq LIMIT 1
)
"""
LINES = "SELECT account, model, engine, sum(waiting), sum(running) FROM line GROUP BY account, model, engine"
WAITING = "SELECT coalesce(sum(waiting), 0) FROM line WHERE account = ? AND model = ?"
PROMISED = """
SELECT region, model, resolution, sum(waiting + running) FROM line WHERE account = ?
GROUP BY region, model, resolution ORDER BY region, model, resolution
"""
SERVED = "SELECT account, served FROM turn"
SERVE = """
INSERT INTO turn SELECT ?, coalesce(max(served), 0) + 1 FROM turn WHERE TRUE
ON CONFLICT DO UPDATE SET served = excluded.served
"""
PLACE = """
SELECT engine, account, priority, submitted_at, seq FROM task
WHERE id = ? AND state IN ('PENDING', 'REQUEUED')
"""
AHEAD = """
SELECT count(*) FROM task
WHERE state IN ('PENDING', 'REQUEUED') AND engine = ? AND account = ?
  AND (priority > ? OR (priority = ? AND (submitted_at, seq) < (?, ?)))
"""
OTHERS = "SELECT account, sum(waiting) FROM line WHERE engine = ? AND waiting > 0 GROUP BY account"


def lines(db: apsw.Connection) -> tuple[Line, ...]:
    return tuple(
        Line(account=account, model=model, engine=engine, waiting=waiting, running=running)
        for account, model, engine, waiting, running in db.execute(LINES)
    )


def waiting(db: apsw.Connection, account: str, model: str) -> int:
    """How many tasks of that account and model wait."""
    return db.execute(WAITING, (account, model)).get


def promised(db: apsw.Connection, account: str) -> tuple[Footage, ...]:
    return tuple(
        Footage(region=region, model=model, resolution=resolution, seconds=tasks * SECONDS)
        for region, model, resolution, tasks in db.execute(PROMISED, (account,))
    )


def next_in_turn(db: apsw.Connection, engines: frozenset[str], caps: Caps) -> str | None:
    """The id of the task of one of ``engines`` whose turn it is."""
    heads = [_head(row) for engine in engines for row in db.execute(HEADS, (engine,))]
    if not heads:
        return None
    found = choose(heads, lines(db), served=dict(db.execute(SERVED)), caps=caps)
    return None if found is None else found.task_id


def serve(db: apsw.Connection, account: str) -> None:
    """Note that it was this account's turn."""
    db.execute(SERVE, (account,))


def place(db: apsw.Connection, task_id: str) -> int | None:
    """About how many tasks start before that one; None if it does not wait."""
    found = db.execute(PLACE, (task_id,)).fetchone()
    if found is None:
        return None
    engine, account, priority, submitted_at, seq = found
    ahead = db.execute(AHEAD, (engine, account, priority, priority, submitted_at, seq)).get
    return position(account, ahead, dict(db.execute(OTHERS, (engine,))), served=dict(db.execute(SERVED)))


def _head(row: Row) -> Head:
    return Head(task_id=row[0], account=row[1], model=row[2], priority=row[3], submitted_at=row[4], seq=row[5])
