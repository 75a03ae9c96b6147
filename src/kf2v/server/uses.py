"""Writes down when keys were used: once a minute and at the end, so that no request has to."""

import asyncio

import structlog

from kf2v.admission.keys import Keys

log = structlog.get_logger(__name__)


async def keep_writing_uses(keys: Keys, *, every: float = 60.0) -> None:
    """Let ``keys`` write ``every`` so many seconds, and a last time when this is cancelled, which is how it ends."""
    try:
        while True:
            await asyncio.sleep(every)
            await _write(keys)
    finally:
        await _write(keys)


async def _write(keys: Keys) -> None:
    try:
        await keys.write_uses()
    except Exception:
        log.exception("when keys were used could not be written")
