"""Gathers what is to be said of a task from where it is known: its row, the queue, its files, its history."""

import asyncio
from typing import Protocol

from kf2v.blobs import Blobs
from kf2v.server.exchange import Exchange
from kf2v.server.routes import EXT
from kf2v.server.v1.files import VideoLinks
from kf2v.store import Store
from kf2v.tasks import State, Task
from kf2v.tasks.retention import Retention
from kf2v.wire.ext import tasks as wire


class Foresight(Protocol):
    """Guesses how long things take, from how long they took."""

    async def end_seconds(self, task: Task) -> float | None:
        """Until ``task`` ends; None where there is nothing to go by, or it has."""
        ...


class Portrait:
    """Paints tasks for answers and events."""

    def __init__(
        self,
        *,
        store: Store,
        blobs: Blobs,
        retention: Retention,
        links: VideoLinks,
        foresight: Foresight,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._retention = retention
        self._links = links
        self._foresight = foresight

    async def brief(self, task: Task, exchange: Exchange, *, quick: bool = False) -> dict[str, object]:
        """A row; ``quick`` leaves out what has to be looked up."""
        if quick:
            around = wire.Surroundings(
                expires_at=self._retention.expires_at(task), video_url=self._links.url(task, exchange)
            )
            return wire.brief(task, around)
        return wire.brief(task, await self._around(task, exchange))

    async def whole(self, task: Task, exchange: Exchange) -> dict[str, object]:
        """Everything."""
        log = [(note.at, note.text) for note in await self._store.notes(task.id)]
        return wire.detail(task, await self._around(task, exchange), log)

    async def newest_previews(self, task: Task) -> tuple[str, ...]:
        """Keys of the previews of the newest attempt that has any, in order."""
        keys = await asyncio.to_thread(lambda: [blob.key for blob in self._blobs.walk(f"previews/{task.id}/")])
        numbered = sorted(filter(None, map(_numbers, keys)))
        newest = numbered[-1][0] if numbered else 0
        return tuple(f"previews/{task.id}/{attempt}-{n}.jpg" for attempt, n in numbered if attempt == newest)

    async def _around(self, task: Task, exchange: Exchange) -> wire.Surroundings:
        running = task.state is State.RUNNING
        shown = len(await self.newest_previews(task)) if running else 0
        base = f"{EXT}/tasks/{task.id}/previews"
        return wire.Surroundings(
            position=await self._store.place(task.id) if task.state.waiting else None,
            eta=await self._foresight.end_seconds(task),
            expires_at=self._retention.expires_at(task),
            video_url=self._links.url(task, exchange),
            previews=tuple(f"{base}/{n}.jpg" for n in range(shown)) if running else None,
        )


def _numbers(key: str) -> tuple[int, int] | None:
    """Attempt and number of a preview, ``previews/<task>/<attempt>-<number>.jpg``."""
    attempt, dash, number = key.rpartition("/")[2].removesuffix(".jpg").partition("-")
    return (int(attempt), int(number)) if dash and attempt.isdigit() and number.isdigit() else None
