"""Webhooks, and what is on its way to them."""

import json
from collections.abc import Callable, Collection

import apsw

from kf2v.store.sqlite import rows
from kf2v.store.sqlite.statements import changes, insert
from kf2v.tasks import Task
from kf2v.tasks.news import Delivery, Webhook, deliveries_of

WEBHOOKS = f"SELECT {rows.WEBHOOK_COLUMNS} FROM webhook"  # noqa: S608
OF_ACCOUNT = f"{WEBHOOKS} WHERE account = ? ORDER BY created_at, seq"
INSERT_WEBHOOK = f"INSERT INTO webhook ({rows.WEBHOOK_COLUMNS}) VALUES ({', '.join('?' * 7)})"  # noqa: S608
WEBHOOK_BY_ID = f"{WEBHOOKS} WHERE id = ?"
CHANGE_WEBHOOK = f"UPDATE webhook SET ({rows.WEBHOOK_COLUMNS}) = ({', '.join('?' * 7)}) WHERE id = ?"  # noqa: S608
REMOVE_WEBHOOK = "DELETE FROM webhook WHERE id = ?"
POST = f"INSERT INTO delivery ({rows.DELIVERY_COLUMNS}, account, task_id) VALUES ({', '.join('?' * 13)})"  # noqa: S608
DUE = f"""
SELECT {rows.DELIVERY_COLUMNS} FROM delivery
WHERE delivered_at IS NULL AND abandoned_at IS NULL AND due_at <= ? AND id NOT IN (SELECT value FROM json_each(?))
ORDER BY due_at, seq LIMIT ?
"""  # noqa: S608
UNDELIVERED = "SELECT count(*) FROM delivery WHERE delivered_at IS NULL AND abandoned_at IS NULL"
KEEP = """
UPDATE delivery SET due_at = ?, attempts = ?, delivered_at = ?, abandoned_at = ?, status = ?, error = ? WHERE id = ?
"""
_NEWEST = f"""
SELECT {rows.DELIVERY_COLUMNS} FROM delivery
WHERE {{whose}} AND (?2 IS NULL OR task_id = ?2) AND (?3 IS NULL OR webhook_id = ?3)
ORDER BY {{newest_first}} LIMIT ?4
"""  # noqa: S608
NEWEST_OF_ACCOUNT = _NEWEST.format(whose="account = ?1", newest_first="created_at DESC, seq DESC")
#: in the order of rows, which needs no index of its own
NEWEST_OF_ALL = _NEWEST.format(whose="?1 IS NULL", newest_first="seq DESC")
BY_ID = f"SELECT {rows.DELIVERY_COLUMNS} FROM delivery WHERE id = ?"  # noqa: S608
FORGET = """
DELETE FROM delivery WHERE seq IN (
  SELECT seq FROM delivery WHERE created_at <= ? AND (delivered_at IS NOT NULL OR abandoned_at IS NOT NULL) LIMIT ?
)
"""


def post(db: apsw.Connection, task: Task) -> None:
    """Have it told that ``task`` has ended."""
    for delivery in deliveries_of(task, webhooks(db, task.account)):
        db.execute(POST, (*rows.row_of_delivery(delivery), task.account, task.id))


def webhooks(db: apsw.Connection, account: str | None) -> tuple[Webhook, ...]:
    found = (
        db.execute(f"{WEBHOOKS} ORDER BY created_at, seq") if account is None else db.execute(OF_ACCOUNT, (account,))
    )
    return tuple(map(rows.webhook_of_row, found))


def put_webhook(db: apsw.Connection, webhook: Webhook) -> None:
    insert(db, INSERT_WEBHOOK, rows.row_of_webhook(webhook), webhook.id)


def change_webhook(db: apsw.Connection, webhook_id: str, change: Callable[[Webhook], Webhook | None]) -> Webhook | None:
    row = db.execute(WEBHOOK_BY_ID, (webhook_id,)).get
    changed = None if row is None else change(rows.webhook_of_row(row))
    if changed is not None:
        db.execute(CHANGE_WEBHOOK, (*rows.row_of_webhook(changed), webhook_id))
    return changed


def remove_webhook(db: apsw.Connection, webhook_id: str) -> bool:
    return changes(db, REMOVE_WEBHOOK, (webhook_id,)) == 1


def due(db: apsw.Connection, *, now: int, limit: int, besides: Collection[str]) -> tuple[Delivery, ...]:
    known = json.dumps([*besides])
    return tuple(map(rows.delivery_of_row, db.execute(DUE, (now, known, limit))))


def undelivered(db: apsw.Connection) -> int:
    return db.execute(UNDELIVERED).get


def keep(db: apsw.Connection, delivery: Delivery) -> None:
    values = (
        delivery.due_at,
        delivery.attempts,
        delivery.delivered_at,
        delivery.abandoned_at,
        delivery.status,
        delivery.error,
        delivery.id,
    )
    db.execute(KEEP, values)


def one(db: apsw.Connection, delivery_id: str) -> Delivery | None:
    row = db.execute(BY_ID, (delivery_id,)).fetchone()
    return None if row is None else rows.delivery_of_row(row)


def newest(
    db: apsw.Connection, account: str | None, *, task_id: str | None, webhook_id: str | None, limit: int
) -> tuple[Delivery, ...]:
    found = NEWEST_OF_ALL if account is None else NEWEST_OF_ACCOUNT
    return tuple(map(rows.delivery_of_row, db.execute(found, (account, task_id, webhook_id, limit))))


def forget(db: apsw.Connection, created_before: int, limit: int) -> int:
    """Those that are on their way no longer; how many there were."""
    return changes(db, FORGET, (created_before, limit))
