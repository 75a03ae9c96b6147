"""One flush for all who wait; a failure only for those it belongs to."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import pytest

from kf2v.errors import Unavailable
from kf2v.store.sqlite.commit import GroupCommit
from kf2v.store.sqlite.connections import connect_writer

pytestmark = pytest.mark.anyio


class Notebook:
    """A file with one table of numbers, written by the commits under test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = connect_writer(path)
        self.db.set_busy_timeout(0)
        self.db.execute("CREATE TABLE note (number INTEGER PRIMARY KEY) STRICT")
        self.thread = ThreadPoolExecutor(1)
        self.transactions = 0
        self.commits = GroupCommit(self.db, self.thread, self.count)

    def count(self) -> None:
        self.transactions += 1

    def note(self, number: int) -> Awaitable[int]:
        return self.commits.write(writing(number))

    def numbers(self) -> list[int]:
        with_eyes_of_its_own = apsw.Connection(str(self.path))
        found = [number for (number,) in with_eyes_of_its_own.execute("SELECT number FROM note ORDER BY number")]
        with_eyes_of_its_own.close()
        return found


def writing(number: int) -> Callable[[apsw.Connection], int]:
    def change(db: apsw.Connection) -> int:
        db.execute("INSERT INTO note VALUES (?)", (number,))
        return number

    return change


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    opened = Notebook(tmp_path / "notes.db")
    yield opened
    opened.thread.shutdown()
    opened.db.close()


async def all_of(*work: Awaitable[object]) -> list[object]:
    return await asyncio.gather(*work, return_exceptions=True)


async def test_a_change_is_in_the_file_when_its_caller_goes_on(notebook: Notebook) -> None:
    assert await notebook.note(7) == 7
    assert notebook.numbers() == [7]


async def test_changes_that_come_together_share_a_transaction(notebook: Notebook) -> None:
    assert await all_of(*map(notebook.note, range(64))) == list(range(64))
    assert notebook.transactions == 1
    assert notebook.numbers() == list(range(64))


async def test_what_comes_during_a_flush_is_in_the_next_one(notebook: Notebook) -> None:
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(db: apsw.Connection) -> None:
        loop.call_soon_threadsafe(gate.set)
        asyncio.run_coroutine_threadsafe(queued.wait(), loop).result(30)

    queued = asyncio.Event()
    first = asyncio.create_task(notebook.commits.write(slow))
    await gate.wait()
    rest = [asyncio.create_task(asyncio.wait_for(notebook.note(number), 30)) for number in range(10)]
    await asyncio.sleep(0)
    queued.set()
    await asyncio.gather(first, *rest)
    assert notebook.transactions == 2


async def test_a_bad_change_fails_alone_and_leaves_nothing_behind(notebook: Notebook) -> None:
    def bad(db: apsw.Connection) -> None:
        db.execute("INSERT INTO note VALUES (100)")
        raise LookupError("mine alone")

    good, also_good, mine, doubled = await all_of(
        notebook.note(1), notebook.note(2), notebook.commits.write(bad), notebook.note(1)
    )
    assert (good, also_good) == (1, 2)
    assert isinstance(mine, LookupError)
    assert isinstance(doubled, apsw.ConstraintError)
    assert notebook.numbers() == [1, 2]


async def test_a_commit_that_fails_fails_everyone_in_it_and_no_one_after(notebook: Notebook) -> None:
    await notebook.note(0)
    notebook.db.set_commit_hook(lambda: True)
    answers = await all_of(*map(notebook.note, range(1, 6)))
    assert [type(answer) for answer in answers] == [Unavailable] * 5
    assert len({id(answer) for answer in answers}) == 5
    assert notebook.numbers() == [0]
    notebook.db.set_commit_hook(None)
    assert await all_of(*map(notebook.note, range(1, 6))) == [1, 2, 3, 4, 5]
    assert notebook.numbers() == [0, 1, 2, 3, 4, 5]


async def test_a_transaction_that_cannot_begin_fails_and_the_next_one_begins(notebook: Notebook) -> None:
    stranger = apsw.Connection(str(notebook.path))
    stranger.execute("BEGIN IMMEDIATE")
    answers = await all_of(notebook.note(1), notebook.note(2))
    assert [type(answer) for answer in answers] == [Unavailable] * 2
    cause = answers[0].__cause__ if isinstance(answers[0], Exception) else None
    assert isinstance(cause, apsw.BusyError)
    stranger.execute("ROLLBACK")
    stranger.close()
    assert await notebook.note(1) == 1


async def test_a_full_disk_is_told_and_survived(notebook: Notebook) -> None:
    pages = notebook.db.pragma("page_count")
    notebook.db.execute("CREATE TABLE bulk (data BLOB) STRICT")
    notebook.db.pragma("max_page_count", pages + 4)

    def bulky(db: apsw.Connection) -> None:
        db.execute("INSERT INTO bulk VALUES (zeroblob(100000))")

    before, full, after = await all_of(notebook.note(1), notebook.commits.write(bulky), notebook.note(2))
    assert isinstance(full, Unavailable)
    assert isinstance(full.__cause__, apsw.FullError)
    kept = [number for number in (before, after) if isinstance(number, int)]
    assert notebook.numbers() == kept
    notebook.db.pragma("max_page_count", pages + 1000)
    await notebook.commits.write(bulky)
    assert await notebook.note(3) == 3


async def test_a_transaction_that_sqlite_gives_up_is_told_to_everyone_in_it(notebook: Notebook) -> None:
    await notebook.note(1)

    def ruinous(db: apsw.Connection) -> None:
        db.execute("INSERT OR ROLLBACK INTO note VALUES (1)")

    answers = await all_of(notebook.note(2), notebook.commits.write(ruinous), notebook.note(3))
    assert [type(answer) for answer in answers] == [Unavailable] * 3
    assert notebook.numbers() == [1]
    assert await all_of(notebook.note(2), notebook.note(3)) == [2, 3]


async def test_a_caller_cancelled_during_the_flush_disturbs_no_one(notebook: Notebook) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    go_on = asyncio.Event()

    def slow(db: apsw.Connection) -> None:
        db.execute("INSERT INTO note VALUES (1)")
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(30)

    impatient = asyncio.create_task(notebook.commits.write(slow))
    patient = asyncio.ensure_future(notebook.note(2))
    await begun.wait()
    impatient.cancel()
    go_on.set()
    assert await patient == 2
    assert impatient.cancelled()
    assert notebook.numbers() == [1, 2]


async def test_a_change_whose_caller_left_before_the_flush_is_not_made(notebook: Notebook) -> None:
    leaving = asyncio.create_task(notebook.commits.write(writing(1)))
    staying = asyncio.create_task(notebook.commits.write(writing(2)))
    loop = asyncio.get_running_loop()
    loop.call_soon(leaving.cancel)
    assert await staying == 2
    assert leaving.cancelled()
    assert notebook.numbers() == [2]


async def test_closing_waits_for_what_was_taken_and_takes_no_more(notebook: Notebook) -> None:
    taken = [asyncio.create_task(notebook.commits.write(writing(number))) for number in range(10)]
    await asyncio.sleep(0)
    await notebook.commits.close()
    assert notebook.numbers() == list(range(10))
    with pytest.raises(RuntimeError, match="closed"):
        await notebook.note(10)
    assert await asyncio.gather(*taken) == list(range(10))
