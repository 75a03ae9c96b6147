"""How the server is: what operators and load balancers ask."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from kf2v.blobs import Blobs
from kf2v.clock import SECOND, Clock
from kf2v.store import Store


class Vitals:
    """Checks of what has to work for a create to be worth accepting."""

    def __init__(
        self,
        *,
        store: Store,
        blobs: Blobs,
        clock: Clock,
        data_dir: Path,
        min_free_bytes: int,
        workers_wanted: int,
        workers_alive: Callable[[], int],
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._data_dir = data_dir
        self._min_free_bytes = min_free_bytes
        self._workers_wanted = workers_wanted
        self._workers_alive = workers_alive
        self._room = True
        self._looked_at: int | None = None
        self.draining = False

    def room_on_disk(self) -> bool:
        """Whether the disk has the room the owner wants to keep; looked up at most once a second."""
        now = self._clock.now()
        if self._looked_at is None or not 0 <= now - self._looked_at < SECOND:
            self._looked_at = now
            self._room = shutil.disk_usage(self._data_dir).free >= self._min_free_bytes
        return self._room

    async def ailments(self) -> dict[str, str]:
        """What keeps the server from being ready, by part; empty when it is."""
        found: dict[str, str] = {}
        if self.draining:
            found["server"] = "is shutting down"
        if not self.room_on_disk():
            found["disk"] = "is nearly full"
        if self._workers_wanted and not self._workers_alive():
            found["workers"] = "none is alive"
        try:
            await self._store.probe()
        except Exception as error:  # noqa: BLE001  whatever it is, it keeps the store from working
            found["store"] = f"fails: {type(error).__name__}"
        try:
            await asyncio.to_thread(self._blobs.probe)
        except Exception as error:  # noqa: BLE001  likewise
            found["blobs"] = f"fails: {type(error).__name__}"
        return found
