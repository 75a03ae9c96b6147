"""Prompts are read by the moderators before a task is promised, and nobody else waits for it."""

import asyncio
from collections.abc import Collection

from kf2v import daemon
from kf2v.moderation import Exhibit, Note
from kf2v.moderation.panel import Panel, unheard
from kf2v.tasks.job import Side

#: prompts that are read at the same time
AT_ONCE = 8


class Reading:
    """Asks ``panel`` in threads, a few at once.

    A prompt waits at most ``patience`` seconds for its turn; then only those are asked who need nobody else.
    """

    def __init__(self, panel: Panel, *, patience: float, at_once: int = AT_ONCE) -> None:
        self._panel = panel
        self._patience = patience
        self._places = asyncio.Semaphore(at_once)

    async def read(
        self, prompt: str, *, model: str, request_id: str, wished: Collection[Side], note: Note = unheard
    ) -> None:
        """Raises DataInspectionFailed for a prompt that may not pass, InternalError where nobody could decide and the
        owner wants that to count; elsewhere ``note`` hears of it, in another thread."""
        if not prompt or not self._panel.reads("input", wished):
            return
        exhibit = Exhibit(side="input", part="prompt", request_id=request_id, model=model)
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            busy = f"too many prompts were waiting for it for {self._patience:g} s"
            await self._read(prompt, exhibit, note, busy)
            return
        try:
            await self._read(prompt, exhibit, note)
        finally:
            self._places.release()

    async def _read(self, prompt: str, exhibit: Exhibit, note: Note, busy: str = "") -> None:
        reading = daemon.begin(
            lambda: self._panel.read(prompt, exhibit, lambda: None, note, busy=busy), name="moderation"
        )
        await asyncio.wrap_future(reading)
