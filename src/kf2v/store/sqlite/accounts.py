"""An account's keys and workspaces."""

from collections.abc import Callable, Mapping

import apsw

from kf2v.store import Key, Workspace
from kf2v.store.sqlite import rows
from kf2v.store.sqlite.statements import changes, insert

INSERT_KEY = f"""
INSERT INTO key ({rows.KEY_COLUMNS}) VALUES ({", ".join("?" * 11)}) ON CONFLICT (digest) DO NOTHING
"""  # noqa: S608
KEY_BY_ID = f"SELECT {rows.KEY_COLUMNS} FROM key WHERE id = ?"  # noqa: S608
KEY_BY_DIGEST = f"SELECT {rows.KEY_COLUMNS} FROM key WHERE digest = ?"  # noqa: S608
KEYS = f"SELECT {rows.KEY_COLUMNS} FROM key ORDER BY created_at, seq"  # noqa: S608
CHANGE_KEY = f"UPDATE key SET ({rows.KEY_COLUMNS}) = ({', '.join('?' * 11)}) WHERE id = ?"  # noqa: S608
TOUCH_KEY = "UPDATE key SET used_at = ?2 WHERE id = ?1 AND coalesce(used_at < ?2, TRUE)"
REVOKE_KEY = "UPDATE key SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
INSERT_WORKSPACE = f"INSERT INTO workspace ({rows.WORKSPACE_COLUMNS}) VALUES (?, ?, ?, ?, ?)"  # noqa: S608
WORKSPACES = f"""
SELECT {rows.WORKSPACE_COLUMNS} FROM workspace WHERE coalesce(account = ?, TRUE) ORDER BY created_at, seq
"""  # noqa: S608
REMOVE_WORKSPACE = "DELETE FROM workspace WHERE id = ?"


def put_key(db: apsw.Connection, key: Key) -> None:
    insert(db, INSERT_KEY, rows.row_of_key(key), key.id)


def key_by_digest(db: apsw.Connection, digest: str) -> Key | None:
    row = db.execute(KEY_BY_DIGEST, (digest,)).get
    return None if row is None else rows.key_of_row(row)


def keys(db: apsw.Connection) -> tuple[Key, ...]:
    return tuple(map(rows.key_of_row, db.execute(KEYS)))


def revoke_key(db: apsw.Connection, key_id: str, *, now: int) -> bool:
    return changes(db, REVOKE_KEY, (now, key_id)) == 1


def change_key(db: apsw.Connection, key_id: str, change: Callable[[Key], Key | None]) -> Key | None:
    row = db.execute(KEY_BY_ID, (key_id,)).get
    changed = None if row is None else change(rows.key_of_row(row))
    if changed is not None:
        insert(db, CHANGE_KEY, (*rows.row_of_key(changed), key_id), key_id)
    return changed


def touch_keys(db: apsw.Connection, used: Mapping[str, int]) -> None:
    db.executemany(TOUCH_KEY, used.items())


def put_workspace(db: apsw.Connection, workspace: Workspace) -> None:
    insert(db, INSERT_WORKSPACE, rows.row_of_workspace(workspace), workspace.id)


def workspaces(db: apsw.Connection, account: str | None) -> tuple[Workspace, ...]:
    return tuple(map(rows.workspace_of_row, db.execute(WORKSPACES, (account,))))


def remove_workspace(db: apsw.Connection, workspace_id: str) -> bool:
    return changes(db, REMOVE_WORKSPACE, (workspace_id,)) == 1
