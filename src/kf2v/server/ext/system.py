"""``/kf2v/v1/engines``, ``/workers`` and ``/system``: who makes what here, and how the house is."""

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kf2v import __version__
from kf2v.admission.keys import Scope
from kf2v.clock import SECOND, Clock
from kf2v.server.desk import Desk
from kf2v.server.exchange import Exchange, Reply, reply
from kf2v.server.reception import Reception
from kf2v.server.routes import EXT
from kf2v.server.routing import Route
from kf2v.server.vitals import Vitals
from kf2v.store import Store
from kf2v.tasks import State
from kf2v.wire.ext import system as wire
from kf2v.wire.v1 import times

#: milliseconds that what engines said of themselves is believed: asking may start a process that looks for GPUs
BELIEVED = 60 * SECOND


class System:
    """Engines are everybody's business; workers and the house are the owner's."""

    def __init__(
        self,
        *,
        reception: Reception,
        store: Store,
        clock: Clock,
        desk: Desk,
        vitals: Vitals,
        data_dir: Path,
        engines: Callable[[], Sequence[wire.EngineStanding]],
        breakers: Callable[[], Mapping[str, str]],
        seats: Callable[[], Mapping[str, int]],
        settings: Mapping[str, object],
    ) -> None:
        """``engines`` may take a while; ``breakers`` are theirs. ``seats`` are of the workers there are. ``settings``
        hold no secrets.
        """
        self._reception = reception
        self._store = store
        self._clock = clock
        self._desk = desk
        self._vitals = vitals
        self._data_dir = data_dir
        self._engines = engines
        self._breakers = breakers
        self._seats = seats
        self._settings = settings
        self._started_at = clock.now()
        self._asking = asyncio.Lock()
        self._standings: tuple[int, Sequence[wire.EngineStanding]] | None = None

    def routes(self) -> list[Route]:
        return [
            Route("GET", f"{EXT}/engines", self.engines),
            Route("GET", f"{EXT}/workers", self.workers),
            Route("GET", f"{EXT}/system", self.system),
        ]

    async def engines(self, exchange: Exchange) -> Reply:
        """Which engine serves which model, and, to keys with ADMIN, why not where it does not: reasons name places and
        addresses of the owner's."""
        caller = await self._reception.caller(exchange, Scope.READ)
        standings, breakers = await self._asked(), self._breakers()
        why = caller.may(Scope.ADMIN)
        told = [wire.engine(standing, breakers.get(standing.engine, "closed"), why=why) for standing in standings]
        return reply(exchange, {"engines": told})

    async def workers(self, exchange: Exchange) -> Reply:
        """Who is at work, at what, and when he was heard of last."""
        await self._reception.caller(exchange, Scope.ADMIN)
        at_work = {task.worker: task for task in await self._store.unfinished() if task.state is State.RUNNING}
        seats, present = self._seats(), {presence.name: presence for presence in self._desk.roster.present()}
        hands = [
            wire.Hand(
                name=name,
                seat=seats.get(name),
                since=present[name].since if name in present else None,
                heard=present[name].heard if name in present else None,
                task=at_work.get(name),
                stopping=name in self._desk.roster.dismissed,
            )
            for name in sorted({*seats, *present}, key=lambda name: (seats.get(name, len(seats)), name))
        ]
        return reply(exchange, {"workers": [wire.worker(hand) for hand in hands]})

    async def system(self, exchange: Exchange) -> Reply:
        """Version, ailments, room on the disk, what waits and runs, and the settings."""
        await self._reception.caller(exchange, Scope.ADMIN)
        disk = await asyncio.to_thread(shutil.disk_usage, self._data_dir)
        lines = [
            (line.account, line.model, line.engine, line.waiting, line.running) for line in await self._store.lines()
        ]
        ailments = await self._vitals.ailments()
        members: dict[str, object] = {
            "version": __version__,
            "started": times.render(self._started_at),
            "uptime_seconds": (self._clock.now() - self._started_at) // SECOND,
            "ready": not ailments,
            "ailments": ailments,
            "draining": self._desk.draining,
            "disk": {"total_bytes": disk.total, "free_bytes": disk.free},
            "tasks": wire.counts(await self._store.counts()),
            "queues": wire.queues(lines),
            "settings": dict(self._settings),
        }
        return reply(exchange, members)

    async def _asked(self) -> Sequence[wire.EngineStanding]:
        """What the engines say of themselves, now or a moment ago."""
        async with self._asking:
            now, known = self._clock.now(), self._standings
            if known is None or now >= known[0] + BELIEVED:
                known = self._standings = now, await asyncio.to_thread(self._engines)
            return known[1]
