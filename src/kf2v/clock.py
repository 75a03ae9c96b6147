"""The time, handed in. Everything counts in whole milliseconds since the epoch."""

import time
from typing import Protocol

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


class Clock(Protocol):
    """Where the current time comes from; tests hand in one they can move."""

    def now(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z."""
        ...


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000


class ManualClock:
    """A public double: stands still until it is told to move."""

    def __init__(self, now: int = 1_760_000_000_000) -> None:
        self._now = now

    def now(self) -> int:
        return self._now

    def advance(self, milliseconds: int) -> None:
        """Move forward by ``milliseconds``."""
        self._now += milliseconds
