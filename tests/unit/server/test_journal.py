"""What happened is told in order, once, and a reader who was away too long is told that he missed something."""

import asyncio
from dataclasses import replace

import pytest

from kf2v.server.journal import Entry, Gap, Journal
from kf2v.tasks import State, Task
from orders import ended, order, running

pytestmark = pytest.mark.anyio
PATIENCE = 20.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def journal(*, length: int = 100, epoch: str = "e") -> Journal:
    return Journal(length=length, epoch=epoch)


async def told(book: Journal, *, after: str | None, account: str = "mine") -> list[Entry | Gap]:
    """All there is to read."""
    book.close()
    return [entry async for entry in book.read(account, after=after)]


def numbers(entries: list[Entry | Gap]) -> list[int]:
    return [entry.number for entry in entries]


async def test_a_reader_hears_what_came_after_what_he_heard_last() -> None:
    book = journal()
    for number in range(5):
        book.publish(order(number))
    entries = await told(book, after="e-2")
    assert numbers(entries) == [3, 4, 5]
    assert [entry.task.id for entry in entries if isinstance(entry, Entry)] == ["task-2", "task-3", "task-4"]


async def test_a_reader_who_names_no_place_hears_what_comes_from_now_on() -> None:
    book = journal()
    book.publish(order(1))
    reading = asyncio.create_task(anext(book.read("mine")))
    await asyncio.sleep(0)
    assert not reading.done()
    book.publish(order(2))
    entry = await asyncio.wait_for(reading, PATIENCE)
    assert isinstance(entry, Entry)
    assert entry.task.id == "task-2"


async def test_an_account_hears_nothing_of_another() -> None:
    book = journal()
    book.publish(order(1, account="theirs"))
    assert await told(book, after="e-0") == []


@pytest.mark.parametrize("after", ["other-3", "e-99", "e-1", "e-", "e--1", "nonsense", "e-²", ""])
async def test_a_place_that_is_too_old_or_none_of_this_life_is_a_gap(after: str) -> None:
    book = journal(length=3)
    for number in range(6):
        book.publish(order(number))
    assert await told(book, after=after) == [Gap(number=6)]


async def test_the_oldest_place_that_can_be_gone_on_from_is_the_one_before_the_oldest_entry() -> None:
    book = journal(length=3)
    for number in range(6):
        book.publish(order(number))
    assert numbers(await told(book, after="e-3")) == [4, 5, 6]


async def test_a_slow_reader_loses_his_place_and_nobody_keeps_what_he_missed() -> None:
    book = journal(length=3)
    book.publish(order(0))
    reading = book.read("mine", after="e-0")
    assert isinstance(await anext(reading), Entry)
    for number in range(1, 50):
        book.publish(order(number))
    assert await anext(reading) == Gap(number=50)
    book.publish(order(50))
    assert (await anext(reading)).number == 51


async def test_what_is_known_already_or_older_than_that_is_no_news() -> None:
    book = journal()
    task = running(1, progress=0.5, phase="render")
    for version in (
        task,
        replace(task, lease_until=99),
        replace(task, progress=0.2),
        replace(task, state=State.PENDING, attempt=0, progress=0.0),
        replace(task, progress=0.6),
    ):
        book.publish(version)
    over = ended(1, at=5, attempt=1)
    book.publish(over)
    book.publish(task)
    seen = [entry.task for entry in await told(book, after="e-0") if isinstance(entry, Entry)]
    assert seen == [task, replace(task, progress=0.6), over]


def _again(task: Task) -> list[Task]:
    """Lost, waiting, and begun anew."""
    waiting = replace(task, state=State.REQUEUED, progress=0.0, phase="")
    return [task, waiting, replace(waiting, state=State.RUNNING, attempt=2)]


async def test_a_task_that_begins_anew_is_news_although_it_is_less_far() -> None:
    book = journal()
    versions = _again(running(1, progress=0.9))
    for version in versions:
        book.publish(version)
    assert [entry.task for entry in await told(book, after="e-0") if isinstance(entry, Entry)] == versions


async def test_a_deleted_task_is_told_once_and_last() -> None:
    book = journal()
    task = ended(1, at=5)
    book.publish(task)
    book.publish(task, deleted=True)
    book.publish(task)
    assert [entry.deleted for entry in await told(book, after="e-0") if isinstance(entry, Entry)] == [False, True]


async def test_closing_ends_those_who_wait() -> None:
    book = journal()
    reading = asyncio.create_task(anext(book.read("mine"), None))
    await asyncio.sleep(0)
    book.close()
    assert await asyncio.wait_for(reading, PATIENCE) is None
