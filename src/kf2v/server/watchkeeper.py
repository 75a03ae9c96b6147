"""Looks after leases and stuck tasks, round after round, as long as the server lives."""

import asyncio
from collections.abc import Callable

import structlog

from kf2v.server.desk import Desk

#: looks for overstayers in every round
GLANCES = 10

log = structlog.get_logger(__name__)


async def keep_watch(
    desk: Desk,
    kill: Callable[[str], None],
    *,
    understudy: Callable[[frozenset[str]], None] = lambda _: None,
    every: float = 1.0,
) -> None:
    """Let ``desk`` look after its tasks ``every`` so many seconds, and ``kill`` the workers it wants gone.

    Those that do not let go of a stopped task are looked for more often: somebody waits for their seats, so as long as
    they may yet have to be killed there is to be an ``understudy`` for each. Ends only by being cancelled: a round that
    fails is logged, and the next one comes.
    """
    while True:
        try:
            for worker in await desk.look_after():
                kill(worker)
        except Exception:
            log.exception("a round of the watch failed")
        for _ in range(GLANCES):
            await asyncio.sleep(every / GLANCES)
            try:
                understudy(desk.roster.dismissed)
                for worker in desk.roster.overstayers():
                    kill(worker)
            except Exception:
                log.exception("a glance of the watch failed")
