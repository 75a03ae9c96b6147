"""Workers as child processes: each runs alone, may crash or be killed at any moment, and is replaced at once.

A child is given a new name every time, so that whatever a dead one was still owed goes to nobody. Its standard input
is a pipe that brings one line, its cue to begin, and ends when the server does (see ``worker.tether``). Its output goes
to the server's standard error. It has a process group of its own, so that Ctrl-C in a terminal reaches the server
alone.

A child that may have to be killed can be given an understudy: its successor, which starts meanwhile, so that the seat
does not stay empty for as long as a start takes, and waits for its cue, because there is room for one on a seat.
"""

import asyncio
import contextlib
import os
import secrets
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import structlog

STDERR = 2
#: seconds between SIGTERM's grace running out and SIGKILL: for handing back what did not get finished
GRACE = 2.0
#: what a child reads when it may begin
CUE = b"\n"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Child:
    name: str
    seat: int
    process: Process


class ProcessPool:
    """Keeps ``count`` children running ``command --name <name> --seat <seat>``, one on each seat from 0 on.

    All methods belong to one event loop, whose thread should live as long as the process (see ``worker.tether``).
    """

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        on_exit: Callable[[str], Awaitable[bool | None]],
        *,
        env: Mapping[str, str] | None = None,
        initial: str = "w",
        longest_pause: float = 10.0,
        settled_after: float = 5.0,
    ) -> None:
        """``on_exit`` is told the name of each child that ended, before its successor begins, and says whether it
        had work when it did.

        ``env`` is the children's whole environment; None inherits. ``initial`` is how their names begin.
        A child that ends without work within
        ``settled_after`` seconds of its start, and not for the first time in a row, is replaced after a pause that
        doubles up to ``longest_pause`` seconds. With work, the work is to blame, and others should not wait for it.
        """
        self._command = tuple(command)
        self._count = count
        self._on_exit = on_exit
        self._env = None if env is None else dict(env)
        self._initial = initial
        self._longest_pause = longest_pause
        self._settled_after = settled_after
        self._children: dict[str, _Child] = {}
        #: successors that start or wait for their cue, by the name of the child before them; None could not be started
        self._understudies: dict[str, asyncio.Task[_Child | None]] = {}
        #: understudies that are on their way out
        self._leaving: set[asyncio.Task[None]] = set()
        self._seats: list[asyncio.Task[None]] = []
        self._draining = asyncio.Event()

    @property
    def alive(self) -> int:
        """How many children there are now, understudies aside."""
        return len(self._children)

    @property
    def places(self) -> dict[str, int]:
        """The seat of every child there is now, by name."""
        return {name: child.seat for name, child in self._children.items()}

    async def start(self) -> None:
        """Start the children; returns without waiting for them."""
        self._seats = [asyncio.create_task(self._keep_filled(seat)) for seat in range(self._count)]

    def kill(self, worker: str) -> None:
        """End that child and all it started, stopped or hung as it may be. Unknown names are ignored."""
        if worker in self._children:
            _kill(self._children[worker].process)

    def understudy(self, workers: Collection[str]) -> None:
        """Have an understudy for each of ``workers``, and for no other child. Unknown names are ignored.

        One whose child has ended begins, wanted or not.
        """
        for name, child in self._children.items():
            if name not in workers and name in self._understudies:
                self._dismiss(name)
            elif name in workers and name not in self._understudies and not self._draining.is_set():
                self._understudies[name] = asyncio.create_task(self._start(child.seat))

    async def drain(self, seconds: float) -> None:
        """Ask every child to stop; kill those that did not within ``seconds`` and a little. None is replaced."""
        self._replace_none()
        for child in self._children.values():
            _ask_to_stop(child.process)
        if not self._seats:
            return
        await asyncio.wait(self._seats, timeout=seconds + GRACE)
        for name in self._children:
            log.warning("worker did not stop in time", worker=name)
        await self.stop()

    async def stop(self) -> None:
        """Kill every child that there still is, and replace none."""
        self._replace_none()
        for name in self._children:
            self.kill(name)
        await asyncio.gather(*self._seats, *self._leaving)

    def _replace_none(self) -> None:
        self._draining.set()
        for name in tuple(self._understudies):
            self._dismiss(name)

    def _dismiss(self, name: str) -> None:
        leaving = asyncio.create_task(_gone(self._understudies.pop(name)))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _keep_filled(self, seat: int) -> None:
        loop = asyncio.get_running_loop()
        pauses = Pauses(self._longest_pause)
        last = ""
        while not self._draining.is_set():
            began, had_work = loop.time(), False
            child = await (self._understudies.pop(last, None) or self._start(seat))
            if child is not None:
                had_work, last = await self._live(child), child.name
            pauses.ended(early=not had_work and loop.time() - began < self._settled_after)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pauses.next):
                    await self._draining.wait()

    async def _start(self, seat: int) -> _Child | None:
        """A child that waits for its cue."""
        name = f"{self._initial}{seat + 1}-{secrets.token_hex(4)}"
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                "--name",
                name,
                "--seat",
                str(seat),
                stdin=PIPE,
                stdout=STDERR,
                env=self._env,
                start_new_session=True,
            )
        except OSError:
            log.exception("worker could not be started", worker=name)
            return None
        return _Child(name=name, seat=seat, process=process)

    async def _live(self, child: _Child) -> bool:
        """One child, from its cue to its end; whether it had work then."""
        name, process = child.name, child.process
        self._children[name] = child
        if self._draining.is_set():
            _ask_to_stop(process)
        elif process.stdin is not None:
            process.stdin.write(CUE)
        try:
            status = await process.wait()
        finally:
            del self._children[name]
        log.info("worker ended", worker=name, status=status)
        try:
            return bool(await self._on_exit(name))
        except Exception:
            log.exception("the end of a worker could not be noted", worker=name)
            return False


class Pauses:
    """How long to wait before the next child: not at all, until it looks hopeless."""

    def __init__(self, longest: float) -> None:
        #: seconds
        self._longest = longest
        self._early = 0

    def ended(self, *, early: bool) -> None:
        """A child ended; ``early`` means soon after its start."""
        self._early = self._early + 1 if early else 0

    @property
    def next(self) -> float:
        """Seconds: 0, 0, then 0.1, 0.2, 0.4 …"""
        return 0.0 if self._early < 2 else min(0.1 * 2 ** min(self._early - 2, 20), self._longest)


async def _gone(understudy: asyncio.Task[_Child | None]) -> None:
    child = await understudy
    if child is not None:
        _kill(child.process)
        await child.process.wait()


def _kill(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _ask_to_stop(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
