"""Forgets what is past its time: tasks with their videos and frames, uploads, old news, and bytes no row points to.

Expiry itself is exact and needs no sweep: a task reads UNKNOWN and a link 403 the moment their time is up. This only
gives the disk back.
"""

import asyncio
import contextlib
from pathlib import Path

import structlog

from kf2v.admission.intake import REMEMBERED
from kf2v.blobs import Blobs
from kf2v.clock import HOUR, Clock
from kf2v.store import Store
from kf2v.tasks import Task
from kf2v.tasks.retention import Retention

log = structlog.get_logger(__name__)

#: rows forgotten per transaction, so that a sweep never holds up a create for long
BATCH = 200
#: a blob without a row is an orphan only when it is older than any write between the two can take
ORPHAN_AGE = HOUR
#: how long it can be looked up what became of an event
NEWS_AGE = 7 * 24 * HOUR
#: an unfinished video that was not written to for so long is abandoned: even a slow engine's next frame comes sooner
SCRATCH_AGE = 6 * HOUR


class Sweeper:
    """Sweeps one deployment."""

    def __init__(
        self, *, store: Store, blobs: Blobs, clock: Clock, retention: Retention, scratch: Path | None = None
    ) -> None:
        """``scratch`` is where workers leave unfinished files when they are killed."""
        self._scratch = scratch
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._retention = retention

    async def sweep(self) -> int:
        """Forget what is due now; returns how many tasks and uploads that were."""
        now = self._clock.now()
        forgotten = 0
        while tasks := await self._store.forget(ended_before=now - self._retention.task, limit=BATCH):
            forgotten += len(tasks)
            await asyncio.to_thread(self._delete, [key for task in tasks for key in _blobs_of(task)])
        while uploads := await self._store.forget_uploads(created_before=now - self._retention.upload, limit=BATCH):
            forgotten += len(uploads)
            await asyncio.to_thread(self._delete, [upload.blob for upload in uploads])
        while await self._store.forget_onces(created_before=now - REMEMBERED, limit=BATCH):
            pass
        while await self._store.forget_deliveries(created_before=now - NEWS_AGE, limit=BATCH):
            pass
        return forgotten

    async def wipe(self, task: Task) -> None:
        """Delete all bytes of a task that is forgotten before its time; uploads are no task's own."""

        def keys() -> list[str]:
            folders = (f"{kind}/{task.id}/" for kind in ("videos", "inputs", "previews"))
            return [blob.key for folder in folders for blob in self._blobs.walk(folder)]

        await asyncio.to_thread(lambda: self._delete(keys()))

    async def sweep_orphans(self) -> int:
        """Delete old videos and frames whose task is gone, or settled with another file, previews and orders of
        what is settled, uploads that never got a row, and what interrupted writes left; returns how many those were."""
        before = self._clock.now() - ORPHAN_AGE
        partial = await asyncio.to_thread(lambda: self._blobs.forget_partial(before=before))
        orphans: list[str] = []
        for key in await asyncio.to_thread(self._old_keys, before):
            task = await self._store.get(key.split("/")[1])
            if task is None or (task.state.final and key not in _blobs_of(task)):
                orphans.append(key)
        orphans += await asyncio.to_thread(self._uploads_without_rows, before - self._retention.upload)
        await asyncio.to_thread(self._delete, orphans)
        return len(orphans) + partial + await asyncio.to_thread(self._clear_scratch)

    def _clear_scratch(self) -> int:
        """Remove what nobody has written to for so long that nobody will."""
        count = 0
        for path in self._scratch.glob("*.mp4") if self._scratch is not None else ():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime * 1000 <= self._clock.now() - SCRATCH_AGE:
                    path.unlink()
                    count += 1
        return count

    def _old_keys(self, before: int) -> list[str]:
        return [
            blob.key
            for prefix in ("videos/", "inputs/", "previews/", "remote/")
            for blob in self._blobs.walk(prefix)
            if blob.modified_at <= before and blob.key.count("/") == 2
        ]

    def _uploads_without_rows(self, before: int) -> list[str]:
        """Files that were written before an upload's row could still be there."""
        return [blob.key for blob in self._blobs.walk("uploads/") if blob.modified_at <= before]

    def _delete(self, keys: list[str]) -> None:
        for key in keys:
            self._blobs.delete(key)


def _blobs_of(task: Task) -> list[str]:
    keys = [f"inputs/{task.id}/first", f"inputs/{task.id}/last"]
    if task.outcome is not None and task.outcome.video is not None:
        keys.append(task.outcome.video.key)
    return keys


async def keep_sweeping(sweeper: Sweeper, *, every: float = 60.0, orphans_every: int = 60) -> None:
    """Sweep ``every`` so many seconds, and look for orphans each ``orphans_every`` rounds. Ends by being cancelled."""
    rounds = 0
    while True:
        try:
            await sweeper.sweep()
            if rounds % orphans_every == 0:
                await sweeper.sweep_orphans()
        except Exception:
            log.exception("a sweep failed")
        rounds += 1
        await asyncio.sleep(every)
