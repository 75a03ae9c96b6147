import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from backroom import PATIENCE
from kf2v.worker.pools.process import Pauses, ProcessPool

pytestmark = pytest.mark.anyio

#: says its name and number by making a file, then lives until its standard input ends
OBEDIENT = """
    import os, pathlib, sys
    pathlib.Path(sys.argv[1], sys.argv[3]).write_text(str(os.getpid()))
    sys.stdin.read()
"""
#: the same, deaf to SIGTERM
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + textwrap.dedent(OBEDIENT)
#: the same, but SIGTERM makes it say goodbye first
POLITE = """
    import os, pathlib, signal, sys
    def leave(number, frame):
        pathlib.Path(sys.argv[1], "goodbye").touch()
        raise SystemExit(0)
    signal.signal(signal.SIGTERM, leave)
    pathlib.Path(sys.argv[1], sys.argv[3]).write_text(str(os.getpid()))
    sys.stdin.read()
"""
#: the same, and once more when it begins
PUNCTUAL = """
    import os, pathlib, sys
    signed = pathlib.Path(sys.argv[1], sys.argv[3])
    signed.write_text(str(os.getpid()))
    sys.stdin.readline()
    signed.with_suffix(".began").touch()
    sys.stdin.read()
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Nursery:
    """A pool of ``python -c`` children that sign in with files, and what was heard of their ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gone: list[str] = []
        self.there_at_exit: list[set[str]] = []
        self.pool: ProcessPool | None = None

    async def note(self, name: str) -> None:
        self.gone.append(name)
        self.there_at_exit.append(self.names())

    async def open(self, program: str, count: int = 1) -> ProcessPool:
        command = [sys.executable, "-I", "-S", "-c", textwrap.dedent(program), str(self.folder)]
        self.pool = ProcessPool(command, count, self.note, longest_pause=0.05)
        await self.pool.start()
        return self.pool

    def names(self) -> set[str]:
        """Whoever has signed in, the dead included."""
        return {path.name for path in self.folder.glob("w*") if path.read_text()}

    def begun(self) -> set[str]:
        return {path.stem for path in self.folder.glob("*.began")}

    async def rehearsed(self) -> tuple[ProcessPool, str, str]:
        """A pool of one, the child that has begun, and its understudy, which runs."""
        pool = await self.open(PUNCTUAL)
        (first,) = await self.signed_in(1)
        await until(lambda: self.begun() == {first})
        pool.understudy({first})
        (second,) = await self.signed_in(2) - {first}
        return pool, first, second

    def lives(self, name: str) -> bool:
        try:
            os.kill(self.number(name), 0)
        except ProcessLookupError:
            return False
        return True

    def number(self, name: str) -> int:
        return int((self.folder / name).read_text())

    async def signed_in(self, count: int) -> set[str]:
        await until(lambda: len(self.names()) >= count)
        return self.names()


async def until(fact: Callable[[], bool]) -> None:
    """Wait for ``fact``, but not for ever."""
    async with asyncio.timeout(PATIENCE):
        while not fact():  # noqa: ASYNC110  what is waited for happens in another process
            await asyncio.sleep(0.005)


@pytest.fixture
async def nursery(tmp_path: Path) -> AsyncIterator[Nursery]:
    made = Nursery(tmp_path)
    yield made
    if made.pool is not None:
        await made.pool.stop()


async def test_it_starts_as_many_as_wanted_each_with_a_name_of_its_own(nursery: Nursery) -> None:
    pool = await nursery.open(OBEDIENT, count=2)
    assert len(await nursery.signed_in(2)) == 2
    assert pool.alive == 2


async def test_a_killed_child_is_told_of_and_replaced_under_another_name(nursery: Nursery) -> None:
    await nursery.open(OBEDIENT)
    (first,) = await nursery.signed_in(1)
    os.kill(nursery.number(first), signal.SIGKILL)
    (second,) = await nursery.signed_in(2) - {first}
    assert second != first
    assert nursery.gone == [first]
    assert nursery.there_at_exit == [{first}]


async def test_a_stopped_child_can_be_killed(nursery: Nursery) -> None:
    pool = await nursery.open(OBEDIENT)
    (name,) = await nursery.signed_in(1)
    os.kill(nursery.number(name), signal.SIGSTOP)
    pool.kill(name)
    await until(lambda: nursery.gone == [name])


async def test_killing_whom_nobody_knows_changes_nothing(nursery: Nursery) -> None:
    pool = await nursery.open(OBEDIENT)
    await nursery.signed_in(1)
    pool.kill("w1-stranger")
    assert pool.alive == 1
    assert nursery.gone == []


async def test_draining_lets_children_leave_by_themselves_and_replaces_none(nursery: Nursery) -> None:
    pool = await nursery.open(POLITE)
    names = await nursery.signed_in(1)
    await pool.drain(PATIENCE)
    assert (nursery.folder / "goodbye").exists()
    assert pool.alive == 0
    assert nursery.names() == names
    assert nursery.gone == list(names)


