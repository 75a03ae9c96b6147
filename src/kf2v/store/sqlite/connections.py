"""How the file is opened: one connection that writes, others that can only read."""

from pathlib import Path

import apsw

#: earlier ones can corrupt a file in WAL mode when two connections checkpoint and write at the same instant
#: (sqlite.org/wal.html, "The WAL-Reset Bug")
OLDEST = (3, 51, 3)
#: milliseconds to wait for a lock; only tools like the sqlite3 shell ever hold one against us
PATIENCE = 5_000
#: pages of 4 KiB after which a commit moves the log into the database
CHECKPOINT = 1_000
#: bytes to which the log is cut after it has grown beyond them
LOG_LIMIT = 16 * 1024 * 1024


class SqliteTooOld(Exception):
    """The SQLite below apsw has a bug that corrupts files."""


def check_version(version: str) -> None:
    """Raises SqliteTooOld unless ``version`` (like ``3.54.1``) is free of the WAL-reset bug."""
    if tuple(int(part) for part in version.split(".")) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise SqliteTooOld(f"SQLite {version} can corrupt databases in WAL mode; {oldest} or newer is needed.")


def connect_writer(path: Path) -> apsw.Connection:
    """Creates the file if there is none. Every commit is on the disk when it returns."""
    check_version(apsw.sqlite_lib_version())
    db = apsw.Connection(str(path))
    db.set_busy_timeout(PATIENCE)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
    db.wal_autocheckpoint(CHECKPOINT)
    return db


def connect_reader(path: Path) -> apsw.Connection:
    """Sees what was committed when a statement began; never writes and never checkpoints."""
    db = apsw.Connection(str(path))
    db.set_busy_timeout(PATIENCE)
    db.wal_autocheckpoint(0)
    db.execute("PRAGMA query_only = ON")
    return db
