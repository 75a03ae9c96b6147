"""Tasks, keys and uploads as rows, and back. Knows the columns, never a transaction.

Columns are read by position. What a client or worker may have written (job, flaw, outcome) is one JSON column each,
so that a new field of theirs needs no new column; what is searched or sorted by has a column of its own.
"""

from typing import Any, TypeAlias

import msgspec

from kf2v.store import Key, Upload
from kf2v.tasks import Failure, Job, Outcome, State, Task

Row: TypeAlias = tuple[Any, ...]

TASK_COLUMNS = (
    "id, account, key_id, request_id, workspace, region, job, flaw, state, submitted_at, scheduled_at, ended_at, "
    "attempt, charged, worker, lease_until, phase, progress, outcome"
)
KEY_COLUMNS = "id, account, digest, hint, created_at, revoked_at"
UPLOAD_COLUMNS = "key, blob, account, model, size, created_at"

INSERT_TASK = f"INSERT INTO task ({TASK_COLUMNS}, model, engine) VALUES ({', '.join('?' * 21)})"  # noqa: S608
#: what changes in the life of a task
MOVE_TASK = (
    "UPDATE task SET state = ?, scheduled_at = ?, ended_at = ?, attempt = ?, charged = ?, worker = ?, "
    "lease_until = ?, phase = ?, progress = ?, outcome = ? WHERE id = ?"
)

_encode = msgspec.json.Encoder().encode
_decode_job = msgspec.json.Decoder(Job).decode
_decode_failure = msgspec.json.Decoder(Failure).decode
_decode_outcome = msgspec.json.Decoder(Outcome).decode
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
        task.job.model,
        task.job.engine,
    )


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
    )


def row_of_key(key: Key) -> Row:
    """KEY_COLUMNS of ``key``."""
    return (key.id, key.account, key.digest, key.hint, key.created_at, key.revoked_at)


def key_of_row(row: Row) -> Key:
    """The key whose KEY_COLUMNS ``row`` has."""
    return Key(id=row[0], account=row[1], digest=row[2], hint=row[3], created_at=row[4], revoked_at=row[5])


def row_of_upload(upload: Upload) -> Row:
    """UPLOAD_COLUMNS of ``upload``."""
    return (upload.key, upload.blob, upload.account, upload.model, upload.size, upload.created_at)


def upload_of_row(row: Row) -> Upload:
    """The upload whose UPLOAD_COLUMNS ``row`` has."""
    return Upload(key=row[0], blob=row[1], account=row[2], model=row[3], size=row[4], created_at=row[5])