async def test_draining_kills_whoever_does_not_leave(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kf2v.worker.pools.process.GRACE", 0.0)
    pool = await nursery.open(STUBBORN)
    names = await nursery.signed_in(1)
    await pool.drain(0.05)
    assert pool.alive == 0
    assert nursery.gone == list(names)


async def test_stopping_waits_for_nobody(nursery: Nursery) -> None:
    pool = await nursery.open(STUBBORN)
    names = await nursery.signed_in(1)
    await pool.stop()
    assert nursery.gone == list(names)


async def test_a_pool_that_is_hurried_while_it_drains_ends_once(nursery: Nursery) -> None:
    pool = await nursery.open(STUBBORN)
    names = await nursery.signed_in(1)
    drain = asyncio.create_task(pool.drain(PATIENCE))
    await asyncio.sleep(0)
    await pool.stop()
    await drain
    assert nursery.gone == list(names)


async def test_children_that_die_at_once_are_replaced_again_and_again(nursery: Nursery) -> None:
    await nursery.open("raise SystemExit(3)")
    await until(lambda: len(nursery.gone) >= 4)
    assert len(set(nursery.gone)) == len(nursery.gone)


def test_pauses_grow_only_while_it_looks_hopeless() -> None:
    pauses = Pauses(1.0)
    seen: list[float] = []
    for early in (False, True, True, True, True, True, True, True, False, True):
        pauses.ended(early=early)
        seen.append(pauses.next)
    assert seen == pytest.approx([0, 0, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 0, 0])


async def test_children_that_die_of_their_work_are_replaced_without_a_pause() -> None:
    ends = 0

    async def note(name: str) -> bool:
        nonlocal ends
        ends += 1
        return True

    pool = ProcessPool([sys.executable, "-I", "-S", "-c", ""], 1, note, longest_pause=3600.0)
    await pool.start()
    await until(lambda: ends >= 13)  # with pauses the thirteenth would come after a minute and a half
    await pool.stop()


async def test_an_end_that_cannot_be_noted_costs_no_child(tmp_path: Path) -> None:
    ends = 0

    async def fail(name: str) -> None:
        nonlocal ends
        ends += 1
        raise OSError("disk on fire")

    pool = ProcessPool([sys.executable, "-I", "-S", "-c", ""], 1, fail, longest_pause=0.05)
    await pool.start()
    await until(lambda: ends >= 3)
    await pool.stop()


async def test_a_command_that_does_not_exist_can_still_be_drained(tmp_path: Path) -> None:
    async def note(name: str) -> None:
        pytest.fail("nobody lived")

    pool = ProcessPool([str(tmp_path / "nothing")], 1, note)
    await pool.start()
    await pool.drain(PATIENCE)
    assert pool.alive == 0


async def test_an_understudy_waits_for_its_cue_and_is_not_counted(nursery: Nursery) -> None:
    pool, first, second = await nursery.rehearsed()
    assert nursery.lives(first)
    assert nursery.begun() == {first}
    assert (pool.alive, pool.places) == (1, {first: 0})
    pool.understudy({first})  # has one
    pool.kill(first)
    await until(lambda: nursery.begun() == {first, second})
    assert nursery.gone == [first]
    assert (pool.alive, pool.places) == (1, {second: 0})
    assert nursery.names() == {first, second}


async def test_an_understudy_begins_after_the_end_was_told_of(nursery: Nursery) -> None:
    pool, first, _ = await nursery.rehearsed()
    told, noted = asyncio.Event(), nursery.note

    async def wait_and_note(name: str) -> None:
        pool.understudy(())  # what it was there for has ended, and it goes on all the same
        await told.wait()
        await noted(name)

    pool._on_exit = wait_and_note  # pyright: ignore[reportPrivateUsage]
    pool.kill(first)
    await until(lambda: pool.alive == 0)
    await asyncio.sleep(0.05)
    assert nursery.begun() == {first}
    told.set()
    await until(lambda: len(nursery.begun()) == 2)


async def test_an_understudy_that_is_not_needed_ends_unnoticed(nursery: Nursery) -> None:
    pool, first, second = await nursery.rehearsed()
    pool.understudy(())
    await until(lambda: not nursery.lives(second))
    assert nursery.lives(first)
    assert nursery.begun() == {first}
    assert nursery.gone == []


async def test_an_understudy_that_ended_while_it_waited_is_replaced_in_its_turn(nursery: Nursery) -> None:
    pool, first, second = await nursery.rehearsed()
    os.kill(nursery.number(second), signal.SIGKILL)
    pool.kill(first)
    (third,) = await nursery.signed_in(3) - {first, second}
    await until(lambda: nursery.begun() == {first, third})
    assert nursery.gone == [first, second]


async def test_an_understudy_goes_when_the_pool_drains(nursery: Nursery) -> None:
    pool, first, second = await nursery.rehearsed()
    await pool.drain(PATIENCE)
    assert not nursery.lives(second)
    pool.understudy({first})
    assert nursery.begun() == {first}
    assert nursery.gone == [first]


async def test_an_understudy_goes_when_the_pool_stops(nursery: Nursery) -> None:
    pool, first, second = await nursery.rehearsed()
    await pool.stop()
    assert not nursery.lives(second)
    assert nursery.gone == [first]


async def test_nobody_has_an_understudy_who_is_not_there(nursery: Nursery) -> None:
    pool = await nursery.open(PUNCTUAL)
    (first,) = await nursery.signed_in(1)
    pool.understudy({"w1-stranger"})
    await asyncio.sleep(0.05)
    assert nursery.names() == {first}
