"""Looks after leases and stuck tasks, round after round, as long as the server lives."""

import asyncio
from collections.abc import Callable

import structlog

from kf2v.server.desk import Desk

log = structlog.get_logger(__name__)


async def keep_watch(desk: Desk, kill: Callable[[str], None], *, every: float = 1.0) -> None:
    """Let ``desk`` look after its tasks ``every`` so many seconds, and ``kill`` the workers it wants gone.

    Ends only by being cancelled: a round that fails is logged, and the next one comes.
    """
    while True:
        try:
            for worker in await desk.look_after():
                kill(worker)
        except Exception:
            log.exception("a round of the watch failed")
        await asyncio.sleep(every)
