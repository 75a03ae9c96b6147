"""The worker processes of a service: where they are named, and how they are started."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from kf2v.assembly.engines import relays, workers_here
from kf2v.net.unix import socket_path
from kf2v.settings import Settings
from kf2v.wire.backstage import process_of, worker_names
from kf2v.worker.pools.process import ProcessPool
from kf2v.worker.pools.shared import Shared


class Pools:
    """The workers that make videos here, and the one that has them made elsewhere."""

    def __init__(
        self,
        settings: Settings,
        *,
        on_exit: Callable[[str], Awaitable[bool]],
        silence: Callable[[str], float],
    ) -> None:
        self._loops = settings.remote_running
        self._on_exit = on_exit
        self._shared = Shared(self._loops, within=10.0 + 2 * settings.lease_seconds, silence=silence)
        command, environment = _worker_command(settings), _worker_environment(settings)
        self._makers = ProcessPool(command, workers_here(settings), on_exit=on_exit, env=environment)
        relaying = [*command, "--forward", str(self._loops)]
        self._relays = ProcessPool(relaying, relays(settings), on_exit=self._relay_ended, env=environment, initial="r")

    @property
    def alive(self) -> int:
        """How many processes there are now."""
        return self._makers.alive + self._relays.alive

    @property
    def places(self) -> dict[str, int]:
        """The seat of every worker there is now, by name; those that live together share theirs."""
        relays = self._relays.places.items()
        apart = {worker: seat for process, seat in relays for worker in worker_names(process, self._loops)}
        return self._makers.places | apart

    async def start(self) -> None:
        await self._makers.start()
        await self._relays.start()

    def kill(self, worker: str) -> None:
        """End the process that ``worker`` is, or lives in where all who do are to be ended."""
        process = process_of(worker)
        if process == worker:
            self._makers.kill(worker)
        elif self._shared.beyond_reach(worker):
            self._relays.kill(process)

    def understudy(self, workers: frozenset[str]) -> None:
        """Have a successor ready for each of ``workers`` that is a process of its own, and for no other."""
        self._makers.understudy(workers)

    async def drain(self, seconds: float) -> None:
        await asyncio.gather(self._makers.drain(seconds), self._relays.drain(seconds))

    async def stop(self) -> None:
        await asyncio.gather(self._makers.stop(), self._relays.stop())

    async def _relay_ended(self, name: str) -> bool:
        """All workers in it ended with it."""
        self._shared.ended(name)
        return any([await self._on_exit(worker) for worker in worker_names(name, self._loops)])


def _worker_command(settings: Settings) -> list[str]:
    socket_ = str(socket_path(settings.data_dir))
    return [sys.executable, "-m", "kf2v", "worker", "--socket", socket_]


def _worker_environment(settings: Settings) -> dict[str, str]:
    """This process's environment with its settings in it, flags and files included, so that workers agree with it."""
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("KF2V_")}
    return inherited | settings.environment()
