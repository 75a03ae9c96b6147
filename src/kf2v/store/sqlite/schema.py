"""The numbered files of ``store/sql``, each applied once, all of them or none."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

import apsw

LEDGER = """
CREATE TABLE IF NOT EXISTS migration (
  number INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  checksum TEXT NOT NULL  -- SHA-256 of the file as applied
) STRICT
"""


class SchemaMismatch(Exception):
    """The file was written by a newer kf2v, or by one whose migrations were other ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step from an older schema to a newer one."""

    #: from 1, without gaps
    number: int
    name: str
    script: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.script.encode()).hexdigest()


def shipped() -> tuple[Migration, ...]:
    """The migrations of this version of kf2v, in their order."""
    scripts = (entry for entry in (files("kf2v.store") / "sql").iterdir() if entry.name.endswith(".sql"))
    return tuple(
        Migration(number=int(entry.name[:4]), name=entry.name.removesuffix(".sql"), script=entry.read_text("utf-8"))
        for entry in sorted(scripts, key=lambda entry: entry.name)
    )


def migrate(db: apsw.Connection, migrations: tuple[Migration, ...]) -> None:
    """Bring ``db`` up to the last of ``migrations`` in one transaction. Raises SchemaMismatch."""
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute(LEDGER)
        applied = {number: (name, checksum) for number, name, checksum in db.execute("SELECT * FROM migration")}
        _compare(applied, migrations)
        for migration in migrations:
            if migration.number not in applied:
                db.execute(migration.script)
                row = (migration.number, migration.name, migration.checksum)
                db.execute("INSERT INTO migration VALUES (?, ?, ?)", row)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _compare(applied: dict[int, tuple[str, str]], migrations: tuple[Migration, ...]) -> None:
    known = {migration.number: migration for migration in migrations}
    for number, (name, checksum) in sorted(applied.items()):
        if number not in known:
            raise SchemaMismatch(
                f"The database has schema {name}, this kf2v knows schemas up to {max(known, default=0):04}. "
                "A newer kf2v has used it: run that one, or restore a copy from before."
            )
        if known[number].checksum != checksum:
            raise SchemaMismatch(
                f"The database's schema {name} differs from the {known[number].name} of this kf2v; "
                "no released version wrote it."
            )
