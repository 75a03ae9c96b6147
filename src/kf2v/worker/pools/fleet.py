"""The worker processes of a service: those that make videos here, and those that have them made elsewhere."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from kf2v.wire.backstage import process_of, worker_names
from kf2v.worker.pools.process import ProcessPool
from kf2v.worker.pools.shared import Shared


class Fleet:
    """Several pools, of which each worker is told by its name."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        makers: int,
        relays: int,
        loops: int,
        unreachable_within: float,
        on_exit: Callable[[str], Awaitable[bool]],
        silence: Callable[[str], float],
    ) -> None:
        """``command`` starts a worker in ``environment``; ``loops`` is how many live in each process that relays.

        ``on_exit`` hears of the end of every worker and says whether it had work; for ``unreachable_within`` and
        ``silence`` see ``Shared``.
        """
        self._loops = loops
        self._on_exit = on_exit
        self._shared = Shared(loops, within=unreachable_within, silence=silence)
        self._makers = ProcessPool(command, makers, on_exit=on_exit, env=environment)
        relaying = [*command, "--forward", str(loops)]
        self._relays = ProcessPool(relaying, relays, on_exit=self._relay_ended, env=environment, initial="r")

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
