"""Prompts are read by the moderators before a task is promised, and nobody else waits for it."""

import asyncio
import threading
from collections.abc import Collection
from concurrent.futures import Future

from kf2v.moderation import Exhibit
from kf2v.moderation.panel import Panel
from kf2v.tasks.job import Side

#: prompts that are read at the same time
AT_ONCE = 8


class Reading:
    """Asks ``panel`` in threads, a few at once; a prompt waits at most ``patience`` seconds for its turn."""

    def __init__(self, panel: Panel, *, patience: float, at_once: int = AT_ONCE) -> None:
        self._panel = panel
        self._patience = patience
        self._places = asyncio.Semaphore(at_once)

    async def read(self, prompt: str, *, model: str, wished: Collection[Side]) -> None:
        """Raises DataInspectionFailed for a prompt that may not pass, InternalError where nobody could decide and the
        owner wants that to count."""
        exhibit = Exhibit(side="input", part="prompt", model=model)
        if not prompt or not self._panel.reads("input", wished):
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            self._panel.undecided(f"no moderator was free within {self._patience:g} s", exhibit)
            return
        try:
            await asyncio.wrap_future(self._begun(prompt, exhibit))
        finally:
            self._places.release()

    def _begun(self, prompt: str, exhibit: Exhibit) -> Future[None]:
        """In a thread that no shutdown waits for, unlike those of a pool."""
        outcome = Future[None]()
        outcome.set_running_or_notify_cancel()

        def read() -> None:
            try:
                outcome.set_result(self._panel.read(prompt, exhibit, lambda: None))
            except Exception as error:  # noqa: BLE001  whoever waits is told
                outcome.set_exception(error)

        threading.Thread(target=read, name="moderation", daemon=True).start()
        return outcome
