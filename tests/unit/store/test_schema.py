"""Numbered steps from an older file to this version's, all of them or none."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from kf2v.store.sqlite.connections import SqliteTooOld, check_version, connect_writer
from kf2v.store.sqlite.schema import Migration, SchemaMismatch, migrate, shipped

ONE = Migration(number=1, name="0001_one", script="CREATE TABLE one (a INTEGER); INSERT INTO one VALUES (1);")
TWO = Migration(number=2, name="0002_two", script="ALTER TABLE one ADD COLUMN b INTEGER; UPDATE one SET b = a + 1;")
BROKEN = Migration(
    number=3, name="0003_broken", script="CREATE TABLE three (a INTEGER); INSERT INTO nowhere VALUES (1);"
)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[apsw.Connection]:
    opened = connect_writer(tmp_path / "kf2v.db")
    yield opened
    opened.close()


def tables(db: apsw.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def test_the_shipped_steps_are_numbered_without_gaps() -> None:
    assert [migration.number for migration in shipped()] == list(range(1, len(shipped()) + 1))


def test_a_fresh_file_gets_every_step_in_order(db: apsw.Connection) -> None:
    migrate(db, (ONE, TWO))
    assert list(db.execute("SELECT a, b FROM one")) == [(1, 2)]


def test_an_older_file_gets_only_what_it_lacks(db: apsw.Connection) -> None:
    migrate(db, (ONE,))
    db.execute("UPDATE one SET a = 5")
    migrate(db, (ONE, TWO))
    migrate(db, (ONE, TWO))
    assert list(db.execute("SELECT a, b FROM one")) == [(5, 6)]


def test_a_file_of_a_newer_version_is_refused_and_left_alone(db: apsw.Connection) -> None:
    migrate(db, (ONE, TWO))
    with pytest.raises(SchemaMismatch, match=r"0002_two.*up to 0001"):
        migrate(db, (ONE,))
    assert list(db.execute("SELECT a, b FROM one")) == [(1, 2)]


def test_a_step_that_was_changed_after_it_was_applied_is_refused(db: apsw.Connection) -> None:
    migrate(db, (ONE,))
    with pytest.raises(SchemaMismatch, match="0001_one"):
        migrate(db, (replace(ONE, script=ONE.script + "--"),))


def test_a_step_that_fails_leaves_nothing_of_any(db: apsw.Connection) -> None:
    migrate(db, (ONE,))
    with pytest.raises(apsw.SQLError, match="nowhere"):
        migrate(db, (ONE, TWO, BROKEN))
    assert tables(db) == {"migration", "one"}
    migrate(db, (ONE, TWO))
    assert list(db.execute("SELECT a, b FROM one")) == [(1, 2)]


@pytest.mark.parametrize("version", ["3.51.3", "3.51.10", "3.52.0", "4.0.0"])
def test_a_sqlite_without_the_bug_is_accepted(version: str) -> None:
    check_version(version)


@pytest.mark.parametrize("version", ["3.51.2", "3.50.9", "3.40.1", "3.7.0"])
def test_a_sqlite_with_the_bug_is_refused(version: str) -> None:
    with pytest.raises(SqliteTooOld, match=version):
        check_version(version)
