"""What the SQLite store promises beyond its seam: durable, alone with its file, and quick to find things."""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from kf2v.store import Once, OnceTaken, QueueFull
from kf2v.store.sqlite import (
    FORGET,
    FORGET_ONCES,
    FORGET_UPLOADS,
    GET_TASK,
    NOTES,
    ONCE,
    UNFINISHED,
    SchemaMismatch,
    SqliteStore,
    StoreInUse,
    accounts,
    bills,
    outbox,
    queue,
    rows,
)
from kf2v.store.sqlite.connections import connect_reader, connect_writer
from kf2v.store.sqlite.ownership import Ownership
from kf2v.tasks import State
from orders import FAILED, NOW, order

pytestmark = pytest.mark.anyio

TENANT = Path(__file__).with_name("tenant.py")
STILL = frozenset({"still"})


@contextmanager
def tenant(path: Path, *work: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has ``path`` open; killed at the end if it still lives."""
    command = [sys.executable, str(TENANT), str(path), *work]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.kill()


async def test_every_insert_that_returned_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "kf2v.db"
    chance = random.Random(2)
    promised: set[str] = set()
    for life in range(5):
        with tenant(path, "insert", f"life-{life}") as process:
            assert process.stdout is not None
            for _ in range(chance.randrange(1, 400)):
                promised.add(process.stdout.readline().rstrip("\n"))
            process.kill()
            *whole, _torn = process.stdout.read().split("\n")
            promised.update(whole)
    db = apsw.Connection(str(path))
    kept = {task_id for (task_id,) in db.execute("SELECT id FROM task")}
    assert db.pragma("integrity_check") == "ok"
    db.close()
    assert len(promised) > 5
    assert promised <= kept
    store = await SqliteStore.open(path)
    assert await store.counts() == {State.PENDING: len(kept)}
    await store.close()


async def test_what_was_kept_is_there_after_opening_again(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "kf2v.db")
    await store.insert(order())
    await store.claim("w", engines=STILL, now=NOW, until=NOW + 1)
    before = await store.get("task-0")
    await store.close()
    store = await SqliteStore.open(tmp_path / "kf2v.db")
    assert await store.get("task-0") == before
    assert await store.counts() == {State.RUNNING: 1}
    await store.close()


def test_a_commit_waits_for_the_disk_and_readers_cannot_write(tmp_path: Path) -> None:
    writer, reader = connect_writer(tmp_path / "kf2v.db"), connect_reader(tmp_path / "kf2v.db")
    assert writer.pragma("journal_mode") == "wal"
    assert writer.pragma("synchronous") == 2
    with pytest.raises(apsw.ReadOnlyError):
        reader.execute("CREATE TABLE a (b)")
    reader.close()
    writer.close()


async def test_a_second_owner_in_this_process_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "kf2v.db"
    store = await SqliteStore.open(path)
    with pytest.raises(StoreInUse) as refusal:
        await SqliteStore.open(path)
    assert (refusal.value.path, refusal.value.pid) == (path, os.getpid())
    await store.close()
    await (await SqliteStore.open(path)).close()


async def test_another_process_as_owner_is_named_and_its_death_frees_the_file(tmp_path: Path) -> None:
    path = tmp_path / "kf2v.db"
    with tenant(path, "hold") as process:
        with pytest.raises(StoreInUse, match=rf"{path} is in use by process {process.pid}\b"):
            await SqliteStore.open(path)
        process.kill()
        process.wait()
        await (await SqliteStore.open(path)).close()


def test_an_owner_that_has_not_said_its_number_yet_is_refused_too(tmp_path: Path) -> None:
    ownership = Ownership(tmp_path / "kf2v.db")
    (tmp_path / "kf2v.db.lock").write_text("")
    with pytest.raises(StoreInUse, match="another process"):
        Ownership(tmp_path / "kf2v.db")
    ownership.release()


async def test_a_file_that_was_refused_is_free_again(tmp_path: Path) -> None:
    path = tmp_path / "kf2v.db"
    await (await SqliteStore.open(path)).close()
    db = apsw.Connection(str(path))
    db.execute("INSERT INTO migration VALUES (9999, '9999_from_the_future', '')")
    with pytest.raises(SchemaMismatch, match="9999_from_the_future"):
        await SqliteStore.open(path)
    db.execute("DELETE FROM migration WHERE number = 9999")
    db.close()
    await (await SqliteStore.open(path)).close()


async def test_what_is_no_database_is_refused_and_free_again(tmp_path: Path) -> None:
    path = tmp_path / "kf2v.db"
    path.write_bytes(b"certainly not a database, and long enough to look at" * 20)
    with pytest.raises(apsw.NotADBError):
        await SqliteStore.open(path)
    Ownership(path).release()


@pytest.mark.parametrize(
    "statement, values, index",
    [
        (GET_TASK, ("a",), "sqlite_autoindex_task_1"),
        (accounts.KEY_BY_DIGEST, ("a",), "sqlite_autoindex_key_2"),
        (queue.HEADS, ("still",), "task_waiting"),
        (queue.WAITING, ("mine", "wan2.2-kf2v-flash"), "PRIMARY KEY"),
        (queue.SERVE, ("mine",), "turn_served"),
        (queue.PLACE, ("a",), "sqlite_autoindex_task_1"),
        (queue.AHEAD, ("still", "mine", 0, 0, 1, 1), "task_waiting"),
        (ONCE, ("mine", "a", 1), "PRIMARY KEY"),
        (FORGET_ONCES, (1, 1), "once_said"),
        (NOTES, ("a",), "note_of"),
        (bills.RUNS, ("still", "720P", 20), "charge_ran"),
        (outbox.OF_ACCOUNT, ("mine",), "webhook_of"),
        (outbox.DUE, (1, "[]", 1), "delivery_due"),
        (outbox.UNDELIVERED, (), "delivery_due"),
        (outbox.KEEP, (1, 1, 1, 1, 1, "", "a"), "sqlite_autoindex_delivery_1"),
        (outbox.NEWEST_OF_ACCOUNT, ("mine", None, None, 1), "delivery_of"),
        (outbox.FORGET, (1, 1), "delivery_old"),
        (UNFINISHED, (), "task_unfinished"),
        (FORGET, (1, 1), "task_ended"),
        (FORGET_UPLOADS, (1, 1), "upload_created"),
    ],
)
async def test_nothing_frequent_sorts_or_reads_the_whole_table(
    tmp_path: Path, statement: str, values: tuple[object, ...], index: str
) -> None:
    await (await SqliteStore.open(tmp_path / "kf2v.db")).close()
    db = apsw.Connection(str(tmp_path / "kf2v.db"))
    steps = [step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    db.close()
    assert any(index in step for step in steps), steps
    assert not any("TEMP B-TREE" in step for step in steps), steps
    whole = {step for step in steps if step.startswith("SCAN") and "INDEX" not in step}
    assert whole <= {"SCAN line"}, steps  # a row for each that waits or runs, whatever they have waiting


async def test_a_refused_insert_undoes_nothing_of_those_beside_it(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "kf2v.db")
    said, other = (Once(key="once", digest=digest, since=0) for digest in "ab")
    await store.insert(order(0), once=said)
    heard: list[str] = []

    def hear(_: object, sql: str, __: object) -> bool:
        heard.append(sql)
        return True

    store._connections.writer.exec_trace = hear
    answers = await asyncio.gather(
        store.insert(order(1)),
        store.insert(order(2), room=1),
        store.insert(order(3), once=other),
        store.insert(order(4)),
        return_exceptions=True,
    )
    assert answers[0::3] == ["task-1", "task-4"]
    assert [type(answer) for answer in answers[1:3]] == [QueueFull, OnceTaken]
    assert sum(sql == rows.INSERT_TASK for sql in heard) == 2
    assert not any("ROLLBACK" in sql for sql in heard)
    await store.close()


async def test_get_never_remembers_more_than_it_may_and_forgets_nothing_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kf2v.store.sqlite.REMEMBERED", 3)
    store = await SqliteStore.open(tmp_path / "kf2v.db")
    for number in range(6):
        await store.insert(order(number))
    for _ in range(2):
        for number in range(6):
            assert await store.get(f"task-{number}") == order(number)
            assert len(store._remembered) <= 3
    await store.close()


async def test_a_write_that_failed_shows_nothing(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "kf2v.db")
    await store.insert(order())
    lease = await store.claim("w", engines=STILL, now=NOW, until=NOW + 1)
    assert lease is not None
    before = await store.get("task-0")
    store._connections.writer.set_commit_hook(lambda: True)
    with pytest.raises(Exception, match="unavailable"):
        await store.settle("task-0", 1, FAILED, now=NOW)
    with pytest.raises(Exception, match="unavailable"):
        await store.probe()
    assert await store.get("task-0") == before
    store._connections.writer.set_commit_hook(None)
    await store.probe()
    await store.settle("task-0", 1, FAILED, now=NOW)
    assert await store.counts() == {State.FAILED: 1}
    await store.close()
