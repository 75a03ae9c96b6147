"""Values as rows, and back. Knows the columns, never a transaction.

Columns are read by position. What a client or worker may have written (job, flaw, outcome) is one JSON column each,
so that a new field of theirs needs no new column; what is searched or sorted by has a column of its own.
"""

from typing import Any, TypeAlias

import msgspec

from kf2v.metering import Charge
from kf2v.store import Key, Rights, Upload, Webhook, Workspace
from kf2v.tasks import Failure, Job, Outcome, State, Task
from kf2v.tasks.news import Delivery, News

Row: TypeAlias = tuple[Any, ...]

TASK_COLUMNS = (
    "id, account, key_id, request_id, workspace, region, job, flaw, state, submitted_at, scheduled_at, ended_at, "
    "attempt, charged, worker, lease_until, phase, progress, outcome, priority, callback, kept"
)
KEY_COLUMNS = "id, account, digest, hint, label, rights, created_at, expires_at, disabled_at, revoked_at, used_at"
WORKSPACE_COLUMNS = "id, account, label, models, created_at"
WEBHOOK_COLUMNS = "id, account, url, secret, label, created_at, disabled_at"
DELIVERY_COLUMNS = "id, webhook_id, url, news, created_at, due_at, attempts, delivered_at, abandoned_at, status, error"
CHARGE_COLUMNS = (
    "task_id, account, key_id, workspace, region, model, engine, resolution, videos, seconds, booked_at, ran"
)
UPLOAD_COLUMNS = "key, blob, account, model, size, created_at"

INSERT_TASK = f"INSERT INTO task ({TASK_COLUMNS}, model, engine, resolution) VALUES ({', '.join('?' * 25)})"  # noqa: S608
#: what changes in the life of a task
MOVE_TASK = (
    "UPDATE task SET state = ?, scheduled_at = ?, ended_at = ?, attempt = ?, charged = ?, worker = ?, "
    "lease_until = ?, phase = ?, progress = ?, outcome = ? WHERE id = ?"
)
#: what changes of it when another engine is to do it
REROUTE_TASK = "UPDATE task SET job = ?, engine = ? WHERE id = ?"

_encode = msgspec.json.Encoder().encode
_decode_job = msgspec.json.Decoder(Job).decode
_decode_failure = msgspec.json.Decoder(Failure).decode
_decode_outcome = msgspec.json.Decoder(Outcome).decode
_decode_rights = msgspec.json.Decoder(Rights).decode
_decode_names = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_news = msgspec.json.Decoder(News).decode
_states = {state.value: state for state in State}


def row_of_task(task: Task) -> Row:
    """The values of INSERT_TASK."""
    return (
        task.id,
        task.account,
        task.key_id,
        task.request_id,
        task.workspace,
        task.region,
        _encode(task.job),
        None if task.flaw is None else _encode(task.flaw),
        task.state.value,
        task.submitted_at,
        task.scheduled_at,
        task.ended_at,
        task.attempt,
        task.charged,
        task.worker,
        task.lease_until,
        task.phase,
        task.progress,
        None if task.outcome is None else _encode(task.outcome),
        task.priority,
        task.callback,
        task.kept,
        task.job.model,
        task.job.engine,
        task.job.resolution,
    )


def reroute_of_task(task: Task) -> Row:
    """The values of REROUTE_TASK."""
    return (_encode(task.job), task.job.engine, task.id)


def move_of_task(task: Task) -> Row:
    """The values of MOVE_TASK."""
    return (
        task.state.value,
        task.scheduled_at,
        task.ended_at,
        task.attempt,
        task.charged,
        task.worker,
        task.lease_until,
        task.phase,
        task.progress,
        None if task.outcome is None else _encode(task.outcome),
        task.id,
    )


