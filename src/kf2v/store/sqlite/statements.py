"""Statements whose effect is asked for."""

import apsw

from kf2v.store import IdTaken
from kf2v.store.sqlite.rows import Row


def insert(db: apsw.Connection, statement: str, values: Row, name: str) -> None:
    """Raises IdTaken where something of that name is there already."""
    try:
        db.execute(statement, values)
    except apsw.ConstraintError as error:
        raise IdTaken(name) from error


def changes(db: apsw.Connection, statement: str, values: Row) -> int:
    """How many rows it changed."""
    db.execute(statement, values)
    return db.changes()
