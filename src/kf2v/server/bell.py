"""A bell: wakes everybody who listens, and costs nothing while nobody does."""

import asyncio


class Bell:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake whoever listens."""
        self._rung.set()

    def listen(self) -> asyncio.Event:
        """What the next ring sets. Taken before looking, so that nothing that comes meanwhile goes unheard."""
        if self._rung.is_set():
            self._rung = asyncio.Event()
        return self._rung
