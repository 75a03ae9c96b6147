"""A desk in an event loop of its own, in a thread, with or without its back door."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from kf2v.admission.keys import Keys
from kf2v.admission.workspaces import Workspaces
from kf2v.clock import SECOND, ManualClock
from kf2v.net.unix import bind
from kf2v.server.backstage import backstage, opened
from kf2v.server.desk import Desk, Terms
from kf2v.server.owner_calls import OwnerCalls
from kf2v.store.memory import MemoryStore
from kf2v.tasks import Task

T = TypeVar("T")

#: seconds that anything may take on a busy machine
PATIENCE = 20.0


class Backroom:
    """The server's side. Everything in it is reached through ``run``, from any thread but its own."""

    def __init__(self, *, patience: float) -> None:
        self.home = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.store = MemoryStore()
        self.keys = Keys(self.store, secret=b"s" * 32, clock=self.clock)
        self.workspaces = Workspaces(self.store, clock=self.clock)
        self._thread = threading.Thread(target=self.home.run_forever, daemon=True)
        self._thread.start()
        self._doors = AsyncExitStack()
        self.desk = self.run(self._desk(patience))

    async def _desk(self, patience: float) -> Desk:
        return Desk(
            self.store,
            clock=self.clock,
            terms=Terms(lease=30 * SECOND, max_attempts=3, task_timeout=3600 * SECOND),
            patience=patience,
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, done in the event loop."""
        return asyncio.run_coroutine_threadsafe(work, self.home).result(PATIENCE)

    def order(self, task: Task) -> Task:
        """Insert ``task`` and ring the bell, as the create route does."""

        async def insert() -> None:
            await self.store.insert(task)
            self.desk.work_arrived()

        self.run(insert())
        return task

    def now(self, task: Task) -> Task:
        """The row of ``task`` as it is now."""
        row = self.run(self.store.get(task.id))
        assert row is not None
        return row

    def open(self, path: Path) -> None:
        """Answer on the socket at ``path``."""

        async def enter() -> None:
            app = backstage(self.desk, OwnerCalls(self.keys, self.workspaces).routes())
            await self._doors.enter_async_context(opened(app, bind(path)))

        self.run(enter())

    def shut(self) -> None:
        """Answer no more."""
        self.run(self._doors.aclose())

    def close(self) -> None:
        """End the event loop with whatever still waits in it."""

        async def leave() -> None:
            self.desk.drain()
            await self._doors.aclose()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self.run(leave())
        self.home.call_soon_threadsafe(self.home.stop)
        self._thread.join()
        self.home.close()


@contextmanager
def backroom(*, patience: float = 0.05) -> Iterator[Backroom]:
    """A ``Backroom`` until the block ends; ``patience`` is how many seconds claims wait in it."""
    room = Backroom(patience=patience)
    try:
        yield room
    finally:
        room.close()
