"""A worker inside the server's own process, in a thread: for tests, and where a second process is too much.

What crashes it crashes the server, and it cannot be killed: an unwelcome one stops at its next report.
"""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from typing import Any, Protocol, TypeVar

import structlog

from kf2v.store import Settled
from kf2v.tasks import Lease, Outcome
from kf2v.worker.ledger import LedgerLost
from kf2v.worker.loop import Loop, Production

#: seconds that work which was called off gets to notice it
GRACE = 5.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Desk(Protocol):
    """The server's side, as ``server.desk.Desk`` has it; see there."""

    async def claim(self, worker: str, *, engines: frozenset[str]) -> Lease | None: ...

    async def renew(
        self, task_id: str, attempt: int, *, phase: str, progress: float, notes: tuple[str, ...] = ()
    ) -> bool: ...

    async def settle(self, task_id: str, attempt: int, outcome: Outcome, *, notes: tuple[str, ...] = ()) -> Settled: ...

    async def hand_back(self, task_id: str, attempt: int) -> bool: ...

    async def reroute(self, task_id: str, attempt: int, reason: str) -> bool: ...

    async def over(self, task_id: str) -> bool: ...


class InlineLedger:
    """The ``Ledger`` of threads beside the event loop ``home`` that ``desk`` lives in.

    Never call it from that loop's own thread: it would wait for itself.
    """

    def __init__(self, desk: Desk, home: asyncio.AbstractEventLoop) -> None:
        self._desk = desk
        self._home = home

    def claim(self, worker: str, *, engines: frozenset[str]) -> Lease | None:
        return self._ask(self._desk.claim(worker, engines=engines))

    def renew(self, lease: Lease, phase: str, progress: float, notes: tuple[str, ...] = ()) -> bool:
        return self._ask(self._desk.renew(lease.task_id, lease.attempt, phase=phase, progress=progress, notes=notes))

    def settle(self, lease: Lease, outcome: Outcome, notes: tuple[str, ...] = ()) -> Settled:
        return self._ask(self._desk.settle(lease.task_id, lease.attempt, outcome, notes=notes))

    def hand_back(self, lease: Lease) -> None:
        self._ask(self._desk.hand_back(lease.task_id, lease.attempt))

    def reroute(self, lease: Lease, reason: str) -> bool:
        return self._ask(self._desk.reroute(lease.task_id, lease.attempt, reason))

    def over(self, lease: Lease) -> bool:
        return self._ask(self._desk.over(lease.task_id))

    def _ask(self, question: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(question, self._home).result()
        except CancelledError as error:
            raise LedgerLost("the server's event loop ends") from error
        except RuntimeError as error:
            if not self._home.is_closed():
                raise
            question.close()
            raise LedgerLost("the server's event loop is closed") from error


class InlinePool:
    """One worker in a thread. Drain the desk before the pool, or draining waits for a claim to end."""

    def __init__(self, desk: Desk, production: Production, *, heartbeat_every: float, name: str = "inline") -> None:
        self._desk = desk
        self._production = production
        self._every = heartbeat_every
        self._name = name
        self._loop: Loop | None = None
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> int:
        """How many workers there are."""
        return int(self._thread is not None and self._thread.is_alive())

    async def start(self) -> None:
        """Begin to work for the running event loop."""
        ledger = InlineLedger(self._desk, asyncio.get_running_loop())
        self._loop = Loop(self._name, ledger=ledger, production=self._production, heartbeat_every=self._every)
        self._thread = threading.Thread(target=self._run, args=(self._loop,), name=self._name, daemon=True)
        self._thread.start()

    def kill(self, worker: str) -> None:
        """Nothing: a worker that lost its lease stops at its next report anyway."""
        del worker

    async def drain(self, seconds: float) -> None:
        """Let running work finish for up to ``seconds``, then have it handed back."""
        if self._loop is not None and self._thread is not None:
            self._loop.stop(seconds)
            await asyncio.to_thread(self._thread.join, seconds + GRACE)

    async def stop(self) -> None:
        """Have running work handed back at its next report."""
        await self.drain(0.0)

    def _run(self, loop: Loop) -> None:
        try:
            loop.run()
        except LedgerLost as error:
            log.warning("inline worker ended", reason=str(error))