def task_of_row(row: Row) -> Task:
    """The task whose TASK_COLUMNS ``row`` has."""
    return Task(
        id=row[0],
        account=row[1],
        key_id=row[2],
        request_id=row[3],
        workspace=row[4],
        region=row[5],
        job=_decode_job(row[6]),
        flaw=None if row[7] is None else _decode_failure(row[7]),
        state=_states[row[8]],
        submitted_at=row[9],
        scheduled_at=row[10],
        ended_at=row[11],
        attempt=row[12],
        charged=row[13],
        worker=row[14],
        lease_until=row[15],
        phase=row[16],
        progress=row[17],
        outcome=None if row[18] is None else _decode_outcome(row[18]),
        priority=row[19],
        callback=row[20],
        kept=bool(row[21]),
    )


def row_of_key(key: Key) -> Row:
    """KEY_COLUMNS of ``key``."""
    return (
        key.id,
        key.account,
        key.digest,
        key.hint,
        key.label,
        _encode(key.rights),
        key.created_at,
        key.expires_at,
        key.disabled_at,
        key.revoked_at,
        key.used_at,
    )


def key_of_row(row: Row) -> Key:
    """The key whose KEY_COLUMNS ``row`` has."""
    return Key(
        id=row[0],
        account=row[1],
        digest=row[2],
        hint=row[3],
        label=row[4],
        rights=_decode_rights(row[5]),
        created_at=row[6],
        expires_at=row[7],
        disabled_at=row[8],
        revoked_at=row[9],
        used_at=row[10],
    )


def row_of_workspace(workspace: Workspace) -> Row:
    """WORKSPACE_COLUMNS of ``workspace``."""
    return (workspace.id, workspace.account, workspace.label, _encode(workspace.models), workspace.created_at)


def workspace_of_row(row: Row) -> Workspace:
    """The workspace whose WORKSPACE_COLUMNS ``row`` has."""
    return Workspace(id=row[0], account=row[1], label=row[2], models=_decode_names(row[3]), created_at=row[4])


def row_of_webhook(webhook: Webhook) -> Row:
    """WEBHOOK_COLUMNS of ``webhook``."""
    return (
        webhook.id,
        webhook.account,
        webhook.url,
        webhook.secret,
        webhook.label,
        webhook.created_at,
        webhook.disabled_at,
    )


def webhook_of_row(row: Row) -> Webhook:
    """The webhook whose WEBHOOK_COLUMNS ``row`` has."""
    return Webhook(
        id=row[0],
        account=row[1],
        url=row[2],
        secret=row[3],
        label=row[4],
        created_at=row[5],
        disabled_at=row[6],
    )


def row_of_delivery(delivery: Delivery) -> Row:
    """DELIVERY_COLUMNS of ``delivery``."""
    return (
        delivery.id,
        delivery.webhook_id,
        delivery.url,
        _encode(delivery.news),
        delivery.created_at,
        delivery.due_at,
        delivery.attempts,
        delivery.delivered_at,
        delivery.abandoned_at,
        delivery.status,
        delivery.error,
    )


def delivery_of_row(row: Row) -> Delivery:
    """The delivery whose DELIVERY_COLUMNS ``row`` has."""
    return Delivery(
        id=row[0],
        webhook_id=row[1],
        url=row[2],
        news=_decode_news(row[3]),
        created_at=row[4],
        due_at=row[5],
        attempts=row[6],
        delivered_at=row[7],
        abandoned_at=row[8],
        status=row[9],
        error=row[10],
    )


def row_of_charge(charge: Charge) -> Row:
    """CHARGE_COLUMNS of ``charge``."""
    return (
        charge.task_id,
        charge.account,
        charge.key_id,
        charge.workspace,
        charge.region,
        charge.model,
        charge.engine,
        charge.resolution,
        charge.videos,
        charge.seconds,
        charge.booked_at,
        charge.ran,
    )


def row_of_upload(upload: Upload) -> Row:
    """UPLOAD_COLUMNS of ``upload``."""
    return (upload.key, upload.blob, upload.account, upload.model, upload.size, upload.created_at)


def upload_of_row(row: Row) -> Upload:
    """The upload whose UPLOAD_COLUMNS ``row`` has."""
    return Upload(key=row[0], blob=row[1], account=row[2], model=row[3], size=row[4], created_at=row[5])
