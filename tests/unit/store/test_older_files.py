"""A database that an older kf2v wrote is brought to this schema with everything in it."""

from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from kf2v.metering import UsageQuery
from kf2v.store import Footage, Line
from kf2v.store.sqlite import SqliteStore, rows
from kf2v.store.sqlite.connections import connect_writer
from kf2v.store.sqlite.schema import migrate, shipped
from kf2v.tasks import State, Task, Usage
from orders import FAILED, MADE, NOW, job, key, order, running

pytestmark = pytest.mark.anyio

FIRST_COLUMNS = (
    "id, account, key_id, request_id, workspace, region, job, flaw, state, submitted_at, scheduled_at, ended_at, "
    "attempt, charged, worker, lease_until, phase, progress, outcome, model, engine"
)
STILL = frozenset({"still"})


def first_schema(path: Path, *tasks: Task) -> None:
    """A file of the first release with ``tasks`` and a key in it, written in that release's columns."""
    db = connect_writer(path)
    migrate(db, shipped()[:1])
    for task in tasks:
        row = rows.row_of_task(task)
        db.execute(f"INSERT INTO task ({FIRST_COLUMNS}) VALUES ({', '.join('?' * 21)})", (*row[:19], *row[22:24]))
    known = key(1)
    db.execute(
        "INSERT INTO key (id, account, digest, hint, created_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?)",
        (known.id, known.account, known.digest, known.hint, known.created_at, None),
    )
    db.close()


def one_of_each() -> tuple[Task, ...]:
    plus = replace(MADE, usage=Usage(video_duration=5, video_count=1, video_ratio="standard"))
    done = {"state": State.SUCCEEDED, "lease_until": None, "ended_at": NOW + 60_000}
    return (
        order(0),
        order(1),
        order(2, engine="morph"),
        running(3),
        running(4, state=State.REQUEUED, worker=None, lease_until=None),
        running(5, **done, outcome=MADE),
        running(6, **done, outcome=plus, workspace="ws-1", job=job(model="wan2.1-kf2v-plus", resolution="720P")),
        running(7, **done, outcome=replace(MADE, usage=None)),
        running(8, state=State.FAILED, lease_until=None, ended_at=NOW + 1, outcome=FAILED),
        order(9, state=State.CANCELED, ended_at=NOW + 1),
    )


async def test_every_task_and_key_reads_as_it_was(tmp_path: Path) -> None:
    first_schema(tmp_path / "kf2v.db", *one_of_each())
    store = await SqliteStore.open(tmp_path / "kf2v.db")
    for task in one_of_each():
        assert await store.get(task.id) == task
    assert await store.keys() == (key(1),)
    await store.close()


async def test_lines_are_counted_and_followed_from_then_on(tmp_path: Path) -> None:
    first_schema(tmp_path / "kf2v.db", *one_of_each())
    store = await SqliteStore.open(tmp_path / "kf2v.db")
    here = {"account": "mine", "model": "wan2.2-kf2v-flash"}
    assert await store.lines() == (
        Line(**here, engine="morph", waiting=1, running=0),
        Line(**here, engine="still", waiting=3, running=1),
    )
    lease = await store.claim("w", engines=STILL, now=NOW, until=NOW + 1)
    assert lease is not None
    assert lease.task_id == "task-0"
    await store.stop("task-3", now=NOW)
    assert (await store.lines())[1] == Line(**here, engine="still", waiting=2, running=1)
    await store.close()


async def test_what_has_not_ended_has_its_price_and_keeps_it(tmp_path: Path) -> None:
    first_schema(tmp_path / "kf2v.db", *one_of_each(), order(10, job=job(resolution="480P")))
    store = await SqliteStore.open(tmp_path / "kf2v.db")
    here = {"region": "ap-southeast-1", "model": "wan2.2-kf2v-flash"}
    small = Footage(**here, resolution="480P", seconds=5)
    assert await store.promised("mine") == (small, Footage(**here, resolution="720P", seconds=25))
    await store.cancel("task-0", now=NOW)
    await store.stop("task-3", now=NOW)
    assert await store.promised("mine") == (small, Footage(**here, resolution="720P", seconds=15))
    await store.close()


async def test_what_was_made_before_is_booked_as_far_as_it_is_remembered(tmp_path: Path) -> None:
    first_schema(tmp_path / "kf2v.db", *one_of_each())
    store = await SqliteStore.open(tmp_path / "kf2v.db")
    assert [
        (line.model, line.workspace, line.resolution, line.videos, line.seconds)
        for line in await store.usage(UsageQuery())
    ] == [("wan2.2-kf2v-flash", None, "720P", 1, 5), ("wan2.1-kf2v-plus", "ws-1", "720P", 1, 5)]
    assert await store.runs("still", "720P") == (60_000, 60_000)
    assert await store.due(now=NOW + 99_999_999, limit=9) == ()
    await store.close()


async def test_an_old_file_is_brought_here_once(tmp_path: Path) -> None:
    path = tmp_path / "kf2v.db"
    first_schema(path, *one_of_each())
    for _ in range(2):
        store = await SqliteStore.open(path)
        assert len(await store.usage(UsageQuery())) == 2
        await store.close()
    db = apsw.Connection(str(path))
    assert [number for (number,) in db.execute("SELECT number FROM migration")] == [1, 2, 3]
    assert db.pragma("integrity_check") == "ok"
    db.close()
